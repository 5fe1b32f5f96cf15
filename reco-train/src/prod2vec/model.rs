//! [`Prod2Vec`]: answers by cosine, in plain Rust.

use std::borrow::Cow;
use std::sync::Arc;

use pulp::Arch;
use reco_core::{
    DataFingerprint, Error, ItemId, ItemIdx, Model, ModelArtifact, ModelLoader, Ranking, Result,
    Session, SessionEncoder, Vocabulary,
};

use super::cosines::Cosines;
use super::{KIND, Prod2VecConfig};
use crate::evaluate::{DenseScorer, Scorer, rank};
use crate::rule;

/// The tensor of the vectors in an artifact: `[n_items, vector_size]`.
const VECTORS: &str = "vectors";
/// The tensor of the outputs, of the same shape, if they are kept.
const OUTPUTS: &str = "outputs";

/// Item vectors, and the answers that they give.
///
/// A session's query is the mean of the unit vectors of its last items
/// ([`last`](Prod2VecConfig::last); repeats count); the score of an item is the cosine between the query and
/// its vector. The session's own items are usually the nearest: filter them where they are not wanted.
///
/// An item whose vector is zero, or any item for a query that is zero, scores 0.
#[derive(Debug, Clone)]
pub struct Prod2Vec {
    encoder: SessionEncoder,
    config: Prod2VecConfig,
    data: Option<DataFingerprint>,
    /// `[n_items, vector_size]`
    vectors: Vec<f32>,
    /// One over the length of each vector, 0 for a vector of length 0.
    inverse_norms: Vec<f32>,
    /// `[n_items, vector_size]`, or nothing.
    outputs: Vec<f32>,
}

impl Prod2Vec {
    /// A model of `vectors: [n_items, vector_size]`.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] names an item whose vector is too long for f32.
    pub(super) fn new(
        encoder: SessionEncoder,
        vectors: Vec<f32>,
        config: Prod2VecConfig,
        data: Option<DataFingerprint>,
    ) -> Result<Self> {
        let rows = vectors.chunks_exact(config.vector_size);
        let mut inverse_norms = Vec::with_capacity(rows.len());
        for (row, item) in rows.zip(encoder.vocabulary().items()) {
            let norm = norm(row);
            // Squares of longer ones would overflow, of shorter ones vanish.
            if norm.is_nan() || norm > 1e15 {
                let reason = format!("the vector of item `{item}` has length {norm}");
                return Err(Error::InvalidConfig {
                    of: KIND.to_owned(),
                    reason,
                });
            }
            inverse_norms.push(if norm > 1e-15 { norm.recip() } else { 0.0 });
        }
        Ok(Self {
            encoder,
            config,
            data,
            vectors,
            inverse_norms,
            outputs: Vec::new(),
        })
    }

    /// The model with the outputs that it was learnt against, `[n_items, vector_size]`.
    pub(super) fn with_outputs(self, outputs: Vec<f32>) -> Self {
        Self { outputs, ..self }
    }

    /// The vector of an item, and what it was learnt against, if it is kept.
    pub(super) fn weights(&self, item: ItemIdx) -> (&[f32], Option<&[f32]>) {
        let start = item.get() * self.config.vector_size;
        let output = self.outputs.get(start..start + self.config.vector_size);
        (self.row(item), output)
    }

    /// Whether [`keep_outputs`](Prod2VecConfig::keep_outputs) was set, and there were some.
    pub(super) const fn has_outputs(&self) -> bool {
        !self.outputs.is_empty()
    }

    /// The mean of the unit vectors of items; none if there are no items.
    #[expect(clippy::cast_precision_loss, reason = "a mean")]
    pub(super) fn mean_of(&self, items: &[usize]) -> Option<Vec<f32>> {
        let share = 1.0 / items.len() as f32;
        let mut mean = vec![0.0; self.config.vector_size];
        for &item in items {
            let scale = share * self.inverse_norms[item];
            let row = &self.vectors[item * mean.len()..];
            mean.iter_mut().zip(row).for_each(|(m, v)| *m += scale * v);
        }
        (!items.is_empty()).then_some(mean)
    }

