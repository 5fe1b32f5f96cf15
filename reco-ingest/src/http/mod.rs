//! [`Collector`]: an axum router that takes events over HTTP and puts them into sinks.
//!
//! ```text
//! POST /collect ─▶ key ─▶ room ─▶ body ─▶ decode ─▶ quota ─▶ dead letters, then events ─▶ 202
//! GET, POST /pixel ───────────────┘                            └─ nobody waits? it still finishes
//! ```
//!
//! The host nests the router and binds the socket. What it promises is: **an answer of success means that
//! the sinks have accepted everything in the request**, as durably as the sinks make it. Everything else is
//! one of the answers below, and a browser is never told to send a malformed body again: what cannot be
//! read is a dead letter, with its bytes and the reason.
//!
//! # Routes
//!
//! | route | body | answer |
//! | --- | --- | --- |
//! | `POST /collect` | one event, an array of events, or an event a line, in JSON | 202 and [`Accepted`] |
//! | `GET /pixel` | – (the query is one hit of [`pixel`](crate::pixel)) | 200 and a GIF of one pixel |
//! | `POST /pixel` | a hit a line; without a body, the query is one | 200 and a GIF of one pixel |
//! | `GET /openapi.json` | – | 200 and this table for programs: [`OPENAPI`] |
//! | `GET /health` | – | 200 while the process answers |
//!
//! Which of the three forms a JSON body has is seen from the body, whatever its content type is, because
//! `navigator.sendBeacon` has to send `text/plain` where it must not ask first (a CORS preflight). Only
//! `application/x-ndjson` says that every line is an event of its own. A compressed body is not unpacked.
//!
//! # An event in JSON
//!
//! | member | type | without it |
//! | --- | --- | --- |
//! | `kind` | `pageview`, `detail`, `click`, `add`, `remove`, `purchase`, `search`, `custom` | a dead letter |
//! | `client` | text: the browser or device, a pseudonym | a dead letter |
//! | `id` | text: names the event; of two with the same one is a duplicate | a new UUID: two requests of the same bytes are two events, so a client that tries again must send one |
//! | `occurred_at` | time: RFC 3339, or milliseconds since 1970 | when it was received |
//! | `item`, `session`, `query`, `currency` | text | null |
//! | `price` | number | null |
//! | `quantity` | whole number | null |
//!
//! Texts may be written as whole numbers of 64 bits, and an empty text counts as none. Other members are
//! allowed: they are in the column `payload`, which holds the bytes of the event as they were sent. A member
//! of another type makes the event a dead letter; its neighbours in the body are accepted.
//!
//! # Shops and keys
//!
//! With [`tenants`](CollectorBuilder::tenants), a request must bring the key of one, and its events are that
//! tenant's, whatever the body says. The key is in the header `x-api-key`, in `authorization: Bearer …`, or in
//! the query as `key=…`, since a beacon cannot set headers; the first of them counts. A key that browsers send
//! is public by nature, and that of a `GET /pixel` is in the payload as part of the query.
//! Without tenants the collector is open, and events belong to the tenant `""`, or a hit's to its `tid`.
//!
//! # Other answers
//!
//! | status | when | try again? |
//! | --- | --- | --- |
//! | 400, 408 | the body ended early, or took longer than allowed | yes |
//! | 401 | no tenant has that key | no |
//! | 413 | the body is longer, or holds more events, than allowed | in parts |
//! | 429 | the tenant sends more events than its rate allows | after `retry-after` seconds |
//! | 503 | a sink is full or failed, or too many requests are being served | after `retry-after` seconds |
//!
//! Nothing of such a request is acknowledged. After a 503 some of it may have been accepted all the same, so
//! events that are tried again should have ids.
//!
//! # Requests that are delivered twice
//!
//! A request is named by its header `idempotency-key`, any bytes that its client chooses; without one, by
//! what carried it (feature `lambda`: the request id of API Gateway). Names of two tenants never meet.
//!
//! Events without an id of their own get one that is made of that name and their position, so a request
//! that is sent again makes the same events. [`Collector::per_request`] lands a name once: a second request
//! under it is answered like the first and writes nothing, **also if it holds something else**.
//! [`Collector::builder`] takes any sink, which knows nothing of requests: there, what is sent twice is
//! there twice, under the same ids.
//!
//! # Clients that go away
//!
//! Once a request is read, what it holds is written, also when its client goes away meanwhile: the write then
//! goes on as a task of its own.
//!
//! # Overload
//!
//! Bodies that are being read, and what they hold while it is written, count against
//! [`in_flight_limit`](CollectorBuilder::in_flight_limit); a request beyond it is answered with 503 at once and
//! never queued, so memory stays flat.
//!
//! # Shutdown
//!
//! Stop serving (`axum::serve(…).with_graceful_shutdown(…)`), wait for [`Collector::drained`], then close or
//! flush the sinks. The example `collect` does.

mod accept;
mod answer;
mod builder;
pub mod decode;
mod finished;
mod landing;
#[cfg(feature = "prometheus")]
mod prometheus;
mod read;
mod refusal;
mod request_id;
mod tenants;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{Method, header};
use axum::routing::{get, options, post};
use reco_core::{Event, EventSink, Timestamp};
use tokio::sync::Semaphore;
use tower_http::cors::{Any, CorsLayer};

