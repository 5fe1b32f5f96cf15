//! A collector that is killed at any moment, again and again: what it acknowledged is in the table once.
//!
//! The test runs itself as a child process: a [`Collector`](http::Collector) on the loopback over spooled tables of events
//! and dead letters. The parent posts, notes what was acknowledged, and kills the child with SIGKILL: while
//! it opens, writes, drains or trims.
//!
//! Eight kills by default. For more, say how many:
//!
//! ```sh
//! RECO_KILLS=200 cargo nextest run --workspace --all-features -E 'test(kill::)' --no-capture
//! ```

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::join_all;
use reco_core::{Event, RawTable, Record, TimeWindow, Timestamp};
use reco_ingest::{DeadLetter, DeltaTable, DrainConfig, SpoolConfig, Spooled, axum, http};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::Notify;

use crate::shop::collect;

const DIR: &str = "RECO_KILL_DIR";
const KILLS: &str = "RECO_KILLS";
const N_CONNECTIONS: usize = 8;

#[expect(
    clippy::disallowed_methods,
    reason = "the parameters of a child process and of a long run come with it"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// An event as it is posted: its bytes follow from its id, so that any that is changed is noticed.
fn event_of(id: &str) -> String {
    let padding = id.repeat(1 + id.len() * 7 % 40);
    format!(r#"{{"id":"{id}","kind":"detail","client":"c","padding":"{padding}"}}"#)
}

/// What is posted and is no event.
fn letter_of(id: &str) -> String {
    format!(r#""{id} is no event""#)
}

async fn open<E: Record>(dir: &Path, name: &str) -> (DeltaTable<E>, Spooled<E>) {
    let table = DeltaTable::open_local(dir.join(name)).await.unwrap();
    // Small commits all the time, so that kills hit them too.
    let config = SpoolConfig {
        drain: DrainConfig {
            max_rows: 64,
            max_age: Duration::from_millis(20),
            ..DrainConfig::default()
        },
        ..SpoolConfig::at(dir.join(name).with_extension("spool"))
    };
    let sink = table.clone().spooled(config).await.unwrap();
    (table, sink)
}

/// The child.
#[tokio::test]
#[ignore = "it is the child process of the test below"]
async fn collector() {
    let dir = PathBuf::from(variable(DIR).unwrap());
    let (_, events) = open::<Event>(&dir, "events").await;
    let (_, letters) = open::<DeadLetter>(&dir, "letters").await;
    let router = http::collect(Arc::new(events), Arc::new(letters), Timestamp::now);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("\nlistening {}", listener.local_addr().unwrap());
    axum::serve(listener, router).await.unwrap();
}

/// The numbers of a seeded generator (splitmix64).
struct Seeded(u64);

impl Seeded {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % n
    }
}

fn spawn(dir: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::collector", "--ignored", "--nocapture"])
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// Where a child listens, once it does.
async fn address(child: &mut Child) -> String {
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    loop {
        let line = lines.next_line().await.unwrap().expect("the child ended");
        if let Some(address) = line.strip_prefix("listening ") {
            return address.to_owned();
        }
    }
}

/// What the parent knows of what it sent, as the bytes of each event and of what is none.
#[derive(Default)]
struct Sent {
    all: HashSet<String>,
    acknowledged: Vec<String>,
}

/// Posts batches and waits for each to be acknowledged, until the child is gone.
async fn send(
    address: String,
    name: String,
    n_acknowledged: Arc<AtomicUsize>,
    one: Arc<Notify>,
) -> Sent {
    let (mut sent, client) = (Sent::default(), reqwest::Client::new());
    for batch in 0.. {
        let mut parts: Vec<_> = (0..1 + batch % 3)
            .map(|i| event_of(&format!("{name}-{batch}-{i}")))
            .collect();
        if batch % 4 == 3 {
            parts.push(letter_of(&format!("{name}-{batch}")));
        }
        sent.all.extend(parts.iter().cloned());
        let body = format!("[{}]", parts.join(","));
        let url = format!("http://{address}/collect");
        match client.post(url).body(body).send().await {
            Ok(answer) => assert_eq!(answer.status(), 202),
            Err(_) => break,
        }
        sent.acknowledged.extend(parts);
        n_acknowledged.fetch_add(1, Ordering::SeqCst);
        one.notify_one();
    }
    sent
}

/// One life of the child, of so many acknowledged batches, or of so many milliseconds from its start.
async fn live(dir: &Path, life: usize, random: &mut Seeded) -> Sent {
    let mut child = spawn(dir);
    let address = if random.below(4) == 0 {
        // Killed while it opens, perhaps.
        let patience = Duration::from_millis(random.below(200));
        tokio::time::timeout(patience, address(&mut child))
            .await
            .ok()
    } else {
        Some(address(&mut child).await)
    };
    let mut sent = Sent::default();
    if let Some(address) = address {
        let n_batches = usize::try_from(random.below(150)).unwrap();
        let (n_acknowledged, one) = (Arc::<AtomicUsize>::default(), Arc::<Notify>::default());
        let senders: Vec<_> = (0..N_CONNECTIONS)
            .map(|connection| {
                let name = format!("{life}-{connection}");
                let (n_acknowledged, one) = (Arc::clone(&n_acknowledged), Arc::clone(&one));
                tokio::spawn(send(address.clone(), name, n_acknowledged, one))
            })
            .collect();
        while n_acknowledged.load(Ordering::SeqCst) < n_batches {
            one.notified().await;
        }
        child.kill().await.unwrap();
        for part in join_all(senders).await {
            let part = part.unwrap();
            sent.all.extend(part.all);
            sent.acknowledged.extend(part.acknowledged);
        }
    } else {
        child.kill().await.unwrap();
    }
    sent
}

#[tokio::test]
async fn a_collector_that_is_killed_keeps_what_it_acknowledged() {
    let n_kills = variable(KILLS).map_or(8, |n| n.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let mut random = Seeded(7);
    let mut sent = Sent::default();
    for life in 0..n_kills {
        let part = live(dir.path(), life, &mut random).await;
        sent.all.extend(part.all);
        sent.acknowledged.extend(part.acknowledged);
    }

    let (events, letters) = (
        drained::<Event>(dir.path(), "events").await,
        drained::<DeadLetter>(dir.path(), "letters").await,
    );
    for event in &events {
        assert_eq!(event.payload, event_of(&event.id));
    }
    let payloads = events.iter().map(|event| &event.payload);
    let payloads = payloads.chain(letters.iter().map(|letter| &letter.payload));
    let mut times: HashMap<&str, usize> = HashMap::new();
    for payload in payloads {
        let payload = std::str::from_utf8(payload).unwrap();
        assert!(sent.all.contains(payload), "`{payload}` was never sent");
        *times.entry(payload).or_default() += 1;
    }
    let doubled: Vec<_> = times.iter().filter(|(_, n)| **n > 1).collect();
    assert!(doubled.is_empty(), "there twice: {doubled:?}");
    let is_there = |payload: &&String| times.contains_key(payload.as_str());
    let lost: Vec<_> = sent
        .acknowledged
        .iter()
        .filter(|payload| !is_there(payload))
        .collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    assert!(!sent.acknowledged.is_empty());
    assert!(!letters.is_empty());
    println!(
        "{n_kills} kills: {} events and dead letters acknowledged, all in the tables once; {} of {} others in them",
        sent.acknowledged.len(),
        times.len() - sent.acknowledged.len(),
        sent.all.len() - sent.acknowledged.len(),
    );
}

/// What a table holds once its spool is drained.
async fn drained<E: Record>(dir: &Path, name: &str) -> Vec<E> {
    let (table, sink) = open::<E>(dir, name).await;
    sink.close().await.unwrap();
    let scan = table.scan(TimeWindow::ALL).await.unwrap();
    collect::<E>(scan).await.unwrap()
}