    /// The model with items that it does not know, and their vectors; they count as seen 0 times.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub(super) fn with_items(&self, mut items: Vec<(ItemId, Vec<f32>)>) -> Result<Self> {
        let known = self.vocabulary();
        let counts = known
            .items()
            .iter()
            .cloned()
            .zip(known.counts().iter().copied());
        let new = items.iter().map(|(item, _)| (item.clone(), 0));
        let vocabulary = Arc::new(Vocabulary::from_counts(counts.chain(new))?);
        items.sort_by(|a, b| a.0.cmp(&b.0));
        let mut new = items.iter().map(|(_, vector)| vector);
        let (mut vectors, mut outputs) = (Vec::new(), Vec::new());
        let zeros = vec![0.0; self.config.vector_size];
        for item in vocabulary.items() {
            let (vector, output) = match known.idx(item.as_str()) {
                Some(idx) => self.weights(idx),
                None => (&**new.next().expect("each new item has a vector"), None),
            };
            vectors.extend_from_slice(vector);
            if self.has_outputs() {
                outputs.extend_from_slice(output.unwrap_or(&zeros));
            }
        }
        let encoder = SessionEncoder::new(self.encoder.encoding(), vocabulary)?;
        let model = Self::new(encoder, vectors, self.config.clone(), self.data.clone())?;
        Ok(model.with_outputs(outputs))
    }

    /// The hyperparameters.
    #[must_use]
    pub const fn config(&self) -> &Prod2VecConfig {
        &self.config
    }

    /// The vector of an item, of `vector_size` numbers, if it is known.
    #[must_use]
    pub fn vector(&self, item: &str) -> Option<&[f32]> {
        self.encoder
            .vocabulary()
            .idx(item)
            .map(|item| self.row(item))
    }

    /// The `k` items that are most like an item, itself left out, by cosine; `None` if the item is unknown.
    #[must_use]
    pub fn similar(&self, item: &str, k: usize) -> Option<Ranking> {
        let vocabulary = self.encoder.vocabulary();
        let item = vocabulary.idx(item)?;
        let mut scores = vec![0.0; vocabulary.len()];
        self.cosines(&self.query(&[item]), &mut scores);
        // Scores that are not finite are left out.
        scores[item.get()] = f32::NEG_INFINITY;
        Some(Ranking::top_k(vocabulary, &scores, k))
    }

    /// The model as files, for a registry.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] if a hyperparameter cannot be written as JSON, and as
    /// [`ModelArtifactBuilder::build`](reco_core::ModelArtifactBuilder::build).
    pub fn to_artifact(&self) -> crate::Result<ModelArtifact> {
        let config = serde_json::to_value(&self.config).map_err(|error| Error::InvalidConfig {
            of: KIND.to_owned(),
            reason: error.to_string(),
        })?;
        let mut builder = ModelArtifact::builder(KIND, &self.encoder).config(config);
        if let Some(data) = &self.data {
            builder = builder.data(data.clone());
        }
        let shape = [self.inverse_norms.len(), self.config.vector_size];
        builder = builder.tensor(VECTORS, &shape, &self.vectors);
        if self.has_outputs() {
            builder = builder.tensor(OUTPUTS, &shape, &self.outputs);
        }
        Ok(builder.build()?)
    }

    pub(super) fn vocabulary(&self) -> &Vocabulary {
        self.encoder.vocabulary()
    }

    pub(super) fn row(&self, item: ItemIdx) -> &[f32] {
        &self.vectors[item.get() * self.config.vector_size..][..self.config.vector_size]
    }

    /// The query of a session: `[vector_size]`, of length 1 (or 0).
    fn query(&self, session: &[ItemIdx]) -> Vec<f32> {
        let last = if self.config.last == 0 {
            session.len()
        } else {
            self.config.last
        };
        let mut query = vec![0.0; self.config.vector_size];
        for &item in &session[session.len().saturating_sub(last)..] {
            let scale = self.inverse_norms[item.get()];
            query
                .iter_mut()
                .zip(self.row(item))
                .for_each(|(q, v)| *q += scale * v);
        }
        // The sum has the direction of the mean.
        let norm = norm(&query);
        let scale = if norm > 1e-6 { norm.recip() } else { 0.0 };
        query.iter_mut().for_each(|q| *q *= scale);
        query
    }

    /// The dot products of `queries: [n, vector_size]` with all unit vectors: `[n, n_items]`.
    fn cosines(&self, queries: &[f32], scores: &mut [f32]) {
        Arch::new().dispatch(Cosines {
            dim: self.config.vector_size,
            vectors: &self.vectors,
            inverse_norms: &self.inverse_norms,
            queries,
            scores,
        });
    }
}

