//! The check of a DAG on empty tables: columns, types and declared schemas.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::common::TableReference;
use datafusion::datasource::empty::EmptyTable;
use datafusion::error::Result as EngineResult;
use datafusion::logical_expr::{LogicalPlan, ScalarUDF};
use datafusion::prelude::{DataFrame, SessionContext};
use futures::FutureExt;

use super::increment::time_type;
use super::{Dag, Node, Origin};
use crate::engine;
use crate::error::{Error, Result};
use crate::incremental::{Every, Incremental};
use crate::quality::audit;
use crate::step::{Step, StepContext};

/// Tables by name.
pub(super) type Tables = BTreeMap<String, Arc<dyn TableProvider>>;

/// Checks a DAG without waiting; false if a step would have to wait, and so has to be checked later.
pub(super) fn check_now(dag: &Dag) -> Result<bool> {
    check(dag)
        .now_or_never()
        .map_or(Ok(false), |result| result.map(|_| true))
}

/// Plans every step and every expectation on empty tables, and returns these.
pub(super) async fn check(dag: &Dag) -> Result<Tables> {
    plan_each(dag, &mut |_, _, _| ()).await
}

/// How each step of a DAG, or of a part of one, computes its table of empty ones.
#[cfg(feature = "ballista")]
pub(super) async fn plans(dag: &Dag) -> Result<Vec<(String, LogicalPlan)>> {
    let mut plans = Vec::new();
    plan_each(dag, &mut |node, _, plan| {
        let is_part = dag.nodes.iter().any(|part| part.table == node.table);
        if let (true, Some(plan)) = (is_part, plan) {
            plans.push((node.table.clone(), plan.clone()));
        }
    })
    .await?;
    Ok(plans)
}

/// As [`check`], and shows each table's columns, and the plan if a step makes it.
pub(super) async fn plan_each(
    dag: &Dag,
    seen: &mut (dyn FnMut(&Node, &SchemaRef, Option<&LogicalPlan>) + Send),
) -> Result<Tables> {
    let mut tables = Tables::new();
    // A part reads what is published, whose columns only the warehouse knows.
    for node in &*dag.whole {
        let failed = |error| Error::of_step(&node.table, error);
        let session = engine::session();
        let inputs = register(&session, &tables, &node.inputs, &dag.functions).map_err(failed)?;
        let step: &dyn Step = match &node.origin {
            Origin::Sql(step) => step,
            Origin::Step(step) => step.as_ref(),
            Origin::Source(source) => {
                let schema = source.table().schema();
                seen(node, &schema, None);
                check_audit(dag, node, &mut tables, schema).await?;
                continue;
            }
            // In a part only; a whole DAG makes all that it reads.
            Origin::Published => continue,
        };
        let frame = planned(step, &inputs, &session).await?;
        let schema = Arc::clone(frame.schema().inner());
        if let Some(incremental) = &node.incremental {
            check_incremental(&node.table, incremental, &schema, &inputs)?;
        }
        seen(node, &schema, Some(frame.logical_plan()));
        check_audit(dag, node, &mut tables, schema).await?;
    }
    Ok(tables)
}

/// Plans the expectations of a table, which is then there for others.
async fn check_audit(dag: &Dag, node: &Node, tables: &mut Tables, schema: SchemaRef) -> Result<()> {
    let table: Arc<dyn TableProvider> = Arc::new(EmptyTable::new(schema));
    let session = engine::session();
    register(&session, tables, node.dependencies(), &dag.functions)
        .map_err(|error| Error::of_step(&node.table, error))?;
    check_expectations(&session, node, &table).await?;
    tables.insert(node.table.clone(), table);
    Ok(())
}

/// Whether the columns are there by which a table is made interval by interval.
fn check_incremental(
    table: &str,
    incremental: &Incremental,
    schema: &SchemaRef,
    inputs: &Tables,
) -> Result<()> {
    let invalid = |reason: String| Error::InvalidIncremental {
        table: table.to_owned(),
        reason,
    };
    let time = time_type(schema, &incremental.time_column).map_err(invalid)?;
    if time == DataType::Date32 && incremental.every == Every::Hour {
        let column = &incremental.time_column;
        return Err(invalid(format!(
            "column `{column}` is a date, which is in no hour"
        )));
    }
    for column in incremental.strategy.columns() {
        if schema.column_with_name(column).is_none() {
            let nearest = reco_core::nearest(column, schema.fields().iter().map(|f| f.name()));
            let hint = reco_core::did_you_mean(nearest.as_deref());
            return Err(invalid(format!("there is no column `{column}`{hint}")));
        }
    }
    for (input, reads) in &incremental.reads {
        if let Some(provider) = inputs.get(input) {
            time_type(&provider.schema(), &reads.time_column)
                .map_err(|reason| invalid(format!("in `{input}`, {reason}")))?;
        }
    }
    Ok(())
}

/// How a step makes its table.
async fn planned(step: &dyn Step, inputs: &Tables, session: &SessionContext) -> Result<DataFrame> {
    let ctx = StepContext::new(step.name(), inputs, session.clone(), true);
    // Whoever puts a DAG together gets an error, not the panic of a step.
    let planned = AssertUnwindSafe(step.plan(&ctx)).catch_unwind().await;
    let planned = planned.map_err(|panic| Error::Panicked {
        step: step.name().to_owned(),
        message: message_of(panic.as_ref()),
    })?;
    let frame = planned.map_err(|error| Error::of_step(step.name(), error))?;
    analyze(session, &frame).map_err(|error| Error::of_step(step.name(), error))?;
    Ok(frame)
}

/// The text of a panic, which is what `panic!` makes of its arguments.
pub(super) fn message_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "without a message".to_owned())
}

async fn check_expectations(
    session: &SessionContext,
    node: &Node,
    table: &Arc<dyn TableProvider>,
) -> Result<()> {
    let plans = audit::plans(session, &node.table, table, &node.expectations).await?;
    for (plan, expectation) in plans.iter().zip(&node.expectations) {
        analyze(session, plan)
            .map_err(|error| Error::of_expectation(expectation.name(), &node.table, error))?;
    }
    Ok(())
}

/// Types are resolved by the analyzer only, not when a plan is built.
fn analyze(session: &SessionContext, frame: &DataFrame) -> EngineResult<()> {
    let state = session.state();
    let plan = frame.logical_plan().clone();
    state
        .analyzer()
        .execute_and_check(plan, state.config_options(), |_, _| ())
        .map(drop)
}

/// Adds to a session the functions of the DAG and some of its tables, and returns these.
pub(super) fn register<'a>(
    session: &SessionContext,
    tables: &Tables,
    names: impl IntoIterator<Item = &'a String>,
    functions: &[ScalarUDF],
) -> EngineResult<Tables> {
    for function in functions {
        session.register_udf(function.clone());
    }
    let mut registered = Tables::new();
    for name in names {
        let Some(table) = tables.get(name) else {
            continue;
        };
        session.register_table(TableReference::bare(name.as_str()), Arc::clone(table))?;
        registered.insert(name.clone(), Arc::clone(table));
    }
    Ok(registered)
}
