//! Makes the intervals of a table that are due.

use std::sync::Arc;

use datafusion::arrow::array::Array;
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::common::{Column, ScalarValue, exec_datafusion_err};
use datafusion::error::Result as EngineResult;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::{Expr, ScalarUDF, lit};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::prelude::SessionContext;
use futures::StreamExt;

use super::Node;
use super::check::{Tables, register};
use super::intervals::{IntervalPlan, data_of};
use crate::error::{Error, Result};
use crate::incremental::{Incremental, Interval, Ledger, LedgerEntry, Strategy};
use crate::materialize::{Built, Publication};
use crate::step::{Step, StepContext, scan};
use crate::warehouse::{PublishedTable, Target};

/// What makes a table interval by interval.
pub(super) struct Increment<'a> {
    pub(super) node: &'a Node,
    pub(super) incremental: &'a Incremental,
    pub(super) step: &'a dyn Step,
    pub(super) tables: &'a Tables,
    pub(super) functions: &'a [ScalarUDF],
    pub(super) publication: Publication<'a>,
}

impl Increment<'_> {
    /// Makes what is due. What is done is noted after each batch, so that no run makes it again.
    pub(super) async fn build(&self, plan: &IntervalPlan) -> Result<Built> {
        let mut table = match &plan.base {
            Some(base) => base.clone(),
            None => self.begin().await?,
        };
        let mut failed: Vec<String> = Vec::new();
        let mut trouble = None;
        for batch in &plan.due {
            let Err(error) = self.batch(&mut table, batch).await else {
                continue;
            };
            let interval = span(batch);
            tracing::error!(table = %self.node.table, %interval, %error, "intervals failed");
            failed.extend(batch.iter().map(|entry| entry.interval.to_string()));
            trouble.get_or_insert(error);
            if self.incremental.strategy.is_ordered() {
                break;
            }
        }
        match trouble {
            None => self.publication.publish_written(table).await,
            Some(source) => Err(Error::IntervalsFailed {
                table: self.node.table.clone(),
                failed,
                n_due: plan.intervals().count(),
                source: Box::new(source),
            }),
        }
    }

    /// The table without rows.
    async fn begin(&self) -> Result<PublishedTable> {
        let made = self.publication.fingerprint.made.clone();
        let location = format!("{}/{}", self.node.table, made.definition);
        let rows = self.rows(None).await?;
        let warehouse = self.publication.warehouse;
        let state = self.publication.session.state();
        let target = self.target(&location);
        let written = warehouse.overwrite(&target, rows, &state).await?;
        Ok(PublishedTable {
            location,
            version: written.version,
            n_rows: written.n_rows,
            made,
            ledger: Ledger::default(),
        })
    }

    async fn batch(&self, table: &mut PublishedTable, batch: &[LedgerEntry]) -> Result<()> {
        let interval = span(batch);
        let rows = self.rows(Some(interval)).await?;
        let location = table.location.clone();
        let target = self.target(&location);
        let warehouse = self.publication.warehouse;
        let state = self.publication.session.state();
        let base = table.version;
        let written = match &self.incremental.strategy {
            Strategy::Interval => {
                let column = &self.incremental.time_column;
                let inside = |data_type: &DataType| inside(column, interval, data_type);
                warehouse
                    .replace(&target, base, rows, (column, &inside), &state)
                    .await?
            }
            Strategy::Append => warehouse.append(&target, base, rows, &state).await?,
            Strategy::Merge { key, null_keys } => {
                let staged = warehouse.stage(&target, rows, &state).await?;
                staged.refuse_null_keys(key, *null_keys).await?;
                staged.refuse_duplicate_keys(key).await?;
                warehouse
                    .replace_keys(&target, base, &staged, key, *null_keys, &state)
                    .await?
            }
            Strategy::DeleteInsert { key, null_keys } => {
                let staged = warehouse.stage(&target, rows, &state).await?;
                staged.refuse_null_keys(key, *null_keys).await?;
                warehouse
                    .replace_keys(&target, base, &staged, key, *null_keys, &state)
                    .await?
            }
            Strategy::OverwritePartitions { by } => {
                let staged = warehouse.stage(&target, rows, &state).await?;
                warehouse
                    .replace_partitions(&target, base, &staged, by, &state)
                    .await?
            }
        };
        table.version = written.version;
        table.n_rows = written.n_rows;
        for entry in batch {
            table.ledger.enter(entry.clone());
        }
        table.made.data = data_of(&table.made, &table.ledger);
        table.made.checks = None;
        warehouse.note_progress(&self.node.table, table).await
    }

    fn target<'a>(&'a self, location: &'a str) -> Target<'a> {
        Target {
            table: &self.node.table,
            location,
            partition_by: self.incremental.partition_by(),
        }
    }

    /// The rows of an interval, out of what it reads of the inputs; or none, for the columns.
    async fn rows(&self, interval: Option<Interval>) -> Result<SendableRecordBatchStream> {
        let failed = |error| Error::of_step(&self.node.table, error);
        let session = self.publication.warehouse.session();
        let mut tables = Tables::new();
        for name in &self.node.inputs {
            let Some(table) = self.tables.get(name) else {
                continue;
            };
            let table = match (self.incremental.reads.get(name), interval) {
                (Some(reads), Some(interval)) => {
                    let window = reads.window(interval);
                    cut(&session, name, table, &reads.time_column, window).map_err(failed)?
                }
                _ => Arc::clone(table),
            };
            tables.insert(name.clone(), table);
        }
        let inputs = register(&session, &tables, &self.node.inputs, self.functions);
        let inputs = inputs.map_err(failed)?;
        let ctx = StepContext::new(&self.node.table, &inputs, session, false);
        let frame = self.step.plan(&ctx).await.map_err(failed)?;
        let frame = match interval {
            Some(interval) => {
                let column = &self.incremental.time_column;
                let data_type = time_type(frame.schema().inner(), column);
                let data_type = data_type.map_err(|reason| Error::InvalidIncremental {
                    table: self.node.table.clone(),
                    reason,
                })?;
                // Rows without a time come along, to be found.
                let wanted = inside(column, interval, &data_type).or(time(column).is_null());
                frame.filter(wanted)
            }
            None => frame.limit(0, Some(0)),
        };
        let frame = frame.map_err(failed)?;
        let rows = frame.execute_stream().await.map_err(failed)?;
        Ok(self.with_times(rows))
    }

    /// The same rows, which end with an error at one without a time.
    fn with_times(&self, rows: SendableRecordBatchStream) -> SendableRecordBatchStream {
        let (table, column) = (
            self.node.table.clone(),
            self.incremental.time_column.clone(),
        );
        let schema = rows.schema();
        let rows = rows.map(move |batch| {
            let batch = batch?;
            let times = batch.column_by_name(&column);
            if times.is_none_or(|times| times.null_count() > 0) {
                let (table, column) = (table.clone(), column.clone());
                return Err(Error::NoTime { table, column }.into_datafusion());
            }
            Ok(batch)
        });
        Box::pin(RecordBatchStreamAdapter::new(schema, rows))
    }
}

