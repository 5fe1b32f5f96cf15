//! What of a plan can be sent to a cluster, and a plan as it is sent.

use std::sync::Arc;

use ballista_core::serde::BallistaPhysicalExtensionCodec;
use datafusion::catalog::TableProvider;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::datasource::listing::ListingTable;
use datafusion::datasource::{MemTable, provider_as_source, source_as_provider};
use datafusion::error::{DataFusionError, Result as EngineResult};
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::{FunctionRegistry, SessionState};
use datafusion::logical_expr::expr::WindowFunctionDefinition;
use datafusion::logical_expr::{Expr, LogicalPlan, TableScan};
use datafusion::parquet::arrow::ArrowSchemaConverter;
use datafusion_proto::logical_plan::AsLogicalPlan;
use datafusion_proto::physical_plan::AsExecutionPlan;
use datafusion_proto::protobuf::{LogicalPlanNode, PhysicalPlanNode};

use super::Cluster;
use super::files::{Codec, ParquetFiles};
use super::staging::{Staging, too_large};
use crate::error::{Error, Result};

impl Cluster {
    /// Refuses a step whose plan cannot be sent.
    ///
    /// It is written down and read again as the scheduler would, and planned, and what executors would be
    /// sent is written down, too.
    pub(crate) async fn check(
        &self,
        step: &str,
        plan: &LogicalPlan,
        session: SessionState,
    ) -> Result<()> {
        let session = self.planning(session);
        let refused = |error: DataFusionError| refused(step, &error);
        let scheduler = self
            .functions
            .session(session.config().clone(), Arc::new(RuntimeEnv::default()))
            .map_err(refused)?;
        self.check_nodes(step, plan, &scheduler)?;
        let plan = without_rows(plan.clone()).map_err(refused)?;
        let plan = session.optimize(&plan).map_err(refused)?;
        let read = deep(|| {
            let sent = LogicalPlanNode::try_from_logical_plan(&plan, &Codec::default())?;
            let mut bytes = Vec::new();
            sent.try_encode(&mut bytes)?;
            LogicalPlanNode::try_decode(&bytes)?
                .try_into_logical_plan(&scheduler.task_ctx(), &Codec::default())
        });
        let tasks = scheduler
            .create_physical_plan(&read.map_err(refused)?)
            .await
            .map_err(refused)?;
        let codec = BallistaPhysicalExtensionCodec::default();
        deep(|| PhysicalPlanNode::try_from_physical_plan(tasks, &codec)).map_err(refused)?;
        Ok(())
    }

    /// Refuses operators and functions that only the host knows, by their names.
    fn check_nodes(&self, step: &str, plan: &LogicalPlan, scheduler: &SessionState) -> Result<()> {
        let mut reason = None;
        let seen = plan.apply_with_subqueries(|node| {
            reason = match node {
                LogicalPlan::Extension(extension) => Some(format!(
                    "the operator `{}` is the host's own",
                    extension.node.name()
                )),
                _ => self.unknown_function(node, scheduler)?,
            };
            Ok(match reason {
                Some(_) => TreeNodeRecursion::Stop,
                None => TreeNodeRecursion::Continue,
            })
        });
        seen.map_err(|error| refused(step, &error))?;
        match reason {
            None => Ok(()),
            Some(reason) => Err(Error::CannotTravel {
                table: step.to_owned(),
                reason,
            }),
        }
    }

