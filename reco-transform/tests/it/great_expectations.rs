//! Suites of Great Expectations: the reference pipeline's own, and verdicts of Great Expectations itself.

use std::collections::BTreeMap;

use reco_core::{CheckResult, Severity};
use reco_transform::datafusion::prelude::SessionContext;
use reco_transform::{
    Error, Expectation, GreatExpectations, ImportedSuite, Suite, audit_table, expect_no_rows,
};
use serde::Deserialize;
use serde_json::{Value, json};

const A: &str = include_str!("../data/great_expectations/a_browsing_train.json");
const B: &str = include_str!("../data/great_expectations/b_browsing_train.json");
const CONTENT: &str = include_str!("../data/great_expectations/c_content_flattened.json");
const SESSIONS: &str = include_str!("../data/great_expectations/c_session_stats.json");
const AVERAGE: &str = "expect_average_session_length_to_be_between";

/// How the reference pipeline's own expectation is told.
fn reader() -> GreatExpectations {
    GreatExpectations::new().custom(AVERAGE, |kwargs| {
        let (min, max) = (&kwargs["min_value"], &kwargs["max_value"]);
        Ok(expect_no_rows(
            format!("average session length from {min} to {max}"),
            format!(
                "select avg(n) as average from
                 (select count(*) as n from browsing group by session_id_hash)
                 having avg(n) not between {min} and {max}"
            ),
        ))
    })
}

async fn session(table: &str, query: &str) -> SessionContext {
    let session = SessionContext::new();
    let view = session.sql(query).await.unwrap().into_view();
    session.register_table(table, view).unwrap();
    session
}

/// The names of what fails.
async fn failures(suite: &ImportedSuite, table: &str, query: &str) -> Vec<String> {
    let session = session(table, query).await;
    let report = audit_table(&session, table, &suite.expectations)
        .await
        .unwrap();
    let failed = report.results.into_iter().filter(|result| !result.passed);
    failed.map(|result| result.check).collect()
}

#[test]
fn an_expectation_of_a_project_is_refused_by_its_name() {
    for suite in [A, B] {
        let error = GreatExpectations::new().read(suite).unwrap_err();
        let Error::Untranslated { suite, left_out } = &error else {
            panic!("{error:?}");
        };
        assert_eq!((suite.as_str(), left_out.len()), ("browsing_train", 1));
        assert_eq!(left_out[0].kind, AVERAGE);
        assert!(
            error.to_string().contains("`GreatExpectations::custom`"),
            "{error}"
        );
    }
    let fits = GreatExpectations::new().read_what_fits(A).unwrap();
    assert_eq!((fits.expectations.len(), fits.left_out[0].position), (4, 4));
}

