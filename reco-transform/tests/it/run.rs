//! Runs: what is made, what is not and why.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use reco_core::testing::{SyntheticShop, SyntheticShopConfig};
use reco_core::{
    Event, Interaction, RawTable, Record, SessionEncoding, TimeWindow, Timestamp, async_trait,
};
use reco_transform::datafusion::error::{DataFusionError, Result as EngineResult};
use reco_transform::datafusion::prelude::*;
use reco_transform::{
    Dag, DagEvent, Deduplicate, Error, Materialization, MinSupport, Sessionize, Source, Step,
    StepContext, TableStatus, Warehouse, WarehouseConfig, step_fn,
};

use crate::shop::{Log, ValuesExt, event, events, source, text};

fn pipeline(log: &Arc<Log>) -> Dag {
    Dag::builder()
        .source("events", Arc::clone(log))
        .step(Deduplicate::default())
        .sql(
            "clean",
            "select * from deduplicated where item_id is not null",
        )
        .step(Sessionize::default())
        .step(MinSupport {
            item: 2,
            ..MinSupport::default()
        })
        .build()
        .unwrap()
}

#[tokio::test]
async fn raw_events_become_sessions() {
    let log = Log::of(events());
    let run = pipeline(&log).run(&Warehouse::in_memory()).await.unwrap();

    let interactions = run
        .table("interactions")
        .unwrap()
        .sort_by(vec![col("id")])
        .unwrap();
    let interactions = interactions.collect().await.unwrap();
    let interactions = interactions
        .iter()
        .flat_map(|batch| Interaction::from_batch(batch).unwrap());
    let found: Vec<_> = interactions
        .map(|row| (row.session, row.item.to_string()))
        .collect();
    let expected = [
        (":ann:0", "hat"),
        (":ann:0", "scarf"),
        (":bob:180000000", "hat"),
        (":bob:180000000", "scarf"),
        (":ann:3600000000", "hat"),
        (":ann:3600000000", "hat"),
    ];
    assert_eq!(
        found,
        expected.map(|(session, item)| (session.to_owned(), item.to_owned()))
    );

    let dataset = run.dataset("interactions").await.unwrap();
    assert_eq!((dataset.n_sessions(), dataset.n_interactions()), (3, 6));
    let collapsed = SessionEncoding {
        collapse_repeats: true,
        ..SessionEncoding::default()
    };
    let collapsed = run
        .dataset_encoded("interactions", collapsed)
        .await
        .unwrap();
    assert_eq!(collapsed.n_interactions(), 5);
    assert_eq!(log.n_scans(), 1);
}

#[tokio::test]
async fn the_same_events_in_another_order_make_the_same_data() {
    let forward = Log::of(events());
    let backward = Log::of(events().into_iter().rev().collect());
    let mut fingerprints = Vec::new();
    for log in [forward, backward] {
        let run = pipeline(&log).run(&Warehouse::in_memory()).await.unwrap();
        fingerprints.push(run.dataset("interactions").await.unwrap().fingerprint());
    }
    assert_eq!(fingerprints[0], fingerprints[1]);
}

#[tokio::test]
async fn a_data_set_that_does_not_fit_is_kept_in_files_and_is_the_same() {
    let query = "select concat('session-', lpad(cast(value * 7919 % 500000 / 5 as varchar), 6, '0')) as session_id,
                        concat('sku-', cast(value * 104729 % 3001 as varchar)) as item_id,
                        to_timestamp_micros(value * 7919 % 500000) as occurred_at
                 from generate_series(1, 500000)";
    let dag = Dag::builder()
        .sql("interactions", query)
        .materialize("interactions", Materialization::View)
        .build()
        .unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut found = Vec::new();
    for memory_limit in [1 << 30, 12 << 20] {
        let warehouse = Warehouse::in_memory().with_config(WarehouseConfig {
            memory_limit,
            target_partitions: 1.try_into().ok(),
            spill_dir: Some(dir.path().to_owned()),
            ..WarehouseConfig::default()
        });
        let run = dag.run(&warehouse.unwrap()).await.unwrap();
        found.push(run.dataset("interactions").await.unwrap());
    }
    // The engine is gone, and the folder that it spilled to.
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    let [whole, mapped] = found.try_into().unwrap();
    assert_eq!([whole.is_mapped(), mapped.is_mapped()], [false, true]);
    assert_eq!(mapped.fingerprint(), whole.fingerprint());
    let cut = Timestamp::from_microsecond(400_000).unwrap();
    let [whole, mapped] = [whole, mapped].map(|data| data.split_at(cut).unwrap());
    assert!(mapped.train.is_mapped() && mapped.test.is_mapped());
    assert_eq!(mapped.train.fingerprint(), whole.train.fingerprint());
    assert_eq!(mapped.test.n_sessions(), 20_000);
}

