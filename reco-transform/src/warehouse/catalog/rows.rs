//! [`RecoTable`]: the rows of the tables that tell about the warehouse.

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::arrow::json::ReaderBuilder;
use datafusion::error::{DataFusionError, Result};
use reco_core::{Severity, timestamp_type};
use serde_json::{Value, json};

use super::Shown;
use super::published::external;
use crate::dag::ColumnRef;
use crate::warehouse::runs::{RunCheck, RunRecord, RunTable};

/// A table that tells about the warehouse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RecoTable {
    Tables,
    Columns,
    Runs,
    RunTables,
    Checks,
    Lineage,
    ColumnLineage,
}

impl RecoTable {
    pub(super) const ALL: [Self; 7] = [
        Self::Tables,
        Self::Columns,
        Self::Runs,
        Self::RunTables,
        Self::Checks,
        Self::Lineage,
        Self::ColumnLineage,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Tables => "tables",
            Self::Columns => "columns",
            Self::Runs => "runs",
            Self::RunTables => "run_tables",
            Self::Checks => "checks",
            Self::Lineage => "lineage",
            Self::ColumnLineage => "column_lineage",
        }
    }

    pub(super) fn schema(self) -> SchemaRef {
        let text = |name: &str| Field::new(name, DataType::Utf8, false);
        let number = |name: &str| Field::new(name, DataType::Int64, false);
        let time = |name: &str| Field::new(name, timestamp_type(), false);
        let seconds = || Field::new("duration_s", DataType::Float64, false);
        let or_null = |field: Field| field.with_nullable(true);
        let texts =
            |name: &str| Field::new_list(name, Field::new("item", DataType::Utf8, false), false);
        let fields = match self {
            Self::Tables => vec![
                text("environment"),
                text("table_name"),
                text("location"),
                number("version"),
                number("n_rows"),
                time("published_at"),
                text("definition"),
                or_null(text("data")),
                texts("inputs"),
            ],
            Self::Columns => vec![
                text("environment"),
                text("table_name"),
                text("column_name"),
                number("position"),
                text("data_type"),
                Field::new("is_nullable", DataType::Boolean, false),
            ],
            Self::Runs => vec![
                text("run_id"),
                text("environment"),
                number("number"),
                time("started_at"),
                time("ended_at"),
                seconds(),
                text("status"),
                or_null(text("error")),
                or_null(number("state")),
                number("n_tables"),
                number("n_built"),
                number("n_missing"),
            ],
            Self::RunTables => vec![
                text("run_id"),
                text("environment"),
                text("table_name"),
                text("kind"),
                or_null(text("materialization")),
                text("action"),
                text("why"),
                text("status"),
                or_null(number("n_rows")),
                or_null(number("version")),
                seconds(),
                or_null(text("error")),
            ],
            Self::Checks => vec![
                text("run_id"),
                text("environment"),
                time("ended_at"),
                text("table_name"),
                text("expectation"),
                text("severity"),
                text("outcome"),
                number("n_checked"),
                number("n_failed"),
                or_null(text("observed")),
                or_null(text("note")),
            ],
            Self::Lineage => vec![
                text("environment"),
                text("table_name"),
                text("reads"),
                text("relation"),
            ],
            Self::ColumnLineage => vec![
                text("environment"),
                text("table_name"),
                or_null(text("column_name")),
                text("from_table"),
                text("from_column"),
                text("relation"),
            ],
        };
        Arc::new(Schema::new(fields))
    }

    pub(super) async fn rows(self, shown: &Shown, schema: &SchemaRef) -> Result<RecordBatch> {
        let rows = match self {
            Self::Tables => tables(shown).await,
            Self::Columns => columns(shown).await,
            Self::Runs => of_runs(shown, |run, rows| rows.push(of_run(run))).await,
            Self::RunTables => {
                let each = |run: &RunRecord, rows: &mut Vec<Value>| {
                    rows.extend(run.tables.iter().map(|table| of_run_table(run, table)));
                };
                of_runs(shown, each).await
            }
            Self::Checks => {
                let each = |run: &RunRecord, rows: &mut Vec<Value>| {
                    for table in &run.tables {
                        rows.extend(table.checks.iter().map(|check| of_check(run, table, check)));
                    }
                };
                of_runs(shown, each).await
            }
            Self::Lineage => lineage(shown).await,
            Self::ColumnLineage => column_lineage(shown).await,
        };
        batch(&rows.map_err(external)?, schema)
    }
}

fn batch(rows: &[Value], schema: &SchemaRef) -> Result<RecordBatch> {
    let failed = |error| DataFusionError::ArrowError(Box::new(error), None);
    let mut decoder = ReaderBuilder::new(Arc::clone(schema))
        .build_decoder()
        .map_err(failed)?;
    decoder.serialize(rows).map_err(failed)?;
    let batch = decoder.flush().map_err(failed)?;
    Ok(batch.unwrap_or_else(|| RecordBatch::new_empty(Arc::clone(schema))))
}

