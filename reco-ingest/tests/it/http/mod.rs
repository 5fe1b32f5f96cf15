//! The collector through its routes.

mod answers;
mod collect;
mod keys;
mod overload;
mod pixel;
mod socket;

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use bytes::Bytes;
use reco_core::{Event, EventSink, Timestamp};
use reco_ingest::axum;
use reco_ingest::http::{Accepted, Collector, CollectorBuilder};
use reco_ingest::{DeadLetter, MemoryTable};
use tower::ServiceExt;

/// When everything is received.
const NOW: &str = "2024-05-01T12:00:00Z";

/// The tables behind a collector.
#[derive(Debug, Default)]
struct Shop {
    events: MemoryTable<Event>,
    dead_letters: MemoryTable<DeadLetter>,
}

impl Shop {
    fn builder(&self) -> CollectorBuilder {
        builder(
            Arc::new(self.events.clone()),
            Arc::new(self.dead_letters.clone()),
        )
    }

    fn router(&self) -> Router {
        self.builder().build().unwrap().router()
    }
}

fn builder(
    events: Arc<dyn EventSink>,
    dead_letters: Arc<dyn EventSink<DeadLetter>>,
) -> CollectorBuilder {
    let now: Timestamp = NOW.parse().unwrap();
    Collector::builder(events, dead_letters, move || now)
}

/// An answer, read to its end.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    fn accepted(&self) -> Accepted {
        assert_eq!(self.status, StatusCode::ACCEPTED, "{self:?}");
        serde_json::from_slice(&self.body).unwrap()
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

async fn send(router: &Router, request: Request<Body>) -> Answer {
    let response = router.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    Answer {
        status: parts.status,
        headers: parts.headers,
        body: to_bytes(body, usize::MAX).await.unwrap(),
    }
}

fn post(uri: &str, body: impl Into<Body>) -> Request<Body> {
    Request::post(uri).body(body.into()).unwrap()
}

fn get(uri: &str) -> Request<Body> {
    Request::get(uri).body(Body::empty()).unwrap()
}
