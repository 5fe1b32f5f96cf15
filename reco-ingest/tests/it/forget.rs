//! Erasure: nothing of a person is left, everything of the others is.

use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::Int64Type;
use futures::{StreamExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::reader::{FileReader, SerializedFileReader};
use reco_core::{Event, EventSink, RawTable, TimeWindow, Timestamp, arrow, object_store};
use reco_ingest::delta::{CompactConfig, Erasure, Subject};
use reco_ingest::{DeadLetter, DeltaTable, Error};

use crate::faulty::Faulty;
use crate::shop::{collect, event, events, ids, ids_of};

const CLIENT: &str = "visitor-7f3a";

fn now() -> Timestamp {
    "2024-06-01T00:00Z".parse().unwrap()
}

fn subject() -> Subject {
    Subject {
        tenant: "shop".to_owned(),
        client: CLIENT.to_owned(),
    }
}

fn of(tenant: &str, client: &str, events: Vec<Event>) -> Vec<Event> {
    let of = |event: Event| Event {
        tenant: tenant.to_owned(),
        client: client.to_owned(),
        payload: format!(r#"{{"uid":"{client}","n":"{}"}}"#, event.id).into(),
        ..event
    };
    events.into_iter().map(of).collect()
}

fn memory() -> Arc<dyn ObjectStore> {
    Arc::new(InMemory::new())
}

async fn open(store: &Arc<dyn ObjectStore>) -> DeltaTable {
    DeltaTable::open(Arc::clone(store), "raw").await.unwrap()
}

async fn all(table: &DeltaTable) -> Vec<Event> {
    collect(table.scan(TimeWindow::ALL).await.unwrap())
        .await
        .unwrap()
}

/// Commits over two days, of the subject and others; gives the rows of the others.
pub(crate) async fn fill(table: &DeltaTable, n_commits: usize) -> Vec<Event> {
    let mut others = Vec::new();
    for commit in 0..n_commits {
        let later = |id: &str| vec![event(&format!("{id}{commit}"), "2024-05-02T08:00Z")];
        let mut batch = of("shop", CLIENT, events(&format!("mine-{commit}"), 2));
        let mut rest = of("shop", "other", events(&format!("b-{commit}"), 2));
        // The same name at another shop is somebody else.
        rest.extend(of("shop-2", "twin", later("c")));
        rest.extend(of("shop", "other", later("d")));
        batch.splice(1..1, rest.clone());
        table.write(batch).await.unwrap();
        others.extend(rest);
    }
    others
}

/// The bytes of everything that is stored: of Parquet files what their pages hold, and their footers.
async fn bytes_of(store: &Arc<dyn ObjectStore>) -> Vec<(String, Vec<u8>)> {
    let metas: Vec<_> = store.list(None).try_collect().await.unwrap();
    let mut found = Vec::new();
    for meta in metas {
        let bytes = store
            .get(&meta.location)
            .await
            .unwrap()
            .bytes()
            .await
            .unwrap();
        let mut all = bytes.to_vec();
        if meta.location.as_ref().ends_with(".parquet") {
            let file = SerializedFileReader::new(bytes).unwrap();
            for group in 0..file.num_row_groups() {
                let group = file.get_row_group(group).unwrap();
                for column in 0..group.num_columns() {
                    for page in group.get_column_page_reader(column).unwrap() {
                        all.extend_from_slice(page.unwrap().buffer());
                    }
                }
            }
        }
        found.push((meta.location.to_string(), all));
    }
    found
}

async fn mentions(store: &Arc<dyn ObjectStore>, name: &str) -> Vec<String> {
    let mut found = bytes_of(store).await;
    found.retain(|(_, bytes)| {
        bytes
            .windows(name.len())
            .any(|part| part == name.as_bytes())
    });
    found.into_iter().map(|(path, _)| path).collect()
}

/// Nothing that is stored mentions the subject, and others are held to appending.
pub(crate) async fn assert_erased(store: &Arc<dyn ObjectStore>, case: &str) {
    assert_eq!(mentions(store, CLIENT).await, [""; 0], "{case}");
    let properties = properties(store).await;
    assert_eq!(properties["delta.appendOnly"], "true", "{case}");
    assert_eq!(properties.get("reco.appendOnlyLifted"), None, "{case}");
}

// The last declaration of the table in its log.
async fn properties(store: &Arc<dyn ObjectStore>) -> serde_json::Value {
    let mut entries: Vec<_> = store
        .list(Some(&"raw/_delta_log".into()))
        .try_collect()
        .await
        .unwrap();
    entries.retain(|meta| meta.location.extension() == Some("json"));
    entries.sort_by(|a, b| b.location.cmp(&a.location));
    for entry in entries {
        let bytes = store
            .get(&entry.location)
            .await
            .unwrap()
            .bytes()
            .await
            .unwrap();
        for line in std::str::from_utf8(&bytes).unwrap().lines() {
            let action: serde_json::Value = serde_json::from_str(line).unwrap();
            if let Some(declared) = action.get("metaData") {
                return declared["configuration"].clone();
            }
        }
    }
    serde_json::Value::Null
}

// Each event's id with its sequence number.
async fn numbers(store: &Arc<dyn ObjectStore>) -> Vec<(i64, String)> {
    let metas: Vec<_> = store.list(None).try_collect().await.unwrap();
    let mut found = Vec::new();
    for meta in metas {
        if !meta.location.as_ref().contains("received_date=") {
            continue;
        }
        let bytes = store
            .get(&meta.location)
            .await
            .unwrap()
            .bytes()
            .await
            .unwrap();
        let rows = ParquetRecordBatchReaderBuilder::try_new(bytes)
            .unwrap()
            .build();
        for batch in rows.unwrap() {
            let batch = batch.unwrap();
            let seq = batch["ingest_seq"].as_primitive::<Int64Type>().clone();
            let ids = batch["id"].as_string::<i32>().clone();
            assert_eq!(seq.null_count(), 0);
            let rows = seq.values().iter().zip(ids.iter());
            found.extend(rows.map(|(seq, id)| (*seq, id.unwrap().to_owned())));
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn nothing_is_left_of_a_person_and_everything_of_the_others() {
    let store = memory();
    let table = open(&store).await;
    let others = fill(&table, 3).await;
    let mut expected = numbers(&store).await;
    expected.retain(|(_, id)| !id.starts_with("mine"));
    // Old versions, and a commit that never landed.
    let metas: Vec<_> = store.list(None).try_collect().await.unwrap();
    for (i, meta) in metas.iter().enumerate() {
        if meta.location.extension() == Some("parquet") {
            let orphan = format!("raw/received_date=2024-05-01/orphan-{i}.parquet");
            store.copy(&meta.location, &orphan.into()).await.unwrap();
        }
    }
    table
        .compact(&CompactConfig::default(), TimeWindow::ALL, now())
        .await
        .unwrap();
    assert!(mentions(&store, CLIENT).await.len() > 6);
    let before = table.as_of_version(2).await.unwrap();

    let erasure = table.forget(&subject(), now()).await.unwrap();
    assert_eq!(
        erasure,
        Erasure {
            erased_at: now(),
            table: "raw".to_owned(),
            version: 6,
            n_rows: 6,
            n_files_rewritten: 1,
            // The compacted file, three from before, and their copies.
            n_files_deleted: 7,
            n_log_entries_deleted: 0,
            // Two of the table, three old ones and three copies of the other day, the log.
            n_files_proved: 8 + 8,
        }
    );
    assert_eq!(mentions(&store, CLIENT).await, [""; 0]);
    assert_eq!(all(&table).await, others);
    assert_eq!(all(&open(&store).await).await, others);
    let mut found = numbers(&store).await;
    found.dedup();
    assert_eq!(found, expected);
    let after_first = table.scan_from(1).await.unwrap();
    assert_eq!(
        collect::<Event>(after_first.batches).await.unwrap(),
        others[4..]
    );

    // A version from before cannot be read any more, and says why.
    let scan = before.scan(TimeWindow::ALL).await.unwrap();
    let error = collect::<Event>(scan).await.unwrap_err();
    let reco_core::Error::Table { source, .. } = error else {
        panic!("unexpected: {error}");
    };
    assert!(
        source.to_string().contains("received_date=2024-05-01"),
        "{source}"
    );

    // What holds others to appending is as it was.
    let properties = properties(&store).await;
    assert_eq!(properties["delta.appendOnly"], "true");
    assert_eq!(properties.get("reco.appendOnlyLifted"), None);

    let again = table.forget(&subject(), now()).await.unwrap();
    assert_eq!(
        (again.n_rows, again.n_files_deleted, again.version),
        (0, 0, 7)
    );
    // Who comes back is a later event.
    table
        .write(of("shop", CLIENT, events("back", 1)))
        .await
        .unwrap();
    assert_eq!(all(&table).await.last().unwrap().id, "back-0");
}

#[tokio::test]
async fn a_subject_without_a_client_is_refused() {
    let table = open(&memory()).await;
    let nobody = Subject {
        tenant: "shop".to_owned(),
        client: String::new(),
    };
    let error = table.forget(&nobody, now()).await.unwrap_err();
    assert!(matches!(error, Error::InvalidConfig { of: "subject", .. }));
}

#[tokio::test]
async fn dead_letters_that_mention_the_person_go() {
    let store = memory();
    let table = DeltaTable::<DeadLetter>::open(Arc::clone(&store), "raw")
        .await
        .unwrap();
    let letter = |position: i64, reason: &str, payload: &str| DeadLetter {
        received_at: now(),
        source: "clicks".to_owned(),
        position,
        reason: reason.to_owned(),
        payload: payload.to_owned().into(),
    };
    let written = vec![
        letter(1, "no time", r#"{"uid":"visitor-7f3a"}"#),
        letter(2, "no time", r#"{"uid":"visitor-7f3b"}"#),
        letter(3, "`visitor-7f3a` is no number", ""),
        letter(4, "no time", "?uid=visitor-7f3a&x=1"),
    ];
    table.write(written.clone()).await.unwrap();
    let erasure = table.forget(&subject(), now()).await.unwrap();
    assert_eq!(erasure.n_rows, 3);
    let left = collect::<DeadLetter>(table.scan(TimeWindow::ALL).await.unwrap()).await;
    assert_eq!(left.unwrap(), written[1..2]);
    assert_eq!(mentions(&store, CLIENT).await, [""; 0]);
}

#[tokio::test]
async fn what_a_local_store_left_half_written_goes() {
    let folder = tempfile::tempdir().unwrap();
    let table = DeltaTable::open_local(folder.path()).await.unwrap();
    let others = fill(&table, 3).await;
    let day = folder.path().join("received_date=2024-05-01");
    let file = std::fs::read_dir(&day)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(day.join("part-x.zstd.parquet#1"), &bytes[..bytes.len() / 2]).unwrap();
    std::fs::write(day.join("part-y.zstd.parquet#12"), &bytes).unwrap();
    // One that was cut short under its own name.
    std::fs::write(day.join("part-z.zstd.parquet"), &bytes[..bytes.len() / 2]).unwrap();

    let erasure = table.forget(&subject(), now()).await.unwrap();
    assert_eq!(
        (erasure.n_files_rewritten, erasure.n_files_deleted),
        (3, 3 + 3)
    );
    assert_eq!(std::fs::read_dir(&day).unwrap().count(), 3);
    assert_eq!(all(&table).await, others);
}

// Another engine compacts, and writes the least and greatest values of columns into the log.
#[tokio::test]
async fn values_that_another_engine_put_into_the_log_go() {
    let store = memory();
    let table = open(&store).await;
    table
        .write(of("shop", CLIENT, events("mine", 2)))
        .await
        .unwrap();
    table
        .write(of("shop", "other", events("b", 2)))
        .await
        .unwrap();
    let entry = Path::from("raw/_delta_log/00000000000000000001.json");
    let text = store.get(&entry).await.unwrap().bytes().await.unwrap();
    let text = std::str::from_utf8(&text).unwrap();
    let told = format!(r#"\"minValues\":{{\"client_id\":\"{CLIENT}\",\"#);
    assert_eq!(text.matches(r#"\"minValues\":{\"#).count(), 1);
    let text = text.replace(r#"\"minValues\":{\"#, &told);
    store.put(&entry, text.into()).await.unwrap();
    let table = open(&store).await;
    let opened_before = open(&store).await;
    assert!(mentions(&store, CLIENT).await.contains(&entry.to_string()));

    let erasure = table.forget(&subject(), now()).await.unwrap();
    assert_eq!((erasure.n_rows, erasure.n_log_entries_deleted), (2, 4));
    let error = open(&store).await.as_of_version(1).await.unwrap_err();
    assert!(matches!(error, Error::Log { .. }), "{error}");
    assert_eq!(mentions(&store, CLIENT).await, [""; 0]);
    for table in [open(&store).await, opened_before, table] {
        table.write(events("later", 1)).await.unwrap();
    }
    let found = ids(&open(&store).await, TimeWindow::ALL).await;
    assert_eq!(found, ["b-0", "b-1", "later-0", "later-0", "later-0"]);
}

#[tokio::test]
async fn a_file_that_cannot_be_searched_is_an_error() {
    let store = memory();
    let table = open(&store).await;
    fill(&table, 3).await;
    let metas: Vec<_> = store.list(None).try_collect().await.unwrap();
    let of_table = metas
        .iter()
        .find(|meta| meta.location.extension() == Some("parquet"));
    let location = &of_table.unwrap().location;
    let garbage = vec![b'x'; usize::try_from(of_table.unwrap().size).unwrap()];
    store.put(location, garbage.into()).await.unwrap();
    let error = table.forget(&subject(), now()).await.unwrap_err();
    let path = location.as_ref().strip_prefix("raw/").unwrap();
    assert!(
        matches!(&error, Error::NotErased { path: found, .. } if found == path),
        "{error}"
    );
}

// A writer has stored its file and is about to commit it when the erasure runs.
#[tokio::test]
async fn a_file_that_a_writer_is_about_to_commit_stays() {
    for is_known in [false, true] {
        let inner = memory();
        let table = open(&inner).await;
        if is_known {
            table
                .write(of("shop", CLIENT, events("mine", 1)))
                .await
                .unwrap();
        }
        let faulty = Faulty::new(Arc::clone(&inner));
        let writer = open(&(Arc::new(faulty.clone()) as Arc<dyn ObjectStore>)).await;
        let erasing = table.clone();
        faulty.before_entry(async move {
            let erasure = erasing.forget(&subject(), now()).await.unwrap();
            assert_eq!(erasure.n_rows, u64::from(is_known));
        });
        writer
            .write(of("shop", CLIENT, events("late", 2)))
            .await
            .unwrap();
        assert_eq!(ids_of(&all(&table).await), ["late-0", "late-1"]);
    }
}

// A compaction has read the person's rows and is about to commit them when the erasure runs.
#[tokio::test]
async fn a_compaction_does_not_bring_anybody_back() {
    let inner = memory();
    let table = open(&inner).await;
    let others = fill(&table, 3).await;
    let faulty = Faulty::new(Arc::clone(&inner));
    let compacting = open(&(Arc::new(faulty.clone()) as Arc<dyn ObjectStore>)).await;
    let erasing = table.clone();
    faulty.before_entry(async move {
        erasing.forget(&subject(), now()).await.unwrap();
    });
    let compaction = compacting
        .compact(&CompactConfig::default(), TimeWindow::ALL, now())
        .await
        .unwrap();
    assert_eq!(compaction.n_lost, 1);
    assert_eq!(all(&table).await, others);
    assert_eq!(mentions(&inner, CLIENT).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_go_on() {
    let store = memory();
    let table = open(&store).await;
    let mut expected = ids_of(&fill(&table, 3).await);
    let writer = open(&store).await;
    let writing = tokio::spawn(async move {
        for i in 0..10 {
            writer.write(events(&format!("w{i}"), 1)).await.unwrap();
        }
    });
    let compacting = open(&store).await;
    let compacting = tokio::spawn(async move {
        compacting
            .compact(&CompactConfig::default(), TimeWindow::ALL, now())
            .await
            .unwrap();
    });
    let erasure = table.forget(&subject(), now()).await.unwrap();
    writing.await.unwrap();
    compacting.await.unwrap();
    assert_eq!(erasure.n_rows, 6);
    expected.extend((0..10).map(|i| format!("w{i}-0")));
    assert_eq!(ids(&table, TimeWindow::ALL).await, expected);
    assert_eq!(mentions(&store, CLIENT).await, [""; 0]);
}

#[tokio::test]
async fn an_erasure_is_a_record() {
    let folder = tempfile::tempdir().unwrap();
    let table = DeltaTable::open_local(folder.path().join("raw"))
        .await
        .unwrap();
    fill(&table, 3).await;
    let erasures = DeltaTable::<Erasure>::open_local(folder.path().join("erasures"))
        .await
        .unwrap();
    let erasure = table.forget(&subject(), now()).await.unwrap();
    erasures.write(vec![erasure.clone()]).await.unwrap();
    let mut kept = erasures.scan(TimeWindow::ALL).await.unwrap();
    let batch = kept.next().await.unwrap().unwrap();
    assert_eq!(
        reco_core::Record::from_batch(&batch).ok(),
        Some(vec![erasure])
    );
}
