//! The whole vocabulary of expectations: in Rust, as data, and what each finds.

use std::ops::Bound;

use std::error::Error as _;
use std::time::Duration;

use proptest::prelude::*;
use reco_core::{CheckReport, Timestamp};
use reco_transform::datafusion::prelude::SessionContext;
use reco_transform::{
    Check, Dag, Expectation, ExpectationConfig, IgnoreRowIf, MatchOn, Monotonic, ParseAs, Scalar,
    Suite, Warehouse, accepted_values, audit_table, between, checks_batch, checks_schema,
    column_count, column_distinct_count, column_distinct_share, column_exists, column_max,
    column_mean, column_median, column_min, column_not_null_share, column_quantile, column_stdev,
    column_sum, column_type, columns_match_ordered, columns_match_set, decreasing,
    distinct_values_contain, distinct_values_equal, distinct_values_in, equal_within_record,
    expect_no_rows, expect_sql, failing_rows, freshness, increasing, matches_like,
    matches_like_list, matches_regex, matches_regex_list, matches_strftime, most_common_value,
    multicolumn_sum, not_matches_like, not_matches_like_list, not_matches_regex,
    not_matches_regex_list, not_null, null, pair_equal, pair_greater, pair_in_set, parseable,
    rejected_values, relationships, row_count, row_count_equals_table, row_count_near_earlier,
    unique, unique_within_record, value_lengths,
};

use crate::shop::ValuesExt;

/// A session with a table of sales, four of them.
async fn sales() -> SessionContext {
    let session = SessionContext::new();
    let tables = [
        (
            "sales",
            "select * from (values
                (1, 'hat', 9.5, 1, '2024-05-01', 'a@b.de'),
                (2, 'hat', 20.0, 2, '2024-05-02', 'c@d.de'),
                (3, 'scarf', 30.5, 3, '2024-02-31', 'nobody'),
                (4, null, null, 3, null, null)
            ) as t (id, item, price, n, day, mail)",
        ),
        (
            "items",
            "select * from (values ('hat'), ('glove')) as t (name)",
        ),
        ("four", "select value from generate_series(1, 4)"),
        (
            "times",
            "select arrow_cast('2024-05-01T08:00:00Z', 'Timestamp(Microsecond, Some(\"UTC\"))') as at, null as nothing",
        ),
    ];
    for (name, query) in tables {
        let view = session.sql(query).await.unwrap().into_view();
        session.register_table(name, view).unwrap();
    }
    session
}

async fn audit(table: &str, expectations: &[Expectation]) -> CheckReport {
    audit_table(&sales().await, table, expectations)
        .await
        .unwrap()
}

