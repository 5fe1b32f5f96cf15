//! What is made again, and what is not.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::TryStreamExt;
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt};
use reco_core::Timestamp;
use reco_transform::datafusion::arrow::datatypes::DataType;
use reco_transform::datafusion::common::ScalarValue;
use reco_transform::datafusion::logical_expr::{ColumnarValue, ScalarUDF, Volatility};
use reco_transform::datafusion::prelude::*;
use reco_transform::{
    Action, Dag, Deduplicate, Error, Evolution, Materialization, MinSupport, Retention, Sessionize,
    Vacuumed, Warehouse, Why, not_null, unique,
};

use crate::doomed::Doomed;
use crate::shop::{Log, event, events, rows};

/// The steps from raw events to interactions, kept in the warehouse, with a query in between.
fn shop(log: &Arc<Log>, clean: &str) -> Dag {
    Dag::builder()
        .source("events", Arc::clone(log))
        .step(Deduplicate::default())
        .sql("clean", clean)
        .step(Sessionize::default())
        .step(MinSupport {
            item: 1,
            ..MinSupport::default()
        })
        .sql(
            "searches",
            "select client_id from deduplicated where item_id is null",
        )
        .expect("deduplicated", unique(["id"]))
        .expect("interactions", not_null("item_id"))
        .materialize_others(Materialization::Delta)
        .build()
        .unwrap()
}

const CLEAN: &str = "select * from deduplicated where item_id is not null";

async fn actions(dag: &Dag, warehouse: &Warehouse) -> Vec<(String, Action, Why)> {
    let plan = dag.plan(warehouse).await.unwrap();
    let is_idle = |action: Action| matches!(action, Action::Reuse | Action::Defer);
    let tables = plan
        .tables()
        .iter()
        .filter(|planned| !is_idle(planned.action));
    tables
        .map(|planned| (planned.table.clone(), planned.action, planned.why.clone()))
        .collect()
}

#[tokio::test]
async fn a_second_run_reads_nothing() {
    let log = Log::of(events());
    let warehouse = Warehouse::in_memory();
    shop(&log, CLEAN).run(&warehouse).await.unwrap();
    let (n_scans, state) = (log.n_scans(), warehouse.state().await.unwrap().unwrap());

    let again = shop(
        &log,
        "-- What has an item.\nSELECT *\n FROM deduplicated WHERE item_id is not null",
    );
    assert!(again.plan(&warehouse).await.unwrap().is_done());
    let run = again.run(&warehouse).await.unwrap();
    assert_eq!(run.table("interactions").unwrap().count().await.unwrap(), 6);
    assert_eq!(log.n_scans(), n_scans);
    assert_eq!(
        warehouse.state().await.unwrap().unwrap(),
        state,
        "nothing was published"
    );

    log.add(event("8", "ann", 62, Some("hat")));
    let changed = |input: &str| Why::InputsChanged(vec![input.to_owned()]);
    let expected = [
        (
            "events",
            Action::Compute,
            Why::ReadBy(vec!["deduplicated".to_owned()]),
        ),
        ("deduplicated", Action::Build, changed("events")),
        ("clean", Action::Build, changed("deduplicated")),
        ("sessions", Action::Build, changed("clean")),
        ("interactions", Action::Build, changed("sessions")),
        ("searches", Action::Build, changed("deduplicated")),
    ];
    let expected = expected.map(|(table, action, why)| (table.to_owned(), action, why));
    let mut found = actions(&again, &warehouse).await;
    found.sort_by_key(|(table, ..)| expected.iter().position(|(name, ..)| name == table));
    assert_eq!(found, expected);

    // The rows of each state are still there.
    again.run(&warehouse).await.unwrap();
    for (number, n_rows) in [(1, 6), (2, 7)] {
        let then = warehouse.as_of_state(number).await.unwrap();
        assert_eq!(
            then.table("interactions")
                .await
                .unwrap()
                .count()
                .await
                .unwrap(),
            n_rows
        );
    }
}

