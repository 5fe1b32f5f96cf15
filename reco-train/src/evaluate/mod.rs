//! Evaluation: ranks each next item of the test sessions against the whole catalogue.
//!
//! [`evaluate()`] is the short way. Behind it a [`Protocol`] asks the model once and gives [`Ranks`], of which
//! everything else is made:
//!
//! ```text
//! Scorer ──Protocol::rank──▶ Ranks ──▶ evaluation()            the value of each Metric
//!                                  ──▶ estimates(&bootstrap)   with intervals
//!                                  ──▶ slices(&slicing, …)     by length, popularity, category, anything
//!                                  ──▶ compare(&other, …)      two models, paired
//! Model ──Suite::run──▶ BehaviorReport ──▶ checks()            behavioural tests, which gate a promotion
//!                       ModelReport, Comparison ──▶ Report     as JSON and as a page
//! ```
//!
//! The protocol, step by step, unless [`Protocol`] says otherwise:
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
//! A rank is counted, not sorted for. The scores of a model of products, which says so by
//! [`Scorer::dense`], are made block by block, counted and forgotten; those of others come in rows.
//! The numbers do not depend on the number of threads: ranks are counted, sums are taken in the order of the
//! queries, and each draw of a bootstrap has a generator of its own.

mod asks;
mod batch;
pub mod behavior;
mod bootstrap;
mod compare;
mod counting;
mod dense;
mod judge;
pub mod lists;
mod metric;
mod protocol;
mod ranks;
pub(crate) mod report;
mod scorer;
mod slice;

use std::fmt;

use reco_core::SessionDataset;

pub use bootstrap::{Bootstrap, Cluster, Estimate, Interval};
pub use compare::Difference;
pub use dense::DenseScorer;
pub use metric::{
    Coverage, F1, Gini, HitRate, Map, Metric, Mrr, Ndcg, Novelty, Popularity, PopularityBias,
    Precision, Recall,
};
pub use protocol::{Exclude, Protocol, Targets, Ties, Unseen};
pub use ranks::{Query, Ranks};
pub use report::{Comparison, ModelReport, Report};
pub use scorer::{Scorer, rank};
pub use slice::{Slice, Slices, Slicing};

use crate::error::Result;

/// Judges a model on sessions that it has not learnt from.
///
/// It is [`Protocol::rank`] by the default protocol, and what all of it comes to. Runs on the threads of the
/// current rayon pool: call it inside `ThreadPool::install` to give it others.
///
/// # Errors
///
/// As [`Protocol::rank`].
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
    Ok(Protocol::default().rank(model, test, metrics)?.evaluation())
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
