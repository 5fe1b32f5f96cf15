//! [`Incremental`]: a table that is made interval by interval, and made again only where it has to be.
//!
//! Time is cut into intervals of an hour, a day, a week or a month. A run computes the intervals that
//! nobody has computed yet, those whose inputs changed, and those that it is asked for; the rows of all
//! others stay as they are. Which intervals are done is kept in a [`Ledger`], never guessed from the rows:
//! an hour without events is done like any other, and one that failed is not.
//!
//! **One query.** The query of an incremental table says nothing of intervals. The DAG shows it the part of
//! its inputs that an interval needs, see [`Reads`], and keeps of what it makes the rows whose time is in
//! the interval. So a batch can write its own interval only, and a table that is built anew with
//! [`DagPlan::rebuild`](crate::DagPlan::rebuild) is the same as one that grew.
//!
//! **Late rows.** Whether a source has new rows of last week cannot be told without reading it. So an interval
//! is computed again when a source has changed, until it was computed after
//! [`lookback`](Incremental::lookback) later ones had ended; after that only in a
//! [`backfill`](crate::DagPlan::backfill). A run that was missed or killed makes no difference. What other steps of the DAG make interval by
//! interval is known exactly: a day that is computed again there is computed again here. A change of the
//! step, of a function's version, or of an input that is read whole makes all intervals anew.
//!
//! **Failures.** An interval that fails leaves a gap, and the others are computed all the same, unless they
//! could replace each other's rows; the next run computes the gap. A run that is killed goes on after the last interval that it wrote. Readers are
//! shown the table once all intervals are there and it passed its audit.

mod interval;
mod ledger;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use reco_core::Timestamp;
use serde::{Deserialize, Serialize};

pub use interval::{Every, Interval};
pub use ledger::{Ledger, LedgerEntry};

/// How a table is made interval by interval; given to
/// [`DagBuilder::incremental`](crate::DagBuilder::incremental).
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use reco_transform::{Dag, Incremental, Reads, Warehouse};
///
/// fn shop(clicks: &str) -> Result<Dag, Box<dyn std::error::Error>> {
///     let clicks = format!("select column1::timestamp as at, column2 as item from (values {clicks})");
///     Ok(Dag::builder()
///         .sql("clicks", clicks)
///         .sql("daily", "select date_trunc('day', at) as day, count(*) as n from clicks group by 1")
///         .incremental(
///             "daily",
///             Incremental::daily("day", "2024-05-01T00:00:00Z".parse()?)
///                 .reads("clicks", Reads::by("at")),
///         )
///         .build()?)
/// }
///
/// let warehouse = Warehouse::in_memory();
/// let monday = shop("('2024-05-01 10:00:00', 'hat'), ('2024-05-02 11:00:00', 'hat')")?;
/// monday.run_until(&warehouse, "2024-05-02T00:00:00Z".parse()?).await?;
/// assert_eq!(warehouse.table("daily").await?.count().await?, 1); // The second day has not ended.
///
/// let plan = monday.plan_until(&warehouse, "2024-05-03T00:00:00Z".parse()?).await?;
/// assert_eq!(plan.intervals("daily").len(), 1);
/// plan.apply().await?;
/// assert_eq!(warehouse.table("daily").await?.count().await?, 2);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Incremental {
    /// The column of the table that says in which interval a row is: a timestamp or a date, never null.
    pub time_column: String,
    /// The length of an interval.
    #[serde(default)]
    pub every: Every,
    /// The first interval is the one that holds this time.
    pub begin: Timestamp,
    /// How many intervals long rows may come late: an interval is computed again, when what it reads may
    /// have changed, until so many later ones had ended. Default 1, as in dbt's microbatch models.
    #[serde(default = "default_lookback")]
    pub lookback: u32,
    /// How many intervals that follow one another are computed at once. Default 1, so that one that fails
    /// takes no other with it; more is faster for long backfills.
    #[serde(default = "default_batch")]
    pub batch: NonZeroU32,
    /// The inputs of which an interval reads a part, by their names. All others are read whole.
    #[serde(default)]
    pub reads: BTreeMap<String, Reads>,
    /// Inputs that are read whole and whose changes make nothing anew: an interval keeps what it found in
    /// them, such as prices of the day.
    #[serde(default)]
    pub snapshots: BTreeSet<String>,
    /// How the rows of an interval become part of the table.
    #[serde(default)]
    pub strategy: Strategy,
}

