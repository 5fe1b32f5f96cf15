//! [`Warehouse`]: where the tables of a DAG are published, and what a run may use.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::error::DataFusionError;
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::{DataFrame, SessionConfig, SessionContext};
use deltalake::delta_datafusion::planner::DeltaPlanner;
use deltalake::operations::write::SchemaMode;
use deltalake::protocol::SaveMode;
use deltalake::{DeltaTable, DeltaTableBuilder, DeltaTableError, ensure_table_uri};
use object_store::ObjectStore;
use object_store::memory::InMemory;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::step::scan;

/// Where the tables of a DAG are published, and how much of the machine a run may use.
///
/// A published table is a Delta table in the folder of its name: any engine that reads Delta Lake
/// reads it, and sees whole versions only. Cloning is cheap and shares.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().to_str().ok_or("the path is no text")?;
/// use reco_transform::{Dag, Materialization, Warehouse};
///
/// let warehouse = Warehouse::at(path)?;
/// let dag = Dag::builder()
///     .sql("numbers", "select * from (values (1), (2)) as t (n)")
///     .materialize("numbers", Materialization::Delta)
///     .build()?;
/// dag.run(&warehouse).await?;
///
/// let published = Warehouse::at(path)?.table("numbers").await?;
/// assert_eq!(published.count().await?, 2);
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
    config: WarehouseConfig,
    runtime: Arc<RuntimeEnv>,
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
    /// 1 GiB. Tables in memory come on top.
    ///
    /// Sorts, aggregations and windows spill what is more to disk. A join does not: the smaller of its
    /// sides, as far as that is known, otherwise the left one, has to fit, or the step fails.
    pub memory_limit: usize,
    /// Into how many parts a step divides its rows, each computed by a thread. Default none, which is
    /// DataFusion's: one a core.
    pub target_partitions: Option<NonZeroUsize>,
    /// How many steps run at once. Default 4.
    pub n_concurrent_steps: NonZeroUsize,
    /// Where to spill. Default none, which is the system's folder for temporary files.
    pub spill_dir: Option<PathBuf>,
}

