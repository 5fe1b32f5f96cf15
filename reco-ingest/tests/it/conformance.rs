//! The suites of `reco-core` over every sink and table.

use std::sync::Arc;

use object_store::memory::InMemory;
use reco_core::object_store;
use reco_core::testing::{event_sink, raw_table};
use reco_ingest::{BufferConfig, DeltaTable, EventSinkExt, MemoryTable};

#[tokio::test]
async fn memory_table() {
    event_sink(&MemoryTable::new()).await;
    raw_table(&MemoryTable::new()).await;
}

#[tokio::test]
async fn delta_table() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    event_sink(&DeltaTable::open_local(path("sink")).await.unwrap()).await;
    raw_table(&DeltaTable::open_local(path("table")).await.unwrap()).await;
    let numbered = DeltaTable::open_local(path("numbered")).await.unwrap();
    event_sink(&numbered.numbered("writer")).await;
}

#[tokio::test]
async fn delta_table_in_memory() {
    let store = Arc::new(InMemory::new());
    raw_table(&DeltaTable::open(store, "raw").await.unwrap()).await;
}

#[tokio::test]
async fn wrappers() {
    let table = MemoryTable::new;
    event_sink(&table().tee(table())).await;
    event_sink(&table().buffered(BufferConfig::default()).unwrap()).await;
    let both = table().tee(table()).buffered(BufferConfig::default());
    event_sink(&both.unwrap()).await;
}