impl Model for Prod2Vec {
    fn kind(&self) -> &str {
        KIND
    }

    fn recommend_batch(&self, sessions: &[Session], k: usize) -> Result<Vec<Ranking>> {
        rank(self, sessions, k)
    }
}

impl Scorer for Prod2Vec {
    fn encoder(&self) -> &SessionEncoder {
        &self.encoder
    }

    fn score_batch(&self, sessions: &[&[ItemIdx]], scores: &mut [f32]) -> Result<()> {
        let queries: Vec<f32> = sessions
            .iter()
            .flat_map(|session| self.query(session))
            .collect();
        self.cosines(&queries, scores);
        Ok(())
    }

    fn dense(&self) -> Option<&dyn DenseScorer> {
        Some(self)
    }
}

impl DenseScorer for Prod2Vec {
    fn dim(&self) -> usize {
        self.config.vector_size
    }

    fn item_vectors(&self) -> Cow<'_, [f32]> {
        let rows = self.vectors.chunks_exact(self.config.vector_size);
        let unit =
            |(row, norm): (&[f32], &f32)| row.iter().map(|value| value * norm).collect::<Vec<_>>();
        rows.zip(&self.inverse_norms).flat_map(unit).collect()
    }

    fn item_biases(&self) -> Option<&[f32]> {
        None
    }

    fn session_vectors(&self, sessions: &[&[ItemIdx]], vectors: &mut [f32]) -> Result<()> {
        let rows = vectors.chunks_exact_mut(self.config.vector_size);
        rows.zip(sessions)
            .for_each(|(vector, session)| vector.copy_from_slice(&self.query(session)));
        Ok(())
    }
}

/// Loads a [`Prod2Vec`] model from its artifact.
#[derive(Debug, Clone, Copy, Default)]
pub struct Prod2VecLoader;

impl ModelLoader for Prod2VecLoader {
    fn kind(&self) -> &str {
        KIND
    }

    fn load(&self, artifact: &ModelArtifact) -> Result<Arc<dyn Model>> {
        Ok(Arc::new(Prod2Vec::from_artifact(artifact)?))
    }
}

