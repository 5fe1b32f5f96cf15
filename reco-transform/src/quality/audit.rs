//! The evaluation of expectations on a table.

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::common::{ScalarValue, TableReference};
use datafusion::error::Result as EngineResult;
use datafusion::logical_expr::Expr;
use datafusion::prelude::{DataFrame, SessionContext};
use reco_core::{CheckReport, CheckResult};
use serde_json::Value;

use super::check::Check;
use super::columns::check_columns;
use super::defect::{is_of_columns, is_of_rows};
use super::expectation::Expectation;
use super::json;
use super::keys::KeyCounts;
use super::pass::{Pass, Wanted, count_of, single_row};
use super::predicate::row_condition;
use super::rows::Rows;
use super::verdict::{Verdict, check_age, check_occurrences, share_passes};
use crate::error::{Error, Result};

/// What the audit of a table found.
#[derive(Debug)]
pub(crate) struct Audit {
    pub(crate) report: CheckReport,
    /// Known if anything was expected.
    pub(crate) n_rows: Option<u64>,
}

/// Evaluates all expectations on a table.
///
/// The session holds the tables that they name besides; the table itself is added under its name.
pub(crate) async fn audit(
    session: &SessionContext,
    table: &str,
    provider: &Arc<dyn TableProvider>,
    expectations: &[Expectation],
) -> Result<Audit> {
    if expectations.is_empty() {
        return Ok(Audit {
            report: CheckReport::new(table, Vec::new()),
            n_rows: None,
        });
    }
    let auditor = Auditor::new(session, table, provider).await;
    let auditor = auditor.map_err(|error| Error::of_step(table, error))?;
    auditor.audit(expectations).await
}

/// The plans by which expectations would be evaluated, for checking them without data.
pub(crate) async fn plans(
    session: &SessionContext,
    table: &str,
    provider: &Arc<dyn TableProvider>,
    expectations: &[Expectation],
) -> Result<Vec<DataFrame>> {
    let auditor = Auditor::new(session, table, provider).await;
    let auditor = auditor.map_err(|error| Error::of_step(table, error))?;
    let mut plans = Vec::new();
    for expectation in expectations {
        let plan = auditor.plan(expectation).await;
        plans.push(plan.map_err(|error| Error::of_expectation(expectation.name(), table, error))?);
    }
    Ok(plans)
}

/// Evaluates expectations on a table of a session, outside of any DAG.
///
/// # Errors
///
/// [`Error::Read`] if the session has no such table, and what [`DagBuilder::build`](crate::DagBuilder::build)
/// refuses. That an expectation is not met is no error: it is in the report.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use reco_transform::datafusion::prelude::SessionContext;
/// use reco_transform::{audit_table, column_mean, not_null};
///
/// let session = SessionContext::new();
/// let sales = session.sql("select * from (values ('hat', 9.5), (null, 20.5)) as t (item, price)");
/// session.register_table("sales", sales.await?.into_view())?;
///
/// let expectations = [not_null("item"), column_mean("price", 10.0..20.0)];
/// let report = audit_table(&session, "sales", &expectations).await?;
/// assert_eq!(
///     report.to_string(),
///     "sales: 1 of 2 checks passed\n  not_null(item) failed: 1 of 2 rows\n    {\"item\":null,\"price\":20.5}"
/// );
/// assert_eq!(report.results[1].observed.as_deref(), Some("15.0"));
/// # Ok(())
/// # }
/// ```
pub async fn audit_table(
    session: &SessionContext,
    table: &str,
    expectations: &[Expectation],
) -> Result<CheckReport> {
    for expectation in expectations {
        refuse_defect(table, expectation)?;
    }
    let auditor = Auditor::over(session, table).await?;
    Ok(Box::pin(auditor.audit(expectations)).await?.report)
}

/// All rows of a table that fail an expectation, as a plan: to be looked through, or written to a table.
///
/// Nothing is computed before the plan is executed; then rows stream, and are never held all at once
/// where the expectation is on single rows.
///
/// # Errors
///
/// As [`audit_table`], and [`Error::InvalidExpectation`] for what no single row can fail, such as a
/// number of rows.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use reco_transform::datafusion::prelude::SessionContext;
/// use reco_transform::{failing_rows, unique};
///
/// let session = SessionContext::new();
/// let numbers = session.sql("select value % 10 as n from generate_series(1, 12)").await?;
/// session.register_table("numbers", numbers.into_view())?;
///
/// let twice = failing_rows(&session, "numbers", &unique(["n"])).await?;
/// assert_eq!(twice.count().await?, 4);
/// # Ok(())
/// # }
/// ```
pub async fn failing_rows(
    session: &SessionContext,
    table: &str,
    expectation: &Expectation,
) -> Result<DataFrame> {
    refuse_defect(table, expectation)?;
    let auditor = Auditor::over(session, table).await?;
    let failing = auditor.failing(expectation).await;
    let failing =
        failing.map_err(|error| Error::of_expectation(expectation.name(), table, error))?;
    failing.ok_or_else(|| Error::InvalidExpectation {
        table: table.to_owned(),
        expectation: expectation.name().to_owned(),
        reason: "no single row can fail it".to_owned(),
    })
}

