//! [`Cluster`]: the steps of a DAG on an [Apache Ballista](https://datafusion.apache.org/ballista/) cluster.
//!
//! ```text
//! Dag::run ── plan of a step ──▶ Scheduler ── tasks ──▶ Executors ◀── read ── the folder of the warehouse
//!    │                                                     │                       ▲          ▲
//!    ◀───────────────── rows of the step ──────────────────┘                       │          │
//!    ├─ write, audit, publish ─────────────────────────────────────────────────────┘          │
//!    └─ stage what executors cannot read: rows in memory, raw tables ─────────────────────────┘
//! ```
//!
//! The same DAG runs on a [warehouse](crate::Warehouse) that is told of a cluster
//! ([`Warehouse::on_cluster`](crate::Warehouse::on_cluster)): each step's plan is computed there, its rows
//! come back to the host, and the host writes, audits and publishes them as ever, all or nothing.
//!
//! ```no_run
//! # async fn run(dag: reco_transform::Dag) -> reco_transform::Result<()> {
//! use reco_transform::Warehouse;
//! use reco_transform::ballista::Cluster;
//!
//! let cluster = Cluster::at("10.0.0.7:50050")?;
//! let warehouse = Warehouse::at("/mnt/shared/warehouse")?.on_cluster(cluster)?;
//! dag.run(&warehouse).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # What travels
//!
//! * **Plans**: of SQL and of Rust steps alike, as long as they are made of DataFusion's own operators.
//!   Views are part of the plans that read them.
//! * **Published tables** by the list of their Parquet files in that version: executors read them where they
//!   are, so the folder of the warehouse has to be there under the same path on every machine.
//! * **Rows in memory and raw tables**: the host reads them, once for all steps of the DAG, and writes them as
//!   Parquet into `_staging` below the warehouse, at most [`stage_limit`](ClusterConfig::stage_limit) bytes
//!   of each. They are deleted when their rows are gone and others are staged, and with the last clone of
//!   the warehouse; what a host that was killed leaves there goes with a vacuum.
//! * **Functions** by name: [`Functions`] is given to the cluster, the scheduler and the executors, and has
//!   to be the same. The binaries that Ballista ships know none of ours and do not read our tables; a host
//!   has its own, made of [`Scheduler`] and [`Executor`].
//!
//! # What is refused
//!
//! Before any step runs, [`Error::CannotTravel`] names the table and what cannot
//! travel: an operator of the host's own, a function that the cluster was not given, an expression that
//! cannot be written down, a source that is too large or has a type that Parquet lacks. And
//! [`Error::NoCluster`] names the address where nobody answers or no executor is.
//!
//! # Limits
//!
//! * Worth it for what one machine cannot compute: each step pays for planning, shuffle files and polls.
//!   The test of the tables prints how many times as long its few rows take as in one process.
//! * Audits, views that something is expected of, and incremental tables are computed by the host.
//! * A step that lost an executor is computed again in part, once the scheduler has noticed
//!   ([`SchedulerConfig::executor_timeout`]). If rows of its result were lost, it fails, and nothing is
//!   published. Lost schedulers are not replaced; the step fails.
//! * Connections are neither encrypted nor authenticated: a cluster is for a network that is trusted.
//! * Threads need large stacks, 16 MiB, in the processes of schedulers and executors: set
//!   `thread_stack_size` when the runtime is made. Debug builds overflow smaller ones.

mod files;
mod functions;
mod portable;
mod process;
mod remote;
mod staging;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ballista_core::extension::SessionConfigExt;
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::prelude::SessionConfig;
use serde::{Deserialize, Serialize};

pub use functions::Functions;
pub use process::{Executor, ExecutorConfig, Scheduler, SchedulerConfig};

pub(crate) use files::{Location, ParquetFiles};
pub(crate) use portable::check_source;
pub(crate) use staging::Staging;

use crate::error::{Error, Result};

