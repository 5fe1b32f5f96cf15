//! [`Ranking`]: items in the order of their scores, and the one way to take the best `k`.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use serde::{Deserialize, Serialize};

use crate::vocabulary::{ItemId, ItemIdx, Vocabulary};

/// Items with their scores, the best first.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ranking(Vec<Scored>);

/// An item and its score. Scores compare within one ranking only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scored {
    /// The item.
    pub item: ItemId,
    /// The higher, the better.
    pub score: f32,
}

impl Ranking {
    /// A ranking of scored items in any order: sorts them by score, ties by item id.
    ///
    /// An item whose score is not finite is left out: it cannot be recommended.
    #[must_use]
    pub fn from_unsorted(mut scored: Vec<Scored>) -> Self {
        scored.retain(|scored| scored.score.is_finite());
        scored
            .iter_mut()
            .for_each(|scored| scored.score = one_zero(scored.score));
        scored.sort_by(|a, b| {
            b.score
                .total_cmp(&a.score)
                .then_with(|| a.item.cmp(&b.item))
        });
        Self(scored)
    }

    /// The best `k` of a vocabulary, by one score for each of its items, ties by item id.
    ///
    /// An item whose score is not finite is left out: it cannot be recommended.
    ///
    /// # Panics
    ///
    /// If there is not one score for each item.
    ///
    /// # Examples
    ///
    /// ```
    /// use reco_core::{Ranking, Vocabulary};
    ///
    /// let vocabulary = Vocabulary::from_counts([("hat", 1), ("scarf", 1), ("tie", 1)])?;
    /// let best = Ranking::top_k(&vocabulary, &[0.5, 0.9, 0.5], 2);
    /// let names: Vec<_> = best.items().map(|item| item.as_str()).collect();
    /// assert_eq!(names, ["scarf", "hat"]);
    /// # Ok::<(), reco_core::Error>(())
    /// ```
    #[must_use]
    pub fn top_k(vocabulary: &Vocabulary, scores: &[f32], k: usize) -> Self {
        assert_eq!(
            scores.len(),
            vocabulary.len(),
            "one score for each item of the vocabulary"
        );
        let best = top_k(scores, k);
        Self(
            best.into_iter()
                .map(|(item, score)| Scored {
                    item: vocabulary.item(item).clone(),
                    score,
                })
                .collect(),
        )
    }

    /// The items, the best first.
    #[must_use]
    pub fn items(&self) -> impl ExactSizeIterator<Item = &ItemId> {
        self.0.iter().map(|scored| &scored.item)
    }

    /// The items with their scores, the best first.
    pub fn iter(&self) -> std::slice::Iter<'_, Scored> {
        self.0.iter()
    }

    /// How many items there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no item.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Keeps the items for which `keep` says so, in their order.
    pub fn retain(&mut self, keep: impl FnMut(&Scored) -> bool) {
        self.0.retain(keep);
    }

    /// Keeps the first `k` items.
    pub fn truncate(&mut self, k: usize) {
        self.0.truncate(k);
    }
}

impl FromIterator<Scored> for Ranking {
    fn from_iter<T: IntoIterator<Item = Scored>>(scored: T) -> Self {
        Self::from_unsorted(scored.into_iter().collect())
    }
}

impl<'a> IntoIterator for &'a Ranking {
    type Item = &'a Scored;
    type IntoIter = std::slice::Iter<'a, Scored>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

/// The positions of the best `k` scores with them, best first, ties by position.
///
/// One pass with a heap of `k`; scores that are not finite are left out.
#[must_use]
pub fn top_k(scores: &[f32], k: usize) -> Vec<(ItemIdx, f32)> {
    if k == 0 {
        return Vec::new();
    }
    // The heap's top is the worst that is kept.
    let mut heap: BinaryHeap<Candidate> = BinaryHeap::with_capacity(k.min(scores.len()) + 1);
    for (item, score) in (0_u32..).zip(scores.iter().copied().map(one_zero)) {
        if heap.len() == k {
            let worst = heap.peek().map_or(f32::NEG_INFINITY, |worst| worst.score);
            // On a tie the earlier position stays; NaN compares false.
            if score > worst && score.is_finite() {
                heap.pop();
                heap.push(Candidate { score, item });
            }
        } else if score.is_finite() {
            heap.push(Candidate { score, item });
        }
    }
    heap.into_sorted_vec()
        .into_iter()
        .map(|c| (ItemIdx(c.item), c.score))
        .collect()
}

/// -0 as 0, since they are a tie and `total_cmp` does not say so.
fn one_zero(score: f32) -> f32 {
    score + 0.0
}

/// Ordered from the best to the worst: a higher score, then a lower position.
#[derive(Debug, PartialEq)]
struct Candidate {
    score: f32,
    item: u32,
}

impl Eq for Candidate {}

impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> Ordering {
        other
            .score
            .total_cmp(&self.score)
            .then_with(|| self.item.cmp(&other.item))
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn top_k_is_the_head_of_the_sorted_scores(
            scores in prop::collection::vec((-4..4_i8).prop_map(f32::from), 0..50),
            k in 0..60_usize,
        ) {
            let mut sorted: Vec<_> = (0..).map(ItemIdx).zip(scores.iter().copied()).collect();
            sorted.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            sorted.truncate(k);
            prop_assert_eq!(top_k(&scores, k), sorted);
        }
    }

    #[test]
    fn both_zeros_are_a_tie() {
        assert_eq!(top_k(&[-0.0, 0.0, -0.0], 1), [(ItemIdx(0), 0.0)]);
        let head = top_k(&[-0.0, 0.0, -0.0], 3);
        assert_eq!(
            head.iter().map(|(item, _)| item.0).collect::<Vec<_>>(),
            [0, 1, 2]
        );
        let scored = |(item, score): (&str, f32)| Scored {
            item: item.into(),
            score,
        };
        let pair = [("b", 0.0), ("a", -0.0), ("c", f32::NAN)].map(scored);
        let ranking = Ranking::from_unsorted(pair.to_vec());
        assert_eq!(
            ranking.items().map(ItemId::as_str).collect::<Vec<_>>(),
            ["a", "b"]
        );
    }

    #[test]
    fn scores_that_are_not_finite_are_left_out() {
        let scores = [f32::NAN, 1.0, f32::INFINITY, f32::NEG_INFINITY, 2.0];
        assert_eq!(top_k(&scores, 5), [(ItemIdx(4), 2.0), (ItemIdx(1), 1.0)]);
        assert_eq!(top_k(&scores, 1), [(ItemIdx(4), 2.0)]);
    }
}
