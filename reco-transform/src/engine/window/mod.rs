//! [`RunningWindows`]: windows that look back, over sorted rows, a batch at a time.
//!
//! ```text
//! BoundedWindowAggExec, sorted   ──▶   RunningWindowExec
//! ```
//!
//! The engine keeps a state for each partition of a window and evaluates it row by row, and a table of events
//! has as many partitions as clients and sessions. Where the rows are sorted by partition, one state is enough, and what most queries ask for (the row number, the
//! row before, the sum so far) is a pass over a column. Whatever is not known here stays as it is.

mod exec;
mod function;
mod running;

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::error::Result;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::windows::BoundedWindowAggExec;

use self::exec::RunningWindowExec;

/// Replaces the windows that look back, where the rows come sorted.
#[derive(Debug)]
pub(crate) struct RunningWindows;

impl PhysicalOptimizerRule for RunningWindows {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|node| {
            let running = node
                .downcast_ref::<BoundedWindowAggExec>()
                .and_then(RunningWindowExec::in_place_of);
            Ok(match running {
                Some(running) => Transformed::yes(Arc::new(running) as Arc<dyn ExecutionPlan>),
                None => Transformed::no(node),
            })
        })
        .data()
    }

    fn name(&self) -> &str {
        "running_windows"
    }

    fn schema_check(&self) -> bool {
        true
    }
}
