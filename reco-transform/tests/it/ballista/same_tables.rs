//! The same DAG, in this process and on a cluster.

use std::time::{Duration, Instant};

use reco_core::testing::{SyntheticShop, SyntheticShopConfig};
use reco_core::{Event, async_trait};
use reco_transform::datafusion::arrow::datatypes::DataType;
use reco_transform::datafusion::common::JoinType;
use reco_transform::datafusion::error::Result;
use reco_transform::datafusion::functions_aggregate::expr_fn::count;
use reco_transform::datafusion::logical_expr::col;
use reco_transform::datafusion::prelude::*;
use reco_transform::{
    Action, Dag, DagRun, Deduplicate, Materialization, MinSupport, Sessionize, Step, StepContext,
    Warehouse, not_null, unique,
};

use super::functions::{bucket, gated, total_length};
use super::process::Processes;
use crate::shop::Log;

/// Events of clients that did no more than so much.
#[derive(Debug)]
struct WithoutCrowds(i64);

#[async_trait]
impl Step for WithoutCrowds {
    fn name(&self) -> &str {
        "without_crowds"
    }

    fn inputs(&self) -> Vec<String> {
        vec!["sessions".into()]
    }

    async fn plan(&self, ctx: &StepContext<'_>) -> Result<DataFrame> {
        let events = ctx.table("sessions")?;
        let crowds = events
            .clone()
            .aggregate(vec![col("client_id")], vec![count(lit(1)).alias("n")])?
            .filter(col("n").gt(lit(self.0)))?
            .select(vec![col("client_id").alias("crowd_id")])?;
        events.join(
            crowds,
            JoinType::LeftAnti,
            &["client_id"],
            &["crowd_id"],
            None,
        )
    }
}

pub(super) fn shop() -> Vec<Event> {
    let config = SyntheticShopConfig {
        days: 2,
        sessions_per_day: 150,
        ..SyntheticShopConfig::default()
    };
    SyntheticShop::new(config).unwrap().events().collect()
}

fn dag(processes: &Processes, raw: std::sync::Arc<Log>) -> Dag {
    Dag::builder()
        .function(bucket())
        .function(gated(&processes.gate))
        .source("events", raw)
        .step(Deduplicate::default())
        .sql(
            "clean",
            "select * from deduplicated where item_id is not null",
        )
        .step(Sessionize::default())
        .step(WithoutCrowds(60))
        .step(MinSupport {
            input: "without_crowds".to_owned(),
            ..MinSupport::default()
        })
        .sql(
            "buckets",
            "select bucket(item_id) as bucket, count(*) as n, sum(gated(client_id)) as length
             from interactions group by 1",
        )
        .sql(
            "ranks",
            "select item_id, n, rank() over (order by n desc, item_id) as rank
             from (select item_id, count(distinct session_id) as n from interactions
                   where item_id not in (select item_id from interactions where item_id like '%7')
                   group by item_id)
             order by rank",
        )
        .step(reco_transform::step_fn(
            "lengths",
            ["interactions"],
            |ctx| {
                let length = total_length().call(vec![cast(col("item_id"), DataType::Utf8)]);
                let events = ctx.table("interactions")?;
                events.aggregate(vec![col("kind")], vec![length.alias("length")])
            },
        ))
        .sql("nothing", "select 1 as one")
        .expect("interactions", not_null("item_id"))
        .expect("interactions", unique(["id"]))
        .materialize("clean", Materialization::View)
        .materialize("sessions", Materialization::Delta)
        .materialize("interactions", Materialization::Delta)
        .materialize("ranks", Materialization::Delta)
        .build()
        .unwrap()
}

/// The rows of a table as texts, sorted unless their order is promised.
async fn rows(run: &DagRun, table: &str, is_ordered: bool) -> Vec<String> {
    let text = run.table(table).unwrap().to_string().await.unwrap();
    let mut rows: Vec<String> = text.lines().map(ToOwned::to_owned).collect();
    if !is_ordered {
        rows.sort();
    }
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_makes_the_same_tables() {
    let processes = Processes::start(2);
    processes.gate.open();
    let events = shop();
    let (here, there) = (Log::of(events.clone()), Log::of(events.clone()));
    let at = |name: &str| Warehouse::at(processes.folder(name).to_str().unwrap()).unwrap();
    let alone = at("alone");
    let on_cluster = at("on_cluster").on_cluster(processes.cluster()).unwrap();

    let since = Instant::now();
    let expected = dag(&processes, here).run(&alone).await.unwrap();
    let took_alone = since.elapsed();
    let own = std::process::id();
    assert_eq!(
        processes.gate.came(),
        [own],
        "the functions run in this process"
    );
    std::fs::remove_file(processes.folder(&format!("came-{own}"))).unwrap();

    let dag = dag(&processes, std::sync::Arc::clone(&there));
    let since = Instant::now();
    let run = dag.run(&on_cluster).await.unwrap();
    let took_there = since.elapsed();
    let came = processes.gate.came();
    let executors: Vec<u32> = processes
        .executors
        .iter()
        .map(|executor| executor.id())
        .collect();
    assert!(!came.is_empty(), "the functions run in the executors");
    assert!(
        came.iter().all(|id| executors.contains(id)),
        "{came:?} {executors:?}"
    );
    assert_eq!(there.n_scans(), 1, "a raw table is read once for all steps");

    for table in dag.tables().filter(|table| *table != "events") {
        let is_ordered = ["interactions", "ranks"].contains(&table);
        let expected = rows(&expected, table, is_ordered).await;
        assert!(expected.len() > 4, "{table} is empty");
        assert_eq!(rows(&run, table, is_ordered).await, expected, "{table}");
    }
    // What was published is the same for those who read it without a cluster.
    for table in ["sessions", "interactions", "ranks"] {
        let read = |warehouse: Warehouse| async move {
            let text = warehouse
                .table(table)
                .await
                .unwrap()
                .to_string()
                .await
                .unwrap();
            let mut rows: Vec<String> = text.lines().map(ToOwned::to_owned).collect();
            rows.sort();
            rows
        };
        assert_eq!(
            read(at("on_cluster")).await,
            read(alone.clone()).await,
            "{table}"
        );
    }
    println!(
        "{} events: {took_alone:.2?} in one process, {took_there:.2?} on two executors, {:.1} times as long",
        events.len(),
        took_there.as_secs_f64() / took_alone.as_secs_f64()
    );

    // Nothing is made again, whoever made it.
    let again = dag.plan(&at("on_cluster")).await.unwrap();
    assert_eq!(again.table("interactions").unwrap().action, Action::Reuse);

    // What was staged goes with the last who could read it.
    drop((run, dag, there, on_cluster));
    let staging = processes.folder("on_cluster").join("_staging");
    let is_empty = async {
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        while std::fs::read_dir(&staging).unwrap().count() > 0 {
            tick.tick().await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(30), is_empty).await;
    waited.expect("staged tables are deleted");
}
