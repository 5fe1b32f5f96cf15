//! Checkpoint, compaction and vacuum: files change, rows do not.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use object_store::memory::InMemory;
use object_store::{ObjectMeta, ObjectStore};
use proptest::prelude::*;
use reco_core::{Event, EventSink, RawTable, TimeWindow, Timestamp, object_store};
use reco_ingest::delta::{CompactConfig, VacuumConfig};
use reco_ingest::{BatchId, DeltaTable, Error, Written};

use crate::faulty::Faulty;
use crate::shop::{collect, event, events, ids, ids_of};

const DAYS: [&str; 3] = [
    "2024-05-03T10:00Z",
    "2024-05-01T10:00Z",
    "2024-05-02T10:00Z",
];

/// After everything that the tests store.
fn later() -> Timestamp {
    "2200-01-01T00:00Z".parse().unwrap()
}

fn memory() -> Arc<dyn ObjectStore> {
    Arc::new(InMemory::new())
}

async fn open(store: &Arc<dyn ObjectStore>) -> DeltaTable {
    DeltaTable::open(Arc::clone(store), "raw").await.unwrap()
}

async fn data_files(store: &Arc<dyn ObjectStore>) -> Vec<ObjectMeta> {
    let mut files: Vec<ObjectMeta> = store.list(None).map(Result::unwrap).collect().await;
    files.retain(|meta| meta.location.as_ref().contains("received_date="));
    files
}

async fn all(table: &DeltaTable) -> Vec<Event> {
    collect(table.scan(TimeWindow::ALL).await.unwrap())
        .await
        .unwrap()
}

// Commits of a few rows over three days each.
async fn small_commits(table: &DeltaTable, n: usize) -> Vec<Event> {
    let mut written = Vec::new();
    for commit in 0..n {
        let batch: Vec<_> = (0..7)
            .map(|i| event(&format!("{commit}-{i}"), DAYS[i % 3]))
            .collect();
        written.extend(batch.clone());
        table.write(batch).await.unwrap();
    }
    written
}

#[tokio::test]
async fn a_compaction_leaves_every_row_where_it_was() {
    let store = memory();
    let table = open(&store).await;
    let written = small_commits(&table, 5).await;
    let changes_before = versions_of(&table, 1, 5).await;

    let compaction = table
        .compact(&CompactConfig::default(), TimeWindow::ALL, later())
        .await
        .unwrap();
    assert_eq!(
        (
            compaction.n_removed,
            compaction.n_added,
            compaction.n_rows,
            compaction.n_lost
        ),
        (15, 3, 35, 0)
    );
    assert_eq!(table.version().await.unwrap(), 8);
    assert_eq!(all(&table).await, written);
    assert_eq!(all(&open(&store).await).await, written);
    // Neither a replay nor the change feed sees it.
    let after = table.scan_from(5).await.unwrap();
    assert_eq!(collect::<Event>(after.batches).await.unwrap(), []);
    let after = table.scan_from(3).await.unwrap();
    assert_eq!(
        collect::<Event>(after.batches).await.unwrap(),
        written[21..]
    );
    assert_eq!(versions_of(&table, 1, 8).await, changes_before);

    // There is nothing left to do.
    let again = table
        .compact(&CompactConfig::default(), TimeWindow::ALL, later())
        .await
        .unwrap();
    assert_eq!(again, Default::default());
    assert_eq!(table.version().await.unwrap(), 8);
}

// Each version of a range with the ids of its events.
async fn versions_of(table: &DeltaTable, first: u64, last: u64) -> Vec<(u64, Vec<String>)> {
    let mut changes = table.changes(first..=last).await.unwrap();
    let mut versions: Vec<(u64, Vec<String>)> = Vec::new();
    while let Some(change) = changes.next().await {
        let change = change.unwrap();
        assert!(change.committed_at.is_some());
        let events = reco_core::Record::from_batch(&change.batch).unwrap();
        match versions.last_mut() {
            Some((version, ids)) if *version == change.version => ids.extend(ids_of(&events)),
            _ => versions.push((change.version, ids_of(&events))),
        }
    }
    versions
}

