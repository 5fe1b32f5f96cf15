//! What one pass over single rows cannot tell of a table.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::common::{TableReference, plan_datafusion_err};
use datafusion::error::Result as EngineResult;
use datafusion::prelude::DataFrame;
use serde_json::Value;

use super::auditor::{Auditor, Found};
use super::check::Check;
use super::columns::check_columns;
use super::custom::{CheckedTables, CustomExpectation, Metrics};
use super::defect::is_of_columns;
use super::expectation::Expectation;
use super::near::earlier;
use super::pass::single_row;
use super::verdict::Verdict;

impl Auditor<'_> {
    /// What one pass over single rows cannot tell.
    pub(super) async fn look_further(
        &self,
        expectation: &Expectation,
        n_rows: u64,
        n_considered: u64,
        found: &mut Found,
    ) -> EngineResult<Verdict> {
        let check = expectation.check();
        match check {
            Check::RowCount(range) => Ok(Verdict::new(
                range.includes(n_considered),
                n_rows,
                Value::from(n_considered),
            )),
            Check::RowCountEqualsTable { table } => {
                let other = self
                    .session
                    .table(TableReference::bare(table.as_str()))
                    .await?;
                let n_other = other.count().await? as u64;
                Ok(Verdict::new(n_other == n_rows, n_rows, Value::from(n_rows))
                    .with_note(format!("`{table}` has {n_other} rows")))
            }
            Check::RowCountNearEarlier { .. } => {
                self.beside_earlier(
                    expectation,
                    Some(n_rows as f64),
                    Value::from(n_rows),
                    n_rows,
                )
                .await
            }
            Check::Custom { .. } => {
                let plan = self.metrics(expectation).await?;
                let custom = implementation(expectation)?;
                let finding = custom.judge(&Metrics::compute(plan).await?)?;
                Ok(Verdict {
                    passed: Some(finding.passed),
                    observed: finding.observed,
                    note: finding.note,
                    ..Verdict::of_rows(n_considered, 0)
                })
            }
            Check::Unique { .. }
            | Check::ColumnDistinctCount(_)
            | Check::ColumnDistinctShare(_) => {
                let rows = self.rows(expectation)?;
                let counts = match found.keys.iter().find(|(of, _)| of.has_keys_of(&rows)) {
                    Some((_, counts)) => *counts,
                    None => {
                        let counts = rows.count_keys().await?;
                        found.keys.push((rows, counts));
                        counts
                    }
                };
                Ok(counts.verdict(check, n_rows))
            }
            Check::MostCommonValue { .. } => {
                self.rows(expectation)?.most_common(check, n_rows).await
            }
            _ if is_of_columns(check) => {
                let schema = self.frame.schema();
                if let Check::ColumnType { column, .. } = check {
                    schema.field_with_unqualified_name(column)?;
                }
                let (passed, observed) =
                    check_columns(check, schema.as_arrow()).unwrap_or((false, Value::Null));
                Ok(Verdict::new(passed, n_rows, observed))
            }
            _ => {
                let n_failed = match self.failing(expectation).await? {
                    Some(failing) => failing.count().await? as u64,
                    None => 0,
                };
                // A query may find more than the table has rows.
                Ok(Verdict::of_rows(n_considered.max(n_failed), n_failed))
            }
        }
    }

    pub(super) async fn earlier(&self, expectation: &Expectation) -> EngineResult<DataFrame> {
        earlier(expectation.config(), self.session, self.table).await
    }

    /// Whether a figure is near those of earlier runs.
    pub(super) async fn beside_earlier(
        &self,
        expectation: &Expectation,
        found: Option<f64>,
        observed: Value,
        n_rows: u64,
    ) -> EngineResult<Verdict> {
        let mean = &single_row(self.earlier(expectation).await?).await?[0];
        let check = expectation.check();
        Ok(Verdict::near(found, observed, mean, check, n_rows))
    }

    /// The plan of what an expectation of the host is about.
    pub(super) async fn metrics(&self, expectation: &Expectation) -> EngineResult<DataFrame> {
        let custom = implementation(expectation)?;
        let mut others = BTreeMap::new();
        for other in custom.inputs() {
            let name = TableReference::bare(other.as_str());
            let frame = self.session.table(name).await?;
            others.insert(other, frame);
        }
        let table = self.rows(expectation)?.known()?;
        custom.metrics(&CheckedTables::new(table, others))
    }
}

fn implementation(expectation: &Expectation) -> EngineResult<&Arc<dyn CustomExpectation>> {
    let custom = expectation.implementation();
    custom.ok_or_else(|| plan_datafusion_err!("it has no implementation"))
}
