//! [`Scheduler`] and [`Executor`]: the processes of a cluster, with the functions of a host.

use std::fmt;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrow_flight::flight_service_server::FlightServiceServer;
use ballista_core::config::TaskSchedulingPolicy;
use ballista_core::error::BallistaError;
use ballista_core::extension::SessionConfigExt;
use ballista_core::registry::BallistaFunctionRegistry;
use ballista_core::utils::create_grpc_server;
use ballista_executor::ArrowFlightServerProvider;
use ballista_executor::executor_process::{ExecutorProcessConfig, start_executor_process};
use ballista_executor::flight_service::BallistaFlightService;
use ballista_scheduler::cluster::BallistaCluster;
use ballista_scheduler::config::SchedulerConfig as BallistaSchedulerConfig;
use ballista_scheduler::scheduler_process::{create_scheduler, start_grpc_service_with_listener};
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::SessionConfig;
use datafusion_proto::protobuf::{LogicalPlanNode, PhysicalPlanNode};
use object_store::ObjectStore;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

use super::files::Codec;
use super::functions::{Functions, Stores};
use crate::error::{Error, Result};

/// How long results are kept for a host that was killed; one that lives says when it has read them.
const ORPHANS: Duration = Duration::from_secs(6 * 3600);
/// How large a message is at most.
const MESSAGE: u32 = 64 << 20;

/// The scheduler of a cluster: it takes plans from hosts and has executors work on them.
///
/// One a process. It keeps nothing on disk: when it ends, so do the steps that it was working on.
pub struct Scheduler {
    functions: Functions,
    stores: Stores,
    config: SchedulerConfig,
}

/// How a scheduler watches its executors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SchedulerConfig {
    /// After which silence an executor is lost and others do its work. Executors are heard at least every
    /// 5 s. Default 30 s.
    pub executor_timeout: Duration,
    /// How often a task, or a stage of a step, is tried before the step fails. Default 4, Ballista's.
    pub max_failures: usize,
}

impl Default for SchedulerConfig {
    fn default() -> Self {
        Self {
            executor_timeout: Duration::from_secs(30),
            max_failures: 4,
        }
    }
}

impl Scheduler {
    /// A scheduler whose executors have these functions.
    #[must_use]
    pub fn new(functions: Functions) -> Self {
        Self {
            functions,
            stores: Stores::default(),
            config: SchedulerConfig::default(),
        }
    }

    /// The same scheduler, configured in another way.
    #[must_use]
    pub fn with_config(self, config: SchedulerConfig) -> Self {
        Self { config, ..self }
    }

    /// Adds the store of files whose addresses begin with one such as `s3://bucket`. Those of the machine
    /// are known.
    ///
    /// # Errors
    ///
    /// [`Error::ClusterProcess`] if it is no such address.
    pub fn with_store(mut self, address: &str, store: Arc<dyn ObjectStore>) -> Result<Self> {
        self.stores.add(store_url("scheduler", address)?, store);
        Ok(self)
    }

    /// Serves hosts and executors on a socket until it is dropped.
    ///
    /// # Errors
    ///
    /// [`Error::ClusterProcess`] if the socket fails.
    pub async fn serve(self, listener: TcpListener) -> Result<()> {
        Box::pin(self.run(listener))
            .await
            .map_err(|error| ended("scheduler", error))
    }

    async fn run(self, listener: TcpListener) -> Result<(), BallistaError> {
        let address = listener.local_addr()?;
        let seconds = self.config.executor_timeout.as_secs().max(2);
        let Self {
            functions,
            stores,
            config,
        } = self;
        let session = move |config: SessionConfig| {
            let runtime = RuntimeEnvBuilder::new().build_arc()?;
            stores.register(&runtime);
            functions.session(config, runtime)
        };
        let config = BallistaSchedulerConfig {
            external_host: address.ip().to_string(),
            bind_host: address.ip().to_string(),
            bind_port: address.port(),
            // Executors ask for work, and so one port each is all that they need.
            scheduling_policy: TaskSchedulingPolicy::PullStaged,
            finished_job_data_clean_up_interval_seconds: ORPHANS.as_secs(),
            finished_job_state_clean_up_interval_seconds: ORPHANS.as_secs(),
            executor_timeout_seconds: seconds,
            expire_dead_executor_interval_seconds: (seconds / 4).max(1),
            no_executors_grace_period_seconds: seconds,
            task_max_failures: config.max_failures,
            stage_max_failures: config.max_failures,
            grpc_server_max_decoding_message_size: MESSAGE,
            grpc_server_max_encoding_message_size: MESSAGE,
            override_session_builder: Some(Arc::new(session)),
            override_logical_codec: Some(Arc::new(Codec::default())),
            ..BallistaSchedulerConfig::default()
        };
        let cluster = BallistaCluster::new_from_config(&config).await?;
        let scheduler =
            create_scheduler::<LogicalPlanNode, PhysicalPlanNode>(cluster, Arc::new(config))
                .await?;
        start_grpc_service_with_listener(listener, scheduler).await
    }
}

impl fmt::Debug for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scheduler")
            .field("functions", &self.functions)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// An executor of a cluster: it computes what its scheduler tells it to, and keeps what others read of that.
///
/// One a process. It asks its scheduler for work, again and again while that is away, and serves what it has
/// computed to hosts and to other executors.
pub struct Executor {
    scheduler: String,
    work_dir: PathBuf,
    functions: Functions,
    stores: Stores,
    config: ExecutorConfig,
}

