//! What a DAG refuses before anything is read.

use std::error::Error as _;
use std::sync::Arc;

use reco_core::async_trait;
use reco_transform::datafusion::arrow::datatypes::{DataType, Field, Schema};
use reco_transform::datafusion::logical_expr::{Volatility, create_udf};
use reco_transform::datafusion::prelude::*;
use reco_transform::{
    Dag, DagBuilder, Deduplicate, Materialization, MinSupport, Sessionize, SqlStep, Step,
    StepContext, StepExt, accepted_values, between, expect_no_rows, expect_sql, not_null,
    relationships, step_fn, unique,
};

use crate::shop::{Log, ValuesExt, events, source};

fn check(dag: DagBuilder, expected: &str) {
    assert_eq!(dag.build().unwrap_err().to_string(), expected);
}

fn with_events() -> DagBuilder {
    Dag::builder().source("events", source(&events()))
}

#[test]
fn names_that_are_not_there_are_refused_with_the_nearest() {
    check(
        with_events().sql("clean", "select * from evnts"),
        "step `clean` reads table `evnts`, which the DAG does not have; did you mean `events`?",
    );
    check(
        with_events().expect("evens", not_null("id")),
        "expectation `not_null(id)` on table `evens`, which the DAG does not have; \
         did you mean `events`?",
    );
    check(
        with_events().materialize("zzz", Materialization::Delta),
        "materialization on table `zzz`, which the DAG does not have",
    );
    check(
        with_events().expect("events", relationships("item_id", "items", "id")),
        "step `events` reads table `items`, which the DAG does not have",
    );
}

#[test]
fn columns_that_are_not_there_are_refused_with_the_nearest() {
    check(
        with_events().sql("clean", "select itemid from events"),
        "step `clean` names column `itemid`, which is not there; did you mean `item_id`?",
    );
    let step = step_fn("clean", ["events"], |ctx| {
        ctx.table("events")?.select_columns(&["sesion_id"])
    });
    check(
        with_events().step(step),
        "step `clean` names column `sesion_id`, which is not there; did you mean `session_id`?",
    );
    check(
        with_events().expect("events", not_null("occured_at")),
        "expectation `not_null(occured_at)` on table `events` names column `occured_at`, which is not there; \
         did you mean `occurred_at`?",
    );
    check(
        with_events().expect("events", expect_sql("cheap", "prize < 10")),
        "expectation `cheap` on table `events` names column `prize`, which is not there; did you mean `price`?",
    );
    check(
        with_events().expect("events", unique(["id", "tenant"])),
        "expectation `unique(id, tenant)` on table `events` names column `tenant`, which is not there; \
         did you mean `tenant_id`?",
    );
}

#[test]
fn a_step_that_reads_what_it_does_not_declare_is_refused() {
    let step = step_fn("clean", ["events"], |ctx| ctx.table("event"));
    check(
        with_events().step(step),
        "step `clean` reads table `event` without declaring it as an input; did you mean `events`?",
    );
}

#[test]
fn what_is_made_twice_or_of_itself_is_refused() {
    check(
        with_events().sql("events", "select 1"),
        "table `events` is made twice",
    );
    check(
        Dag::builder()
            .sql("a", "select * from c")
            .sql("b", "select * from a")
            .sql("c", "select * from b"),
        "the steps form a cycle: a -> b -> c -> a",
    );
    check(
        Dag::builder().sql("a", "select * from a"),
        "the steps form a cycle: a -> a",
    );
    // An audit waits for the other table just as a step does.
    check(
        with_events()
            .sql("a", "select id from events")
            .sql("b", "select id from a")
            .expect("a", relationships("id", "b", "id")),
        "the steps form a cycle: a -> b -> a",
    );
}

#[test]
fn other_declarations_that_cannot_work_are_refused() {
    check(
        with_events().materialize("events", Materialization::Memory),
        "table `events` is a source: only tables that a step makes can be materialized",
    );
    check(
        Dag::builder().sql("a/b", "select 1"),
        "invalid table name `a/b`: use letters, digits, `_` and `-`, not starting with `_`",
    );
    check(
        with_events().sql("clean", "delete from events"),
        "the query of `clean` must be one SELECT; found DELETE FROM",
    );
    check(
        with_events().expect("events", expect_no_rows("empty", "select from")),
        "the query of `empty` cannot be parsed",
    );
    check(
        with_events().step(step_fn("odd", ["events"], |_| panic!("out of ideas"))),
        "step `odd` panicked: out of ideas",
    );
}

#[test]
fn types_that_do_not_fit_are_refused() {
    let dag = with_events().sql(
        "clean",
        "select item_id + 1 from events where abs(kind) > 0",
    );
    let error = dag.build().unwrap_err();
    assert_eq!(error.to_string(), "step `clean` failed");
    assert!(
        error.source().unwrap().to_string().contains("coerce"),
        "{error:?}"
    );

    let dag = with_events().expect("events", expect_sql("odd", "abs(kind) > 0"));
    assert!(dag.build().is_err());
}

