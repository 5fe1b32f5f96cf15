//! Expectations: what passes, what fails, and what is shown of it.

use std::path::Path;
use std::sync::Arc;

use reco_core::CheckReport;
use reco_transform::{
    Dag, DagRun, Error, Expectation, Materialization, Warehouse, WarehouseConfig, accepted_values,
    between, column_mean, column_median, column_min, distinct_values_equal, expect_no_rows,
    expect_sql, not_null, relationships, row_count, unique,
};

use crate::shop::{Log, ValuesExt, event, events};

const ROWS: &str = "(1, 'hat', 9.5), (2, 'hat', 20.0), (3, 'scarf', null), (4, null, -1.0)";

async fn run(expectations: Vec<Expectation>) -> Result<DagRun, Error> {
    let dag = Dag::builder()
        .values("items", "name", "('hat'), ('glove'), (null)")
        .values("sales", "id, item, price", ROWS);
    let dag = expectations
        .into_iter()
        .fold(dag, |dag, e| dag.expect("sales", e));
    dag.build()?.run(&Warehouse::in_memory()).await
}

async fn report(expectations: Vec<Expectation>) -> CheckReport {
    match run(expectations).await {
        Ok(run) => run.report("sales").unwrap().checks.clone(),
        Err(Error::Incomplete { run, .. }) => run.report("sales").unwrap().checks.clone(),
        Err(error) => panic!("{error:?}"),
    }
}

#[tokio::test]
async fn expectations_that_are_met_pass() {
    let report = report(vec![
        not_null("id"),
        unique(["id"]),
        unique(["item", "price"]),
        accepted_values("item", ["hat", "scarf"]),
        accepted_values("id", [1_i64, 2, 3, 4]),
        between("price", -1.0..=20.0),
        between("price", -1.0..20.5),
        between("id", 1..),
        between("id", ..=4),
        row_count(4..=4),
        row_count(..5),
        // False for no row; NULL for one.
        expect_sql("cheap", "price < 100"),
        expect_no_rows(
            "few a item",
            "select item from sales group by item having count(*) > 2",
        ),
    ])
    .await;
    assert_eq!(report.to_string(), "sales: 13 of 13 checks passed");
}