/// Which part of an input an interval reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reads {
    /// The column of the input by which it is cut. Rows without a time there are in no interval, and never
    /// read: expect [`not_null`](crate::not_null).
    pub time_column: String,
    /// How long before the interval the part begins: a session that began yesterday. Default 0.
    #[serde(default)]
    pub before: Duration,
    /// How long after the interval the part ends. Default 0.
    #[serde(default)]
    pub after: Duration,
}

/// How the rows of an interval become part of the table. The names are those of dbt and SQLMesh.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Strategy {
    /// They take the place of the rows of the interval.
    #[default]
    Interval,
    /// They are added. An interval is computed once, so there is no lookback and no backfill of what is
    /// there.
    Append,
    /// Each takes the place of the row with the same key, in whatever interval that is; it is refused if
    /// two rows of a batch have the same key.
    Merge {
        /// The columns of the key.
        key: Vec<String>,
        /// What is done about keys with nulls.
        #[serde(default)]
        null_keys: NullKeys,
    },
    /// They take the place of all rows that have one of their keys.
    DeleteInsert {
        /// The columns of the key.
        key: Vec<String>,
        /// What is done about keys with nulls.
        #[serde(default)]
        null_keys: NullKeys,
    },
    /// They take the place of all rows of their partitions. The table is partitioned by these columns.
    OverwritePartitions {
        /// The columns.
        by: Vec<String>,
    },
}

/// What is done about a row whose key has a null.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NullKeys {
    /// The interval fails. In SQL a null equals nothing, so such a row would be added again each time.
    #[default]
    Refuse,
    /// Nulls are equal, as in `IS NOT DISTINCT FROM`.
    Equal,
}

const fn default_lookback() -> u32 {
    1
}

const fn default_batch() -> NonZeroU32 {
    NonZeroU32::MIN
}

impl Incremental {
    /// Interval by interval, from the one that holds `begin`.
    #[must_use]
    pub fn every(every: Every, time_column: impl Into<String>, begin: Timestamp) -> Self {
        Self {
            time_column: time_column.into(),
            every,
            begin,
            lookback: default_lookback(),
            batch: default_batch(),
            reads: BTreeMap::new(),
            snapshots: BTreeSet::new(),
            strategy: Strategy::default(),
        }
    }

    /// Day by day, in UTC.
    #[must_use]
    pub fn daily(time_column: impl Into<String>, begin: Timestamp) -> Self {
        Self::every(Every::Day, time_column, begin)
    }

    /// Hour by hour.
    #[must_use]
    pub fn hourly(time_column: impl Into<String>, begin: Timestamp) -> Self {
        Self::every(Every::Hour, time_column, begin)
    }

    /// Reads of an input only what an interval needs.
    #[must_use]
    pub fn reads(mut self, input: impl Into<String>, reads: Reads) -> Self {
        self.reads.insert(input.into(), reads);
        self
    }

    /// Reads an input whole, as it is at the time; later changes of it make nothing anew.
    #[must_use]
    pub fn snapshot(mut self, input: impl Into<String>) -> Self {
        self.snapshots.insert(input.into());
        self
    }

    /// Awaits rows that come so many intervals late.
    #[must_use]
    pub fn lookback(self, lookback: u32) -> Self {
        Self { lookback, ..self }
    }

    /// Computes so many intervals at once.
    #[must_use]
    pub fn batch(self, batch: NonZeroU32) -> Self {
        Self { batch, ..self }
    }

    /// Adds rows, and never computes an interval again.
    #[must_use]
    pub fn append(self) -> Self {
        Self {
            strategy: Strategy::Append,
            lookback: 0,
            ..self
        }
    }

    /// Puts each row in the place of the one with the same key.
    #[must_use]
    pub fn merge(self, key: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let strategy = Strategy::Merge {
            key: key.into_iter().map(Into::into).collect(),
            null_keys: NullKeys::default(),
        };
        Self { strategy, ..self }
    }

