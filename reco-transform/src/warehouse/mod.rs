//! [`Warehouse`]: where the tables of a DAG are published, and what a run may use.
//!
//! ```text
//! sessions/3f9a1c…/_delta_log, *.parquet     a Delta table for each definition that `sessions` ever had
//! _environments/prod/0000…0007.json          which version of which of them readers see: see `environment`
//! _builds/…json                              what was built, to be found again: see `builds`
//! _runs/prod/0000…0007.json                  what became of a run: see `runs`
//! ```

mod builds;
mod catalog;
#[cfg(feature = "ballista")]
mod cluster;
mod environment;
mod keys;
mod one_stream;
mod retention;
mod runs;
mod storage;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use datafusion::error::DataFusionError;
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::prelude::{DataFrame, SessionConfig, SessionContext};
use deltalake::ensure_table_uri;
use deltalake::logstore::store_for;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use object_store::path::Path as ObjectPath;
use object_store::prefix::PrefixStore;
use reco_core::Timestamp;
use serde::{Deserialize, Serialize};

pub use catalog::Catalog;
#[cfg(feature = "pgwire")]
pub(crate) use catalog::Shown;
pub use environment::{Contents, EnvironmentState, Made, PROD, PublishedTable};
pub use runs::{RunCheck, RunRecord, RunRetention, RunStatus, RunTable};

use self::environment::Environment;
#[cfg(feature = "ballista")]
pub(crate) use self::retention::STAGING;
pub use self::retention::{Retention, Vacuumed};
pub(crate) use self::storage::Target;
use crate::engine;
use crate::error::{Error, Result};
use crate::step::scan;

/// Where the tables of a DAG are published, and how much of the machine a run may use.
///
/// A published table is a version of a Delta table below the root: any engine that reads Delta Lake reads
/// it; [`published`](Self::published) says where it is. Cloning is cheap and shares.
///
/// # Environments
///
/// What readers see is an environment: for each table, one audited version. A run publishes all its
/// tables in one step. A warehouse shows `prod` unless it is asked for another one:
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().to_str().ok_or("the path is no text")?;
/// use reco_transform::{Dag, Materialization, Warehouse};
///
/// fn numbers(query: &str) -> reco_transform::Result<Dag> {
///     let dag = Dag::builder().sql("numbers", query);
///     dag.materialize("numbers", Materialization::Delta).build()
/// }
///
/// let prod = Warehouse::at(path)?;
/// numbers("select * from (values (1), (2)) as t (n)")?.run(&prod).await?;
///
/// let dev = prod.create_environment("dev_ana").await?; // No row is copied.
/// numbers("select * from (values (1), (2), (3)) as t (n)")?.run(&dev).await?;
/// assert_eq!(dev.table("numbers").await?.count().await?, 3);
/// assert_eq!(prod.table("numbers").await?.count().await?, 2);
///
/// assert_eq!(prod.promote("dev_ana").await?, ["numbers"]); // Nor here.
/// assert_eq!(prod.table("numbers").await?.count().await?, 3);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Warehouse {
    /// A path or an address; tables are in folders below it.
    root: String,
    /// The root, if it is a folder of this machine.
    folder: Option<PathBuf>,
    /// The store that the root is in, unless its address says so.
    store: Option<Arc<dyn ObjectStore>>,
    /// The root.
    files: Arc<dyn ObjectStore>,
    environment: Environment,
    /// The state that is shown, unless it is the newest one.
    pinned: Option<Arc<EnvironmentState>>,
    config: WarehouseConfig,
    runtime: Arc<RuntimeEnv>,
    /// Who computes the steps, unless this process does.
    #[cfg(feature = "ballista")]
    cluster: Option<Arc<cluster::OnCluster>>,
}

