//! The evaluation of expectations on a table.

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::prelude::{DataFrame, SessionContext};
use reco_core::CheckReport;

use super::auditor::Auditor;
use super::expectation::Expectation;
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
