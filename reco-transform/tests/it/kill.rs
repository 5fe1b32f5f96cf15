//! Runs that are killed with SIGKILL at random points, while readers look on.
//!
//! A child process keeps a warehouse in a folder up to date with a shop that grows, hour after hour. Its
//! parent kills it again and again and starts it anew; meanwhile a reader opens the warehouse over and over.
//! Whatever it is shown fits together and has passed its audit, and in the end every table is what an
//! undisturbed run makes.
//!
//! ```sh
//! RECO_RUN_KILLS=100 cargo nextest run --workspace --all-features -E 'test(kill::a_warehouse)' --no-capture
//! ```

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use reco_core::{Event, Timestamp};
use reco_transform::datafusion::common::cast::as_int64_array;
use reco_transform::{
    Dag, Deduplicate, Incremental, Materialization, MinSupport, Reads, Sessionize, Warehouse,
    not_null, unique,
};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::sync::watch;

use crate::shop::{event, rows, source};

/// How many hours the shop is open, and how many events each has.
const N_HOURS: i64 = 12;
const N_EVENTS: i64 = 40;

const FOLDER: &str = "RECO_RUN_KILLS_FOLDER";
const HOUR: &str = "RECO_RUN_KILLS_HOUR";

#[expect(
    clippy::disallowed_methods,
    reason = "the parameters of a child process and of a long run come with it"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The events of the first hours; each client comes every half hour, some events come twice.
fn events(n_hours: i64) -> Vec<Event> {
    let mut events = Vec::new();
    for n in 0..n_hours * N_EVENTS {
        let minute = n * 60 / N_EVENTS;
        let (client, item) = (format!("client {}", n % 7), format!("item {}", n % 5));
        events.push(event(&n.to_string(), &client, minute, Some(&item)));
        if n % 9 == 0 {
            events.push(event(&n.to_string(), &client, minute, Some(&item)));
        }
    }
    events
}

fn shop(n_hours: i64) -> Dag {
    let begin = Timestamp::from_second(0).unwrap();
    Dag::builder()
        .source("events", source(&events(n_hours)))
        .step(Deduplicate::default())
        .sql(
            "clean",
            "select * from deduplicated where item_id is not null",
        )
        .step(Sessionize::default())
        .step(MinSupport {
            item: 1,
            session: 1,
            ..MinSupport::default()
        })
        .sql(
            "hourly",
            "select date_trunc('hour', occurred_at) as hour, item_id, count(*) as n
             from deduplicated group by 1, 2",
        )
        .incremental(
            "hourly",
            Incremental::hourly("hour", begin).reads("deduplicated", Reads::by("occurred_at")),
        )
        .sql(
            "last_seen",
            "select item_id, max(occurred_at) as at from deduplicated group by 1",
        )
        .incremental(
            "last_seen",
            Incremental::hourly("at", begin)
                .reads("deduplicated", Reads::by("occurred_at"))
                .merge(["item_id"]),
        )
        .expect("deduplicated", unique(["id"]))
        .expect("hourly", unique(["hour", "item_id"]))
        .expect("last_seen", unique(["item_id"]))
        .expect("interactions", not_null("item_id"))
        .materialize_others(Materialization::Delta)
        .build()
        .unwrap()
}

async fn run(warehouse: &Warehouse, n_hours: i64) {
    let until = Timestamp::from_second(n_hours * 3_600).unwrap();
    shop(n_hours).run_until(warehouse, until).await.unwrap();
}

fn warehouse(folder: &Path) -> Warehouse {
    Warehouse::at(folder.to_str().unwrap()).unwrap()
}

