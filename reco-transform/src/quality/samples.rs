//! The rows that reports show.

use datafusion::error::Result as EngineResult;
use datafusion::logical_expr::Expr;
use datafusion::prelude::DataFrame;
use reco_core::CheckResult;

use super::json;

/// The first few rows in the order of their columns, of which only some are shown if any are named.
pub(super) async fn sample(failing: DataFrame, shown: &[String]) -> EngineResult<Vec<String>> {
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
