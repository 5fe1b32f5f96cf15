//! [`Counts`]: the ranks of some items, counted while scores go by.
//!
//! A rank needs no sort: it is the number of items that score higher, so scores can come block by block and
//! be forgotten. [`Best`] keeps the best `k` of them in the same way.

use pulp::{Arch, Simd, WithSimd};

/// What the scores of a query that have gone by say about one of its relevant items.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counts {
    /// The score of the item.
    pub(super) score: f32,
    /// How many items score higher.
    pub(super) n_greater: u32,
    /// How many score as high or higher.
    pub(super) n_at_least: u32,
}

impl Counts {
    pub(super) const fn new(score: f32) -> Self {
        Self {
            score,
            n_greater: 0,
            n_at_least: 0,
        }
    }

    /// Takes back an item that had been counted.
    pub(super) fn forget(&mut self, score: f32) {
        self.n_greater -= u32::from(score > self.score);
        self.n_at_least -= u32::from(score >= self.score);
    }
}

/// Counts the scores of some items into each of `counts`; false if one of the scores is not finite.
pub(super) fn count(arch: Arch, scores: &[f32], counts: &mut [Counts]) -> bool {
    arch.dispatch(Count { scores, counts })
}

struct Count<'a> {
    scores: &'a [f32],
    counts: &'a mut [Counts],
}

/// Scores of a chunk of [`Best`]: as many as the widest vectors hold, twice.
const LANES: usize = 32;
/// Scores that are counted in floats before they are added up: few enough for a float to count them all.
const CHUNK: usize = 1 << 14;

impl WithSimd for Count<'_> {
    type Output = bool;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> bool {
        let Self { scores, counts } = self;
        let mut finite = true;
        for scores in scores.chunks(CHUNK) {
            finite &= all_finite(simd, scores);
            // Loops instead of closures: what is not inlined here is not compiled for the vectors of `S`.
            for of in &mut *counts {
                let (greater, at_least) = above(simd, scores, of.score);
                of.n_greater += greater;
                of.n_at_least += at_least;
            }
        }
        finite
    }
}

#[inline(always)]
fn all_finite<S: Simd>(simd: S, scores: &[f32]) -> bool {
    let (head, tail) = S::as_simd_f32s(scores);
    let mut least = simd.splat_f32s(0.0);
    for &score in head {
        // 0 for what is finite, and NaN for what is not, which stays.
        least = simd.mul_add_e_f32s(score, simd.splat_f32s(0.0), least);
    }
    let mut rest = simd.reduce_sum_f32s(least);
    for &score in tail {
        rest += score * 0.0;
    }
    !rest.is_nan()
}

/// How many scores are above one, and how many are not below it.
#[inline(always)]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float that counts at most `CHUNK` ones"
)]
fn above<S: Simd>(simd: S, scores: &[f32], score: f32) -> (u32, u32) {
    let (head, tail) = S::as_simd_f32s(scores);
    let (zero, one) = (simd.splat_f32s(0.0), simd.splat_f32s(1.0));
    let of = simd.splat_f32s(score);
    let (mut greater, mut at_least) = (zero, zero);
    for &scores in head {
        let is_greater = simd.greater_than_f32s(scores, of);
        let is_at_least = simd.greater_than_or_equal_f32s(scores, of);
        greater = simd.add_f32s(greater, simd.select_f32s(is_greater, one, zero));
        at_least = simd.add_f32s(at_least, simd.select_f32s(is_at_least, one, zero));
    }
    let mut greater = simd.reduce_sum_f32s(greater) as u32;
    let mut at_least = simd.reduce_sum_f32s(at_least) as u32;
    for &other in tail {
        greater += u32::from(other > score);
        at_least += u32::from(other >= score);
    }
    (greater, at_least)
}

/// The best `k` of the scores that have gone by, ties by position: what [`reco_core::top_k`] finds in all of
/// them.
#[derive(Debug, Clone, Default)]
pub(super) struct Best {
    k: usize,
    /// Best first.
    best: Vec<(f32, u32)>,
}

impl Best {
    pub(super) fn new(k: usize) -> Self {
        Self {
            k,
            best: Vec::with_capacity(k.min(1024)),
        }
    }