#[test]
fn a_step_keeps_the_schema_that_it_declares() {
    let schema = |columns: &[(&str, DataType)]| {
        let fields = columns
            .iter()
            .map(|(name, of)| Field::new(*name, of.clone(), true));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    };
    let step = |declared| {
        let step = SqlStep::new(
            "counts",
            "select item_id, count(*) as n from events group by 1",
        );
        with_events().step(step.unwrap().with_schema(declared))
    };
    let kept = schema(&[("n", DataType::Int64), ("item_id", DataType::Utf8)]);
    step(kept).build().unwrap();
    check(
        step(schema(&[("item", DataType::Utf8), ("n", DataType::Utf8)])),
        "step `counts` breaks its schema: column `item` is not made; \
         column `n` is Int64, declared as Utf8; column `item_id` is not declared",
    );
}

#[test]
fn building_reads_nothing() {
    let log = Log::of(events());
    let dag = Dag::builder()
        .source("events", Arc::clone(&log))
        .step(Deduplicate::default())
        .step(Sessionize {
            input: "deduplicated".to_owned(),
            ..Sessionize::default()
        })
        .step(MinSupport::default())
        .expect("interactions", unique(["id"]))
        .expect("events", between("price", 0.0..))
        .build()
        .unwrap();
    assert_eq!(
        dag.tables().collect::<Vec<_>>(),
        ["events", "deduplicated", "sessions", "interactions"]
    );
    assert_eq!(log.n_scans(), 0);
}

#[test]
fn tables_are_in_order_whatever_the_order_of_declaration() {
    let dag = Dag::builder()
        .sql("c", "select * from a join b using (n)")
        .sql("b", "select * from a")
        .values("a", "n", "(1)")
        .build()
        .unwrap();
    assert_eq!(dag.tables().collect::<Vec<_>>(), ["a", "b", "c"]);
}

#[test]
fn queries_call_functions_of_the_host() {
    let double = create_udf(
        "double",
        vec![DataType::Int64],
        DataType::Int64,
        Volatility::Immutable,
        Arc::new(|arguments| Ok(arguments[0].clone())),
    );
    let dag = || {
        Dag::builder()
            .values("a", "n", "(1)")
            .sql("b", "select double(n) from a")
    };
    assert!(dag().build().is_err());
    dag().function(double).build().unwrap();
}

#[test]
fn column_expressions_of_datafusion_are_at_hand() {
    let step = step_fn("dear", ["events"], |ctx| {
        ctx.table("events")?.filter(col("price").gt(lit(9)))
    });
    with_events().step(step).build().unwrap();
}

#[test]
fn a_table_named_twice_is_one_input() {
    let twice = step_fn("twice", ["events", "events"], |ctx| ctx.table("events"));
    let dag = with_events()
        .step(twice)
        .expect("twice", relationships("id", "events", "id"))
        .build()
        .unwrap();
    assert_eq!(dag.lineage().tables[1].inputs, ["events"]);
}

#[test]
fn an_expectation_that_means_nothing_is_refused() {
    check(
        with_events().expect("events", unique([""; 0])),
        "expectation `unique()` on table `events` means nothing: it names no column",
    );
    check(
        with_events().expect("events", accepted_values("kind", [""; 0])),
        "expectation `accepted_values(kind, [])` on table `events` means nothing: it accepts no value",
    );
}

#[test]
fn a_time_that_is_a_number_is_refused() {
    let dag = Dag::builder()
        .values(
            "clean",
            "tenant_id, client_id, occurred_at",
            "('', 'ann', 1714550400)",
        )
        .step(Sessionize::default());
    check(
        dag,
        "step `sessions` reads column `occurred_at` as a timestamp; it is Int64",
    );
}

/// A step that reads a table which it does not declare.
#[derive(Debug)]
struct Sneaks;

#[async_trait]
impl Step for Sneaks {
    fn name(&self) -> &str {
        "sneaks"
    }

    fn inputs(&self) -> Vec<String> {
        vec!["events".to_owned()]
    }

    async fn plan(&self, ctx: &StepContext<'_>) -> datafusion::error::Result<DataFrame> {
        ctx.sql("select name as id from items").await
    }
}

#[test]
fn what_is_there_for_the_audit_only_is_no_input() {
    let error = with_events()
        .values("items", "name", "('hat')")
        .step(Sneaks)
        .expect("sneaks", relationships("id", "items", "name"))
        .build()
        .unwrap_err();
    assert_eq!(error.to_string(), "step `sneaks` failed");
    let cause = error.source().unwrap().to_string();
    assert!(cause.contains("items' not found"), "{cause}");
}
