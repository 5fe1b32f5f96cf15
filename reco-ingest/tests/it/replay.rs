//! `Replayer`: what was written comes again, in its order, from any position on.

use std::sync::Arc;

use async_trait::async_trait;
use proptest::prelude::*;
use reco_core::{
    Error as CoreError, Event, EventSink, RawTable, Receipt, TimeWindow, object_store,
};
use reco_ingest::replay::{Pace, Position, ReplayProgress, Replayer};
use reco_ingest::{BatchId, DeltaTable, Error, MemoryTable};

use crate::shop::{event, events, ids, ids_of};

async fn delta() -> DeltaTable {
    DeltaTable::open(Arc::new(object_store::memory::InMemory::new()), "raw")
        .await
        .unwrap()
}

fn in_batches_of(batch_rows: usize) -> Replayer {
    Replayer {
        batch_rows,
        ..Replayer::default()
    }
}

// Every version has its name, and two of three events; the first version creates the table.
async fn table_of_versions(n: u64) -> DeltaTable {
    let table = delta().await;
    for version in 1..=n {
        table
            .write(events(&format!("v{version}"), 3))
            .await
            .unwrap();
    }
    table
}

#[tokio::test]
async fn a_window_comes_again_in_its_order() {
    let table = delta().await;
    for day in 1..=3 {
        let at = |hour| {
            event(
                &format!("{day}-{hour}"),
                &format!("2024-05-0{day}T{hour}:00:00Z"),
            )
        };
        table.write(vec![at(22), at(11), at(12)]).await.unwrap();
    }
    let window = TimeWindow::between(
        "2024-05-01T12:00:00Z".parse().unwrap(),
        "2024-05-03T12:00:00Z".parse().unwrap(),
    );
    let sink = MemoryTable::new();
    let report = Replayer::default()
        .window(&table, window, Position::default(), &sink, |_| {})
        .await
        .unwrap();
    assert_eq!(report.records, 6);
    assert_eq!(ids_of(&sink.records()), ids(&table, window).await);
}

#[tokio::test]
async fn versions_come_again_in_their_order() {
    let table = table_of_versions(4).await;
    let check = async |replayed: MemoryTable, expected: &[&str]| {
        let expected: Vec<String> = expected
            .iter()
            .flat_map(|version| ids_of(&events(version, 3)))
            .collect();
        assert_eq!(ids_of(&replayed.records()), expected);
    };
    let replayer = in_batches_of(2);
    let start = Position::default();
    let sink = MemoryTable::new();
    let report = replayer
        .versions(&table, 2..=3, start, &sink, |_| {})
        .await
        .unwrap();
    assert_eq!((report.records, report.version), (6, Some(3)));
    check(sink, &["v2", "v3"]).await;

    let sink = MemoryTable::new();
    let report = replayer
        .versions(&table, ..3, start, &sink, |_| {})
        .await
        .unwrap();
    assert_eq!(report.version, Some(2));
    check(sink, &["v1", "v2"]).await;

    let sink = MemoryTable::new();
    let report = replayer
        .versions(&table, 3.., start, &sink, |_| {})
        .await
        .unwrap();
    assert_eq!(report.version, Some(4));
    check(sink, &["v3", "v4"]).await;

    // A consumer that goes on by version sees each row once.
    table.write(events("v5", 3)).await.unwrap();
    let sink = MemoryTable::new();
    let next = report.version.unwrap() + 1;
    replayer
        .versions(&table, next.., start, &sink, |_| {})
        .await
        .unwrap();
    check(sink, &["v5"]).await;
}

/// A sink that takes so many batches.
#[derive(Debug)]
struct Failing {
    table: MemoryTable,
    n_left: std::sync::atomic::AtomicUsize,
}

#[async_trait]
impl EventSink for Failing {
    async fn write(&self, records: Vec<Event>) -> reco_core::Result<Receipt> {
        use std::sync::atomic::Ordering::Relaxed;
        let left = self
            .n_left
            .fetch_update(Relaxed, Relaxed, |n| n.checked_sub(1));
        if left.is_err() {
            return Err(CoreError::SinkClosed {
                sink: "test".to_owned(),
            });
        }
        self.table.write(records).await
    }