#[tokio::test]
async fn the_visits_of_a_shop_are_found_as_they_were() {
    let config = SyntheticShopConfig {
        days: 2,
        sessions_per_day: 60,
        n_shoppers: 120,
        ..Default::default()
    };
    let stream: Vec<_> = SyntheticShop::new(config).unwrap().clickstream().collect();
    let truth = stream.iter().filter(|labelled| !labelled.truth.duplicate);
    let truth: BTreeMap<String, u64> = truth
        .map(|labelled| (labelled.event.id.clone(), labelled.truth.session))
        .collect();

    let dag = Dag::builder()
        .source(
            "events",
            source(
                &stream
                    .into_iter()
                    .map(|labelled| labelled.event)
                    .collect::<Vec<_>>(),
            ),
        )
        .step(Deduplicate::default())
        .step(Sessionize {
            input: "deduplicated".to_owned(),
            ..Sessionize::default()
        })
        .build()
        .unwrap();
    let run = dag.run(&Warehouse::in_memory()).await.unwrap();
    let batches = run.table("sessions").unwrap().collect().await.unwrap();
    let found = batches
        .iter()
        .flat_map(|batch| Event::from_batch(batch).unwrap());
    let found: BTreeMap<String, String> = found
        .map(|event| (event.id, event.session.unwrap()))
        .collect();

    assert!(found.keys().eq(truth.keys()));
    let pairs: BTreeSet<(&String, u64)> = found.iter().map(|(id, s)| (s, truth[id])).collect();
    let n_found = found.values().collect::<BTreeSet<_>>().len();
    let n_true = truth.values().collect::<BTreeSet<_>>().len();
    assert_eq!((n_found, n_true), (pairs.len(), pairs.len()));
}

#[tokio::test]
async fn a_source_may_be_a_raw_table_or_a_window_of_one() {
    let raw: Arc<dyn RawTable> = Log::of(events());
    let window = TimeWindow::from(Timestamp::from_second(3600).unwrap());
    let dag = Dag::builder()
        .source("events", Arc::clone(&raw))
        .source("late", Source::raw(raw, window))
        .source("owned", Log::default())
        .sql(
            "all",
            "select count(*) as n from events union all select count(*) from late
                     union all select count(*) from owned",
        )
        .build()
        .unwrap();
    let run = dag.run(&Warehouse::in_memory()).await.unwrap();
    let counts = run.table("all").unwrap().sort_by(vec![col("n")]).unwrap();
    let expected = [
        "+---+", "| n |", "+---+", "| 0 |", "| 2 |", "| 8 |", "+---+",
    ];
    assert_eq!(text(counts).await, expected);
}

#[tokio::test]
async fn a_source_that_breaks_fails_the_step_that_reads_it() {
    let log = Log::broken();
    let dag = Dag::builder()
        .source("events", log)
        .step(Deduplicate::default())
        .build()
        .unwrap();
    let error = dag.run(&Warehouse::in_memory()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "1 of 2 tables were not made: `deduplicated` failed"
    );
    let mut chain = String::new();
    let mut cause: Option<&dyn std::error::Error> = Some(&error);
    while let Some(error) = cause {
        chain.push_str(&error.to_string());
        cause = error.source();
    }
    assert!(chain.contains("step `deduplicated` failed"), "{chain}");
    assert!(chain.contains("the disk is on fire"), "{chain}");
}

