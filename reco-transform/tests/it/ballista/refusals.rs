//! What is refused before anything runs.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reco_transform::ballista::{Cluster, ClusterConfig};
use reco_transform::datafusion::common::DFSchemaRef;
use reco_transform::datafusion::error::Result;
use reco_transform::datafusion::logical_expr::{
    Expr, Extension, LogicalPlan, UserDefinedLogicalNodeCore,
};
use reco_transform::datafusion::prelude::*;
use reco_transform::{Dag, DagBuilder, Deduplicate, Error, Warehouse, step_fn};
use tokio::net::TcpListener;

use super::functions::{Gate, bucket, functions};
use super::process::Processes;
use crate::shop::{Log, events, source};

/// An operator of the host's own.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Mirrored(LogicalPlan);

impl PartialOrd for Mirrored {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.0.partial_cmp(&other.0)
    }
}

impl UserDefinedLogicalNodeCore for Mirrored {
    fn name(&self) -> &str {
        "Mirrored"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.0]
    }

    fn schema(&self) -> &DFSchemaRef {
        self.0.schema()
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mirrored")
    }

    fn with_exprs_and_inputs(&self, _: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> Result<Self> {
        Ok(Self(inputs.remove(0)))
    }
}

/// What is refused of a DAG of the log's events, with a cluster that nobody has started.
async fn refused(config: ClusterConfig, add: impl FnOnce(DagBuilder) -> DagBuilder) -> String {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::of(events());
    let dag = Dag::builder()
        .source("events", Arc::clone(&log))
        .step(Deduplicate::default());
    let dag = add(dag).build().unwrap();
    let cluster = Cluster::at("127.0.0.1:9").unwrap().with_config(config);
    let warehouse = Warehouse::at(dir.path().to_str().unwrap()).unwrap();
    let warehouse = warehouse.on_cluster(cluster).unwrap();
    let mut n_events = 0;
    let error = dag
        .run_observed(&warehouse, |_| n_events += 1)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::CannotTravel { .. }), "{error:?}");
    assert_eq!((n_events, log.n_scans()), (0, 0), "something ran");
    error.to_string()
}

#[tokio::test]
async fn what_cannot_travel_is_refused_by_name() {
    let refused_step = |add: fn(DagBuilder) -> DagBuilder| refused(ClusterConfig::default(), add);
    let operator = refused_step(|dag| {
        dag.step(step_fn("mirrored", ["deduplicated"], |ctx| {
            let (session, plan) = ctx.table("deduplicated")?.into_parts();
            let node = Arc::new(Mirrored(plan));
            let plan = LogicalPlan::Extension(Extension { node });
            Ok(DataFrame::new(session, plan))
        }))
    });
    assert_eq!(
        operator.await,
        "table `mirrored` cannot be made on the cluster: the operator `Mirrored` is the host's own"
    );
    let function = refused_step(|dag| {
        let dag = dag.function(bucket());
        dag.sql("buckets", "select bucket(id) as bucket from deduplicated")
    });
    assert_eq!(
        function.await,
        "table `buckets` cannot be made on the cluster: the function `bucket` is not one of those that \
         the cluster at `127.0.0.1:9` was given"
    );
    let in_subquery = refused_step(|dag| {
        let dag = dag.function(bucket());
        let query = "select id from deduplicated
                     where 1 in (select bucket(e.id) from events as e)";
        dag.sql("some", query)
    });
    assert!(in_subquery.await.contains("the function `bucket`"));
    let session_function = refused_step(|dag| {
        dag.step(step_fn("lengths", ["deduplicated"], |ctx| {
            let length = super::functions::total_length().call(vec![col("id")]);
            ctx.table("deduplicated")?.aggregate(vec![], vec![length])
        }))
    });
    assert!(
        session_function
            .await
            .contains("the function `total_length`")
    );
}

#[tokio::test]
async fn a_source_that_is_too_large_is_refused() {
    let config = ClusterConfig {
        stage_limit: 100,
        ..ClusterConfig::default()
    };
    let error = refused(config, |dag| dag.source("more", source(&events())));
    assert_eq!(
        error.await,
        "table `more` cannot be made on the cluster: executors cannot read it where it is, and to stage \
         it would take more than 100 bytes"
    );
}

async fn absent(address: &str) -> (String, String) {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::at(address)
        .unwrap()
        .with_functions(functions(&Gate::at(dir.path())));
    let cluster = cluster.with_config(ClusterConfig {
        connect_timeout: Duration::from_secs(1),
        ..ClusterConfig::default()
    });
    let warehouse = Warehouse::at(dir.path().join("warehouse").to_str().unwrap()).unwrap();
    let warehouse = warehouse.on_cluster(cluster).unwrap();
    let log = Log::of(events());
    let dag = Dag::builder()
        .source("events", Arc::clone(&log))
        .step(Deduplicate::default());
    let dag = dag.build().unwrap();
    let since = Instant::now();
    let error = dag.run(&warehouse).await.unwrap_err();
    assert!(since.elapsed() < Duration::from_secs(10), "it hangs");
    assert_eq!(log.n_scans(), 0, "something ran");
    let Error::NoCluster { source, .. } = &error else {
        panic!("{error:?}");
    };
    (error.to_string(), source.to_string())
}

#[tokio::test]
async fn a_scheduler_that_is_away_is_named() {
    // Nobody listens on a port that was just given back.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let (error, cause) = absent(&address).await;
    assert_eq!(error, format!("there is no cluster at `{address}`"));
    assert!(cause.contains("refused"), "{cause}");
}

#[tokio::test]
async fn a_scheduler_that_never_answers_is_not_waited_for() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (error, cause) = absent(&address).await;
    assert_eq!(error, format!("there is no cluster at `{address}`"));
    assert_eq!(cause, "no answer");
}

#[tokio::test]
async fn a_scheduler_without_executors_is_no_cluster() {
    let processes = Processes::start(0);
    let (_, cause) = absent(processes.cluster().address()).await;
    assert_eq!(cause, "not ready: 0/1 executors registered");
}