fn refuse_defect(table: &str, expectation: &Expectation) -> Result<()> {
    match expectation.defect() {
        None => Ok(()),
        Some(reason) => Err(Error::InvalidExpectation {
            table: table.to_owned(),
            expectation: expectation.name().to_owned(),
            reason: reason.to_owned(),
        }),
    }
}

struct Auditor<'a> {
    session: &'a SessionContext,
    table: &'a str,
    frame: DataFrame,
}

/// What was found of a table so far.
struct Found {
    totals: Vec<ScalarValue>,
    keys: Vec<(Rows, KeyCounts)>,
}

impl<'a> Auditor<'a> {
    async fn new(
        session: &'a SessionContext,
        table: &'a str,
        provider: &Arc<dyn TableProvider>,
    ) -> EngineResult<Self> {
        let name = TableReference::bare(table);
        session.deregister_table(name.clone())?;
        session.register_table(name.clone(), Arc::clone(provider))?;
        Ok(Self {
            session,
            table,
            frame: session.table(name).await?,
        })
    }

    async fn over(session: &'a SessionContext, table: &'a str) -> Result<Self> {
        let frame = session.table(TableReference::bare(table)).await;
        Ok(Self {
            session,
            table,
            frame: frame.map_err(|source| Error::Read {
                table: table.to_owned(),
                source,
            })?,
        })
    }

    async fn audit(&self, expectations: &[Expectation]) -> Result<Audit> {
        let failed = |expectation: &Expectation, error| {
            Error::of_expectation(expectation.name(), self.table, error)
        };
        let mut pass = Pass::new();
        let mut wanted = Vec::with_capacity(expectations.len());
        for expectation in expectations {
            let config = expectation.config();
            let slots = pass.want(config, self.session, self.frame.schema());
            wanted.push(slots.map_err(|error| failed(expectation, error))?);
        }
        let totals = match pass.plan(self.frame.clone()) {
            Ok(plan) => single_row(plan).await,
            Err(error) => Err(error),
        };
        let totals = totals.map_err(|error| {
            let names: Vec<&str> = expectations.iter().map(Expectation::name).collect();
            Error::of_expectation(&names.join(", "), self.table, error)
        })?;
        let mut found = Found {
            totals,
            keys: Vec::new(),
        };
        let mut results = Vec::with_capacity(expectations.len());
        for (expectation, wanted) in expectations.iter().zip(&wanted) {
            let verdict = self.judge(expectation, wanted, &mut found).await;
            let verdict = verdict.map_err(|error| failed(expectation, error))?;
            let result = self.result(expectation, verdict).await;
            results.push(result.map_err(|error| failed(expectation, error))?);
        }
        Ok(Audit {
            report: CheckReport::new(self.table, results),
            n_rows: Some(count_of(&found.totals[Pass::N_ROWS])),
        })
    }

    /// Whether an expectation is met.
    async fn judge(
        &self,
        expectation: &Expectation,
        wanted: &Wanted,
        found: &mut Found,
    ) -> EngineResult<Verdict> {
        let totals = &found.totals;
        let n_rows = count_of(&totals[Pass::N_ROWS]);
        match wanted {
            Wanted::Rows {
                n_failed,
                n_considered,
            } => Ok(Verdict::of_rows(
                count_of(&totals[*n_considered]),
                count_of(&totals[*n_failed]),
            )),
            Wanted::Value(slot) => {
                let value = &totals[*slot];
                match expectation.check() {
                    Check::ColumnMin(range)
                    | Check::ColumnMax(range)
                    | Check::ColumnMean(range)
                    | Check::ColumnStdev(range)
                    | Check::ColumnSum(range) => Ok(Verdict::new(
                        range.includes(value),
                        n_rows,
                        json::value(value)?,
                    )),
                    check => check_age(check, value, n_rows),
                }
            }
            Wanted::Occurrences { of_each, of_others } => {
                let of_each: Vec<_> = of_each
                    .iter()
                    .map(|slot| count_of(&totals[*slot]))
                    .collect();
                let of_others = of_others.map_or(0, |slot| count_of(&totals[slot]));
                Ok(check_occurrences(
                    expectation.check(),
                    n_rows,
                    &of_each,
                    of_others,
                ))
            }
            Wanted::Considered(slot) => {
                let n_considered = count_of(&totals[*slot]);
                self.look_further(expectation, n_rows, n_considered, found)
                    .await
            }
        }
    }

