//! [`Packed`]: the records of one commit, as Arrow batches that know their dates.

use std::collections::BTreeMap;
use std::marker::PhantomData;

use arrow::array::RecordBatch;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use reco_core::{Record, Timestamp};

use crate::error::{Error, Result};

// Arrow counts the bytes of a text column in 32 bits: a batch stays well below.
const MAX_BATCH_BYTES: usize = 64 << 20;
const DAY_MICROS: i64 = 24 * 60 * 60 * 1_000_000;

/// The records of one commit, as Arrow batches that know their dates.
///
/// Columns take less memory than records and are made once, however often a commit starts over. Whoever
/// makes many records packs a few at a time: their texts are then freed while they are still at hand.
#[derive(Debug)]
pub(crate) struct Packed<E: Record> {
    chunks: Vec<Chunk>,
    n_rows: usize,
    records: PhantomData<fn() -> E>,
}

/// Some records that follow one another.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) batch: RecordBatch,
    /// The rows of each date, in order.
    pub(crate) rows: BTreeMap<Date, Vec<u32>>,
}

impl<E: Record> Packed<E> {
    pub(crate) const fn new() -> Self {
        Self {
            chunks: Vec::new(),
            n_rows: 0,
            records: PhantomData,
        }
    }

    /// Adds records behind those that are there.
    pub(crate) fn push(&mut self, records: &[E]) -> Result<()> {
        for chunk in chunks(records) {
            self.chunks.push(Chunk {
                rows: rows_of_dates(chunk, self.n_rows)?,
                batch: E::to_batch(chunk)?,
            });
            self.n_rows += chunk.len();
        }
        Ok(())
    }

    /// Adds a batch of records, of the schema of records and all of one date, behind those that are there.
    pub(crate) fn push_batch(&mut self, batch: RecordBatch, date: Date) {
        let n_rows = batch.num_rows();
        self.chunks.push(Chunk {
            rows: BTreeMap::from([(date, (0_u32..).take(n_rows).collect())]),
            batch,
        });
        self.n_rows += n_rows;
    }

    /// How many records there are.
    pub(crate) const fn len(&self) -> usize {
        self.n_rows
    }

    pub(crate) fn chunks(&self) -> &[Chunk] {
        &self.chunks
    }

    /// The records, as they would be read back.
    #[cfg(test)]
    pub(crate) fn records(&self) -> reco_core::Result<Vec<E>> {
        let chunks = self.chunks.iter().map(|chunk| E::from_batch(&chunk.batch));
        Ok(chunks.collect::<reco_core::Result<Vec<_>>>()?.concat())
    }
}

// Runs of records of at most `MAX_BATCH_BYTES` together, but at least one record each.
fn chunks<E: Record>(records: &[E]) -> impl Iterator<Item = &[E]> {
    let mut rest = records;
    std::iter::from_fn(move || {
        let mut n_bytes = 0_usize;
        let n = rest
            .iter()
            .take_while(|record| {
                n_bytes = n_bytes.saturating_add(record.n_bytes());
                n_bytes <= MAX_BATCH_BYTES
            })
            .count()
            .max(1);
        let (chunk, after) = rest.split_at_checked(n)?;
        rest = after;
        Some(chunk)
    })
}

// Which rows are of which date; `first_row` is the first one's, for errors.
fn rows_of_dates<E: Record>(chunk: &[E], first_row: usize) -> Result<BTreeMap<Date, Vec<u32>>> {
    let mut rows: BTreeMap<Date, Vec<u32>> = BTreeMap::new();
    // Most records are of the day of the one before, whose rows are gathered here.
    let mut day: Option<(i64, Date)> = None;
    let mut of_day: Vec<u32> = Vec::new();
    for (row, record) in (0_u32..).zip(chunk) {
        let time = record.timestamp();
        let n_days = day_of(time);
        if day.is_none_or(|(same, _)| same != n_days) {
            let date = date_of(time).ok_or(Error::Date {
                row: first_row + row as usize,
                time,
            })?;
            if let Some((_, before)) = day.replace((n_days, date)) {
                rows.entry(before).or_default().append(&mut of_day);
            }
        }
        of_day.push(row);
    }
    if let Some((_, date)) = day {
        rows.entry(date).or_default().append(&mut of_day);
    }
    Ok(rows)
}

/// The UTC date of a time, as it is read back: in whole microseconds.
pub(crate) fn date_of(time: Timestamp) -> Option<Date> {
    date_of_day(day_of(time))
}

/// The UTC day of a time, since 1970.
pub(crate) fn day_of(time: Timestamp) -> i64 {
    time.as_microsecond().div_euclid(DAY_MICROS)
}

/// The date of a day, if tables have such.
pub(crate) fn date_of_day(n_days: i64) -> Option<Date> {
    let begin = Timestamp::from_microsecond(n_days.checked_mul(DAY_MICROS)?).ok()?;
    let date = TimeZone::UTC.to_datetime(begin).date();
    (1..=9999).contains(&date.year()).then_some(date)
}