/// How much of its machine an executor uses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExecutorConfig {
    /// How many parts of a step it works on at once. Default none, which is one a core.
    pub n_cores: Option<NonZeroUsize>,
    /// The most bytes that its sorts, joins and aggregations hold, divided by the cores; what is more is
    /// spilled. Default 1 GiB.
    pub memory_limit: u64,
    /// The name by which hosts and other executors reach it. Default none, which is the address that the
    /// scheduler sees.
    pub host: Option<String>,
}

impl Default for ExecutorConfig {
    fn default() -> Self {
        Self {
            n_cores: None,
            memory_limit: 1 << 30,
            host: None,
        }
    }
}

impl Executor {
    /// An executor of the scheduler at an address, `host:port`, which keeps what it has computed in a folder.
    #[must_use]
    pub fn new(
        scheduler: impl Into<String>,
        work_dir: impl AsRef<Path>,
        functions: Functions,
    ) -> Self {
        Self {
            scheduler: scheduler.into(),
            work_dir: work_dir.as_ref().to_owned(),
            functions,
            stores: Stores::default(),
            config: ExecutorConfig::default(),
        }
    }

    /// The same executor, configured in another way.
    #[must_use]
    pub fn with_config(self, config: ExecutorConfig) -> Self {
        Self { config, ..self }
    }

    /// Adds the store of files whose addresses begin with one such as `s3://bucket`. Those of the machine
    /// are known.
    ///
    /// # Errors
    ///
    /// [`Error::ClusterProcess`] if it is no such address.
    pub fn with_store(mut self, address: &str, store: Arc<dyn ObjectStore>) -> Result<Self> {
        self.stores.add(store_url("executor", address)?, store);
        Ok(self)
    }

    /// Works, and serves on a socket what it has computed, until the process is told to end by Ctrl-C or
    /// SIGTERM: it finishes its tasks then.
    ///
    /// # Errors
    ///
    /// [`Error::ClusterProcess`] if the address or the folder is none, or the socket fails.
    pub async fn serve(self, listener: TcpListener) -> Result<()> {
        Box::pin(self.run(listener))
            .await
            .map_err(|error| ended("executor", error))
    }

    async fn run(self, listener: TcpListener) -> Result<(), BallistaError> {
        let (host, port) = self
            .scheduler
            .rsplit_once(':')
            .unwrap_or((&self.scheduler, ""));
        let scheduler_port = port.parse().map_err(|_| {
            BallistaError::Configuration(format!("`{}` is not `host:port`", self.scheduler))
        })?;
        tokio::fs::create_dir_all(&self.work_dir).await?;
        let work_dir = self.work_dir.to_str().ok_or_else(|| {
            BallistaError::Configuration("the path of the work folder is no text".to_owned())
        })?;
        let address = listener.local_addr()?;
        let session = self.functions.session(
            SessionConfig::new_with_ballista(),
            RuntimeEnvBuilder::new().build_arc()?,
        )?;
        let (stores, spill_dir) = (self.stores.clone(), self.work_dir.clone());
        let config = ExecutorProcessConfig {
            bind_host: address.ip().to_string(),
            external_host: self.config.host.clone(),
            port: address.port(),
            scheduler_host: host.to_owned(),
            scheduler_port,
            // Any but 0, and it tries until there is one.
            scheduler_connect_timeout_seconds: 1,
            vcores: self.config.n_cores.map_or(0, NonZeroUsize::get),
            task_scheduling_policy: TaskSchedulingPolicy::PullStaged,
            work_dir: Some(work_dir.to_owned()),
            job_data_ttl_seconds: 2 * ORPHANS.as_secs(),
            job_data_clean_up_interval_seconds: 300,
            grpc_max_decoding_message_size: MESSAGE,
            grpc_max_encoding_message_size: MESSAGE,
            memory_pool_size: Some(self.config.memory_limit),
            override_function_registry: Some(Arc::new(BallistaFunctionRegistry::from(&session))),
            override_runtime_producer: Some(Arc::new(move |_| {
                let runtime = RuntimeEnvBuilder::new()
                    .with_temp_file_path(&spill_dir)
                    .build_arc()?;
                stores.register(&runtime);
                Ok(runtime)
            })),
            override_logical_codec: Some(Arc::new(Codec::default())),
            override_arrow_flight_service: Some(flight(listener)),
            ..ExecutorProcessConfig::default()
        };
        start_executor_process(Arc::new(config)).await
    }
}

impl fmt::Debug for Executor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Executor")
            .field("scheduler", &self.scheduler)
            .field("work_dir", &self.work_dir)
            .field("functions", &self.functions)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// Serves what an executor has computed, on the socket of the host.
fn flight(listener: TcpListener) -> Arc<ArrowFlightServerProvider> {
    let listener = Mutex::new(Some(listener));
    Arc::new(move |work_dir, _, mut shutdown, config| {
        let listener = listener
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        tokio::spawn(async move {
            let Some(listener) = listener else {
                return Err(BallistaError::General("the socket is taken".to_owned()));
            };
            let connections = futures::stream::unfold(listener, |listener| async move {
                let connection = listener.accept().await.map(|(connection, _)| connection);
                Some((connection, listener))
            });
            let service = FlightServiceServer::new(BallistaFlightService::new(work_dir))
                .max_decoding_message_size(MESSAGE as usize)
                .max_encoding_message_size(MESSAGE as usize);
            create_grpc_server(&config)
                .add_service(service)
                .serve_with_incoming_shutdown(connections, shutdown.recv())
                .await
                .map_err(BallistaError::from)
        })
    })
}

fn store_url(role: &'static str, address: &str) -> Result<ObjectStoreUrl> {
    ObjectStoreUrl::parse(address).map_err(|source| Error::ClusterProcess {
        role,
        source: source.into(),
    })
}

fn ended(role: &'static str, error: BallistaError) -> Error {
    Error::ClusterProcess {
        role,
        source: error.into(),
    }
}