/// How much of the machine a run may use.
///
/// # Examples
///
/// ```
/// use reco_transform::{Warehouse, WarehouseConfig};
///
/// let small = WarehouseConfig {
///     memory_limit: 256 << 20,
///     ..Default::default()
/// };
/// let warehouse = Warehouse::in_memory().with_config(small)?;
/// assert_eq!(warehouse.config().memory_limit, 268_435_456);
/// # Ok::<(), reco_transform::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WarehouseConfig {
    /// The most bytes that sorts, joins and aggregations hold at once, of all steps together. Default
    /// 1 GiB. Tables in memory come on top, and what the host's allocator keeps of freed batches: glibc's as
    /// much again, unless the host runs with `MALLOC_TRIM_THRESHOLD_=1000000` in its environment; jemalloc
    /// little, and it is faster.
    ///
    /// Sorts, aggregations and windows spill what is more to disk. A join does not: the smaller of its
    /// sides, as far as that is known, otherwise the left one, has to fit, or the step fails.
    pub memory_limit: usize,
    /// Into how many parts a step divides its rows, each computed by a thread. Default none, which is
    /// DataFusion's: one a core.
    pub target_partitions: Option<NonZeroUsize>,
    /// How many steps run at once. Default 2, so that one computes while another writes its last file. Each
    /// has all threads already, and all share the memory limit. Steps that read more rows than it holds, at 256
    /// bytes each, are made in turn, and one that runs out of memory beside others once more by itself.
    pub n_concurrent_steps: NonZeroUsize,
    /// Where to spill. Default none, which is the system's folder for temporary files.
    pub spill_dir: Option<PathBuf>,
    /// Which records of runs are kept. Default the newest 1000 of each environment.
    pub run_retention: RunRetention,
}

impl Default for WarehouseConfig {
    fn default() -> Self {
        Self {
            memory_limit: 1 << 30,
            target_partitions: None,
            n_concurrent_steps: const { NonZeroUsize::new(2).expect("2 is not 0") },
            spill_dir: None,
            run_retention: RunRetention::default(),
        }
    }
}

impl Warehouse {
    /// A warehouse in a folder, which is made if it is not there, or at an address such as
    /// `file:///data/warehouse`.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidWarehouse`] if the folder cannot be made or the kind of address is not known.
    /// For a store in the cloud see [`in_store`](Self::in_store).
    pub fn at(location: impl Into<String>) -> Result<Self> {
        let location = location.into();
        let invalid = |source: reco_core::BoxError| Error::InvalidWarehouse {
            location: location.clone(),
            source,
        };
        let root = ensure_table_uri(&location).map_err(|error| invalid(error.into()))?;
        let no_options = std::iter::empty::<(String, String)>();
        let files = store_for(&root, no_options).map_err(|error| invalid(error.into()))?;
        let folder = match root.scheme() {
            "file" => root.to_file_path().ok(),
            _ => None,
        };
        Ok(Self {
            folder,
            ..Self::new(root.as_str(), None, files)?
        })
    }

    /// A warehouse in a folder of an object store.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidWarehouse`] if the folder is no path of a store.
    pub fn in_store(store: Arc<dyn ObjectStore>, folder: &str) -> Result<Self> {
        let prefix = ObjectPath::parse(folder).map_err(|error| Error::InvalidWarehouse {
            location: folder.to_owned(),
            source: error.into(),
        })?;
        let files = Arc::new(PrefixStore::new(Arc::clone(&store), prefix));
        // The host keeps tables of the warehouse apart from others that are in memory.
        Self::new(&format!("memory://warehouse/{folder}"), Some(store), files)
    }