async fn tables(shown: &Shown) -> crate::Result<Vec<Value>> {
    let mut rows = Vec::new();
    for (environment, state) in shown.history.environments(shown).await? {
        let Some(state) = state else { continue };
        let numbers = shown.history.numbers(&environment).await?;
        for (name, table) in &state.contents.tables {
            let since = shown
                .history
                .since(&environment, name, &state, &numbers)
                .await?;
            rows.push(json!({
                "environment": environment,
                "table_name": name,
                "location": table.location,
                "version": table.version,
                "n_rows": table.n_rows,
                "published_at": since.published_at.as_microsecond(),
                "definition": table.made.definition,
                "data": table.made.data,
                "inputs": table.made.inputs.keys().collect::<Vec<_>>(),
            }));
        }
    }
    Ok(rows)
}

async fn columns(shown: &Shown) -> crate::Result<Vec<Value>> {
    let mut rows = Vec::new();
    for (environment, state) in shown.history.environments(shown).await? {
        let Some(state) = state else { continue };
        for (name, table) in &state.contents.tables {
            let schema = shown.open(name, table).await?.schema();
            for (position, field) in (1..).zip(schema.fields()) {
                let position: u64 = position;
                rows.push(json!({
                    "environment": environment,
                    "table_name": name,
                    "column_name": field.name(),
                    "position": position,
                    "data_type": field.data_type().to_string(),
                    "is_nullable": field.is_nullable(),
                }));
            }
        }
    }
    Ok(rows)
}

async fn of_runs(
    shown: &Shown,
    mut each: impl FnMut(&RunRecord, &mut Vec<Value>),
) -> crate::Result<Vec<Value>> {
    let mut rows = Vec::new();
    for run in shown.history.runs().await? {
        each(&run, &mut rows);
    }
    Ok(rows)
}

fn of_run(run: &RunRecord) -> Value {
    let n_with = |statuses: &[&str]| {
        let with = run
            .tables
            .iter()
            .filter(|table| statuses.contains(&table.status.as_str()));
        with.count()
    };
    json!({
        "run_id": run.id(),
        "environment": run.environment,
        "number": run.number,
        "started_at": run.started_at.as_microsecond(),
        "ended_at": run.ended_at.as_microsecond(),
        "duration_s": run.ended_at.duration_since(run.started_at).as_secs_f64(),
        "status": run.status.name(),
        "error": run.error,
        "state": run.state,
        "n_tables": run.tables.len(),
        "n_built": n_with(&["built"]),
        "n_missing": n_with(&["failed", "skipped"]),
    })
}

fn of_run_table(run: &RunRecord, table: &RunTable) -> Value {
    json!({
        "run_id": run.id(),
        "environment": run.environment,
        "table_name": table.table,
        "kind": table.kind,
        "materialization": table.materialization,
        "action": table.action,
        "why": table.why,
        "status": table.status,
        "n_rows": table.n_rows,
        "version": table.version,
        "duration_s": table.duration.as_secs_f64(),
        "error": table.error,
    })
}

fn of_check(run: &RunRecord, table: &RunTable, check: &RunCheck) -> Value {
    let outcome = match (check.passed, check.severity) {
        (true, _) => "passed",
        (false, Severity::Warn) => "warned",
        (false, Severity::Error) => "failed",
    };
    json!({
        "run_id": run.id(),
        "environment": run.environment,
        "ended_at": run.ended_at.as_microsecond(),
        "table_name": table.table,
        "expectation": check.check,
        "severity": check.severity,
        "outcome": outcome,
        "n_checked": check.n_checked,
        "n_failed": check.n_failed,
        "observed": check.observed,
        "note": check.note,
    })
}

async fn lineage(shown: &Shown) -> crate::Result<Vec<Value>> {
    let runs = shown.history.runs().await?;
    let mut rows = Vec::new();
    for (environment, state) in shown.history.environments(shown).await? {
        for (table, _) in shown
            .history
            .lineage(&environment, state.as_deref(), &runs)
            .await?
        {
            let inputs = table.inputs.iter().map(|reads| (reads, "input"));
            let audits = table.audited_with.iter().map(|reads| (reads, "audit"));
            rows.extend(inputs.chain(audits).map(|(reads, relation)| {
                json!({
                    "environment": environment,
                    "table_name": table.table,
                    "reads": reads,
                    "relation": relation,
                })
            }));
        }
    }
    Ok(rows)
}

async fn column_lineage(shown: &Shown) -> crate::Result<Vec<Value>> {
    let runs = shown.history.runs().await?;
    let mut rows = Vec::new();
    for (environment, state) in shown.history.environments(shown).await? {
        for (_, columns) in shown
            .history
            .lineage(&environment, state.as_deref(), &runs)
            .await?
        {
            let Some(columns) = columns else { continue };
            let mut add = |column: Option<&str>, from: &[ColumnRef], relation: &str| {
                rows.extend(from.iter().map(|from| {
                    json!({
                        "environment": environment,
                        "table_name": columns.table,
                        "column_name": column,
                        "from_table": from.table,
                        "from_column": from.column,
                        "relation": relation,
                    })
                }));
            };
            for column in &columns.columns {
                add(Some(&column.column), &column.values_from, "value");
                add(Some(&column.column), &column.influenced_by, "influence");
            }
            add(None, &columns.rows_influenced_by, "rows");
        }
    }
    Ok(rows)
}