#[tokio::test]
async fn a_condition_keeps_an_expectation_from_rows_that_it_cannot_read() {
    // In half of the rows, so that it is no luck.
    let report = report(vec![
        expect_sql("few", "10 / (id - 1) > 4").when("id > 1"),
        expect_sql("named", "length(item) > 10 / (id - 2)").when("id <> 2 and id < 4"),
        column_mean("price", 20.0..=20.0).when("price > 9.5"),
        column_min("id", 3..).when("item is null or item = 'scarf'"),
        column_median("price", 14.75..=14.75).when("item = 'hat'"),
        distinct_values_equal("id", [1_i64, 2]).when("item = 'hat'"),
        not_null("price").when("id <> 3"),
    ])
    .await;
    insta::assert_snapshot!(report, @r#"
    sales: 5 of 7 checks passed
      few when id > 1 failed: 1 of 3 rows
        {"id":4,"item":null,"price":-1.0}
      named when id <> 2 and id < 4 failed: 1 of 2 rows
        {"id":3,"item":"scarf","price":null}
    "#);
}

#[tokio::test]
async fn expectations_that_are_not_met_show_rows() {
    let report = report(vec![
        not_null("item"),
        unique(["item"]),
        accepted_values("item", ["hat"]),
        between("price", 0.0..20.0),
        relationships("item", "items", "name"),
        row_count(5..).warn(),
        expect_sql("dear", "price > 10"),
        expect_no_rows(
            "one a item",
            "select item, count(*) as n from sales group by item having count(*) > 1",
        ),
    ])
    .await;
    insta::assert_snapshot!(report, @r#"
    sales: 0 of 8 checks passed
      not_null(item) failed: 1 of 4 rows
        {"id":4,"item":null,"price":-1.0}
      unique(item) failed: 2 of 3 rows
        {"id":1,"item":"hat","price":9.5}
        {"id":2,"item":"hat","price":20.0}
      accepted_values(item, [hat]) failed: 1 of 3 rows
        {"id":3,"item":"scarf","price":null}
      between(price, 0..20) failed: 2 of 3 rows
        {"id":2,"item":"hat","price":20.0}
        {"id":4,"item":null,"price":-1.0}
      relationships(item, items.name) failed: 1 of 3 rows
        {"id":3,"item":"scarf","price":null}
      dear failed: 2 of 4 rows
        {"id":1,"item":"hat","price":9.5}
        {"id":4,"item":null,"price":-1.0}
      one a item failed: 1 of 4 rows
        {"item":"hat","n":2}
      row_count(5..) warns: 0 of 4 rows, observed 4
    "#);
}

#[tokio::test]
async fn a_warning_holds_nothing_up() {
    let run = run(vec![not_null("item").warn()]).await.unwrap();
    let checks = &run.report("sales").unwrap().checks;
    assert_eq!(checks.warnings().count(), 1);
    assert_eq!(run.table("sales").unwrap().count().await.unwrap(), 4);
}

#[tokio::test]
async fn at_most_five_rows_are_shown_of_any_number() {
    let events: Vec<_> = (0..500)
        .map(|i| event(&format!("{i:04}"), "ann", i, None))
        .collect();
    let dag = Dag::builder()
        .source("events", Log::of(events))
        .sql("clean", "select id, item_id from events")
        .expect("clean", not_null("item_id"))
        .build()
        .unwrap();
    let Err(Error::Incomplete { run, .. }) = dag.run(&Warehouse::in_memory()).await else {
        panic!("the expectation is not met");
    };
    let result = &run.report("clean").unwrap().checks.results[0];
    assert_eq!((result.n_checked, result.n_failed), (500, 500));
    let expected: Vec<_> = (0..5)
        .map(|i| format!(r#"{{"id":"000{i}","item_id":null}}"#))
        .collect();
    assert_eq!(result.samples, expected);
}

#[tokio::test]
async fn expectations_on_single_rows_take_one_pass() {
    let log = Log::of(events());
    let dag = Dag::builder()
        .source("events", Arc::clone(&log))
        .expect("events", not_null("id"))
        .expect("events", between("price", 0.0..))
        .expect("events", accepted_values("kind", ["detail", "search"]))
        .expect("events", expect_sql("times", "occurred_at <= received_at"))
        .expect("events", row_count(1..))
        .build()
        .unwrap();
    dag.run(&Warehouse::in_memory()).await.unwrap();
    assert_eq!(log.n_scans(), 1);
}

#[tokio::test]
async fn a_source_that_fails_holds_up_what_reads_it() {
    let dag = Dag::builder()
        .source("events", Log::of(events()))
        .expect("events", unique(["id"]))
        .sql("clean", "select * from events")
        .build()
        .unwrap();
    let error = dag.run(&Warehouse::in_memory()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "2 of 2 tables were not made: `events` failed, `clean` skipped because of events"
    );
}

#[tokio::test]
async fn a_view_is_audited_too() {
    let dag = Dag::builder()
        .values("a", "n", "(1), (1)")
        .sql("b", "select n from a")
        .materialize("b", Materialization::View)
        .expect("b", unique(["n"]))
        .build()
        .unwrap();
    assert!(dag.run(&Warehouse::in_memory()).await.is_err());
}

#[tokio::test]
async fn several_expectations_may_name_one_other_table() {
    let dag = Dag::builder()
        .values("items", "name", "('hat'), ('scarf')")
        .values(
            "sales",
            "item, gift",
            "('hat', 'scarf'), ('scarf', 'glove')",
        )
        .expect("sales", relationships("item", "items", "name"))
        .expect("sales", relationships("gift", "items", "name").warn())
        .build()
        .unwrap();
    let run = dag.run(&Warehouse::in_memory()).await.unwrap();
    insta::assert_snapshot!(run.report("sales").unwrap().checks, @r#"
    sales: 1 of 2 checks passed
      relationships(gift, items.name) warns: 1 of 2 rows
        {"item":"scarf","gift":"glove"}
    "#);
}

/// A warehouse with less memory than 40 MB of rows take.
fn small(spill_dir: &Path) -> Warehouse {
    let config = WarehouseConfig {
        memory_limit: 28 << 20,
        target_partitions: 1.try_into().ok(),
        spill_dir: Some(spill_dir.to_owned()),
        ..WarehouseConfig::default()
    };
    Warehouse::in_memory().with_config(config).unwrap()
}

#[tokio::test]
async fn uniqueness_is_found_out_in_less_memory_than_the_keys_take() {
    // One of the keys is there twice.
    let dag = Dag::builder()
        .sql(
            "wide",
            "select concat(repeat('x', 400), greatest(value, 2)) as key
             from generate_series(1, 100000)",
        )
        .materialize("wide", Materialization::View)
        .expect("wide", unique(["key"]).warn())
        .build()
        .unwrap();
    let dir = tempfile::tempdir().unwrap();
    let run = dag.run(&small(dir.path())).await.unwrap();
    let result = &run.report("wide").unwrap().checks.results[0];
    assert_eq!((result.n_checked, result.n_failed), (100_000, 2));
    let twice = format!(r#"{{"key":"{}2"}}"#, "x".repeat(400));
    assert_eq!(result.samples, [twice.clone(), twice]);
}

#[tokio::test]
async fn references_are_followed_in_less_memory_than_the_rows_take() {
    let dag = Dag::builder()
        .sql(
            "known",
            "select concat(repeat('x', 400), value) as key from generate_series(0, 8)",
        )
        .sql(
            "wide",
            "select value, concat(repeat('x', 400), value % 10) as key
             from generate_series(1, 100000)",
        )
        .materialize("wide", Materialization::View)
        .expect("wide", relationships("key", "known", "key").warn())
        .build()
        .unwrap();
    let dir = tempfile::tempdir().unwrap();
    let run = dag.run(&small(dir.path())).await.unwrap();
    let result = &run.report("wide").unwrap().checks.results[0];
    assert_eq!((result.n_checked, result.n_failed), (100_000, 10_000));
}