async fn refused(expectation: Expectation) -> String {
    let error = audit_table(&sales().await, "sales", &[expectation]).await;
    let error = error.unwrap_err();
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

fn may(day: i8) -> Timestamp {
    format!("2024-05-0{day}T08:00:00Z").parse().unwrap()
}

fn hours(n: u64) -> Duration {
    Duration::from_secs(n * 60 * 60)
}

/// One of each kind, which the sales meet.
fn met() -> Vec<Expectation> {
    vec![
        not_null("id"),
        null("item").when("id = 4"),
        unique(["id"]),
        accepted_values("item", ["hat", "scarf"]),
        rejected_values("item", ["glove"]),
        between("price", 9.5..=30.5),
        value_lengths("item", 3..=5),
        matches_regex("item", "^[a-z]+$"),
        not_matches_regex("item", "[0-9]"),
        matches_regex_list("item", ["^h", "^s"], MatchOn::Any),
        matches_regex_list("item", ["a", "[tf]$"], MatchOn::All),
        not_matches_regex_list("item", ["^x", "y$"]),
        matches_like("item", "%a%"),
        not_matches_like("item", "x%"),
        matches_like_list("item", ["h%", "s%"], MatchOn::Any),
        not_matches_like_list("item", ["x%", "y%"]),
        parseable("day", ParseAs::Date).when("id <> 3"),
        matches_strftime("day", "%Y-%m-%d").when("id <> 3"),
        increasing("n", ["id"]),
        decreasing("n", ["price"]).mostly(0.0),
        relationships("item", "items", "name").when("item = 'hat'"),
        pair_equal("id", "n").when("id < 4"),
        pair_greater("price", "id", false),
        pair_in_set("item", "n", [("hat", 1), ("hat", 2), ("scarf", 3)]),
        multicolumn_sum(["id", "n"], 2.0).when("id = 1"),
        unique_within_record(["id", "price"]),
        equal_within_record(["id", "n"]).when("id < 4"),
        expect_sql("cheap", "price < 100"),
        column_min("price", 9.5..10.0),
        column_max("item", "scarf"..="scarf"),
        column_mean("price", 20.0..=20.0),
        column_median("n", 2.5..=2.5),
        column_stdev("price", 10.5..=10.5),
        column_sum("price", 60.0..=60.0),
        column_not_null_share("price", 0.75..=0.75),
        column_distinct_count("n", 3..=3),
        column_distinct_share("n", 0.75..=0.75),
        column_quantile("price", 0.5, 20.0, 20.0),
        distinct_values_in("item", ["hat", "scarf", "glove"]),
        distinct_values_equal("item", ["hat", "scarf"]),
        distinct_values_contain("item", ["hat"]),
        most_common_value("item", ["hat"]),
        row_count(4..=4),
        row_count_equals_table("four"),
        column_count(6..=6),
        column_exists("day"),
        column_type("id", ["integer"]),
        columns_match_set(["mail", "id", "item", "price", "n", "day"]),
        columns_match_ordered(["id", "item", "price", "n", "day", "mail"]),
        expect_no_rows("none above 100", "select * from sales where price > 100"),
    ]
}

#[tokio::test]
async fn each_kind_can_be_met() {
    let report = audit("sales", &met()).await;
    assert_eq!(report.to_string(), "sales: 50 of 50 checks passed");
}

#[tokio::test]
async fn each_kind_on_rows_can_fail() {
    let report = audit(
        "sales",
        &[
            null("item").key(["id"]),
            rejected_values("item", ["scarf"]).key(["id"]),
            value_lengths("item", ..4).key(["id"]),
            matches_regex("mail", "^[^@]+@[^@]+$").key(["id"]),
            not_matches_regex("item", "^s").key(["id"]),
            matches_regex_list("item", ["^s", "f$"], MatchOn::All).key(["id"]),
            not_matches_regex_list("item", ["^x", "f$"]).key(["id"]),
            matches_like("item", "s%").key(["id"]),
            not_matches_like_list("item", ["x%", "s%"]).key(["id"]),
            parseable("day", ParseAs::Date).key(["id"]),
            parseable("item", ParseAs::Json).key(["id"]),
            matches_strftime("day", "%Y-%m-%d").key(["id"]),
            decreasing("n", ["id"]).key(["id"]),
            pair_equal("id", "n").key(["id"]),
            pair_greater("n", "id", false).key(["id"]),
            pair_in_set("item", "n", [("hat", 1)]).key(["id"]),
            multicolumn_sum(["id", "n"], 2.0).key(["id"]),
            unique_within_record(["id", "n"]).key(["id"]),
        ],
    )
    .await;
    insta::assert_snapshot!(report);
}

#[tokio::test]
async fn what_is_found_is_observed() {
    let report = audit(
        "sales",
        &[
            column_min("price", 10.0..),
            column_max("item", .."s"),
            column_mean("price", 0.0..1.0),
            column_median("price", 0.0..1.0),
            column_stdev("price", 0.0..1.0),
            column_sum("price", ..0.0).when("item = 'hat'"),
            column_distinct_count("item", 3..),
            column_distinct_share("item", 0.9..),
            column_quantile("price", 0.9, None, 10.0),
            distinct_values_in("item", ["hat"]),
            distinct_values_equal("item", ["hat", "scarf", "glove"]),
            distinct_values_contain("item", ["glove"]),
            most_common_value("n", [1]),
            row_count(5..),
            row_count(3..).when("item = 'hat'"),
            row_count_equals_table("items"),
            column_count(..3),
            column_exists("vector"),
            column_type("id", ["text", "Float64"]),
            columns_match_set(["id", "item"]),
            columns_match_ordered(["item", "id"]),
        ],
    )
    .await;
    insta::assert_snapshot!(report);
}

#[tokio::test]
async fn age_is_taken_at_a_given_time() {
    let check = |as_of, max_age, passed, note: &'static str| async move {
        let report = audit("times", &[freshness("at", max_age, as_of)]).await;
        let result = &report.results[0];
        assert_eq!(
            (result.passed, result.note.as_deref()),
            (passed, Some(note))
        );
        assert_eq!(result.observed.as_deref(), Some("\"2024-05-01T08:00:00Z\""));
    };
    check(may(2), hours(24), true, "24h old").await;
    check(may(2), hours(23), false, "24h old").await;
    check(may(3), hours(24), false, "48h old").await;
}

