//! Tests of steps: rows given, rows expected, and what a test says that is wrong.

use std::sync::Arc;

use reco_core::{Event, Record};
use reco_transform::datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use reco_transform::{
    Dag, Deduplicate, Error, Rows, Sessionize, Source, SqlStep, StepTest, TestSuite,
};
use serde_json::{Value, json};

use crate::shop::{ValuesExt, event, source};

fn sales() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int32, false),
        Field::new("item", DataType::Utf8, true),
        Field::new("price", DataType::Float64, true),
        Field::new("tags", DataType::new_list(DataType::Utf8, true), true),
        Field::new("paid", DataType::Boolean, false),
    ]))
}

/// A test of `select * from sales`.
fn copy() -> StepTest {
    let step = SqlStep::new("copy", "select * from sales").unwrap();
    StepTest::new("copies", step).input("sales", sales())
}

/// An error and its causes in a line.
fn told(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[tokio::test]
async fn rows_get_the_types_of_the_schema_whatever_comes_first() {
    let expected = json!([
        {"id": 1, "item": null, "price": null, "tags": null, "paid": false},
        {"id": 2, "item": "7", "price": 2.0, "tags": ["new", null], "paid": true},
        {"id": 0, "item": "hat", "price": null, "tags": null, "paid": false},
    ]);
    let given: [Rows; 3] = [
        json!([
            {"id": 1, "item": null, "price": null},
            {"id": 2, "item": "7", "price": 2, "tags": ["new", null], "paid": true},
            {"item": "hat"},
        ])
        .into(),
        Rows::csv("id,item,price,tags,paid\n1,,,,\n2,7,2,\"[\"\"new\"\",null]\",true\n,hat,,,\n"),
        Rows::sql(
            "select * from (values
               (1, null, null, null, false),
               (2, '7', 2, ['new', null], true),
               (0, 'hat', null, null, false)) as t (id, item, price, tags, paid)",
        ),
    ];
    for rows in given {
        let test = copy().given("sales", rows).expect_rows(expected.clone());
        test.run().await.unwrap();
    }
}

#[tokio::test]
async fn records_need_no_schema_and_only_named_columns_are_compared() {
    let events = [
        event("1", "ann", 0, Some("hat")),
        event("2", "ann", 31, None),
    ];
    let test = StepTest::new("a gap", Sessionize::default())
        .given("clean", Rows::records(&events).unwrap())
        .expect_rows(Rows::csv("id,session_id\n2,:ann:1860000000\n1,:ann:0\n"));
    test.run().await.unwrap();
}

