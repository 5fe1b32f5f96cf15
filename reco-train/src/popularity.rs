//! [`Popularity`]: the most frequent items; the floor that every model must beat.

use std::ops::ControlFlow;
use std::sync::Arc;

use reco_core::{
    DataFingerprint, ItemIdx, Model, ModelArtifact, ModelLoader, Ranking, Session, SessionEncoder,
    TrainSet,
};

use crate::error::{Error, Result};
use crate::evaluate::Scorer;
use crate::trainer::{EpochReport, Trainer};

/// The kind of the model, its artifacts and its loader.
const KIND: &str = "popularity";
/// The tensor of the scores in an artifact: `[n_items]`.
const SCORE: &str = "score";

/// Recommends what was seen most often in training, whatever the session holds.
///
/// The score of an item is its number of interactions in the training set; equally frequent items go by id.
/// It needs no context: a session of unknown items, or of none, gets the same answer.
///
/// # Examples
///
/// ```
/// use std::ops::ControlFlow;
/// use reco_core::{ModelExt, Session, SessionDataset, SessionEncoding, Split};
/// use reco_train::{PopularityTrainer, Trainer};
///
/// let mut builder = SessionDataset::builder(SessionEncoding::default());
/// for (session, item) in [("a", "scarf"), ("a", "hat"), ("b", "scarf")] {
///     builder.push(session, item, "2024-05-01T10:00Z".parse()?)?;
/// }
/// let data = builder.build()?;
/// let split = Split::from_parts(data.clone(), data);
///
/// let model = PopularityTrainer.fit(&split.train, &mut |_| ControlFlow::Continue(()))?;
/// let ranking = model.recommend(&Session::default(), 2)?;
/// assert_eq!(ranking.items().map(|item| item.as_str()).collect::<Vec<_>>(), ["scarf", "hat"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Popularity {
    encoder: SessionEncoder,
    scores: Vec<f32>,
    data: Option<DataFingerprint>,
}

impl Popularity {
    /// The model as files, for a registry.
    ///
    /// # Errors
    ///
    /// As [`ModelArtifactBuilder::build`](reco_core::ModelArtifactBuilder::build).
    pub fn to_artifact(&self) -> Result<ModelArtifact> {
        let mut builder = ModelArtifact::builder(KIND, &self.encoder);
        if let Some(data) = &self.data {
            builder = builder.data(data.clone());
        }
        Ok(builder
            .tensor(SCORE, &[self.scores.len()], &self.scores)
            .build()?)
    }
}

impl Model for Popularity {
    fn kind(&self) -> &str {
        KIND
    }

    fn recommend_batch(&self, sessions: &[Session], k: usize) -> reco_core::Result<Vec<Ranking>> {
        let ranking = Ranking::top_k(self.encoder.vocabulary(), &self.scores, k);
        Ok(vec![ranking; sessions.len()])
    }
}

impl Scorer for Popularity {
    fn encoder(&self) -> &SessionEncoder {
        &self.encoder
    }

    fn score_batch(&self, _: &[&[ItemIdx]], scores: &mut [f32]) -> reco_core::Result<()> {
        for scores in scores.chunks_exact_mut(self.scores.len()) {
            scores.copy_from_slice(&self.scores);
        }
        Ok(())
    }
}

/// Counts items. It is exact and has no settings: the same data give the same model.
///
/// Its loss, reported once, is the entropy of the items in nats: what a model that knows nothing but
/// their frequency pays for each.
#[derive(Debug, Clone, Copy, Default)]
pub struct PopularityTrainer;

impl Trainer for PopularityTrainer {
    type Model = Popularity;

    #[expect(
        clippy::cast_precision_loss,
        reason = "scores are f32; counts that differ by less than 1 in 2²⁴ may tie"
    )]
    fn fit(
        &self,
        train: &TrainSet,
        observer: &mut dyn FnMut(&EpochReport) -> ControlFlow<()>,
    ) -> Result<Popularity> {
        let counts = train.vocabulary().counts();
        let n_events = train.n_interactions() as u64;
        if n_events == 0 {
            let reason = "there is no interaction".to_owned();
            return Err(Error::NothingToLearn {
                model: KIND,
                reason,
            });
        }
        let surprise = |&count: &u64| {
            let share = count as f64 / n_events as f64;
            -share * share.ln()
        };
        let loss = counts.iter().map(surprise).sum();
        // There is no second epoch to stop before.
        let _: ControlFlow<()> = observer(&EpochReport {
            epoch: 1,
            n_epochs: 1,
            loss,
            n_events,
        });
        Ok(Popularity {
            encoder: train.encoder().clone(),
            scores: counts.iter().map(|&count| count as f32).collect(),
            data: Some(train.fingerprint()),
        })
    }
}

/// Loads a [`Popularity`] model from its artifact.
#[derive(Debug, Clone, Copy, Default)]
pub struct PopularityLoader;

impl ModelLoader for PopularityLoader {
    fn kind(&self) -> &str {
        KIND
    }

    fn load(&self, artifact: &ModelArtifact) -> reco_core::Result<Arc<dyn Model>> {
        let encoder = artifact.encoder()?;
        let scores = artifact.tensor(SCORE, &[encoder.vocabulary().len()])?;
        let data = artifact.manifest().data.clone();
        Ok(Arc::new(Popularity {
            encoder,
            scores,
            data,
        }))
    }
}