#[tokio::test]
async fn the_suites_of_the_reference_pipeline_give_their_verdicts() {
    let a = reader().read(A).unwrap();
    assert_eq!(a.expectations.len(), 5);
    let none: [&str; 0] = [];
    let columns = "session_id_hash, product_sku_hash, server_timestamp_epoch_ms";
    let rows = |rows: &str| format!("select * from (values {rows}) as t ({columns})");
    let good = rows("('s', 'a', 1), ('s', 'b', 2)");
    assert_eq!(failures(&a, "browsing", &good).await, none);
    let bad = rows("('s', 'a', 1), (null, 'b', 2)");
    let expected = [
        "not_null(session_id_hash)",
        "average session length from 2 to 10",
    ];
    assert_eq!(failures(&a, "browsing", &bad).await, expected);
    let numbers = rows("(1, 'a', 1), (1, null, 2)");
    let expected = [
        "not_null(product_sku_hash)",
        "column_type(session_id_hash, [text])",
    ];
    assert_eq!(failures(&a, "browsing", &numbers).await, expected);

    let b = reader().read(B).unwrap();
    assert_eq!(b.expectations.len(), 6);
    let columns = "session_id_hash, event_type, product_action, product_sku_hash";
    let rows = |rows: &str| format!("select * from (values {rows}) as t ({columns})");
    let good = rows(
        "('s', 'pageview', '', null), ('s', 'event_product', 'detail', 'a'),
         ('s', 'event_product', 'add', 'a'), ('s', 'event_product', 'purchase', 'a')",
    );
    assert_eq!(failures(&b, "browsing", &good).await, none);
    let bad = rows("('s', 'pageview', 'wink', null), ('s', 'search', '', null)");
    let expected = [
        "average session length from 4 to 10",
        "distinct_values_in(event_type, [pageview, event_product])",
        "distinct_values_in(product_action, [, detail, add, remove, purchase])",
    ];
    assert_eq!(failures(&b, "browsing", &bad).await, expected);

    let content = GreatExpectations::new().read(CONTENT).unwrap();
    let good = "select 1 as item_vector, 2 as image_vector, 3 as price_bucket";
    assert_eq!(failures(&content, "content", good).await, none);
    let bad = "select 1 as item_vector, 3 as price_buckets";
    let expected = ["column_exists(image_vector)", "column_exists(price_bucket)"];
    assert_eq!(failures(&content, "content", bad).await, expected);

    let sessions = GreatExpectations::new().read(SESSIONS).unwrap();
    let rows = |rows: &str| {
        format!(
            "select * from (values {rows}) as t (session_action_count, add_action_count, session_time)"
        )
    };
    assert_eq!(
        failures(&sessions, "stats", &rows("(1, 0, 0), (7, 2, 30)")).await,
        none
    );
    let expected = [
        "column_min(session_action_count, 1..)",
        "column_min(add_action_count, 0..)",
        "between(session_time, 0..)",
    ];
    let bad = rows("(0, -1, -3), (7, 2, 30)");
    assert_eq!(failures(&sessions, "stats", &bad).await, expected);
}

#[test]
fn what_cannot_be_translated_is_told() {
    let check = |kind: &str, kwargs: Value, expected: &str| {
        let suite = json!({"name": "s", "expectations": [{"type": kind, "kwargs": kwargs}]});
        let suite = GreatExpectations::new()
            .read_what_fits(&suite.to_string())
            .unwrap();
        assert!(suite.expectations.is_empty(), "{kind} {kwargs}");
        let reason = &suite.left_out[0].reason;
        assert!(reason.contains(expected), "{reason}");
    };
    let x = |more: Value| {
        let mut kwargs = json!({"column": "x"});
        kwargs
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        kwargs
    };
    check(
        "expect_column_values_to_not_be_nul",
        x(json!({})),
        "did you mean `expect_column_values_to_not_be_null`?",
    );
    check(
        "expect_column_values_to_not_be_null",
        json!({}),
        "it has no `column`",
    );
    check(
        "expect_column_values_to_not_be_null",
        x(json!({"mostley": 1})),
        "`mostley` is not known; did you mean `mostly`?",
    );
    check(
        "expect_column_values_to_not_be_null",
        x(json!({"mostly": 1.5})),
        "`mostly` is not from 0 to 1",
    );
    check(
        "expect_column_mean_to_be_between",
        x(json!({"min_value": 1, "mostly": 0.5})),
        "`mostly` is for what single rows can fail",
    );
    check(
        "expect_column_mean_to_be_between",
        x(json!({"auto": true})),
        "`auto`",
    );
    check(
        "expect_column_values_to_be_between",
        x(json!({"min_value": [1]})),
        "`min_value` holds a list or an object",
    );
    check(
        "expect_column_values_to_be_in_set",
        x(json!({"value_set": null})),
        "accepts anything",
    );
    check(
        "expect_column_values_to_be_in_set",
        x(json!({"value_set": {"$PARAMETER": "set"}})),
        "what its parameter `set` is",
    );
    check(
        "expect_column_values_to_be_in_set",
        x(json!({"value_set": [1], "parse_strings_as_datetimes": true})),
        "texts as times",
    );
    check(
        "expect_column_values_to_match_regex",
        x(json!({"regex": "(?=a)"})),
        "its regular expression cannot be read",
    );
    check(
        "expect_column_values_to_match_like_pattern",
        x(json!({"like_pattern": "a", "escape": "!"})),
        "escapes",
    );
    check(
        "expect_column_values_to_match_strftime_format",
        x(json!({"strftime_format": "%!"})),
        "format cannot be read",
    );
    check(
        "expect_column_values_to_be_increasing",
        x(json!({})),
        "`GreatExpectations::row_order`",
    );
    check(
        "expect_column_values_to_be_of_type",
        x(json!({"type_": "GEOGRAPHY"})),
        "`GEOGRAPHY`",
    );
    check(
        "expect_column_kl_divergence_to_be_less_than",
        x(json!({"threshold": 0.1})),
        "a distribution",
    );
    check(
        "expect_column_values_to_not_be_null",
        x(json!({"row_condition": "a +", "condition_parser": "pandas"})),
        "the condition `a +` cannot be read",
    );
    check(
        "expect_table_row_count_to_equal_other_table",
        json!({"other_table_name": "o", "row_condition": "a > 1", "condition_parser": "pandas"}),
        "`when`",
    );
    check(
        "unexpected_rows_expectation",
        json!({"unexpected_rows_query": "select * from {batch}"}),
        "`GreatExpectations::table`",
    );
}

