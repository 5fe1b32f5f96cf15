//! Expectations beside earlier runs, and expectations of the host's own.

use std::time::Duration;

use reco_core::Timestamp;
use reco_transform::datafusion::arrow::array::RecordBatch;
use reco_transform::datafusion::error::Result as EngineResult;
use reco_transform::datafusion::functions_aggregate::expr_fn::{avg, count};
use reco_transform::datafusion::logical_expr::JoinType;
use reco_transform::datafusion::prelude::{DataFrame, SessionContext, ident, lit};
use reco_transform::{
    CheckedTables, CustomExpectation, Dag, DagRun, Error, Expectation, Finding, Metrics, Source,
    Suite, Warehouse, audit_table, checks_batch, checks_schema, expect_custom, expect_fn,
    freshness, mean_near_earlier, not_null, null_share_near_earlier, quantile_near_earlier,
    row_count_near_earlier,
};

/// Runs of a table whose results are kept, one an hour.
struct Runs {
    kept: Vec<RecordBatch>,
    expectations: Vec<Expectation>,
}

impl Runs {
    fn of(expectations: impl IntoIterator<Item = Expectation>) -> Self {
        Self {
            kept: Vec::new(),
            expectations: expectations.into_iter().collect(),
        }
    }

    /// The names of what fails on the next version of the table, which is kept as it is.
    async fn next(&mut self, query: &str) -> Vec<String> {
        let checks = Source::batches(checks_schema(), self.kept.clone()).unwrap();
        let dag = Dag::builder()
            .source("checks", checks)
            .sql("t", query)
            .expect_all("t", self.expectations.clone())
            .build()
            .unwrap();
        let run = match dag.run(&Warehouse::in_memory()).await {
            Ok(run) => run,
            Err(Error::Incomplete { run, .. }) => *run,
            Err(error) => panic!("{error:?}"),
        };
        let hour = i64::try_from(self.kept.len()).unwrap();
        let run_at = Timestamp::from_second(hour * 3600).unwrap();
        self.kept
            .push(checks_batch(run_at, &format!("run-{hour}"), run.reports()).unwrap());
        failed(&run)
    }
}

fn failed(run: &DagRun) -> Vec<String> {
    let results = &run.report("t").unwrap().checks.results;
    let failed = results.iter().filter(|result| !result.passed);
    failed.map(|result| result.check.clone()).collect()
}

/// A thousand rows, of which some per cent have no price.
fn prices(percent_null: u32, factor: f64) -> String {
    format!(
        "select value as id, case when value % 100 < {percent_null} then null else {factor} * value end as price
         from generate_series(1, 1000)"
    )
}

const NONE: [&str; 0] = [];

#[tokio::test]
async fn a_tenth_more_nulls_are_found_by_the_second_run() {
    let mut runs = Runs::of([
        null_share_near_earlier("price", "checks", 1, 0.05),
        null_share_near_earlier("id", "checks", 1, 0.05),
    ]);
    assert_eq!(runs.next(&prices(2, 1.0)).await, NONE);
    let drifted = ["null_share_near_earlier(price, checks, 1, 0.05)"];
    assert_eq!(runs.next(&prices(12, 1.0)).await, drifted);
    // The bad run was not published, and is not what the next one is measured by.
    assert_eq!(runs.next(&prices(12, 1.0)).await, drifted);
    assert_eq!(runs.next(&prices(6, 1.0)).await, NONE);
    assert_eq!(runs.next(&prices(10, 1.0)).await, NONE);
}

#[tokio::test]
async fn figures_are_compared_with_the_mean_of_the_last_runs() {
    let mut runs = Runs::of([
        mean_near_earlier("price", "checks", 2, 0.1),
        quantile_near_earlier("price", 0.5, "checks", 2, 0.1),
        quantile_near_earlier("price", 0.9, "checks", 2, 0.1),
        row_count_near_earlier("checks", 2, 0.1),
    ]);
    for factor in [1.0, 1.05, 1.1] {
        assert_eq!(runs.next(&prices(0, factor)).await, NONE, "{factor}");
    }
    // The last two have a mean of 1.075.
    assert_eq!(runs.next(&prices(0, 1.25)).await.len(), 3);
    assert_eq!(runs.next(&prices(0, 1.15)).await, NONE);
    let steeper = "select value as id, case when value > 800 then 2.0 else 1.2 end * value as price
                   from generate_series(1, 1000)";
    assert_eq!(
        runs.next(steeper).await,
        [
            "mean_near_earlier(price, checks, 2, 0.1)",
            "quantile_near_earlier(price, 0.9, checks, 2, 0.1)"
        ]
    );
    assert_eq!(
        runs.next("select 1 as id, cast(null as double) as price where false")
            .await
            .len(),
        4
    );
}

#[tokio::test]
async fn only_the_same_figure_counts_whatever_its_limits() {
    let mut runs = Runs::of([null_share_near_earlier("price", "checks", 7, 0.5)]);
    assert_eq!(runs.next(&prices(10, 1.0)).await, NONE);
    // Another limit and another number of runs go on with it; another condition begins anew.
    runs.expectations = vec![
        null_share_near_earlier("price", "checks", 1, 0.01),
        null_share_near_earlier("price", "checks", 1, 0.01).when("id > 500"),
        null_share_near_earlier("id", "checks", 1, 0.01),
    ];
    assert_eq!(
        runs.next(&prices(20, 1.0)).await,
        ["null_share_near_earlier(price, checks, 1, 0.01)"]
    );
    runs.expectations.remove(0);
    assert_eq!(runs.next(&prices(20, 1.0)).await, NONE);
    assert_eq!(
        runs.next(&prices(30, 1.0)).await,
        ["null_share_near_earlier(price, checks, 1, 0.01) when id > 500"]
    );
}