#[tokio::test]
async fn what_depends_on_a_failure_is_skipped_and_the_rest_goes_on() {
    let fails = step_fn("fails", ["a"], |ctx| match ctx.is_check() {
        true => ctx.table("a"),
        false => Err(DataFusionError::Execution("no luck".to_owned())),
    });
    let panics = step_fn("panics", ["a"], |ctx| match ctx.is_check() {
        true => ctx.table("a"),
        false => panic!("out of ideas"),
    });
    let dag = Dag::builder()
        .values("a", "n", "(1), (2)")
        .step(fails)
        .step(panics)
        .sql("after", "select * from fails")
        .sql("long_after", "select * from after")
        .sql("beside", "select * from a where n > 1")
        .build()
        .unwrap();
    let mut finished = Vec::new();
    let error = dag
        .run_observed(&Warehouse::in_memory(), |event| {
            if let DagEvent::Finished(report) = event {
                finished.push(report.table.clone());
            }
        })
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "4 of 6 tables were not made: `fails` failed, `panics` failed, \
         `after` skipped because of fails, `long_after` skipped because of fails"
    );
    finished.sort();
    assert_eq!(
        finished,
        ["a", "after", "beside", "fails", "long_after", "panics"]
    );

    let Error::Incomplete { run, .. } = error else {
        panic!("{error:?}");
    };
    let failure = |table| match &run.report(table).unwrap().status {
        TableStatus::Failed { error } => error.to_string(),
        status => status.to_string(),
    };
    assert_eq!(failure("fails"), "step `fails` failed");
    assert_eq!(failure("panics"), "step `panics` panicked: out of ideas");
    assert_eq!(run.report("beside").unwrap().n_rows, Some(1));
    assert_eq!(run.table("beside").unwrap().count().await.unwrap(), 1);

    let refused = |table| run.table(table).unwrap_err().to_string();
    assert_eq!(refused("fails"), "the run has no table `fails`: failed");
    assert_eq!(
        refused("long_after"),
        "the run has no table `long_after`: skipped because of fails"
    );
    assert_eq!(
        refused("besides"),
        "the run has no table `besides`: it is not in the DAG; did you mean `beside`?"
    );
}

#[tokio::test]
async fn a_plan_that_waits_is_checked_when_the_run_starts() {
    /// Waits once, even in a check.
    #[derive(Debug)]
    struct Slow(AtomicBool);

    #[async_trait]
    impl Step for Slow {
        fn name(&self) -> &str {
            "slow"
        }

        fn inputs(&self) -> Vec<String> {
            Vec::new()
        }

        async fn plan(&self, ctx: &StepContext<'_>) -> EngineResult<DataFrame> {
            if !self.0.swap(true, Ordering::Relaxed) {
                tokio::task::yield_now().await;
            }
            ctx.sql("select 1 as n").await
        }
    }
    let dag = Dag::builder()
        .step(Slow(AtomicBool::new(false)))
        .sql("after", "select m from slow")
        .build()
        .unwrap();
    let error = dag.run(&Warehouse::in_memory()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "step `after` names column `m`, which is not there"
    );
}

#[tokio::test]
async fn a_view_is_computed_by_whoever_reads_it() {
    let log = Log::of(events());
    let dag = Dag::builder()
        .source("events", Arc::clone(&log))
        .sql("items", "select item_id from events")
        .sql("all", "select * from items union all select * from items")
        .materialize_others(Materialization::View)
        .build()
        .unwrap();
    let run = dag.run(&Warehouse::in_memory()).await.unwrap();
    assert_eq!(
        (log.n_scans(), run.report("items").unwrap().n_rows),
        (0, None)
    );
    assert_eq!(run.table("all").unwrap().count().await.unwrap(), 16);
    assert_eq!(log.n_scans(), 2);
}

#[tokio::test]
async fn names_in_capitals_are_kept() {
    let dag = Dag::builder()
        .values("Numbers", "n", "(1)")
        .sql("Doubled", "select 2 * n as \"N\" from \"Numbers\"")
        .step(step_fn("Again", ["Doubled"], |ctx| ctx.table("Doubled")))
        .build()
        .unwrap();
    let run = dag.run(&Warehouse::in_memory()).await.unwrap();
    let again = run.table("Again").unwrap();
    assert_eq!(
        text(again).await,
        ["+---+", "| N |", "+---+", "| 2 |", "+---+"]
    );
    let queried = run
        .session()
        .sql("select * from \"Doubled\"")
        .await
        .unwrap();
    assert_eq!(queried.count().await.unwrap(), 1);
}

#[tokio::test]
async fn a_table_that_is_no_data_set_says_which_column() {
    let dag = Dag::builder()
        .source("events", source(&[event("1", "ann", 0, Some("hat"))]))
        .sql(
            "no_time",
            "select session_id, item_id, occurred_at as time from events",
        )
        .sql(
            "number",
            "select id as session_id, item_id, 1714550400 as occurred_at from events",
        )
        .sql("empty", "select * from events where false")
        .build()
        .unwrap();
    let run = dag.run(&Warehouse::in_memory()).await.unwrap();
    for (table, expected) in [
        (
            "events",
            "table `interaction`, column `session_id`, row 0: null where a value is required",
        ),
        ("no_time", "table `no_time` has no column `occurred_at`"),
        (
            "number",
            "table `number`, column `occurred_at` is Int64, expected Timestamp(µs, \"UTC\")",
        ),
        ("empty", "the data set holds no session"),
    ] {
        let error = run.dataset(table).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("table `{table}` makes no data set")
        );
        assert_eq!(
            std::error::Error::source(&error).unwrap().to_string(),
            expected
        );
    }
}
