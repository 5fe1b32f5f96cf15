//! [`RunningWindowExec`]: the plan node.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch};
use datafusion::arrow::compute::partition;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{ScalarValue, internal_err};
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::OrderingRequirements;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::execution_plan::{
    CardinalityEffect, ChildrenPropertiesMode, ReplaceChildrenOptions,
};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::windows::BoundedWindowAggExec;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, InputDistributionRequirements, InputOrderMode,
    PlanProperties,
};
use futures::TryStreamExt;

use super::function::{Running, WindowFunction};

/// Windows that look back, over rows that are sorted by partition.
///
/// All that a planner asks is answered by the node that it stands for.
#[derive(Debug)]
pub(super) struct RunningWindowExec {
    stands_for: Arc<BoundedWindowAggExec>,
    functions: Vec<WindowFunction>,
    metrics: ExecutionPlanMetricsSet,
}

impl RunningWindowExec {
    /// The same windows, if all of them are known here.
    pub(super) fn in_place_of(node: &BoundedWindowAggExec) -> Option<Self> {
        let is_simple = node.input_order_mode == InputOrderMode::Sorted
            && node.state_observer().is_none()
            && !node.window_expr().is_empty();
        if !is_simple {
            return None;
        }
        // Their boundaries are found by a kernel that compares flat values.
        let schema = node.input().schema();
        let partition_by = node.window_expr()[0].partition_by();
        let are_flat = partition_by.iter().all(|key| {
            let data_type = key.data_type(&schema);
            data_type.is_ok_and(|data_type| !data_type.is_nested())
        });
        let functions = node.window_expr().iter();
        let functions = functions.map(|window| WindowFunction::of(window, &schema));
        Some(Self {
            functions: functions.collect::<Option<_>>().filter(|_| are_flat)?,
            stands_for: Arc::new(node.clone()),
            metrics: ExecutionPlanMetricsSet::new(),
        })
    }
}

impl DisplayAs for RunningWindowExec {
    fn fmt_as(&self, t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match t {
            DisplayFormatType::Default | DisplayFormatType::Verbose => {
                let names = self.stands_for.window_expr().iter();
                let names: Vec<&str> = names.map(|window| window.name()).collect();
                write!(f, "RunningWindowExec: {}", names.join(", "))
            }
            DisplayFormatType::TreeRender => Ok(()),
        }
    }
}

impl ExecutionPlan for RunningWindowExec {
    fn name(&self) -> &'static str {
        "RunningWindowExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.stands_for.properties()
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        self.stands_for.input_distribution_requirements()
    }

    fn required_input_ordering(&self) -> Vec<Option<OrderingRequirements>> {
        self.stands_for.required_input_ordering()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        self.stands_for.maintains_input_order()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.stands_for.children()
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.stands_for.apply_expressions(f)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let node = Arc::clone(&self.stands_for).replace_children(children, options)?;
        let running = node
            .downcast_ref::<BoundedWindowAggExec>()
            .and_then(Self::in_place_of);
        Ok(running.map_or(node, |running| Arc::new(running)))
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let options = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
        self.replace_children(children, options)
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let input = self.stands_for.input().execute(partition, context)?;
        let functions = self.functions.iter().map(WindowFunction::start);
        let mut windows = Windows {
            partition_by: self.stands_for.window_expr()[0].partition_by().to_vec(),
            functions: functions.collect::<Result<_>>()?,
            last_key: None,
            schema: self.schema(),
        };
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let rows = input.try_filter(|batch| std::future::ready(batch.num_rows() > 0));
        let rows = rows.and_then(move |batch| {
            let timer = metrics.elapsed_compute().timer();
            let batch = windows.add_to(&batch);
            timer.done();
            if let Ok(batch) = &batch {
                metrics.record_output(batch.num_rows());
            }
            std::future::ready(batch)
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), rows)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn cardinality_effect(&self) -> CardinalityEffect {
        CardinalityEffect::Equal
    }
}

/// The windows over the rows of one stream.
struct Windows {
    partition_by: Vec<Arc<dyn PhysicalExpr>>,
    functions: Vec<Box<dyn Running>>,
    /// The partition of the last row so far; none before the first.
    last_key: Option<Vec<ScalarValue>>,
    schema: SchemaRef,
}

impl Windows {
    /// The rows, of which there are some, with the columns of the windows.
    fn add_to(&mut self, batch: &RecordBatch) -> Result<RecordBatch> {
        let keys = self.partition_by.iter();
        let keys: Vec<ArrayRef> = keys
            .map(|key| key.evaluate(batch)?.into_array(batch.num_rows()))
            .collect::<Result<_>>()?;
        let key_at = |row| {
            let keys = keys.iter();
            keys.map(|key| ScalarValue::try_from_array(key, row))
                .collect::<Result<Vec<_>>>()
        };
        let goes_on = match &self.last_key {
            Some(last) => *last == key_at(0)?,
            None => false,
        };
        self.last_key = Some(key_at(batch.num_rows() - 1)?);
        let parts = Parts {
            goes_on,
            ranges: if keys.is_empty() {
                std::iter::once(0..batch.num_rows()).collect()
            } else {
                partition(&keys)?.ranges()
            },
        };
        let mut columns = batch.columns().to_vec();
        for function in &mut self.functions {
            let column = function.evaluate(batch, &parts)?;
            if column.len() != batch.num_rows() {
                return internal_err!("a window made {} rows", column.len());
            }
            columns.push(column);
        }
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }
}

/// The partitions of a batch, which has rows.
pub(super) struct Parts {
    /// Whether the first one is that of the row before the batch.
    pub(super) goes_on: bool,
    pub(super) ranges: Vec<Range<usize>>,
}

impl Parts {
    /// The partitions, each with whether it began before the batch.
    pub(super) fn iter(&self) -> impl Iterator<Item = (bool, Range<usize>)> {
        let ranges = self.ranges.iter().cloned().enumerate();
        ranges.map(|(position, range)| (position == 0 && self.goes_on, range))
    }

    /// How many of the last rows of the batch are in one partition.
    pub(super) fn n_in_last(&self) -> usize {
        self.ranges.last().map_or(0, ExactSizeIterator::len)
    }
}