    /// A warehouse in memory, for tests and for runs that publish nothing.
    #[must_use]
    #[expect(
        clippy::missing_panics_doc,
        reason = "nothing is opened before a table is"
    )]
    pub fn in_memory() -> Self {
        Self::in_store(Arc::new(InMemory::new()), "")
            .expect("the root is a path, and the default configuration needs no folder")
    }

    fn new(
        root: &str,
        store: Option<Arc<dyn ObjectStore>>,
        files: Arc<dyn ObjectStore>,
    ) -> Result<Self> {
        let config = WarehouseConfig::default();
        let root = root.trim_end_matches('/').to_owned();
        let runtime = runtime(&root, &config)?;
        Ok(Self {
            root,
            folder: None,
            store,
            environment: Environment::new(Arc::clone(&files), PROD)?,
            files,
            pinned: None,
            config,
            runtime,
            #[cfg(feature = "ballista")]
            cluster: None,
        })
    }

    /// The same warehouse with other limits.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidWarehouse`] if the folder to spill to cannot be used.
    pub fn with_config(self, config: WarehouseConfig) -> Result<Self> {
        let runtime = runtime(&self.root, &config)?;
        Ok(Self {
            config,
            runtime,
            ..self
        })
    }

    /// The limits.
    #[must_use]
    pub const fn config(&self) -> &WarehouseConfig {
        &self.config
    }

    /// The published rows of a table: those that the environment shows now.
    ///
    /// # Errors
    ///
    /// [`Error::NotPublished`], [`Error::InvalidName`] if no table can have the name, or
    /// [`Error::Table`] if it cannot be opened.
    pub async fn table(&self, name: &str) -> Result<DataFrame> {
        let Some(published) = self.published(name).await? else {
            return Err(Error::NotPublished {
                table: name.to_owned(),
            });
        };
        let provider = self
            .provider(name, &published.location, published.version)
            .await?;
        scan(&self.session(), name, &provider).map_err(|source| Error::Read {
            table: name.to_owned(),
            source,
        })
    }

    /// Where the published rows of a table are, and what they were made of; none if there are none.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidName`] if no table can have the name, or [`Error::Environment`].
    pub async fn published(&self, name: &str) -> Result<Option<PublishedTable>> {
        check_name(name)?;
        let state = self.state().await?;
        Ok(state.and_then(|mut state| state.contents.tables.remove(name)))
    }

    /// A session within the limits, without tables.
    #[must_use]
    pub fn session(&self) -> SessionContext {
        let mut config = SessionConfig::new();
        if let Some(n) = self.config.target_partitions {
            config = config.with_target_partitions(n.get());
        }
        // Partial aggregates that move to another strategy once they grow do not spill:
        // https://github.com/apache/datafusion/issues/22710.
        config.options_mut().execution.enable_migration_aggregate = false;
        #[cfg(feature = "ballista")]
        if self.is_on_cluster() {
            // Executors know no operators but DataFusion's own.
            let config = crate::ballista::without_views(config);
            return engine::plain_session_with(config, Arc::clone(&self.runtime));
        }
        engine::session_with(config, Arc::clone(&self.runtime))
    }
}

/// Environments: which version of which table is shown.
impl Warehouse {
    /// The same warehouse, shown through another environment. One that was never published to shows
    /// nothing.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidEnvironment`] if no environment can have the name.
    pub fn environment(&self, name: &str) -> Result<Self> {
        Ok(Self {
            environment: Environment::new(Arc::clone(&self.files), name)?,
            pinned: None,
            ..self.clone()
        })
    }

    /// The name of the environment that is shown.
    #[must_use]
    pub fn environment_name(&self) -> &str {
        self.environment.name()
    }

    /// The names of all environments, in order.
    ///
    /// # Errors
    ///
    /// [`Error::Environment`] if the store fails.
    pub async fn environments(&self) -> Result<Vec<String>> {
        environment::names(&*self.files).await
    }

    /// The newest state of the environment, or the one that is [shown](Self::as_of) in its place; none if
    /// it was never published to.
    ///
    /// # Errors
    ///
    /// [`Error::Environment`] if the store fails or a state cannot be read.
    pub async fn state(&self) -> Result<Option<EnvironmentState>> {
        match &self.pinned {
            Some(state) => Ok(Some(EnvironmentState::clone(state))),
            None => self.environment.current().await,
        }
    }

    /// A new environment that shows what this one shows. No row is copied.
    ///
    /// # Errors
    ///
    /// [`Error::EnvironmentExists`], [`Error::UnknownEnvironment`] if this one was never published to,
    /// [`Error::InvalidEnvironment`] or [`Error::Environment`].
    pub async fn create_environment(&self, name: &str) -> Result<Self> {
        let created = self.environment(name)?;
        let Some(state) = self.state().await? else {
            return Err(self.environment.unknown("state"));
        };
        let is_new = created.environment.current().await?.is_none()
            && created.environment.create(1, &state.contents).await?;
        if !is_new {
            return Err(Error::EnvironmentExists {
                environment: name.to_owned(),
            });
        }
        Ok(created)
    }