    /// What one pass over single rows cannot tell.
    async fn look_further(
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
            Check::RowCountNearEarlier { max_change, .. } => {
                let earlier = self.rows(expectation)?.earlier(check, self.table).await?;
                let mean = &single_row(earlier).await?[0];
                Ok(Verdict::near(n_rows, mean, *max_change))
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
            Check::ColumnMedian(_) | Check::ColumnQuantile { .. } => {
                let rows = self.rows(expectation)?;
                rows.quantile(check, n_rows, n_considered).await
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

    async fn result(
        &self,
        expectation: &Expectation,
        verdict: Verdict,
    ) -> EngineResult<CheckResult> {
        let config = expectation.config();
        let passed = match verdict.passed {
            Some(passed) => passed,
            None => share_passes(verdict.n_failed, verdict.n_checked, config.mostly),
        };
        let mut result = CheckResult {
            severity: config.severity,
            passed,
            n_failed: verdict.n_failed,
            observed: verdict.observed.map(|value| value.to_string()),
            note: verdict.note,
            ..CheckResult::passed(expectation.name(), verdict.n_checked)
        };
        if !passed
            && verdict.n_failed > 0
            && let Some(failing) = self.failing(expectation).await?
        {
            let shown = self.rows(expectation)?.shown(&config.key);
            result = result.with_samples(sample(failing, &shown).await?);
        }
        Ok(result)
    }

    /// All rows that fail; none for what no row can fail.
    async fn failing(&self, expectation: &Expectation) -> EngineResult<Option<DataFrame>> {
        let (config, schema) = (expectation.config(), self.frame.schema());
        if let Some(condition) = row_condition(config, self.session, schema)? {
            return self.frame.clone().filter(condition.fails).map(Some);
        }
        match expectation.check() {
            Check::NoRows { query, .. } => self.session.sql(query).await.map(Some),
            check if is_of_rows(check) => {
                let other = match check {
                    Check::Relationships { to_table, .. } => {
                        let name = TableReference::bare(to_table.as_str());
                        Some(self.session.table(name).await?)
                    }
                    _ => None,
                };
                self.rows(expectation)?.failing(check, other)
            }
            _ => Ok(None),
        }
    }

    fn rows(&self, expectation: &Expectation) -> EngineResult<Rows> {
        Rows::of(expectation.config(), self.session, &self.frame)
    }

    /// A plan that names all that an expectation needs.
    async fn plan(&self, expectation: &Expectation) -> EngineResult<DataFrame> {
        let mut pass = Pass::new();
        let wanted = pass.want(expectation.config(), self.session, self.frame.schema())?;
        let Wanted::Considered(_) = wanted else {
            return pass.plan(self.frame.clone());
        };
        let check = expectation.check();
        match check {
            Check::RowCountEqualsTable { table } => {
                self.session
                    .table(TableReference::bare(table.as_str()))
                    .await
            }
            Check::RowCountNearEarlier { .. } => {
                self.rows(expectation)?.earlier(check, self.table).await
            }
            Check::ColumnDistinctCount(_)
            | Check::ColumnDistinctShare(_)
            | Check::MostCommonValue { .. } => self.rows(expectation)?.keys(),
            Check::ColumnType { column, .. } => {
                self.frame.schema().field_with_unqualified_name(column)?;
                Ok(self.frame.clone())
            }
            _ => match self.failing(expectation).await? {
                Some(failing) => Ok(failing),
                None => pass.plan(self.frame.clone()),
            },
        }
    }
}

/// The first few rows in the order of their columns, of which only some are shown if any are named.
async fn sample(failing: DataFrame, shown: &[String]) -> EngineResult<Vec<String>> {
    let is_shown = |name: &str| shown.is_empty() || shown.iter().any(|shown| shown == name);
    let columns = failing.schema().columns();
    let columns = columns.into_iter().filter(|column| is_shown(&column.name));
    let failing = failing.select(columns.map(Expr::Column).collect::<Vec<_>>())?;
    let order = failing
        .schema()
        .columns()
        .into_iter()
        .zip(failing.schema().fields())
        .filter(|(_, field)| !field.data_type().is_nested())
        .map(|(column, _)| Expr::Column(column).sort(true, true))
        .collect();
    let batches = failing
        .sort(order)?
        .limit(0, Some(CheckResult::MAX_SAMPLES))?
        .collect()
        .await?;
    let mut samples = Vec::new();
    for batch in &batches {
        samples.extend(json::rows(batch)?);
    }
    Ok(samples)
}