#[tokio::test]
async fn an_edit_makes_its_cone_anew_and_an_undone_edit_nothing() {
    let log = Log::of(events());
    let warehouse = Warehouse::in_memory();
    shop(&log, CLEAN).run(&warehouse).await.unwrap();
    let edited = shop(&log, &format!("{CLEAN} and client_id <> 'bob'"));
    let built: Vec<_> = actions(&edited, &warehouse).await;
    let built: Vec<_> = built
        .iter()
        .map(|(table, action, _)| (table.as_str(), *action))
        .collect();
    assert_eq!(
        built,
        [
            ("clean", Action::Build),
            ("sessions", Action::Build),
            ("interactions", Action::Build)
        ]
    );
    let n_scans = log.n_scans();
    edited.run(&warehouse).await.unwrap();
    assert_eq!(
        log.n_scans(),
        n_scans,
        "what is upstream was used as it was"
    );
    assert_eq!(
        warehouse
            .table("interactions")
            .await
            .unwrap()
            .count()
            .await
            .unwrap(),
        4
    );

    let undone = shop(&log, CLEAN).plan(&warehouse).await.unwrap();
    assert!(undone.is_done(), "{undone}");
    assert_eq!(undone.table("clean").unwrap().why, Why::BuiltBefore);
    undone.apply().await.unwrap();
    assert_eq!(
        warehouse
            .table("interactions")
            .await
            .unwrap()
            .count()
            .await
            .unwrap(),
        6
    );
}

#[tokio::test]
async fn versions_of_functions_and_changing_functions_are_seen() {
    let shout = |loud: &'static str| -> ScalarUDF {
        create_udf(
            "shout",
            vec![DataType::Utf8],
            DataType::Utf8,
            Volatility::Immutable,
            Arc::new(move |_| Ok(ColumnarValue::Scalar(ScalarValue::from(loud)))),
        )
    };
    let dag = |loud: &'static str, version: &str| {
        Dag::builder()
            .sql("words", "select * from (values ('a')) as t (word)")
            .versioned_function(shout(loud), version)
            .sql("loud", "select shout(word) as word from words")
            .sql("quiet", "select lower(word) as word from words")
            .materialize_others(Materialization::Delta)
            .build()
            .unwrap()
    };
    let warehouse = Warehouse::in_memory();
    dag("A", "1").run(&warehouse).await.unwrap();
    assert!(
        dag("B", "1").plan(&warehouse).await.unwrap().is_done(),
        "nobody can see its code"
    );
    let found = actions(&dag("B", "2"), &warehouse).await;
    assert_eq!(
        found,
        [("loud".to_owned(), Action::Build, Why::StepChanged)]
    );

    let now = Dag::builder()
        .sql("now", "select now() as at")
        .materialize("now", Materialization::Delta)
        .build()
        .unwrap();
    now.run(&warehouse).await.unwrap();
    let why = now
        .plan(&warehouse)
        .await
        .unwrap()
        .table("now")
        .unwrap()
        .why
        .clone();
    let (table, function) = ("now".to_owned(), "now".to_owned());
    assert_eq!(why, Why::Changing { table, function });
}

#[tokio::test]
async fn an_environment_costs_nothing_and_is_promoted_by_a_swap() {
    let store: Arc<InMemory> = Arc::default();
    let prod = Warehouse::in_store(Arc::clone(&store) as _, "w").unwrap();
    let log = Log::of(events());
    shop(&log, CLEAN).run(&prod).await.unwrap();
    let before = files(&store).await;

    let dev = prod.create_environment("dev_ana").await.unwrap();
    let created: Vec<_> = files(&store)
        .await
        .into_iter()
        .filter(|f| !before.contains(f))
        .collect();
    assert_eq!(created.len(), 1, "{created:?}");
    let without_bob = shop(&log, &format!("{CLEAN} and client_id <> 'bob'"));
    without_bob.run(&dev).await.unwrap();
    let count = async |warehouse: &Warehouse| {
        warehouse
            .table("interactions")
            .await
            .unwrap()
            .count()
            .await
            .unwrap()
    };
    assert_eq!((count(&prod).await, count(&dev).await), (6, 4));
    assert_eq!(dev.environment_name(), "dev_ana");
    assert_eq!(prod.environments().await.unwrap(), ["dev_ana", "prod"]);

    let before = files(&store).await;
    let promoted = prod.promote("dev_ana").await.unwrap();
    assert_eq!(promoted, ["clean", "interactions", "sessions"]);
    let created: Vec<_> = files(&store)
        .await
        .into_iter()
        .filter(|f| !before.contains(f))
        .collect();
    assert_eq!(created.len(), 1, "{created:?}");
    assert_eq!(count(&prod).await, 4);
    assert!(without_bob.plan(&prod).await.unwrap().is_done());

    // Back, and both ends of it are still to be read.
    let earlier = prod.as_of_state(1).await.unwrap();
    assert_eq!(count(&earlier).await, 6);
    let error = shop(&log, CLEAN).run(&earlier).await.unwrap_err();
    assert!(matches!(error, Error::Pinned { number: 1, .. }), "{error}");
    prod.roll_back_to(1).await.unwrap();
    assert_eq!(count(&prod).await, 6);
    prod.drop_environment("dev_ana").await.unwrap();
    assert_eq!(prod.environments().await.unwrap(), ["prod"]);
    assert!(prod.create_environment("prod").await.is_err());
}

