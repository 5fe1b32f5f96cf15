//! Metrics on plain lists, each by the rule of one published script, for numbers that must stand beside it.
//!
//! Scripts disagree on empty lists, on what precision divides by, and on which of several labels counts. A
//! function here is named for its script and computes what that script computes, quirks included; the
//! [`Metric`](super::Metric)s are what we measure by. `predictions` and `labels` have one list a query, best
//! and oldest first. Of no query at all each value is 0.
//!
//! | function | source |
//! | --- | --- |
//! | `sigir_…` | `evaluation.py` of Coveo's SIGIR eCom 2021 data challenge |
//! | `reclist_lists_…` | the list metrics of `RecList` 0.3 |
//! | `reclist_frames_…` | the frame metrics of `RecList` 2 |
//! | `session_rec_…` | `accuracy_multiple.py` of session-rec (rn5l) |
//!
//! # Examples
//!
//! ```
//! use reco_train::evaluate::lists::{reclist_lists_precision, sigir_f1};
//!
//! let (predictions, labels) = ([vec!["hat"], vec![]], [vec!["hat", "scarf"], vec!["tie"]]);
//! // P = 1/2 (of two places), R = 1/2; then nothing. The mean of the two.
//! assert_eq!(sigir_f1(&predictions, &labels, 2), 0.25);
//! // To RecList's lists, an empty prediction is a precise one.
//! assert_eq!(reclist_lists_precision(&predictions, &labels, 2), 1.0);
//! ```

/// MRR by Coveo's script: only the first label counts; no label is worth 0.
#[must_use]
pub fn sigir_mrr<T: PartialEq>(predictions: &[Vec<T>], labels: &[Vec<T>], k: usize) -> f64 {
    mean(predictions, labels, |predicted, labels| {
        labels.first().map_or(0.0, |label| {
            reciprocal(head(predicted, k), |item| item == label)
        })
    })
}

/// F1 by Coveo's script: sets overlap; precision divides by `k` even where fewer items were predicted; the
/// mean is of each query's F1.
#[must_use]
pub fn sigir_f1<T: PartialEq>(predictions: &[Vec<T>], labels: &[Vec<T>], k: usize) -> f64 {
    mean(predictions, labels, |predicted, labels| {
        let hits = n_different(head(predicted, k), |item| labels.contains(item));
        let precision = share(hits, k);
        let recall = share(hits, n_different(labels, |_| true));
        if hits == 0 {
            0.0
        } else {
            2.0 * precision * recall / (precision + recall)
        }
    })
}

/// The weights of [`sigir_weighted_micro_f1`], by the number of events after the add-to-cart.
pub const SIGIR_WEIGHTS: [(u32, f64); 6] =
    [(0, 1.0), (2, 0.9), (4, 0.8), (6, 0.7), (8, 0.6), (10, 0.5)];

/// The score of Coveo's cart task: the accuracy of each group of equal `n_after_add`, times the weight of the
/// group, summed: 4.5 at most. An absent group adds nothing, and so does one without a weight.
#[must_use]
pub fn sigir_weighted_micro_f1(predictions: &[bool], labels: &[bool], n_after_add: &[u32]) -> f64 {
    let of_group = |(group, weight): (u32, f64)| {
        let cases = predictions.iter().zip(labels).zip(n_after_add);
        let right: Vec<bool> = cases
            .filter(|(_, n)| **n == group)
            .map(|((prediction, label), _)| prediction == label)
            .collect();
        weight * share(right.iter().filter(|&&right| right).count(), right.len())
    };
    SIGIR_WEIGHTS.into_iter().map(of_group).sum()
}

/// Hit rate by the lists of `RecList` 0.3, and by its frames: any label among the first `k`.
#[must_use]
pub fn reclist_hit_rate<T: PartialEq>(predictions: &[Vec<T>], labels: &[Vec<T>], k: usize) -> f64 {
    mean(predictions, labels, |predicted, labels| {
        f64::from(u8::from(
            head(predicted, k).iter().any(|item| labels.contains(item)),
        ))
    })
}

/// MRR by the lists of `RecList` 0.3, and by its frames: the first prediction that is any of the labels.
#[must_use]
pub fn reclist_mrr<T: PartialEq>(predictions: &[Vec<T>], labels: &[Vec<T>], k: usize) -> f64 {
    mean(predictions, labels, |predicted, labels| {
        reciprocal(head(predicted, k), |item| labels.contains(item))
    })
}