impl Prod2Vec {
    /// The model of an artifact, to [continue](super::Prod2VecTrainer::continuing) from; a
    /// [`Prod2VecLoader`] gives it to a handle.
    ///
    /// # Errors
    ///
    /// As [`ModelLoader::load`].
    pub fn from_artifact(artifact: &ModelArtifact) -> Result<Self> {
        let config = rule::stored(KIND, artifact, Prod2VecConfig::check)?;
        let encoder = artifact.encoder()?;
        let shape = [encoder.vocabulary().len(), config.vector_size];
        let vectors = artifact.tensor(VECTORS, &shape)?;
        let data = artifact.manifest().data.clone();
        let outputs = if artifact.tensor_shapes()?.contains_key(OUTPUTS) {
            artifact.tensor(OUTPUTS, &shape)?
        } else {
            Vec::new()
        };
        Ok(Self::new(encoder, vectors, config, data)?.with_outputs(outputs))
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a sum in f64 of f32, back in f32"
)]
fn norm(vector: &[f32]) -> f32 {
    vector
        .iter()
        .map(|&x| f64::from(x) * f64::from(x))
        .sum::<f64>()
        .sqrt() as f32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use reco_core::{ModelExt, SessionEncoding};

    use super::*;

    fn model(vectors: &[f32], dim: usize, last: usize) -> Result<Prod2Vec> {
        let items = (0..vectors.len() / dim).map(|item| (format!("{item:04}"), 1));
        let vocabulary = Arc::new(Vocabulary::from_counts(items).unwrap());
        let encoder = SessionEncoder::new(SessionEncoding::default(), vocabulary).unwrap();
        let config = Prod2VecConfig {
            vector_size: dim,
            last,
            ..Default::default()
        };
        Prod2Vec::new(encoder, vectors.to_vec(), config, None)
    }

    fn check(last: usize, session: &[u32], expected: [f32; 4]) {
        // East, north, north-west (longer), and nowhere.
        let model = model(&[1.0, 0.0, 0.0, 1.0, -2.0, 2.0, 0.0, 0.0], 2, last).unwrap();
        let session: Vec<ItemIdx> = session.iter().map(|&item| ItemIdx(item)).collect();
        let mut scores = [f32::NAN; 4];
        model.score_batch(&[&session], &mut scores).unwrap();
        let near = scores
            .iter()
            .zip(expected)
            .all(|(s, e)| (s - e).abs() < 1e-6);
        assert!(near, "{session:?}: {scores:?}");
    }

    #[test]
    fn cosines_worked_by_hand() {
        let half = 0.5_f32.sqrt();
        check(0, &[0], [1.0, 0.0, -half, 0.0]);
        check(0, &[0, 1], [half, half, 0.0, 0.0]);
        check(1, &[0, 1], [0.0, 1.0, half, 0.0]);
        // Unit vectors are averaged: the longer one weighs no more. 22.5° to either side.
        let near = std::f32::consts::FRAC_PI_8.cos();
        let right = std::f32::consts::FRAC_PI_8.sin();
        check(0, &[1, 2], [-right, near, near, 0.0]);
        check(0, &[3], [0.0; 4]);
    }

    #[test]
    fn similar_leaves_the_item_out() {
        let model = model(&[1.0, 0.0, 0.0, 1.0, -2.0, 2.0], 2, 0).unwrap();
        let ranking = model.similar("0001", 5).unwrap();
        let items: Vec<&str> = ranking.items().map(ItemId::as_str).collect();
        assert_eq!(items, ["0002", "0000"]);
        assert_eq!(model.similar("unknown", 5), None);
        assert_eq!(model.vector("0002"), Some(&[-2.0, 2.0][..]));
    }

    #[test]
    fn an_endless_vector_is_an_error() {
        let error = model(&[1.0, 0.0, 1e20, 0.0], 2, 0).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("the vector of item `0001` has length"),
            "{error}"
        );
    }

    #[test]
    fn unknown_items_give_an_empty_ranking() {
        let model = model(&[1.0, 0.0], 2, 0).unwrap();
        assert!(
            model
                .recommend(&["unknown"].into_iter().collect(), 3)
                .unwrap()
                .is_empty()
        );
    }

    proptest! {
        #[test]
        fn a_score_is_the_same_in_any_batch_and_near_the_plain_sum(
            dim in 1..40_usize,
            n_items in 1..70_usize,
            n_sessions in 1..5_usize,
            seed in any::<u64>(),
        ) {
            use rand::{Rng, SeedableRng};
            let mut rng = rand_xoshiro::Xoshiro256PlusPlus::seed_from_u64(seed);
            let mut uniform = || rng.next_u32() as f32 / u32::MAX as f32 - 0.5;
            let vectors: Vec<f32> = (0..dim * n_items).map(|_| uniform()).collect();
            let model = model(&vectors, dim, 0).unwrap();
            let sessions: Vec<[ItemIdx; 1]> =
                (0..n_sessions).map(|s| [ItemIdx(u32::try_from(s * 7 % n_items).unwrap())]).collect();
            let sessions: Vec<&[ItemIdx]> = sessions.iter().map(|s| &s[..]).collect();
            let mut batch = vec![f32::NAN; n_sessions * n_items];
            model.score_batch(&sessions, &mut batch).unwrap();
            for (session, of_batch) in sessions.iter().zip(batch.chunks_exact(n_items)) {
                let mut alone = vec![f32::NAN; n_items];
                model.score_batch(&[session], &mut alone).unwrap();
                prop_assert_eq!(&alone, of_batch);
                let query = model.row(session[0]);
                for (item, score) in (0..).map(ItemIdx).zip(&alone) {
                    let row = model.row(item);
                    let dot: f32 = query.iter().zip(row).map(|(a, b)| a * b).sum();
                    let cosine = dot / norm(query) / norm(row);
                    prop_assert!((cosine - score).abs() < 1e-4, "{} {}", cosine, score);
                }
            }
        }
    }
}