impl Default for WarehouseConfig {
    fn default() -> Self {
        Self {
            memory_limit: 1 << 30,
            target_partitions: None,
            n_concurrent_steps: const { NonZeroUsize::new(4).expect("4 is not 0") },
            spill_dir: None,
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
        match ensure_table_uri(&location) {
            Ok(root) => Ok(Self {
                folder: match root.scheme() {
                    "file" => root.to_file_path().ok(),
                    _ => None,
                },
                ..Self::new(root.as_str(), None)?
            }),
            Err(error) => Err(Error::InvalidWarehouse {
                location,
                source: error.into(),
            }),
        }
    }

    /// A warehouse in a folder of an object store.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidWarehouse`] if the folder is no path of a store.
    pub fn in_store(store: Arc<dyn ObjectStore>, folder: &str) -> Result<Self> {
        // The host keeps tables of the warehouse apart from others that are in memory.
        Self::new(&format!("memory://warehouse/{folder}"), Some(store))
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

    fn new(root: &str, store: Option<Arc<dyn ObjectStore>>) -> Result<Self> {
        let config = WarehouseConfig::default();
        let root = root.trim_end_matches('/').to_owned();
        let runtime = runtime(&root, &config)?;
        Ok(Self {
            root,
            folder: None,
            store,
            config,
            runtime,
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

    /// The published rows of a table: the latest version, as of now.
    ///
    /// # Errors
    ///
    /// [`Error::NotPublished`], [`Error::InvalidName`] if no table can have the name, or
    /// [`Error::Table`] if it cannot be opened.
    pub async fn table(&self, name: &str) -> Result<DataFrame> {
        let Some(table) = self.published(name).await? else {
            return Err(Error::NotPublished {
                table: name.to_owned(),
            });
        };
        let provider = self.provider(name, &table).await?;
        scan(&self.session(), name, &provider).map_err(|source| Error::Read {
            table: name.to_owned(),
            source,
        })
    }

    /// The number of the latest published version of a table, from 0; none if there is none.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidName`] if no table can have the name, or [`Error::Table`] if it cannot be opened.
    pub async fn version(&self, name: &str) -> Result<Option<u64>> {
        let table = self.published(name).await?;
        Ok(table.and_then(|table| table.version()))
    }

    /// A session within the limits, without tables.
    #[must_use]
    pub fn session(&self) -> SessionContext {
        let mut config = SessionConfig::new();
        if let Some(n) = self.config.target_partitions {
            config = config.with_target_partitions(n.get());
        }
        SessionContext::new_with_config_rt(config, Arc::clone(&self.runtime))
    }

    /// A table as it is now and its version, for reading, if it was ever published.
    pub(crate) async fn published_table(
        &self,
        name: &str,
    ) -> Result<Option<(Arc<dyn TableProvider>, Option<u64>)>> {
        match self.published(name).await? {
            Some(table) => Ok(Some((self.provider(name, &table).await?, table.version()))),
            None => Ok(None),
        }
    }

    /// A table as it is now, if it was ever published. To look makes nothing.
    async fn published(&self, name: &str) -> Result<Option<DeltaTable>> {
        check_name(name)?;
        // A folder has to be there to be opened; the prefix of a store does not.
        if let Some(folder) = &self.folder
            && !folder.join(name).exists()
        {
            return Ok(None);
        }
        let table = self.open(name).await?;
        Ok(table.version().is_some().then_some(table))
    }

    /// A table as it is now, without a version if it was never published.
    async fn open(&self, name: &str) -> Result<DeltaTable> {
        let failed = |error: DeltaTableError| failed(name, "open", error);
        let location = format!("{}/{name}/", self.root);
        let url = location
            .parse()
            .map_err(|_| failed(DeltaTableError::InvalidTableLocation(location)))?;
        let mut builder = DeltaTableBuilder::from_url(Clone::clone(&url)).map_err(failed)?;
        if let Some(store) = &self.store {
            builder = builder.with_storage_backend(Arc::clone(store), url);
        }
        let mut table = builder.build().map_err(failed)?;
        match table.load().await {
            Ok(()) | Err(DeltaTableError::NotATable(_)) => Ok(table),
            Err(error) => Err(failed(error)),
        }
    }

    /// Commits the rows of a plan, in their order, as the next version of a table, in place of all that
    /// it held.
    pub(crate) async fn overwrite(
        &self,
        name: &str,
        plan: LogicalPlan,
        session: &SessionState,
    ) -> Result<DeltaTable> {
        // The plan of a write has nodes of Delta's own, which its planner knows. Several partitions would
        // be written as they come, in any order.
        let in_order = session.config().clone().with_target_partitions(1);
        let session = SessionStateBuilder::new_from_existing(session.clone())
            .with_config(in_order)
            .with_query_planner(DeltaPlanner::new())
            .build();
        if let Some(folder) = &self.folder {
            tokio::fs::create_dir_all(folder.join(name))
                .await
                .map_err(|error| failed(name, "write", error.into()))?;
        }
        let write = self
            .open(name)
            .await?
            .write([])
            .with_input_plan(plan)
            .with_save_mode(SaveMode::Overwrite)
            .with_schema_mode(SchemaMode::Overwrite)
            .with_session_state(Arc::new(session))
            .with_table_name(name);
        write.await.map_err(|error| failed(name, "write", error))
    }

    /// A version of a table, for reading.
    pub(crate) async fn provider(
        &self,
        name: &str,
        table: &DeltaTable,
    ) -> Result<Arc<dyn TableProvider>> {
        let failed = |error| failed(name, "open", error);
        table
            .update_datafusion_session(&self.session().state())
            .map_err(failed)?;
        table.table_provider().await.map_err(|error| Error::Read {
            table: name.to_owned(),
            source: error,
        })
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

fn failed(table: &str, operation: &'static str, error: DeltaTableError) -> Error {
    Error::Table {
        table: table.to_owned(),
        operation,
        source: error.into(),
    }
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