    /// Shows the tables of another environment here, all at once, wherever their definitions differ, and
    /// returns their names. No row is copied.
    ///
    /// A table that both make in the same way stays as it is: the rows that are shown here may be newer.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownEnvironment`] if the other one was never published to, [`Error::Pinned`] or
    /// [`Error::Environment`].
    pub async fn promote(&self, from: &str) -> Result<Vec<String>> {
        let from = self.environment(from)?.environment;
        let Some(other) = from.current().await? else {
            return Err(from.unknown("state"));
        };
        let mut promoted = Vec::new();
        self.publish(|contents| {
            promoted.clear();
            for (name, theirs) in &other.contents.tables {
                let ours = contents.tables.get(name);
                if ours.is_none_or(|ours| ours.made.definition != theirs.made.definition) {
                    contents.tables.insert(name.clone(), theirs.clone());
                    promoted.push(name.clone());
                }
            }
        })
        .await?;
        Ok(promoted)
    }

    /// Shows what the environment showed in an earlier state, as a new state. No row is copied.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownEnvironment`] if there is no such state, [`Error::Pinned`] or
    /// [`Error::Environment`].
    pub async fn roll_back_to(&self, number: u64) -> Result<EnvironmentState> {
        let earlier = self.environment.read(number).await?;
        self.publish(|contents| contents.clone_from(&earlier.contents))
            .await
    }

    /// The warehouse as the environment showed it at a time, for reading.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownEnvironment`] if nothing was published then, or [`Error::Environment`].
    pub async fn as_of(&self, time: Timestamp) -> Result<Self> {
        match self.environment.as_of(time).await? {
            Some(state) => Ok(self.showing(state)),
            None => Err(self.environment.unknown(&format!("state before {time}"))),
        }
    }

    /// The warehouse as the environment showed it in a state, for reading.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownEnvironment`] if there is no such state, or [`Error::Environment`].
    pub async fn as_of_state(&self, number: u64) -> Result<Self> {
        Ok(self.showing(self.environment.read(number).await?))
    }

    fn showing(&self, state: EnvironmentState) -> Self {
        Self {
            pinned: Some(Arc::new(state)),
            ..self.clone()
        }
    }

    /// Removes an environment. The rows of its tables stay until they are vacuumed.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownEnvironment`] if there is none of that name, [`Error::InvalidEnvironment`] or
    /// [`Error::Environment`].
    pub async fn drop_environment(&self, name: &str) -> Result<()> {
        let environment = self.environment(name)?.environment;
        let numbers = environment.numbers().await?;
        if numbers.is_empty() {
            return Err(environment.unknown("state"));
        }
        // From the newest: what is left of an interrupted call is an environment as it was.
        for number in numbers.into_iter().rev() {
            environment.remove(number).await?;
        }
        Ok(())
    }

    /// Adds a state to the environment.
    pub(crate) async fn publish(
        &self,
        change: impl FnMut(&mut Contents) + Send,
    ) -> Result<EnvironmentState> {
        if let Some(state) = &self.pinned {
            return Err(Error::Pinned {
                environment: self.environment.name().to_owned(),
                number: state.number,
            });
        }
        self.environment.publish(change).await
    }
}

/// Refuses what is no name of a table, and so of a folder in a warehouse.
pub(crate) fn check_name(table: &str) -> Result<()> {
    let allowed = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    if !table.is_empty() && !table.starts_with('_') && table.chars().all(allowed) {
        return Ok(());
    }
    Err(Error::InvalidName {
        table: table.to_owned(),
    })
}

fn runtime(root: &str, config: &WarehouseConfig) -> Result<Arc<RuntimeEnv>> {
    // Every operator that can spill gets an equal share, so that one cannot starve the others; the
    // tracker names the largest consumers when memory runs out all the same.
    let top = const { NonZeroUsize::new(5).expect("5 is not 0") };
    let pool = TrackConsumersPool::new(FairSpillPool::new(config.memory_limit), top);
    let mut builder = RuntimeEnvBuilder::new().with_memory_pool(Arc::new(pool));
    if let Some(dir) = &config.spill_dir {
        builder = builder.with_temp_file_path(dir);
    }
    builder
        .build_arc()
        .map_err(|error: DataFusionError| Error::InvalidWarehouse {
            location: root.to_owned(),
            source: error.into(),
        })
}
