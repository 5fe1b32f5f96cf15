//! A collector that is killed at chosen points of its spools and tables: what it acknowledged is in the
//! table once.
//!
//! The test runs itself as a child process: a [`Collector`](crate::http::Collector) on the loopback over
//! spooled tables of events and dead letters, on the files of the system. An [`Operation`] of it, the
//! first of its kind, the second or a later one, says where it is and stops, before it is done or after;
//! the parent, which posts from several connections all along, then kills the child with SIGKILL. Then
//! the child is started again on the same folder, for the next kill; and at the end everything
//! acknowledged has to be in the tables, once and byte for byte, and nothing that was not sent.
//!
//! A second test does so while disks are full, syncs fail and the table loses answers or is slow: what is
//! refused is told so with 503 and when to try again, and the same holds of what is not.
//!
//! What the operating system holds survives a kill, so an acknowledgement ahead of the sync is not noticed
//! here, but where the power fails; one ahead of the write is, and so is a trim ahead of the commit.
//!
//! Every point is met twice by default, and every failure once. For more, say how many kills there are to
//! be, in about:
//!
//! ```sh
//! RECO_KILLS=200 cargo nextest run --workspace --all-features -E 'test(kills::)' --no-capture
//! ```

mod failing;
mod points;
#[path = "../../../../../tests/it/posting.rs"]
mod posting;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use reco_core::{Event, Record, Timestamp};

use self::points::{Fault, Operation, Points, Rule};
use self::posting::{Answers, Process, Seeded, Senders, Sent, serve, variable};
use super::super::storage::{Files, SystemFiles};
use super::super::{DrainConfig, SpoolConfig, Spooled};
use super::watched::Watched;
use super::{config, open, scan};
use crate::{DeadLetter, DeltaTable, http};

const DIR: &str = "RECO_KILLS_DIR";
const RULES: &str = "RECO_KILLS_RULES";
const KILLS: &str = "RECO_KILLS";
const TABLES: [&str; 2] = ["events", "letters"];

fn small(dir: &Path, table: &str) -> SpoolConfig {
    SpoolConfig {
        // Small commits all the time.
        drain: DrainConfig {
            max_rows: 64,
            max_age: Duration::from_millis(20),
            ..DrainConfig::default()
        },
        ..config(&dir.join(table).with_extension("spool"))
    }
}

/// The child.
#[tokio::test]
#[ignore = "it is the child process of the tests below"]
async fn collector() {
    let dir = PathBuf::from(variable(DIR).unwrap());
    let rules: Vec<Rule> = serde_json::from_str(&variable(RULES).unwrap()).unwrap();
    let events = open_at_points::<Event>(&dir, TABLES[0], &rules).await;
    let letters = open_at_points::<DeadLetter>(&dir, TABLES[1], &rules).await;
    let router = http::collect(Arc::new(events), Arc::new(letters), Timestamp::now);
    serve(router, |address| println!("\nlistening {address}")).await;
}

async fn open_at_points<E: Record>(dir: &Path, table: &str, rules: &[Rule]) -> Spooled<E> {
    let points = Arc::new(Points::of(table, rules));
    let files: Arc<dyn Files> = Arc::new(Watched(Arc::clone(&points)));
    let disk = Arc::clone(&points);
    let raw = DeltaTable::<E>::open_local_on(disk, &dir.join(table)).await;
    let sink = open(&raw.unwrap(), &small(dir, table), &files)
        .await
        .unwrap();
    points.opened();
    sink
}

// No two lives post the same.
static N_LIVES: AtomicUsize = AtomicUsize::new(0);

/// What the lives of a child on one folder were sent.
struct Lives {
    dir: tempfile::TempDir,
    sent: Sent,
}

