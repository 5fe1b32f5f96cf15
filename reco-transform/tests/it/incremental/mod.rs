//! Tables that are made interval by interval.

mod law;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reco_core::{TimeWindow, Timestamp};
use reco_transform::datafusion::arrow::array::{
    ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use reco_transform::datafusion::arrow::datatypes::DataType;
use reco_transform::datafusion::common::cast::as_string_array;
use reco_transform::datafusion::error::DataFusionError;
use reco_transform::datafusion::functions::expr_fn::date_trunc;
use reco_transform::datafusion::logical_expr::Volatility;
use reco_transform::datafusion::prelude::*;
use reco_transform::{
    Action, Dag, Error, Incremental, Interval, NullKeys, Reads, Source, Strategy, Warehouse, Why,
    step_fn, unique,
};

use crate::shop::{rows, text};

const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;

/// A click: the hour since the start, and the item.
type Click = (i64, &'static str);

fn hour(n: i64) -> Timestamp {
    Timestamp::from_second(n * HOUR).unwrap()
}

fn clicks(rows: &[Click]) -> Source {
    let times = rows.iter().map(|(at, _)| Some(at * HOUR * 1_000_000));
    let times: TimestampMicrosecondArray = times.collect();
    let items: StringArray = rows.iter().map(|(_, item)| Some(*item)).collect();
    let ids: Int64Array = (0..).take(rows.len()).map(Some).collect();
    let batch = RecordBatch::try_from_iter([
        ("at", Arc::new(times.with_timezone("UTC")) as ArrayRef),
        ("item", Arc::new(items)),
        ("id", Arc::new(ids)),
    ]);
    let batch = batch.unwrap();
    Source::batches(batch.schema(), vec![batch]).unwrap()
}

const DAILY: &str = "select date_trunc('day', at) as day, item, count(*) as n
                     from clicks group by 1, 2 order by 1, 2";

fn by_day() -> Incremental {
    Incremental::daily("day", hour(0)).reads("clicks", Reads::by("at"))
}

fn daily(rows: &[Click], incremental: Incremental) -> Dag {
    Dag::builder()
        .source("clicks", clicks(rows))
        .sql("daily", DAILY)
        .incremental("daily", incremental)
        .build()
        .unwrap()
}

fn starts(intervals: &[Interval]) -> Vec<i64> {
    let start = |interval: &Interval| interval.start.as_second() / DAY;
    intervals.iter().map(start).collect()
}

#[tokio::test]
async fn only_what_is_due_is_made() {
    let warehouse = Warehouse::in_memory();
    let mut rows_then = vec![(1, "hat"), (2, "hat"), (30, "scarf")];
    let two_days = daily(&rows_then, by_day());
    let plan = two_days.plan_until(&warehouse, hour(48)).await.unwrap();
    assert_eq!(starts(&plan.intervals("daily")), [0, 1]);
    assert_eq!(plan.table("daily").unwrap().why, Why::New);
    plan.apply().await.unwrap();
    assert_eq!(
        rows(&warehouse, "daily").await,
        [
            "+----------------------+-------+---+",
            "| day                  | item  | n |",
            "+----------------------+-------+---+",
            "| 1970-01-01T00:00:00Z | hat   | 2 |",
            "| 1970-01-02T00:00:00Z | scarf | 1 |",
            "+----------------------+-------+---+",
        ]
    );

    // Nothing new, nothing to do, whatever time it is within the day.
    let plan = two_days.plan_until(&warehouse, hour(60)).await.unwrap();
    assert!(plan.is_done());
    assert_eq!(plan.table("daily").unwrap().action, Action::Reuse);

    // A click of the second day that came late, one of the third, and a third day without any other.
    rows_then.extend([(31, "hat"), (50, "hat"), (3, "scarf")]);
    let dag = daily(&rows_then, by_day());
    let plan = dag.plan_until(&warehouse, hour(72)).await.unwrap();
    assert_eq!(starts(&plan.intervals("daily")), [1, 2]);
    assert_eq!(plan.table("daily").unwrap().why, Why::Intervals(2));
    let run = plan.apply().await.unwrap();
    assert_eq!(run.report("daily").unwrap().n_rows, Some(4));

    // The one of the first day came too late for the lookback.
    let plan = dag.plan_until(&warehouse, hour(72)).await.unwrap();
    assert!(plan.is_done());
    let first = TimeWindow::between(hour(0), hour(1));
    let plan = plan.backfill("daily", first).await.unwrap();
    assert_eq!(starts(&plan.intervals("daily")), [0]);
    plan.apply().await.unwrap();
    assert_eq!(
        warehouse
            .table("daily")
            .await
            .unwrap()
            .count()
            .await
            .unwrap(),
        5
    );
    assert_eq!(rows(&warehouse, "daily").await, anew(&dag, 72).await);
}

/// The rows of a table that was made at once.
async fn anew(dag: &Dag, until: i64) -> Vec<String> {
    let warehouse = Warehouse::in_memory();
    dag.run_until(&warehouse, hour(until)).await.unwrap();
    rows(&warehouse, "daily").await
}

#[tokio::test]
async fn an_interval_reads_its_part_and_writes_its_part() {
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let see = Arc::clone(&seen);
    // It makes rows of other days too, which are not its to write.
    let step = step_fn("daily", ["clicks"], move |ctx| {
        let clicks = ctx.table("clicks")?;
        see.lock()
            .unwrap()
            .push(clicks.logical_plan().display_indent().to_string());
        let day = date_trunc(lit("day"), col("at"));
        clicks.select(vec![day.alias("day"), col("item")])
    });
    let hours = Duration::from_secs(2 * 3_600);
    let reads = Reads::by("at").before(hours).after(hours);
    let dag = Dag::builder()
        .source(
            "clicks",
            clicks(&[(23, "hat"), (24, "scarf"), (47, "glove"), (49, "boot")]),
        )
        .step(step)
        .incremental(
            "daily",
            Incremental::daily("day", hour(24)).reads("clicks", reads),
        )
        .build()
        .unwrap();
    let warehouse = Warehouse::in_memory();
    dag.run_until(&warehouse, hour(48)).await.unwrap();
    let items = warehouse
        .table("daily")
        .await
        .unwrap()
        .select_columns(&["item"])
        .unwrap();
    let items = items.sort(vec![col("item").sort(true, false)]).unwrap();
    assert_eq!(
        text(items).await,
        [
            "+-------+",
            "| item  |",
            "+-------+",
            "| glove |",
            "| scarf |",
            "+-------+"
        ]
    );
    assert!(!seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn one_interval_that_fails_is_tried_again_alone() {
    let warehouse = Warehouse::in_memory();
    let is_broken = Arc::new(AtomicBool::new(true));
    let dag = |is_broken: &Arc<AtomicBool>| {
        let is_broken = Arc::clone(is_broken);
        let check = create_udf(
            "checked",
            vec![DataType::Utf8],
            DataType::Utf8,
            Volatility::Immutable,
            Arc::new(move |values| {
                let is_broken = is_broken.load(Ordering::SeqCst);
                let values = values[0].clone();
                let array = values.clone().into_array(1)?;
                let texts = as_string_array(&array)?;
                if is_broken && texts.iter().flatten().any(|item| item == "bad") {
                    return Err(DataFusionError::Execution("a bad item".to_owned()));
                }
                Ok(values)
            }),
        );
        Dag::builder()
            .source(
                "clicks",
                clicks(&[(1, "hat"), (30, "bad"), (50, "scarf"), (51, "hat")]),
            )
            .function(check)
            .sql("daily", DAILY.replace("item,", "checked(item) as item,"))
            .incremental("daily", by_day())
            .expect("daily", unique(["day", "item"]))
            .build()
            .unwrap()
    };
    let error = dag(&is_broken)
        .run_until(&warehouse, hour(72))
        .await
        .unwrap_err();
    let Error::Incomplete { source, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!(
        source.to_string(),
        "1 of 3 intervals of table `daily` failed, the first is \
         1970-01-02T00:00:00Z to 1970-01-03T00:00:00Z"
    );
    assert!(warehouse.table("daily").await.is_err(), "it has a gap");

    is_broken.store(false, Ordering::SeqCst);
    let plan = dag(&is_broken)
        .plan_until(&warehouse, hour(72))
        .await
        .unwrap();
    assert_eq!(starts(&plan.intervals("daily")), [1]);
    plan.apply().await.unwrap();
    assert_eq!(
        warehouse
            .table("daily")
            .await
            .unwrap()
            .count()
            .await
            .unwrap(),
        4
    );
}

#[tokio::test]
async fn a_change_of_the_step_or_of_a_whole_input_makes_all_anew() {
    let dag = |names: &str, query: &str, incremental: Incremental| {
        Dag::builder()
            .source("clicks", clicks(&[(1, "hat"), (30, "scarf"), (50, "hat")]))
            .sql(
                "names",
                format!("select * from (values {names}) as t (item, name)"),
            )
            .sql("daily", query)
            .incremental("daily", incremental.lookback(0))
            .build()
            .unwrap()
    };
    let query = "select date_trunc('day', at) as day, name from clicks join names using (item)";
    let names = "('hat', 'Hat'), ('scarf', 'Scarf')";
    let check = async |change: Dag, n_due: usize| {
        let warehouse = Warehouse::in_memory();
        let before = dag(names, query, by_day());
        before.run_until(&warehouse, hour(72)).await.unwrap();
        let plan = change.plan_until(&warehouse, hour(72)).await.unwrap();
        assert_eq!(plan.intervals("daily").len(), n_due);
        plan.apply().await.unwrap();
        assert_eq!(rows(&warehouse, "daily").await, anew(&change, 72).await);
    };
    check(dag(names, query, by_day()), 0).await;
    check(dag(names, &format!("{query} -- as before"), by_day()), 0).await;
    check(
        dag(
            names,
            &query.replace("day, name", "day, upper(name) as name"),
            by_day(),
        ),
        3,
    )
    .await;
    check(
        dag("('hat', 'Cap'), ('scarf', 'Scarf')", query, by_day()),
        3,
    )
    .await;

    let warehouse = Warehouse::in_memory();
    let kept = dag(names, query, by_day().snapshot("names"));
    kept.run_until(&warehouse, hour(48)).await.unwrap();
    let changed = dag("('hat', 'Cap')", query, by_day().snapshot("names"));
    // The names are another query now, so this is another table; a snapshot is about rows, not queries.
    let plan = changed.plan_until(&warehouse, hour(72)).await.unwrap();
    assert_eq!(plan.intervals("daily").len(), 3);
}

#[tokio::test]
async fn what_is_made_of_intervals_follows_them() {
    let dag = |rows: &[Click]| {
        Dag::builder()
            .source("clicks", clicks(rows))
            .sql("daily", DAILY)
            .incremental("daily", by_day())
            .sql("totals", "select day, sum(n) as n from daily group by day")
            .incremental(
                "totals",
                Incremental::daily("day", hour(0))
                    .lookback(0)
                    .reads("daily", Reads::by("day")),
            )
            .build()
            .unwrap()
    };
    let warehouse = Warehouse::in_memory();
    let mut clicks = vec![(1, "hat"), (30, "scarf"), (50, "hat"), (80, "hat")];
    dag(&clicks).run_until(&warehouse, hour(96)).await.unwrap();
    // Nobody looks back at the first day.
    clicks.push((2, "hat"));
    let plan = dag(&clicks).plan_until(&warehouse, hour(96)).await.unwrap();
    assert_eq!(starts(&plan.intervals("daily")), [3]);
    let plan = plan
        .backfill("daily", TimeWindow::between(hour(0), hour(24)))
        .await
        .unwrap();
    assert_eq!(starts(&plan.intervals("daily")), [0, 3]);
    assert_eq!(starts(&plan.intervals("totals")), [0, 3]);
    plan.apply().await.unwrap();
    let totals = warehouse.table("totals").await.unwrap();
    let first = totals.filter(col("n").eq(lit(2))).unwrap();
    assert_eq!(first.count().await.unwrap(), 1);
}

#[tokio::test]
async fn rows_are_merged_by_key() {
    // The last state of each item, with the day on which it was seen.
    let last = "select item, max(at) as at, max(id) as id from clicks group by item";
    let dag = |rows: &[Click], incremental: Incremental| {
        Dag::builder()
            .source("clicks", clicks(rows))
            .sql("daily", last)
            .incremental("daily", incremental)
            .build()
            .unwrap()
    };
    let incremental = || {
        Incremental::daily("at", hour(0))
            .reads("clicks", Reads::by("at"))
            .merge(["item"])
    };
    let warehouse = Warehouse::in_memory();
    let mut clicks = vec![(1, "hat"), (2, "scarf"), (30, "hat")];
    dag(&clicks, incremental())
        .run_until(&warehouse, hour(48))
        .await
        .unwrap();
    clicks.extend([(3, "scarf"), (60, "boot"), (31, "boot")]);
    let dag = dag(&clicks, incremental().lookback(3));
    let plan = dag.plan_until(&warehouse, hour(72)).await.unwrap();
    // The scarf of the first day must not undo the second.
    assert_eq!(starts(&plan.intervals("daily")), [0, 1, 2]);
    plan.apply().await.unwrap();
    assert_eq!(
        rows(&warehouse, "daily").await,
        [
            "+-------+----------------------+----+",
            "| item  | at                   | id |",
            "+-------+----------------------+----+",
            "| boot  | 1970-01-03T12:00:00Z | 4  |",
            "| hat   | 1970-01-02T06:00:00Z | 2  |",
            "| scarf | 1970-01-01T03:00:00Z | 3  |",
            "+-------+----------------------+----+",
        ]
    );
}

#[tokio::test]
async fn keys_with_nulls_or_twice_are_refused() {
    let dag = |query: &str, incremental: Incremental| {
        Dag::builder()
            .source("clicks", clicks(&[(1, "hat"), (2, "hat"), (30, "hat")]))
            .sql("daily", query)
            .incremental("daily", incremental.reads("clicks", Reads::by("at")))
            .build()
            .unwrap()
    };
    let daily = || Incremental::daily("at", hour(0));
    let cause = async |dag: Dag| {
        let error = dag
            .run_until(&Warehouse::in_memory(), hour(48))
            .await
            .unwrap_err();
        let mut error: &dyn std::error::Error = &error;
        while let Some(source) = error.source() {
            error = source;
        }
        error.to_string()
    };
    let twice = dag("select at, item from clicks", daily().merge(["item"]));
    assert_eq!(
        cause(twice).await,
        "1 keys (item) of table `daily` are there more than once, such as (hat)"
    );
    let nulls = "select at, nullif(item, 'hat') as item from clicks";
    assert_eq!(
        cause(dag(nulls, daily().delete_insert(["item"]))).await,
        "2 rows of table `daily` have a null in the key (item)"
    );
    let equal = Incremental {
        strategy: Strategy::DeleteInsert {
            key: vec!["item".to_owned()],
            null_keys: NullKeys::Equal,
        },
        ..daily()
    };
    let warehouse = Warehouse::in_memory();
    dag(nulls, equal)
        .run_until(&warehouse, hour(48))
        .await
        .unwrap();
    assert_eq!(
        warehouse
            .table("daily")
            .await
            .unwrap()
            .count()
            .await
            .unwrap(),
        1
    );
    assert_eq!(
        cause(dag(
            "select nullif(at, at) as at, item from clicks",
            daily()
        ))
        .await,
        "table `daily` has rows without a time in `at`"
    );
}

#[tokio::test]
async fn partitions_are_overwritten_and_rows_appended() {
    let dag = |rows: &[Click], incremental: Incremental| {
        Dag::builder()
            .source("clicks", clicks(rows))
            .sql(
                "daily",
                "select at, date_part('day', at) as part, item from clicks",
            )
            .incremental("daily", incremental.reads("clicks", Reads::by("at")))
            .build()
            .unwrap()
    };
    let rows_then = vec![(1, "hat"), (2, "scarf"), (30, "hat")];
    for incremental in [
        Incremental::daily("at", hour(0)).overwrite_partitions(["part"]),
        Incremental::daily("at", hour(0)).append(),
    ] {
        let warehouse = Warehouse::in_memory();
        dag(&rows_then, incremental.clone())
            .run_until(&warehouse, hour(48))
            .await
            .unwrap();
        let mut more = rows_then.clone();
        more.push((60, "boot"));
        let grown = dag(&more, incremental.clone());
        let plan = grown.plan_until(&warehouse, hour(72)).await.unwrap();
        let is_append = incremental.strategy == Strategy::Append;
        assert_eq!(plan.intervals("daily").len(), if is_append { 1 } else { 2 });
        plan.apply().await.unwrap();
        assert_eq!(rows(&warehouse, "daily").await, anew(&grown, 72).await);
        let plan = grown.plan_until(&warehouse, hour(72)).await.unwrap();
        let again = plan
            .backfill("daily", TimeWindow::between(hour(0), hour(1)))
            .await;
        assert_eq!(again.is_err(), is_append);
        if let Ok(plan) = again {
            plan.apply().await.unwrap();
            assert_eq!(rows(&warehouse, "daily").await, anew(&grown, 72).await);
        }
    }
}

#[test]
fn what_cannot_be_made_by_intervals_is_refused_when_the_dag_is_built() {
    let check = |incremental: Incremental, reason: &str| {
        let dag = Dag::builder()
            .source("clicks", clicks(&[(1, "hat")]))
            .sql("daily", DAILY)
            .incremental("daily", incremental)
            .build();
        let error = dag.unwrap_err().to_string();
        assert_eq!(
            error,
            format!("table `daily` cannot be made by intervals: {reason}")
        );
    };
    let daily = || Incremental::daily("day", hour(0));
    check(
        Incremental::daily("days", hour(0)),
        "there is no column `days`; did you mean `day`?",
    );
    check(
        Incremental::daily("n", hour(0)),
        "column `n` is Int64, not a timestamp or a date",
    );
    check(
        daily().reads("click", Reads::by("at")),
        "the step does not read `click`; did you mean `clicks`?",
    );
    check(
        daily().reads("clicks", Reads::by("item")),
        "in `clicks`, column `item` is Utf8, not a timestamp or a date",
    );
    check(
        daily().merge(["itm"]),
        "there is no column `itm`; did you mean `item`?",
    );
    check(
        daily().append().lookback(1),
        "rows that are appended have no lookback: set it to 0",
    );
    check(daily().merge([""; 0]), "the key has no columns");
}

#[tokio::test]
async fn nobody_guesses_the_time() {
    let dag = daily(&[(1, "hat")], by_day());
    let error = dag.run(&Warehouse::in_memory()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "table `daily` is made by intervals: say until when, with `run_until` or `plan_until`"
    );
}
