//! The time that a step under test is told.

use datafusion::arrow::datatypes::TimestampMicrosecondType;
use datafusion::arrow::temporal_conversions::as_datetime;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::prelude::DataFrame;
use reco_core::Timestamp;

/// The functions of the engine that give the time of the query.
const CLOCKS: [&str; 3] = ["now", "current_date", "current_time"];

/// The function by which a plan asks for the time, if it does.
pub(super) fn asked(plan: &LogicalPlan) -> Result<Option<String>> {
    let mut found = None;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                if let Expr::ScalarFunction(call) = expr
                    && CLOCKS.contains(&call.name())
                {
                    found = Some(call.name().to_owned());
                    return Ok(TreeNodeRecursion::Stop);
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(found)
}

/// The same frame, executed as if at a time.
pub(super) fn set(frame: DataFrame, now: Timestamp) -> DataFrame {
    let (mut state, plan) = frame.into_parts();
    let time = as_datetime::<TimestampMicrosecondType>(now.as_microsecond());
    state.execution_props_mut().query_execution_start_time = time.map(|time| time.and_utc());
    DataFrame::new(state, plan)
}
