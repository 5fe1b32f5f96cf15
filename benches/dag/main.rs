//! From raw events to the tables of a shop: events per second through the built-in steps and through the
//! reference DAG, in memory; and the reference DAG at any size on disk, beside DuckDB.
//!
//! ```text
//! cargo bench --bench dag                                              small: growth, then criterion
//! cargo bench --bench dag -- reference --events 10000000 --folder DIR  once, into a warehouse on disk
//! python benches/peers/dag_duckdb.py --events 10000000 --folder DIR    the same beside DuckDB
//! ```

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a bench without its set-up measures nothing"
)]
#![expect(clippy::print_stdout, reason = "the results")]

mod growth;
mod raw;
mod reference;

use criterion::{Criterion, Throughput, criterion_group};
use reco_core::testing::{SyntheticShop, SyntheticShopConfig};
use reco_core::{Event, Record};
use reco_transform::{
    Dag, Deduplicate, Materialization, MinSupport, Sessionize, Source, Warehouse, not_null, unique,
};
use tikv_jemallocator::Jemalloc;
use tokio::runtime::Runtime;

use crate::reference::Reference;

// glibc's allocator keeps what freed batches leave, a gigabyte beside a limit of one; this one gives it back.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

const N_EVENTS: usize = 20_000;

fn steps(c: &mut Criterion) {
    let runtime = runtime();
    let shop = SyntheticShop::new(SyntheticShopConfig::default()).unwrap();
    let events: Vec<Event> = shop.events().take(N_EVENTS).collect();
    let source = Source::batches(Event::schema(), vec![Event::to_batch(&events).unwrap()]).unwrap();
    let steps = || {
        Dag::builder()
            .source("events", source.clone())
            .step(Deduplicate::default())
            .sql(
                "clean",
                "select * from deduplicated where item_id is not null",
            )
            .step(Sessionize::default())
            .step(MinSupport::default())
    };
    let bare = steps().build().unwrap();
    let checked = steps()
        .expect("deduplicated", unique(["id"]))
        .expect("interactions", not_null("item_id"))
        .expect("interactions", not_null("session_id"))
        .build()
        .unwrap();
    let raw = Source::batches(raw::schema(), raw::batches(N_EVENTS).collect()).unwrap();
    let reference = reference::dag(raw, Materialization::Memory);

    let mut group = c.benchmark_group("dag, events/s");
    group
        .throughput(Throughput::Elements(N_EVENTS as u64))
        .sample_size(10);
    for (name, dag, output) in [
        ("steps", &bare, "interactions"),
        ("steps and expectations", &checked, "interactions"),
        ("reference", &reference, "sessions"),
    ] {
        group.bench_function(name, |b| {
            b.to_async(&runtime).iter(|| async {
                let run = dag.run(&Warehouse::in_memory()).await.unwrap();
                assert!(run.report(output).unwrap().n_rows > Some(0));
            });
        });
    }
    group.finish();
}

#[expect(clippy::disallowed_methods, reason = "a bench is the host")]
fn runtime() -> Runtime {
    Runtime::new().unwrap()
}

criterion_group!(benches, steps);

fn main() {
    if let Some(reference) = Reference::from_args(std::env::args().skip(1)) {
        return runtime().block_on(reference.run());
    }
    runtime().block_on(growth::check());
    benches();
    Criterion::default().configure_from_args().final_summary();
}
