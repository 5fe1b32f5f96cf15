//! [`Chunk`]: some records, with where and when each was.

use std::collections::VecDeque;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::TimestampMicrosecondType;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, TryStreamExt};
use reco_core::{Record, project};

use crate::delta::seq_of;
use crate::error::{Error, Result};

/// Some records in their order, with where and when each was.
#[derive(Debug)]
pub(super) struct Chunk<E> {
    records: VecDeque<E>,
    /// Where to go on after each.
    next: VecDeque<u64>,
    /// In microseconds; empty if nothing is paced by it.
    times: VecDeque<i64>,
}

impl<E: Record> Chunk<E> {
    fn new(batch: &RecordBatch, next: VecDeque<u64>, column: Option<&str>) -> Result<Self> {
        let batch = project::<E>(batch)?;
        let times = column.and_then(|column| batch.column_by_name(column));
        let times = times.and_then(|times| times.as_primitive_opt::<TimestampMicrosecondType>());
        Ok(Self {
            records: E::from_batch(&batch)?.into(),
            next,
            times: times.map_or_else(VecDeque::new, |times| times.values().to_vec().into()),
        })
    }

    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The time of a record.
    pub(super) fn time(&self, row: usize) -> i64 {
        self.times.get(row).copied().unwrap_or_default()
    }

    /// Takes records out, and says where to go on after them.
    pub(super) fn take(&mut self, n: usize) -> (Vec<E>, u64) {
        let next = self.next.drain(..n).next_back().unwrap_or_default();
        self.times.drain(..n.min(self.times.len()));
        (self.records.drain(..n).collect(), next)
    }
}

/// The records of a scan without its first few; a position counts the records before it.
pub(super) fn counted<E: Record>(
    batches: impl Stream<Item = Result<RecordBatch>> + Send,
    n_before: u64,
    column: Option<String>,
) -> impl Stream<Item = Result<Chunk<E>>> + Send {
    let mut n_seen = 0_u64;
    batches.map(move |batch| {
        let batch = batch?;
        let n_rows = batch.num_rows();
        let n_skipped = usize::try_from(n_before.saturating_sub(n_seen)).unwrap_or(usize::MAX);
        let n_skipped = n_skipped.min(n_rows);
        let next = (n_seen + 1..).take(n_rows).skip(n_skipped).collect();
        n_seen += n_rows as u64;
        let rest = batch.slice(n_skipped, n_rows - n_skipped);
        Chunk::new(&rest, next, column.as_deref())
    })
}

/// The rows before a sequence number; a position is the number of the row after it.
pub(super) fn numbered<E: Record>(
    table: &str,
    batches: BoxStream<'static, Result<RecordBatch>>,
    end_seq: i64,
    column: Option<String>,
) -> impl Stream<Item = Result<Chunk<E>>> + Send {
    let table = table.to_owned();
    let before_end = move |batch: RecordBatch| -> Result<Option<Chunk<E>>> {
        let seq = seq_of(&table, &batch)?;
        let n_rows = seq.partition_point(|seq| *seq < end_seq);
        if n_rows == 0 {
            return Ok(None);
        }
        let next = seq[..n_rows].iter().map(|seq| seq.unsigned_abs() + 1);
        Chunk::new(&batch.slice(0, n_rows), next.collect(), column.as_deref()).map(Some)
    };
    // The rows are sorted: where none is left, none will follow.
    batches
        .map(move |batch| batch.and_then(&before_end))
        .try_take_while(|chunk| std::future::ready(Ok::<_, Error>(chunk.is_some())))
        .try_filter_map(|chunk| std::future::ready(Ok(chunk)))
}