#[tokio::test]
async fn an_empty_cell_is_expected_to_be_null() {
    let test = copy()
        .given("sales", json!([{"item": "hat"}]))
        .expect_rows(Rows::csv("id,item\n0,\n"));
    let error = test.run().await.unwrap_err();
    insta::assert_snapshot!(error, @r"
    test `copies`: step `copy` makes other rows: 0 missing, 0 unexpected, 1 changed
    | row     | id | item        |
    |---------|----|-------------|
    | changed | 0  | NULL -> hat |
    ");
}

#[tokio::test]
async fn what_is_wrong_with_a_test_is_told_with_its_place() {
    async fn check(test: StepTest, expected: &str) {
        let error = test.run().await.unwrap_err();
        assert!(matches!(error, Error::InvalidTest { .. }), "{error:?}");
        assert_eq!(error.to_string(), expected);
    }
    async fn given(rows: impl Into<Rows>, expected: &str) {
        let test = copy().given("sales", rows).expect_rows(Rows::none());
        check(
            test,
            &format!("test `copies` is invalid: table `sales`, {expected}"),
        )
        .await;
    }
    given(
        json!([{"item": "hat"}, {"prise": 1.0}]),
        "row 2, column `prise`: there is no such column; did you mean `price`?",
    )
    .await;
    given(
        json!([{"price": null}, {"price": "dear"}]),
        "row 2, column `price`: failed to parse \"dear\" as Float64",
    )
    .await;
    given(json!([{"id": 1.5}]), "row 1, column `id`: 1.5 is no Int32").await;
    given(
        json!([{"id": null}]),
        "row 1, column `id`: it is NULL, which the schema does not have",
    )
    .await;
    given(json!([7]), "row 1: `7` is no map of columns to values").await;
    given(Value::from("hat"), "rows are a list of maps").await;
    given(Rows::csv("id,id\n1,2\n"), "column `id` is there twice").await;
    given(
        Rows::csv("itme\n"),
        "column `itme`: there is no such column; did you mean `item`?",
    )
    .await;
    check(
        copy().expect_rows(Rows::none()),
        "test `copies` is invalid: no rows are given for table `sales`, which step `copy` reads",
    )
    .await;
    check(
        copy().given("sale", Rows::none()),
        "test `copies` is invalid: step `copy` does not read table `sale`; did you mean `sales`?",
    )
    .await;
    check(
        copy().given("sales", Rows::none()),
        "test `copies` is invalid: it expects nothing: say what with `expect_rows`",
    )
    .await;
    check(
        copy().given("sales", Rows::none()).expect_rows(json!([{"itme": "hat"}])),
        "test `copies` is invalid: expected rows, row 1, column `itme`: there is no such column; did you mean `item`?",
    )
    .await;
    check(
        StepTest::new("bare", Deduplicate::default()).given("events", json!([{"id": "a"}])),
        "test `bare` is invalid: table `events`, its columns are not declared: declare them with `input`, or give records or a query",
    )
    .await;
}

#[tokio::test]
async fn a_query_reads_no_table_and_changes_nothing() {
    for query in ["select * from sales", "create table t as select 1 as id"] {
        let test = copy()
            .given("sales", Rows::sql(query))
            .expect_rows(Rows::none());
        let error = test.run().await.unwrap_err();
        assert!(matches!(error, Error::InvalidTest { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn a_step_is_told_the_time() {
    let query = "select item from sales, (select now() as now) as t
                 where now >= timestamp '2024-05-01T00:00:00' and current_date < date '2024-05-02'";
    let test = |at: Option<&str>| {
        let step = SqlStep::new("today", query).unwrap();
        let test = StepTest::new("today", step)
            .input("sales", sales())
            .given("sales", json!([{"item": "hat"}]))
            .expect_rows(json!([{"item": "hat"}]));
        at.into_iter()
            .fold(test, |test, at| test.at(at.parse().unwrap()))
    };
    test(Some("2024-05-01T12:00:00Z")).run().await.unwrap();
    let error = test(Some("2024-05-02T12:00:00Z")).run().await.unwrap_err();
    assert!(matches!(error, Error::OtherRows { .. }), "{error:?}");
    let error = test(None).run().await.unwrap_err();
    let expected = "test `today` is invalid: step `today` asks for the time with `";
    assert!(error.to_string().starts_with(expected), "{error}");
}

#[tokio::test]
async fn a_step_that_fails_fails_its_test() {
    let step = SqlStep::new("failing", "select itme from sales").unwrap();
    let test = StepTest::new("fails", step)
        .input("sales", sales())
        .given("sales", Rows::none());
    assert_eq!(
        told(&test.run().await.unwrap_err()),
        "test `fails` could not be run: step `failing` names column `itme`, which is not there; did you mean `item`?"
    );
}

fn dag() -> Dag {
    Dag::builder()
        .source("events", source(&[]))
        .source("items", Source::batches(sales(), Vec::new()).unwrap())
        .step(Deduplicate::default())
        .sql(
            "named",
            "select deduplicated.id, items.price from deduplicated join items on item_id = item",
        )
        .values("numbers", "n", "(1)")
        .build()
        .unwrap()
}

#[tokio::test]
async fn a_step_of_a_dag_is_tested_without_those_before_it() {
    // What `deduplicated` would drop is given to the query all the same.
    let test = dag()
        .test("joins", "named")
        .unwrap()
        .given(
            "deduplicated",
            Rows::csv("id,item_id\n1,hat\n1,hat\n2,fur\n"),
        )
        .given("items", json!([{"item": "hat", "price": 9.5}]))
        .expect_rows(Rows::csv("id,price\n1,9.5\n1,9.5\n"));
    test.run().await.unwrap();
}

#[test]
fn a_step_that_is_none_is_named_with_the_nearest() {
    let check = |step: &str, expected: &str| {
        let error = dag().test("t", step).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("test `t` is invalid: {expected}")
        );
    };
    check("name", "the DAG has no step `name`; did you mean `named`?");
    check("events", "table `events` is a source, which no step makes");
}

#[tokio::test]
async fn a_suite_tells_of_each_test_that_fails() {
    let suite = json!({"tests": [
        {
            "name": "passes",
            "step": "deduplicated",
            "description": "the first received is kept",
            "given": {"events": [{"id": "a"}, {"id": "a"}]},
            "expect": [{"id": "a"}]
        },
        {
            "name": "fails",
            "step": "deduplicated",
            "given": {"events": {"csv": "id\nb\n"}},
            "expect": {"sql": "select 'a' as id"},
            "in_order": true
        },
        {"name": "passes", "step": "numbers", "expect": []},
        {"name": "unread", "step": "numbers", "given": {"x": []}, "expect": []},
    ]});
    let suite = TestSuite::from_json(&suite.to_string()).unwrap();
    let error = suite.run(&dag()).await.unwrap_err();
    insta::assert_snapshot!(error, @r"
    3 of 4 tests failed
    test `fails`: step `deduplicated` makes other rows: 0 missing, 0 unexpected, 1 changed
    | row     | id     |
    |---------|--------|
    | changed | a -> b |
    test `passes` is invalid: another test has the same name
    test `unread` is invalid: step `numbers` does not read table `x`
    ");
}

#[tokio::test]
async fn a_suite_in_yaml_is_as_one_in_json() {
    let yaml = "
tests:
  - name: dear
    step: dear
    given:
      sales: [{item: hat, price: 99.5}, {item: fur, price: 100}]
    expect:
      - item: fur
  - name: cheap
    step: dear
    given:
      sales:
        csv: |
          item,price
          hat,99.5
    expect: []
";
    let dag = Dag::builder()
        .sql("sales", "select 'hat' as item, 9.5 as price")
        .sql("dear", "select item from sales where price >= 100")
        .build()
        .unwrap();
    let suite = TestSuite::from_yaml(yaml).unwrap();
    suite.run(&dag).await.unwrap();
    let wrong = TestSuite::from_yaml(&yaml.replace(
        "step: dear\n    given:\n      sales:\n",
        "step: dear\n    gvien:\n      sales:\n",
    ));
    assert_eq!(
        told(&wrong.unwrap_err()),
        "the tests, line 11, column 5, cannot be read: unknown key `gvien` in the configuration of `tests`; \
         did you mean `given`?"
    );
}

#[test]
fn a_key_that_is_not_known_is_named_with_the_nearest() {
    let check = |case: Value, expected: &str| {
        let error = TestSuite::from_json(&json!({"tests": [case]}).to_string()).unwrap_err();
        let told = told(&error);
        assert!(told.starts_with("the tests, line 1, column "), "{told}");
        assert!(
            told.contains(&format!(", cannot be read: {expected}")),
            "{told}"
        );
    };
    check(
        json!({"name": "t", "step": "s", "expects": []}),
        "unknown key `expects` in the configuration of `tests`; did you mean `expect`?",
    );
    check(
        json!({"name": "t", "step": "s", "expect": {"cvs": "a"}}),
        "unknown key `cvs` in the configuration of `tests`; did you mean `csv`?",
    );
    check(
        json!({"name": "t", "step": "s", "expect": "a"}),
        "the configuration of `tests` is invalid: rows are a list of maps, or one text under `csv` or `sql`",
    );
}

#[test]
fn all_columns_of_an_event_can_be_left_to_a_test() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let test = StepTest::new("defaults", Deduplicate::default())
        .input("events", Event::schema())
        .given("events", json!([{}]))
        .expect_rows(json!([{
            "id": "", "received_at": "1970-01-01T00:00:00Z", "tenant_id": "", "session_id": null,
            "kind": "", "price": null, "payload": "",
        }]));
    runtime.block_on(test.run()).unwrap();
}