impl Lives {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            sent: Sent::default(),
        }
    }

    /// One life of the child, until it stops, or there is enough of answers and of rules that it says
    /// have failed it; says whether it stopped, and of how many rules it said so.
    async fn live(
        &mut self,
        rules: &[Rule],
        is_enough: impl Fn(&Answers, usize) -> bool + Send + Sync,
    ) -> (bool, usize) {
        let life = N_LIVES.fetch_add(1, Ordering::SeqCst);
        let test = module_path!().split_once("::").unwrap().1;
        let variables = [
            (DIR, self.dir.path().to_str().unwrap()),
            (RULES, &serde_json::to_string(rules).unwrap()),
        ];
        let mut child = Process::spawn(&format!("{test}::collector"), &variables);
        let n_failed = AtomicUsize::new(0);
        let address = loop {
            match child.says(&["at ", "failed ", "listening "]).await {
                ("listening ", address) => break address,
                ("at ", _) => {
                    child.kill().await;
                    return (true, n_failed.into_inner());
                }
                _ => n_failed.fetch_add(1, Ordering::SeqCst),
            };
        };
        let senders = Senders::start(&address, &life.to_string());
        let stopped = {
            let is_enough = |answers: &_| is_enough(answers, n_failed.load(Ordering::SeqCst));
            let mut enough = std::pin::pin!(senders.until(is_enough));
            loop {
                tokio::select! {
                    (said, _) = child.says(&["at ", "failed "]) => {
                        if said == "at " {
                            break true;
                        }
                        n_failed.fetch_add(1, Ordering::SeqCst);
                        senders.answers.n_in_a_row.store(0, Ordering::SeqCst);
                    }
                    is_enough = &mut enough => {
                        assert!(is_enough, "{rules:?}: nobody posts any more");
                        break false;
                    }
                }
            }
        };
        child.kill().await;
        self.sent.add(senders.end().await);
        (stopped, n_failed.into_inner())
    }

    /// Starts the child once more, and compares what is in the tables with what was acknowledged.
    async fn check(mut self, at: &str) -> Sent {
        self.live(&[], |answers, _| answers.n_acknowledged() >= 20)
            .await;
        let events = self.drained::<Event>(TABLES[0]).await;
        let letters = self.drained::<DeadLetter>(TABLES[1]).await;
        let payloads = letters.iter().map(|letter| letter.payload.as_ref());
        self.sent.check(&events, payloads, at);
        self.sent
    }

    async fn drained<E: Record>(&self, table: &str) -> Vec<E> {
        let dir = self.dir.path();
        let raw = DeltaTable::<E>::open_local(dir.join(table)).await.unwrap();
        let files: Arc<dyn Files> = Arc::new(SystemFiles);
        // What is left goes in one large commit.
        let config = SpoolConfig {
            drain: DrainConfig::default(),
            ..small(dir, table)
        };
        let sink = open(&raw, &config, &files).await.unwrap();
        sink.close().await.unwrap();
        scan(&raw).await
    }
}

fn n_kills() -> Option<usize> {
    variable(KILLS).map(|n| n.parse().unwrap())
}

// Whether a life has to end though nothing happened.
fn is_over(answers: &Answers) -> bool {
    answers.n_acknowledged() >= 4000
}

fn at(table: &str, operation: Operation, fault: Fault, from: u64) -> Rule {
    Rule {
        table: table.to_owned(),
        operation,
        fault,
        from,
        n: 1,
    }
}

// The number of the operation that the kth kill of a kind is at.
fn number(k: usize, operation: Operation, random: &mut Seeded) -> u64 {
    match (k, operation) {
        (0, _) => 1,
        // What opens a spool comes first.
        (1, Operation::Write) => 40 + random.below(40),
        (1, Operation::Sync) => 10 + random.below(10),
        (1, _) => 3 + random.below(6),
        (2, _) => 2,
        (_, Operation::Write) => 1 + random.below(200),
        (_, Operation::Sync) => 1 + random.below(40),
        _ => 1 + random.below(12),
    }
}

#[tokio::test]
async fn what_was_acknowledged_is_in_the_table_once_wherever_it_is_killed() {
    let stops = [Fault::StopBefore, Fault::StopAfter];
    let n_points = Operation::ALL.len() * stops.len();
    let n_each = n_kills().map_or(2, |n| n.div_ceil(n_points));
    let (mut random, mut sent) = (Seeded(11), Sent::default());
    let (mut n_stopped, mut reached) = (0, HashSet::new());
    for (i, operation) in Operation::ALL.into_iter().enumerate() {
        let kills = (0..n_each).flat_map(|k| stops.map(|fault| (k, fault)));
        let kills: Vec<_> = kills.collect();
        let n_a_folder = if operation.is_of_new() {
            1
        } else {
            kills.len()
        };
        for kills in kills.chunks(n_a_folder) {
            let mut lives = Lives::new();
            for &(k, fault) in kills {
                let n = match n_a_folder {
                    1 => 1,
                    _ => number(k, operation, &mut random),
                };
                let rule = at(TABLES[(i + k) % 2], operation, fault, n);
                println!("{rule:?}");
                if lives.live(&[rule], |answers, _| is_over(answers)).await.0 {
                    n_stopped += 1;
                    reached.insert((operation, fault));
                }
            }
            sent.add(lives.check(&format!("{operation:?}")).await);
        }
    }
    assert_eq!(reached.len(), n_points, "{reached:?}");
    assert_eq!(sent.n_refused, 0);
    println!(
        "{n_stopped} kills at {n_points} points: {} of {} events and dead letters acknowledged, all in the tables once",
        sent.acknowledged.len(),
        sent.all.len(),
    );
}