#[tokio::test]
async fn mostly_is_met_exactly_at_the_share() {
    let session = SessionContext::new();
    let numbers = session.sql("select nullif(value, 0) as n from generate_series(0, 100)");
    session
        .register_table("numbers", numbers.await.unwrap().into_view())
        .unwrap();
    let check = |expectation: Expectation, expected: bool| {
        let session = session.clone();
        async move {
            let report = audit_table(&session, "numbers", &[expectation])
                .await
                .unwrap();
            assert_eq!(report.passed(), expected, "{report}");
        }
    };
    // NULL does not count: 1 of 100 fails, then 2.
    check(between("n", ..=99).mostly(0.99), true).await;
    check(between("n", ..=98).mostly(0.99), false).await;
    check(between("n", ..=98).mostly(0.98), true).await;
    check(not_null("n").mostly(0.990_099), true).await;
    check(not_null("n").mostly(0.990_1), false).await;
}

#[tokio::test]
async fn rows_with_some_nulls_are_passed_over_as_said() {
    let of = |ignore_row_if| {
        Expectation::from(ExpectationConfig::new(Check::PairEqual {
            column_a: "item".to_owned(),
            column_b: "mail".to_owned(),
            ignore_row_if,
        }))
    };
    let session = SessionContext::new();
    let pairs = "select * from (values ('a', 'a'), ('a', null), (null, null)) as t (item, mail)";
    let pairs = session.sql(pairs).await.unwrap().into_view();
    session.register_table("pairs", pairs).unwrap();
    for (ignore_row_if, n_checked, n_failed) in [
        (IgnoreRowIf::AnyMissing, 1, 0),
        (IgnoreRowIf::AllMissing, 2, 1),
        (IgnoreRowIf::Never, 3, 2),
    ] {
        let report = audit_table(&session, "pairs", &[of(ignore_row_if)])
            .await
            .unwrap();
        let result = &report.results[0];
        assert_eq!((result.n_checked, result.n_failed), (n_checked, n_failed));
    }
}

#[tokio::test]
async fn order_is_compared_within_groups() {
    let strictly = Check::Increasing(Monotonic {
        column: "n".to_owned(),
        order_by: vec!["id".to_owned()],
        partition_by: vec!["item".to_owned()],
        strictly: true,
    });
    let within = Expectation::from(ExpectationConfig::new(strictly.clone()));
    assert!(audit("sales", &[within]).await.passed());
    let Check::Increasing(monotonic) = strictly else {
        panic!("it is one");
    };
    let overall = Check::Increasing(Monotonic {
        partition_by: Vec::new(),
        ..monotonic
    });
    let overall = Expectation::from(ExpectationConfig::new(overall));
    let report = audit("sales", &[overall]).await;
    assert_eq!(report.results[0].n_failed, 1);
}

#[tokio::test]
async fn all_failing_rows_are_given_on_request() {
    let session = sales().await;
    for (expectation, expected) in [
        (not_null("item"), 1),
        (unique(["item"]), 2),
        (relationships("item", "items", "name"), 1),
        (decreasing("n", ["id"]), 2),
        (expect_no_rows("any", "select id from sales"), 4),
    ] {
        let failing = failing_rows(&session, "sales", &expectation).await.unwrap();
        assert_eq!(failing.count().await.unwrap(), expected, "{expectation}");
    }
    let error = failing_rows(&session, "sales", &row_count(9..))
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "expectation `row_count(9..)` on table `sales` means nothing: no single row can fail it"
    );
}