async fn files(store: &InMemory) -> Vec<String> {
    let files = store.list(None).map_ok(|meta| meta.location.to_string());
    let mut files: Vec<String> = files.try_collect().await.unwrap();
    files.sort();
    files
}

#[tokio::test]
async fn a_vacuum_removes_what_no_kept_state_names() {
    let store: Arc<InMemory> = Arc::default();
    let warehouse = Warehouse::in_store(Arc::clone(&store) as _, "w").unwrap();
    let log = Log::of(events());
    for day in 0..4 {
        log.add(event(
            &format!("new {day}"),
            "eve",
            1_000 + day,
            Some("hat"),
        ));
        shop(&log, CLEAN).run(&warehouse).await.unwrap();
    }
    shop(&log, &format!("{CLEAN} and client_id <> 'bob'"))
        .run(&warehouse)
        .await
        .unwrap();
    let dev = warehouse.create_environment("dev").await.unwrap();
    // What a run on a cluster left there when it was killed.
    let staged = object_store::path::Path::from("w/_staging/events.parquet");
    store.put(&staged, "rows".into()).await.unwrap();
    let shown = async |warehouse: &Warehouse| rows(warehouse, "interactions").await;
    let (before, all) = (shown(&warehouse).await, files(&store).await);
    let now = Timestamp::from_second(253_402_300_000 / 2).unwrap();

    let week = Retention::default();
    let past = Timestamp::from_second(0).unwrap();
    let vacuumed = warehouse.vacuum(&week, past).await.unwrap();
    assert_eq!(vacuumed, Vacuumed::default());
    assert_eq!(files(&store).await, all);

    let two = Retention {
        n_states: 2,
        ..Retention::default()
    };
    let planned = warehouse.vacuum_dry_run(&two, now).await.unwrap();
    assert_eq!(files(&store).await, all);
    let vacuumed = warehouse.vacuum(&two, now).await.unwrap();
    assert_eq!(vacuumed, planned);
    assert!(store.head(&staged).await.is_err());
    assert_eq!(vacuumed.n_states, 3);
    assert!(vacuumed.n_files > 0 && vacuumed.n_bytes > 0, "{vacuumed:?}");
    assert_eq!(
        warehouse.vacuum(&two, now).await.unwrap(),
        Vacuumed::default()
    );

    assert_eq!(shown(&warehouse).await, before);
    assert_eq!(shown(&dev).await, before);
    let kept = warehouse.as_of_state(4).await.unwrap();
    assert_eq!(
        kept.table("interactions")
            .await
            .unwrap()
            .count()
            .await
            .unwrap(),
        10
    );
    let gone = warehouse.as_of_state(1).await.unwrap_err();
    assert_eq!(gone.to_string(), "environment `prod` has no state 1");

    // Nothing that is built later finds what is gone.
    shop(&Log::of(events()), CLEAN)
        .run(&warehouse)
        .await
        .unwrap();
    assert_eq!(
        warehouse
            .table("interactions")
            .await
            .unwrap()
            .count()
            .await
            .unwrap(),
        6
    );
}

