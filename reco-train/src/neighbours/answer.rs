//! Answers of a model that scores few items for each query.

use rayon::prelude::*;
use reco_core::{
    DataFingerprint, ItemIdx, ModelArtifact, ModelArtifactBuilder, Ranking, Session, SessionEncoder,
};
use serde::Serialize;

use super::scratch::{Pool, Scratch};
use crate::error::Result;

/// How many sessions are too few to be worth a thread.
const SESSIONS_PER_TASK: usize = 16;

/// A model that scores few items for each query.
pub(crate) trait Neighbourhood: Sync {
    fn encoder(&self) -> &SessionEncoder;

    fn pool(&self) -> &Pool;

    /// Scores items for an encoded session that is not empty.
    fn score(&self, query: &[ItemIdx], scratch: &mut Scratch);
}

/// The `k` best items for each session, on the threads of the current rayon pool; one session stays on the
/// thread that asks.
pub(crate) fn rank<N: Neighbourhood>(model: &N, sessions: &[Session], k: usize) -> Vec<Ranking> {
    let rank = |session: &Session| {
        let query = model.encoder().encode(session);
        if query.is_empty() {
            return Ranking::default();
        }
        let vocabulary = model.encoder().vocabulary();
        model
            .pool()
            .rank(vocabulary, k, |scratch| model.score(&query, scratch))
    };
    if sessions.len() <= SESSIONS_PER_TASK {
        return sessions.iter().map(rank).collect();
    }
    sessions
        .par_iter()
        .with_min_len(SESSIONS_PER_TASK)
        .map(rank)
        .collect()
}

/// The scores of all items for each of the encoded sessions: `[n_sessions, n_items]`.
pub(crate) fn score_rows<N: Neighbourhood>(model: &N, sessions: &[&[ItemIdx]], scores: &mut [f32]) {
    let n_items = model.encoder().vocabulary().len();
    if n_items == 0 {
        return;
    }
    for (session, row) in sessions.iter().zip(scores.chunks_exact_mut(n_items)) {
        model
            .pool()
            .write(row, |scratch| model.score(session, scratch));
    }
}

/// The last items of a query; 0 takes them all.
pub(crate) fn last(query: &[ItemIdx], n_items: usize) -> &[ItemIdx] {
    match n_items {
        0 => query,
        n_items => &query[query.len().saturating_sub(n_items)..],
    }
}

/// A model as files: its hyperparameters, what it was fitted on, and the tensors that `save` adds.
pub(crate) fn to_artifact(
    kind: &str,
    encoder: &SessionEncoder,
    config: &impl Serialize,
    data: Option<&DataFingerprint>,
    save: impl FnOnce(ModelArtifactBuilder) -> ModelArtifactBuilder,
) -> Result<ModelArtifact> {
    let config = serde_json::to_value(config).map_err(|error| reco_core::Error::InvalidConfig {
        of: kind.to_owned(),
        reason: error.to_string(),
    })?;
    let mut builder = ModelArtifact::builder(kind, encoder).config(config);
    if let Some(data) = data {
        builder = builder.data(data.clone());
    }
    Ok(save(builder).build()?)
}
