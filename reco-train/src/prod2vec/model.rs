//! [`Prod2Vec`]: answers by cosine, in plain Rust.

use std::borrow::Cow;
use std::sync::Arc;

use pulp::{Arch, Simd, WithSimd};
use reco_core::{
    DataFingerprint, Error, ItemIdx, Model, ModelArtifact, ModelLoader, Ranking, Result, Session,
    SessionEncoder,
};

use super::{KIND, Prod2VecConfig};
use crate::evaluate::{DenseScorer, Scorer, rank};
use crate::rule;

/// The tensor of the vectors in an artifact: `[n_items, vector_size]`.
const VECTORS: &str = "vectors";

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
        })
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
        Ok(builder.tensor(VECTORS, &shape, &self.vectors).build()?)
    }

    fn row(&self, item: ItemIdx) -> &[f32] {
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
        let config = rule::stored(KIND, artifact, Prod2VecConfig::check)?;
        let encoder = artifact.encoder()?;
        let shape = [encoder.vocabulary().len(), config.vector_size];
        let vectors = artifact.tensor(VECTORS, &shape)?;
        let data = artifact.manifest().data.clone();
        Ok(Arc::new(Prod2Vec::new(encoder, vectors, config, data)?))
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

/// The scores of many queries: each block of rows is read from memory once for all of them.
///
/// The dot product of a query and a row is always summed in the same order, so a session scores the same
/// alone as in a batch.
struct Cosines<'a> {
    dim: usize,
    vectors: &'a [f32],
    inverse_norms: &'a [f32],
    queries: &'a [f32],
    scores: &'a mut [f32],
}

/// Rows that are read at once: a block of 100 dimensions fits into the first cache.
const ROWS_PER_BLOCK: usize = 48;
/// Rows whose dot products are summed side by side, to fill the processor's pipeline.
const ROWS_AT_ONCE: usize = 8;

impl WithSimd for Cosines<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            dim,
            vectors,
            inverse_norms,
            queries,
            scores,
        } = self;
        let n_items = inverse_norms.len();
        let blocks = vectors.chunks(ROWS_PER_BLOCK * dim);
        for (start, block) in (0..).step_by(ROWS_PER_BLOCK).zip(blocks) {
            let rows_of_scores = scores.chunks_exact_mut(n_items);
            for (query, scores) in queries.chunks_exact(dim).zip(rows_of_scores) {
                let end = start + block.len() / dim;
                let scores = scores[start..end].chunks_mut(ROWS_AT_ONCE);
                let norms = inverse_norms[start..end].chunks(ROWS_AT_ONCE);
                let rows = block.chunks(ROWS_AT_ONCE * dim);
                for ((rows, norms), scores) in rows.zip(norms).zip(scores) {
                    let dots = dots(simd, query, rows);
                    for ((score, dot), norm) in scores.iter_mut().zip(dots).zip(norms) {
                        *score = dot * norm;
                    }
                }
            }
        }
    }
}

/// The dot products of a query with up to [`ROWS_AT_ONCE`] rows.
#[inline(always)]
fn dots<S: Simd>(simd: S, query: &[f32], rows: &[f32]) -> [f32; ROWS_AT_ONCE] {
    let dim = query.len();
    let (query, query_tail) = S::as_simd_f32s(query);
    let query_tail = simd.partial_load_f32s(query_tail);
    let mut sums = [simd.splat_f32s(0.0); ROWS_AT_ONCE];
    // Loops instead of closures: what is not inlined here is not compiled for the vectors of `S`.
    if rows.len() == ROWS_AT_ONCE * dim {
        let mut heads = [query; ROWS_AT_ONCE];
        for (row, head) in heads.iter_mut().enumerate() {
            *head = &S::as_simd_f32s(&rows[row * dim..][..dim]).0[..query.len()];
        }
        for (place, &q) in query.iter().enumerate() {
            for row in 0..ROWS_AT_ONCE {
                sums[row] = simd.mul_add_e_f32s(q, heads[row][place], sums[row]);
            }
        }
    } else {
        for (sum, row) in sums.iter_mut().zip(rows.chunks_exact(dim)) {
            for (&q, &v) in query.iter().zip(S::as_simd_f32s(row).0) {
                *sum = simd.mul_add_e_f32s(q, v, *sum);
            }
        }
    }
    let mut dots = [0.0; ROWS_AT_ONCE];
    for ((sum, row), dot) in sums.into_iter().zip(rows.chunks_exact(dim)).zip(&mut dots) {
        let tail = simd.partial_load_f32s(S::as_simd_f32s(row).1);
        *dot = simd.reduce_sum_f32s(simd.mul_add_e_f32s(query_tail, tail, sum));
    }
    dots
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use reco_core::{ItemId, ModelExt, SessionEncoding, Vocabulary};

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
