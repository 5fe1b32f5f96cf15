//! A spool before a table: what is acknowledged gets there once, whatever the table, the disk and the
//! host do meanwhile.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path as StorePath;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult,
};
use reco_core::{
    Durability, Error, Event, EventSink, RawTable, Receipt, RecordBatchStream, Result, TimeWindow,
    object_store, testing,
};
use reco_ingest::{DeltaTable, DrainConfig, SpoolConfig, Spooled};

use crate::shop::{event, events, ids, ids_of};

/// A remote store that can be away.
#[derive(Debug, Default)]
struct Remote {
    inner: InMemory,
    away: AtomicBool,
}

impl Remote {
    fn be_away(&self, away: bool) {
        self.away.store(away, Ordering::SeqCst);
    }

    fn reach(&self) -> object_store::Result<()> {
        if self.away.load(Ordering::SeqCst) {
            return Err(object_store::Error::Generic {
                store: "remote",
                source: "the network is down".into(),
            });
        }
        Ok(())
    }
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Remote")
    }
}

#[async_trait]
impl ObjectStore for Remote {
    async fn put_opts(
        &self,
        location: &StorePath,
        payload: PutPayload,
        opts: PutOptions,
    ) -> object_store::Result<PutResult> {
        self.reach()?;
        self.inner.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(
        &self,
        location: &StorePath,
        opts: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.reach()?;
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(
        &self,
        location: &StorePath,
        options: GetOptions,
    ) -> object_store::Result<GetResult> {
        self.reach()?;
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, object_store::Result<StorePath>>,
    ) -> BoxStream<'static, object_store::Result<StorePath>> {
        self.inner.delete_stream(locations)
    }

    fn list(
        &self,
        prefix: Option<&StorePath>,
    ) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(
        &self,
        prefix: Option<&StorePath>,
    ) -> object_store::Result<ListResult> {
        self.reach()?;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(
        &self,
        from: &StorePath,
        to: &StorePath,
        options: CopyOptions,
    ) -> object_store::Result<()> {
        self.reach()?;
        self.inner.copy_opts(from, to, options).await
    }
}

/// A spool whose scans are those of its table.
#[derive(Debug)]
struct Readable {
    sink: Spooled,
    table: DeltaTable,
}

#[async_trait]
impl EventSink for Readable {
    async fn write(&self, records: Vec<Event>) -> Result<Receipt> {
        self.sink.write(records).await
    }

    async fn flush(&self) -> Result<()> {
        self.sink.flush().await
    }
}

#[async_trait]
impl RawTable for Readable {
    async fn scan(&self, window: TimeWindow) -> Result<RecordBatchStream> {
        self.table.scan(window).await
    }

    async fn fingerprint(&self) -> Result<Option<String>> {
        self.table.fingerprint().await
    }
}

async fn table_of(store: &Arc<Remote>) -> DeltaTable {
    let store: Arc<dyn ObjectStore> = Arc::clone(store) as Arc<dyn ObjectStore>;
    DeltaTable::open(store, "raw").await.unwrap()
}

/// A spool that drains when it is told to, or full.
fn lazy(dir: &Path) -> SpoolConfig {
    SpoolConfig {
        max_wait: Duration::ZERO,
        drain: DrainConfig {
            max_age: Duration::MAX,
            ..DrainConfig::default()
        },
        ..SpoolConfig::at(dir)
    }
}

/// Opens a spool that was dropped, as soon as its folder is free.
async fn reopen(table: &DeltaTable, config: &SpoolConfig) -> Spooled {
    loop {
        match table.clone().spooled(config.clone()).await {
            Err(reco_ingest::Error::SpoolInUse { .. }) => tokio::task::yield_now().await,
            other => return other.unwrap(),
        }
    }
}

#[tokio::test]
async fn it_keeps_the_contracts() {
    let folder = tempfile::tempdir().unwrap();
    let raw = |name: &str| DeltaTable::open_local(folder.path().join(name));
    let spool = |name: &str| SpoolConfig::at(folder.path().join(name));
    let sink = raw("a")
        .await
        .unwrap()
        .spooled(spool("of-a"))
        .await
        .unwrap();
    testing::event_sink(&sink).await;
    sink.close().await.unwrap();

    let table = raw("b").await.unwrap();
    let small = SpoolConfig {
        durability: Durability::OsCache,
        drain: DrainConfig {
            max_rows: 10,
            ..DrainConfig::default()
        },
        ..spool("of-b")
    };
    let sink = table.clone().spooled(small).await.unwrap();
    testing::raw_table(&Readable { sink, table }).await;
}

#[tokio::test]
async fn what_is_acknowledged_is_drained_by_the_next_open() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::default();
    let table = table_of(&store).await;
    let table = table.with_durability(Durability::Durable);
    let config = lazy(folder.path());
    let sink = table.clone().spooled(config.clone()).await.unwrap();
    let mut expected = Vec::new();
    for i in 0..3 {
        let batch = events(&i.to_string(), 5);
        expected.extend(ids_of(&batch));
        let receipt = sink.write(batch).await.unwrap();
        assert_eq!(
            (receipt.n_records, receipt.durability),
            (5, Durability::Durable)
        );
    }
    assert_eq!(sink.status().records, 15);
    assert_eq!(table.version().await.unwrap(), 0);
    drop(sink);

    let sink = reopen(&table, &config).await;
    sink.write(events("late", 1)).await.unwrap();
    expected.push("late-0".to_owned());
    sink.flush().await.unwrap();
    assert_eq!(ids(&table, TimeWindow::ALL).await, expected);
    assert_eq!((sink.status().records, sink.status().bytes), (0, 0));
    assert_eq!(sink.status().drained, 16);
}

#[tokio::test]
async fn numbers_go_on_after_the_spool_was_emptied() {
    let folder = tempfile::tempdir().unwrap();
    let table = table_of(&Arc::default()).await;
    let config = lazy(folder.path());
    for life in 0..3 {
        let sink = reopen(&table, &config).await;
        sink.write(events(&life.to_string(), 1)).await.unwrap();
        sink.close().await.unwrap();
    }
    assert_eq!(ids(&table, TimeWindow::ALL).await, ["0-0", "1-0", "2-0"]);
}

#[tokio::test]
async fn a_table_that_is_away_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let store: Arc<Remote> = Arc::default();
    let table = table_of(&store).await;
    let sink = table.clone().spooled(lazy(folder.path())).await.unwrap();
    store.be_away(true);
    sink.write(events("a", 3)).await.unwrap();
    let error = sink.flush().await.unwrap_err();
    assert!(matches!(error, Error::Table { .. }), "{error}");
    let status = sink.status();
    assert_eq!(status.records, 3);
    let reason = status.last_error.unwrap();
    assert!(reason.contains("the network is down"), "{reason}");
    assert!(sink.close().await.is_err());
    // It is open again.
    sink.write(events("b", 1)).await.unwrap();

