//! A collector that is killed at any moment, again and again: what it acknowledged is in the table once.
//!
//! The test runs itself as a child process: a server on the loopback that writes what it is sent into a
//! [`Spooled`](reco_ingest::Spooled) table and answers once that has returned. The parent sends, notes
//! what was acknowledged, and kills the child with SIGKILL: while it opens, writes, drains or trims.
//!
//! Eight kills by default. For more, say how many:
//!
//! ```sh
//! RECO_KILLS=200 cargo nextest run --all-features -p reco-ingest -E 'test(kill::)' --no-capture
//! ```

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::join_all;
use reco_core::{Event, EventSink, RawTable, TimeWindow};
use reco_ingest::{DeltaTable, DrainConfig, SpoolConfig, Spooled};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::sync::Notify;

use crate::shop::{collect, event};

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

/// The event of an id: its payload follows from it, so that any byte that is changed is noticed.
fn event_of(id: &str) -> Event {
    let n_times = 1 + id.len() * 7 % 40;
    Event {
        payload: id.repeat(n_times).into_bytes().into(),
        ..event(id, "2024-05-01T12:00:00Z")
    }
}

async fn open(dir: &Path) -> (DeltaTable, Spooled) {
    let table = DeltaTable::open_local(dir.join("raw")).await.unwrap();
    // Small commits all the time, so that kills hit them too.
    let config = SpoolConfig {
        drain: DrainConfig {
            max_rows: 64,
            max_age: Duration::from_millis(20),
            ..DrainConfig::default()
        },
        ..SpoolConfig::at(dir.join("spool"))
    };
    let sink = table.clone().spooled(config).await.unwrap();
    (table, sink)
}

/// The child: takes lines of ids, one batch a line, and answers with the line once it is acknowledged.
#[tokio::test]
#[ignore = "it is the child process of the test below"]
async fn collector() {
    let dir = variable(DIR).unwrap();
    let (_table, sink) = open(Path::new(&dir)).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("\nlistening {}", listener.local_addr().unwrap());
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let sink = sink.clone();
        drop(tokio::spawn(async move {
            let (from, mut to) = stream.into_split();
            let mut lines = BufReader::new(from).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                sink.write(line.split(' ').map(event_of).collect())
                    .await
                    .unwrap();
                to.write_all(format!("{line}\n").as_bytes()).await.unwrap();
            }
        }));
    }
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

/// What the parent knows of what it sent.
#[derive(Default)]
struct Sent {
    all: HashSet<String>,
    acknowledged: Vec<String>,
}

/// Sends batches and waits for each to be acknowledged, until the child is gone.
async fn send(
    address: String,
    name: String,
    n_acknowledged: Arc<AtomicUsize>,
    one: Arc<Notify>,
) -> Sent {
    let mut sent = Sent::default();
    let Ok(stream) = TcpStream::connect(address).await else {
        return sent;
    };
    let (from, mut to) = stream.into_split();
    let mut answers = BufReader::new(from).lines();
    for batch in 0.. {
        let ids: Vec<_> = (0..1 + batch % 3)
            .map(|i| format!("{name}-{batch}-{i}"))
            .collect();
        let line = ids.join(" ");
        sent.all.extend(ids.iter().cloned());
        if to.write_all(format!("{line}\n").as_bytes()).await.is_err() {
            break;
        }
        match answers.next_line().await {
            Ok(Some(answer)) if answer == line => sent.acknowledged.extend(ids),
            _ => break,
        }
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

    let (table, sink) = open(dir.path()).await;
    sink.close().await.unwrap();
    let scan = table.scan(TimeWindow::ALL).await.unwrap();
    let found = collect::<Event>(scan).await.unwrap();
    let mut times: HashMap<&str, usize> = HashMap::new();
    for event in &found {
        assert!(
            sent.all.contains(&event.id),
            "`{}` was never sent",
            event.id
        );
        assert_eq!(*event, event_of(&event.id));
        *times.entry(&event.id).or_default() += 1;
    }
    let doubled: Vec<_> = times.iter().filter(|(_, n)| **n > 1).collect();
    assert!(doubled.is_empty(), "there twice: {doubled:?}");
    let is_there = |id: &&String| times.contains_key(id.as_str());
    let lost: Vec<_> = sent
        .acknowledged
        .iter()
        .filter(|id| !is_there(id))
        .collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    assert!(!sent.acknowledged.is_empty());
    println!(
        "{n_kills} kills: {} events acknowledged, all in the table once; {} of {} others in it; {} commits",
        sent.acknowledged.len(),
        found.len() - sent.acknowledged.len(),
        sent.all.len() - sent.acknowledged.len(),
        table.version().await.unwrap(),
    );
}
