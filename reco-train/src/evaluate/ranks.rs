//! [`Ranks`]: where a model has placed what came next, query by query.

use std::sync::Arc;

use rayon::prelude::*;
use reco_core::{ItemId, ItemIdx, SessionDataset, Vocabulary};

use super::judge::Judge;
use super::metric::Kind;
use super::{Evaluation, Metric, Protocol, Scorer, protocol};
use crate::error::{Error, Result};

/// How many sessions a thread takes at once.
const SESSIONS_PER_TASK: usize = 256;

/// Where a model has placed what came next, for each query of a test set: all that the metrics, slices,
/// intervals and comparisons are made of, so that the model is asked once.
///
/// It takes 8 bytes a relevant item and some 20 a query, and 4 for each of the answers that a metric looks
/// at.
///
/// # Examples
///
/// ```
/// # use std::ops::ControlFlow;
/// # use reco_core::{SessionDataset, SessionEncoding};
/// # use reco_train::evaluate::{HitRate, Mrr, Protocol};
/// # use reco_train::{PopularityTrainer, Trainer};
/// # let mut builder = SessionDataset::builder(SessionEncoding::default());
/// # for (session, item, day) in [("a", "hat", 1), ("a", "scarf", 1), ("b", "hat", 1), ("c", "scarf", 2), ("c", "hat", 2)] {
/// #     builder.push(session, item, format!("2024-05-0{day}T10:00Z").parse()?)?;
/// # }
/// # let split = builder.build()?.split_last_days(1)?;
/// # let model = PopularityTrainer.fit(&split.train, &mut |_| ControlFlow::Continue(()))?;
/// let ranks = Protocol::default().rank(&model, &split.test, &[HitRate::at(1), Mrr::at(20)])?;
/// let query = ranks.queries().next().expect("`c` has two items");
/// assert_eq!((query.place(), query.target().as_str(), query.ranks()), (1, "hat", &[1.0][..]));
/// assert_eq!(ranks.evaluation().get(Mrr::at(20)), Some(1.0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Ranks<'a> {
    kind: String,
    protocol: Protocol,
    metrics: Vec<Metric>,
    test: &'a SessionDataset,
    vocabulary: Arc<Vocabulary>,
    /// How often the most popular item was seen in training, and all items together; 1 or more.
    popularity: (f64, f64),
    n_unseen: u64,
    /// The session and the place of each query.
    queries: Vec<(u32, u32)>,
    /// Query `q` has `ranks[rank_bounds[q]..rank_bounds[q + 1]]`.
    rank_bounds: Vec<usize>,
    ranks: Vec<f64>,
    answer_bounds: Vec<usize>,
    answers: Vec<ItemIdx>,
}

impl Protocol {
    /// Asks a model what comes next, everywhere in sessions that it has not learnt from.
    ///
    /// Runs on the threads of the current rayon pool, and the result does not depend on their number. A thread
    /// holds the scores of 256 queries at once: all of them in at most 64 MiB (one query if the catalogue
    /// is larger than that), or a block of them in 512 KiB if the model is [dense](Scorer::dense), of whose item
    /// vectors there is a copy then.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] if a metric looks at no answer, [`Error::NoQueries`] if there is nothing to
    /// ask, [`Error::ScoreNotFinite`], and what the model says.
    pub fn rank<'a, S: Scorer + ?Sized>(
        &self,
        model: &S,
        test: &'a SessionDataset,
        metrics: &[Metric],
    ) -> Result<Ranks<'a>> {
        protocol::check(metrics)?;
        let about_answers = metrics.iter().filter(|metric| metric.is_about_answers());
        let list_len = about_answers.map(|metric| metric.k).max().unwrap_or(0);
        let vocabulary = model.encoder().vocabulary();
        let judge = Judge::new(model, *self, list_len.min(vocabulary.len()))?;
        let span = tracing::info_span!(
            "evaluate",
            kind = model.kind(),
            n_sessions = test.n_sessions()
        );
        Ranks {
            kind: model.kind().to_owned(),
            protocol: *self,
            metrics: metrics.to_vec(),
            test,
            vocabulary: Arc::clone(vocabulary),
            popularity: popularity(vocabulary.counts()),
            n_unseen: 0,
            queries: Vec::new(),
            rank_bounds: vec![0],
            ranks: Vec::new(),
            answer_bounds: vec![0],
            answers: Vec::new(),
        }
        .filled(|| span.in_scope(|| ask(&judge, test)))
    }
}