    fn unknown_function(
        &self,
        node: &LogicalPlan,
        scheduler: &SessionState,
    ) -> EngineResult<Option<String>> {
        let mut unknown = None;
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                let (name, is_known) = match expr {
                    Expr::ScalarFunction(call) => (call.name(), scheduler.udf(call.name()).is_ok()),
                    Expr::AggregateFunction(call) => {
                        let name = call.func.name();
                        (name, scheduler.udaf(name).is_ok())
                    }
                    Expr::WindowFunction(call) => match &call.fun {
                        WindowFunctionDefinition::AggregateUDF(function) => {
                            (function.name(), scheduler.udaf(function.name()).is_ok())
                        }
                        WindowFunctionDefinition::WindowUDF(function) => {
                            (function.name(), scheduler.udwf(function.name()).is_ok())
                        }
                    },
                    _ => return Ok(TreeNodeRecursion::Continue),
                };
                if is_known {
                    return Ok(TreeNodeRecursion::Continue);
                }
                unknown = Some(format!(
                    "the function `{name}` is not one of those that the cluster at `{}` was given",
                    self.address
                ));
                Ok(TreeNodeRecursion::Stop)
            })
        })?;
        Ok(unknown)
    }

    /// A step's plan as it is sent, its tables staged where executors cannot read them; none if it reads no
    /// table.
    pub(super) async fn portable(
        &self,
        plan: LogicalPlan,
        session: &SessionState,
        staging: &Staging,
    ) -> EngineResult<Option<LogicalPlan>> {
        let mut scans: Vec<(String, Arc<dyn TableProvider>)> = Vec::new();
        plan.apply_with_subqueries(|node| {
            if let LogicalPlan::TableScan(scan) = node {
                let provider = source_as_provider(&scan.source)?;
                scans.push((scan.table_name.table().to_owned(), provider));
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        if scans.is_empty() {
            return Ok(None);
        }
        let mut staged: Vec<(Arc<dyn TableProvider>, Arc<ParquetFiles>)> = Vec::new();
        for (name, table) in scans {
            let is_there = staged.iter().any(|(other, _)| Arc::ptr_eq(other, &table));
            if !is_there && !is_read_by_executors(&*table) {
                let limit = self.config.stage_limit;
                let files = staging.stage(&name, &table, session, limit).await?;
                staged.push((table, files));
            }
        }
        let plan = plan.transform_up_with_subqueries(|node| {
            let LogicalPlan::TableScan(scan) = node else {
                return Ok(Transformed::no(node));
            };
            let table = source_as_provider(&scan.source)?;
            let files = staged
                .iter()
                .find(|(staged, _)| Arc::ptr_eq(staged, &table));
            let Some((_, files)) = files else {
                return Ok(Transformed::no(LogicalPlan::TableScan(scan)));
            };
            let source = provider_as_source(Arc::clone(files) as Arc<dyn TableProvider>);
            Ok(Transformed::yes(LogicalPlan::TableScan(TableScan {
                source,
                ..scan
            })))
        })?;
        Ok(Some(plan.data))
    }
}

/// Refuses a source that can neither be read by executors nor be staged.
pub(crate) async fn check_source(
    name: &str,
    table: &dyn TableProvider,
    cluster: &Cluster,
) -> Result<()> {
    if is_read_by_executors(table) {
        return Ok(());
    }
    let refused = |reason: String| Error::CannotTravel {
        table: name.to_owned(),
        reason,
    };
    ArrowSchemaConverter::new()
        .convert(&table.schema())
        .map_err(|error| refused(format!("it cannot be staged as Parquet: {error}")))?;
    if let Some(table) = table.downcast_ref::<MemTable>() {
        let mut n_bytes = 0;
        for partition in &table.batches {
            let batches = partition.read().await;
            n_bytes += batches
                .iter()
                .map(|batch| batch.get_array_memory_size())
                .sum::<usize>();
        }
        if n_bytes > cluster.config.stage_limit {
            return Err(too_large(name, cluster.config.stage_limit));
        }
    }
    Ok(())
}

/// Whether a table is written down as where it is, and not by what it holds.
fn is_read_by_executors(table: &dyn TableProvider) -> bool {
    table.is::<ParquetFiles>() || table.is::<ListingTable>()
}

/// The plan over empty tables in place of those that will be staged.
fn without_rows(plan: LogicalPlan) -> EngineResult<LogicalPlan> {
    let plan = plan.transform_up_with_subqueries(|node| {
        let LogicalPlan::TableScan(scan) = node else {
            return Ok(Transformed::no(node));
        };
        let table = source_as_provider(&scan.source)?;
        if is_read_by_executors(&*table) {
            return Ok(Transformed::no(LogicalPlan::TableScan(scan)));
        }
        let source = provider_as_source(Arc::new(ParquetFiles::none(table.schema())));
        Ok(Transformed::yes(LogicalPlan::TableScan(TableScan {
            source,
            ..scan
        })))
    })?;
    Ok(plan.data)
}

fn refused(step: &str, error: &DataFusionError) -> Error {
    let text = error.strip_backtrace();
    let text = text.lines().next().unwrap_or_default();
    Error::CannotTravel {
        table: step.to_owned(),
        reason: format!("its plan cannot be written down: {text}"),
    }
}

/// Runs what recurses once an operator and an expression: in debug builds the stack of a thread is soon full.
fn deep<T>(run: impl FnOnce() -> T) -> T {
    stacker::maybe_grow(1 << 20, 16 << 20, run)
}
