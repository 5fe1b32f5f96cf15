//! [`TrialRecord`]: what is known of a trial.

use serde::{Deserialize, Serialize};

use super::params::{Params, exact};

/// What is known of a trial.
#[derive(Debug, Clone, PartialEq)]
pub struct TrialRecord {
    /// Its number in the study, from 0.
    pub number: u64,
    /// Its values.
    pub params: Params,
    /// What it reported on the way: steps, which rise, and values.
    pub reports: Vec<(u32, f64)>,
    /// How it ended; nothing if it runs, or ran when the process ended.
    pub outcome: Option<Outcome>,
    /// How long it ran, in seconds; 0 as long as it has not ended.
    pub seconds: f64,
}

/// How a trial ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Outcome {
    /// It came to its end, with a value.
    Complete {
        /// What the objective returned.
        #[serde(with = "exact")]
        value: f64,
    },
    /// It was stopped since others were better; its value so far is that of its last report.
    Pruned {
        /// The step after which it was stopped.
        step: u32,
    },
    /// It returned an error, panicked, diverged, or needs more than the budget has.
    Failed {
        /// The error and its causes.
        reason: String,
    },
}

impl Outcome {
    /// `complete`, `pruned` or `failed`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Complete { .. } => "complete",
            Self::Pruned { .. } => "pruned",
            Self::Failed { .. } => "failed",
        }
    }
}

impl TrialRecord {
    /// The value of a complete trial.
    #[must_use]
    pub const fn value(&self) -> Option<f64> {
        match self.outcome {
            Some(Outcome::Complete { value }) => Some(value),
            _ => None,
        }
    }

    /// `complete`, `pruned`, `failed` or `running`.
    #[must_use]
    pub fn state(&self) -> &'static str {
        self.outcome.as_ref().map_or("running", Outcome::name)
    }
}