#[tokio::test]
async fn what_was_promised_of_columns_is_kept() {
    let dag = |query: &str, evolution: Evolution| {
        Dag::builder()
            .sql("prices", query)
            .materialize("prices", Materialization::Delta)
            .evolution("prices", evolution)
            .build()
            .unwrap()
    };
    let query = "select 'hat' as item, 10 as price";
    let check = async |change: &str, evolution: Evolution, expected: Option<&str>| {
        let warehouse = Warehouse::in_memory();
        dag(query, evolution).run(&warehouse).await.unwrap();
        let plan = dag(change, evolution).plan(&warehouse).await;
        let found = plan.map(drop).map_err(|error| error.to_string());
        let expected = expected.map(|violations| {
            format!(
                "the columns of table `prices` are promised to others ({evolution}): {violations}"
            )
        });
        assert_eq!(found.err(), expected, "{change}");
    };
    let more = "select 'hat' as item, 11 as price, true as new";
    check(query, Evolution::Frozen, None).await;
    check(more, Evolution::Add, None).await;
    check(more, Evolution::Frozen, Some("column `new` would be new")).await;
    let other = "select 'hat' as item, 1.5 as price";
    check(other, Evolution::Any, None).await;
    check(
        other,
        Evolution::Add,
        Some("column `price` is Int64 and would be Float64"),
    )
    .await;
    check(
        "select 10 as price",
        Evolution::Add,
        Some("column `item` would be gone"),
    )
    .await;
}

/// A run is killed after each of its changes in turn: readers see what was there before or all that is new,
/// and the next run makes no table again that was finished.
#[tokio::test]
async fn a_run_that_is_killed_anywhere_goes_on_where_it_was() {
    let log = Log::of(events());
    let undisturbed = Warehouse::in_memory();
    shop(&log, CLEAN).run(&undisturbed).await.unwrap();
    let mut expected = Vec::new();
    for table in [
        "deduplicated",
        "clean",
        "sessions",
        "interactions",
        "searches",
    ] {
        expected.push((table, rows(&undisturbed, table).await));
    }
    let mut n_points = 0;
    for n_changes in 1.. {
        let store: Arc<InMemory> = Arc::default();
        let doomed = Doomed::after(n_changes, Arc::clone(&store) as Arc<dyn ObjectStore>);
        let warehouse = Warehouse::in_store(Arc::new(doomed.clone()), "w").unwrap();
        let run = shop(&log, CLEAN).run(&warehouse).await;
        let healthy = Warehouse::in_store(Arc::clone(&store) as _, "w").unwrap();
        let state = healthy.state().await.unwrap();
        let n_shown = state.map_or(0, |state| state.contents.tables.len());
        assert!(
            n_shown == 0 || n_shown == 5,
            "{n_shown} of 5 tables at {n_changes}"
        );
        if !doomed.is_dead() {
            run.unwrap();
            break;
        }
        n_points += 1;
        let finished: Vec<String> = finished_in(&store).await;
        let plan = shop(&log, CLEAN).plan(&healthy).await.unwrap();
        for table in &finished {
            let action = plan.table(table).unwrap().action;
            assert_eq!(action, Action::Reuse, "{table} at {n_changes}");
        }
        plan.apply().await.unwrap();
        for (table, expected) in &expected {
            assert_eq!(
                rows(&healthy, table).await,
                *expected,
                "{table} at {n_changes}"
            );
        }
    }
    assert!(n_points > 20, "{n_points}");
}

/// The tables that passed their audits, by the notes in the store.
async fn finished_in(store: &Arc<InMemory>) -> Vec<String> {
    let mut finished = Vec::new();
    for file in files(store).await {
        if file.starts_with("w/_builds/") {
            let bytes = store
                .get(&file.as_str().into())
                .await
                .unwrap()
                .bytes()
                .await
                .unwrap();
            let note: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            if !note["build"]["made"]["checks"].is_null() {
                finished.push(note["table"].as_str().unwrap().to_owned());
            }
        }
    }
    finished
}

#[tokio::test]
async fn runs_at_once_do_not_lose_each_others_tables() {
    let warehouse = Warehouse::in_memory();
    let n_started = AtomicUsize::new(0);
    let runs = (0..8).map(|n| {
        let dag = Dag::builder()
            .sql(format!("table_{n}"), format!("select {n} as n"))
            .materialize_others(Materialization::Delta)
            .build()
            .unwrap();
        n_started.fetch_add(1, Ordering::SeqCst);
        let warehouse = warehouse.clone();
        tokio::spawn(async move { dag.run(&warehouse).await.map(drop) })
    });
    for run in runs.collect::<Vec<_>>() {
        run.await.unwrap().unwrap();
    }
    let state = warehouse.state().await.unwrap().unwrap();
    assert_eq!(state.contents.tables.len(), n_started.into_inner());
}