/// Precision by the lists of `RecList` 0.3: divides by the number of predictions, and an empty prediction is
/// worth 1.
#[must_use]
pub fn reclist_lists_precision<T: PartialEq>(
    predictions: &[Vec<T>],
    labels: &[Vec<T>],
    k: usize,
) -> f64 {
    mean(predictions, labels, |predicted, labels| {
        let predicted = head(predicted, k);
        let hits = n_different(predicted, |item| labels.contains(item));
        if predicted.is_empty() {
            1.0
        } else {
            share(hits, predicted.len())
        }
    })
}

/// Recall by the lists of `RecList` 0.3: an empty label is worth 1.
#[must_use]
pub fn reclist_lists_recall<T: PartialEq>(
    predictions: &[Vec<T>],
    labels: &[Vec<T>],
    k: usize,
) -> f64 {
    mean(predictions, labels, |predicted, labels| {
        let hits = n_different(head(predicted, k), |item| labels.contains(item));
        if labels.is_empty() {
            1.0
        } else {
            share(hits, labels.len())
        }
    })
}

/// Precision by the frames of `RecList` 2: divides by the number of predictions; an empty prediction, which
/// has no defined value there, is worth 0.
#[must_use]
pub fn reclist_frames_precision<T: PartialEq>(
    predictions: &[Vec<T>],
    labels: &[Vec<T>],
    k: usize,
) -> f64 {
    mean(predictions, labels, |predicted, labels| {
        let predicted = head(predicted, k);
        share(
            n_different(predicted, |item| labels.contains(item)),
            predicted.len(),
        )
    })
}

/// Recall by the frames of `RecList` 2: an empty label, which has no defined value there, is worth 0.
#[must_use]
pub fn reclist_frames_recall<T: PartialEq>(
    predictions: &[Vec<T>],
    labels: &[Vec<T>],
    k: usize,
) -> f64 {
    mean(predictions, labels, |predicted, labels| {
        share(
            n_different(head(predicted, k), |item| labels.contains(item)),
            labels.len(),
        )
    })
}

/// MAP by session-rec's script for several next items: each label is worth the precision *over `k` places*
/// of the list down to it, and the last place is not looked at.
#[must_use]
pub fn session_rec_map<T: PartialEq>(predictions: &[Vec<T>], labels: &[Vec<T>], k: usize) -> f64 {
    mean(predictions, labels, |predicted, labels| {
        let predicted = head(predicted, k.saturating_sub(1));
        let hits = predicted
            .iter()
            .filter(|item| labels.contains(item))
            .count();
        // The n-th hit earns n / k, an n_labels-th of a recall.
        (1..=hits).map(|n| share(n, k)).sum::<f64>() * share(1, labels.len())
    })
}

/// NDCG by session-rec's script: the first place is worth 1, place `r` after it `1 / log2(r)`, so the second
/// is worth as much.
#[must_use]
#[expect(
    clippy::cast_precision_loss,
    reason = "places of a list are far below 2⁵³"
)]
pub fn session_rec_ndcg<T: PartialEq>(predictions: &[Vec<T>], labels: &[Vec<T>], k: usize) -> f64 {
    let worth = |place: usize| {
        if place < 2 {
            1.0
        } else {
            (place as f64).log2().recip()
        }
    };
    mean(predictions, labels, |predicted, labels| {
        let found = (1..)
            .zip(head(predicted, k))
            .filter(|(_, item)| labels.contains(item));
        let gain: f64 = found.map(|(place, _)| worth(place)).sum();
        let most: f64 = (1..=labels.len().min(k)).map(worth).sum();
        if most > 0.0 { gain / most } else { 0.0 }
    })
}

fn mean<T>(predictions: &[Vec<T>], labels: &[Vec<T>], value: impl Fn(&[T], &[T]) -> f64) -> f64 {
    let queries = predictions.iter().zip(labels);
    let n = queries.len();
    let total: f64 = queries
        .map(|(predicted, labels)| value(predicted, labels))
        .sum();
    total * share(1, n)
}

fn head<T>(list: &[T], k: usize) -> &[T] {
    &list[..list.len().min(k)]
}

/// How many different items of a list are as asked.
fn n_different<T: PartialEq>(list: &[T], is: impl Fn(&T) -> bool) -> usize {
    let first = |place: usize| !list[..place].contains(&list[place]);
    (0..list.len())
        .filter(|&place| first(place) && is(&list[place]))
        .count()
}

