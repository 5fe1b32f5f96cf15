//! [`RawTable`]: an append-only table that replays what was written.

use std::pin::Pin;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use futures::Stream;
use jiff::Timestamp;

use crate::error::Result;
use crate::event::Event;
use crate::record::Record;
use crate::sink::EventSink;

/// Batches of a table as they come, the first error being the last item.
pub type RecordBatchStream = Pin<Box<dyn Stream<Item = Result<RecordBatch>> + Send>>;

/// An append-only table: a sink that replays what was written to it.
///
/// There is no way to change or remove a row.
///
/// # Contract
///
/// * A scan yields every record that was flushed before it began and whose
///   [`timestamp`](Record::timestamp) is in the window, once, in the order written.
/// * Batches have the record's [`schema`](Record::schema).
/// * A scan sees one state of the table: what is written while it runs is not in it.
/// * While the [`fingerprint`](Self::fingerprint) is the same, so is what scans yield.
///
/// [`testing::raw_table`](crate::testing::raw_table) checks it (feature `testing`).
#[async_trait]
pub trait RawTable<E: Record = Event>: EventSink<E> {
    /// Replays a window of time, in the order written.
    ///
    /// # Errors
    ///
    /// The table cannot be read; later trouble is an error in the stream.
    async fn scan(&self, window: TimeWindow) -> Result<RecordBatchStream>;

    /// What the table holds, as a text that no other table and no other state of this one has, found
    /// without reading records; none if the table cannot tell. Default none.
    ///
    /// Whoever made something of the table need not make it again while this is the same.
    ///
    /// # Errors
    ///
    /// The table cannot be read.
    async fn fingerprint(&self) -> Result<Option<String>> {
        Ok(None)
    }
}

/// A span of time from `start` up to and without `end`; an open side has no bound.
///
/// # Examples
///
/// ```
/// use reco_core::TimeWindow;
///
/// let day = TimeWindow::between("2024-05-01T00:00Z".parse()?, "2024-05-02T00:00Z".parse()?);
/// assert!(day.contains("2024-05-01T00:00Z".parse()?));
/// assert!(!day.contains("2024-05-02T00:00Z".parse()?));
/// assert!(TimeWindow::ALL.contains("1970-01-01T00:00Z".parse()?));
/// # Ok::<(), jiff::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TimeWindow {
    /// The first time that is inside.
    pub start: Option<Timestamp>,
    /// The first time that is outside again.
    pub end: Option<Timestamp>,
}

impl TimeWindow {
    /// All time.
    pub const ALL: Self = Self {
        start: None,
        end: None,
    };

    /// From `start` on, up to and without `end`.
    #[must_use]
    pub const fn between(start: Timestamp, end: Timestamp) -> Self {
        Self {
            start: Some(start),
            end: Some(end),
        }
    }

    /// From `start` on.
    #[must_use]
    pub const fn from(start: Timestamp) -> Self {
        Self {
            start: Some(start),
            end: None,
        }
    }

    /// Whether a time is inside.
    #[must_use]
    pub fn contains(&self, time: Timestamp) -> bool {
        self.start.is_none_or(|start| start <= time) && self.end.is_none_or(|end| time < end)
    }
}
