//! What checks are made of besides columns and ranges, as data.

use serde::{Deserialize, Serialize};

use super::scalar::Scalar;

/// A column and values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnValues {
    /// The column.
    pub column: String,
    /// The values.
    pub values: Vec<Scalar>,
}

/// A column whose values go in one direction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Monotonic {
    /// The column.
    pub column: String,
    /// The columns that say in which order rows follow one another: a table has none of its own.
    pub order_by: Vec<String>,
    /// The columns within whose groups rows are compared; default none, which is the whole table.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partition_by: Vec<String>,
    /// Whether equal values are failures. Default false.
    #[serde(default)]
    pub strictly: bool,
}

/// A column, and how far a figure of it may be from what earlier runs found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnNearEarlier {
    /// The column.
    pub column: String,
    /// The table that holds the results of earlier runs, as [`checks_batch`](super::checks_batch) makes
    /// it.
    pub history: String,
    /// How many runs back, the newest first.
    pub n_runs: u32,
    /// How far it may be from their mean.
    pub max_change: f64,
}

/// Which rows a check of several columns passes over for their NULLs.
///
/// As `ignore_row_if` of Great Expectations, whose default is the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IgnoreRowIf {
    /// Rows with NULL in any of the columns.
    #[default]
    AnyMissing,
    /// Rows with NULL in all of the columns; those with some NULLs fail, unless they are expected.
    AllMissing,
    /// No row.
    Never,
}

impl IgnoreRowIf {
    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde passes a reference"
    )]
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// How many of several patterns have to match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MatchOn {
    /// One or more.
    #[default]
    Any,
    /// All.
    All,
}

/// What a text can be read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ParseAs {
    /// An integer of 64 bits.
    Integer,
    /// A floating-point number of 64 bits.
    Float,
    /// A date, such as `2024-05-01`.
    Date,
    /// A time, such as `2024-05-01T08:00:00Z`.
    Timestamp,
    /// JSON.
    Json,
}
