//! What is counted agrees with what is in the tables.

use std::collections::BTreeMap;
use std::sync::Arc;

use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use reco_core::{Event, EventSink, TimeWindow, object_store};
use reco_ingest::privacy::{Keyring, Redaction, RedactionConfig};
use reco_ingest::replay::{Position, Replayer};
use reco_ingest::{BatchId, DeadLetter, DeltaTable, EventSinkExt, MemoryTable, metric};

use crate::import::{HEADER, now, views};
use crate::shop::{events, ids};

/// What was counted, by name and label; of a histogram, how many values it has.
type Counted = BTreeMap<(String, String), usize>;

// Runs with a recorder of its own. Everything is counted on this thread: a recorder that is installed
// for good, as a host does, sees all of them.
fn counted(run: impl Future<Output = ()>) -> Counted {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    metrics::with_local_recorder(&recorder, || {
        metric::describe();
        runtime.block_on(run);
    });
    let values = snapshotter.snapshot().into_vec().into_iter();
    values
        .map(|(key, _, _, value)| {
            let label = key
                .key()
                .labels()
                .find(|label| label.key() == metric::TABLE);
            let label = label.map_or_else(String::new, |label| label.value().to_owned());
            let value = match value {
                DebugValue::Counter(n) => usize::try_from(n).unwrap(),
                DebugValue::Histogram(values) => values.len(),
                DebugValue::Gauge(_) => unreachable!("no gauge is set here"),
            };
            ((key.key().name().to_owned(), label), value)
        })
        .collect()
}

fn expected<const N: usize>(values: [(&str, &str, usize); N]) -> Counted {
    let named = |(name, label, n): (&str, &str, usize)| ((name.to_owned(), label.to_owned()), n);
    values.map(named).into()
}

async fn delta(name: &str) -> DeltaTable {
    let store = Arc::new(object_store::memory::InMemory::new());
    DeltaTable::open(store, name).await.unwrap()
}

#[test]
fn a_table_counts_commits_and_duplicates() {
    let found = counted(async {
        let table = delta("raw").await;
        for sequence in [1, 2, 2, 1] {
            let id = BatchId::new("w", sequence).unwrap();
            table.write_batch(&id, events("a", 5)).await.unwrap();
        }
        table.write(events("b", 3)).await.unwrap();
        assert_eq!(ids(&table, TimeWindow::ALL).await.len(), 13);
    });
    let commits = (metric::COMMIT_SECONDS, "raw", 3);
    assert_eq!(found, expected([commits, (metric::DUPLICATES, "raw", 10)]));
}

#[test]
fn an_import_counts_what_a_table_then_holds() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("views.csv");
    let good = "v1,view,hat,9.5,1714564800\n".repeat(4);
    std::fs::write(
        &path,
        format!("{HEADER}{good}v1,reads,hat,9.5,1714564800\n"),
    )
    .unwrap();
    let found = counted(async {
        let (table, letters) = (delta("raw").await, MemoryTable::<DeadLetter>::new());
        for _attempt in 0..2 {
            let sink = table.clone().numbered("views");
            views()
                .run(&path, now(), &sink, &letters, |_| {})
                .await
                .unwrap();
        }
        assert_eq!(ids(&table, TimeWindow::ALL).await.len(), 4);
        assert_eq!(letters.records().len(), 2);
    });
    // What the feed counts, less what the table had already, is what it holds.
    let values = [
        (metric::COMMIT_SECONDS, "raw", 1),
        (metric::DEAD_LETTERED, "event", 2),
        (metric::DUPLICATES, "raw", 4),
        (metric::IMPORTED, "event", 8),
    ];
    assert_eq!(found, expected(values));
}

#[test]
fn a_replay_counts_what_the_sink_then_holds() {
    let found = counted(async {
        let (table, sink) = (MemoryTable::<Event>::new(), MemoryTable::new());
        table.write(events("a", 7)).await.unwrap();
        let start = Position::default();
        Replayer::default()
            .window(&table, TimeWindow::ALL, start, &sink, |_| {})
            .await
            .unwrap();
        assert_eq!(sink.records().len(), 7);
    });
    assert_eq!(found, expected([(metric::REPLAYED, "event", 7)]));
}

#[test]
fn a_redaction_counts_the_payloads_that_it_dropped() {
    let found = counted(async {
        let keys = Keyring::new("k", &[7; 32]).unwrap();
        let rules = Redaction::new(RedactionConfig::default(), keys).unwrap();
        let table = MemoryTable::<Event>::new();
        let sink = table.clone().redacted(rules);
        let mut batch = events("a", 5);
        batch[0].payload = "v=1&t=pageview".into();
        batch[1].payload.clear();
        sink.write(batch).await.unwrap();
        let written = table.records();
        let n_empty = written
            .iter()
            .filter(|event| event.payload.is_empty())
            .count();
        assert_eq!(n_empty, 4);
    });
    assert_eq!(found, expected([(metric::REDACTED, "event", 3)]));
}