    store.be_away(false);
    sink.close().await.unwrap();
    assert_eq!(
        ids(&table, TimeWindow::ALL).await,
        ["a-0", "a-1", "a-2", "b-0"]
    );
    assert_eq!(sink.status().last_error, None);
}

#[tokio::test]
async fn a_full_spool_refuses_and_says_when_to_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let store: Arc<Remote> = Arc::default();
    let table = table_of(&store).await;
    let config = SpoolConfig {
        max_bytes: 4 << 20,
        ..lazy(folder.path())
    };
    let sink = table.clone().spooled(config).await.unwrap();
    store.be_away(true);
    let mut expected = Vec::new();
    let error = loop {
        let mut batch = events(&expected.len().to_string(), 1);
        batch[0].payload = vec![7; 100_000].into();
        let names = ids_of(&batch);
        match sink.write(batch).await {
            Ok(_) => expected.extend(names),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::Full { retry_after, .. } if !retry_after.is_zero()));
    assert!(expected.len() > 10, "{}", expected.len());
    assert!(sink.status().bytes <= 4 << 20);
    assert!(disk_bytes(folder.path()) <= 8 << 20);

    store.be_away(false);
    sink.flush().await.unwrap();
    assert_eq!(ids(&table, TimeWindow::ALL).await, expected);
    sink.write(events("late", 1)).await.unwrap();
}