#[tokio::test]
async fn what_means_nothing_is_refused() {
    let check = |expectation: Expectation, reason: &'static str| async move {
        let error = refused(expectation).await;
        assert!(
            error.ends_with(&format!("means nothing: {reason}")),
            "{error}"
        );
    };
    check(not_null("id").mostly(1.5), "`mostly` is not from 0 to 1").await;
    check(
        row_count(1..).mostly(0.5),
        "`mostly` is for what single rows can fail",
    )
    .await;
    check(
        column_count(1..).when("id > 1"),
        "`when` is for what looks at rows of the table",
    )
    .await;
    check(
        between("id", (Bound::Included(3), Bound::Included(2))),
        "no value is in its range",
    )
    .await;
    check(row_count(3..3), "no number is in its range").await;
    check(
        matches_regex("item", "("),
        "its regular expression cannot be read",
    )
    .await;
    check(
        unique_within_record(["id"]),
        "it names fewer than two columns",
    )
    .await;
    check(
        column_quantile("id", 1.1, None, None),
        "the quantile is not from 0 to 1",
    )
    .await;
    check(
        increasing("id", Vec::<String>::new()),
        "it does not say by which columns rows are in order",
    )
    .await;
}

#[tokio::test]
async fn what_does_not_fit_the_table_is_refused() {
    let error = refused(column_mean("item", 0.0..)).await;
    assert!(
        error.contains("`column_mean(item, 0..)` on table `sales` cannot be evaluated"),
        "{error}"
    );
    assert!(error.contains("not a number"), "{error}");
    let error = refused(not_null("id").when("itm = 'hat'")).await;
    assert_eq!(
        error,
        "expectation `not_null(id) when itm = 'hat'` on table `sales` names column `itm`, \
         which is not there; did you mean `item`?"
    );
    let error = refused(column_type("itm", ["text"])).await;
    assert!(error.contains("did you mean `item`?"), "{error}");
}

#[tokio::test]
async fn a_dag_refuses_what_does_not_fit_before_it_runs() {
    for expectation in met() {
        let name = expectation.name().to_owned();
        let dag = Dag::builder()
            .values("t", "x", "(1)")
            .values("items", "name", "('hat')")
            .values("four", "n", "(1)")
            .values("sales", "price", "(1)")
            .expect("t", expectation)
            .build();
        // What is on names and numbers of columns and rows fits any table, as does a query of its own.
        let is_of_any = name.contains("column_exists")
            || name.contains("column_count")
            || name.contains("columns_match")
            || name.contains("row_count")
            || name.contains("none above");
        assert_eq!(dag.is_ok(), is_of_any, "{name}");
    }
}

#[test]
fn suites_are_the_same_in_rust_and_as_data() {
    let mut expectations = met();
    expectations.push(freshness("at", hours(36), may(1)).warn());
    expectations.push(row_count_near_earlier("checks", 7, 0.2));
    let expectations: Vec<ExpectationConfig> = expectations.into_iter().map(Into::into).collect();
    let suite = Suite {
        name: "sales".to_owned(),
        expectations,
    };
    let json = suite.to_json().unwrap();
    assert_eq!(Suite::from_json(&json).unwrap(), suite);
    assert_eq!(serde_json::from_str::<Suite>(&json).unwrap(), suite);
    insta::assert_snapshot!(json);
}

#[tokio::test]
async fn a_suite_leaves_the_time_open() {
    let json = r#"{"expectations": [{"type": "freshness", "column": "at", "max_age": "36h"}]}"#;
    let suite = Suite::from_json(json).unwrap();
    let open = Expectation::from(suite.expectations[0].clone());
    let error = audit_table(&sales().await, "times", std::slice::from_ref(&open))
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("it does not say at which time (`as_of`)")
    );
    assert!(audit("times", &[open.clone().as_of(may(2))]).await.passed());
    assert!(!audit("times", &[open.as_of(may(3))]).await.passed());
}

