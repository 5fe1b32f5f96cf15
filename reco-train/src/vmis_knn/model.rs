//! [`VmisKnn`]: answers from the past sessions that are nearest.

use std::sync::Arc;

use reco_core::{
    DataFingerprint, ItemIdx, Model, ModelArtifact, ModelLoader, Ranking, Result, Session,
    SessionEncoder, TrainSet,
};

use super::{Idf, KIND, Remind, VmisKnnConfig};
use crate::evaluate::Scorer;
use crate::neighbours::{self, Neighbourhood, Pool, Scratch, SessionIndex};
use crate::rule;

/// An index of past sessions, and the answers that it gives; see the [module](super).
///
/// An item that is in none of the nearest sessions scores 0 and is in no ranking: there can be fewer than
/// `k` answers, and there is none for a session of unknown items. More than 16 sessions at once are answered on
/// the threads of the current rayon pool.
///
/// # Examples
///
/// ```
/// use std::ops::ControlFlow;
/// use reco_core::{ModelExt, SessionDataset, SessionEncoding, Split};
/// use reco_train::{Trainer, VmisKnnConfig, VmisKnnTrainer};
///
/// let mut builder = SessionDataset::builder(SessionEncoding::default());
/// for (session, item) in [("a", "hat"), ("a", "scarf"), ("b", "hat"), ("b", "scarf"), ("c", "hat"), ("c", "tie")] {
///     builder.push(session, item, "2024-05-01T10:00Z".parse()?)?;
/// }
/// let data = builder.build()?;
/// let split = Split::from_parts(data.clone(), data);
///
/// let trainer = VmisKnnTrainer::new(VmisKnnConfig::vs_knn());
/// let model = trainer.fit(&split.train, &mut |_| ControlFlow::Continue(()))?;
/// let ranking = model.recommend(&["hat"].into_iter().collect(), 3)?;
/// let scored: Vec<_> = ranking.iter().map(|s| (s.item.as_str(), s.score)).collect();
/// assert_eq!(scored, [("hat", 3.0), ("scarf", 2.0), ("tie", 1.0)]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct VmisKnn {
    encoder: SessionEncoder,
    config: VmisKnnConfig,
    data: Option<DataFingerprint>,
    index: SessionIndex,
    /// What the score of each item is multiplied by: `[n_items]`.
    idf: Vec<f64>,
    pool: Pool,
}

impl VmisKnn {
    pub(super) fn new(
        encoder: SessionEncoder,
        config: VmisKnnConfig,
        data: Option<DataFingerprint>,
        index: SessionIndex,
    ) -> Self {
        let idf = idf(&encoder, &config, &index);
        Self {
            encoder,
            config,
            data,
            index,
            idf,
            pool: Pool::default(),
        }
    }

    /// The hyperparameters.
    #[must_use]
    pub const fn config(&self) -> &VmisKnnConfig {
        &self.config
    }

    /// How many past sessions can be a neighbour.
    #[must_use]
    pub fn n_sessions(&self) -> usize {
        self.index.n_kept()
    }

    /// The model of the sessions behind this one and of new ones: the same that a fit to both gives.
    ///
    /// A session that is not among the `m` most recent of any of its items has been let go of, and no
    /// later session brings it back; how often its items were seen is still counted. Sessions must be whole: one
    /// that goes on in the new data is another. To forget old sessions, fit again; it takes one pass.
    ///
    /// The new model does not say what data it was fitted on, since the fingerprint of both is not known.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`](reco_core::Error::InvalidConfig) if the new sessions are encoded in another way, or if there are 2³² sessions
    /// or items.
    pub fn update(&self, train: &TrainSet) -> crate::Result<Self> {
        let (index, encoder) = self
            .index
            .updated(&self.encoder, train, self.config.kept())?;
        Ok(Self::new(encoder, self.config.clone(), None, index))
    }

