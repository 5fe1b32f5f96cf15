//! [`DenseScorer`]: a model whose scores are products of vectors.

use std::borrow::Cow;

use reco_core::{ItemIdx, Result};

use super::Scorer;

/// A model whose score of an item is the dot product of a vector of the session and a vector of the item,
/// plus a bias of the item.
///
/// All scores are then a product of two matrices, which the evaluation computes block by block, at the speed
/// of such products and in the memory of a block.
///
/// # Contract
///
/// * The scores are those of [`Scorer::score_batch`], up to the rounding of sums in another order. Two
///   items whose scores differ by less than that may change places.
/// * A session's vector is the same alone as in a batch.
///
/// # Examples
///
/// ```
/// use std::borrow::Cow;
/// use reco_core::{ItemIdx, Model, Ranking, Result, Session, SessionEncoder};
/// use reco_train::Scorer;
/// use reco_train::evaluate::{DenseScorer, rank};
///
/// /// An item is as good as it is like the last one.
/// #[derive(Debug)]
/// struct LikeLast {
///     encoder: SessionEncoder,
///     /// `[n_items, 2]`
///     vectors: Vec<f32>,
/// }
///
/// impl DenseScorer for LikeLast {
///     fn dim(&self) -> usize {
///         2
///     }
///
///     fn item_vectors(&self) -> Cow<'_, [f32]> {
///         Cow::Borrowed(&self.vectors)
///     }
///
///     fn item_biases(&self) -> Option<&[f32]> {
///         None
///     }
///
///     fn session_vectors(&self, sessions: &[&[ItemIdx]], vectors: &mut [f32]) -> Result<()> {
///         for (session, vector) in sessions.iter().zip(vectors.chunks_exact_mut(2)) {
///             let last = session[session.len() - 1].get();
///             vector.copy_from_slice(&self.vectors[2 * last..][..2]);
///         }
///         Ok(())
///     }
/// }
///
/// impl Scorer for LikeLast {
///     fn encoder(&self) -> &SessionEncoder {
///         &self.encoder
///     }
///
///     fn score_batch(&self, sessions: &[&[ItemIdx]], scores: &mut [f32]) -> Result<()> {
///         let mut queries = vec![0.0; 2 * sessions.len()];
///         self.session_vectors(sessions, &mut queries)?;
///         let n_items = self.encoder.vocabulary().len();
///         for (query, scores) in queries.chunks_exact(2).zip(scores.chunks_exact_mut(n_items)) {
///             for (item, score) in self.vectors.chunks_exact(2).zip(scores) {
///                 *score = query[0] * item[0] + query[1] * item[1];
///             }
///         }
///         Ok(())
///     }
///
///     fn dense(&self) -> Option<&dyn DenseScorer> {
///         Some(self)
///     }
/// }
///
/// impl Model for LikeLast {
///     fn kind(&self) -> &str {
///         "like-last"
///     }
///
///     fn recommend_batch(&self, sessions: &[Session], k: usize) -> Result<Vec<Ranking>> {
///         rank(self, sessions, k)
///     }
/// }
/// ```
pub trait DenseScorer: Scorer {
    /// How long each vector is, 1 or more.
    fn dim(&self) -> usize;

    /// The vectors of all items: `[n_items, dim]`, row-major. It is called once an evaluation.
    fn item_vectors(&self) -> Cow<'_, [f32]>;

    /// What is added to the product of each item: `[n_items]`.
    fn item_biases(&self) -> Option<&[f32]>;

    /// The vectors of encoded sessions, none of which is empty: `[n_sessions, dim]`, row-major. All of it is
    /// written.
    ///
    /// # Errors
    ///
    /// The model cannot answer.
    fn session_vectors(&self, sessions: &[&[ItemIdx]], vectors: &mut [f32]) -> Result<()>;
}