fn reciprocal<T>(list: &[T], is: impl Fn(&T) -> bool) -> f64 {
    list.iter()
        .position(is)
        .map_or(0.0, |place| share(1, place + 1))
}

/// 0 of nothing.
#[expect(
    clippy::cast_precision_loss,
    reason = "lengths of lists are far below 2⁵³"
)]
fn share(n: usize, of: usize) -> f64 {
    if of == 0 { 0.0 } else { n as f64 / of as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Rule = fn(&[Vec<u32>], &[Vec<u32>], usize) -> f64;

    fn check(rule: Rule, predictions: &[&[u32]], labels: &[&[u32]], k: usize, expected: f64) {
        let lists = |lists: &[&[u32]]| lists.iter().map(|list| list.to_vec()).collect::<Vec<_>>();
        let found = rule(&lists(predictions), &lists(labels), k);
        assert!(
            (found - expected).abs() < 1e-12,
            "{found} is not {expected}"
        );
    }

    #[test]
    fn the_values_that_reclist_documents() {
        // tests/test_reclist.py of 0.3.
        let labels: &[&[u32]] = &[&[0], &[1]];
        check(reclist_mrr, &[&[0, 1], &[1, 0]], labels, 1, 1.0);
        check(reclist_mrr, &[&[2, 3], &[0, 1]], labels, 21, 0.25);
        check(reclist_mrr, &[&[2, 3], &[0, 1]], labels, 1, 0.0);
        // The docstrings of standard_metrics.py of 2.x.
        let labels: &[&[u32]] = &[&[5, 1, 0], &[2, 1, 0]];
        check(
            reclist_hit_rate,
            &[&[1, 2, 4], &[3, 6, 2]],
            &[&[5, 1, 0], &[1, 2, 0]],
            2,
            0.5,
        );
        check(reclist_mrr, &[&[2, 1, 4], &[3, 6, 2]], labels, 2, 0.25);
        check(
            reclist_frames_precision,
            &[&[2, 1, 4], &[0, 1, 2]],
            labels,
            2,
            0.75,
        );
        // One of three labels, then none: the docstring's 0.3333 is of the first query alone.
        check(
            reclist_frames_recall,
            &[&[2, 1, 4], &[3, 6, 2]],
            labels,
            2,
            1.0 / 6.0,
        );
    }

    #[test]
    fn rules_of_empty_lists() {
        let (predictions, labels): (&[&[u32]], &[&[u32]]) =
            (&[&[], &[1], &[1]], &[&[1], &[], &[1]]);
        check(reclist_lists_precision, predictions, labels, 3, 2.0 / 3.0);
        check(reclist_lists_recall, predictions, labels, 3, 2.0 / 3.0);
        check(reclist_frames_precision, predictions, labels, 3, 1.0 / 3.0);
        check(reclist_frames_recall, predictions, labels, 3, 1.0 / 3.0);
        check(sigir_mrr, predictions, labels, 3, 1.0 / 3.0);
        // The third: P = 1/3, R = 1, F1 = 1/2.
        check(sigir_f1, predictions, labels, 3, 1.0 / 6.0);
        check(session_rec_map, predictions, labels, 3, 1.0 / 9.0);
        check(session_rec_ndcg, predictions, labels, 3, 1.0 / 3.0);
        for rule in [reclist_mrr as Rule, sigir_f1, session_rec_ndcg] {
            check(rule, &[], &[], 3, 0.0);
            check(rule, &[&[1]], &[&[1]], 0, 0.0);
        }
    }

    /// As a transcription of each script's definition in Python computed them.
    #[test]
    fn values_of_the_scripts() {
        let predictions: &[&[u32]] = &[&[3, 1, 2, 9, 7], &[4, 5], &[8, 6, 2, 1, 0]];
        let labels: &[&[u32]] = &[&[1, 2, 7, 5], &[5, 4], &[0, 9]];
        check(sigir_mrr, predictions, labels, 4, 0.3333333333333333);
        check(sigir_f1, predictions, labels, 4, 0.38888888888888884);
        check(session_rec_map, predictions, labels, 4, 0.1875);
        check(session_rec_ndcg, predictions, labels, 4, 0.5069696950467671);
        let found = sigir_weighted_micro_f1(
            &[true, true, false, true, false],
            &[true, false, false, false, false],
            &[0, 0, 2, 4, 10],
        );
        // 1/2 of 1.0, all of 0.9, none of 0.8, all of 0.5.
        assert!((found - 1.9).abs() < 1e-12, "{found}");
    }
}