#[tokio::test]
async fn a_write_that_finds_no_room_has_the_spool_drained() {
    let folder = tempfile::tempdir().unwrap();
    let table = table_of(&Arc::default()).await;
    let config = SpoolConfig {
        max_bytes: 1 << 20,
        max_wait: Duration::from_secs(60),
        ..lazy(folder.path())
    };
    let sink = table.clone().spooled(config).await.unwrap();
    let mut expected = Vec::new();
    for i in 0..20 {
        let mut batch = events(&i.to_string(), 1);
        batch[0].payload = vec![7; 100_000].into();
        expected.extend(ids_of(&batch));
        sink.write(batch).await.unwrap();
    }
    sink.close().await.unwrap();
    assert_eq!(ids(&table, TimeWindow::ALL).await, expected);
}

#[tokio::test]
async fn one_spool_drains_by_rows_without_being_told() {
    let folder = tempfile::tempdir().unwrap();
    let table = table_of(&Arc::default()).await;
    let config = SpoolConfig {
        drain: DrainConfig {
            max_rows: 10,
            max_age: Duration::MAX,
            ..DrainConfig::default()
        },
        ..SpoolConfig::at(folder.path())
    };
    let sink = table.clone().spooled(config).await.unwrap();
    sink.write(events("a", 10)).await.unwrap();
    while sink.status().drained < 10 {
        tokio::task::yield_now().await;
    }
    assert_eq!(ids(&table, TimeWindow::ALL).await.len(), 10);
}

