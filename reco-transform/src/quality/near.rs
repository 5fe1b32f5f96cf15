//! What earlier runs found, as the table of their results says.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::TableReference;
use datafusion::error::Result;
use datafusion::functions::expr_fn::{ends_with, starts_with, strpos};
use datafusion::functions_aggregate::expr_fn::avg;
use datafusion::logical_expr::{Expr, ident, lit, try_cast};
use datafusion::prelude::{DataFrame, SessionContext};

use super::check::Check;
use super::config::ExpectationConfig;

/// The mean of what earlier runs found, where their tables were published; NULL if there is none.
///
/// The number of rows is that of the table. Any other figure is what the same check observed: the one of
/// the same column under the same condition, whatever it was compared with.
pub(super) async fn earlier(
    config: &ExpectationConfig,
    session: &SessionContext,
    table: &str,
) -> Result<DataFrame> {
    let (history, n_runs, figure) = match &config.check {
        Check::NullShareNearEarlier(near) | Check::MeanNearEarlier(near) => {
            (&near.history, near.n_runs, observed())
        }
        Check::QuantileNearEarlier {
            history, n_runs, ..
        } => (history, *n_runs, observed()),
        Check::RowCountNearEarlier {
            history, n_runs, ..
        } => (history, *n_runs, ident("n_rows")),
        other => return datafusion::common::plan_err!("{other} looks at no earlier run"),
    };
    let mut is_known = ident("subject")
        .eq(lit(table))
        .and(ident("n_rows").is_not_null());
    if let Some(metric) = config.check.metric() {
        is_known = is_known
            .and(ident("observed").is_not_null())
            .and(is_of(&metric, config.when.as_deref()));
    }
    let history = session.table(TableReference::bare(history.as_str()));
    history
        .await?
        .filter(is_known)?
        .select([ident("run_at"), figure.alias("__figure")])?
        .filter(ident("__figure").is_not_null())?
        .distinct()?
        .sort(vec![ident("run_at").sort(false, false)])?
        .limit(0, Some(usize::try_from(n_runs).unwrap_or(usize::MAX)))?
        .aggregate(Vec::new(), vec![avg(ident("__figure")).alias("__mean")])
}

/// What was found, which is kept as JSON, as a number; NULL if nothing was.
fn observed() -> Expr {
    try_cast(ident("observed"), DataType::Float64)
}

/// Whether a result is of a check that begins so, under the same condition.
fn is_of(metric: &str, when: Option<&str>) -> Expr {
    const WHEN: &str = ") when ";
    let begins = starts_with(ident("check"), lit(metric));
    match when {
        Some(when) => begins.and(ends_with(ident("check"), lit(format!("{WHEN}{when}")))),
        None => begins.and(strpos(ident("check"), lit(WHEN)).eq(lit(0))),
    }
}
