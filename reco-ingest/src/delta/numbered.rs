//! [`Numbered`]: a sink whose batches are each written at most once.

use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use reco_core::{Event, EventSink, Receipt, Record};
use tokio::sync::Mutex;

use super::{BatchId, DeltaTable, Packed, Prepared, Written};
use crate::error::Result;

/// A table as a sink that numbers its batches from 0 on, under the name of one writer.
///
/// Whoever writes the same batches again from the start, an importer after a crash for instance, finds
/// those that were committed to be there already, and goes on with the rest. Made by
/// [`DeltaTable::numbered`].
///
/// It is for work that can be repeated as it was: other batches under numbers that are taken are passed
/// over, though a receipt is given for them as for any that is in the table. So every file to import
/// needs a writer name of its own; [`n_passed_over`](Self::n_passed_over) says what was passed over.
#[derive(Debug)]
pub struct Numbered<E: Record = Event> {
    table: DeltaTable<E>,
    writer: String,
    /// The number of the next batch; held while it is written, so that numbers are taken in order.
    next: Mutex<i64>,
    n_passed_over: AtomicUsize,
    prepared: Mutex<Option<Ahead>>,
}

/// What batches are prepared for.
#[derive(Debug)]
struct Ahead {
    /// How many of the first batches are in the table already: they are not encoded once more.
    n_there: i64,
    n_prepared: i64,
    /// The version that the next one is expected to get.
    version: u64,
}

impl<E: Record> DeltaTable<E> {
    /// The table as a sink that numbers its batches from 0 on, under the name of a writer.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use reco_core::EventSink;
    /// use reco_ingest::{DeadLetter, DeltaTable};
    ///
    /// let folder = tempfile::tempdir()?;
    /// let table = DeltaTable::<DeadLetter>::open_local(folder.path()).await?;
    /// # let letter = DeadLetter {
    /// #     received_at: "2024-05-01T12:00Z".parse()?,
    /// #     source: "clicks.csv".to_owned(),
    /// #     position: 7,
    /// #     reason: "4 fields where 5 are declared".to_owned(),
    /// #     payload: "1;2;3;4".into(),
    /// # };
    /// for _attempt in 0..2 {
    ///     let sink = table.clone().numbered("import of clicks.csv");
    ///     sink.write(vec![letter.clone()]).await?;
    /// }
    /// assert_eq!(table.version().await?, 1);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn numbered(self, writer: impl Into<String>) -> Numbered<E> {
        Numbered {
            table: self,
            writer: writer.into(),
            next: Mutex::new(0),
            n_passed_over: AtomicUsize::new(0),
            prepared: Mutex::new(None),
        }
    }
}

impl<E: Record> Numbered<E> {
    /// How many batches were passed over so far, because their numbers were taken: all of them where
    /// work is repeated, none where it is new.
    #[must_use]
    pub fn n_passed_over(&self) -> usize {
        self.n_passed_over.load(Ordering::Relaxed)
    }

    /// Encodes a batch that will be written next, or after the one that is being written.
    ///
    /// Only if nobody else commits to the table meanwhile is the work not done again.
    pub(crate) async fn prepare(&self, records: Packed<E>) -> Result<Prepared<E>> {
        let mut prepared = self.prepared.lock().await;
        let ahead = match &mut *prepared {
            Some(ahead) => ahead,
            none => {
                let last = self.table.last_sequence(&self.writer).await?;
                none.insert(Ahead {
                    n_there: last.map_or(0, |last| last + 1),
                    n_prepared: *self.next.lock().await,
                    version: self.table.version().await? + 1,
                })
            }
        };
        let is_there = ahead.n_prepared < ahead.n_there;
        ahead.n_prepared += 1;
        if is_there {
            return Ok(Prepared::of(records));
        }
        let version = ahead.version;
        ahead.version += 1;
        drop(prepared);
        self.table.prepare(records, version).await
    }

    /// Writes the batch that was prepared first of those that are not written yet.
    pub(crate) async fn write_prepared(&self, batch: Prepared<E>) -> Result<()> {
        let write = async |id: &BatchId| self.table.commit_prepared(batch, Some(id)).await;
        if let Written::Committed { version } = self.write_next(write).await?
            && let Some(ahead) = &mut *self.prepared.lock().await
        {
            // Those that are prepared already come first.
            let n_between = ahead.n_prepared - *self.next.lock().await;
            ahead.version = version + 1 + u64::try_from(n_between).unwrap_or(0);
        }
        Ok(())
    }

