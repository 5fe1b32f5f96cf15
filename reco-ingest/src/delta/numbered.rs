//! [`Numbered`]: a sink whose batches are each written at most once.

use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use reco_core::{Event, EventSink, Receipt, Record};
use tokio::sync::Mutex;

use super::{BatchId, DeltaTable, Packed, Written};
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

    /// Writes a batch that is packed already.
    pub(crate) async fn write_packed(&self, records: Packed<E>) -> Result<()> {
        if records.len() == 0 {
            return Ok(());
        }
        let write = async |id: &BatchId| self.table.commit_packed(records, Some(id)).await;
        self.write_next(write).await
    }

    async fn write_next(&self, write: impl AsyncFnOnce(&BatchId) -> Result<Written>) -> Result<()> {
        let mut next = self.next.lock().await;
        let id = BatchId::new(self.writer.as_str(), *next)?;
        if write(&id).await? == Written::AlreadyThere {
            self.n_passed_over.fetch_add(1, Ordering::Relaxed);
            tracing::info!(table = %self.table.name(), writer = %self.writer, sequence = *next, "a batch was passed over: its number is taken");
        }
        // A batch that failed is written again under its number.
        *next += 1;
        Ok(())
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
