//! [`Stan`]: answers from the past sessions that are nearest in items, order and time.

use std::sync::Arc;

use reco_core::{
    DataFingerprint, ItemIdx, Model, ModelArtifact, ModelLoader, Ranking, Result, Session,
    SessionEncoder, TrainSet,
};

use super::{KIND, Similarity, StanConfig};
use crate::evaluate::Scorer;
use crate::neighbours::{self, Neighbourhood, Pool, Scratch, SessionIndex};
use crate::rule;

/// Microseconds of a day.
const DAY: f64 = 86_400e6;
/// The most that a session is older than the newest, in units of λ2: `exp` of more would be 0.
const OLDEST: f64 = 700.0;
/// How many decays by places are computed once.
const N_DECAYS: usize = 256;

/// An index of past sessions with their times and places, and the answers that it gives; see the
/// [module](super).
///
/// An item that is in none of the nearest sessions scores 0 and is in no ranking: there can be fewer than
/// `k` answers, and there is none for a session of unknown items. More than 16 sessions at once are answered on
/// the threads of the current rayon pool.
#[derive(Debug, Clone)]
pub struct Stan {
    encoder: SessionEncoder,
    config: StanConfig,
    data: Option<DataFingerprint>,
    index: SessionIndex,
    /// What the score of each item is multiplied by: `[n_items]`, or nothing for 1.
    idf: Vec<f64>,
    /// What the age of each session is worth beside the newest: `[n_sessions]`, or nothing for 1.
    recency: Vec<f64>,
    /// `exp(-places / λ3)` for the first numbers of places.
    decays: Vec<f64>,
    pool: Pool,
}

impl Stan {
    pub(super) fn new(
        encoder: SessionEncoder,
        config: StanConfig,
        data: Option<DataFingerprint>,
        index: SessionIndex,
    ) -> Self {
        let idf = config
            .lambda_idf
            .map_or_else(Vec::new, |weight| idf(&encoder, weight, &index));
        let recency = config
            .lambda_snh
            .map_or_else(Vec::new, |days| recency(index.ended(), days));
        let decays = (0..N_DECAYS)
            .map(|places| decay(places, config.lambda_inh))
            .collect();
        Self {
            encoder,
            config,
            data,
            index,
            idf,
            recency,
            decays,
            pool: Pool::default(),
        }
    }

    /// The hyperparameters.
    #[must_use]
    pub const fn config(&self) -> &StanConfig {
        &self.config
    }

    /// How many past sessions can be a neighbour.
    #[must_use]
    pub fn n_sessions(&self) -> usize {
        self.index.n_kept()
    }

    /// The model of the sessions behind this one and of new ones: the same that a fit to both gives.
    ///
    /// What [`VmisKnn::update`](crate::VmisKnn::update) says holds here.
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

    /// The model of an artifact; [`StanLoader`] gives it as any model.
    ///
    /// # Errors
    ///
    /// As [`ModelLoader::load`].
    pub fn from_artifact(artifact: &ModelArtifact) -> Result<Self> {
        let config = rule::stored(KIND, artifact, StanConfig::check)?;
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

    /// Makes the shared weights of each candidate its similarity.
    #[expect(
        clippy::cast_precision_loss,
        reason = "sessions are far below 2⁵³ items"
    )]
    fn compare(&self, scratch: &mut Scratch) {
        let squares: f64 = scratch.terms.iter().map(|term| term.weight.powi(2)).sum();
        let (of_query, cosine) = match self.config.similarity {
            Similarity::Cosine => (squares.sqrt(), true),
            Similarity::Dot => (scratch.terms.len() as f64, false),
        };
        // Candidates are newest first.
        let newest = scratch.candidates.first().map(|c| c.session as usize);
        let newest = newest
            .and_then(|session| self.recency.get(session))
            .copied();
        for candidate in &mut scratch.candidates {
            let mut length = of_query;
            if cosine {
                length *= (self.index.items(candidate.session).len() as f64).sqrt();
            }
            candidate.similarity /= length;
            if let Some(newest) = newest {
                candidate.similarity *= self.recency[candidate.session as usize] / newest;
            }
        }
    }
}

/// The factor of each item.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2⁵³")]
fn idf(encoder: &SessionEncoder, weight: f64, index: &SessionIndex) -> Vec<f64> {
    let n_sessions = index.learnt().n_sessions as f64;
    let counts = encoder.vocabulary().counts().iter();
    counts
        .map(|&count| 1.0 + weight * (n_sessions / count.max(1) as f64).ln().max(0.0))
        .collect()
}

/// What the age of each session is worth beside the newest, which is last.
#[expect(
    clippy::cast_precision_loss,
    reason = "microseconds of a time are below 2⁵³ until 2255"
)]
fn recency(ended: &[i64], lambda_days: f64) -> Vec<f64> {
    let newest = ended.last().copied().unwrap_or_default() as f64;
    ended
        .iter()
        .map(|&ended| {
            let days = (newest - ended as f64) / DAY;
            (-(days / lambda_days).min(OLDEST)).exp()
        })
        .collect()
}

#[expect(clippy::cast_precision_loss, reason = "places are far below 2⁵³")]
fn decay(places: usize, lambda: Option<f64>) -> f64 {
    lambda.map_or(1.0, |lambda| (-(places as f64) / lambda).exp())
}

impl Neighbourhood for Stan {
    fn encoder(&self) -> &SessionEncoder {
        &self.encoder
    }

    fn pool(&self) -> &Pool {
        &self.pool
    }

    fn score(&self, query: &[ItemIdx], scratch: &mut Scratch) {
        let config = &self.config;
        scratch.ask(query, |distance, _| decay(distance, config.lambda_spw));
        self.index.recent(config.m, scratch);
        self.compare(scratch);
        neighbours::nearest(config.k, scratch);
        let Scratch {
            candidates,
            asked,
            sums,
            ..
        } = scratch;
        for neighbour in candidates {
            let vote = neighbour.similarity * decay(neighbour.distance, config.lambda_ipw);
            let (items, places) = self.index.items_and_places(neighbour.session);
            let shared = items.iter().rposition(|&item| asked[item as usize]);
            let shared = shared.map_or(0, |position| places[position]);
            for (&item, &place) in items.iter().zip(places) {
                let distance = place.abs_diff(shared) as usize;
                let decay = self.decays.get(distance).copied();
                let decay = decay.unwrap_or_else(|| self::decay(distance, config.lambda_inh));
                let idf = self.idf.get(item as usize).copied().unwrap_or(1.0);
                sums.add(item, vote * decay * idf);
            }
        }
        if !config.remind {
            query.iter().for_each(|item| sums.drop(item.0));
        }
    }
}

impl Model for Stan {
    fn kind(&self) -> &str {
        KIND
    }

    fn recommend_batch(&self, sessions: &[Session], k: usize) -> Result<Vec<Ranking>> {
        Ok(neighbours::rank(self, sessions, k))
    }
}

impl Scorer for Stan {
    fn encoder(&self) -> &SessionEncoder {
        &self.encoder
    }

    fn score_batch(&self, sessions: &[&[ItemIdx]], scores: &mut [f32]) -> Result<()> {
        neighbours::score_rows(self, sessions, scores);
        Ok(())
    }
}

/// Loads a [`Stan`] model from its artifact.
#[derive(Debug, Clone, Copy, Default)]
pub struct StanLoader;

impl ModelLoader for StanLoader {
    fn kind(&self) -> &str {
        KIND
    }

    fn load(&self, artifact: &ModelArtifact) -> Result<Arc<dyn Model>> {
        Ok(Arc::new(Stan::from_artifact(artifact)?))
    }
}
