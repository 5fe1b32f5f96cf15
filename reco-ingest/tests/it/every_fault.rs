//! Every fault at every operation of a store: rows are there once, and an erasure gets done.

use std::sync::Arc;

use object_store::ObjectStore;
use object_store::memory::InMemory;
use reco_core::{Event, RawTable, TimeWindow, Timestamp, object_store};
use reco_ingest::delta::{CompactConfig, Subject};
use reco_ingest::{BatchId, DeltaTable};

use crate::faulty::{Fault, Faulty};
use crate::shop::{collect, events, ids, ids_of};

fn now() -> Timestamp {
    "2024-06-01T00:00Z".parse().unwrap()
}

async fn open(store: &Faulty) -> reco_ingest::Result<DeltaTable> {
    DeltaTable::open(Arc::new(store.clone()) as Arc<dyn ObjectStore>, "raw").await
}

/// Does something over and over with a fault at one operation after the other, each time in a fresh
/// copy of a store, until the operation is never reached.
///
/// `attempt` is called until it succeeds, at first with the fault; then `holds` looks at the outcome.
async fn for_every_fault(
    prepared: &InMemory,
    attempt: impl AsyncFn(&Faulty) -> reco_ingest::Result<()>,
    holds: impl AsyncFn(&Arc<dyn ObjectStore>, &str),
) {
    for fault in Fault::ALL {
        let mut n_faults = 0;
        for operation in 1.. {
            let inner: Arc<dyn ObjectStore> = Arc::new(prepared.fork());
            let store = Faulty::new(Arc::clone(&inner));
            store.fail_at(operation, fault);
            let first = attempt(&store).await;
            let was_reached = store.heal();
            if let Err(error) = first {
                assert!(was_reached, "{fault:?} at {operation}: {error}");
                // Whoever saw an error tries again.
                attempt(&store).await.unwrap();
            }
            holds(&inner, &format!("{fault:?} at {operation}")).await;
            if !was_reached {
                break;
            }
            n_faults += 1;
        }
        assert!(n_faults > 10, "{fault:?}: {n_faults} operations");
    }
}

#[tokio::test]
async fn batches_are_there_once() {
    for_every_fault(
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
            let table = DeltaTable::<Event>::open(Arc::clone(store), "raw")
                .await
                .unwrap();
            assert_eq!(
                ids(&table, TimeWindow::ALL).await,
                ["0-0", "0-1", "1-0", "1-1"],
                "{case}"
            );
        },
    )
    .await;
}

#[tokio::test]
async fn a_compaction_loses_nothing() {
    let prepared = Arc::new(InMemory::new());
    let table = DeltaTable::<Event>::open(Arc::clone(&prepared) as Arc<dyn ObjectStore>, "raw")
        .await
        .unwrap();
    let expected = crate::forget::fill(&table).await.len() + 6;
    let before = collect::<Event>(table.scan(TimeWindow::ALL).await.unwrap())
        .await
        .unwrap();
    assert_eq!(before.len(), expected);
    for_every_fault(
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
            let table = DeltaTable::<Event>::open(Arc::clone(store), "raw")
                .await
                .unwrap();
            let after = table.scan(TimeWindow::ALL).await.unwrap();
            assert_eq!(collect::<Event>(after).await.unwrap(), before, "{case}");
        },
    )
    .await;
}

#[tokio::test]
async fn an_erasure_that_was_cut_short_is_finished_by_the_next() {
    let prepared = Arc::new(InMemory::new());
    let table = DeltaTable::<Event>::open(Arc::clone(&prepared) as Arc<dyn ObjectStore>, "raw")
        .await
        .unwrap();
    let others = ids_of(&crate::forget::fill(&table).await);
    table
        .compact(&CompactConfig::default(), TimeWindow::ALL, now())
        .await
        .unwrap();
    let subject = Subject {
        tenant: "shop".to_owned(),
        client: "visitor-7f3a".to_owned(),
    };
    for_every_fault(
        &prepared,
        async |store| {
            let table = open(store).await?;
            table.forget(&subject, now()).await?;
            Ok(())
        },
        async |store, case| {
            let table = DeltaTable::<Event>::open(Arc::clone(store), "raw")
                .await
                .unwrap();
            assert_eq!(ids(&table, TimeWindow::ALL).await, others, "{case}");
            crate::forget::assert_erased(store, case).await;
        },
    )
    .await;
}