#[tokio::test]
async fn numbers_of_rows_are_compared_with_earlier_runs() {
    let dag = |n_rows: u64, checks| {
        Dag::builder()
            .source(
                "checks",
                reco_transform::Source::batches(checks_schema(), checks).unwrap(),
            )
            .sql(
                "t",
                format!("select value from generate_series(1, {n_rows})"),
            )
            .expect("t", row_count_near_earlier("checks", 2, 0.2))
            .build()
            .unwrap()
    };
    let mut checks = Vec::new();
    for (run, (n_rows, note)) in [
        (100, "no earlier run"),
        (110, "the mean of earlier runs is 100"),
        (120, "the mean of earlier runs is 105"),
    ]
    .into_iter()
    .enumerate()
    {
        let run_of = dag(n_rows, checks.clone())
            .run(&Warehouse::in_memory())
            .await
            .unwrap();
        let result = &run_of.report("t").unwrap().checks.results[0];
        assert_eq!(result.note.as_deref(), Some(note));
        let run_at = Timestamp::from_second(i64::try_from(run).unwrap()).unwrap();
        checks.push(checks_batch(run_at, &format!("run-{run}"), run_of.reports()).unwrap());
    }
    // The last two have a mean of 115: 92 to 138.
    assert!(
        dag(92, checks.clone())
            .run(&Warehouse::in_memory())
            .await
            .is_ok()
    );
    assert!(dag(139, checks).run(&Warehouse::in_memory()).await.is_err());
}

#[tokio::test]
async fn a_hundred_expectations_take_one_pass() {
    let expectations: Vec<Expectation> = (0..100)
        .map(|i| match i % 4 {
            0 => not_null("price"),
            1 => between("price", f64::from(i) - 200.0..),
            2 => column_mean("price", f64::from(-i)..),
            _ => accepted_values("kind", ["detail", "search", &format!("kind-{i}")]),
        })
        .collect();
    let log = crate::shop::Log::of(crate::shop::events());
    let dag = Dag::builder()
        .source("events", std::sync::Arc::clone(&log))
        .expect_all("events", expectations)
        .build()
        .unwrap();
    dag.run(&Warehouse::in_memory()).await.unwrap();
    assert_eq!(log.n_scans(), 1);
}

#[test]
fn values_of_data_are_values_of_rust() {
    let config: ExpectationConfig = serde_json::from_str(
        r#"{"type": "accepted_values", "column": "n", "values": [1, 2.5, "x", true]}"#,
    )
    .unwrap();
    let Check::AcceptedValues(list) = config.check else {
        panic!("it is one");
    };
    assert_eq!(
        list.values,
        [
            Scalar::Integer(1),
            Scalar::Float(2.5),
            Scalar::Text("x".to_owned()),
            Scalar::Boolean(true),
        ]
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// The counts are those of a loop over the rows.
    #[test]
    fn counts_are_those_of_a_loop(values in prop::collection::vec(prop::option::of(0..6_i64), 0..30)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let rows: Vec<String> = values
            .iter()
            .enumerate()
            .map(|(i, value)| match value {
                Some(value) => format!("({i}, {value})"),
                None => format!("({i}, null)"),
            })
            .collect();
        let query = if rows.is_empty() {
            "select 0 as i, 1 as n where false".to_owned()
        } else {
            format!("select * from (values {}) as t (i, n)", rows.join(", "))
        };
        let known: Vec<i64> = values.iter().copied().flatten().collect();
        let expected = [
            values.len() - known.len(),
            known.iter().filter(|n| **n > 3).count(),
            known.iter().filter(|n| known.iter().filter(|other| other == n).count() > 1).count(),
            known.windows(2).filter(|pair| pair[1] < pair[0]).count(),
        ];
        let report = runtime.block_on(async {
            let session = SessionContext::new();
            let table = session.sql(&query).await.unwrap().into_view();
            session.register_table("t", table).unwrap();
            let expectations = [not_null("n"), between("n", ..=3), unique(["n"]), increasing("n", ["i"])];
            audit_table(&session, "t", &expectations).await.unwrap()
        });
        let found: Vec<usize> = report
            .results
            .iter()
            .map(|result| usize::try_from(result.n_failed).unwrap())
            .collect();
        prop_assert_eq!(found, expected);
    }
}
