//! That what is computed here is what DataFusion computes.

use std::sync::Arc;

use datafusion::arrow::array::{
    Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::datasource::MemTable;
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::physical_plan::{ExecutionPlan, collect, displayable};
use datafusion::prelude::{SessionConfig, SessionContext};
use proptest::prelude::*;

use super::{json, session_with};

/// A client, a time, a number, a price and an item.
type Row = (Option<u8>, i64, Option<i64>, Option<u8>, Option<u8>);

fn batch(rows: &[Row]) -> RecordBatch {
    let text = |name: &str, n: Option<u8>| n.map(|n| format!("{name} number {n} of them"));
    let clients: StringArray = rows.iter().map(|row| text("client", row.0)).collect();
    let times: TimestampMicrosecondArray = rows.iter().map(|row| Some(row.1)).collect();
    let numbers: Int64Array = rows.iter().map(|row| row.2).collect();
    let prices: Float64Array = rows.iter().map(|row| row.3.map(f64::from)).collect();
    let items: StringArray = rows.iter().map(|row| text("item", row.4)).collect();
    let ids: Int64Array = (0..).take(rows.len()).collect::<Vec<_>>().into();
    RecordBatch::try_from_iter([
        ("client", Arc::new(clients) as _),
        ("at", Arc::new(times) as _),
        ("n", Arc::new(numbers) as _),
        ("price", Arc::new(prices) as _),
        ("item", Arc::new(items) as _),
        ("id", Arc::new(ids) as _),
    ])
    .unwrap()
}

fn documents(documents: &[Option<String>]) -> RecordBatch {
    let documents: StringArray = documents.iter().cloned().collect();
    let views = datafusion::arrow::compute::cast(
        &documents,
        &datafusion::arrow::datatypes::DataType::Utf8View,
    );
    RecordBatch::try_from_iter([
        ("payload", Arc::new(documents) as _),
        ("viewed", views.unwrap()),
    ])
    .unwrap()
}

fn config() -> SessionConfig {
    SessionConfig::new()
        .with_target_partitions(2)
        .with_batch_size(4)
}

/// A session of DataFusion with nothing of ours but the functions for JSON.
fn plain() -> SessionContext {
    let mut state = SessionContext::new_with_config(config()).state();
    json::register(&mut state).unwrap();
    SessionContext::new_with_state(state)
}

fn ours() -> SessionContext {
    session_with(config(), Arc::default())
}

/// The rows of a query in order of their text, and its plan.
async fn rows(session: &SessionContext, table: &RecordBatch, query: &str) -> (Vec<String>, String) {
    let half = table.num_rows() / 2;
    let parts = vec![
        vec![table.slice(0, half)],
        vec![table.slice(half, table.num_rows() - half)],
    ];
    let table = MemTable::try_new(table.schema(), parts).unwrap();
    session.deregister_table("t").unwrap();
    session.register_table("t", Arc::new(table)).unwrap();
    let frame = session.sql(query).await.unwrap();
    let plan = frame.create_physical_plan().await.unwrap();
    let text = displayable(plan.as_ref()).indent(false).to_string();
    let batches = collect(plan, session.task_ctx()).await.unwrap();
    let table = pretty_format_batches(&batches).unwrap().to_string();
    let mut lines: Vec<String> = table.lines().map(ToOwned::to_owned).collect();
    lines.sort();
    (lines, text)
}

async fn check(table: &RecordBatch, query: &str, known: &str, gone: &str) {
    let (expected, _) = rows(&plain(), table, query).await;
    let (found, plan) = rows(&ours(), table, query).await;
    assert_eq!(found, expected, "{query}\n{plan}");
    assert!(plan.contains(known), "{query}\n{plan}");
    assert!(!plan.contains(gone), "{query}\n{plan}");
}

const WINDOWS: [&str; 9] = [
    "row_number()",
    "lag(n)",
    "lag(item, 3, 'none')",
    "first_value(n)",
    "count(item)",
    "sum(n)",
    "sum(cast(price as decimal(9, 2)))",
    "min(at)",
    "max(n)",
];

const AGGREGATES: [&str; 5] = [
    "array_agg(item order by at, id)",
    "array_agg(n order by item desc nulls last, id desc)",
    "array_agg(item order by at desc, id) filter (where n > 0)",
    "count(distinct item)",
    "count(distinct case when n > 0 then item end)",
];

fn any_rows() -> impl Strategy<Value = Vec<Row>> {
    let row = (
        prop::option::weighted(0.9, 0..4_u8),
        0..6_i64,
        prop::option::of(-3..3_i64),
        prop::option::of(0..9_u8),
        prop::option::weighted(0.8, 0..4_u8),
    );
    prop::collection::vec(row, 1..40)
}

/// JSON of all kinds, and what is none.
fn any_document() -> impl Strategy<Value = Option<String>> {
    let value = prop::sample::select(vec![
        "1",
        "-2.5",
        "1e3",
        "\"a\"",
        "\"a longer text than twelve\"",
        "\"\\u00e9 \\\" \\n\"",
        "true",
        "null",
        "{\"id\": [1, {\"t\": 2}]}",
        "[\"x\", 2]",
        "tru",
        "\"open",
        "",
    ]);
    let key = prop::sample::select(vec!["id", "t", "q", "\\u0069d", "other"]);
    let members = prop::collection::vec((key, value), 0..5);
    let whole = members.prop_map(|members| {
        let members = members
            .iter()
            .map(|(key, value)| format!("\"{key}\": {value}"));
        format!("{{{}}}", members.collect::<Vec<_>>().join(", "))
    });
    let broken = prop::sample::select(vec!["", "[1]", "{\"id\" 1}", "{\"id\": 1", "7", "\"id\""]);
    prop::option::weighted(
        0.9,
        prop_oneof![4 => whole, 1 => broken.prop_map(ToOwned::to_owned)],
    )
}

fn block_on(future: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(future);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn windows_are_the_same(rows in any_rows()) {
        block_on(async {
            let over = "over (partition by client order by at, id
                              rows between unbounded preceding and current row)";
            let windows = WINDOWS.map(|window| format!("{window} {over}")).join(", ");
            let query = format!("select id, {windows} from t");
            check(&batch(&rows), &query, "RunningWindowExec", "BoundedWindowAggExec").await;
        });
    }

    #[test]
    fn groups_are_the_same(rows in any_rows()) {
        block_on(async {
            let aggregates = AGGREGATES.join(", ");
            for key in ["client", "at, client"] {
                let query = format!("select {key}, {aggregates} from t group by {key}");
                check(&batch(&rows), &query, "AggregateExec", "SortExec").await;
            }
        });
    }

    #[test]
    fn documents_are_read_the_same(rows in prop::collection::vec(any_document(), 1..12)) {
        block_on(async {
            for column in ["payload", "viewed"] {
                let query = format!(
                    "select {column} ->> 'id' as id, cast({column} ->> 't' as varchar) as t,
                       json_get_int({column}, 'id') as int_id, json_get_float({column}, 't') as float_t,
                       json_get_bool({column}, 'q') as q, json_get_str({column}, 'other') as other,
                       {column} -> 'id' ->> 1 as second, json_get_json({column}, 'id', 'id') as inner_id
                     from t where {column} is not null"
                );
                let alone = format!("json_as_text({column}@");
                check(&documents(&rows), &query, "json_members", &alone).await;
            }
        });
    }
}

