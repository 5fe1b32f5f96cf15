//! The sinks that wrap sinks, and the contracts of all of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use reco_core::{Durability, Error, Event, EventSink, Receipt, Result, TimeWindow};
use reco_ingest::{BufferConfig, EventSinkExt, MemoryTable};
use tokio::sync::Semaphore;

use crate::shop::{events, ids, ids_of};

/// A table that fails while told to, counts its writes, and writes only as often as it is let.
#[derive(Debug, Clone)]
struct Probe {
    table: MemoryTable,
    fails: Arc<AtomicBool>,
    n_writes: Arc<AtomicUsize>,
    /// One permit is taken by each write.
    turns: Arc<Semaphore>,
    /// One permit is added by each write that ended.
    ended: Arc<Semaphore>,
}

impl Probe {
    fn new(turns: usize) -> Self {
        Self {
            table: MemoryTable::new(),
            fails: Arc::default(),
            n_writes: Arc::default(),
            turns: Arc::new(Semaphore::new(turns)),
            ended: Arc::new(Semaphore::new(0)),
        }
    }

    fn n_writes(&self) -> usize {
        self.n_writes.load(Ordering::SeqCst)
    }

    async fn write_ended(&self) {
        self.ended.acquire().await.unwrap().forget();
    }
}

#[async_trait]
impl EventSink for Probe {
    async fn write(&self, records: Vec<Event>) -> Result<Receipt> {
        self.turns.acquire().await.unwrap().forget();
        self.n_writes.fetch_add(1, Ordering::SeqCst);
        self.ended.add_permits(1);
        if self.fails.load(Ordering::SeqCst) {
            return Err(Error::SinkClosed {
                sink: "probe".to_owned(),
            });
        }
        self.table.write(records).await
    }

    async fn flush(&self) -> Result<()> {
        self.table.flush().await
    }
}

const NEVER: Duration = Duration::from_secs(3600);

fn by_rows(max_rows: usize) -> BufferConfig {
    BufferConfig {
        max_rows,
        max_age: NEVER,
        ..BufferConfig::default()
    }
}

#[tokio::test]
async fn a_tee_writes_to_both_and_states_the_better_durability() {
    let folder = tempfile::tempdir().unwrap();
    let raw = reco_ingest::DeltaTable::open_local(folder.path())
        .await
        .unwrap();
    let live = MemoryTable::new();
    let tee = live.clone().tee(raw.clone());
    let receipt = tee.write(events("a", 2)).await.unwrap();
    assert_eq!(
        (receipt.n_records, receipt.durability),
        (2, Durability::Durable)
    );
    assert_eq!(ids(&raw, TimeWindow::ALL).await, ids_of(&live.records()));
}

#[tokio::test]
async fn a_tee_spares_the_second_what_the_first_refused() {
    let first = Probe::new(1);
    first.fails.store(true, Ordering::SeqCst);
    let second = MemoryTable::new();
    let tee = first.tee(second.clone());
    assert!(tee.write(events("a", 1)).await.is_err());
    assert_eq!(second.records(), []);
}

#[tokio::test]
async fn a_buffer_makes_few_writes_of_many() {
    let probe = Probe::new(100);
    let buffer = probe.clone().buffered(by_rows(10)).unwrap();
    let mut expected = Vec::new();
    for i in 0..25 {
        let batch = events(&i.to_string(), 1);
        expected.extend(ids_of(&batch));
        let receipt = buffer.write(batch).await.unwrap();
        assert_eq!(receipt.durability, Durability::Memory);
    }
    buffer.flush().await.unwrap();
    assert_eq!(ids_of(&probe.table.records()), expected);
    assert_eq!(probe.n_writes(), 3);
}

#[tokio::test]
async fn a_buffer_hands_on_by_bytes() {
    let probe = Probe::new(100);
    let config = BufferConfig {
        max_bytes: 1,
        capacity_bytes: 1 << 20,
        max_age: NEVER,
        ..BufferConfig::default()
    };
    let buffer = probe.clone().buffered(config).unwrap();
    buffer.write(events("a", 1)).await.unwrap();
    probe.write_ended().await;
    assert_eq!(probe.n_writes(), 1);
}

#[tokio::test]
async fn a_buffer_hands_on_by_age() {
    let probe = Probe::new(100);
    let config = BufferConfig {
        max_age: Duration::from_millis(1),
        ..BufferConfig::default()
    };
    let buffer = probe.clone().buffered(config).unwrap();
    buffer.write(events("a", 1)).await.unwrap();
    probe.write_ended().await;
    assert_eq!(probe.n_writes(), 1);
}

#[tokio::test]
async fn a_full_buffer_makes_writes_wait() {
    let probe = Probe::new(0);
    let config = BufferConfig {
        max_bytes: 1,
        capacity_bytes: 1,
        max_age: NEVER,
        ..BufferConfig::default()
    };
    let buffer = probe.clone().buffered(config).unwrap();
    buffer.write(events("a", 1)).await.unwrap();
    let mut second = Box::pin(buffer.write(events("b", 1)));
    // The only room is taken until the first write is let through.
    assert!(futures::poll!(&mut second).is_pending());
    probe.turns.add_permits(2);
    second.await.unwrap();
    buffer.close().await.unwrap();
    assert_eq!(ids_of(&probe.table.records()), ["a-0", "b-0"]);
}

#[tokio::test]
async fn a_write_that_is_dropped_while_it_waits_is_not_accepted() {
    let probe = Probe::new(0);
    let config = BufferConfig {
        max_bytes: 1,
        capacity_bytes: 1,
        max_age: NEVER,
        ..BufferConfig::default()
    };
    let buffer = probe.clone().buffered(config).unwrap();
    buffer.write(events("a", 1)).await.unwrap();
    let mut second = Box::pin(buffer.write(events("b", 1)));
    assert!(futures::poll!(&mut second).is_pending());
    drop(second);
    probe.turns.add_permits(1);
    buffer.close().await.unwrap();
    assert_eq!(ids_of(&probe.table.records()), ["a-0"]);
}