#[test]
fn arguments_of_both_versions_are_translated() {
    let check = |reader: GreatExpectations, entry: Value, expected: &[&str]| {
        let suite = json!({"name": "s", "meta": {}, "expectations": [entry], "suite_parameters": {"low": 3}});
        let suite = reader.read(&suite.to_string()).unwrap();
        let names: Vec<_> = suite.expectations.iter().map(Expectation::name).collect();
        assert_eq!(names, expected);
        suite
    };
    let new = GreatExpectations::new;
    let suite = check(
        new(),
        json!({"type": "expect_column_values_to_be_between", "severity": "warning", "id": null, "meta": {"a": 1}, "kwargs": {
            "column": "x", "min_value": {"$PARAMETER": "low"}, "strict_min": true, "mostly": 0.9,
            "row_condition": "y == 'z'", "condition_parser": "pandas", "catch_exceptions": false,
            "result_format": {"result_format": "COMPLETE", "unexpected_index_column_names": ["id"]}
        }}),
        &["between(x, above 3, ..) mostly 0.9 when \"y\" = 'z'"],
    );
    let config = suite.expectations[0].config();
    assert_eq!(
        (config.severity, config.key.as_slice()),
        (Severity::Warn, &["id".to_owned()][..])
    );
    // As data of ours, it is the same.
    let ours = Suite::from(suite.clone());
    assert_eq!(Suite::from_json(&ours.to_json().unwrap()).unwrap(), ours);

    check(
        new().parameter("low", 5),
        json!({"expectation_type": "expect_column_min_to_be_between", "kwargs": {"column": "x", "min_value": {"$PARAMETER": "low"}}}),
        &["column_min(x, 5..)"],
    );
    check(
        new(),
        json!({"type": "expect_column_max_to_be_between", "kwargs": {"column": "x", "max_value": {"$PARAMETER": "high", "$PARAMETER.high": 7.5}}}),
        &["column_max(x, ..=7.5)"],
    );
    check(
        new(),
        json!({"type": "expect_column_quantile_values_to_be_between", "kwargs": {"column": "x", "allow_relative_error": false,
            "quantile_ranges": {"quantiles": [0.1, 0.5], "value_ranges": [[null, 3], [2, 5]]}}}),
        &[
            "column_quantile(x, 0.1, ..=3)",
            "column_quantile(x, 0.5, 2..=5)",
        ],
    );
    check(
        new(),
        json!({"type": "expect_column_values_to_be_between", "kwargs": {"column": "day", "min_value": "2024-05-01",
            "max_value": "2024-06-01", "strict_max": true, "parse_strings_as_datetimes": true}}),
        &["between(day, 2024-05-01..2024-06-01) as times when \"day\" is not null"],
    );
    check(
        new().table("clicks"),
        json!({"type": "unexpected_rows_expectation", "description": "no bots", "kwargs": {"unexpected_rows_query": "select * from {batch} where bot"}}),
        &["no bots"],
    );
    check(
        new().row_order(["at"]),
        json!({"type": "expect_column_values_to_be_increasing", "kwargs": {"column": "n", "strictly": true}}),
        &["increasing(n by at, strictly)"],
    );
    check(
        new(),
        json!({"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 1.0, "strict_min": true, "max_value": 9}}),
        &["row_count(2..=9)"],
    );
}

#[tokio::test]
async fn texts_are_read_as_times_where_the_suite_says_so() {
    let suite = json!({"name": "s", "expectations": [{"type": "expect_column_values_to_be_between", "kwargs": {
        "column": "day", "min_value": "2024-05-01", "max_value": "2024-05-31", "parse_strings_as_datetimes": true}}]});
    let suite = GreatExpectations::new().read(&suite.to_string()).unwrap();
    let none: [&str; 0] = [];
    let rows = |rows: &str| format!("select * from (values {rows}) as t (day)");
    let good = rows("('2024-05-01T08:00:00'), (null), ('2024-05-30')");
    assert_eq!(failures(&suite, "t", &good).await, none);
    // As a text, this is in between.
    assert_eq!(
        failures(&suite, "t", &rows("('2024-05-31 01:00:00')"))
            .await
            .len(),
        1
    );
}

#[test]
fn what_is_no_suite_is_told_with_its_place() {
    let check = |json: &str, expected: &str| {
        let error = GreatExpectations::new().read(json).unwrap_err();
        let source = std::error::Error::source(&error).unwrap();
        assert_eq!(format!("{error}: {source}"), expected);
    };
    check(
        "{\"name\": \"s\",\n \"expectation\": []}",
        "suite ``, line 2, column 2, is invalid: unknown key `expectation` in the configuration of `suite`; \
         did you mean `expectations`?",
    );
    check(
        "{\"name\": \"s\", \"expectations\": [\n{\"typ\": \"x\"}]}",
        "suite `s`, expectation 0, line 2, column 2, is invalid: unknown key `typ` in the configuration of \
         `expectation`; did you mean `type`?",
    );
    check(
        "{\"name\": \"s\", \"expectations\": [\n{\"type\": \"x\", \"severity\": \"dire\"}]}",
        "suite `s`, expectation 0, line 2, column 1, is invalid: the configuration of `expectation` is invalid: \
         no severity is called `dire`",
    );
}

#[derive(Deserialize)]
struct Verdicts {
    /// The columns in their order, and the type of each.
    types: Vec<(String, String)>,
    tables: BTreeMap<String, Vec<Vec<Value>>>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    table: String,
    r#type: String,
    kwargs: Value,
    /// One, or one of each engine where they differ.
    verdicts: Vec<Verdict>,
}

#[derive(Debug, Deserialize)]
struct Verdict {
    success: bool,
    n_failed: Option<u64>,
    n_checked: Option<u64>,
    observed: Option<f64>,
}

impl Verdict {
    /// Whether our results say the same, in all that they say.
    fn is_of(&self, results: &[CheckResult]) -> bool {
        let same = |their: Option<u64>, our: u64| their.is_none_or(|their| their == our);
        if results.iter().all(|result| result.passed) != self.success {
            return false;
        }
        let [result] = results else { return true };
        let observed = result.observed.as_deref();
        let observed = observed.and_then(|json| serde_json::from_str::<f64>(json).ok());
        let is_near = |theirs: f64, ours: f64| (ours - theirs).abs() <= 1e-9 * theirs.abs();
        same(self.n_failed, result.n_failed)
            && same(self.n_checked, result.n_checked)
            && match (self.observed, observed) {
                (Some(theirs), Some(ours)) => is_near(theirs, ours),
                _ => true,
            }
    }
}

impl Verdicts {
    fn read() -> Self {
        serde_json::from_str(include_str!("../data/great_expectations.json")).unwrap()
    }

    async fn session(&self) -> SessionContext {
        let session = SessionContext::new();
        let columns: Vec<_> = self
            .types
            .iter()
            .map(|(column, _)| column.as_str())
            .collect();
        for (table, rows) in &self.tables {
            let literal = |value: &Value| match value {
                Value::Null => "null".to_owned(),
                Value::String(text) => format!("'{text}'"),
                other => other.to_string(),
            };
            let values = rows.iter().map(|row| {
                let row: Vec<_> = row.iter().map(literal).collect();
                format!("({})", row.join(", "))
            });
            let mut values: Vec<_> = values.collect();
            let is_empty = values.is_empty();
            if is_empty {
                values.push(format!("({})", vec!["null"; columns.len()].join(", ")));
            }
            let typed: Vec<_> = self
                .types
                .iter()
                .map(|(column, kind)| format!("arrow_cast({column}, '{kind}') as {column}"))
                .collect();
            let query = format!(
                "select {} from (values {}) as t ({}) where {}",
                typed.join(", "),
                values.join(", "),
                columns.join(", "),
                !is_empty
            );
            // Rows, and no constants for the engine to fold.
            let rows = session.sql(&query).await.unwrap().cache().await.unwrap();
            session
                .register_table(table.as_str(), rows.into_view())
                .unwrap();
        }
        session
    }
}

/// Whether our verdict is another on purpose.
fn differs(case: &Case) -> bool {
    let ignores_none = case.kwargs["ignore_row_if"] == "never";
    match case.r#type.as_str() {
        // A share of no values is 0 there, and none here.
        "expect_column_proportion_of_unique_values_to_be_between" => case.table != "sales",
        "expect_column_proportion_of_non_null_values_to_be_between" => case.table == "empty",
        // One NULL equals another on pandas, and in no SQL.
        "expect_multicolumn_values_to_be_equal"
        | "expect_select_column_values_to_be_unique_within_record" => ignores_none,
        // SQLite does not tell upper from lower case; only one mail has any.
        kind => kind.contains("_like_pattern") && case.kwargs.to_string().contains(".de"),
    }
}

/// Compares the verdicts on a table, and says how many there are.
async fn compare(table: &str) -> usize {
    let verdicts = Verdicts::read();
    let session = verdicts.session().await;
    let reader = GreatExpectations::new().row_order(["id"]);
    let cases = verdicts.cases.iter();
    let cases = cases.filter(|case| case.table == table && !differs(case));
    let cases = cases.filter_map(|case| {
        let entry = json!({"type": case.r#type, "kwargs": case.kwargs});
        let suite = json!({"name": "s", "expectations": [entry]}).to_string();
        let suite = reader.read_what_fits(&suite).unwrap();
        match suite.left_out.first() {
            None => Some((case, suite.expectations)),
            // What no value can meet is evaluated there, and refused here.
            Some(refused) => {
                assert_eq!(refused.reason, "no value is in its range");
                None
            }
        }
    });
    let cases: Vec<_> = cases.collect();
    let mut other = Vec::new();
    // Some at a time, as a suite has them.
    for some in cases.chunks(40) {
        let expectations: Vec<_> = some.iter().flat_map(|(_, all)| all.clone()).collect();
        let report = audit_table(&session, table, &expectations).await.unwrap();
        let mut results = report.results.as_slice();
        for (case, expectations) in some {
            let (of_case, rest) = results.split_at(expectations.len());
            results = rest;
            let is_same = case.verdicts.iter().any(|verdict| verdict.is_of(of_case));
            if !is_same {
                let Case {
                    kwargs, verdicts, ..
                } = case;
                other.push(format!("{kwargs}: {of_case:?}, theirs {verdicts:?}"));
            }
        }
    }
    assert!(
        other.is_empty(),
        "{} others: {}",
        other.len(),
        other.join("\n")
    );
    cases.len()
}

#[tokio::test]
async fn verdicts_on_rows_are_those_of_great_expectations() {
    assert!(compare("sales").await > 600);
}

#[tokio::test]
async fn verdicts_on_no_rows_are_those_of_great_expectations() {
    assert!(compare("empty").await > 350);
}

#[tokio::test]
async fn verdicts_on_nulls_are_those_of_great_expectations() {
    assert!(compare("nulls").await > 350);
}
