//! Tables that the tests read, and a raw table that counts its scans.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures::StreamExt;
use reco_core::{
    Durability, Event, EventKind, EventSink, RawTable, Receipt, Record, RecordBatchStream, Result,
    TimeWindow, Timestamp, async_trait,
};
use reco_transform::datafusion::arrow::array::RecordBatch;
use reco_transform::{DagBuilder, Source, Warehouse, datafusion};

/// An event of a client at a minute, of an item.
pub(crate) fn event(id: &str, client: &str, minute: i64, item: Option<&str>) -> Event {
    let time = Timestamp::from_second(minute * 60).unwrap();
    let kind = match item {
        Some(_) => EventKind::Detail,
        None => EventKind::Search,
    };
    Event {
        item: item.map(Into::into),
        price: Some(9.5),
        ..Event::new(id, kind, client, time)
    }
}

/// Two sessions of Ann and one of Bob; event `3` was sent twice.
pub(crate) fn events() -> Vec<Event> {
    vec![
        event("1", "ann", 0, Some("hat")),
        event("2", "ann", 1, None),
        event("3", "ann", 2, Some("scarf")),
        event("3", "ann", 3, Some("scarf")),
        event("4", "bob", 3, Some("hat")),
        event("5", "bob", 4, Some("scarf")),
        event("6", "ann", 60, Some("hat")),
        event("7", "ann", 61, Some("hat")),
    ]
}

/// A source of a query's rows, for tests that are not about events.
pub(crate) trait ValuesExt {
    /// A table `name` of `values` with `columns`, both as in SQL.
    fn values(self, name: &str, columns: &str, values: &str) -> Self;
}

impl ValuesExt for DagBuilder {
    fn values(self, name: &str, columns: &str, values: &str) -> Self {
        self.sql(
            name,
            format!("select * from (values {values}) as t ({columns})"),
        )
    }
}

/// A raw table in memory that counts its scans.
#[derive(Debug, Default)]
pub(crate) struct Log {
    events: Mutex<Vec<Event>>,
    n_scans: AtomicUsize,
    is_broken: bool,
}

impl Log {
    /// Adds an event.
    pub(crate) fn add(&self, event: Event) {
        self.events.lock().unwrap().push(event);
    }

    pub(crate) fn of(events: Vec<Event>) -> Arc<Self> {
        Arc::new(Self {
            events: Mutex::new(events),
            ..Self::default()
        })
    }

    /// One whose scans end with an error.
    pub(crate) fn broken() -> Self {
        Self {
            is_broken: true,
            ..Self::default()
        }
    }

    pub(crate) fn n_scans(&self) -> usize {
        self.n_scans.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl EventSink for Log {
    async fn write(&self, mut records: Vec<Event>) -> Result<Receipt> {
        let n_records = records.len();
        self.events.lock().unwrap().append(&mut records);
        Ok(Receipt {
            n_records,
            durability: Durability::Memory,
        })
    }

    async fn flush(&self) -> Result<()> {
        Ok(())
    }
}

#[async_trait]
impl RawTable for Log {
    async fn scan(&self, window: TimeWindow) -> Result<RecordBatchStream> {
        self.n_scans.fetch_add(1, Ordering::Relaxed);
        let mut events = self.events.lock().unwrap().clone();
        events.retain(|event| window.contains(event.timestamp()));
        let mut batches: Vec<Result<RecordBatch>> = events.chunks(3).map(Event::to_batch).collect();
        if self.is_broken {
            batches.push(Err(reco_core::Error::Table {
                table: "log".to_owned(),
                operation: "scan",
                source: "the disk is on fire".into(),
            }));
        }
        Ok(futures::stream::iter(batches).boxed())
    }

    async fn fingerprint(&self) -> Result<Option<String>> {
        let n_events = self.events.lock().unwrap().len();
        Ok((!self.is_broken).then(|| format!("{n_events} events")))
    }
}

/// Events as a source in memory.
pub(crate) fn source(events: &[Event]) -> Source {
    Source::batches(Event::schema(), vec![Event::to_batch(events).unwrap()]).unwrap()
}

/// The rows of a frame as a table of text.
pub(crate) async fn text(frame: datafusion::prelude::DataFrame) -> Vec<String> {
    let table = frame.to_string().await.unwrap();
    table.lines().map(ToOwned::to_owned).collect()
}

/// The rows of a published table, in an order of their own.
pub(crate) async fn rows(warehouse: &Warehouse, table: &str) -> Vec<String> {
    let frame = warehouse.table(table).await.unwrap();
    let columns = frame.schema().columns().into_iter();
    let order = columns.map(|column| datafusion::prelude::Expr::Column(column).sort(true, false));
    text(frame.sort(order.collect()).unwrap()).await
}

/// The version of the Delta table that readers of the warehouse are shown.
pub(crate) async fn version(warehouse: &Warehouse, table: &str) -> Option<u64> {
    let published = warehouse.published(table).await.unwrap();
    published.map(|published| published.version)
}