/// The columns by which intervals are told, and why one is none.
pub(super) fn time_type(schema: &SchemaRef, column: &str) -> std::result::Result<DataType, String> {
    let Some((_, field)) = schema.column_with_name(column) else {
        let names = schema.fields().iter().map(|field| field.name());
        let hint = reco_core::did_you_mean(reco_core::nearest(column, names).as_deref());
        return Err(format!("there is no column `{column}`{hint}"));
    };
    match field.data_type() {
        DataType::Timestamp(_, _) | DataType::Date32 => Ok(field.data_type().clone()),
        other => Err(format!(
            "column `{column}` is {other}, not a timestamp or a date"
        )),
    }
}

/// All that a batch of neighbours spans.
fn span(batch: &[LedgerEntry]) -> Interval {
    Interval {
        start: batch[0].interval.start,
        end: batch[batch.len() - 1].interval.end,
    }
}

/// The rows of a table whose time is in a window.
fn cut(
    session: &SessionContext,
    name: &str,
    table: &Arc<dyn TableProvider>,
    column: &str,
    window: Interval,
) -> EngineResult<Arc<dyn TableProvider>> {
    let data_type = time_type(&table.schema(), column);
    let data_type = data_type.map_err(|reason| exec_datafusion_err!("table `{name}`: {reason}"))?;
    let rows = scan(session, name, table)?;
    let rows = rows.filter(inside(column, window, &data_type))?;
    Ok(rows.into_view())
}

fn inside(column: &str, window: Interval, data_type: &DataType) -> Expr {
    let (start, end) = (window.start.as_microsecond(), window.end.as_microsecond());
    if *data_type == DataType::Date32 {
        // A date is inside if some time of it is.
        const DAY: i64 = 86_400_000_000;
        let date = |days: i64| lit(ScalarValue::Date32(i32::try_from(days).ok()));
        let from = time(column).gt_eq(date(start.div_euclid(DAY)));
        return from.and(time(column).lt_eq(date((end - 1).div_euclid(DAY))));
    }
    let from = time(column).gt_eq(literal(start, data_type));
    from.and(time(column).lt(literal(end, data_type)))
}

fn time(column: &str) -> Expr {
    Expr::Column(Column::from_name(column))
}

/// A time as a value of a column's type, so that no row has to be cast to be compared.
fn literal(micros: i64, data_type: &DataType) -> Expr {
    let utc = ScalarValue::TimestampMicrosecond(Some(micros), Some(Arc::from("UTC")));
    // A time that the type cannot hold is compared as it is: nanoseconds end in 2262.
    let value = utc.cast_to(data_type);
    lit(value.ok().filter(|value| !value.is_null()).unwrap_or(utc))
}
