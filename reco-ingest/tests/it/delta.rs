//! `DeltaTable`: what is written comes back, once, in order, whatever happens in between.

use std::sync::Arc;

use arrow::array::UInt32Array;
use arrow::compute::{concat_batches, take_record_batch};
use futures::StreamExt;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use proptest::prelude::*;
use reco_core::{
    Durability, Error as CoreError, Event, EventSink, RawTable, TimeWindow, arrow, object_store,
};
use reco_ingest::{BatchId, DeadLetter, DeltaTable, Error, Written};

use crate::shop::{collect, event, events, ids, ids_of};

async fn in_memory() -> (Arc<dyn ObjectStore>, DeltaTable) {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let table = DeltaTable::open(Arc::clone(&store), "raw/events")
        .await
        .unwrap();
    (store, table)
}

async fn files(store: &Arc<dyn ObjectStore>, ending: &str) -> Vec<Path> {
    let mut paths: Vec<_> = store
        .list(None)
        .map(|meta| meta.unwrap().location)
        .collect::<Vec<_>>()
        .await;
    paths.retain(|path| path.as_ref().ends_with(ending));
    paths
}

#[tokio::test]
async fn events_come_back_as_they_were_written() {
    let folder = tempfile::tempdir().unwrap();
    let table = DeltaTable::open_local(folder.path()).await.unwrap();
    let written = events("a", 3);
    let receipt = table.write(written.clone()).await.unwrap();
    assert_eq!(
        (receipt.n_records, receipt.durability),
        (3, Durability::Durable)
    );

    let reopened = DeltaTable::<Event>::open_local(folder.path())
        .await
        .unwrap();
    let read = collect::<Event>(reopened.scan(TimeWindow::ALL).await.unwrap())
        .await
        .unwrap();
    assert_eq!(read, written);
}

#[tokio::test]
async fn a_table_opens_by_url_too() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("file://{}/raw", folder.path().display());
    let table = DeltaTable::open_url(&url, Default::default())
        .await
        .unwrap();
    table.write(events("a", 1)).await.unwrap();
    let local = DeltaTable::<Event>::open_local(folder.path().join("raw"))
        .await
        .unwrap();
    assert_eq!(ids(&local, TimeWindow::ALL).await, ["a-0"]);

    let error = DeltaTable::<Event>::open_url("no url", Default::default())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Location { location, .. } if location == "no url"));
}

#[tokio::test]
async fn order_survives_dates_and_commits() {
    let (_, table) = in_memory().await;
    let days = [
        "2024-05-03T10:00Z",
        "2024-05-01T10:00Z",
        "2024-05-02T10:00Z",
    ];
    let mut expected = Vec::new();
    for commit in 0..4 {
        let batch: Vec<_> = (0..9)
            .map(|i| event(&format!("{commit}-{i}"), days[i % 3]))
            .collect();
        expected.extend(ids_of(&batch));
        table.write(batch).await.unwrap();
    }
    assert_eq!(ids(&table, TimeWindow::ALL).await, expected);
}

#[tokio::test]
async fn a_window_selects_by_time_and_opens_only_its_days() {
    let (store, table) = in_memory().await;
    let times = [
        "2024-05-01T23:59:59.999999Z",
        "2024-05-02T00:00:00Z",
        "2024-05-02T12:00:00Z",
        "2024-05-03T00:00:00Z",
    ];
    for (i, time) in times.iter().enumerate() {
        table
            .write(vec![event(&i.to_string(), time)])
            .await
            .unwrap();
    }
    let window =
        |start: &str, end: &str| TimeWindow::between(start.parse().unwrap(), end.parse().unwrap());
    let noon = window("2024-05-02T12:00Z", "2024-05-03T00:00:00.000001Z");
    assert_eq!(ids(&table, noon).await, ["2", "3"]);
    let from = TimeWindow::from("2024-05-02T00:00Z".parse().unwrap());
    assert_eq!(ids(&table, from).await, ["1", "2", "3"]);

    // The other days cannot be read any more, and nobody notices.
    for path in files(&store, ".parquet").await {
        if !path.as_ref().contains("received_date=2024-05-02") {
            store.delete(&path).await.unwrap();
        }
    }
    let day = window("2024-05-02T00:00Z", "2024-05-03T00:00Z");
    assert_eq!(ids(&table, day).await, ["1", "2"]);
    let all = collect::<Event>(table.scan(TimeWindow::ALL).await.unwrap()).await;
    assert!(matches!(
        all,
        Err(CoreError::Table {
            operation: "scan",
            ..
        })
    ));
}

