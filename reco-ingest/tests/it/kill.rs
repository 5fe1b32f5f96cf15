//! A collector that is killed at any moment, again and again: what it acknowledged is in the table once.
//!
//! The test runs itself as a child process: a [`Collector`](http::Collector) on the loopback over spooled tables of events
//! and dead letters. The parent posts, notes what was acknowledged, and kills the child with SIGKILL: while
//! it opens, writes, drains or trims. Kills at chosen points are in the tests of the spool itself.
//!
//! Eight kills by default. For more, say how many:
//!
//! ```sh
//! RECO_KILLS=200 cargo nextest run --workspace --all-features -E 'test(kill::)' --no-capture
//! ```

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reco_core::{Event, RawTable, Record, TimeWindow, Timestamp};
use reco_ingest::{DeadLetter, DeltaTable, DrainConfig, SpoolConfig, Spooled, http};

use crate::posting::{Process, Seeded, Senders, Sent, serve, variable};
use crate::shop::collect;

const DIR: &str = "RECO_KILL_DIR";
const KILLS: &str = "RECO_KILLS";

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
    serve(router, |address| println!("\nlistening {address}")).await;
}

/// One life of the child, of so many acknowledged batches, or of so many milliseconds from its start.
async fn live(dir: &Path, life: usize, random: &mut Seeded) -> Sent {
    let mut child = Process::spawn("kill::collector", &[(DIR, dir.to_str().unwrap())]);
    let listening = child.says(&["listening"]);
    let said = if random.below(4) == 0 {
        // Killed while it opens, perhaps.
        let patience = Duration::from_millis(random.below(200));
        tokio::time::timeout(patience, listening).await.ok()
    } else {
        Some(listening.await)
    };
    let Some((_, address)) = said else {
        child.kill().await;
        return Sent::default();
    };
    let n_batches = usize::try_from(random.below(150)).unwrap();
    let senders = Senders::start(&address, &life.to_string());
    let is_enough = senders.until(|answers| answers.n_acknowledged() >= n_batches);
    assert!(is_enough.await, "the child ended");
    child.kill().await;
    senders.end().await
}

#[tokio::test]
async fn a_collector_that_is_killed_keeps_what_it_acknowledged() {
    let n_kills = variable(KILLS).map_or(8, |n| n.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let mut random = Seeded(7);
    let mut sent = Sent::default();
    for life in 0..n_kills {
        sent.add(live(dir.path(), life, &mut random).await);
    }

    let (events, letters) = (
        drained::<Event>(dir.path(), "events").await,
        drained::<DeadLetter>(dir.path(), "letters").await,
    );
    let payloads = letters.iter().map(|letter| letter.payload.as_ref());
    let n_found = sent.check(&events, payloads, "killed");
    assert_eq!(sent.n_refused, 0);
    assert!(!sent.acknowledged.is_empty());
    assert!(!letters.is_empty());
    println!(
        "{n_kills} kills: {} events and dead letters acknowledged, all in the tables once; {} of {} others in them",
        sent.acknowledged.len(),
        n_found - sent.acknowledged.len(),
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
