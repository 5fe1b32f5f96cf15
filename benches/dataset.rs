//! A table of interactions as a data set, and a model of it: rows per second, and the memory that it takes.
//!
//! Prints how much was resident at most after each stage. `RECO_BENCH_ROWS` sets the number of interactions,
//! 20 000 by default; the largest public set of a shop (Coveo, SIGIR 2021) has 36 million.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench without its set-up measures nothing, and tells what it measured"
)]

use std::ops::ControlFlow;
use std::time::Instant;

use reco_core::{SessionDataset, Split, TrainSet};
use reco_train::{Engine, Gru4RecConfig, Gru4RecTrainer, Prod2VecConfig, Prod2VecTrainer, Trainer};
use reco_transform::{Dag, Materialization, Warehouse};
use tikv_jemallocator::Jemalloc;
use tokio::runtime::Runtime;

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// Sessions of seven, of 57,000 items of which some are popular, not in order.
async fn dataset(n_rows: usize) -> SessionDataset {
    let query = format!(
        "select concat('session-', lpad(cast(value * 7919 % {n_rows} / 7 as varchar), 9, '0')) as session_id,
                concat('sku-', cast(floor(57000 * power(value * 104729 % 1000003 / 1000003.0, 3)) as bigint)) as item_id,
                to_timestamp_micros(1714550400000000 + value * 7919 % {n_rows} * 1000000) as occurred_at
         from generate_series(1, {n_rows})"
    );
    let dag = Dag::builder()
        .sql("interactions", query)
        .materialize("interactions", Materialization::View)
        .build()
        .unwrap();
    let run = dag.run(&Warehouse::in_memory()).await.unwrap();
    run.dataset("interactions").await.unwrap()
}

fn fit(trainer: &impl Trainer, train: &TrainSet) {
    trainer
        .fit(train, &mut |_| ControlFlow::Continue(()))
        .unwrap();
}

/// What was resident at most, where the system tells.
fn peak() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    peak.map_or_else(|| "unknown".to_owned(), |peak| peak.trim().to_owned())
}

fn main() {
    #[expect(clippy::disallowed_methods, reason = "a bench is the host")]
    let (runtime, n_rows) = (Runtime::new().unwrap(), std::env::var("RECO_BENCH_ROWS"));
    let n_rows = n_rows.map_or(20_000, |n_rows| n_rows.parse().unwrap());
    let stage = |name: &str, begin: Instant| {
        let seconds = begin.elapsed().as_secs_f64();
        let rate = n_rows as f64 / seconds;
        println!(
            "{name}: {seconds:.1} s, {rate:.0} interactions/s, at most {} resident",
            peak()
        );
    };

    let begin = Instant::now();
    let data = runtime.block_on(dataset(n_rows));
    assert_eq!(data.n_interactions(), n_rows);
    stage("data set", begin);
    let train = Split::from_parts(data.clone(), data).train;
    let begin = Instant::now();
    let config = Prod2VecConfig {
        epochs: 1,
        ..Prod2VecConfig::default()
    };
    fit(&Prod2VecTrainer::new(config, Engine::cpu(2)), &train);
    stage("prod2vec, an epoch", begin);
    let begin = Instant::now();
    let config = Gru4RecConfig {
        n_epochs: 1,
        ..Gru4RecConfig::default()
    };
    fit(&Gru4RecTrainer::new(config, Engine::cpu(2)), &train);
    stage("GRU4Rec, an epoch", begin);
}
