//! The steps from raw events to interactions: events per second through DataFusion, in memory.

#![expect(
    clippy::unwrap_used,
    reason = "a bench without its set-up measures nothing"
)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use reco_core::testing::{SyntheticShop, SyntheticShopConfig};
use reco_core::{Event, Record};
use reco_transform::{
    Dag, Deduplicate, MinSupport, Sessionize, Source, Warehouse, not_null, unique,
};
use tokio::runtime::Runtime;

const N_EVENTS: usize = 20_000;

fn dag(c: &mut Criterion) {
    #[expect(clippy::disallowed_methods, reason = "a bench is the host")]
    let runtime = Runtime::new().unwrap();
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

    let mut group = c.benchmark_group("dag, events/s");
    group
        .throughput(Throughput::Elements(N_EVENTS as u64))
        .sample_size(10);
    for (name, dag) in [("steps", &bare), ("steps and expectations", &checked)] {
        group.bench_function(name, |b| {
            b.to_async(&runtime).iter(|| async {
                let run = dag.run(&Warehouse::in_memory()).await.unwrap();
                assert!(run.report("interactions").unwrap().n_rows > Some(0));
            });
        });
    }
    group.finish();
}

criterion_group!(benches, dag);
criterion_main!(benches);
