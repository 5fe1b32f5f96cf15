//! Training: events per second of an epoch, by engine and number of threads, and evaluation.
//!
//! `peers/compare.py` runs the same beside gensim and PyTorch on files of yours and prints ratios.

#![expect(
    clippy::unwrap_used,
    reason = "a bench without its set-up measures nothing"
)]

use std::ops::ControlFlow;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use reco_core::testing::{SyntheticShop, SyntheticShopConfig};
use reco_core::{SessionDataset, SessionEncoding, Split};
use reco_train::evaluate::{Mrr, Recall};
use reco_train::{
    Engine, EpochReport, Gru4RecConfig, Gru4RecTrainer, PopularityTrainer, Prod2VecConfig,
    Prod2VecTrainer, Trainer, evaluate,
};

fn split() -> Split {
    let config = SyntheticShopConfig {
        days: 3,
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

fn train(c: &mut Criterion) {
    let split = split();
    let mut ignore = |_: &EpochReport| ControlFlow::Continue(());
    let mut group = c.benchmark_group("train, events/s of an epoch");
    group
        .throughput(Throughput::Elements(split.train.n_interactions() as u64))
        .sample_size(10);

    let engines = [
        ("1 thread", Engine::cpu(1)),
        ("2 threads", Engine::cpu(2)),
        ("flex", Engine::flex()),
    ];
    for (name, engine) in engines {
        let config = Prod2VecConfig {
            sg: true,
            min_count: 1,
            epochs: 1,
            ..Prod2VecConfig::default()
        };
        let trainer = Prod2VecTrainer::new(config, engine.clone());
        group.bench_function(format!("prod2vec, {name}"), |b| {
            b.iter(|| trainer.fit(&split.train, &mut ignore).unwrap());
        });
        let config = Gru4RecConfig {
            n_epochs: 1,
            n_sample: 512,
            ..Gru4RecConfig::default()
        };
        let trainer = Gru4RecTrainer::new(config, engine);
        group.bench_function(format!("gru4rec, {name}"), |b| {
            b.iter(|| trainer.fit(&split.train, &mut ignore).unwrap());
        });
    }
    group.finish();

    let popularity = PopularityTrainer.fit(&split.train, &mut ignore).unwrap();
    let n_queries = evaluate(&popularity, &split.test, &[Recall::at(20)])
        .unwrap()
        .n_queries;
    let mut group = c.benchmark_group("evaluate, queries/s");
    group
        .throughput(Throughput::Elements(n_queries))
        .sample_size(10);
    group.bench_function("popularity", |b| {
        b.iter(|| evaluate(&popularity, &split.test, &[Recall::at(20), Mrr::at(20)]).unwrap());
    });
    group.finish();
}

criterion_group!(benches, train);
criterion_main!(benches);
