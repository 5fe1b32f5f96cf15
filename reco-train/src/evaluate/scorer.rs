//! [`Scorer`]: a model that can say what it thinks of each item.

use reco_core::{ItemIdx, Model, Ranking, Result, Session, SessionEncoder};

use super::DenseScorer;

/// A model that gives every item of its vocabulary a score: what [`evaluate`](crate::evaluate()) takes.
///
/// # Contract
///
/// * The scores of a session are the same alone as in a batch, whatever the other sessions are.
/// * Each score is finite, and the higher the better.
/// * They are the scores behind [`Model::recommend_batch`]: its rankings are the best of them.
///
/// # Examples
///
/// A host's own model, judged like ours; `evaluate` has the call.
///
/// ```
/// use reco_core::{ItemIdx, Model, Ranking, Result, Session, SessionEncoder};
/// use reco_train::Scorer;
/// use reco_train::evaluate::rank;
///
/// /// Recommends the last item again.
/// #[derive(Debug)]
/// struct Again {
///     encoder: SessionEncoder,
/// }
///
/// impl Scorer for Again {
///     fn encoder(&self) -> &SessionEncoder {
///         &self.encoder
///     }
///
///     fn score_batch(&self, sessions: &[&[ItemIdx]], scores: &mut [f32]) -> Result<()> {
///         let n_items = self.encoder.vocabulary().len();
///         scores.fill(0.0);
///         for (session, scores) in sessions.iter().zip(scores.chunks_exact_mut(n_items)) {
///             session.last().inspect(|last| scores[last.get()] = 1.0);
///         }
///         Ok(())
///     }
/// }
///
/// impl Model for Again {
///     fn kind(&self) -> &str {
///         "again"
///     }
///
///     fn recommend_batch(&self, sessions: &[Session], k: usize) -> Result<Vec<Ranking>> {
///         rank(self, sessions, k)
///     }
/// }
/// ```
pub trait Scorer: Model {
    /// What encodes sessions for the model; its vocabulary is the items that are scored.
    fn encoder(&self) -> &SessionEncoder;

    /// Scores every item for each of the encoded sessions, none of which is empty.
    ///
    /// `scores` has one row of `n_items` for each session, row-major: `[n_sessions, n_items]`. All of it
    /// is written.
    ///
    /// # Errors
    ///
    /// The model cannot answer.
    fn score_batch(&self, sessions: &[&[ItemIdx]], scores: &mut [f32]) -> Result<()>;

    /// The model as a product of vectors, if it is one: then it is evaluated at the speed of such products.
    ///
    /// It has a default, as no other method of a trait of these crates has: it says nothing about a model but
    /// that there is a faster way to the same numbers.
    fn dense(&self) -> Option<&dyn DenseScorer> {
        None
    }
}

/// How many sessions [`rank`] scores at once: enough to share the reading of the weights.
const BATCH_SIZE: usize = 16;

/// The `k` best items for each session by a model's scores; empty for a session of which the model knows
/// no item.
///
/// It is what [`Model::recommend_batch`] of most scorers is, in bounded memory.
///
/// # Errors
///
/// As [`Scorer::score_batch`].
pub fn rank<S: Scorer + ?Sized>(model: &S, sessions: &[Session], k: usize) -> Result<Vec<Ranking>> {
    let vocabulary = model.encoder().vocabulary();
    let mut rankings = vec![Ranking::default(); sessions.len()];
    if k == 0 || vocabulary.is_empty() {
        return Ok(rankings);
    }
    let encoded: Vec<Vec<ItemIdx>> = sessions
        .iter()
        .map(|session| model.encoder().encode(session))
        .collect();
    let known: Vec<usize> = (0..encoded.len())
        .filter(|&s| !encoded[s].is_empty())
        .collect();
    let mut scores = vec![0.0; known.len().min(BATCH_SIZE) * vocabulary.len()];
    for batch in known.chunks(BATCH_SIZE) {
        let scores = &mut scores[..batch.len() * vocabulary.len()];
        let encoded: Vec<&[ItemIdx]> = batch.iter().map(|&s| &*encoded[s]).collect();
        model.score_batch(&encoded, scores)?;
        for (&session, scores) in batch.iter().zip(scores.chunks_exact(vocabulary.len())) {
            rankings[session] = Ranking::top_k(vocabulary, scores, k);
        }
    }
    Ok(rankings)
}