    /// Takes the scores of the items from `first` on, which come after all that have gone by. Items for
    /// which `left_out` says so are not taken.
    pub(super) fn see(&mut self, first: u32, scores: &[f32], left_out: impl Fn(u32) -> bool) {
        if self.k == 0 {
            return;
        }
        for (start, chunk) in (first..).step_by(LANES).zip(scores.chunks(LANES)) {
            // Few chunks hold one of the best, and this test is made of vectors.
            let least = self.least();
            if !chunk
                .iter()
                .fold(false, |any, &score| any | (score > least))
            {
                continue;
            }
            for (item, &score) in (start..).zip(chunk) {
                if score > self.least() && !left_out(item) {
                    self.insert(score, item);
                }
            }
        }
    }

    /// The positions, best first.
    pub(super) fn items(&self) -> impl ExactSizeIterator<Item = u32> {
        self.best.iter().map(|&(_, item)| item)
    }

    /// What a score must be above.
    fn least(&self) -> f32 {
        if self.best.len() < self.k {
            return f32::NEG_INFINITY;
        }
        self.best
            .last()
            .map_or(f32::NEG_INFINITY, |&(least, _)| least)
    }

    fn insert(&mut self, score: f32, item: u32) {
        // After those of the same score: they have lower positions.
        let place = self.best.partition_point(|&(better, _)| better >= score);
        self.best.truncate(self.k - 1);
        self.best.insert(place, (score, item));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use reco_core::top_k;

    use super::*;
    use crate::evaluate::Ties;

    proptest! {
        #[test]
        fn a_rank_by_counting_is_one_by_sorting(
            scores in prop::collection::vec((-6..6_i8).prop_map(f32::from), 1..200),
            target in any::<prop::sample::Index>(),
            block in 1..70_usize,
        ) {
            let target = target.index(scores.len());
            let mut counts = [Counts::new(scores[target])];
            for block in scores.chunks(block) {
                prop_assert!(count(Arch::new(), block, &mut counts));
            }
            let [Counts { n_greater, n_at_least, .. }] = counts;
            let mut sorted: Vec<usize> = (0..scores.len()).collect();
            // The target before, and after, all that tie with it.
            let rank = |sorted: &[usize]| sorted.iter().position(|&item| item == target).unwrap() + 1;
            sorted.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]).then((a != target).cmp(&(b != target))));
            let first = rank(&sorted);
            prop_assert!((Ties::Standard.rank(n_greater, n_at_least) - first as f64).abs() < 1e-12);
            sorted.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]).then((a == target).cmp(&(b == target))));
            let last = rank(&sorted);
            prop_assert!((Ties::Conservative.rank(n_greater, n_at_least) - last as f64).abs() < 1e-12);
            let middle = Ties::Median.rank(n_greater, n_at_least);
            prop_assert!((middle - (first + last) as f64 / 2.0).abs() < 1e-12);
        }

        #[test]
        fn the_best_block_by_block_are_the_best_of_all(
            scores in prop::collection::vec((-6..6_i8).prop_map(|s| if s == -6 { -0.0 } else { f32::from(s) }), 0..200),
            k in 0..30_usize,
            block in 1..70_usize,
        ) {
            let mut best = Best::new(k);
            let blocks = scores.chunks(block);
            for (first, scores) in (0..).step_by(block).zip(blocks) {
                best.see(first, scores, |_| false);
            }
            let expected: Vec<u32> = top_k(&scores, k).into_iter().map(|(item, _)| item.0).collect();
            prop_assert_eq!(best.items().collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn what_is_not_finite_is_noticed_wherever_it_is() {
        for odd in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for place in [0, 31, 32, 69] {
                let mut scores = [0.5; 70];
                assert!(count(Arch::new(), &scores, &mut []));
                scores[place] = odd;
                assert!(!count(Arch::new(), &scores, &mut []), "{odd} at {place}");
            }
        }
    }

    #[test]
    fn what_is_left_out_is_not_among_the_best() {
        let mut best = Best::new(2);
        best.see(0, &[3.0, 2.0, 1.0], |item| item == 0);
        assert_eq!(best.items().collect::<Vec<_>>(), [1, 2]);
    }
}
