//! Evaluation: ranks each next item of the test sessions against the whole catalogue.
//!
//! The protocol, step by step:
//!
//! 1. Items that the model does not know are taken out of a session: it is encoded as it would be for
//!    serving. What is left is dropped if it has fewer than two items.
//! 2. Every prefix of the session is a query, and the item that follows it is the target.
//! 3. The rank of the target is the number of items of the model's vocabulary that score as high or higher,
//!    itself included. Nothing is sampled, and nothing is left out: an item of the query may be the answer.
//! 4. Each [`Metric`] is a mean over the queries, or a count over their answers.
//!
//! How many targets step 1 took out is in [`Evaluation::n_unseen`]: a score says little without it.
//!
//! The numbers do not depend on the number of threads: ranks are counted, and sums are taken in their order.

mod metric;
mod scorer;
mod tally;

use std::fmt;

use rayon::prelude::*;
use reco_core::{ItemIdx, Session, SessionDataset};

pub use metric::{Coverage, HitRate, Metric, Mrr, Ndcg, PopularityBias, Recall};
pub use scorer::{Scorer, rank};
use tally::Tally;

use crate::error::{Error, Result};

/// How many queries are scored at once on a thread, of [`BATCH_BYTES`] at most.
const BATCH_SIZE: usize = 256;
/// How much memory the scores of a batch may take.
const BATCH_BYTES: usize = 64 << 20;
/// How many sessions a thread takes at once.
const SESSIONS_PER_TASK: usize = 512;

/// Judges a model on sessions that it has not learnt from.
///
/// Runs on the threads of the current rayon pool: call it inside `ThreadPool::install` to give it others.
/// Each thread holds the scores of up to 256 queries, in at most 64 MiB (one query if the
/// catalogue is larger than that).
///
/// # Errors
///
/// [`Error::InvalidConfig`] if a metric looks at no answer, [`Error::NoQueries`] if the model knows
/// two items of no session, [`Error::ScoreNotFinite`], and what the model says.
///
/// # Examples
///
/// ```
/// use std::ops::ControlFlow;
/// use reco_core::{SessionDataset, SessionEncoding};
/// use reco_train::evaluate::{HitRate, Mrr};
/// use reco_train::{PopularityTrainer, Trainer, evaluate};
///
/// let mut builder = SessionDataset::builder(SessionEncoding::default());
/// for (session, item, day) in [("a", "hat", 1), ("a", "scarf", 1), ("b", "hat", 1), ("c", "scarf", 2), ("c", "hat", 2)] {
///     builder.push(session, item, format!("2024-05-0{day}T10:00Z").parse()?)?;
/// }
/// let split = builder.build()?.split_last_days(1)?;
/// let model = PopularityTrainer.fit(&split.train, &mut |_| ControlFlow::Continue(()))?;
///
/// // After the scarf came the hat, which is the most popular.
/// let scores = evaluate(&model, &split.test, &[HitRate::at(1), Mrr::at(20)])?;
/// assert_eq!(scores.n_queries, 1);
/// assert_eq!(scores.get(HitRate::at(1)), Some(1.0));
/// println!("{scores}");
/// let artifact = model.to_artifact()?.with_scores(&scores);
/// assert_eq!(artifact.manifest().scores["mrr@20"], 1.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn evaluate<S: Scorer + ?Sized>(
    model: &S,
    test: &SessionDataset,
    metrics: &[Metric],
) -> Result<Evaluation> {
    if let Some(metric) = metrics.iter().find(|metric| metric.k == 0) {
        let reason = format!("must look at one answer or more, and `{metric}` does not");
        return Err(Error::InvalidConfig {
            model: "evaluation",
            key: "k",
            reason,
        });
    }
    let span = tracing::info_span!(
        "evaluate",
        kind = model.kind(),
        n_sessions = test.n_sessions()
    );
    let empty = || Tally::new(metrics, model.encoder().vocabulary().len());
    let starts: Vec<usize> = (0..test.n_sessions()).step_by(SESSIONS_PER_TASK).collect();
    let tally = span.in_scope(|| {
        starts
            .into_par_iter()
            .map(|start| {
                let end = (start + SESSIONS_PER_TASK).min(test.n_sessions());
                judge(model, test, start..end, metrics)
            })
            .try_reduce(empty, |a, b| Ok(a.merge(b)))
    })?;
    if tally.n_queries == 0 {
        return Err(Error::NoQueries {
            kind: model.kind().to_owned(),
            n_unseen: tally.n_unseen,
        });
    }
    let values = metrics
        .iter()
        .map(|&metric| (metric, tally.value(metric)))
        .collect();
    Ok(Evaluation {
        n_queries: tally.n_queries,
        n_unseen: tally.n_unseen,
        values,
    })
}

