//! Answering: µs per request of the inference handle, in process, on one thread, by catalogue size.

#![expect(
    clippy::unwrap_used,
    reason = "a bench without its set-up measures nothing"
)]

use std::hint::black_box;
use std::ops::ControlFlow;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use reco_core::object_store::memory::InMemory;
use reco_core::testing::{SyntheticShop, SyntheticShopConfig};
use reco_core::{ModelArtifact, ModelRegistry, Session, SessionDataset, SessionEncoding, Split};
use reco_serve::{ExcludeSession, Recommender};
use reco_train::{
    Engine, EpochReport, Gru4RecConfig, Gru4RecLoader, Gru4RecTrainer, PopularityLoader,
    PopularityTrainer, Prod2VecConfig, Prod2VecLoader, Prod2VecTrainer, Trainer,
};
use tokio::runtime::Runtime;

/// Sessions of a shop whose catalogue has so many items.
fn split(n_items: u32) -> Split {
    let config = SyntheticShopConfig {
        n_items,
        days: 3,
        zipf_exponent: 0.3,
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

fn artifacts(split: &Split) -> [ModelArtifact; 3] {
    let mut ignore = |_: &EpochReport| ControlFlow::Continue(());
    let engine = Engine::cpu(2);
    let prod2vec = Prod2VecConfig {
        min_count: 1,
        epochs: 1,
        ..Prod2VecConfig::default()
    };
    let gru4rec = Gru4RecConfig {
        n_epochs: 1,
        n_sample: 64,
        ..Gru4RecConfig::default()
    };
    [
        PopularityTrainer
            .fit(&split.train, &mut ignore)
            .unwrap()
            .to_artifact()
            .unwrap(),
        Prod2VecTrainer::new(prod2vec, engine.clone())
            .fit(&split.train, &mut ignore)
            .unwrap()
            .to_artifact()
            .unwrap(),
        Gru4RecTrainer::new(gru4rec, engine)
            .fit(&split.train, &mut ignore)
            .unwrap()
            .to_artifact()
            .unwrap(),
    ]
}

fn recommend(c: &mut Criterion) {
    #[expect(clippy::disallowed_methods, reason = "a bench is the host")]
    let runtime = Runtime::new().unwrap();
    let mut group = c.benchmark_group("recommend, time per request");
    for n_items in [1_000, 10_000] {
        let split = split(n_items);
        let vocabulary = split.train.vocabulary();
        let session: Session = vocabulary
            .items()
            .iter()
            .step_by(97)
            .take(5)
            .cloned()
            .collect();
        for artifact in artifacts(&split) {
            let registry = ModelRegistry::new(Arc::new(InMemory::new()));
            let recommender = runtime.block_on(async {
                let version = registry.publish("bench", &artifact).await.unwrap();
                registry
                    .promote("bench", version, "champion")
                    .await
                    .unwrap();
                Recommender::builder(registry, "bench")
                    .loader(PopularityLoader)
                    .loader(Prod2VecLoader)
                    .loader(Gru4RecLoader)
                    .filter(ExcludeSession)
                    .open()
                    .await
                    .unwrap()
            });
            let name = format!("{}, {} items, top 20", artifact.kind(), vocabulary.len());
            group.bench_function(name, |b| {
                b.iter(|| recommender.recommend(black_box(&session), 20).unwrap());
            });
        }
    }
    group.finish();
}

criterion_group!(benches, recommend);
criterion_main!(benches);
