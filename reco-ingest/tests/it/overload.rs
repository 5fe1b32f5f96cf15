//! A collector that is offered five times what it can take: it refuses the rest, says so, and its memory
//! stays flat.
//!
//! The test runs itself as a child process, a collector over a small spool. It measures what the child
//! takes when every client waits for its answer, then posts five times as many events of the synthetic shop a second,
//! whatever is answered, and counts.
//!
//! Four seconds by default. For more, say how many:
//!
//! ```sh
//! RECO_OVERLOAD_SECONDS=600 cargo nextest run --workspace --all-features -E 'test(overload::)' --no-capture
//! ```

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::future::join_all;
use reco_core::object_store::local::LocalFileSystem;
use reco_core::testing::{SyntheticShop, SyntheticShopConfig};
use reco_core::{Event, Timestamp};
use reco_ingest::http::Collector;
use reco_ingest::{DeltaTable, DrainConfig, MemoryTable, SpoolConfig, axum};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::{Instant, interval, sleep_until};

use crate::faulty::Faulty;

const DIR: &str = "RECO_OVERLOAD_DIR";
const SECONDS: &str = "RECO_OVERLOAD_SECONDS";
const N_CONNECTIONS: u32 = 64;
const BATCH: usize = 50;
const OVERLOAD: f64 = 5.0;

#[expect(
    clippy::disallowed_methods,
    reason = "the parameters of a child process and of a long run come with it"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// A table in a folder, whose store takes its time.
async fn table(dir: &Path, delay: Duration) -> DeltaTable {
    let store = Arc::new(LocalFileSystem::new_with_prefix(dir).unwrap());
    let store = Arc::new(Faulty::distant(store, delay));
    DeltaTable::open(store, "raw").await.unwrap()
}

/// The child: it has little room and no patience, and its table is far away.
#[tokio::test]
#[ignore = "it is the child process of the test below"]
async fn collector() {
    let dir = PathBuf::from(variable(DIR).unwrap());
    let config = SpoolConfig {
        max_bytes: 2 << 20,
        max_wait: Duration::from_millis(20),
        drain: DrainConfig {
            max_rows: 1000,
            max_age: Duration::from_millis(500),
            ..DrainConfig::default()
        },
        ..SpoolConfig::at(dir.join("spool"))
    };
    let sink = table(&dir, Duration::from_millis(50))
        .await
        .spooled(config)
        .await
        .unwrap();
    let letters = Arc::new(MemoryTable::new());
    let collector = Collector::builder(Arc::new(sink), letters, Timestamp::now)
        .in_flight_limit(4 << 20)
        .build()
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("\nlistening {}", listener.local_addr().unwrap());
    axum::serve(listener, collector.router()).await.unwrap();
}

/// A child, where it listens, and its output: it ends when it finds that closed.
async fn spawn(dir: &Path) -> (Child, String, Lines<BufReader<ChildStdout>>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "overload::collector", "--ignored", "--nocapture"])
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    loop {
        let line = lines.next_line().await.unwrap().expect("the child ended");
        if let Some(address) = line.strip_prefix("listening ") {
            return (child, address.to_owned(), lines);
        }
    }
}

/// Bodies of events of the synthetic shop.
fn bodies() -> Vec<String> {
    let shop = SyntheticShop::new(SyntheticShopConfig::default()).unwrap();
    let events: Vec<_> = shop.events().take(100 * BATCH).collect();
    let one = |event: &Event| {
        serde_json::json!({
            "id": event.id, "kind": event.kind, "client": event.client,
            "item": event.item.as_ref().map(|item| item.as_str()),
            "occurred_at": event.occurred_at.to_string(), "price": event.price,
        })
        .to_string()
    };
    let body = |events: &[Event]| events.iter().map(one).collect::<Vec<_>>().join("\n");
    events.chunks(BATCH).map(body).collect()
}

/// How many events were offered, and what became of them.
#[derive(Debug, Default)]
struct Counts {
    offered: AtomicU64,
    accepted: AtomicU64,
    refused: AtomicU64,
}

impl Counts {
    fn read(&self) -> [u64; 3] {
        [&self.offered, &self.accepted, &self.refused].map(|n| n.load(Ordering::SeqCst))
    }

