//! [`Functions`]: what a plan calls by name, on the host, the scheduler and the executors.

use std::fmt;
use std::sync::Arc;

use ballista_core::optimizer::ballista_default_optimizer_rules;
use datafusion::error::Result;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::{FunctionRegistry, SessionState, SessionStateBuilder};
use datafusion::logical_expr::{AggregateUDF, ScalarUDF, WindowUDF};
use datafusion::prelude::SessionConfig;
use object_store::ObjectStore;

use crate::engine::json;

/// The functions that plans call besides DataFusion's own and those of JSON.
///
/// A plan holds their names only, so the
/// [`Cluster`](super::Cluster), the [`Scheduler`](super::Scheduler) and each
/// [`Executor`](super::Executor) are given the same ones, best by one function of the host.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use reco_transform::ballista::{Cluster, Functions, Scheduler};
/// use reco_transform::datafusion::arrow::datatypes::DataType;
/// use reco_transform::datafusion::logical_expr::{ScalarUDF, Volatility, create_udf};
///
/// fn shop_of_tenant() -> ScalarUDF {
///     let first = Arc::new(|values: &[_]| Ok(Clone::clone(&values[0])));
///     create_udf("shop_of_tenant", vec![DataType::Utf8], DataType::Utf8, Volatility::Immutable, first)
/// }
///
/// fn functions() -> Functions {
///     Functions::new().scalar(shop_of_tenant())
/// }
///
/// let cluster = Cluster::at("localhost:50050")?.with_functions(functions());
/// let scheduler = Scheduler::new(functions()); // In another process.
/// # Ok::<(), reco_transform::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Functions {
    scalar: Vec<Arc<ScalarUDF>>,
    aggregate: Vec<Arc<AggregateUDF>>,
    window: Vec<Arc<WindowUDF>>,
}

impl Functions {
    /// DataFusion's own, and those of JSON.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a function of a row.
    #[must_use]
    pub fn scalar(mut self, function: ScalarUDF) -> Self {
        self.scalar.push(Arc::new(function));
        self
    }

    /// Adds a function of a group.
    #[must_use]
    pub fn aggregate(mut self, function: AggregateUDF) -> Self {
        self.aggregate.push(Arc::new(function));
        self
    }

    /// Adds a function of a window.
    #[must_use]
    pub fn window(mut self, function: WindowUDF) -> Self {
        self.window.push(Arc::new(function));
        self
    }

    /// A session of the scheduler: what it decodes and plans with.
    pub(super) fn session(
        &self,
        config: SessionConfig,
        runtime: Arc<RuntimeEnv>,
    ) -> Result<SessionState> {
        let mut session = SessionStateBuilder::new()
            .with_default_features()
            .with_config(config)
            .with_runtime_env(runtime)
            .with_optimizer_rules(ballista_default_optimizer_rules())
            .build();
        json::register(&mut session)?;
        for function in &self.scalar {
            session.register_udf(Arc::clone(function))?;
        }
        for function in &self.aggregate {
            session.register_udaf(Arc::clone(function))?;
        }
        for function in &self.window {
            session.register_udwf(Arc::clone(function))?;
        }
        Ok(session)
    }
}

impl fmt::Debug for Functions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scalar = self.scalar.iter().map(|function| function.name());
        let aggregate = self.aggregate.iter().map(|function| function.name());
        let window = self.window.iter().map(|function| function.name());
        f.debug_list()
            .entries(scalar.chain(aggregate).chain(window))
            .finish()
    }
}

/// Object stores by the addresses that begin with them.
#[derive(Debug, Clone, Default)]
pub(super) struct Stores(Vec<(ObjectStoreUrl, Arc<dyn ObjectStore>)>);

impl Stores {
    pub(super) fn add(&mut self, url: ObjectStoreUrl, store: Arc<dyn ObjectStore>) {
        self.0.push((url, store));
    }

    pub(super) fn register(&self, runtime: &RuntimeEnv) {
        for (url, store) in &self.0 {
            runtime.register_object_store(url.as_ref(), Arc::clone(store));
        }
    }
}