type Parts = Vec<super::judge::Part>;

fn ask<S: Scorer + ?Sized>(judge: &Judge<'_, S>, test: &SessionDataset) -> Result<Parts> {
    let starts: Vec<usize> = (0..test.n_sessions()).step_by(SESSIONS_PER_TASK).collect();
    let judge = |start: usize| {
        let end = (start + SESSIONS_PER_TASK).min(test.n_sessions());
        judge.judge(test, start..end)
    };
    starts.into_par_iter().map(judge).collect()
}

impl<'a> Ranks<'a> {
    fn filled(mut self, ask: impl FnOnce() -> Result<Parts>) -> Result<Self> {
        for part in ask()? {
            self.n_unseen += part.n_unseen;
            self.queries.extend(part.queries);
            extend_bounds(&mut self.rank_bounds, &part.n_ranks);
            self.ranks.extend(part.ranks);
            extend_bounds(&mut self.answer_bounds, &part.n_answers);
            self.answers.extend(part.answers);
        }
        if self.queries.is_empty() {
            return Err(Error::NoQueries {
                kind: self.kind,
                n_unseen: self.n_unseen,
            });
        }
        Ok(self)
    }

    /// The kind of model that was asked.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// How it was asked.
    #[must_use]
    pub const fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// What its answers are judged by.
    #[must_use]
    pub fn metrics(&self) -> &[Metric] {
        &self.metrics
    }

    /// How many queries there are; 1 or more.
    #[must_use]
    pub const fn n_queries(&self) -> usize {
        self.queries.len()
    }

    /// How many items of the test sessions, the first of each aside, the model does not know.
    #[must_use]
    pub const fn n_unseen(&self) -> u64 {
        self.n_unseen
    }

    /// The queries, in the order of the sessions and of their items.
    #[must_use]
    pub fn queries(&self) -> impl ExactSizeIterator<Item = Query<'_>> {
        (0..self.queries.len()).map(|query| Query { of: self, query })
    }

    /// The value of each metric over all queries.
    #[must_use]
    pub fn evaluation(&self) -> Evaluation {
        let all: Vec<usize> = (0..self.n_queries()).collect();
        let value = |&metric: &Metric| (metric, self.value(metric, &all));
        Evaluation {
            n_queries: self.n_queries() as u64,
            n_unseen: self.n_unseen,
            values: self.metrics.iter().map(value).collect(),
        }
    }

    /// Whether another model was asked about the same sessions.
    pub(super) fn is_about_the_sessions_of(&self, other: &Ranks<'_>) -> bool {
        let (a, b) = (self.test, other.test);
        std::ptr::eq(a, b)
            || (a.offsets() == b.offsets()
                && a.items() == b.items()
                && a.vocabulary().items() == b.vocabulary().items())
    }

    /// The session and the place of a query: what it is, whichever model was asked.
    pub(super) fn key(&self, query: usize) -> (u32, u32) {
        self.queries[query]
    }

    /// The value of a metric over some queries; 0 over none.
    pub(super) fn value(&self, metric: Metric, queries: &[usize]) -> f64 {
        match metric.kind {
            Kind::Coverage | Kind::Gini => self.exposure(metric, queries),
            _ => {
                let shares = queries.iter().map(|&query| self.share(metric, query));
                let (total, weight) =
                    shares.fold((0.0, 0.0), |sum, of| (sum.0 + of.0, sum.1 + of.1));
                if weight > 0.0 { total / weight } else { 0.0 }
            }
        }
    }

    /// What a query adds to the two sums whose ratio a metric is; `Coverage` and `Gini` are none.
    #[expect(
        clippy::cast_precision_loss,
        reason = "counts of interactions are far below 2⁵³"
    )]
    pub(super) fn share(&self, metric: Metric, query: usize) -> (f64, f64) {
        let counts = self.vocabulary.counts();
        let answers = || self.answers(query).iter().take(metric.k);
        let n_answers = || answers().len() as f64;
        match metric.kind {
            Kind::PopularityBias => {
                let seen: u64 = answers().map(|item| counts[item.get()]).sum();
                (seen as f64, n_answers())
            }
            Kind::Popularity => {
                let (most, _) = self.popularity;
                let total: f64 = answers().map(|item| counts[item.get()] as f64 / most).sum();
                (total / n_answers().max(1.0), 1.0)
            }
            Kind::Novelty => {
                let (_, n_events) = self.popularity;
                let surprise =
                    |item: &ItemIdx| -(counts[item.get()].max(1) as f64 / n_events).log2();
                (answers().map(surprise).sum(), n_answers())
            }
            Kind::Coverage | Kind::Gini => (0.0, 0.0),
            _ => {
                let all = self.ranks_of(query);
                let mut ranks: Vec<f64> = all
                    .iter()
                    .copied()
                    .filter(|rank| rank.is_finite())
                    .collect();
                ranks.sort_by(f64::total_cmp);
                (metric.gain(&ranks, all.len()), 1.0)
            }
        }
    }

    /// `Coverage` or `Gini`: of how often each item is answered.
    #[expect(
        clippy::cast_precision_loss,
        reason = "counts of answers are far below 2⁵³"
    )]
    fn exposure(&self, metric: Metric, queries: &[usize]) -> f64 {
        let mut exposure = vec![0_u64; self.vocabulary.len()];
        for &query in queries {
            for item in self.answers(query).iter().take(metric.k) {
                exposure[item.get()] += 1;
            }
        }
        let n_items = exposure.len().max(1) as f64;
        if metric.kind == Kind::Coverage {
            return exposure.iter().filter(|&&n| n > 0).count() as f64 / n_items;
        }
        exposure.sort_unstable();
        let total: u64 = exposure.iter().sum();
        let weighted = (1..).zip(&exposure).map(|(place, &n)| {
            let place: u32 = place;
            (2.0 * f64::from(place) - n_items - 1.0) * n as f64
        });
        let weighted: f64 = weighted.sum();
        if total == 0 {
            0.0
        } else {
            weighted / (n_items * total as f64)
        }
    }

    fn ranks_of(&self, query: usize) -> &[f64] {
        &self.ranks[self.rank_bounds[query]..self.rank_bounds[query + 1]]
    }

    fn answers(&self, query: usize) -> &[ItemIdx] {
        &self.answers[self.answer_bounds[query]..self.answer_bounds[query + 1]]
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of interactions are far below 2⁵³"
)]
fn popularity(counts: &[u64]) -> (f64, f64) {
    let most = counts.iter().max().copied().unwrap_or_default();
    (most.max(1) as f64, counts.iter().sum::<u64>().max(1) as f64)
}