#[tokio::test]
async fn what_is_not_known_is_left_alone() {
    let rows: Vec<Row> = (0..30)
        .map(|n| (Some(n % 3), i64::from(n % 7), Some(1), None, Some(n % 5)))
        .collect();
    for window in [
        "sum(n) over (partition by client order by at)",
        "sum(n) over (partition by client order by at rows between 2 preceding and current row)",
        "sum(n) filter (where id > 3) over (partition by client order by at, id
           rows between unbounded preceding and current row)",
        "lag(n) ignore nulls over (partition by client order by at, id)",
        "lead(n) over (partition by client order by at, id)",
    ] {
        let query = format!("select id, {window} from t");
        check(
            &batch(&rows),
            &query,
            "BoundedWindowAggExec",
            "RunningWindowExec",
        )
        .await;
    }
}

fn n_spills(plan: &Arc<dyn ExecutionPlan>) -> usize {
    let own = plan.metrics().and_then(|metrics| metrics.spill_count());
    let below = plan.children().into_iter().map(n_spills);
    own.unwrap_or(0) + below.sum::<usize>()
}

#[tokio::test]
async fn groups_that_spill_are_the_same() {
    let rows: Vec<Row> = (0..20_000_i64)
        .map(|n| {
            let item = u8::try_from(n * 7 % 100).ok();
            (Some(1), n % 4_000, Some(n), None, item)
        })
        .collect();
    let rows = batch(&rows);
    let run = async |runtime: Arc<RuntimeEnv>| {
        let config = SessionConfig::new()
            .with_target_partitions(1)
            .with_batch_size(256)
            .with_sort_spill_reservation_bytes(32 << 10)
            .set_bool("datafusion.execution.enable_migration_aggregate", false);
        let session = session_with(config, runtime);
        let parts: Vec<_> = (0..rows.num_rows()).step_by(256).collect();
        let parts = parts
            .into_iter()
            .map(|start| rows.slice(start, 256.min(rows.num_rows() - start)));
        let table = MemTable::try_new(rows.schema(), vec![parts.collect()]).unwrap();
        session.register_table("t", Arc::new(table)).unwrap();
        let query =
            "select at, array_agg(item order by n) as items, count(distinct item) as n_items
                     from t group by at";
        let plan = session
            .sql(query)
            .await
            .unwrap()
            .create_physical_plan()
            .await
            .unwrap();
        let batches = collect(Arc::clone(&plan), session.task_ctx())
            .await
            .unwrap();
        let mut lines: Vec<String> = {
            let table = pretty_format_batches(&batches).unwrap().to_string();
            table.lines().map(ToOwned::to_owned).collect()
        };
        lines.sort();
        (lines, n_spills(&plan))
    };
    let limited = RuntimeEnvBuilder::new().with_memory_pool(Arc::new(FairSpillPool::new(1 << 20)));
    let (expected, no_spills) = run(Arc::default()).await;
    let (found, spills) = run(limited.build_arc().unwrap()).await;
    assert_eq!(no_spills, 0);
    assert!(spills > 0, "the limit was not reached");
    assert_eq!(found, expected);
}
