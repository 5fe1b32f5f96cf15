//! [`MemoryTable`]: a raw table in memory.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures::{StreamExt, stream};
use reco_core::{
    Durability, Event, EventSink, RawTable, Receipt, Record, RecordBatchStream, Result, TimeWindow,
};

/// How many rows a batch of a scan holds at most.
const SCAN_ROWS: usize = 4096;
/// How many bytes a batch of a scan holds at most, unless a single record has more.
const SCAN_BYTES: usize = 64 << 20;

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
            let mut at = 0;
            stream::iter(std::iter::from_fn(move || {
                let chunk = next_chunk(&batch, &mut at, window);
                (!chunk.is_empty()).then(|| E::to_batch(&chunk))
            }))
        });
        Ok(batches.boxed())
    }
}

// The records that a window selects from a position on, which moves behind them.
fn next_chunk<E: Record>(batch: &[E], at: &mut usize, window: TimeWindow) -> Vec<E> {
    let mut chunk: Vec<E> = Vec::new();
    let mut n_bytes = 0_usize;
    while let Some(record) = batch.get(*at).filter(|_| chunk.len() < SCAN_ROWS) {
        if window.contains(record.timestamp()) {
            n_bytes = n_bytes.saturating_add(record.n_bytes());
            if !chunk.is_empty() && n_bytes > SCAN_BYTES {
                break;
            }
            chunk.push(record.clone());
        }
        *at += 1;
    }
    chunk
}
