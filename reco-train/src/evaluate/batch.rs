//! [`Batch`]: queries whose scores go by, and what is left of them.

use pulp::Arch;

use super::asks::{Ask, Asks};
use super::counting::{Best, Counts, count};
use super::protocol::Ties;

/// Queries whose scores go by at the same time.
#[derive(Debug)]
pub(super) struct Batch<'a> {
    asks: &'a Asks,
    of: &'a [&'a Ask],
    arch: Arch,
    list_len: usize,
    /// Of each relevant item that the model may answer; query `n` has `bounds[n]..bounds[n + 1]`.
    counts: Vec<Counts>,
    bounds: Vec<usize>,
    best: Vec<Best>,
}

/// A score that is infinite or not a number, and its item's position.
#[derive(Debug, Clone, Copy)]
pub(super) struct NotFinite(pub(super) usize, pub(super) f32);

impl<'a> Batch<'a> {
    pub(super) fn new(asks: &'a Asks, of: &'a [&'a Ask], list_len: usize) -> Self {
        let mut bounds = vec![0];
        for ask in of {
            let n_ranked = ranked(asks, ask).count();
            bounds.push(bounds.last().copied().unwrap_or_default() + n_ranked);
        }
        let n_ranked = bounds.last().copied().unwrap_or_default();
        Self {
            asks,
            of,
            arch: Arch::new(),
            list_len,
            counts: vec![Counts::new(0.0); n_ranked],
            bounds,
            best: vec![Best::new(list_len); of.len()],
        }
    }

    /// The relevant items of all queries that are ranked, query after query.
    pub(super) fn targets(&self) -> impl Iterator<Item = (usize, usize)> {
        let of_query =
            |(nth, ask): (usize, &&'a Ask)| ranked(self.asks, ask).map(move |item| (nth, item));
        (0..).zip(self.of).flat_map(of_query)
    }

    /// Sets the scores of [`targets`](Self::targets), before any score goes by.
    pub(super) fn set_target_scores(&mut self, scores: impl Iterator<Item = f32>) {
        for (counts, score) in self.counts.iter_mut().zip(scores) {
            *counts = Counts::new(score);
        }
    }

    /// Takes the scores of query `nth` for the items from `first` on; they come in the order of the items.
    pub(super) fn see(
        &mut self,
        nth: usize,
        first: usize,
        scores: &[f32],
    ) -> Result<(), NotFinite> {
        let counts = &mut self.counts[self.bounds[nth]..self.bounds[nth + 1]];
        if !count(self.arch, scores, counts) {
            let odd = scores.iter().position(|score| !score.is_finite());
            let odd = odd.expect("a score that is not finite was counted");
            return Err(NotFinite(first + odd, scores[odd]));
        }
        let excluded = self.asks.excluded(self.of[nth]);
        for item in excluded {
            let score = item
                .get()
                .checked_sub(first)
                .and_then(|place| scores.get(place));
            if let Some(&score) = score {
                counts.iter_mut().for_each(|counts| counts.forget(score));
            }
        }
        let first = u32::try_from(first).expect("a vocabulary has fewer than 2³² items");
        let left_out = |item| excluded.iter().any(|excluded| excluded.0 == item);
        self.best[nth].see(first, scores, left_out);
        Ok(())
    }

    /// Takes all scores of query `nth` at once, whatever has gone by.
    pub(super) fn see_whole(&mut self, nth: usize, scores: &[f32]) -> Result<(), NotFinite> {
        let of = self.bounds[nth]..self.bounds[nth + 1];
        for (counts, item) in self.counts[of]
            .iter_mut()
            .zip(ranked(self.asks, self.of[nth]))
        {
            *counts = Counts::new(scores[item]);
        }
        self.best[nth] = Best::new(self.list_len);
        self.see(nth, 0, scores)
    }

    /// The score that was set for each relevant item of query `nth`, with the item.
    pub(super) fn target_scores(&self, nth: usize) -> impl Iterator<Item = (usize, f32)> {
        let counts = &self.counts[self.bounds[nth]..self.bounds[nth + 1]];
        ranked(self.asks, self.of[nth]).zip(counts.iter().map(|counts| counts.score))
    }

    /// The ranks of all relevant items of query `nth`, in their order; infinite for one that the model may
    /// not or cannot answer.
    pub(super) fn ranks(&self, nth: usize, ties: Ties) -> impl Iterator<Item = f64> {
        let mut counts = self.counts[self.bounds[nth]..self.bounds[nth + 1]].iter();
        let ask = self.of[nth];
        let excluded = self.asks.excluded(ask);
        self.asks.relevant(ask).iter().map(move |item| {
            let answerable = item.is_some_and(|item| !excluded.contains(&item));
            let counts = answerable.then(|| counts.next()).flatten();
            counts.map_or(f64::INFINITY, |counts| {
                ties.rank(counts.n_greater, counts.n_at_least)
            })
        })
    }

    /// The best answers to query `nth`, best first.
    pub(super) fn list(&self, nth: usize) -> impl ExactSizeIterator<Item = u32> {
        self.best[nth].items()
    }
}

/// The relevant items that the model knows and may answer.
fn ranked<'a>(asks: &'a Asks, ask: &'a Ask) -> impl Iterator<Item = usize> {
    let excluded = asks.excluded(ask);
    let answerable =
        move |item: &Option<reco_core::ItemIdx>| item.filter(|item| !excluded.contains(item));
    asks.relevant(ask)
        .iter()
        .filter_map(answerable)
        .map(reco_core::ItemIdx::get)
}
