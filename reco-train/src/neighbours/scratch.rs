//! [`Scratch`]: the working memory of a query, and the [`Pool`] that it comes from.

use std::sync::Mutex;

use reco_core::{ItemIdx, Ranking, Scored, Vocabulary};

use super::recent::{Candidate, Cursor, Term};

/// The working memory of a query, used again for the next: nothing is allocated once it has grown.
///
/// Between two queries all scores are 0 and no item is marked.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// The distinct items of the query, the latest first.
    pub(crate) terms: Vec<Term>,
    pub(crate) candidates: Vec<Candidate>,
    pub(super) heads: Vec<u32>,
    pub(super) cursors: Vec<Cursor>,
    pub(super) similarities: Vec<f64>,
    /// Whether an item is in the query: `[n_items]`.
    pub(crate) asked: Vec<bool>,
    pub(crate) sums: Sums,
    best: Vec<(f32, u32)>,
}

impl Scratch {
    /// Takes a query apart: its distinct items by their last occurrence, weighted by their distance from the
    /// end and the query's length.
    pub(crate) fn ask(&mut self, query: &[ItemIdx], weight: impl Fn(usize, usize) -> f64) {
        self.terms.clear();
        for (distance, item) in query.iter().rev().enumerate() {
            let asked = &mut self.asked[item.get()];
            if !std::mem::replace(asked, true) {
                self.terms.push(Term {
                    item: item.0,
                    weight: weight(distance, query.len()),
                    distance,
                });
            }
        }
    }

    /// The `k` best items with a score above 0.
    fn best(&mut self, vocabulary: &Vocabulary, k: usize) -> Ranking {
        let Self { sums, best, .. } = self;
        best.clear();
        best.extend(sums.iter().filter(|(score, _)| *score > 0.0));
        let order = |a: &(f32, u32), b: &(f32, u32)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
        if k < best.len() {
            if k > 0 {
                best.select_nth_unstable_by(k - 1, order);
            }
            best.truncate(k);
        }
        best.sort_unstable_by(order);
        let scored = best.iter().map(|&(score, item)| Scored {
            item: vocabulary.item(ItemIdx(item)).clone(),
            score,
        });
        scored.collect()
    }

    /// Writes the scores of all items into a row: `[n_items]`.
    fn write(&self, row: &mut [f32]) {
        row.fill(0.0);
        for (score, item) in self.sums.iter() {
            row[item as usize] = score;
        }
    }

    fn clear(&mut self) {
        for term in self.terms.drain(..) {
            self.asked[term.item as usize] = false;
        }
        self.sums.clear();
    }
}

/// The scores of all items while they are summed.
#[derive(Debug, Default)]
pub(crate) struct Sums {
    /// `[n_items]`
    scores: Vec<f64>,
    /// The items whose score has been above 0.
    touched: Vec<u32>,
}

impl Sums {
    pub(crate) fn of(n_items: usize) -> Self {
        Self {
            scores: vec![0.0; n_items],
            touched: Vec::new(),
        }
    }

    /// Adds to the score of an item; what is not above 0 adds nothing.
    pub(crate) fn add(&mut self, item: u32, score: f64) {
        if score > 0.0 {
            let sum = &mut self.scores[item as usize];
            if *sum <= 0.0 {
                self.touched.push(item);
            }
            *sum += score;
        }
    }

    /// Sets the score of an item to 0. Nothing may be added to it before the next query.
    pub(crate) fn drop(&mut self, item: u32) {
        self.scores[item as usize] = 0.0;
    }

    /// Takes the items out with their scores, in the order in which they were first added to.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = (u32, f64)> + '_ {
        let Self { scores, touched } = self;
        touched
            .drain(..)
            .map(|item| (item, std::mem::take(&mut scores[item as usize])))
    }

    fn iter(&self) -> impl Iterator<Item = (f32, u32)> + '_ {
        let touched = self.touched.iter();
        touched.map(|&item| (narrow(self.scores[item as usize]), item))
    }

    fn clear(&mut self) {
        self.drain().for_each(drop);
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "scores are f32; hyperparameters are bounded so that none overflows"
)]
fn narrow(score: f64) -> f32 {
    score as f32
}

/// Scratches that no query is using: as many as there were queries at the same time.
#[derive(Debug, Default)]
pub(crate) struct Pool(Mutex<Vec<Scratch>>);

impl Pool {
    /// Scores a query by `score` and gives its `k` best items.
    pub(crate) fn rank(
        &self,
        vocabulary: &Vocabulary,
        k: usize,
        score: impl FnOnce(&mut Scratch),
    ) -> Ranking {
        self.with(vocabulary.len(), score, |scratch| {
            scratch.best(vocabulary, k)
        })
    }

    /// Scores a query by `score` and writes the scores of all items into a row: `[n_items]`.
    pub(crate) fn write(&self, row: &mut [f32], score: impl FnOnce(&mut Scratch)) {
        self.with(row.len(), score, |scratch| scratch.write(row));
    }

    fn with<R>(
        &self,
        n_items: usize,
        score: impl FnOnce(&mut Scratch),
        read: impl FnOnce(&mut Scratch) -> R,
    ) -> R {
        let pooled = self.0.lock().unwrap().pop();
        let mut scratch = pooled.unwrap_or_else(|| Scratch {
            asked: vec![false; n_items],
            sums: Sums::of(n_items),
            ..Scratch::default()
        });
        score(&mut scratch);
        let result = read(&mut scratch);
        scratch.clear();
        self.0.lock().unwrap().push(scratch);
        result
    }
}

/// A clone has its own scratches.
impl Clone for Pool {
    fn clone(&self) -> Self {
        Self::default()
    }
}