/// The child: goes on where the warehouse is.
#[tokio::test]
#[ignore = "the child process of the test below"]
async fn child() {
    let Some(folder) = variable(FOLDER) else {
        return;
    };
    let warehouse = warehouse(Path::new(&folder));
    let n_before: i64 = variable(HOUR).unwrap().parse().unwrap();
    for n_hours in n_before + 1..=N_HOURS {
        run(&warehouse, n_hours).await;
        println!("hour {n_hours}");
    }
    println!("closed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_warehouse_whose_runs_are_killed_is_as_if_they_were_not() {
    let n_kills = variable("RECO_RUN_KILLS").map_or(8, |kills| kills.parse().unwrap());
    let root = tempfile::tempdir().unwrap();
    let mut n_warehouses = 0;
    let folder = |n: usize| root.path().join(n.to_string());
    let (shown, look) = watch::channel(folder(0));
    let is_over = Arc::new(AtomicBool::new(false));
    let reader = tokio::spawn(look_on(look, Arc::clone(&is_over)));

    let since = Instant::now();
    let (mut n_killed, mut n_runs, mut n_hours) = (0, 0, 0_i64);
    let mut seed = 7_u64;
    loop {
        n_runs += 1;
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kill::child", "--ignored", "--nocapture"])
            .env(FOLDER, folder(n_warehouses))
            .env(HOUR, n_hours.to_string())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let delay = Duration::from_millis(200 + (seed >> 33) % 2_500);
        let told = async {
            while let Some(line) = lines.next_line().await.unwrap() {
                if let Some((_, hour)) = line.split_once("hour ") {
                    n_hours = hour.parse().unwrap();
                }
                if line.ends_with("closed") {
                    return true;
                }
            }
            false
        };
        let is_done = tokio::time::timeout(delay, told).await;
        match is_done {
            Ok(is_closed) => {
                assert!(
                    child.wait().await.unwrap().success() && is_closed,
                    "the child failed"
                );
                if n_killed >= n_kills {
                    break;
                }
                // All is there: another warehouse, for more kills.
                (n_warehouses, n_hours) = (n_warehouses + 1, 0);
                shown.send_replace(folder(n_warehouses));
            }
            Err(_) if n_killed < n_kills => {
                child.kill().await.unwrap();
                n_killed += 1;
            }
            Err(_) => {
                // Enough: this one may end.
                while let Some(line) = lines.next_line().await.unwrap() {
                    if line.ends_with("closed") {
                        break;
                    }
                }
                assert!(child.wait().await.unwrap().success(), "the child failed");
                break;
            }
        }
    }
    is_over.store(true, Ordering::SeqCst);
    let n_looks = reader.await.unwrap();

    let undisturbed = Warehouse::in_memory();
    run(&undisturbed, N_HOURS).await;
    let killed = warehouse(&folder(n_warehouses));
    for table in [
        "deduplicated",
        "clean",
        "sessions",
        "interactions",
        "hourly",
        "last_seen",
    ] {
        assert_eq!(
            rows(&killed, table).await,
            rows(&undisturbed, table).await,
            "{table}"
        );
    }
    println!(
        "{n_killed} kills of {n_runs} runs in {:?}; {n_looks} looks at whole states",
        since.elapsed()
    );
}

/// Looks at the newest state over and over, and says how often there was one.
async fn look_on(shown: watch::Receiver<PathBuf>, is_over: Arc<AtomicBool>) -> usize {
    let mut n_looks = 0;
    while !is_over.load(Ordering::SeqCst) {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let folder = shown.borrow().clone();
        let Some(state) = warehouse(&folder).state().await.unwrap() else {
            continue;
        };
        let tables = &state.contents.tables;
        assert_eq!(tables.len(), 6, "{:?}", tables.keys());
        for (name, table) in tables {
            assert!(
                table.made.checks.is_some(),
                "`{name}` has not passed its audit"
            );
        }
        let shown = warehouse(&folder).as_of_state(state.number).await.unwrap();
        let hourly = shown
            .table("hourly")
            .await
            .unwrap()
            .collect()
            .await
            .unwrap();
        let counts = hourly.iter().flat_map(|batch| {
            let counts = as_int64_array(batch.column_by_name("n").unwrap()).unwrap();
            counts.iter().flatten().collect::<Vec<_>>()
        });
        let sum: i64 = counts.sum();
        let all = shown.table("deduplicated").await.unwrap();
        let count = all.count().await.unwrap();
        assert_eq!(
            usize::try_from(sum).unwrap(),
            count,
            "state {}",
            state.number
        );
        n_looks += 1;
    }
    n_looks
}