fn extend_bounds(bounds: &mut Vec<usize>, lengths: &[u32]) {
    for &length in lengths {
        bounds.push(bounds.last().copied().unwrap_or_default() + length as usize);
    }
}

/// A query, and where the model has placed what came next.
#[derive(Debug, Clone, Copy)]
pub struct Query<'r> {
    of: &'r Ranks<'r>,
    query: usize,
}

impl<'r> Query<'r> {
    /// The session of the test set, from 0.
    #[must_use]
    pub fn session(&self) -> usize {
        self.of.queries[self.query].0 as usize
    }

    /// The place of the target in its session, from 0: so many items came before.
    #[must_use]
    pub fn place(&self) -> usize {
        self.of.queries[self.query].1 as usize
    }

    /// The items of the whole session, the oldest first.
    #[must_use]
    pub fn session_items(&self) -> impl ExactSizeIterator<Item = &'r ItemId> {
        let test = self.of.test;
        test.session(self.session())
            .iter()
            .map(|&item| test.vocabulary().item(item))
    }

    /// The item that came next.
    #[must_use]
    pub fn target(&self) -> &'r ItemId {
        let item = self.of.test.session(self.session())[self.place()];
        self.of.test.vocabulary().item(item)
    }

    /// When it came, in microseconds since 1970.
    #[must_use]
    pub fn time(&self) -> i64 {
        self.of.test.times(self.session())[self.place()]
    }

    /// The rank of each relevant item, from 1, in the order in which they came; infinite for one that the
    /// model cannot answer.
    #[must_use]
    pub fn ranks(&self) -> &'r [f64] {
        self.of.ranks_of(self.query)
    }

    /// The best answers, as many as the deepest metric about answers looks at.
    #[must_use]
    pub fn answers(&self) -> impl ExactSizeIterator<Item = &'r ItemId> {
        let vocabulary = &self.of.vocabulary;
        self.of
            .answers(self.query)
            .iter()
            .map(|&item| vocabulary.item(item))
    }
}
