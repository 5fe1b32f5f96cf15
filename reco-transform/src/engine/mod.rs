//! What a session of a warehouse has beyond DataFusion's own: JSON in queries, and ways to compute what
//! click streams ask for.
//!
//! | what | instead of | why |
//! | --- | --- | --- |
//! | [`json`] | one parse a field | a payload has ten fields |
//! | [`window`] | a state for each partition | there are as many partitions as clients |
//! | [`array_agg`] | an accumulator for each group | there are as many groups as sessions |
//! | [`count`] | a set for each group | the same |
//!
//! They give the same rows: a query is planned by DataFusion, and what is replaced here is replaced where
//! all of it is understood.

mod array_agg;
mod count;
pub(crate) mod json;
#[cfg(test)]
mod same_rows;
mod window;

use std::sync::Arc;

use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::AggregateUDF;
use datafusion::prelude::{SessionConfig, SessionContext};

use self::array_agg::ArrayAgg;
use self::count::Count;
use self::json::FuseJson;
use self::window::RunningWindows;

/// A session with all of it, within limits.
pub(crate) fn session_with(config: SessionConfig, runtime: Arc<RuntimeEnv>) -> SessionContext {
    let mut state = SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(runtime)
        .with_default_features()
        .with_optimizer_rule(Arc::new(FuseJson))
        .with_physical_optimizer_rule(Arc::new(RunningWindows))
        .build();
    json::register(&mut state).expect("a session takes functions");
    let session = SessionContext::new_with_state(state);
    session.register_udaf(AggregateUDF::from(ArrayAgg::default()));
    session.register_udaf(AggregateUDF::from(Count::default()));
    session
}

/// A session with JSON in queries and nothing else, for plans that others compute.
#[cfg(feature = "ballista")]
pub(crate) fn plain_session_with(
    config: SessionConfig,
    runtime: Arc<RuntimeEnv>,
) -> SessionContext {
    let mut state = SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(runtime)
        .with_default_features()
        .build();
    json::register(&mut state).expect("a session takes functions");
    SessionContext::new_with_state(state)
}

/// A session with all of it, for plans that are looked at and for little data.
pub(crate) fn session() -> SessionContext {
    session_with(SessionConfig::new(), Arc::default())
}
