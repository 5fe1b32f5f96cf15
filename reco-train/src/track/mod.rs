//! Experiment tracking: what was tried, with which settings, and what came of it.
//!
//! ```text
//! Run::start(tracker, name) ──param, metric, tag, artifact, end──▶ Tracker::record ──▶ JSON Lines
//! tracked(&trainer, &run).fit(…)          a metric per epoch                        ──▶ MLflow (feature `mlflow`)
//! Study::tracker(…)                       a run per trial
//!                                                       Tracker::flush ──▶ Delivery: what was lost, and why
//! ```
//!
//! A tracker looks on: training gives the same bytes with one and without, no failure of a tracker fails what
//! it tracks, and none makes it wait for a network. What could not be recorded is counted, and
//! [`Tracker::flush`] says so at the end.

mod json_lines;
#[cfg(feature = "mlflow")]
pub mod mlflow;
mod run;
mod tracked;

use std::fmt;

use reco_core::Timestamp;
use serde::{Deserialize, Serialize};

pub use json_lines::JsonLines;
#[cfg(feature = "mlflow")]
pub use mlflow::Mlflow;
pub use run::Run;
pub use tracked::{Tracked, tracked};

/// Records runs.
///
/// # Contract
///
/// * Entries of a run are recorded in the order in which they came; those of several runs may be mixed.
/// * `record` never fails and never waits for a network: what cannot be taken is counted as lost.
/// * `flush` returns when everything that came before it is recorded or given up.
pub trait Tracker: fmt::Debug + Send + Sync + 'static {
    /// Takes an entry of a run.
    fn record(&self, run: &str, entry: Entry);

    /// Waits for what is under way, and says what has become of all entries so far.
    fn flush(&self) -> Delivery;
}

/// What there is to record of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Entry {
    /// It begins. A name that began before begins another run.
    Start,
    /// A setting.
    Param {
        /// Its name.
        key: String,
        /// Its value as text.
        value: String,
    },
    /// A number at a step.
    Metric {
        /// Its name.
        key: String,
        /// The number; JSON has no others than finite ones.
        value: f64,
        /// The step: an epoch, say.
        step: u64,
    },
    /// Something to find it by. The last one of a name holds.
    Tag {
        /// Its name.
        key: String,
        /// Its value.
        value: String,
    },
    /// A file.
    Artifact {
        /// Its path below the run's files, with `/` between folders.
        path: String,
        /// What is in it.
        #[serde(skip)]
        content: Vec<u8>,
    },
    /// It ended.
    End {
        /// How.
        status: Status,
    },
}

/// How a run ended, in the words of `MLflow`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// As it should.
    Finished,
    /// By an error.
    Failed,
    /// It was stopped before its end.
    Killed,
}

/// What has become of the entries that a tracker was given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Delivery {
    /// How many are recorded.
    pub n_recorded: u64,
    /// How many are not, and will not be.
    pub n_lost: u64,
    /// Why the first of them is not.
    pub reason: Option<String>,
}

impl Delivery {
    /// Counts an entry that is lost.
    fn lose(&mut self, reason: impl fmt::Display) {
        self.n_lost += 1;
        if self.reason.is_none() {
            tracing::warn!(%reason, "a tracker loses entries");
            self.reason = Some(reason.to_string());
        }
    }
}

/// As `12 entries recorded`, or `3 of 15 entries were lost: connection refused`.
impl fmt::Display for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.n_lost == 0 {
            return write!(f, "{} entries recorded", self.n_recorded);
        }
        write!(
            f,
            "{} of {} entries were lost",
            self.n_lost,
            self.n_lost + self.n_recorded
        )?;
        match &self.reason {
            Some(reason) => write!(f, ": {reason}"),
            None => Ok(()),
        }
    }
}

/// Where a tracker takes the time from: `Timestamp::now`, but for tests.
pub type Clock = fn() -> Timestamp;

/// Why a path of an artifact is none, if it is not: it must stay below its run.
fn bad_path(path: &str) -> Option<String> {
    let is_name = |name: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        !name.is_empty() && name.chars().all(plain) && !name.starts_with('.')
    };
    (!path.split('/').all(is_name)).then(|| {
        format!("`{path}` is no path of an artifact: use names of a-z, A-Z, 0-9, `.`, `_`, `-` with `/` between")
    })
}
