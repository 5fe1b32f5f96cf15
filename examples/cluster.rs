//! # Steps on a cluster
//!
//! A DAG that one machine computes is computed by a cluster as it is: the warehouse is told where the cluster
//! is, and the rest stays. The binaries of a cluster are the host's own, since they need its functions; here
//! one program is all three of them.
//!
//! You will see a scheduler and two executors, each a process that serves on the loopback, and a DAG with a
//! step in SQL that calls a function of ours. It runs here first, then there: the tables are the same, and on
//! so few rows the cluster takes longer.
//!
//! ```sh
//! cargo run --all-features --example cluster -- scheduler --listen 127.0.0.1:50050 &
//! cargo run --all-features --example cluster -- executor --scheduler 127.0.0.1:50050 &
//! cargo run --all-features --example cluster -- executor --scheduler 127.0.0.1:50050 &
//! cargo run --all-features --example cluster -- run --scheduler 127.0.0.1:50050
//! kill %1 %2 %3
//! ```

use std::io::{Write, stdout};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::ensure;
use clap::Parser;
use reco_core::testing::{SyntheticShop, SyntheticShopConfig};
use reco_core::{Event, Record};
use reco_transform::ballista::{Cluster, Executor, Functions, Scheduler};
use reco_transform::datafusion::arrow::array::Int64Array;
use reco_transform::datafusion::arrow::datatypes::DataType;
use reco_transform::datafusion::common::cast::as_string_array;
use reco_transform::datafusion::logical_expr::{ColumnarValue, ScalarUDF, Volatility, create_udf};
use reco_transform::{
    Dag, Deduplicate, Materialization, MinSupport, Sessionize, Source, Warehouse, not_null,
};
use tokio::net::TcpListener;

/// One program, three roles.
#[derive(Debug, Parser)]
enum Role {
    /// Takes plans from hosts and has executors work on them.
    Scheduler {
        /// The address to serve on.
        #[arg(long, default_value = "127.0.0.1:50050")]
        listen: String,
    },
    /// Computes what the scheduler tells it to.
    Executor {
        /// The address of the scheduler.
        #[arg(long, default_value = "127.0.0.1:50050")]
        scheduler: String,
        /// The address to serve results on; port 0 is any that is free.
        #[arg(long, default_value = "127.0.0.1:0")]
        listen: String,
        /// Where results are kept. Default a new folder.
        #[arg(long)]
        work_dir: Option<PathBuf>,
    },
    /// Runs a DAG, here and on the cluster.
    Run {
        /// The address of the scheduler.
        #[arg(long, default_value = "127.0.0.1:50050")]
        scheduler: String,
        /// Where the warehouses are: executors have to see it. Default a new folder.
        #[arg(long)]
        warehouse: Option<PathBuf>,
    },
}

fn main() -> anyhow::Result<()> {
    let role = Role::parse();
    // Plans are read by functions that call themselves: more than two MiB of stack in debug builds.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_stack_size(16 << 20)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        match role {
            Role::Scheduler { listen } => scheduler(&listen).await,
            Role::Executor {
                scheduler,
                listen,
                work_dir,
            } => executor(scheduler, &listen, work_dir).await,
            Role::Run {
                scheduler,
                warehouse,
            } => run(&scheduler, warehouse).await,
        }
    })
}

// ## The functions
//
// A plan holds the names of functions. So all three roles are given the same ones.

/// Which of twelve families an item belongs to.
fn family() -> ScalarUDF {
    let call = |arguments: &[ColumnarValue]| {
        let items = ColumnarValue::values_to_arrays(arguments)?;
        let items = as_string_array(&items[0])?;
        let families: Int64Array = items
            .iter()
            .map(|item| item.map(|item| item.bytes().map(i64::from).sum::<i64>() % 12))
            .collect();
        Ok(ColumnarValue::Array(Arc::new(families)))
    };
    create_udf(
        "family",
        vec![DataType::Utf8],
        DataType::Int64,
        Volatility::Immutable,
        Arc::new(call),
    )
}

fn functions() -> Functions {
    Functions::new().scalar(family())
}

// ## The processes

async fn scheduler(listen: &str) -> anyhow::Result<()> {
    let listener = TcpListener::bind(listen).await?;
    writeln!(stdout(), "scheduler at {}", listener.local_addr()?)?;
    Ok(Scheduler::new(functions()).serve(listener).await?)
}

async fn executor(scheduler: String, listen: &str, dir: Option<PathBuf>) -> anyhow::Result<()> {
    let listener = TcpListener::bind(listen).await?;
    writeln!(stdout(), "executor at {}", listener.local_addr()?)?;
    let new = tempfile::tempdir()?;
    let dir = dir.unwrap_or_else(|| new.path().to_owned());
    Ok(Executor::new(scheduler, dir, functions())
        .serve(listener)
        .await?)
}

// ## The DAG
//
// Nothing in it knows of the cluster.

fn dag() -> anyhow::Result<Dag> {
    let shop = SyntheticShop::new(SyntheticShopConfig {
        days: 3,
        ..SyntheticShopConfig::default()
    })?;
    let events: Vec<Event> = shop.events().collect();
    let dag = Dag::builder()
        .function(family())
        .source(
            "events",
            Source::batches(Event::schema(), vec![Event::to_batch(&events)?])?,
        )
        .step(Deduplicate::default())
        .sql(
            "clean",
            "select * from deduplicated where item_id is not null",
        )
        .step(Sessionize::default())
        .step(MinSupport::default())
        .sql(
            "families",
            "select family(item_id) as family, count(*) as n_interactions
             from interactions group by 1 order by 1",
        )
        .expect("interactions", not_null("item_id"))
        .materialize("clean", Materialization::View)
        .materialize("interactions", Materialization::Delta)
        .materialize("families", Materialization::Delta);
    Ok(dag.build()?)
}

async fn run(scheduler: &str, folder: Option<PathBuf>) -> anyhow::Result<()> {
    let mut out = stdout();
    let new = tempfile::tempdir()?;
    let folder = folder.unwrap_or_else(|| new.path().to_owned());
    let at = |name: &str| Warehouse::at(folder.join(name).to_string_lossy());
    let dag = dag()?;

    let since = Instant::now();
    let here = dag.run(&at("here")?).await?;
    writeln!(out, "here, in {:.2?}:\n{here}", since.elapsed())?;

    // ## The cluster
    //
    // It waits for the first executor. What could not be computed there would be refused now, by name.
    let cluster = Cluster::at(scheduler)?.with_functions(functions());
    let warehouse = at("there")?.on_cluster(cluster)?;
    let since = Instant::now();
    let there = dag.run(&warehouse).await?;
    writeln!(
        out,
        "\non the cluster, in {:.2?}:\n{there}",
        since.elapsed()
    )?;

    for table in ["interactions", "families"] {
        let (here, there) = (here.table(table)?, there.table(table)?);
        let (here, there) = (here.to_string().await?, there.to_string().await?);
        ensure!(here == there, "{table} differs");
    }
    writeln!(out, "\nthe tables are the same:")?;
    let families = warehouse.table("families").await?.to_string().await?;
    writeln!(out, "{families}")?;
    Ok(())
}