    /// The model of an artifact; [`VmisKnnLoader`] gives it as any model.
    ///
    /// # Errors
    ///
    /// As [`ModelLoader::load`].
    pub fn from_artifact(artifact: &ModelArtifact) -> Result<Self> {
        let config = rule::stored(KIND, artifact, VmisKnnConfig::check)?;
        let encoder = artifact.encoder()?;
        let index = SessionIndex::load(artifact, encoder.vocabulary().len(), config.kept())?;
        let data = artifact.manifest().data.clone();
        Ok(Self::new(encoder, config, data, index))
    }

    /// The model as files, for a registry.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`](reco_core::Error::InvalidConfig) if a hyperparameter cannot be written as JSON, and as
    /// [`ModelArtifactBuilder::build`](reco_core::ModelArtifactBuilder::build).
    pub fn to_artifact(&self) -> crate::Result<ModelArtifact> {
        neighbours::to_artifact(KIND, &self.encoder, &self.config, self.data.as_ref(), |b| {
            self.index.save(b)
        })
    }
}

/// The factor of each item.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2⁵³")]
fn idf(encoder: &SessionEncoder, config: &VmisKnnConfig, index: &SessionIndex) -> Vec<f64> {
    let counts = encoder.vocabulary().counts();
    let weight = config.idf_weighting;
    if weight <= 0.0 {
        return vec![1.0; counts.len()];
    }
    let learnt = index.learnt();
    let ln = |of: u64, count: u64| (of as f64 / count.max(1) as f64).ln().max(0.0);
    match config.idf {
        Idf::Added => counts
            .iter()
            .map(|&count| 1.0 + weight * ln(learnt.n_sessions, count))
            .collect(),
        Idf::Multiplied => {
            let all = learnt.support.iter().map(|&support| u64::from(support));
            let total = all.clone().sum();
            all.map(|support| weight * ln(total, support)).collect()
        }
    }
}

impl Neighbourhood for VmisKnn {
    fn encoder(&self) -> &SessionEncoder {
        &self.encoder
    }

    fn pool(&self) -> &Pool {
        &self.pool
    }

    fn score(&self, query: &[ItemIdx], scratch: &mut Scratch) {
        let config = &self.config;
        let query = neighbours::last(query, config.last_items);
        scratch.ask(query, |distance, length| {
            config.weighting.place(distance, length)
        });
        self.index.recent(config.m, scratch);
        neighbours::nearest(config.k, scratch);
        let Scratch {
            candidates, sums, ..
        } = scratch;
        for neighbour in candidates {
            let vote = neighbour.similarity * config.weighting_score.steps(neighbour.distance + 1);
            for &item in self.index.items(neighbour.session) {
                sums.add(item, vote * self.idf[item as usize]);
            }
        }
        match (config.remind, query.last()) {
            (Remind::Earlier, Some(last)) => sums.drop(last.0),
            (Remind::Never, _) => query.iter().for_each(|item| sums.drop(item.0)),
            _ => {}
        }
    }
}

impl Model for VmisKnn {
    fn kind(&self) -> &str {
        KIND
    }

    fn recommend_batch(&self, sessions: &[Session], k: usize) -> Result<Vec<Ranking>> {
        Ok(neighbours::rank(self, sessions, k))
    }
}

impl Scorer for VmisKnn {
    fn encoder(&self) -> &SessionEncoder {
        &self.encoder
    }

    fn score_batch(&self, sessions: &[&[ItemIdx]], scores: &mut [f32]) -> Result<()> {
        neighbours::score_rows(self, sessions, scores);
        Ok(())
    }
}

/// Loads a [`VmisKnn`] model from its artifact.
#[derive(Debug, Clone, Copy, Default)]
pub struct VmisKnnLoader;

impl ModelLoader for VmisKnnLoader {
    fn kind(&self) -> &str {
        KIND
    }

    fn load(&self, artifact: &ModelArtifact) -> Result<Arc<dyn Model>> {
        Ok(Arc::new(VmisKnn::from_artifact(artifact)?))
    }
}
