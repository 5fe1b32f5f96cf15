//! Sinks that fail, clients that go away, and more requests than there is room for.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use futures::poll;
use reco_core::{Durability, Error, Event, EventSink, Receipt, Record, Result, async_trait};
use reco_ingest::{MemoryTable, axum};
use tokio::sync::Semaphore;
use tower::ServiceExt;

use super::{Shop, builder, get, post, send};

const EVENT: &str = r#"{"kind":"detail","client":"c"}"#;

/// How a sink refuses.
#[derive(Debug, Clone, Copy)]
enum Broken {
    Full,
    Failed,
    Panics,
}

#[expect(clippy::panic, reason = "a sink that panics is what is tested")]
#[async_trait]
impl<E: Record> EventSink<E> for Broken {
    async fn write(&self, _: Vec<E>) -> Result<Receipt> {
        match self {
            Self::Full => Err(Error::Full {
                sink: "spool".to_owned(),
                retry_after: Duration::from_millis(6500),
            }),
            Self::Failed => Err(Error::Table {
                table: "raw".to_owned(),
                operation: "write",
                source: "the disk is gone".into(),
            }),
            Self::Panics => panic!("a bug of the sink"),
        }
    }

    async fn flush(&self) -> Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_sink_that_fails_is_told_with_503() {
    for (broken, retry_after) in [
        (Broken::Full, "7"),
        (Broken::Failed, "5"),
        (Broken::Panics, "5"),
    ] {
        let shop = Shop::default();
        let letters = Arc::new(shop.dead_letters.clone());
        let router = builder(Arc::new(broken), letters).build().unwrap().router();
        for request in [post("/collect", EVENT), get("/pixel?cid=c&t=pageview")] {
            let answer = send(&router, request).await;
            assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{broken:?}");
            assert_eq!(answer.header("retry-after"), Some(retry_after));
            // What the sink says is not the client's business.
            assert!(!String::from_utf8_lossy(&answer.body).contains("disk"));
        }
        // Only what goes to the sink fails.
        assert_eq!(
            send(&router, post("/collect", "x"))
                .await
                .accepted()
                .dead_lettered,
            1
        );
    }
}

#[tokio::test]
async fn dead_letters_that_cannot_be_kept_are_not_acknowledged() {
    let shop = Shop::default();
    let router = builder(Arc::new(shop.events.clone()), Arc::new(Broken::Failed));
    let router = router.build().unwrap().router();
    let answer = send(&router, post("/collect", format!("[{EVENT},1]"))).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    // Tried again, it must not be there twice.
    assert!(shop.events.records().is_empty());
}

/// A sink that waits for a permit before each write.
#[derive(Debug, Clone)]
struct Gated {
    table: MemoryTable<Event>,
    gate: Arc<Semaphore>,
}

impl Gated {
    fn new() -> Self {
        Self {
            table: MemoryTable::new(),
            gate: Arc::new(Semaphore::new(0)),
        }
    }
}

#[async_trait]
impl EventSink for Gated {
    async fn write(&self, events: Vec<Event>) -> Result<Receipt> {
        self.gate.acquire().await.unwrap().forget();
        let receipt = self.table.write(events).await?;
        Ok(Receipt {
            durability: Durability::Memory,
            ..receipt
        })
    }

    async fn flush(&self) -> Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn what_has_begun_is_finished_when_the_client_goes_away() {
    let sink = Gated::new();
    let collector = builder(Arc::new(sink.clone()), Arc::new(MemoryTable::new()));
    let collector = collector.build().unwrap();
    let mut answer = Box::pin(collector.router().oneshot(post("/collect", EVENT)));
    assert!(poll!(&mut answer).is_pending());
    drop(answer);
    assert!(sink.table.records().is_empty());
    sink.gate.add_permits(1);
    collector.drained().await;
    assert_eq!(sink.table.records().len(), 1);
}

#[tokio::test]
async fn a_request_without_room_is_refused_at_once() {
    let sink = Gated::new();
    let collector = builder(Arc::new(sink.clone()), Arc::new(MemoryTable::new()));
    let collector = collector.body_limit(1 << 10).in_flight_limit(8 << 10);
    let collector = collector.build().unwrap();
    let router = collector.router();
    let mut served: Vec<_> = (0..2)
        .map(|_| Box::pin(router.clone().oneshot(post("/collect", EVENT))))
        .collect();
    for answer in &mut served {
        assert!(poll!(answer).is_pending());
    }
    for _ in 0..100 {
        let answer = send(&router, post("/collect", EVENT)).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
    sink.gate.add_permits(3);
    for answer in served {
        assert_eq!(answer.await.unwrap().status(), StatusCode::ACCEPTED);
    }
    assert_eq!(
        send(&router, post("/collect", EVENT))
            .await
            .accepted()
            .accepted,
        1
    );
    assert_eq!(sink.table.records().len(), 3);
}

#[tokio::test]
async fn what_a_body_holds_takes_room_too() {
    // A hit whose two products repeat the client: 33 KiB become more than 99.
    let hit = format!("/pixel?cid={}&pa=add&pr1id=a&pr2id=b", "c".repeat(33 << 10));
    let shop = Shop::default();
    for (in_flight_limit, status) in [(96 << 10, 413), (128 << 10, 200)] {
        let builder = shop.builder().body_limit(64 << 10);
        let collector = builder.in_flight_limit(in_flight_limit).build().unwrap();
        let answer = send(&collector.router(), get(&hit)).await;
        assert_eq!(answer.status, status, "{in_flight_limit}");
    }
    assert_eq!(shop.events.records().len(), 2);
}

#[test]
fn limits_that_allow_nothing_are_refused() {
    let shop = Shop::default();
    let check = |builder: reco_ingest::http::CollectorBuilder, expected: &str| {
        let error = builder.build().unwrap_err().to_string();
        assert_eq!(error, format!("the collector is invalid: {expected}"));
    };
    check(shop.builder().body_limit(0), "`body_limit` is 0");
    check(shop.builder().batch_limit(0), "`batch_limit` is 0");
    check(
        shop.builder().body_timeout(Duration::ZERO),
        "`body_timeout` is 0",
    );
    check(
        shop.builder().in_flight_limit(1 << 10),
        "`in_flight_limit` is less than `body_limit` or 4 KiB",
    );
    check(shop.builder().tenants([]), "`tenants` is empty");
}