    async fn write_next(
        &self,
        write: impl AsyncFnOnce(&BatchId) -> Result<Written>,
    ) -> Result<Written> {
        let mut next = self.next.lock().await;
        let id = BatchId::new(self.writer.as_str(), *next)?;
        let written = write(&id).await?;
        if written == Written::AlreadyThere {
            self.n_passed_over.fetch_add(1, Ordering::Relaxed);
            tracing::info!(table = %self.table.name(), writer = %self.writer, sequence = *next, "a batch was passed over: its number is taken");
        }
        // A batch that failed is written again under its number.
        *next += 1;
        Ok(written)
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<E: Record> EventSink<E> for Numbered<E> {
    async fn write(&self, records: Vec<E>) -> reco_core::Result<Receipt> {
        let n_records = records.len();
        if n_records > 0 {
            let write = async |id: &BatchId| self.table.commit(records, Some(id)).await;
            self.write_next(write)
                .await
                .map_err(|error| error.at(self.table.name(), "write"))?;
        }
        Ok(Receipt {
            n_records,
            durability: self.table.durability(),
        })
    }

    async fn flush(&self) -> reco_core::Result<()> {
        self.table.flush().await
    }
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt;
    use reco_core::{RawTable, TimeWindow, Timestamp};

    use super::*;
    use crate::DeadLetter;

    fn letters(positions: std::ops::Range<i64>) -> Vec<DeadLetter> {
        let letter = |position| DeadLetter {
            received_at: Timestamp::UNIX_EPOCH,
            source: "clicks.csv".to_owned(),
            position,
            reason: "no client".to_owned(),
            payload: vec![7].into(),
        };
        positions.map(letter).collect()
    }

    fn packed(positions: std::ops::Range<i64>) -> Packed<DeadLetter> {
        let mut packed = Packed::new();
        packed.push(&letters(positions)).unwrap();
        packed
    }

    async fn positions(table: &DeltaTable<DeadLetter>) -> Vec<i64> {
        let batches = table.scan(TimeWindow::ALL).await.unwrap();
        let batches: Vec<_> = batches.try_collect().await.unwrap();
        let records = batches.iter().map(DeadLetter::from_batch);
        records
            .flat_map(Result::unwrap)
            .map(|letter| letter.position)
            .collect()
    }

    // The version that a batch is encoded for.
    fn version(prepared: &Prepared<DeadLetter>) -> Option<u64> {
        prepared.files.as_ref().map(|(version, _)| *version)
    }

    #[tokio::test]
    async fn a_batch_that_was_prepared_for_a_version_that_is_taken_gets_another() {
        let folder = tempfile::tempdir().unwrap();
        let table = DeltaTable::open_local(folder.path()).await.unwrap();
        let sink = table.clone().numbered("import");
        let first = sink.prepare(packed(0..3)).await.unwrap();
        let second = sink.prepare(packed(3..6)).await.unwrap();
        assert_eq!([version(&first), version(&second)], [Some(1), Some(2)]);
        table.write(letters(100..101)).await.unwrap();
        sink.write_prepared(first).await.unwrap();
        sink.write_prepared(second).await.unwrap();
        // From then on they are prepared for the right one again.
        let third = sink.prepare(packed(6..7)).await.unwrap();
        assert_eq!(version(&third), Some(4));
        sink.write_prepared(third).await.unwrap();
        assert_eq!(positions(&table).await, [100, 0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(table.version().await.unwrap(), 4);
    }

    #[tokio::test]
    async fn what_is_there_already_is_not_encoded_again() {
        let folder = tempfile::tempdir().unwrap();
        let table = DeltaTable::open_local(folder.path()).await.unwrap();
        let batches = [0..2, 2..4, 4..6];
        let sink = table.clone().numbered("import");
        for batch in &batches[..2] {
            let batch = sink.prepare(packed(batch.clone())).await.unwrap();
            sink.write_prepared(batch).await.unwrap();
        }
        let again = table.clone().numbered("import");
        let mut versions = Vec::new();
        for batch in batches {
            let batch = again.prepare(packed(batch)).await.unwrap();
            versions.push(version(&batch));
            again.write_prepared(batch).await.unwrap();
        }
        assert_eq!(versions, [None, None, Some(3)]);
        assert_eq!(again.n_passed_over(), 2);
        assert_eq!(positions(&table).await, [0, 1, 2, 3, 4, 5]);
    }
}
