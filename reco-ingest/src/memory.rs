//! [`MemoryTable`]: a raw table in memory.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures::{StreamExt, stream};
use reco_core::{
    Durability, Event, EventSink, RawTable, Receipt, Record, RecordBatchStream, Result, TimeWindow,
};

/// How many rows a batch of a scan holds at most.
const SCAN_ROWS: usize = 4096;

/// A raw table in memory, for tests, examples and as the live half of a [`Tee`](crate::Tee).
///
/// Cloning is cheap and shares the records.
/// It grows without bound and keeps nothing beyond the process.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use futures::TryStreamExt;
/// use reco_core::{EventSink, RawTable, TimeWindow};
/// use reco_ingest::{DeadLetter, MemoryTable};
///
/// let table = MemoryTable::new();
/// let letter = DeadLetter {
///     received_at: "2024-05-01T12:00Z".parse()?,
///     source: "clicks.csv".to_owned(),
///     position: 7,
///     reason: "4 fields where 5 are declared".to_owned(),
///     payload: "1;2;3;4".into(),
/// };
/// table.write(vec![letter.clone()]).await?;
///
/// let batches: Vec<_> = table.scan(TimeWindow::ALL).await?.try_collect().await?;
/// assert_eq!(batches[0].num_rows(), 1);
/// assert_eq!(table.records(), [letter]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct MemoryTable<E: Record = Event> {
    // Batches are shared with the scans that run, so that a scan holds no lock.
    batches: Arc<Mutex<Vec<Arc<[E]>>>>,
}

impl<E: Record> MemoryTable<E> {
    /// An empty table.
    #[must_use]
    pub fn new() -> Self {
        Self {
            batches: Arc::default(),
        }
    }

    /// Every record, in the order written.
    #[must_use]
    pub fn records(&self) -> Vec<E> {
        let batches = self.snapshot();
        batches
            .iter()
            .flat_map(|batch| batch.iter().cloned())
            .collect()
    }

    fn snapshot(&self) -> Vec<Arc<[E]>> {
        self.batches.lock().unwrap().clone()
    }
}

impl<E: Record> Default for MemoryTable<E> {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl<E: Record> EventSink<E> for MemoryTable<E> {
    async fn write(&self, records: Vec<E>) -> Result<Receipt> {
        let n_records = records.len();
        if n_records > 0 {
            self.batches.lock().unwrap().push(records.into());
        }
        Ok(Receipt {
            n_records,
            durability: Durability::Memory,
        })
    }

    async fn flush(&self) -> Result<()> {
        Ok(())
    }
}

#[async_trait]
impl<E: Record> RawTable<E> for MemoryTable<E> {
    async fn scan(&self, window: TimeWindow) -> Result<RecordBatchStream> {
        let batches = stream::iter(self.snapshot()).flat_map(move |batch| {
            let selected: Vec<E> = batch
                .iter()
                .filter(|record| window.contains(record.timestamp()))
                .cloned()
                .collect();
            let chunks: Vec<_> = selected.chunks(SCAN_ROWS).map(E::to_batch).collect();
            stream::iter(chunks)
        });
        Ok(batches.boxed())
    }
}
