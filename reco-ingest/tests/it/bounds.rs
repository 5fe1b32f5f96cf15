//! What a raw table does not do: yield huge batches, guess a path, write to a table that has changed.

use std::sync::Arc;

use futures::TryStreamExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};
use reco_core::{
    Error as CoreError, Event, EventSink, RawTable, Record, TimeWindow, arrow, object_store,
};
use reco_ingest::{BatchId, DeltaTable, Error, MemoryTable};

use crate::shop::{events, ids, ids_of};

const MIB: usize = 1 << 20;

// Many small rows, then some of a mebibyte.
fn skewed() -> Vec<Event> {
    let mut written = events("small", 3000);
    let payload = bytes::Bytes::from(vec![b'x'; MIB]);
    written.extend(events("large", 150).into_iter().map(|event| Event {
        payload: payload.clone(),
        ..event
    }));
    written
}

async fn check(table: &dyn RawTable) {
    let written = skewed();
    let expected = ids_of(&written);
    table.write(written).await.unwrap();
    let mut scan = table.scan(TimeWindow::ALL).await.unwrap();
    let mut found = Vec::new();
    while let Some(batch) = scan.try_next().await.unwrap() {
        let n_bytes: usize = batch
            .columns()
            .iter()
            .map(|column| {
                arrow::array::Array::to_data(column)
                    .get_slice_memory_size()
                    .unwrap()
            })
            .sum();
        assert!(n_bytes <= 100 * MIB, "{n_bytes} bytes in a batch");
        found.extend(ids_of(&Event::from_batch(&batch).unwrap()));
    }
    assert_eq!(found, expected);
}

#[tokio::test]
async fn batches_of_a_delta_table_are_bounded_in_bytes() {
    let table = DeltaTable::open(Arc::new(InMemory::new()), "raw")
        .await
        .unwrap();
    check(&table).await;
}

#[tokio::test]
async fn batches_of_a_memory_table_are_bounded_in_bytes() {
    check(&MemoryTable::new()).await;
}

#[tokio::test]
async fn a_prefix_is_taken_as_it_is() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let prefixes = ["raw/shop", "raw/shop#1", "raw/shop?x", "raw/50%", "raw/a b"];
    for prefix in prefixes {
        let table = DeltaTable::open(Arc::clone(&store), prefix).await.unwrap();
        table.write(events(prefix, 1)).await.unwrap();
    }
    for prefix in prefixes {
        let reopened = DeltaTable::<Event>::open(Arc::clone(&store), prefix)
            .await
            .unwrap();
        assert_eq!(
            ids(&reopened, TimeWindow::ALL).await,
            [format!("{prefix}-0")]
        );
        let entry = format!("{prefix}/_delta_log/00000000000000000001.json");
        store.head(&Path::parse(entry).unwrap()).await.unwrap();
    }
    for prefix in ["a/../b", "a//b", "."] {
        let error = DeltaTable::<Event>::open(Arc::clone(&store), prefix)
            .await
            .unwrap_err();
        assert!(
            matches!(&error, Error::Location { location, .. } if location == prefix),
            "{error}"
        );
    }
}

// Another engine commits an entry of the log that changes what it says at the creation of the table.
async fn changed(change: impl Fn(&str) -> Option<String>) -> Error {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let table = DeltaTable::open(Arc::clone(&store), "raw").await.unwrap();
    let entry = |version: u64| Path::from(format!("raw/_delta_log/{version:020}.json"));
    let created = store.get(&entry(0)).await.unwrap().bytes().await.unwrap();
    let created = String::from_utf8(created.to_vec()).unwrap();
    let lines: Vec<String> = created.lines().filter_map(change).collect();
    assert_eq!(lines.len(), 1, "{created}");
    store
        .put(&entry(1), lines.concat().into_bytes().into())
        .await
        .unwrap();
    let id = BatchId::new("collector-1", 1).unwrap();
    let error = table.write_batch(&id, events("a", 1)).await.unwrap_err();
    assert!(store.head(&entry(2)).await.is_err());
    error
}

#[tokio::test]
async fn a_table_that_has_changed_is_not_written_to() {
    let renamed = changed(|line| {
        let quoted = |name: &str| format!(r#"\"name\":\"{name}\""#);
        (line.contains(r#""metaData""#) && line.contains(&quoted("query")))
            .then(|| line.replace(&quoted("query"), &quoted("quest")))
    })
    .await;
    assert!(
        matches!(&renamed, Error::Core(CoreError::MissingColumn { column, .. }) if column == "query"),
        "{renamed}"
    );

    let newer = changed(|line| {
        let protocol = r#"{"protocol":{"minReaderVersion":1,"minWriterVersion":6}}"#;
        line.starts_with(r#"{"protocol""#)
            .then(|| protocol.to_owned())
    })
    .await;
    assert!(matches!(newer, Error::Log { .. }), "{newer}");
}
