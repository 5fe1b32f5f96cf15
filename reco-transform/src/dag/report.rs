//! What became of the tables of a run.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reco_core::CheckReport;

use crate::error::Error;

/// What became of a table in a run.
#[derive(Debug, Clone)]
pub struct TableReport {
    /// The table.
    pub table: String,
    /// Whether it was made.
    pub status: TableStatus,
    /// How many rows it has, where that is known: not for a source or a view that nothing is
    /// expected of.
    pub n_rows: Option<u64>,
    /// How long it took to make and audit it.
    pub duration: Duration,
    /// The version of its Delta table, if it is kept in one.
    pub version: Option<u64>,
    /// What was found of what is expected; without results if it was not looked at.
    pub checks: CheckReport,
}

/// Whether a table was made in a run.
#[derive(Debug, Clone)]
pub enum TableStatus {
    /// It was made, or its rows were audited anew, and it passed its audit.
    Built,
    /// Its published rows are used as they are: nothing changed since.
    Reused,
    /// Nothing that was made reads it. It is computed if somebody asks the run for it.
    Deferred,
    /// It could not be made, or did not pass.
    Failed {
        /// Why.
        error: Arc<Error>,
    },
    /// It was not tried.
    Skipped {
        /// The table whose failure it would have built upon.
        because_of: String,
    },
}

impl TableStatus {
    /// Whether the run has the table.
    #[must_use]
    pub const fn is_there(&self) -> bool {
        match self {
            Self::Built | Self::Reused | Self::Deferred => true,
            Self::Failed { .. } | Self::Skipped { .. } => false,
        }
    }
}

impl fmt::Display for TableReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.table, self.status)?;
        if let Some(n_rows) = self.n_rows {
            write!(f, ", {n_rows} rows")?;
        }
        if let Some(version) = self.version {
            write!(f, ", version {version}")?;
        }
        if matches!(self.status, TableStatus::Built | TableStatus::Failed { .. }) {
            write!(f, ", {:.3} s", self.duration.as_secs_f64())?;
        }
        Ok(())
    }
}

impl fmt::Display for TableStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Built => f.write_str("built"),
            Self::Reused => f.write_str("reused"),
            Self::Deferred => f.write_str("deferred"),
            Self::Failed { .. } => f.write_str("failed"),
            Self::Skipped { because_of } => write!(f, "skipped because of {because_of}"),
        }
    }
}

/// Something that happens during a run.
#[derive(Debug, Clone, Copy)]
pub enum DagEvent<'a> {
    /// A table is being made; told again for one that ran out of memory beside others and is made alone.
    Started {
        /// The table.
        table: &'a str,
        /// How many tables are done.
        n_done: usize,
        /// How many tables there are.
        n_tables: usize,
    },
    /// A table is done: made, failed or skipped.
    Finished(&'a TableReport),
}
