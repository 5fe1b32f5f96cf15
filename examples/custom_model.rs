//! # A model of your own
//!
//! A first-order Markov chain: what did others look at right after the last item? It is fitted,
//! evaluated beside the library's models, published and served like any of them.
//!
//! You will see the four small traits that make a model a full member: `Model` answers, `Scorer` is
//! evaluated, `Trainer` fits, `ModelLoader` brings it back from its artifact.
//!
//! ```sh
//! cargo run --all-features --example custom_model
//! ```

use std::collections::BTreeMap;
use std::io::{Write, stdout};
use std::ops::ControlFlow;
use std::sync::Arc;

use reco_core::object_store::memory::InMemory;
use reco_core::testing::{SyntheticShop, SyntheticShopConfig};
use reco_core::{
    Error, ItemId, ItemIdx, Model, ModelArtifact, ModelLoader, ModelRegistry, Ranking, Session,
    SessionDataset, SessionEncoder, SessionEncoding, TrainSet,
};
use reco_serve::Recommender;
use reco_train::evaluate::{Mrr, Recall, rank};
use reco_train::{EpochReport, PopularityTrainer, Scorer, Trainer, evaluate};

const KIND: &str = "markov";

// ## Model: what answers
//
// The encoder is the part that must not differ between training and serving, so the model owns it.

#[derive(Debug)]
struct Markov {
    encoder: SessionEncoder,
    /// For each item, what followed it and how often.
    next: Vec<BTreeMap<ItemIdx, f32>>,
}

impl Model for Markov {
    fn kind(&self) -> &str {
        KIND
    }

    fn recommend_batch(&self, sessions: &[Session], k: usize) -> reco_core::Result<Vec<Ranking>> {
        rank(self, sessions, k)
    }
}

impl Markov {
    // The weights of an artifact are tensors of f32: here a row for each pair, exact to 2²⁴.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a catalogue of this example is small"
    )]
    fn to_artifact(&self) -> reco_core::Result<ModelArtifact> {
        let pairs = self.next.iter().enumerate().flat_map(|(from, next)| {
            next.iter()
                .flat_map(move |(to, count)| [from as f32, to.get() as f32, *count])
        });
        let pairs: Vec<f32> = pairs.collect();
        ModelArtifact::builder(KIND, &self.encoder)
            .tensor("pairs", &[pairs.len() / 3, 3], &pairs)
            .build()
    }
}

// ## Scorer: what is evaluated
//
// The evaluation ranks the true next item against the whole catalogue, so it asks for every score.

impl Scorer for Markov {
    fn encoder(&self) -> &SessionEncoder {
        &self.encoder
    }

    fn score_batch(&self, sessions: &[&[ItemIdx]], scores: &mut [f32]) -> reco_core::Result<()> {
        scores.fill(0.0);
        for (session, row) in sessions
            .iter()
            .zip(scores.chunks_exact_mut(self.next.len()))
        {
            let Some(last) = session.last() else { continue };
            for (item, count) in &self.next[last.get()] {
                row[item.get()] = *count;
            }
        }
        Ok(())
    }
}

// ## Trainer: what fits
//
// It takes a `TrainSet`: a test set is another type, and does not compile here.

struct MarkovTrainer;

impl Trainer for MarkovTrainer {
    type Model = Markov;

    fn fit(
        &self,
        train: &TrainSet,
        observer: &mut dyn FnMut(&EpochReport) -> ControlFlow<()>,
    ) -> reco_train::Result<Markov> {
        let mut next = vec![BTreeMap::new(); train.vocabulary().len()];
        let mut n_events = 0;
        for pair in train.sessions().flat_map(|session| session.windows(2)) {
            *next[pair[0].get()].entry(pair[1]).or_insert(0.0) += 1.0;
            n_events += 1;
        }
        // Counting is one epoch, and there is nothing to stop after it.
        let _ = observer(&EpochReport {
            epoch: 1,
            n_epochs: 1,
            loss: 0.0,
            n_events,
        });
        Ok(Markov {
            encoder: train.encoder().clone(),
            next,
        })
    }
}

// ## ModelLoader: what brings it back

#[derive(Debug)]
struct MarkovLoader;

impl ModelLoader for MarkovLoader {
    fn kind(&self) -> &str {
        KIND
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked against the vocabulary"
    )]
    fn load(&self, artifact: &ModelArtifact) -> reco_core::Result<Arc<dyn Model>> {
        let encoder = artifact.encoder()?;
        let shapes = artifact.tensor_shapes()?;
        let pairs = artifact.tensor("pairs", shapes.get("pairs").map_or(&[], Vec::as_slice))?;
        let mut next = vec![BTreeMap::new(); encoder.vocabulary().len()];
        for &[from, to, count] in pairs.as_chunks::<3>().0 {
            let item = |position: f32| Some(position as usize).filter(|&item| item < next.len());
            let (Some(from), Some(to)) = (item(from), item(to)) else {
                let source = "a pair names no item".into();
                return Err(Error::Model {
                    kind: KIND.to_owned(),
                    source,
                });
            };
            next[from].insert(ItemIdx(to as u32), count);
        }
        Ok(Arc::new(Markov { encoder, next }))
    }
}

// ## All of it together

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let shop = SyntheticShop::new(SyntheticShopConfig::default())?;
    let mut sessions = SessionDataset::builder(SessionEncoding::default());
    for view in shop.interactions() {
        sessions.push(&view.session, view.item.as_str(), view.occurred_at)?;
    }
    let split = sessions.build()?.split_last_days(2)?;

    let mut out = stdout();
    let mut ignore = |_: &EpochReport| ControlFlow::Continue(());
    let markov = MarkovTrainer.fit(&split.train, &mut ignore)?;
    let popularity = PopularityTrainer.fit(&split.train, &mut ignore)?;
    let metrics = [Recall::at(20), Mrr::at(20)];
    let floor = evaluate(&popularity, &split.test, &metrics)?;
    let scores = evaluate(&markov, &split.test, &metrics)?;
    writeln!(out, "popularity  {floor}\nmarkov      {scores}")?;

    let registry = ModelRegistry::new(Arc::new(InMemory::new()));
    let artifact = markov.to_artifact()?.with_scores(&scores);
    let version = registry.publish("next-item", &artifact).await?;
    registry.promote("next-item", version, "champion").await?;

    // The contract of a model, as a test suite.
    let some: Vec<Session> = (0..20).map(|session| split.test.decode(session)).collect();
    reco_core::testing::model(&markov, &some);

    let recommender = Recommender::builder(registry, "next-item")
        .loader(MarkovLoader)
        .open()
        .await?;
    let answer = recommender.recommend(&some[0], 3)?;
    let items: Vec<&str> = answer.ranking.items().map(ItemId::as_str).collect();
    writeln!(out, "version {} recommends {items:?}", answer.version)?;
    Ok(())
}
