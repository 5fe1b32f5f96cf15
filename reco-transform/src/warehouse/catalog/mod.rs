//! [`Catalog`]: what a warehouse shows, for queries.
//!
//! ```text
//! public.<table>              every table that the environment shows
//! reco.tables, columns        what is published where, of what, in which version
//! reco.runs, run_tables       what became of every run and of every table in it
//! reco.checks                 what was expected and found, run by run
//! reco.lineage                which table is made of which; column_lineage: which column
//! information_schema.*        the same tables, as other tools expect it
//! ```
//!
//! A table is opened when a query names it, at the version that was shown when the catalogue was opened or
//! last [refreshed](Catalog::refresh): all queries in between see the same rows.

mod history;
mod published;
mod reco;
mod rows;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use datafusion::catalog::{CatalogProvider, MemoryCatalogProvider, TableProvider};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result as EngineResult;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::{DataFrame, SessionContext};
use tokio::sync::Mutex;

use self::history::History;
use self::published::PublishedSchema;
use self::reco::RecoSchema;
use super::{EnvironmentState, PublishedTable, Warehouse};
use crate::error::{Error, Result};

/// The name of the schema that published tables are in.
const PUBLIC: &str = "public";
/// The name of the schema that tells about them.
const RECO: &str = "reco";

/// What a warehouse shows, for queries; made by [`Warehouse::catalog`].
///
/// Only for reading: it has no method that writes, and refuses statements that do.
///
/// | table | a row is | columns |
/// | --- | --- | --- |
/// | `reco.tables` | a published table of an environment | `environment`, `table_name`, `location`, `version`, `n_rows`, `published_at`, `definition`, `data`, `inputs` |
/// | `reco.columns` | a column of one | `environment`, `table_name`, `column_name`, `position`, `data_type`, `is_nullable` |
/// | `reco.runs` | a run that ended | `run_id`, `environment`, `number`, `started_at`, `ended_at`, `duration_s`, `status`, `error`, `state`, `n_tables`, `n_built`, `n_missing` |
/// | `reco.run_tables` | a table in a run | `run_id`, `environment`, `table_name`, `kind`, `materialization`, `action`, `why`, `status`, `n_rows`, `version`, `duration_s`, `error` |
/// | `reco.checks` | an expectation in a run | `run_id`, `environment`, `ended_at`, `table_name`, `expectation`, `severity`, `outcome`, `n_checked`, `n_failed`, `observed`, `note` |
/// | `reco.lineage` | a table that another one reads | `environment`, `table_name`, `reads`, `relation`: `input` or `audit` |
/// | `reco.column_lineage` | a column that another one is made of | `environment`, `table_name`, `column_name`, `from_table`, `from_column`, `relation`: `value`, `influence` or `rows` |
///
/// These tell of all environments of the warehouse; `published_at` is since when the environment has shown
/// the table as it is, by the clock of the store. See [`RunRecord`](crate::RunRecord) for what a run leaves.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use reco_transform::{Dag, Materialization, Warehouse};
///
/// let warehouse = Warehouse::in_memory();
/// let dag = Dag::builder()
///     .sql("items", "select * from (values ('hat', 9.5), ('scarf', 20)) as t (item, price)")
///     .materialize_others(Materialization::Delta)
///     .build()?;
/// dag.run(&warehouse).await?;
///
/// let catalog = warehouse.catalog().await?;
/// let dear = catalog.sql("select item from items where price > 10").await?;
/// assert_eq!(dear.count().await?, 1);
/// let made = catalog.sql("select * from reco.tables where n_rows = 2").await?;
/// assert_eq!(made.count().await?, 1);
/// let refused = catalog.sql("drop table items").await.unwrap_err();
/// assert_eq!(refused.to_string(), "the warehouse is only for reading here: DropTable is refused");
/// # Ok(())
/// # }
/// ```
///
/// No method publishes:
///
/// ```compile_fail
/// # async fn f(catalog: reco_transform::Catalog) {
/// catalog.promote("dev").await;
/// # }
/// ```
#[derive(Clone)]
pub struct Catalog {
    session: SessionContext,
    shown: Arc<Shown>,
}

/// Tables by their locations and versions.
type Opened = HashMap<(String, u64), Arc<dyn TableProvider>>;

/// What is shown, shared by all that look at it.
pub(crate) struct Shown {
    warehouse: Warehouse,
    /// The state that is shown; none if nothing was ever published.
    state: RwLock<Option<Arc<EnvironmentState>>>,
    /// The tables that were opened.
    opened: Arc<Mutex<Opened>>,
    history: Arc<History>,
}

impl Warehouse {
    /// What the environment shows, for queries.
    ///
    /// # Errors
    ///
    /// [`Error::Environment`] if the environment cannot be read.
    pub async fn catalog(&self) -> Result<Catalog> {
        let shown = Arc::new(Shown {
            history: Arc::new(History::new(self)),
            warehouse: self.clone(),
            state: RwLock::new(None),
            opened: Arc::default(),
        });
        shown.refresh().await?;
        Catalog::new(shown)
    }
}