    /// Puts rows in the place of all that have one of their keys.
    #[must_use]
    pub fn delete_insert(self, key: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let strategy = Strategy::DeleteInsert {
            key: key.into_iter().map(Into::into).collect(),
            null_keys: NullKeys::default(),
        };
        Self { strategy, ..self }
    }

    /// Puts rows in the place of all that are in their partitions.
    #[must_use]
    pub fn overwrite_partitions(self, by: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let strategy = Strategy::OverwritePartitions {
            by: by.into_iter().map(Into::into).collect(),
        };
        Self { strategy, ..self }
    }

    /// Why it cannot be used with a step of such inputs, if so.
    pub(crate) fn defect(&self, inputs: &[String]) -> Option<String> {
        let mut named = self.reads.keys().chain(&self.snapshots);
        if let Some(stranger) = named.find(|name| !inputs.contains(name)) {
            let nearest = reco_core::nearest(stranger, inputs);
            let hint = reco_core::did_you_mean(nearest.as_deref());
            return Some(format!("the step does not read `{stranger}`{hint}"));
        }
        if let Some(both) = self
            .snapshots
            .iter()
            .find(|name| self.reads.contains_key(*name))
        {
            return Some(format!("`{both}` is read by intervals and as a snapshot"));
        }
        match &self.strategy {
            Strategy::Append if self.lookback > 0 => {
                Some("rows that are appended have no lookback: set it to 0".to_owned())
            }
            Strategy::Merge { key, .. } | Strategy::DeleteInsert { key, .. } if key.is_empty() => {
                Some("the key has no columns".to_owned())
            }
            Strategy::OverwritePartitions { by } if by.is_empty() => {
                Some("there are no columns to partition by".to_owned())
            }
            _ => None,
        }
    }

    /// What the rows of the table depend on.
    pub(crate) fn definition(&self) -> String {
        let Self {
            time_column,
            every,
            begin,
            lookback: _,
            batch: _,
            reads,
            snapshots,
            strategy,
        } = self;
        format!("{time_column} {every} {begin} {reads:?} {snapshots:?} {strategy:?}")
    }

    /// The columns by which the table is partitioned.
    pub(crate) fn partition_by(&self) -> &[String] {
        match &self.strategy {
            Strategy::OverwritePartitions { by } => by,
            _ => &[],
        }
    }
}

impl Reads {
    /// The rows whose time is in the interval.
    #[must_use]
    pub fn by(time_column: impl Into<String>) -> Self {
        Self {
            time_column: time_column.into(),
            before: Duration::ZERO,
            after: Duration::ZERO,
        }
    }

    /// And those of such a time before it.
    #[must_use]
    pub fn before(self, before: Duration) -> Self {
        Self { before, ..self }
    }

    /// And those of such a time after it.
    #[must_use]
    pub fn after(self, after: Duration) -> Self {
        Self { after, ..self }
    }

    /// The part that an interval reads.
    pub(crate) fn window(&self, interval: Interval) -> Interval {
        Interval {
            start: interval
                .start
                .checked_sub(self.before)
                .unwrap_or(Timestamp::MIN),
            end: interval
                .end
                .checked_add(self.after)
                .unwrap_or(Timestamp::MAX),
        }
    }
}

impl Strategy {
    /// The columns that it names.
    pub(crate) fn columns(&self) -> &[String] {
        match self {
            Self::Interval | Self::Append => &[],
            Self::Merge { key, .. } | Self::DeleteInsert { key, .. } => key,
            Self::OverwritePartitions { by } => by,
        }
    }

    /// Whether a row can be replaced by one of a later interval, so that intervals have to be written in
    /// their order.
    pub(crate) const fn is_ordered(&self) -> bool {
        match self {
            Self::Interval | Self::Append => false,
            Self::Merge { .. } | Self::DeleteInsert { .. } | Self::OverwritePartitions { .. } => {
                true
            }
        }
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interval => f.write_str("interval"),
            Self::Append => f.write_str("append"),
            Self::Merge { key, .. } => write!(f, "merge by {}", key.join(", ")),
            Self::DeleteInsert { key, .. } => write!(f, "delete and insert by {}", key.join(", ")),
            Self::OverwritePartitions { by } => write!(f, "overwrite by {}", by.join(", ")),
        }
    }
}
