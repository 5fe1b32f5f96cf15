//! Single events over HTTP, acknowledged after they are synced to disk, beside the same server whose handler
//! parses them and drops them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, Throughput};
use reco_core::{Event, Timestamp};
use reco_ingest::axum::Router;
use reco_ingest::axum::body::Bytes;
use reco_ingest::axum::http::StatusCode;
use reco_ingest::axum::routing::post;
use reco_ingest::http::Collector;
use reco_ingest::http::decode::{Framing, Origin, json};
use reco_ingest::{DeadLetter, DeltaTable, DrainConfig, SpoolConfig, Spooled, axum};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

use super::load::{Load, post_events};

const N_CONNECTIONS: usize = 64;

#[expect(clippy::print_stderr, reason = "a bench is the host")]
pub(crate) fn collect(c: &mut Criterion) {
    #[expect(clippy::disallowed_methods, reason = "a bench is the host")]
    let server = Runtime::new().unwrap();
    // One thread makes the load, so that the server has a core for itself where there are two.
    let client = Builder::new_current_thread().enable_all().build().unwrap();
    let dropped = server.block_on(serve(parse_and_drop()));
    let spool = server.block_on(Spool::open());
    let acknowledged = server.block_on(serve(spool.router()));
    let mut first_id = 0;
    let mut load = |address, n_requests| {
        first_id += n_requests;
        client.block_on(post_events(address, N_CONNECTIONS, n_requests, first_id))
    };

    let mut group = c.benchmark_group("collect, requests/s over 64 connections");
    group
        .throughput(Throughput::Elements(1))
        .sample_size(10)
        .measurement_time(Duration::from_secs(10));
    for (name, address) in [
        ("parsed and dropped", dropped),
        ("acknowledged after fsync", acknowledged),
    ] {
        group.bench_function(name, |b| {
            b.iter_custom(|n| load(address, usize::try_from(n).unwrap()).elapsed);
        });
    }
    group.finish();

    // In turns, so that a noisy machine hits both.
    let is_test = std::env::args().any(|arg| arg == "--test");
    let (n_rounds, n_requests) = if is_test { (1, 640) } else { (5, 200_000) };
    let rounds: Vec<(Load, Load)> = (0..n_rounds)
        .map(|_| {
            let rounds = (load(dropped, n_requests), load(acknowledged, n_requests));
            server.block_on(spool.wait());
            rounds
        })
        .collect();
    report(
        "parsed and dropped",
        rounds.iter().map(|(dropped, _)| dropped),
    );
    report(
        "acknowledged after fsync",
        rounds.iter().map(|(_, acknowledged)| acknowledged),
    );
    let ratios: Vec<f64> = rounds
        .iter()
        .map(|(dropped, acknowledged)| acknowledged.per_second() / dropped.per_second())
        .collect();
    eprintln!("ratio of each round: {ratios:.2?}");
    server.block_on(spool.close());
}

#[expect(clippy::print_stderr, reason = "a bench is the host")]
fn report<'a>(name: &str, rounds: impl Iterator<Item = &'a Load>) {
    for load in rounds {
        eprintln!(
            "{name}: {:.0} requests/s, p50 {:?}, p99 {:?}, slowest {:?}",
            load.per_second(),
            load.percentile(50),
            load.percentile(99),
            load.percentile(100),
        );
    }
}

fn parse_and_drop() -> Router {
    Router::new().route(
        "/collect",
        post(async |body: Bytes| {
            let origin = Origin {
                endpoint: "/collect",
                tenant: None,
                received_at: Timestamp::now(),
                request: None,
                max_events: 1,
            };
            let decoded = json(&body, Framing::Detect, &origin).unwrap();
            assert_eq!(decoded.events.len(), 1);
            StatusCode::ACCEPTED
        }),
    )
}

/// A collector over a table, with its folder.
struct Spool {
    events: Spooled<Event>,
    dead_letters: Spooled<DeadLetter>,
    folder: TempDir,
}

impl Spool {
    async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let events = DeltaTable::<Event>::open_local(at("events")).await.unwrap();
        let dead_letters = DeltaTable::open_local(at("dead_letters")).await.unwrap();
        let config = SpoolConfig::at;
        Self {
            events: events.spooled(config(at("events.spool"))).await.unwrap(),
            dead_letters: dead_letters
                .spooled(config(at("dead_letters.spool")))
                .await
                .unwrap(),
            folder,
        }
    }

    fn router(&self) -> Router {
        let (events, dead_letters) = (self.events.clone(), self.dead_letters.clone());
        Collector::builder(Arc::new(events), Arc::new(dead_letters), Timestamp::now)
            .build()
            .unwrap()
            .router()
    }

    // Until a drain that is under way has ended: it would slow the other server down, and is part of each round.
    async fn wait(&self) {
        let max_rows = u64::try_from(DrainConfig::default().max_rows).unwrap();
        while self.events.status().records >= max_rows {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn close(self) {
        self.events.close().await.unwrap();
        self.dead_letters.close().await.unwrap();
        self.folder.close().unwrap();
    }
}

async fn serve(router: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}
