//! A law: a table that grew is one that was made at once.

use std::sync::Arc;

use object_store::memory::InMemory;
use proptest::prelude::{Just, ProptestConfig, prop, prop_oneof, proptest};
use proptest::strategy::Strategy;
use reco_transform::Warehouse;

use super::{Click, anew, by_day, daily, hour};
use crate::doomed::Doomed;
use crate::shop::rows;

/// What has arrived of some clicks when a run begins, and after how many changes the run is killed.
#[derive(Debug, Clone)]
struct Day {
    n_arrived: usize,
    until: i64,
    dies_after: Option<usize>,
}

fn history() -> impl Strategy<Value = (Vec<Click>, Vec<Day>)> {
    let item = prop_oneof![Just("hat"), Just("scarf"), Just("boot")];
    // Each click comes at most a day late, so that a lookback of one day sees it.
    let click = (0_i64..96, 0_i64..24, item);
    let clicks = prop::collection::vec(click, 1..30);
    let kills = prop::collection::vec(prop::option::weighted(0.6, 1_usize..40), 5);
    (clicks, kills).prop_map(|(mut clicks, kills)| {
        clicks.sort_by_key(|(at, late, _)| at + late);
        let days = (1..=5).zip(kills).map(|(day, dies_after)| Day {
            n_arrived: clicks
                .iter()
                .filter(|(at, late, _)| at + late < day * 24)
                .count(),
            until: day * 24,
            dies_after,
        });
        let days = days.collect();
        (
            clicks.into_iter().map(|(at, _, item)| (at, item)).collect(),
            days,
        )
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    /// However rows arrive and wherever runs are killed, the table is what it would be if it were made
    /// at once.
    #[test]
    fn a_table_that_grew_is_one_that_was_made_at_once((clicks, days) in history()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            for incremental in [
                by_day(),
                by_day().merge(["day", "item"]),
                by_day().delete_insert(["day", "item"]),
                by_day().overwrite_partitions(["day"]),
            ] {
                let store: Arc<InMemory> = Arc::default();
                let mut n_killed = 0;
                for day in &days {
                    let dag = daily(&clicks[..day.n_arrived], incremental.clone());
                    if let Some(n_changes) = day.dies_after {
                        let doomed = Doomed::after(n_changes, Arc::clone(&store) as _);
                        let warehouse = Warehouse::in_store(Arc::new(doomed.clone()), "w").unwrap();
                        let run = dag.run_until(&warehouse, hour(day.until)).await;
                        assert!(run.is_ok() || doomed.is_dead(), "{:?}", run.err());
                        n_killed += usize::from(doomed.is_dead());
                        continue;
                    }
                    let warehouse = Warehouse::in_store(Arc::clone(&store) as _, "w").unwrap();
                    dag.run_until(&warehouse, hour(day.until)).await.unwrap();
                    assert_eq!(rows(&warehouse, "daily").await, anew(&dag, day.until).await);
                }
                let dag = daily(&clicks, incremental.clone());
                let warehouse = Warehouse::in_store(store as _, "w").unwrap();
                dag.run_until(&warehouse, hour(120)).await.unwrap();
                assert_eq!(
                    rows(&warehouse, "daily").await,
                    anew(&dag, 120).await,
                    "{:?}, {n_killed} killed", incremental.strategy
                );
            }
        });
    }
}

/// How many histories are tried: more with `RECO_HISTORIES`.
fn cases() -> u32 {
    #[expect(clippy::disallowed_methods, reason = "a test is the host")]
    let cases = std::env::var("RECO_HISTORIES");
    cases.ok().and_then(|cases| cases.parse().ok()).unwrap_or(3)
}