    async fn post(&self, stream: &mut TcpStream, body: &str) {
        self.offered.fetch_add(BATCH as u64, Ordering::SeqCst);
        let head = format!(
            "POST /collect HTTP/1.1\r\nhost: shop\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(body.as_bytes()).await.unwrap();
        let (status, answer) = read_answer(stream).await;
        assert!(matches!(status, 202 | 503), "{status}: {answer}");
        let counter = if status == 202 {
            &self.accepted
        } else {
            &self.refused
        };
        counter.fetch_add(BATCH as u64, Ordering::SeqCst);
    }
}

async fn read_answer(stream: &mut TcpStream) -> (u16, String) {
    let mut bytes = Vec::new();
    loop {
        assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0);
        let text = std::str::from_utf8(&bytes).unwrap();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let n_body = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        if body.len() == n_body.map_or(0, |n| n.parse().unwrap()) {
            return (head[9..12].parse().unwrap(), body.to_owned());
        }
    }
}

/// Posts one body after the other, until a time.
async fn patient(address: &str, bodies: &[String], counts: &Counts, end: Instant) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    for body in bodies.iter().cycle() {
        if Instant::now() >= end {
            break;
        }
        counts.post(&mut stream, body).await;
    }
}

/// Posts a body a period, whatever is answered, until a time.
async fn hurried(
    address: &str,
    bodies: &[String],
    counts: &Counts,
    start: Instant,
    period: Duration,
    end: Instant,
) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut next = start;
    for body in bodies.iter().cycle() {
        if next >= end {
            break;
        }
        sleep_until(next).await;
        counts.post(&mut stream, body).await;
        next += period;
    }
}

/// The resident memory of a process, in bytes.
fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.unwrap().trim().trim_end_matches(" kB");
    kib.parse::<u64>().unwrap() * 1024
}

/// The most memory that a process takes from now until a time, which is in the future.
async fn peak(pid: u32, end: Instant) -> u64 {
    let mut ticks = interval(Duration::from_millis(50));
    let mut most = 0;
    while Instant::now() < end {
        most = most.max(resident(pid));
        ticks.tick().await;
    }
    most
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_much_is_refused_in_flat_memory() {
    let seconds: f64 = variable(SECONDS).map_or(4.0, |n| n.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let (mut child, address, _output) = spawn(dir.path()).await;
    let pid = child.id().unwrap();
    let (bodies, calm, busy) = (bodies(), Counts::default(), Counts::default());

    // What it takes once its spool is full: as much as goes into the table.
    let mut n_calm = 0;
    let mut sustained = 0.0;
    for _ in 0..2 {
        let calm_time = Duration::from_secs_f64(seconds.clamp(2.0, 20.0));
        let end = Instant::now() + calm_time;
        join_all((0..N_CONNECTIONS).map(|_| patient(&address, &bodies, &calm, end))).await;
        let [_, accepted, _] = calm.read();
        sustained = (accepted - n_calm) as f64 / calm_time.as_secs_f64();
        n_calm = accepted;
    }

    let start = Instant::now();
    let (middle, end) = (
        start + Duration::from_secs_f64(seconds / 2.0),
        start + Duration::from_secs_f64(seconds),
    );
    let period =
        Duration::from_secs_f64(f64::from(N_CONNECTIONS) * BATCH as f64 / (OVERLOAD * sustained));
    let posts = (0..N_CONNECTIONS).map(|connection| {
        let offset = period * connection / N_CONNECTIONS;
        hurried(&address, &bodies, &busy, start + offset, period, end)
    });
    let peaks = async { (peak(pid, middle).await, peak(pid, end).await) };
    let (_, (first, second)) = futures::join!(join_all(posts), peaks);

    let [offered, accepted, refused] = busy.read();
    println!(
        "sustained {sustained:.0} events/s; offered {:.0} a second for {seconds} s: {offered} offered, \
         {accepted} accepted, {refused} refused; at most {} MiB, then {} MiB resident",
        offered as f64 / start.elapsed().as_secs_f64(),
        first >> 20,
        second >> 20,
    );
    assert_eq!(accepted + refused, offered);
    assert!(refused > accepted, "it was not overloaded");
    assert!(second < first + first / 4 + (16 << 20), "memory grows");

    // What was acknowledged is in the table once the spool is drained.
    child.kill().await.unwrap();
    let table = table(dir.path(), Duration::ZERO).await;
    let config = SpoolConfig::at(dir.path().join("spool"));
    let spool = table.clone().spooled(config).await.unwrap();
    spool.close().await.unwrap();
    let n_rows = crate::shop::count(&table).await;
    assert_eq!(n_rows, n_calm + accepted);
}
