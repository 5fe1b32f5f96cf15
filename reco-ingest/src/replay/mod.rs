//! [`Replayer`]: what was written, again, into any sink.
//!
//! ```text
//! table ─▶ scan, in the order written ─▶ pace ─▶ batches ─▶ sink
//!                                                  └─▶ progress: the position to go on from
//! ```
//!
//! Replay to fill a new table or a live view from the raw one (a backfill), or paced, to see tomorrow's
//! service under last week's traffic. The order is that of the writes, whatever the pace.
//!
//! A replay delivers at least once: what was handed to the sink after the last [`Position`] that the host
//! kept comes again. Records keep their ids, so steps remove what came twice.

mod chunks;
mod pace;

use std::ops::{Bound, RangeBounds};
use std::pin::pin;

use futures::{Stream, TryStreamExt};
use reco_core::{Error as CoreError, EventSink, RawTable, Record, TimeWindow};
use serde::{Deserialize, Serialize};

use crate::delta::{DeltaTable, NumberedRows, first_seq};
use crate::error::{Error, Result};
use crate::metric;
use chunks::Chunk;
use pace::{Clock, Pacer, TokioClock};

pub use pace::Pace;

/// Hands what a table holds to a sink again.
///
/// # Examples
///
/// A replay at 60 times the speed at which the events came, whose position is kept:
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use reco_core::{EventSink, TimeWindow};
/// use reco_ingest::replay::{Pace, Position, Replayer};
/// use reco_ingest::{DeadLetter, MemoryTable};
///
/// let (table, sink) = (MemoryTable::<DeadLetter>::new(), MemoryTable::new());
/// # let letter = |position| DeadLetter {
/// #     received_at: "2024-05-01T12:00Z".parse().unwrap(),
/// #     source: "clicks.csv".to_owned(),
/// #     position,
/// #     reason: "4 fields where 5 are declared".to_owned(),
/// #     payload: "1;2;3;4".into(),
/// # };
/// # let letters: Vec<_> = (1..=3).map(letter).collect();
/// table.write(letters).await?;
///
/// let replayer = Replayer { pace: Pace::times(60.0), ..Replayer::default() };
/// let mut kept = Position::default();
/// let report = replayer
///     .window(&table, TimeWindow::ALL, kept, &sink, |progress| kept = progress.position)
///     .await?;
/// assert_eq!((report.records, sink.records().len()), (3, 3));
///
/// // From here on there is nothing left.
/// let report = replayer.window(&table, TimeWindow::ALL, kept, &sink, |_| {}).await?;
/// assert_eq!(report.records, 0);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Replayer {
    /// How fast. Default: as fast as the sink takes it.
    pub pace: Pace,
    /// How many records a batch has at most. Default: 10 000.
    ///
    /// Paced, a batch has what is due; so it has more the higher the speed.
    pub batch_rows: usize,
}

impl Default for Replayer {
    fn default() -> Self {
        Self {
            pace: Pace::FullSpeed,
            batch_rows: 10_000,
        }
    }
}

/// How far a replay is: give it to the same replay, to go on from there. The default is its beginning.
///
/// For a window it counts the records before it, for versions it is the number of the next row. Tables
/// are append-only, so it stays valid whatever is written meanwhile. Where a table forgets clients, go
/// on by version: numbers of rows stay, counts do not.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Position(u64);

/// How far a replay is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplayProgress {
    /// Where to go on from: what is before it was accepted.
    pub position: Position,
    /// How many records were accepted so far.
    pub records: u64,
}

/// What a replay did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayReport {
    /// How many records were accepted.
    pub records: u64,
    /// Where to go on from: what was written since.
    pub position: Position,
    /// The last version that was replayed; none for a window.
    pub version: Option<u64>,
}

impl Replayer {
    /// Replays a window of any table from a position on, flushes the sink, and says what it did.
    /// `progress` is called after every batch that was accepted.
    ///
    /// A sink that is [full](CoreError::Full) is tried again when it says so.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] for settings that cannot be used,
    /// [`reco_core::Error::MissingColumn`] if the records have no such time to pace by, and what the
    /// table and the sink say: the position of the last progress is then where to go on from.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, go on from the position of the last progress.
    #[tracing::instrument(level = "info", skip_all, fields(records = E::NAME, position = position.0))]
    pub async fn window<E, T, S>(
        &self,
        table: &T,
        window: TimeWindow,
        position: Position,
        sink: &S,
        progress: impl FnMut(ReplayProgress) + Send,
    ) -> Result<ReplayReport>
    where
        E: Record,
        T: RawTable<E> + ?Sized,
        S: EventSink<E> + ?Sized,
    {
        let pacer = self.pacer::<E>()?;
        let batches = table.scan(window).await?.map_err(Error::Core);
        let chunks = chunks::counted(batches, position.0, self.pace.column());
        self.run(chunks, position, pacer, TokioClock::start(), sink, progress)
            .await
    }

