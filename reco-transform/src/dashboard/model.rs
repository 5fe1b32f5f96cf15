//! What a dashboard shows, read and not yet drawn.

use jiff::civil::DateTime;
use reco_core::Timestamp;

/// What a dashboard shows. What was not asked for is none; what is not published is missing.
#[derive(Debug, Clone, Default)]
pub(super) struct Model {
    pub(super) days: Option<Panel<Vec<Window>>>,
    pub(super) hours: Option<Panel<Vec<Window>>>,
    pub(super) funnel: Option<Panel<Vec<Stage>>>,
    pub(super) items: Option<Panel<Vec<Ranked>>>,
    pub(super) searches: Option<Panel<Vec<Ranked>>>,
    /// The last runs, the newest last.
    pub(super) runs: Vec<Run>,
    pub(super) tables: Vec<Table>,
}

/// What is shown of a table.
#[derive(Debug, Clone)]
pub(super) enum Panel<T> {
    Rows(T),
    /// The environment does not show the table of this name.
    Missing(String),
}

/// An hour or a day.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Window {
    /// When it began, in UTC and on the clocks of the shop.
    pub(super) start: Timestamp,
    pub(super) local: DateTime,
    pub(super) n_sessions: f64,
    pub(super) n_orders: f64,
    pub(super) n_converted: f64,
    /// None where several currencies were paid.
    pub(super) revenue: Option<f64>,
    pub(super) currency: Option<String>,
}

/// How many sessions got how far.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Stage {
    pub(super) name: String,
    pub(super) n_sessions: f64,
}

/// An item or a search term with its count.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ranked {
    pub(super) name: String,
    pub(super) n: f64,
    /// How often it was met in each window shown, the oldest first.
    pub(super) trend: Vec<f64>,
    /// Its rank in the window before; none if it had none, or there is no window before.
    pub(super) rank_before: Option<u64>,
}

/// A run, with what it found of each table.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Run {
    pub(super) number: u64,
    pub(super) ended_at: Timestamp,
    pub(super) seconds: f64,
    pub(super) succeeded: bool,
    pub(super) error: Option<String>,
    pub(super) tables: Vec<Verdict>,
}

/// What a run found of a table.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Verdict {
    pub(super) table: String,
    pub(super) outcome: Outcome,
    /// The expectations that were looked at, in order.
    pub(super) checks: Vec<Check>,
}

/// What was found of an expectation.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Check {
    pub(super) expectation: String,
    pub(super) outcome: Outcome,
    pub(super) n_checked: u64,
    pub(super) n_failed: u64,
    pub(super) observed: Option<String>,
}

/// A verdict in a word and a sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Outcome {
    /// Nothing was looked at.
    Reused,
    Passed,
    Warned,
    Skipped,
    Failed,
}

/// A published table.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Table {
    pub(super) name: String,
    pub(super) n_rows: u64,
    pub(super) version: u64,
    pub(super) published_at: Timestamp,
}

impl Window {
    /// The share of the sessions that bought something.
    pub(super) fn conversion(&self) -> Option<f64> {
        (self.n_sessions > 0.0).then(|| self.n_converted / self.n_sessions)
    }
}

impl Outcome {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Reused => "reused",
            Self::Passed => "passed",
            Self::Warned => "warned",
            Self::Skipped => "skipped",
            Self::Failed => "failed",
        }
    }

    /// For those who do not see colours.
    pub(super) const fn sign(self) -> &'static str {
        match self {
            Self::Reused => "·",
            Self::Passed => "✓",
            Self::Warned => "!",
            Self::Skipped => "–",
            Self::Failed => "✗",
        }
    }
}