/// A Ballista cluster, as the host of a DAG sees it.
///
/// Cloning is cheap and shares. Nothing is connected before a DAG is planned.
#[derive(Clone)]
pub struct Cluster {
    address: Arc<str>,
    functions: Functions,
    config: ClusterConfig,
}

/// How a cluster is used, and how long it is waited for.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use reco_transform::ballista::{Cluster, ClusterConfig};
///
/// let config = ClusterConfig {
///     step_timeout: Duration::from_secs(600),
///     ..Default::default()
/// };
/// let cluster = Cluster::at("scheduler.internal:50050")?.with_config(config);
/// assert_eq!(cluster.config().target_partitions, 16);
/// # Ok::<(), reco_transform::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClusterConfig {
    /// How long to wait, before a run, for a scheduler that answers and has an executor. Default 10 s.
    pub connect_timeout: Duration,
    /// The longest that a step may take on the cluster, until its last row is there. Default an hour.
    pub step_timeout: Duration,
    /// Into how many parts a step divides its rows; the executors' cores work on them. Default 16, which
    /// is Ballista's.
    pub target_partitions: usize,
    /// The most bytes in memory of one table that is staged for the executors. Default 1 GiB.
    pub stage_limit: usize,
}

impl Default for ClusterConfig {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            step_timeout: Duration::from_secs(3600),
            target_partitions: 16,
            stage_limit: 1 << 30,
        }
    }
}

impl Cluster {
    /// The cluster of the scheduler at an address, `host:port`.
    ///
    /// # Errors
    ///
    /// [`Error::NoCluster`] if it is no address.
    pub fn at(address: impl AsRef<str>) -> Result<Self> {
        let given = address.as_ref();
        let address = given.strip_prefix("http://").unwrap_or(given);
        let parts = address.rsplit_once(':');
        if !parts.is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok()) {
            return Err(Error::NoCluster {
                address: given.to_owned(),
                source: "an address is `host:port`".into(),
            });
        }
        Ok(Self {
            address: address.into(),
            functions: Functions::default(),
            config: ClusterConfig::default(),
        })
    }

    /// The same cluster, whose scheduler and executors have these functions.
    #[must_use]
    pub fn with_functions(self, functions: Functions) -> Self {
        Self { functions, ..self }
    }

    /// The same cluster, used in another way.
    #[must_use]
    pub fn with_config(self, config: ClusterConfig) -> Self {
        Self { config, ..self }
    }

    /// The address of the scheduler.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// How it is used.
    #[must_use]
    pub const fn config(&self) -> &ClusterConfig {
        &self.config
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A session of the host, whose plans are made to be sent.
    fn planning(&self, session: SessionState) -> SessionState {
        let config = session.config().clone().upgrade_for_ballista();
        let config = config.with_target_partitions(self.config.target_partitions);
        let rules = ballista_core::optimizer::with_ballista_optimizer_rules(session.optimizers());
        SessionStateBuilder::new_from_existing(session)
            .with_config(config)
            .with_optimizer_rules(rules)
            .build()
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster")
            .field("address", &self.address)
            .field("functions", &self.functions)
            .field("config", &self.config)
            .finish()
    }
}

/// Texts as they were before Arrow's views, for sessions whose plans are sent: a batch of views takes the
/// buffers of all the rows that it was taken from with it to every partition of a shuffle.
pub(crate) fn without_views(config: SessionConfig) -> SessionConfig {
    let config = config.set_bool("datafusion.sql_parser.map_string_types_to_utf8view", false);
    config.set_bool(
        "datafusion.execution.parquet.schema_force_view_types",
        false,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_host_and_a_port() {
        let check = |given: &str, expected: Option<&str>| {
            let cluster = Cluster::at(given);
            assert_eq!(
                cluster.as_ref().ok().map(Cluster::address),
                expected,
                "{given}"
            );
        };
        check("localhost:50050", Some("localhost:50050"));
        check("http://10.0.0.7:1", Some("10.0.0.7:1"));
        check("[::1]:50050", Some("[::1]:50050"));
        check("localhost", None);
        check(":50050", None);
        check("localhost:port", None);
        check("", None);
    }
}