impl Catalog {
    /// A session of its own over what is shown.
    pub(crate) fn new(shown: Arc<Shown>) -> Result<Self> {
        let warehouse = &shown.warehouse;
        let name = warehouse.environment_name();
        let config = warehouse
            .session()
            .copied_config()
            .with_information_schema(true)
            .with_create_default_catalog_and_schema(false)
            .with_default_catalog_and_schema(name, PUBLIC);
        let session = SessionContext::new_with_config_rt(config, Arc::clone(&warehouse.runtime));
        let catalog = MemoryCatalogProvider::new();
        let failed = |source| Error::Query { source };
        let published = Arc::new(PublishedSchema::new(Arc::clone(&shown)));
        catalog.register_schema(PUBLIC, published).map_err(failed)?;
        let reco = Arc::new(RecoSchema::new(Arc::clone(&shown)));
        catalog.register_schema(RECO, reco).map_err(failed)?;
        session.register_catalog(name, Arc::new(catalog));
        Ok(Self { session, shown })
    }

    /// The rows of a query, lazily: one that only reads.
    ///
    /// # Errors
    ///
    /// [`Error::ReadOnly`] for a statement that writes or sets something, [`Error::Query`] if it cannot be
    /// planned.
    pub async fn sql(&self, query: &str) -> Result<DataFrame> {
        let state = self.session.state();
        let plan = state.create_logical_plan(query).await;
        let plan = plan.map_err(|source| Error::Query { source })?;
        match writing_part(&plan).map_err(|source| Error::Query { source })? {
            Some(statement) => Err(Error::ReadOnly { statement }),
            None => Ok(DataFrame::new(state, plan)),
        }
    }

    /// The name of the environment that is shown.
    #[must_use]
    pub fn environment(&self) -> &str {
        self.shown.warehouse.environment_name()
    }

    /// The names of the tables that the environment shows, in order.
    #[must_use]
    pub fn tables(&self) -> Vec<String> {
        let state = self.shown.state();
        let names = state.iter().flat_map(|state| state.contents.tables.keys());
        names.cloned().collect()
    }

    /// Shows what is published now.
    ///
    /// A query that was planned before and is executed after this reads the new versions; if the columns
    /// of a table are no longer the same, it fails.
    ///
    /// # Errors
    ///
    /// [`Error::Environment`] if the environment cannot be read.
    pub async fn refresh(&self) -> Result<()> {
        self.shown.refresh().await
    }

    /// Another one over the same environment, with a session and a moment of its own.
    #[cfg(feature = "pgwire")]
    pub(crate) fn another(&self) -> Result<Self> {
        let shown = &self.shown;
        Self::new(Arc::new(Shown {
            warehouse: shown.warehouse.clone(),
            state: RwLock::new(shown.state()),
            opened: Arc::clone(&shown.opened),
            history: Arc::clone(&shown.history),
        }))
    }

    #[cfg(feature = "pgwire")]
    pub(crate) const fn session(&self) -> &SessionContext {
        &self.session
    }

    #[cfg(feature = "pgwire")]
    pub(crate) const fn shown(&self) -> &Arc<Shown> {
        &self.shown
    }
}

impl fmt::Debug for Catalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Catalog")
            .field("shown", &self.shown)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shown")
            .field("environment", &self.warehouse.environment_name())
            .field("state", &self.state().map(|state| state.number))
            .finish_non_exhaustive()
    }
}

impl Shown {
    #[cfg(feature = "pgwire")]
    pub(crate) const fn warehouse(&self) -> &Warehouse {
        &self.warehouse
    }

    pub(crate) async fn refresh(&self) -> Result<()> {
        let state = self.warehouse.state().await?.map(Arc::new);
        let mut opened = self.opened.lock().await;
        opened.retain(|(location, version), _| {
            let mut tables = state
                .iter()
                .flat_map(|state| state.contents.tables.values());
            tables.any(|table| table.location == *location && table.version == *version)
        });
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = state;
        Ok(())
    }

    fn state(&self) -> Option<Arc<EnvironmentState>> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        state.clone()
    }

    /// A table as it is shown now.
    fn published(&self, name: &str) -> Option<PublishedTable> {
        self.state()?.contents.tables.get(name).cloned()
    }

    async fn open(&self, name: &str, table: &PublishedTable) -> Result<Arc<dyn TableProvider>> {
        let key = (table.location.clone(), table.version);
        if let Some(opened) = self.opened.lock().await.get(&key) {
            return Ok(Arc::clone(opened));
        }
        let opened = self
            .warehouse
            .provider(name, &table.location, table.version)
            .await?;
        self.opened.lock().await.insert(key, Arc::clone(&opened));
        Ok(opened)
    }
}

/// The part of a plan that does anything but read, by its name.
pub(crate) fn writing_part(plan: &LogicalPlan) -> EngineResult<Option<String>> {
    let mut found = None;
    plan.apply_with_subqueries(|node| {
        found = match node {
            LogicalPlan::Ddl(ddl) => Some(ddl.name().to_owned()),
            LogicalPlan::Dml(dml) => Some(dml.op.to_string()),
            LogicalPlan::Copy(_) => Some("Copy".to_owned()),
            LogicalPlan::Statement(statement) => Some(statement.name().to_owned()),
            _ => return Ok(TreeNodeRecursion::Continue),
        };
        Ok(TreeNodeRecursion::Stop)
    })?;
    Ok(found)
}
