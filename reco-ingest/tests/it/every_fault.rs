//! Every fault at every operation of a store: rows are there once, and an erasure gets done.

use std::sync::Arc;

use object_store::ObjectStore;
use object_store::memory::InMemory;
use reco_core::{Event, RawTable, TimeWindow, Timestamp, object_store};
use reco_ingest::delta::{CompactConfig, Subject};
use reco_ingest::{BatchId, DeltaTable};

use crate::faulty::{Fault, Faulty};
use crate::forget::{assert_erased, fill};
use crate::shop::{collect, events, ids, ids_of};

fn now() -> Timestamp {
    "2024-06-01T00:00Z".parse().unwrap()
}

async fn open(store: Arc<dyn ObjectStore>) -> reco_ingest::Result<DeltaTable> {
    DeltaTable::open(store, "raw").await
}

/// Does something over and over with a fault at one operation after the other, each time in a fresh
/// copy of a store, until the operation is never reached.
///
/// `attempt` is made with the fault, and made again without one if it failed; then `holds` looks at
/// what is stored.
async fn for_every_operation(
    faults: &[Fault],
    prepared: &InMemory,
    attempt: impl AsyncFn(Arc<dyn ObjectStore>) -> reco_ingest::Result<()>,
    holds: impl AsyncFn(&Arc<dyn ObjectStore>, &str),
) {
    for &fault in faults {
        let mut n_failed = 0;
        for operation in 1.. {
            let inner: Arc<dyn ObjectStore> = Arc::new(prepared.fork());
            let store = Faulty::new(Arc::clone(&inner));
            store.fail_at(operation, fault);
            let first = attempt(Arc::new(store.clone())).await;
            let was_reached = store.heal();
            if let Err(error) = first {
                assert!(was_reached, "{fault:?} at {operation}: {error}");
                n_failed += 1;
                attempt(Arc::new(store)).await.unwrap();
            }
            holds(&inner, &format!("{fault:?} at {operation}")).await;
            // What is slow is so from the first operation on.
            if !was_reached || fault == Fault::Slow {
                break;
            }
        }
        // A store that tries again by itself fails nobody, nor does a slow one.
        let fails = !matches!(fault, Fault::Retried | Fault::Slow);
        assert_eq!(n_failed > 2, fails, "{fault:?}: {n_failed}");
    }
}

async fn check_batches(faults: &[Fault]) {
    for_every_operation(
        faults,
        &InMemory::new(),
        async |store| {
            let table = open(store).await?;
            for i in 0..2 {
                let id = BatchId::new("collector", i)?;
                table.write_batch(&id, events(&i.to_string(), 2)).await?;
            }
            Ok(())
        },
        async |store, case| {
            let table = open(Arc::clone(store)).await.unwrap();
            let found = ids(&table, TimeWindow::ALL).await;
            assert_eq!(found, ["0-0", "0-1", "1-0", "1-1"], "{case}");
        },
    )
    .await;
}

async fn check_compaction(faults: &[Fault]) {
    let prepared = InMemory::new();
    let table = DeltaTable::open(Arc::new(prepared.clone()), "raw")
        .await
        .unwrap();
    let others = fill(&table, 2).await;
    let scan = table.scan(TimeWindow::ALL).await.unwrap();
    let before = collect::<Event>(scan).await.unwrap();
    assert_eq!(before.len(), others.len() + 4);
    for_every_operation(
        faults,
        &prepared,
        async |store| {
            let table = open(store).await?;
            table
                .compact(&CompactConfig::default(), TimeWindow::ALL, now())
                .await?;
            table.checkpoint().await?;
            Ok(())
        },
        async |store, case| {
            let table = open(Arc::clone(store)).await.unwrap();
            let after = table.scan(TimeWindow::ALL).await.unwrap();
            assert_eq!(collect::<Event>(after).await.unwrap(), before, "{case}");
        },
    )
    .await;
}

async fn check_erasure(faults: &[Fault]) {
    let prepared = InMemory::new();
    let table = DeltaTable::open(Arc::new(prepared.clone()), "raw")
        .await
        .unwrap();
    let others = ids_of(&fill(&table, 2).await);
    table
        .compact(&CompactConfig::default(), TimeWindow::ALL, now())
        .await
        .unwrap();
    let subject = Subject {
        tenant: "shop".to_owned(),
        client: "visitor-7f3a".to_owned(),
    };
    for_every_operation(
        faults,
        &prepared,
        async |store| {
            open(store).await?.forget(&subject, now()).await?;
            Ok(())
        },
        async |store, case| {
            let table = open(Arc::clone(store)).await.unwrap();
            assert_eq!(ids(&table, TimeWindow::ALL).await, others, "{case}");
            assert_erased(store, case).await;
        },
    )
    .await;
}

#[tokio::test]
async fn batches_are_there_once() {
    check_batches(&Fault::OF_CHANGES).await;
}

#[tokio::test]
async fn batches_are_there_once_whatever_cannot_be_read() {
    check_batches(&[Fault::Unread]).await;
}

#[tokio::test]
async fn a_compaction_loses_nothing() {
    check_compaction(&Fault::OF_CHANGES).await;
}

#[tokio::test]
async fn a_compaction_loses_nothing_whatever_cannot_be_read() {
    check_compaction(&[Fault::Unread]).await;
}

#[tokio::test]
async fn an_erasure_that_was_cut_short_is_finished_by_the_next() {
    check_erasure(&Fault::OF_CHANGES).await;
}

#[tokio::test]
async fn an_erasure_is_finished_whatever_cannot_be_read() {
    check_erasure(&[Fault::Unread]).await;
}