#[tokio::test]
async fn a_batch_id_is_written_once() {
    let (store, table) = in_memory().await;
    let id = |sequence| BatchId::new("collector-1", sequence).unwrap();
    let written = table.write_batch(&id(1), events("a", 2)).await.unwrap();
    assert_eq!(written, Written::Committed { version: 1 });
    let again = table.write_batch(&id(1), events("a", 2)).await.unwrap();
    assert_eq!(again, Written::AlreadyThere);

    // A process that comes back after a crash knows nothing but the id.
    let reopened = DeltaTable::open(store, "raw/events").await.unwrap();
    let again = reopened.write_batch(&id(1), events("a", 2)).await.unwrap();
    assert_eq!(again, Written::AlreadyThere);
    let next = reopened.write_batch(&id(2), events("b", 1)).await.unwrap();
    assert_eq!(next, Written::Committed { version: 2 });
    let other = BatchId::new("collector-2", 1).unwrap();
    let other = reopened.write_batch(&other, events("c", 1)).await.unwrap();
    assert_eq!(other, Written::Committed { version: 3 });
    assert_eq!(
        ids(&table, TimeWindow::ALL).await,
        ["a-0", "a-1", "b-0", "c-0"]
    );
}

// A table can be told to forget transactions of long ago, so that its log does not grow with them.
#[tokio::test]
async fn batch_ids_are_forgotten_after_the_retention_of_the_table() {
    let (store, table) = in_memory().await;
    let id = BatchId::new("request-1", 1).unwrap();
    table.write_batch(&id, events("a", 2)).await.unwrap();
    let change = async |version: u64, from: &str, to: &str| {
        let entry = Path::from(format!("raw/events/_delta_log/{version:020}.json"));
        let text = store.get(&entry).await.unwrap().bytes().await.unwrap();
        let text = std::str::from_utf8(&text).unwrap();
        assert_eq!(text.matches(from).count(), 1, "{text}");
        let text = text.replace(from, to);
        store.put(&entry, text.into()).await.unwrap();
    };
    let property =
        r#""configuration":{"delta.setTransactionRetentionDuration":"interval 30 days","#;
    change(0, r#""configuration":{"#, property).await;
    let reopened = async || {
        let table = DeltaTable::open(Arc::clone(&store), "raw/events").await;
        table.unwrap()
    };
    let again = reopened().await.write_batch(&id, events("a", 2)).await;
    assert_eq!(again.unwrap(), Written::AlreadyThere);

    // The transaction says when it was written, by the store's clock: here, in 1970.
    let stored = files(&store, ".parquet").await.remove(0);
    let stored_at = store.head(&stored).await.unwrap().last_modified;
    let last_updated = |millis: i64| format!(r#""lastUpdated":{millis}"#);
    change(
        1,
        &last_updated(stored_at.timestamp_millis()),
        &last_updated(0),
    )
    .await;
    let again = reopened().await.write_batch(&id, events("a", 2)).await;
    assert_eq!(again.unwrap(), Written::Committed { version: 2 });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_at_the_same_time_all_succeed() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let mut tasks = Vec::new();
    for writer in 0..4 {
        // Each opens the table for itself, as processes would; one of them creates it.
        let store = Arc::clone(&store);
        tasks.push(tokio::spawn(async move {
            let table = DeltaTable::open(store, "raw").await.unwrap();
            for i in 0..5 {
                let id = BatchId::new(format!("writer-{writer}"), i).unwrap();
                let batch = events(&format!("{writer}-{i}"), 2);
                // The second time stands for a caller who never saw the answer.
                table.write_batch(&id, batch.clone()).await.unwrap();
                let again = table.write_batch(&id, batch).await.unwrap();
                assert_eq!(again, Written::AlreadyThere);
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let table = DeltaTable::<Event>::open(Arc::clone(&store), "raw")
        .await
        .unwrap();
    assert_eq!(table.version().await.unwrap(), 20);
    let all = ids(&table, TimeWindow::ALL).await;
    assert_eq!(all.len(), 40);
    for writer in 0..4 {
        let prefix = format!("{writer}-");
        let own: Vec<_> = all
            .iter()
            .filter(|id| id.starts_with(&prefix))
            .cloned()
            .collect();
        let expected: Vec<_> = (0..5)
            .flat_map(|i| [format!("{writer}-{i}-0"), format!("{writer}-{i}-1")])
            .collect();
        assert_eq!(own, expected);
    }
    // Lost races leave no file behind.
    assert_eq!(files(&store, ".parquet").await.len(), 20);
}

#[tokio::test]
async fn a_crash_before_the_commit_leaves_no_row() {
    let (store, table) = in_memory().await;
    table.write(events("a", 1)).await.unwrap();
    // A file was stored, and the process ended before it wrote the log.
    let stored = files(&store, ".parquet").await.remove(0);
    let orphan = Path::from("raw/events/received_date=2024-05-01/part-orphan.parquet");
    store.copy(&stored, &orphan).await.unwrap();
    assert_eq!(ids(&table, TimeWindow::ALL).await, ["a-0"]);
    table.write(events("b", 1)).await.unwrap();
    assert_eq!(ids(&table, TimeWindow::ALL).await, ["a-0", "b-0"]);
}

#[tokio::test]
async fn a_crash_within_the_commit_leaves_no_row() {
    let folder = tempfile::tempdir().unwrap();
    let table = DeltaTable::open_local(folder.path()).await.unwrap();
    table.write(events("a", 1)).await.unwrap();
    // A local store writes an entry under another name first, and gives it its own when it is whole.
    let entry = folder.path().join("_delta_log/00000000000000000001.json");
    let bytes = std::fs::read(&entry).unwrap();
    let half = entry.with_file_name("00000000000000000002.json#1");
    std::fs::write(half, &bytes[..bytes.len() / 2]).unwrap();

    let reopened = DeltaTable::open_local(folder.path()).await.unwrap();
    assert_eq!(ids(&reopened, TimeWindow::ALL).await, ["a-0"]);
    reopened.write(events("b", 1)).await.unwrap();
    assert_eq!(ids(&table, TimeWindow::ALL).await, ["a-0", "b-0"]);
}

// Another engine may put the rows of several commits into one file, in any order, and say nothing
// about it.
#[tokio::test]
async fn order_survives_a_compaction_by_another_engine() {
    let (store, table) = in_memory().await;
    table.write(events("a", 3)).await.unwrap();
    table.write(events("b", 2)).await.unwrap();
    table
        .write(vec![event("c", "2024-05-02T00:00Z")])
        .await
        .unwrap();

    let mut batches = Vec::new();
    let mut log = Vec::new();
    for path in files(&store, ".parquet").await {
        if path.as_ref().contains("2024-05-02") {
            continue;
        }
        let bytes = store.get(&path).await.unwrap().bytes().await.unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap();
        batches.extend(reader.build().unwrap().map(Result::unwrap));
        let path = path.as_ref().strip_prefix("raw/events/").unwrap();
        log.push(format!(
            r#"{{"remove":{{"path":"{path}","dataChange":false}}}}"#
        ));
    }
    let rows = concat_batches(&batches[0].schema(), &batches).unwrap();
    let reversed = UInt32Array::from_iter_values((0..5).rev());
    let rows = take_record_batch(&rows, &reversed).unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), rows.schema(), None).unwrap();
    writer.write(&rows).unwrap();
    let bytes = writer.into_inner().unwrap();
    let path = "received_date=2024-05-01/compacted.parquet";
    let size = bytes.len();
    log.push(format!(
        r#"{{"add":{{"path":"{path}","partitionValues":{{"received_date":"2024-05-01"}},"size":{size},"modificationTime":0,"dataChange":false}}}}"#
    ));
    let put = async |path: &str, bytes: Vec<u8>| {
        let path = Path::from(format!("raw/events/{path}"));
        store.put(&path, bytes.into()).await.unwrap();
    };
    put(path, bytes).await;
    put(
        "_delta_log/00000000000000000004.json",
        log.join("\n").into_bytes(),
    )
    .await;

    table.write(events("d", 1)).await.unwrap();
    let expected = ["a-0", "a-1", "a-2", "b-0", "b-1", "c", "d-0"];
    assert_eq!(ids(&table, TimeWindow::ALL).await, expected);
    let after = table.scan_from(1).await.unwrap();
    assert_eq!(
        ids_of(&collect(after.batches).await.unwrap()),
        expected[3..]
    );
}

#[tokio::test]
async fn a_truncated_file_is_a_named_error() {
    let (store, table) = in_memory().await;
    table.write(events("a", 10)).await.unwrap();
    let path = files(&store, ".parquet").await.remove(0);
    let bytes = store.get(&path).await.unwrap().bytes().await.unwrap();
    store
        .put(&path, bytes.slice(..bytes.len() / 2).into())
        .await
        .unwrap();

    let error = collect::<Event>(table.scan(TimeWindow::ALL).await.unwrap())
        .await
        .unwrap_err();
    let CoreError::Table { source, .. } = error else {
        panic!("unexpected: {error}");
    };
    let file = path.as_ref().strip_prefix("raw/events/").unwrap();
    assert_eq!(source.to_string(), format!("parquet file `{file}` failed"));
}

#[tokio::test]
async fn a_scan_sees_one_state() {
    let (_, table) = in_memory().await;
    table.write(events("a", 2)).await.unwrap();
    let mut scan = table.scan(TimeWindow::ALL).await.unwrap();
    let first = scan.next().await.unwrap().unwrap();
    table.write(events("b", 2)).await.unwrap();
    assert_eq!(first.num_rows(), 2);
    assert!(scan.next().await.is_none());
}

#[tokio::test]
async fn a_replay_goes_on_where_the_last_one_ended() {
    let (_, table) = in_memory().await;
    table.write(events("a", 2)).await.unwrap();
    let first = table.scan_from(0).await.unwrap();
    assert_eq!(first.version, 1);
    assert_eq!(
        ids_of(&collect::<Event>(first.batches).await.unwrap()),
        ["a-0", "a-1"]
    );

    table.write(events("b", 1)).await.unwrap();
    table.write(events("c", 1)).await.unwrap();
    let next = table.scan_from(first.version).await.unwrap();
    assert_eq!(next.version, 3);
    assert_eq!(
        ids_of(&collect::<Event>(next.batches).await.unwrap()),
        ["b-0", "c-0"]
    );
    let none = table.scan_from(next.version).await.unwrap();
    assert_eq!(collect::<Event>(none.batches).await.unwrap(), []);
}

#[tokio::test]
async fn a_table_of_other_columns_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    DeltaTable::<DeadLetter>::open_local(folder.path())
        .await
        .unwrap();
    let error = DeltaTable::<Event>::open_local(folder.path())
        .await
        .unwrap_err();
    assert!(
        matches!(&error, Error::Core(CoreError::MissingColumn { column, .. }) if column == "id"),
        "{error}"
    );
}

#[tokio::test]
async fn checkpoints_keep_rows_and_batch_ids() {
    let (store, table) = in_memory().await;
    for i in 0..101 {
        let id = BatchId::new("w", i).unwrap();
        table
            .write_batch(&id, events(&i.to_string(), 1))
            .await
            .unwrap();
    }
    assert_eq!(files(&store, ".checkpoint.parquet").await.len(), 1);
    // The entries before the checkpoint are not needed any more.
    for version in 0..100 {
        let entry = format!("raw/events/_delta_log/{version:020}.json");
        store.delete(&Path::from(entry)).await.unwrap();
    }
    let reopened = DeltaTable::open(store, "raw/events").await.unwrap();
    let expected: Vec<_> = (0..101).map(|i| format!("{i}-0")).collect();
    assert_eq!(ids(&reopened, TimeWindow::ALL).await, expected);
    let id = BatchId::new("w", 3).unwrap();
    let again = reopened.write_batch(&id, events("3", 1)).await.unwrap();
    assert_eq!(again, Written::AlreadyThere);
}

#[tokio::test]
async fn a_time_without_a_date_is_refused() {
    let (store, table) = in_memory().await;
    let batch = vec![
        event("a", "2024-05-01T00:00Z"),
        event("b", "-000044-03-15T00:00Z"),
    ];
    let error = table.write(batch).await.unwrap_err();
    let CoreError::Table { source, .. } = error else {
        panic!("unexpected: {error}");
    };
    assert!(
        source
            .to_string()
            .starts_with("record 1 of the batch has time -000044-03-15")
    );
    assert_eq!(files(&store, ".parquet").await, []);
}

#[tokio::test]
async fn nothing_is_written_for_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store: Arc<dyn ObjectStore> =
        Arc::new(LocalFileSystem::new_with_prefix(folder.path()).unwrap());
    let table = DeltaTable::<Event>::open(store, "raw").await.unwrap();
    assert_eq!(table.write(vec![]).await.unwrap().n_records, 0);
    assert_eq!(table.version().await.unwrap(), 0);
    assert_eq!(ids(&table, TimeWindow::ALL).await, [""; 0]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    // Batches over any dates come back in the order written, and a window is a filter of that.
    #[test]
    fn a_scan_is_a_filter_of_what_was_written(
        batches in prop::collection::vec(prop::collection::vec(0_i64..6 * 86_400, 1..12), 1..5),
        start in 0_i64..6 * 86_400,
        length in 0_i64..3 * 86_400,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (_, table) = in_memory().await;
            let mut written = Vec::new();
            for seconds in batches {
                let batch: Vec<_> = seconds
                    .into_iter()
                    .enumerate()
                    .map(|(i, s)| {
                        let time = reco_core::Timestamp::from_second(1_714_521_600 + s).unwrap();
                        event(&format!("{}-{i}", written.len()), &time.to_string())
                    })
                    .collect();
                written.extend(batch.clone());
                table.write(batch).await.unwrap();
            }
            let time = |s| reco_core::Timestamp::from_second(1_714_521_600 + s).unwrap();
            let window = TimeWindow::between(time(start), time(start + length));
            assert_eq!(ids(&table, TimeWindow::ALL).await, ids_of(&written));
            written.retain(|event| window.contains(event.received_at));
            assert_eq!(ids(&table, window).await, ids_of(&written));
        });
    }
}

#[tokio::test]
async fn a_store_of_the_host_may_list_in_any_order() {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalFileSystem::new_with_prefix(folder.path()).unwrap();
    let table = DeltaTable::open(Arc::new(store), "raw").await.unwrap();
    // A disk lists few names by chance in their order, and many hardly ever.
    for i in 0..20 {
        table.write(events(&format!("{i}"), 1)).await.unwrap();
    }
    assert_eq!(ids(&table, TimeWindow::ALL).await.len(), 20);
}
