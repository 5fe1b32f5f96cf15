//! Processes that die and steps that take too long.

use std::sync::Arc;
use std::time::Duration;

use reco_transform::ballista::ClusterConfig;
use reco_transform::{Dag, DagRun, Deduplicate, Error, Materialization, Warehouse};

use super::functions::gated;
use super::process::Processes;
use super::same_tables::shop;
use crate::shop::Log;

/// A DAG whose last step waits at the gate.
fn dag(processes: &Processes) -> Dag {
    Dag::builder()
        .function(gated(&processes.gate))
        .source("events", Log::of(shop()))
        .step(Deduplicate::default())
        .sql(
            "lengths",
            "select client_id, max(gated(client_id)) as length, count(*) as n
             from deduplicated group by client_id order by client_id",
        )
        .materialize_others(Materialization::Delta)
        .build()
        .unwrap()
}

fn warehouse(processes: &Processes, name: &str) -> Warehouse {
    Warehouse::at(processes.folder(name).to_str().unwrap()).unwrap()
}

async fn lengths(run: &DagRun) -> String {
    run.table("lengths").unwrap().to_string().await.unwrap()
}

/// What the failure of a step says, from the outside in.
fn failure(error: &Error) -> String {
    let Error::Incomplete { source, .. } = error else {
        panic!("{error:?}");
    };
    let mut text = source.to_string();
    let mut cause = std::error::Error::source(&**source);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_survives_an_executor_that_is_killed() {
    let mut processes = Processes::start(2);
    let dag = dag(&processes);
    let on_cluster = warehouse(&processes, "on_cluster")
        .on_cluster(processes.cluster())
        .unwrap();
    let running = {
        let dag = dag.clone();
        tokio::spawn(async move { dag.run(&on_cluster).await })
    };
    let victim = processes.gate.somebody().await;
    let victim = processes
        .executors
        .iter_mut()
        .find(|executor| executor.id() == victim);
    victim.unwrap().kill();
    processes.gate.open();
    let run = running.await.unwrap().unwrap();
    let expected = dag.run(&warehouse(&processes, "alone")).await.unwrap();
    assert_eq!(lengths(&run).await, lengths(&expected).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_takes_too_long_is_cancelled_and_nothing_is_published() {
    let processes = Processes::start(1);
    let dag = dag(&processes);
    let cluster = processes.cluster();
    let hasty = cluster.clone().with_config(ClusterConfig {
        step_timeout: Duration::from_secs(20),
        ..cluster.config().clone()
    });
    let at = warehouse(&processes, "on_cluster");
    let error = dag
        .run(&at.clone().on_cluster(hasty).unwrap())
        .await
        .unwrap_err();
    let text = failure(&error);
    let address = cluster.address();
    let expected =
        format!("step `lengths` failed on the cluster at `{address}`: it takes longer than 20s");
    assert_eq!(text, expected);
    assert!(at.published("lengths").await.unwrap().is_none());

    // The cluster was told to stop: another run gets its cores.
    processes.gate.open();
    let run = dag.run(&at.on_cluster(cluster).unwrap()).await.unwrap();
    assert_eq!(
        run.report("deduplicated").unwrap().status.to_string(),
        "reused"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scheduler_that_is_killed_fails_the_step_and_nothing_is_published() {
    let mut processes = Processes::start(1);
    let dag = dag(&processes);
    let cluster = processes.cluster();
    let address = cluster.address().to_owned();
    let at = warehouse(&processes, "on_cluster");
    let on_cluster = at.clone().on_cluster(cluster).unwrap();
    let running = tokio::spawn(async move { dag.run(&on_cluster).await });
    processes.gate.somebody().await;
    processes.scheduler.kill();
    let error = running.await.unwrap().unwrap_err();
    let text = failure(&error);
    let expected = format!("step `lengths` failed on the cluster at `{address}`: ");
    assert!(text.starts_with(&expected), "{text}");
    assert!(at.published("lengths").await.unwrap().is_none());
    processes.gate.open();
}

/// Whoever drops a run stops the cluster: what was begun there is not waited for.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_dropped_gives_the_executors_back() {
    let processes = Processes::start(1);
    let dag = Arc::new(dag(&processes));
    let at = warehouse(&processes, "on_cluster");
    let on_cluster = at.on_cluster(processes.cluster()).unwrap();
    let running = {
        let (dag, on_cluster) = (Arc::clone(&dag), on_cluster.clone());
        tokio::spawn(async move { dag.run(&on_cluster).await.map(drop) })
    };
    processes.gate.somebody().await;
    running.abort();
    assert!(running.await.unwrap_err().is_cancelled());
    processes.gate.open();
    dag.run(&on_cluster).await.unwrap();
}
