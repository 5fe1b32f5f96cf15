//! Landing and replaying events: events per second into and out of the raw Delta table on local disk, and
//! requests per second of the collector.

#![expect(
    clippy::unwrap_used,
    reason = "a bench without its set-up measures nothing"
)]

mod collect;
mod load;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use futures::TryStreamExt;
use mimalloc::MiMalloc;
use reco_core::testing::{SyntheticShop, SyntheticShopConfig};
use reco_core::{Event, RawTable, Record, TimeWindow};
use reco_ingest::{BatchId, DeltaTable};
use tokio::runtime::Runtime;

// As the example `collect`; the server that drops what it parses has it too.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

const N_EVENTS: usize = 20_000;

fn events() -> Vec<Event> {
    let shop = SyntheticShop::new(SyntheticShopConfig::default()).unwrap();
    shop.events().take(N_EVENTS).collect()
}

fn ingest(c: &mut Criterion) {
    #[expect(clippy::disallowed_methods, reason = "a bench is the host")]
    let runtime = Runtime::new().unwrap();
    let events = events();
    let mut group = c.benchmark_group("ingest, events/s");
    group
        .throughput(Throughput::Elements(N_EVENTS as u64))
        .sample_size(10);

    group.bench_function("events to an Arrow batch", |b| {
        b.iter(|| Event::to_batch(&events).unwrap());
    });

    let folder = tempfile::tempdir().unwrap();
    let table = runtime
        .block_on(DeltaTable::<Event>::open_local(folder.path().join("write")))
        .unwrap();
    let mut sequence = 0;
    group.bench_function("write a batch to Delta", |b| {
        b.to_async(&runtime).iter_batched(
            || {
                sequence += 1;
                (BatchId::new("bench", sequence).unwrap(), events.clone())
            },
            |(id, events)| {
                let table = table.clone();
                async move { table.write_batch(&id, events).await.unwrap() }
            },
            BatchSize::LargeInput,
        );
    });

    let table = runtime
        .block_on(DeltaTable::<Event>::open_local(folder.path().join("scan")))
        .unwrap();
    runtime
        .block_on(table.write_batch(&BatchId::new("bench", 1).unwrap(), events.clone()))
        .unwrap();
    group.bench_function("replay from Delta", |b| {
        b.to_async(&runtime).iter(|| async {
            let batches: Vec<_> = table
                .scan(TimeWindow::ALL)
                .await
                .unwrap()
                .try_collect()
                .await
                .unwrap();
            assert_eq!(
                batches.iter().map(|batch| batch.num_rows()).sum::<usize>(),
                N_EVENTS
            );
        });
    });
    group.finish();
}

criterion_group!(benches, ingest, collect::collect);
criterion_main!(benches);
