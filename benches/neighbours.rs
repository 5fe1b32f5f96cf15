//! Models of past sessions: interactions per second of an index build, queries per second of a batch.
//!
//! The shop is the synthetic one: the numbers compare changes on one machine, not shops.

#![expect(
    clippy::unwrap_used,
    reason = "a bench without its set-up measures nothing"
)]

use std::ops::ControlFlow;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use reco_core::testing::{SyntheticShop, SyntheticShopConfig};
use reco_core::{Model, ModelExt, Session, SessionDataset, SessionEncoding, Split, TestSet};
use reco_train::{
    EpochReport, RulesTrainer, StanConfig, StanTrainer, Trainer, VmisKnnConfig, VmisKnnTrainer,
};

fn split() -> Split {
    // In test mode a bench only has to run.
    let days = if std::env::args().any(|arg| arg == "--test") {
        3
    } else {
        14
    };
    let config = SyntheticShopConfig {
        days,
        ..SyntheticShopConfig::default()
    };
    let mut builder = SessionDataset::builder(SessionEncoding::default());
    for view in SyntheticShop::new(config).unwrap().interactions() {
        builder
            .push(&view.session, view.item.as_str(), view.occurred_at)
            .unwrap();
    }
    builder.build().unwrap().split_last_days(1).unwrap()
}

/// Every prefix of the test sessions.
fn queries(test: &TestSet) -> Vec<Session> {
    let sessions = (0..test.n_sessions()).map(|session| test.decode(session));
    let prefixes = sessions.flat_map(|session| {
        (1..session.len())
            .map(|n| Session::new(session.items()[..n].to_vec()))
            .collect::<Vec<_>>()
    });
    prefixes.take(4096).collect()
}

fn ignore(_: &EpochReport) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn neighbours(c: &mut Criterion) {
    let split = split();
    let queries = queries(&split.test);
    let vmis_knn = VmisKnnTrainer::new(VmisKnnConfig::default());
    let vs_knn = VmisKnnTrainer::new(VmisKnnConfig {
        m: 5000,
        k: 500,
        ..VmisKnnConfig::vs_knn()
    });
    let stan = StanTrainer::new(StanConfig::v_stan());
    let rules = RulesTrainer::default();

    let mut group = c.benchmark_group("build, interactions/s");
    group
        .throughput(Throughput::Elements(split.train.n_interactions() as u64))
        .sample_size(10);
    group.bench_function("vmis-knn", |b| {
        b.iter(|| vmis_knn.fit(&split.train, &mut ignore).unwrap());
    });
    group.bench_function("stan", |b| {
        b.iter(|| stan.fit(&split.train, &mut ignore).unwrap());
    });
    group.bench_function("rules", |b| {
        b.iter(|| rules.fit(&split.train, &mut ignore).unwrap());
    });
    group.finish();

    let models: [(&str, Box<dyn Model>); 4] = [
        (
            "vmis-knn",
            Box::new(vmis_knn.fit(&split.train, &mut ignore).unwrap()),
        ),
        (
            "vs-knn, m 5000",
            Box::new(vs_knn.fit(&split.train, &mut ignore).unwrap()),
        ),
        (
            "v-stan, m 5000",
            Box::new(stan.fit(&split.train, &mut ignore).unwrap()),
        ),
        (
            "rules",
            Box::new(rules.fit(&split.train, &mut ignore).unwrap()),
        ),
    ];
    let mut group = c.benchmark_group("batch of all, queries/s");
    group
        .throughput(Throughput::Elements(queries.len() as u64))
        .sample_size(10);
    for (name, model) in &models {
        group.bench_function(*name, |b| {
            b.iter(|| model.recommend_batch(&queries, 20).unwrap());
        });
    }
    group.finish();

    let mut group = c.benchmark_group("one at a time, µs/query");
    for (name, model) in &models {
        let mut turn = queries.iter().cycle();
        group.bench_function(*name, |b| {
            b.iter_batched(
                || turn.next().unwrap(),
                |query| model.recommend(query, 20).unwrap(),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, neighbours);
criterion_main!(benches);