#[tokio::test]
async fn a_compaction_says_that_no_data_changes() {
    let store = memory();
    let table = open(&store).await;
    small_commits(&table, 2).await;
    table
        .compact(&CompactConfig::default(), TimeWindow::ALL, later())
        .await
        .unwrap();
    let entry = object_store::path::Path::from("raw/_delta_log/00000000000000000003.json");
    let bytes = object_store::ObjectStoreExt::get(&store, &entry)
        .await
        .unwrap();
    let text = String::from_utf8(bytes.bytes().await.unwrap().to_vec()).unwrap();
    let changes: Vec<_> = text
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .filter_map(|action| {
            let file = action.get("add").or_else(|| action.get("remove"))?;
            file["dataChange"].as_bool()
        })
        .collect();
    assert_eq!(changes, [false; 3]);
}

#[tokio::test]
async fn a_window_selects_the_dates_to_compact() {
    let store = memory();
    let table = open(&store).await;
    let written = small_commits(&table, 3).await;
    let before_today = TimeWindow {
        start: None,
        end: Some("2024-05-02T00:00Z".parse().unwrap()),
    };
    let compaction = table
        .compact(&CompactConfig::default(), before_today, later())
        .await
        .unwrap();
    assert_eq!((compaction.n_removed, compaction.n_added), (3, 1));
    assert_eq!(all(&table).await, written);
}

#[tokio::test]
async fn a_target_bounds_the_files() {
    let store = memory();
    let table = open(&store).await;
    for i in 0..12 {
        table.write(events(&i.to_string(), 3)).await.unwrap();
    }
    let written = all(&table).await;
    let largest = data_files(&store)
        .await
        .iter()
        .map(|m| m.size)
        .max()
        .unwrap();
    let config = CompactConfig {
        target_size: usize::try_from(largest).unwrap() * 4,
        ..Default::default()
    };
    let compaction = table
        .compact(&config, TimeWindow::ALL, later())
        .await
        .unwrap();
    assert_eq!((compaction.n_removed, compaction.n_added), (12, 3));
    assert_eq!(all(&table).await, written);

    let none = CompactConfig {
        target_size: 0,
        ..Default::default()
    };
    let error = table.compact(&none, TimeWindow::ALL, later()).await;
    assert!(matches!(error, Err(Error::InvalidConfig { .. })));
}

#[tokio::test]
async fn of_two_compactions_one_loses_and_no_row_is_there_twice() {
    let inner = memory();
    let table = open(&inner).await;
    let written = small_commits(&table, 3).await;

    // The other one commits when this one is about to.
    let faulty = Faulty::new(Arc::clone(&inner));
    let first = open(&(Arc::new(faulty.clone()) as Arc<dyn ObjectStore>)).await;
    let other = table.clone();
    faulty.before_entry(async move {
        let won = other
            .compact(&CompactConfig::default(), TimeWindow::ALL, later())
            .await
            .unwrap();
        assert_eq!((won.n_removed, won.n_lost), (9, 0));
    });
    let lost = first
        .compact(&CompactConfig::default(), TimeWindow::ALL, later())
        .await
        .unwrap();
    assert_eq!((lost.n_removed, lost.n_added, lost.n_lost), (0, 0, 3));
    assert_eq!(all(&table).await, written);
    assert_eq!(all(&first).await, written);
    // The loser's files are gone.
    assert_eq!(data_files(&inner).await.len(), 9 + 3);
}