    async fn flush(&self) -> reco_core::Result<()> {
        self.table.flush().await
    }
}

// Replays with a sink that fails after every `n` batches, until it succeeds.
async fn replay_in_pieces<T: RawTable>(table: &T, batch_rows: usize, n: usize) -> Vec<Event> {
    let target = MemoryTable::new();
    let mut position = Position::default();
    loop {
        let sink = Failing {
            table: target.clone(),
            n_left: n.into(),
        };
        let start = position;
        let kept = |progress: ReplayProgress| position = progress.position;
        let replayed = in_batches_of(batch_rows)
            .window(table, TimeWindow::ALL, start, &sink, kept)
            .await;
        if replayed.is_ok() {
            return target.records();
        }
        let error = replayed.unwrap_err();
        assert!(
            matches!(error, Error::Core(CoreError::SinkClosed { .. })),
            "{error}"
        );
    }
}

#[tokio::test]
async fn versions_go_on_where_they_were() {
    let table = table_of_versions(4).await;
    let target = MemoryTable::new();
    let mut position = Position::default();
    let mut n_tries = 0;
    loop {
        n_tries += 1;
        let sink = Failing {
            table: target.clone(),
            n_left: 1.into(),
        };
        let start = position;
        let kept = |progress: ReplayProgress| position = progress.position;
        let replayed = in_batches_of(2)
            .versions(&table, 2..=3, start, &sink, kept)
            .await;
        if replayed.is_ok() {
            break;
        }
    }
    assert!(n_tries > 2);
    let expected = [events("v2", 3), events("v3", 3)].concat();
    assert_eq!(target.records(), expected);
}

#[tokio::test]
async fn a_replay_into_a_table_can_be_exactly_once() {
    let (table, copy) = (table_of_versions(3).await, delta().await);
    for _attempt in 0..2 {
        let sink = copy.clone().numbered("backfill 1");
        Replayer::default()
            .versions(&table, .., Position::default(), &sink, |_| {})
            .await
            .unwrap();
    }
    assert_eq!(
        ids(&copy, TimeWindow::ALL).await,
        ids(&table, TimeWindow::ALL).await
    );
}

#[tokio::test]
async fn a_paced_replay_waits() {
    let table = MemoryTable::new();
    let at = |second| {
        event(
            &format!("e{second}"),
            &format!("2024-05-01T12:00:0{second}Z"),
        )
    };
    table.write(vec![at(0), at(2)]).await.unwrap();
    let replayer = Replayer {
        pace: Pace::Timed {
            by: "occurred_at".to_owned(),
            speed: 100.0,
        },
        ..Replayer::default()
    };
    let (sink, begun) = (MemoryTable::new(), std::time::Instant::now());
    replayer
        .window(&table, TimeWindow::ALL, Position::default(), &sink, |_| {})
        .await
        .unwrap();
    assert!(begun.elapsed() >= std::time::Duration::from_millis(20));
    assert_eq!(sink.records(), table.records());
}

#[tokio::test]
async fn an_empty_table_is_replayed() {
    let (table, sink) = (delta().await, MemoryTable::new());
    let start = Position::default();
    let report = Replayer::default()
        .versions(&table, .., start, &sink, |_| {})
        .await
        .unwrap();
    assert_eq!((report.records, report.version), (0, Some(0)));
    let id = BatchId::new("w", 0).unwrap();
    table.write_batch(&id, events("a", 2)).await.unwrap();
    let report = Replayer::default()
        .versions(&table, .., report.position, &sink, |_| {})
        .await
        .unwrap();
    assert_eq!(report.records, 2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn pieces_make_the_whole(
        sizes in prop::collection::vec(0_usize..9, 0..6),
        batch_rows in 1_usize..7,
        n in 1_usize..4,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let table = MemoryTable::new();
            for (at, size) in sizes.iter().enumerate() {
                table.write(events(&format!("b{at}"), *size)).await.unwrap();
            }
            prop_assert_eq!(replay_in_pieces(&table, batch_rows, n).await, table.records());
            Ok(())
        })?;
    }
}