/// Ranks the targets of some of the sessions.
fn judge<S: Scorer + ?Sized>(
    model: &S,
    test: &SessionDataset,
    sessions: std::ops::Range<usize>,
    metrics: &[Metric],
) -> Result<Tally> {
    let vocabulary = model.encoder().vocabulary();
    let mut tally = Tally::new(metrics, vocabulary.len());
    let mut encoded: Vec<Vec<ItemIdx>> = Vec::with_capacity(sessions.len());
    for session in sessions {
        let items = test
            .session(session)
            .iter()
            .map(|&item| test.vocabulary().item(item));
        let unseen = items
            .clone()
            .skip(1)
            .filter(|item| vocabulary.idx(item.as_str()).is_none());
        tally.n_unseen += unseen.count() as u64;
        encoded.push(
            model
                .encoder()
                .encode(&Session::new(items.cloned().collect())),
        );
    }
    let queries: Vec<(&[ItemIdx], ItemIdx)> = encoded
        .iter()
        .flat_map(|items| (1..items.len()).map(|place| (&items[..place], items[place])))
        .collect();
    let row = vocabulary.len().max(1);
    let batch_size = (BATCH_BYTES / size_of::<f32>() / row).clamp(1, BATCH_SIZE);
    let mut scores = vec![0.0_f32; batch_size.min(queries.len()) * row];
    for batch in queries.chunks(batch_size) {
        let prefixes: Vec<&[ItemIdx]> = batch.iter().map(|(prefix, _)| *prefix).collect();
        let scores = &mut scores[..batch.len() * row];
        model.score_batch(&prefixes, scores)?;
        for ((_, target), scores) in batch.iter().zip(scores.chunks_exact(row)) {
            if let Some(item) = scores.iter().position(|score| !score.is_finite()) {
                return Err(Error::ScoreNotFinite {
                    kind: model.kind().to_owned(),
                    item: vocabulary.items()[item].to_string(),
                    score: scores[item],
                });
            }
            tally.add(scores, *target, vocabulary.counts());
        }
    }
    Ok(tally)
}

/// What [`evaluate`] found: the value of each metric, and on how much it stands.
///
/// Iterates over the names and values of the metrics, as
/// [`ModelArtifact::with_scores`](reco_core::ModelArtifact::with_scores) takes them; prints as one line.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// How many targets were ranked.
    pub n_queries: u64,
    /// How many items of the test sessions, the first of each session aside, could not be ranked because
    /// the model does not know them.
    pub n_unseen: u64,
    values: Vec<(Metric, f64)>,
}

impl Evaluation {
    /// The value of a metric, if it was asked for.
    #[must_use]
    pub fn get(&self, metric: Metric) -> Option<f64> {
        self.values
            .iter()
            .find(|(known, _)| *known == metric)
            .map(|(_, value)| *value)
    }

    /// The metrics with their values, in the order they were asked for.
    #[must_use]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (Metric, f64)> + '_ {
        self.values.iter().copied()
    }
}

impl fmt::Display for Evaluation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (metric, value) in &self.values {
            write!(f, "{metric} {value:.4}, ")?;
        }
        write!(
            f,
            "{} queries, {} unseen targets",
            self.n_queries, self.n_unseen
        )
    }
}

impl<'a> IntoIterator for &'a Evaluation {
    type Item = (String, f64);
    type IntoIter = Box<dyn Iterator<Item = (String, f64)> + 'a>;

    fn into_iter(self) -> Self::IntoIter {
        Box::new(
            self.iter()
                .map(|(metric, value)| (metric.to_string(), value)),
        )
    }
}