    /// Replays what some versions committed, `1..=7` or `8..`, from a position on. Otherwise as
    /// [`window`](Self::window).
    ///
    /// [`ReplayReport::version`] says up to which version that was: go on with the next.
    ///
    /// # Errors
    ///
    /// As [`window`](Self::window).
    ///
    /// # Cancel safety
    ///
    /// As [`window`](Self::window).
    #[tracing::instrument(level = "info", skip_all, fields(table = %table.name(), position = position.0))]
    pub async fn versions<E, S>(
        &self,
        table: &DeltaTable<E>,
        versions: impl RangeBounds<u64>,
        position: Position,
        sink: &S,
        progress: impl FnMut(ReplayProgress) + Send,
    ) -> Result<ReplayReport>
    where
        E: Record,
        S: EventSink<E> + ?Sized,
    {
        let pacer = self.pacer::<E>()?;
        let first = match versions.start_bound() {
            Bound::Included(first) => *first,
            Bound::Excluded(before) => before.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match versions.end_bound() {
            Bound::Included(last) => last.saturating_add(1),
            Bound::Excluded(end) => *end,
            Bound::Unbounded => u64::MAX,
        };
        // Numbers of rows are not negative.
        let next = i64::try_from(position.0).unwrap_or(i64::MAX);
        let min_seq = first_seq(first).max(next);
        let NumberedRows { version, batches } =
            table.numbered_rows(TimeWindow::ALL, min_seq).await?;
        let column = self.pace.column();
        let chunks = chunks::numbered(table.name(), batches, first_seq(end), column);
        let start = Position(min_seq.unsigned_abs());
        let report = self
            .run(chunks, start, pacer, TokioClock::start(), sink, progress)
            .await?;
        Ok(ReplayReport {
            version: Some(version.min(end.saturating_sub(1))),
            ..report
        })
    }

    fn pacer<E: Record>(&self) -> Result<Pacer> {
        if self.batch_rows == 0 {
            return Err(Error::InvalidConfig {
                of: "replay",
                reason: "`batch_rows` is 0".to_owned(),
            });
        }
        self.pace.pacer::<E>()
    }

    async fn run<E, S, C>(
        &self,
        chunks: impl Stream<Item = Result<Chunk<E>>> + Send,
        start: Position,
        mut pacer: Pacer,
        clock: C,
        sink: &S,
        mut progress: impl FnMut(ReplayProgress) + Send,
    ) -> Result<ReplayReport>
    where
        E: Record,
        S: EventSink<E> + ?Sized,
        C: Clock,
    {
        let (mut records, mut position) = (0_u64, start);
        let mut chunks = pin!(chunks);
        while let Some(mut chunk) = chunks.try_next().await? {
            while !chunk.is_empty() {
                clock.sleep_until(pacer.due(chunk.time(0), &clock)).await;
                let now = clock.now();
                let is_due = |row: &usize| *row == 0 || pacer.is_due(chunk.time(*row), now);
                let n = (0..chunk.len().min(self.batch_rows))
                    .take_while(is_due)
                    .count();
                let (batch, next) = chunk.take(n);
                write(sink, batch, &clock).await?;
                metrics::counter!(metric::REPLAYED, metric::TABLE => E::NAME).increment(n as u64);
                records += n as u64;
                position = Position(next);
                progress(ReplayProgress { position, records });
            }
        }
        sink.flush().await?;
        Ok(ReplayReport {
            records,
            position,
            version: None,
        })
    }
}

// Nothing of a batch is accepted by a sink that is full, so the batch can be written again.
async fn write<E, S, C>(sink: &S, batch: Vec<E>, clock: &C) -> Result<()>
where
    E: Record,
    S: EventSink<E> + ?Sized,
    C: Clock,
{
    loop {
        match sink.write(batch.clone()).await {
            Ok(_) => return Ok(()),
            Err(CoreError::Full { sink, retry_after }) => {
                tracing::debug!(sink, ?retry_after, "a replay waits for room");
                clock.sleep_until(clock.now() + retry_after).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests;
