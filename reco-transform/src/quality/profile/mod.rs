//! [`Profile`]: what a table is like, and the suite of expectations that it suggests.
//!
//! ```text
//! DataFrame ──a few passes──▶ Profile ──rules──▶ Suite ──edited by whoever knows──▶ expectations
//! ```
//!
//! **Passes.** One pass counts the rows, NULLs, extremes, means, lengths and, in a sketch of the 1024
//! smallest hashes, the different values of every column; three more find the quantiles of all numbers.
//! Then each column of texts with few different values is grouped by them, each that may be a key is
//! counted exactly, and the order is looked at if there is one. What is held is bounded for any number of
//! rows; what groups and sorts spills to disk. All numbers are exact, but for the number of different
//! values of a column that has many and is no key.
//!
//! **Rules of the draft.** It passes on the table that it is drafted of, and the same table gives the same
//! draft. It says what a person would have to defend, so that it leaves out what a sample cannot know:
//!
//! * The columns and the families of their types are expected as they are. Of fewer than 100 rows,
//!   nothing else is concluded.
//! * From half to twice as many rows, as a warning.
//! * A column without NULLs is expected to have none; one with up to a half of NULLs, at most 5 in 100 more,
//!   as a warning. One with more NULLs than values is let be.
//! * A column of integers or texts whose values all differ is a key: it is expected to stay unique, and
//!   nothing is concluded of its range, which grows.
//! * Few different texts, each of which occurs ten times on average, are expected to be all there are, as a
//!   warning. Numbers and booleans are not made sets of.
//! * Numbers are expected in a range half as wide again, which begins or ends at 0 if they do not cross it,
//!   with limits of one digit; and their median between what are now the quartiles. As warnings. A column
//!   of one number says nothing.
//! * Texts are expected not to be empty if none is, and to be at most twice as long; all of one length are
//!   expected to stay so. As warnings.
//! * Times go on: no range is expected of them. Said an order, columns of numbers and times that never fall
//!   in it are expected to go on so, as a warning.

mod draft;
mod gather;
mod sketch;
mod table;

use datafusion::prelude::DataFrame;
use serde::{Deserialize, Serialize};

use super::config::Suite;
use super::scalar::Scalar;
use crate::error::{Error, Result};

pub use table::profile_schema;

/// What a table is like.
///
/// It is data of serde, and [a table](Self::to_batch), to be kept and compared.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use reco_transform::datafusion::prelude::SessionContext;
/// use reco_transform::{Expectation, Profile, ProfileConfig, audit_table};
///
/// let session = SessionContext::new();
/// let clicks = session.sql(
///     "select value as id, case value % 3 when 0 then 'detail' else 'add' end as kind,
///             value % 40 + 0.5 as price
///      from generate_series(1, 500)",
/// );
/// session.register_table("clicks", clicks.await?.into_view())?;
///
/// let clicks = session.table("clicks").await?;
/// let profile = Profile::of(clicks, &ProfileConfig::default()).await?;
/// assert_eq!(profile.column("kind").unwrap().values[0].n, 334);
///
/// let suite = profile.draft("clicks");
/// let expectations: Vec<_> = suite.expectations.into_iter().map(Expectation::from).collect();
/// let names: Vec<_> = expectations.iter().map(Expectation::name).collect();
/// assert!(names.contains(&"unique(id)"));
/// assert!(names.contains(&"accepted_values(kind, [add, detail])"));
/// assert!(names.contains(&"between(price, 0..=60)"));
/// assert!(audit_table(&session, "clicks", &expectations).await?.passed());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// How many rows it has.
    pub n_rows: u64,
    /// Its columns, in their order.
    pub columns: Vec<ColumnProfile>,
    /// The columns by which its rows were said to be in order.
    pub order_by: Vec<String>,
}

/// What a column is like. What does not apply to its type is none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnProfile {
    /// Its name.
    pub name: String,
    /// Its type, as Arrow writes it.
    pub data_type: String,
    /// How many rows are NULL.
    pub n_nulls: u64,
    /// How many different values it has, NULL aside; of texts, numbers, times and booleans.
    pub n_distinct: Option<u64>,
    /// Whether that is exact, and not an estimate, which is within 10 % for all but one in a thousand
    /// columns.
    pub is_exact: bool,
    /// The least value; none if it is not finite.
    pub min: Option<Scalar>,
    /// The greatest value; none if it is not finite.
    pub max: Option<Scalar>,
    /// The mean of numbers; none if it is not finite.
    pub mean: Option<f64>,
    /// Their standard deviation, of the sample; none if it is not finite.
    pub stdev: Option<f64>,
    /// Their quantiles, those that are finite.
    pub quantiles: Vec<QuantileValue>,
    /// The fewest characters of a text.
    pub min_length: Option<u64>,
    /// The most characters of a text.
    pub max_length: Option<u64>,
    /// All texts and how often each occurs, the most frequent first, if they are few.
    pub values: Vec<ValueCount>,
    /// Whether numbers or times never fall in the order of the rows, where that was said.
    pub is_increasing: Option<bool>,
}

/// A quantile of a column.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuantileValue {
    /// Which quantile, from 0 to 1.
    pub quantile: f64,
    /// The value of the column that it is.
    pub value: f64,
}

/// A value and how often it occurs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValueCount {
    /// The value.
    pub value: Scalar,
    /// How often it occurs.
    pub n: u64,
}

/// How a table is profiled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProfileConfig {
    /// How many different texts of a column are still few; at most 1000. Default 20, as many as a person
    /// reads.
    pub max_values: usize,
    /// The quantiles of numbers that are found, from 0 to 1. Default 0.05, 0.25, 0.5, 0.75, 0.95.
    pub quantiles: Vec<f64>,
    /// The columns by which rows are in order. Default none: then nothing is said about order.
    pub order_by: Vec<String>,
}

impl Default for ProfileConfig {
    fn default() -> Self {
        Self {
            max_values: 20,
            quantiles: vec![0.05, 0.25, 0.5, 0.75, 0.95],
            order_by: Vec::new(),
        }
    }
}

impl Profile {
    /// Looks through a table.
    ///
    /// The table is read several times, as the page of this module says: a table that grows meanwhile is
    /// described as it never was.
    ///
    /// # Errors
    ///
    /// [`Error::NotProfiled`] if the rows cannot be read, or the settings do not fit them.
    pub async fn of(table: DataFrame, config: &ProfileConfig) -> Result<Self> {
        let profile = gather::profile(table, config).await;
        profile.map_err(|source| Error::NotProfiled { source })
    }

    /// A column.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&ColumnProfile> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// The suite that the table suggests, by the rules on the page of this module.
    #[must_use]
    pub fn draft(&self, name: impl Into<String>) -> Suite {
        Suite {
            name: name.into(),
            expectations: draft::expectations(self),
        }
    }
}