#[tokio::test]
async fn freshness_is_told_by_the_clock_that_is_given() {
    let session = SessionContext::new();
    let times = session
        .sql("select timestamp '2024-05-01T08:00:00' as at")
        .await
        .unwrap();
    session.register_table("times", times.into_view()).unwrap();
    let loaded: Timestamp = "2024-05-01T08:00:00Z".parse().unwrap();
    for (age, expected) in [(0, true), (3600, true), (3601, false)] {
        let now = loaded + Duration::from_secs(age);
        let fresh = freshness("at", Duration::from_secs(3600), now);
        let report = audit_table(&session, "times", &[fresh]).await.unwrap();
        assert_eq!(report.passed(), expected, "{age}");
    }
}

#[derive(Debug)]
struct MeanSessionLength {
    max: f64,
}

impl CustomExpectation for MeanSessionLength {
    fn name(&self) -> String {
        format!("mean_session_length(..={})", self.max)
    }

    fn inputs(&self) -> Vec<String> {
        vec!["bots".to_owned()]
    }

    fn metrics(&self, tables: &CheckedTables) -> EngineResult<DataFrame> {
        let bots = tables.other("bots")?;
        let people = tables
            .table()
            .join(bots, JoinType::LeftAnti, &["session"], &["bot"], None)?;
        let sessions =
            people.aggregate(vec![ident("session")], vec![count(lit(1_i64)).alias("n")])?;
        sessions.aggregate(Vec::new(), vec![avg(ident("n")).alias("mean")])
    }

    fn judge(&self, metrics: &Metrics) -> EngineResult<Finding> {
        let mean = metrics.number("mean")?;
        let finding = Finding::new(mean.is_some_and(|mean| mean <= self.max));
        Ok(finding.observed(mean).with_note("bots aside"))
    }
}

fn clicks(expectation: Expectation) -> Result<Dag, Error> {
    Dag::builder()
        .sql("bots", "select 'c' as bot")
        .sql("t", "select * from (values ('a', 1), ('a', 2), ('b', 3), ('c', 4), ('c', 5)) as t (session, id)")
        .expect("t", expectation)
        .build()
}

#[tokio::test]
async fn an_expectation_of_the_host_is_one_of_ours() {
    let check = async |expectation: Expectation, expected: &str| {
        let run = clicks(expectation.warn())
            .unwrap()
            .run(&Warehouse::in_memory())
            .await
            .unwrap();
        assert_eq!(
            run.report("t").unwrap().checks.results[0].to_string(),
            expected
        );
    };
    check(
        expect_custom(MeanSessionLength { max: 2.0 }),
        "mean_session_length(..=2) passed: 0 of 5 rows, observed 1.5, bots aside",
    )
    .await;
    check(
        expect_custom(MeanSessionLength { max: 1.0 }).when("id < 2"),
        "mean_session_length(..=1) when id < 2 passed: 0 of 1 rows, observed 1.0, bots aside",
    )
    .await;
    check(
        expect_custom(MeanSessionLength { max: 1.0 }),
        "mean_session_length(..=1) warns: 0 of 5 rows, observed 1.5, bots aside",
    )
    .await;
    // A suite names it, and the host says what it is.
    let suite =
        Suite::from_yaml("expectations: [{type: custom, name: steady, when: id < 2}]").unwrap();
    let named = Expectation::from(suite.expectations[0].clone());
    check(
        named.implemented_by(MeanSessionLength { max: 1.0 }),
        "steady when id < 2 passed: 0 of 1 rows, observed 1.0, bots aside",
    )
    .await;
}

#[tokio::test]
async fn an_expectation_of_the_host_is_refused_where_it_cannot_be_evaluated() {
    let refused = |expectation: Expectation| clicks(expectation).unwrap_err().to_string();
    let suite = Suite::from_yaml("expectations: [{type: custom, name: steady}]").unwrap();
    let named = Expectation::from(suite.expectations[0].clone());
    assert!(refused(named).ends_with("nothing implements it (`implemented_by`)"));
    let ours = not_null("id").implemented_by(MeanSessionLength { max: 1.0 });
    assert!(refused(ours).ends_with("it is of a kind of ours, and needs no implementation"));
    let some = expect_custom(MeanSessionLength { max: 1.0 }).mostly(0.5);
    assert!(refused(some).ends_with("`mostly` is for what single rows can fail"));

    let rows = |tables: &CheckedTables| Ok(tables.table());
    let check = async |expectation: Expectation, expected: &str| {
        let error = clicks(expectation)
            .unwrap()
            .run(&Warehouse::in_memory())
            .await
            .unwrap_err();
        let told = told(&error);
        assert!(told.contains(expected), "{told}");
    };
    check(
        expect_fn("rows", rows, |_| Ok(Finding::new(true))),
        "its metrics are 5 rows, not one",
    )
    .await;
    let one = |tables: &CheckedTables| {
        tables
            .table()
            .aggregate(Vec::new(), vec![count(ident("session")).alias("n")])
    };
    check(
        expect_fn("metric", one, |metrics| {
            Ok(Finding::new(metrics.number("m")? > Some(0.0)))
        }),
        "\"m\"",
    )
    .await;
    // What it reads is known when the DAG is built, so that nothing runs in vain.
    let other = |tables: &CheckedTables| tables.other("items");
    let error = clicks(expect_fn("other", other, |_| Ok(Finding::new(true)))).unwrap_err();
    assert!(
        told(&error).contains("table `items` is not one of its inputs"),
        "{}",
        told(&error)
    );
}

fn told(error: &Error) -> String {
    let mut told = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        told.push_str(&format!(": {error}"));
        cause = error.source();
    }
    told
}