#[tokio::test]
async fn a_failure_is_told_and_nothing_is_lost() {
    let probe = Probe::new(100);
    probe.fails.store(true, Ordering::SeqCst);
    let buffer = probe.clone().buffered(by_rows(2)).unwrap();
    buffer.write(events("a", 2)).await.unwrap();
    probe.write_ended().await;
    let error = buffer.flush().await.unwrap_err();
    assert!(
        matches!(
            error,
            Error::Table {
                operation: "write",
                ..
            }
        ),
        "{error}"
    );
    // Refused, so it is not there later.
    assert!(buffer.write(events("b", 1)).await.is_err());
    assert!(buffer.close().await.is_err());

    probe.fails.store(false, Ordering::SeqCst);
    buffer.flush().await.unwrap();
    buffer.write(events("c", 1)).await.unwrap();
    buffer.close().await.unwrap();
    assert_eq!(ids_of(&probe.table.records()), ["a-0", "a-1", "c-0"]);
}

#[tokio::test]
async fn a_buffer_without_a_deadline_keeps_what_it_accepted() {
    let probe = Probe::new(100);
    let config = BufferConfig {
        max_age: Duration::MAX,
        ..BufferConfig::default()
    };
    let buffer = probe.clone().buffered(config).unwrap();
    buffer.write(events("a", 1)).await.unwrap();
    probe.fails.store(true, Ordering::SeqCst);
    assert!(buffer.flush().await.is_err());
    probe.fails.store(false, Ordering::SeqCst);
    buffer.close().await.unwrap();
    assert_eq!(ids_of(&probe.table.records()), ["a-0"]);
}

#[tokio::test]
async fn a_write_that_waits_for_room_is_told_the_error() {
    let probe = Probe::new(0);
    let config = BufferConfig {
        max_bytes: 1,
        capacity_bytes: 1,
        max_age: NEVER,
        ..BufferConfig::default()
    };
    let buffer = probe.clone().buffered(config).unwrap();
    probe.fails.store(true, Ordering::SeqCst);
    buffer.write(events("a", 1)).await.unwrap();
    let mut second = Box::pin(buffer.write(events("b", 1)));
    assert!(futures::poll!(&mut second).is_pending());
    probe.turns.add_permits(1);
    let error = second.await.unwrap_err();
    assert!(matches!(error, Error::Table { .. }), "{error}");

    probe.fails.store(false, Ordering::SeqCst);
    probe.turns.add_permits(1);
    buffer.close().await.unwrap();
    assert_eq!(ids_of(&probe.table.records()), ["a-0"]);
}

#[tokio::test]
async fn a_close_that_fails_loses_nothing_that_was_accepted() {
    let probe = Probe::new(0);
    let buffer = probe.clone().buffered(by_rows(1)).unwrap();
    buffer.write(events("a", 1)).await.unwrap();
    // The task is held in its first write; what follows is in its channel.
    tokio::task::yield_now().await;
    let mut close = Box::pin(buffer.close());
    assert!(futures::poll!(&mut close).is_pending());
    buffer.write(events("b", 1)).await.unwrap();
    let mut flush = Box::pin(buffer.flush());
    assert!(futures::poll!(&mut flush).is_pending());
    probe.turns.add_permits(1);
    probe.write_ended().await;
    probe.fails.store(true, Ordering::SeqCst);
    probe.turns.add_permits(100);
    assert!(close.await.is_err());
    assert!(flush.await.is_err());

    probe.fails.store(false, Ordering::SeqCst);
    buffer.flush().await.unwrap();
    buffer.write(events("c", 1)).await.unwrap();
    buffer.close().await.unwrap();
    assert_eq!(ids_of(&probe.table.records()), ["a-0", "b-0", "c-0"]);
}

#[tokio::test]
async fn a_closed_buffer_refuses() {
    let buffer = MemoryTable::<Event>::new().buffered(by_rows(2)).unwrap();
    buffer.close().await.unwrap();
    let error = buffer.write(events("a", 1)).await.unwrap_err();
    assert!(matches!(error, Error::SinkClosed { .. }));
    assert!(matches!(
        buffer.flush().await,
        Err(Error::SinkClosed { .. })
    ));
}

#[tokio::test]
async fn a_dropped_buffer_hands_on_what_is_left() {
    let probe = Probe::new(100);
    let buffer = probe.clone().buffered(by_rows(1000)).unwrap();
    buffer.write(events("a", 2)).await.unwrap();
    drop(buffer);
    probe.write_ended().await;
    // The write has begun; it ends before the probe is asked, on the same thread.
    while probe.table.records().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(ids_of(&probe.table.records()), ["a-0", "a-1"]);
}

#[test]
fn a_buffer_that_cannot_work_is_refused() {
    let refused = |config: BufferConfig| {
        let sink = MemoryTable::<Event>::new();
        sink.buffered(config).unwrap_err().to_string()
    };
    assert_eq!(
        refused(by_rows(0)),
        "the buffer is invalid: `max_rows` is 0"
    );
    assert_eq!(
        refused(BufferConfig {
            capacity_bytes: 1,
            ..BufferConfig::default()
        }),
        "the buffer is invalid: `capacity_bytes` is less than `max_bytes`"
    );
    assert_eq!(
        refused(BufferConfig::default()),
        "the buffer is invalid: it was made outside of a Tokio runtime"
    );
}