#[tokio::test]
async fn an_append_in_between_does_not_stop_a_compaction() {
    let inner = memory();
    let table = open(&inner).await;
    let mut written = small_commits(&table, 3).await;
    let faulty = Faulty::new(Arc::clone(&inner));
    let compacting = open(&(Arc::new(faulty.clone()) as Arc<dyn ObjectStore>)).await;
    let writer = table.clone();
    faulty.before_entry(async move {
        writer.write(events("late", 2)).await.unwrap();
    });
    let compaction = compacting
        .compact(&CompactConfig::default(), TimeWindow::ALL, later())
        .await
        .unwrap();
    assert_eq!((compaction.n_removed, compaction.n_lost), (9, 0));
    written.extend(events("late", 2));
    assert_eq!(all(&table).await, written);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_and_compactions_at_the_same_time() {
    let store = memory();
    open(&store).await;
    let writers = (0..2).map(|writer| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let table = open(&store).await;
            for i in 0..10 {
                let id = BatchId::new(format!("writer-{writer}"), i).unwrap();
                let batch = events(&format!("{writer}-{i}"), 2);
                let written = table.write_batch(&id, batch).await.unwrap();
                assert!(matches!(written, Written::Committed { .. }));
            }
        })
    });
    let compactions = (0..2).map(|_| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let table = open(&store).await;
            for _ in 0..5 {
                table
                    .compact(&CompactConfig::default(), TimeWindow::ALL, later())
                    .await
                    .unwrap();
            }
        })
    });
    for task in writers.collect::<Vec<_>>().into_iter().chain(compactions) {
        task.await.unwrap();
    }
    let found = ids(&open(&store).await, TimeWindow::ALL).await;
    assert_eq!(found.len(), 40);
    for writer in 0..2 {
        let prefix = format!("{writer}-");
        let own: Vec<_> = found.iter().filter(|id| id.starts_with(&prefix)).collect();
        let expected: Vec<_> = (0..10)
            .flat_map(|i| [format!("{writer}-{i}-0"), format!("{writer}-{i}-1")])
            .collect();
        assert_eq!(own, expected.iter().collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_checkpoint_is_what_the_log_says() {
    let store = memory();
    let table = open(&store).await;
    let written = small_commits(&table, 2).await;
    table
        .compact(&CompactConfig::default(), TimeWindow::ALL, later())
        .await
        .unwrap();
    assert_eq!(table.checkpoint().await.unwrap(), 5);
    for version in 0..5 {
        let entry = format!("raw/_delta_log/{version:020}.json");
        object_store::ObjectStoreExt::delete(&store, &entry.into())
            .await
            .unwrap();
    }
    assert_eq!(all(&open(&store).await).await, written);
    // A second one of the same version is no trouble.
    assert_eq!(table.checkpoint().await.unwrap(), 5);
}

#[tokio::test]
async fn a_vacuum_deletes_what_no_version_of_the_retention_names() {
    let store = memory();
    let table = open(&store).await;
    let written = small_commits(&table, 2).await;
    // A commit that never landed.
    let stored = data_files(&store).await.remove(0).location;
    let orphan = object_store::path::Path::from("raw/received_date=2024-05-01/part-orphan.parquet");
    object_store::ObjectStoreExt::copy(&store, &stored, &orphan)
        .await
        .unwrap();
    let removed_at = later();
    table
        .compact(&CompactConfig::default(), TimeWindow::ALL, removed_at)
        .await
        .unwrap();
    assert_eq!(data_files(&store).await.len(), 10);

    let dry = VacuumConfig {
        dry_run: true,
        ..Default::default()
    };
    // The orphan is from long ago, and the compaction from just now.
    let vacuumed = table.vacuum(&dry, removed_at).await.unwrap();
    let orphan = orphan.as_ref().strip_prefix("raw/").unwrap();
    assert_eq!(vacuumed.files, [orphan.into()]);
    assert!(vacuumed.n_bytes > 0);
    assert_eq!(data_files(&store).await.len(), 10);
    let before = table.as_of_version(2).await.unwrap();
    let scan = before.scan(TimeWindow::ALL).await.unwrap();
    assert_eq!(collect::<Event>(scan).await.unwrap(), written);

    let eight_days = removed_at + Duration::from_secs(8 * 24 * 60 * 60);
    let vacuumed = table
        .vacuum(&VacuumConfig::default(), eight_days)
        .await
        .unwrap();
    assert_eq!(vacuumed.files.len(), 7);
    assert_eq!(data_files(&store).await.len(), 3);
    assert_eq!(all(&table).await, written);
    let scan = before.scan(TimeWindow::ALL).await.unwrap();
    let error = collect::<Event>(scan).await.unwrap_err();
    let reco_core::Error::Table { source, .. } = error else {
        panic!("unexpected: {error}");
    };
    assert!(source.to_string().contains("received_date="), "{source}");
}

#[tokio::test]
async fn a_short_retention_is_refused_unless_forced() {
    let store = memory();
    let table = open(&store).await;
    small_commits(&table, 2).await;
    table
        .compact(&CompactConfig::default(), TimeWindow::ALL, later())
        .await
        .unwrap();
    let none = VacuumConfig {
        retention: Duration::ZERO,
        ..Default::default()
    };
    let now = later() + Duration::from_secs(1);
    let error = table.vacuum(&none, now).await.unwrap_err();
    assert!(matches!(error, Error::InvalidConfig { of: "vacuum", .. }));
    let forced = VacuumConfig {
        enforce_retention: false,
        ..none
    };
    assert_eq!(table.vacuum(&forced, now).await.unwrap().files.len(), 6);
}

#[tokio::test]
async fn old_versions_are_read_by_number_and_by_time() {
    let store = memory();
    let table = open(&store).await;
    table.write(events("a", 2)).await.unwrap();
    table.write(events("b", 1)).await.unwrap();

    let first = table.as_of_version(1).await.unwrap();
    table.write(events("c", 1)).await.unwrap();
    let scan = async |version: u64| {
        let table = table.as_of_version(version).await.unwrap();
        assert_eq!(table.version(), version);
        let rows = table.scan(TimeWindow::ALL).await.unwrap();
        ids_of(&collect(rows).await.unwrap())
    };
    assert_eq!(scan(0).await, [""; 0]);
    assert_eq!(scan(1).await, ["a-0", "a-1"]);
    assert_eq!(scan(2).await, ["a-0", "a-1", "b-0"]);
    let rows = first.scan(TimeWindow::ALL).await.unwrap();
    assert_eq!(collect::<Event>(rows).await.unwrap(), events("a", 2));

    assert_eq!(table.as_of(later()).await.unwrap().version(), 3);
    let error = table.as_of_version(4).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "table `raw` has no version 4: version 3 is the newest"
    );
    let error = table.as_of(Timestamp::UNIX_EPOCH).await.unwrap_err();
    assert!(matches!(error, Error::NoVersion { .. }), "{error}");
    let error = table.changes(0..=4).await.err().unwrap();
    assert!(matches!(error, Error::NoVersion { .. }), "{error}");
}

#[tokio::test]
async fn a_time_means_the_last_version_until_then() {
    let folder = tempfile::tempdir().unwrap();
    let table = DeltaTable::open_local(folder.path()).await.unwrap();
    for i in 0..3 {
        table.write(events(&i.to_string(), 1)).await.unwrap();
    }
    let hour = |hour: u64| std::time::UNIX_EPOCH + Duration::from_secs(hour * 3600);
    // The clock went back after version 1.
    for (version, at) in [(0, 1), (1, 5), (2, 3), (3, 7)] {
        let entry = folder.path().join(format!("_delta_log/{version:020}.json"));
        let entry = std::fs::File::options().append(true).open(entry).unwrap();
        entry.set_modified(hour(at)).unwrap();
    }
    let at = async |hour: i64| {
        let time = Timestamp::from_second(hour * 3600).unwrap();
        table.as_of(time).await.map(|table| table.version()).ok()
    };
    let mut found = Vec::new();
    for hour in 0..9 {
        found.push(at(hour).await);
    }
    let expected = [
        None,
        Some(0),
        Some(0),
        Some(0),
        Some(0),
        Some(2),
        Some(2),
        Some(3),
        Some(3),
    ];
    assert_eq!(found, expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    // Whatever is written, compacted and written again comes back in the order written, in any
    // window, and each row with its version.
    #[test]
    fn compactions_are_not_seen(
        batches in prop::collection::vec(prop::collection::vec(0_i64..3 * 86_400, 1..8), 2..7),
        compact_after in 0_usize..6,
        target_size in prop::sample::select(vec![1_usize, 12_000, 40_000, 128 << 20]),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let store = memory();
            let table = open(&store).await;
            let config = CompactConfig { target_size, ..Default::default() };
            let mut expected = Vec::new();
            for (i, seconds) in batches.into_iter().enumerate() {
                let batch: Vec<_> = seconds
                    .into_iter()
                    .enumerate()
                    .map(|(row, s)| {
                        let time = Timestamp::from_second(1_714_521_600 + s).unwrap();
                        event(&format!("{i}-{row}"), &time.to_string())
                    })
                    .collect();
                table.write(batch.clone()).await.unwrap();
                expected.push((table.version().await.unwrap(), ids_of(&batch)));
                if i == compact_after {
                    table.compact(&config, TimeWindow::ALL, later()).await.unwrap();
                }
            }
            table.compact(&config, TimeWindow::ALL, later()).await.unwrap();
            let newest = table.version().await.unwrap();
            assert_eq!(versions_of(&table, 0, newest).await, expected);
            let rows: Vec<_> = expected.into_iter().flat_map(|(_, ids)| ids).collect();
            assert_eq!(ids(&table, TimeWindow::ALL).await, rows);
        });
    }
}
