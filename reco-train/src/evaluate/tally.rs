//! What is counted while queries are ranked: integers only, so that the sum does not depend on the order.

use reco_core::{ItemIdx, top_k};

use super::metric::{Kind, Metric};

/// The counts of some queries; those of all are [merged](Tally::merge).
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) n_queries: u64,
    pub(super) n_unseen: u64,
    /// How many targets had rank `i + 1`, for the ranks that a metric looks at.
    ranks: Vec<u64>,
    /// What was answered, for each `k` that a metric about answers looks at.
    answers: Vec<Answers>,
}

/// What the first `k` answers to all queries were.
#[derive(Debug)]
struct Answers {
    k: usize,
    n_answers: u64,
    /// The sum of the training counts of the answers.
    popularity: u128,
    /// Whether an item was ever answered.
    answered: Vec<bool>,
}

impl Tally {
    pub(super) fn new(metrics: &[Metric], n_items: usize) -> Self {
        let about_target = metrics.iter().filter(|metric| metric.gain(1).is_some());
        let deepest = about_target
            .map(|metric| metric.k)
            .max()
            .unwrap_or(0)
            .min(n_items);
        let about_answers = metrics.iter().filter(|metric| metric.gain(1).is_none());
        let mut ks: Vec<usize> = about_answers.map(|metric| metric.k).collect();
        ks.sort_unstable();
        ks.dedup();
        let answers = |k| Answers {
            k,
            n_answers: 0,
            popularity: 0,
            answered: vec![false; n_items],
        };
        Self {
            n_queries: 0,
            n_unseen: 0,
            ranks: vec![0; deepest],
            answers: ks.into_iter().map(answers).collect(),
        }
    }

    /// Counts one query: the scores of all items, the item that came next, and the training counts.
    pub(super) fn add(&mut self, scores: &[f32], target: ItemIdx, counts: &[u64]) {
        self.n_queries += 1;
        let of_target = scores[target.get()];
        let rank = scores.iter().filter(|&&score| score >= of_target).count();
        if let Some(n) = self.ranks.get_mut(rank - 1) {
            *n += 1;
        }
        // The largest `k` is last.
        let Some(deepest) = self.answers.last().map(|answers| answers.k) else {
            return;
        };
        let best = top_k(scores, deepest);
        for answers in &mut self.answers {
            for (item, _) in best.iter().take(answers.k) {
                answers.n_answers += 1;
                answers.popularity += u128::from(counts[item.get()]);
                answers.answered[item.get()] = true;
            }
        }
    }

    /// The counts of both, made for the same metrics and the same number of items.
    pub(super) fn merge(mut self, other: Self) -> Self {
        self.n_queries += other.n_queries;
        self.n_unseen += other.n_unseen;
        self.ranks
            .iter_mut()
            .zip(other.ranks)
            .for_each(|(n, more)| *n += more);
        for (answers, more) in self.answers.iter_mut().zip(other.answers) {
            answers.n_answers += more.n_answers;
            answers.popularity += more.popularity;
            answers
                .answered
                .iter_mut()
                .zip(more.answered)
                .for_each(|(a, b)| *a |= b);
        }
        self
    }

    /// The value of one of the metrics that the tally was made for; of 1 query or more.
    #[expect(
        clippy::cast_precision_loss,
        reason = "counts of queries are far below 2⁵³"
    )]
    pub(super) fn value(&self, metric: Metric) -> f64 {
        let answers = || self.answers.iter().find(|answers| answers.k == metric.k);
        match metric.kind {
            Kind::HitRate | Kind::Recall | Kind::Mrr | Kind::Ndcg => {
                let gain =
                    |(rank, &n): (usize, &u64)| metric.gain(rank).map(|gain| gain * n as f64);
                let total: f64 = (1..).zip(&self.ranks).filter_map(gain).sum();
                total / self.n_queries as f64
            }
            Kind::Coverage => answers().map_or(0.0, |answers| {
                let n_answered = answers
                    .answered
                    .iter()
                    .filter(|&&answered| answered)
                    .count();
                n_answered as f64 / answers.answered.len() as f64
            }),
            Kind::PopularityBias => answers().map_or(0.0, |answers| {
                answers.popularity as f64 / answers.n_answers as f64
            }),
        }
    }
}