use self::landing::{Landing, PerRequest, Sink};
use self::read::API_KEY;
use self::request_id::IDEMPOTENCY_KEY;
use self::tenants::Tenants;
use crate::delta::DeltaTable;
use crate::sink::DeadLetter;

pub use answer::{Accepted, MAX_REASONS, OPENAPI, Reason};
pub use builder::CollectorBuilder;
#[cfg(feature = "prometheus")]
pub use prometheus::metrics;
pub use tenants::{ApiKey, RateConfig, TenantConfig};

/// Takes events over HTTP and puts them into sinks.
///
/// Cloning is cheap and shares.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::sync::Arc;
///
/// use reco_core::Timestamp;
/// use reco_ingest::MemoryTable;
/// use reco_ingest::axum::Router;
/// use reco_ingest::http::Collector;
///
/// let (events, dead_letters) = (MemoryTable::new(), MemoryTable::new());
/// let collector = Collector::builder(Arc::new(events), Arc::new(dead_letters), Timestamp::now)
///     .body_limit(64 << 10)
///     .build()?;
/// let app: Router = Router::new().nest("/shop", collector.router());
/// # drop(app);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Collector {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    events: Arc<dyn Landing<Event>>,
    dead_letters: Arc<dyn Landing<DeadLetter>>,
    clock: Clock,
    tenants: Option<Tenants>,
    limits: Limits,
    room: Arc<Semaphore>,
}

#[derive(Debug, Clone)]
struct Limits {
    body_bytes: usize,
    body_timeout: Duration,
    max_events: usize,
    in_flight_bytes: usize,
}

#[derive(Clone)]
struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

impl Clock {
    // In whole microseconds, as tables keep times.
    fn now(&self) -> Timestamp {
        let now = (self.0)();
        Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
    }
}

impl Collector {
    /// A collector that puts events into a sink and what cannot be read into another.
    ///
    /// `clock` says when something is received: `Timestamp::now`.
    pub fn builder(
        events: Arc<dyn EventSink>,
        dead_letters: Arc<dyn EventSink<DeadLetter>>,
        clock: impl Fn() -> Timestamp + Send + Sync + 'static,
    ) -> CollectorBuilder {
        CollectorBuilder::new(
            Arc::new(Sink(events)),
            Arc::new(Sink(dead_letters)),
            Clock(Arc::new(clock)),
        )
    }

    /// A collector that commits every request to the tables by itself, once by its id, and answers when the
    /// commits are made: for hosts that have no disk and no time after the answer, such as AWS Lambda.
    ///
    /// What names a request stands in the [module](self#requests-that-are-delivered-twice). Every commit
    /// makes a file and leaves the id in the table's log: compact and vacuum the tables.
    pub fn per_request(
        events: DeltaTable<Event>,
        dead_letters: DeltaTable<DeadLetter>,
        clock: impl Fn() -> Timestamp + Send + Sync + 'static,
    ) -> CollectorBuilder {
        CollectorBuilder::new(
            Arc::new(PerRequest(events)),
            Arc::new(PerRequest(dead_letters)),
            Clock(Arc::new(clock)),
        )
    }

    /// The routes, for the host to nest. Any origin may call them.
    pub fn router(&self) -> Router {
        let allowed = CorsLayer::new()
            .allow_origin(Any)
            .allow_methods([Method::GET, Method::POST])
            .allow_headers([
                header::CONTENT_TYPE,
                header::AUTHORIZATION,
                API_KEY,
                IDEMPOTENCY_KEY,
            ])
            // Every origin is told the same.
            .vary([])
            .max_age(Duration::from_secs(24 * 60 * 60));
        // The layer answers what browsers ask first, and only that: around every request it costs far more
        // than the two headers that the other answers need, which they bring themselves.
        let asked = || options(answer::health).route_layer(allowed.clone());
        Router::new()
            .route("/collect", post(answer::collect).merge(asked()))
            .route(
                "/pixel",
                get(answer::pixel).post(answer::pixel).merge(asked()),
            )
            .route("/openapi.json", get(answer::openapi).merge(asked()))
            .route("/health", get(answer::health).merge(asked()))
            .with_state(Arc::clone(&self.shared))
    }

    /// Waits until no request is being served, one whose client has gone included.
    ///
    /// Stop serving first, or it may wait for ever.
    pub async fn drained(&self) {
        let all = units(self.shared.limits.in_flight_bytes);
        // The semaphore is never closed.
        drop(self.shared.room.acquire_many(all).await);
    }
}

/// The routes of a [`Collector`] with the default limits and without tenants.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
///
/// use reco_core::Timestamp;
/// use reco_ingest::{MemoryTable, http};
///
/// let (events, dead_letters) = (MemoryTable::new(), MemoryTable::new());
/// let router = http::collect(Arc::new(events), Arc::new(dead_letters), Timestamp::now);
/// # drop(router);
/// ```
pub fn collect(
    events: Arc<dyn EventSink>,
    dead_letters: Arc<dyn EventSink<DeadLetter>>,
    clock: impl Fn() -> Timestamp + Send + Sync + 'static,
) -> Router {
    Collector::builder(events, dead_letters, clock)
        .into_collector()
        .router()
}

// Room is counted in units of so many bytes.
const UNIT: usize = 1 << 10;

fn units(n_bytes: usize) -> u32 {
    u32::try_from(n_bytes.div_ceil(UNIT)).unwrap_or(u32::MAX)
}