#[tokio::test]
async fn one_spool_drains_by_age_without_being_told() {
    let folder = tempfile::tempdir().unwrap();
    let table = table_of(&Arc::default()).await;
    let config = SpoolConfig {
        drain: DrainConfig {
            max_age: Duration::from_millis(1),
            ..DrainConfig::default()
        },
        ..SpoolConfig::at(folder.path())
    };
    let sink = table.clone().spooled(config).await.unwrap();
    sink.write(events("a", 1)).await.unwrap();
    while sink.status().drained < 1 {
        tokio::task::yield_now().await;
    }
    assert_eq!(ids(&table, TimeWindow::ALL).await, ["a-0"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_writers_keep_their_orders() {
    let folder = tempfile::tempdir().unwrap();
    let table = table_of(&Arc::default()).await;
    let config = SpoolConfig {
        drain: DrainConfig {
            max_rows: 50,
            ..DrainConfig::default()
        },
        ..SpoolConfig::at(folder.path())
    };
    let sink = table.clone().spooled(config).await.unwrap();
    let writers = (0..16).map(|writer| {
        let sink = sink.clone();
        tokio::spawn(async move {
            for i in 0..20 {
                let name = format!("{writer}-{i}");
                sink.write(vec![event(&name, "2024-05-01T12:00:00Z")])
                    .await
                    .unwrap();
            }
        })
    });
    for writer in join_all(writers).await {
        writer.unwrap();
    }
    sink.close().await.unwrap();
    let found = ids(&table, TimeWindow::ALL).await;
    assert_eq!(found.len(), 320);
    for writer in 0..16 {
        let prefix = format!("{writer}-");
        let own: Vec<_> = found.iter().filter(|id| id.starts_with(&prefix)).collect();
        let expected: Vec<_> = (0..20).map(|i| format!("{prefix}{i}")).collect();
        assert_eq!(own, expected.iter().collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_folder_has_one_owner_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let table = table_of(&Arc::default()).await;
    let config = lazy(folder.path());
    let sink = table.clone().spooled(config.clone()).await.unwrap();
    let error = table.clone().spooled(config.clone()).await.unwrap_err();
    let expected = format!("the spool in `{}` is in use", folder.path().display());
    assert_eq!(error.to_string(), expected);
    sink.close().await.unwrap();
    table.spooled(config).await.unwrap();
}

#[tokio::test]
async fn a_spool_of_another_table_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let config = lazy(folder.path());
    let table = table_of(&Arc::default()).await;
    let sink = table.spooled(config.clone()).await.unwrap();
    sink.write(events("a", 1)).await.unwrap();
    drop(sink);
    let other = table_of(&Arc::default()).await;
    let error = loop {
        match other.clone().spooled(config.clone()).await.unwrap_err() {
            reco_ingest::Error::SpoolInUse { .. } => tokio::task::yield_now().await,
            error => break error.to_string(),
        }
    };
    assert!(error.contains("belongs to table `raw ("), "{error}");
}

#[tokio::test]
async fn what_the_table_would_never_take_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let table = table_of(&Arc::default()).await;
    let config = SpoolConfig {
        max_bytes: 1 << 20,
        ..lazy(folder.path())
    };
    let sink = table.clone().spooled(config).await.unwrap();
    let mut undated = events("a", 2);
    undated[1].received_at = reco_core::Timestamp::MIN;
    assert!(sink.write(undated).await.is_err());
    let mut large = events("b", 1);
    large[0].payload = vec![0; 2 << 20].into();
    let error = sink.write(large).await.unwrap_err();
    assert!(matches!(error, Error::Table { .. }), "{error}");

    sink.write(events("c", 1)).await.unwrap();
    sink.close().await.unwrap();
    assert_eq!(ids(&table, TimeWindow::ALL).await, ["c-0"]);
}

#[tokio::test]
async fn a_closed_spool_refuses() {
    let folder = tempfile::tempdir().unwrap();
    let table = table_of(&Arc::default()).await;
    let sink = table.spooled(lazy(folder.path())).await.unwrap();
    sink.close().await.unwrap();
    let error = sink.write(events("a", 1)).await.unwrap_err();
    assert!(matches!(error, Error::SinkClosed { .. }), "{error}");
    let error = sink.flush().await.unwrap_err();
    assert!(matches!(error, Error::SinkClosed { .. }), "{error}");
}

#[tokio::test]
async fn a_write_that_is_dropped_while_it_waits_is_not_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let store: Arc<Remote> = Arc::default();
    let table = table_of(&store).await;
    let config = SpoolConfig {
        max_bytes: 1 << 20,
        max_wait: Duration::from_secs(3600),
        ..lazy(folder.path())
    };
    let sink = table.clone().spooled(config).await.unwrap();
    store.be_away(true);
    let large = |name: &str| {
        let mut batch = events(name, 1);
        batch[0].payload = vec![7; 400_000].into();
        batch
    };
    sink.write(large("a")).await.unwrap();
    sink.write(large("b")).await.unwrap();
    let mut third = Box::pin(sink.write(large("c")));
    assert!(futures::poll!(&mut third).is_pending());
    drop(third);
    store.be_away(false);
    sink.close().await.unwrap();
    assert_eq!(ids(&table, TimeWindow::ALL).await, ["a-0", "b-0"]);
}

/// What the files of a folder take on disk.
fn disk_bytes(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let files = std::fs::read_dir(folder).unwrap();
    files
        .map(|file| file.unwrap().metadata().unwrap().blocks() * 512)
        .sum()
}

#[tokio::test]
async fn a_receipt_claims_no_more_than_the_table_does() {
    let folder = tempfile::tempdir().unwrap();
    let table = table_of(&Arc::default()).await;
    assert_eq!(table.durability(), Durability::Memory);
    let sink = table.spooled(lazy(folder.path())).await.unwrap();
    let receipt = sink.write(events("e", 1)).await.unwrap();
    assert_eq!(receipt.durability, Durability::Memory);
}
