//! [`RunRecord`]: what became of a run, kept in the warehouse.
//!
//! ```text
//! _runs/prod/00000000000000000007.json                  the seventh run of `prod` that ended
//! _runs/prod/lineage/00000000000000000005-3f9a….json    which table and column is made of which, since then
//! ```
//!
//! A run leaves a record when it ends, also when it failed; one that was killed leaves none. A record is
//! created whole and never changed. It holds counts, times, verdicts and errors, and no rows: samples of
//! rows that failed a check stay with the run, so that what is erased from the tables does not live on
//! here. Lineage is written once for all runs in a row that have the same.
//!
//! Nobody tells a run the time: a record ended when the store says that it was written, and it began as
//! long before as a clock that only moves forward has measured.

mod lineage;
mod record;
mod store;

use std::num::NonZeroUsize;
use std::time::Duration;

use reco_core::{Severity, Timestamp};
use serde::{Deserialize, Serialize};

pub(crate) use lineage::RecordedLineage;

use super::Warehouse;
use crate::dag::LineageKind;
use crate::error::Result;
use crate::materialize::Materialization;

/// What became of a run; see [`Warehouse::runs`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunRecord {
    /// The environment that it ran for.
    pub environment: String,
    /// Its place among the runs of the environment in the order of their ends, from 1.
    pub number: u64,
    /// When it began, by the clock of the store.
    pub started_at: Timestamp,
    /// When it ended, by the clock of the store.
    pub ended_at: Timestamp,
    /// Whether all was made and published.
    pub status: RunStatus,
    /// Why not.
    pub error: Option<String>,
    /// The state of the environment that the run left; none if it published nothing.
    pub state: Option<u64>,
    /// What became of each table, in the order of the DAG.
    pub tables: Vec<RunTable>,
    /// The run since which the lineage has been the same, and its digest.
    pub(crate) lineage: Option<LineageKey>,
}

/// Whether a run made all of its tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunStatus {
    /// All was made and published.
    Succeeded,
    /// Something was not made, or could not be published.
    Failed,
}

/// What became of a table in a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunTable {
    /// The table.
    pub table: String,
    /// What makes it.
    pub kind: LineageKind,
    /// Where its rows are kept; none for a source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub materialization: Option<Materialization>,
    /// What was planned, in a word: `build`, `reuse`.
    pub action: String,
    /// Why.
    pub why: String,
    /// What became of it, in a word: `built`, `reused`, `deferred`, `failed`, `skipped`.
    pub status: String,
    /// How many rows it has, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n_rows: Option<u64>,
    /// The version of its Delta table, if it is kept in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// How long it took to make and audit it.
    #[serde(rename = "duration_us", with = "micros")]
    pub duration: Duration,
    /// Why it was not made, with all causes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What was found of what is expected.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<RunCheck>,
}

/// What a run found of one expectation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunCheck {
    /// The expectation with its arguments.
    pub check: String,
    /// What a failure means.
    pub severity: Severity,
    /// Whether it was met.
    pub passed: bool,
    /// How many rows were looked at.
    pub n_checked: u64,
    /// How many of them failed.
    pub n_failed: u64,
    /// The value that was found, as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed: Option<String>,
    /// What else was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Where the lineage of a run is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LineageKey {
    pub(crate) since: u64,
    pub(crate) digest: String,
}

/// Which records of runs are kept: those that both settings keep, and always the newest.
///
/// What is kept no longer is removed when the next run ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RunRetention {
    /// How many of an environment, the newest. Default 1000; none is all.
    pub n_runs: Option<NonZeroUsize>,
    /// How long after their end. Default none, which is for ever.
    pub age: Option<Duration>,
}

impl Default for RunRetention {
    fn default() -> Self {
        Self {
            n_runs: const { Some(NonZeroUsize::new(1000).expect("1000 is not 0")) },
            age: None,
        }
    }
}

impl Warehouse {
    /// The runs of the environment, in the order in which they ended.
    ///
    /// # Errors
    ///
    /// [`Error::RunRecord`](crate::Error::RunRecord) if the store fails or a record cannot be read.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use reco_transform::{Dag, RunStatus, Warehouse};
    ///
    /// let warehouse = Warehouse::in_memory();
    /// Dag::builder().sql("one", "select 1 as n").build()?.run(&warehouse).await?;
    /// let runs = warehouse.runs().await?;
    /// assert_eq!((runs[0].status, runs[0].tables[0].n_rows), (RunStatus::Succeeded, Some(1)));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn runs(&self) -> Result<Vec<RunRecord>> {
        let records = self.run_store();
        records.read_all(records.numbers().await?).await
    }
}

impl RunRecord {
    /// The environment and the number, by which a run is told from all others: `prod/7`.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{}/{}", self.environment, self.number)
    }
}

impl RunStatus {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
        }
    }
}

/// A duration as whole microseconds.
mod micros {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(
        duration: &Duration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        u64::try_from(duration.as_micros())
            .unwrap_or(u64::MAX)
            .serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_micros)
    }
}
