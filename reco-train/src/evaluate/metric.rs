//! [`Metric`]: what a list of `k` answers is judged by.

use std::fmt;

/// A number between lists of `k` answers and what came next; see the constructors [`HitRate`],
/// [`Recall`], [`Mrr`], [`Ndcg`], [`Coverage`] and [`PopularityBias`].
///
/// It prints as its name: `recall@20`.
///
/// `rank` below is the place of the target in the model's scores, from 1; a target that ties with
/// others takes the last place among them (the conservative rule), so that a model that scores all items
/// alike earns nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Metric {
    pub(super) kind: Kind,
    pub(super) k: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    HitRate,
    Recall,
    Mrr,
    Ndcg,
    Coverage,
    PopularityBias,
}

/// The share of queries whose target is among the first `k`: `rank <= k`.
#[derive(Debug, Clone, Copy)]
pub struct HitRate;

/// The share of the relevant items that are among the first `k`. One item is relevant, the target, so it
/// is the number of [`HitRate`] under the name that most papers use.
#[derive(Debug, Clone, Copy)]
pub struct Recall;

/// The mean reciprocal rank: the mean of `1 / rank` where `rank <= k`, of 0 elsewhere.
#[derive(Debug, Clone, Copy)]
pub struct Mrr;

/// The normalised discounted cumulative gain: the mean of `1 / log2(1 + rank)` where `rank <= k`, of 0
/// elsewhere. With one relevant item the ideal gain is 1.
#[derive(Debug, Clone, Copy)]
pub struct Ndcg;

/// The catalogue coverage: the share of the model's items that are among the first `k` answers to at
/// least one query. Ties at the end of a list go by item id, as in a ranking.
#[derive(Debug, Clone, Copy)]
pub struct Coverage;

/// The popularity bias: how often the items among the first `k` were seen in training, on average over the
/// answers to all queries. Compare it with the mean count of the targets, not with 0.
#[derive(Debug, Clone, Copy)]
pub struct PopularityBias;

macro_rules! at {
    ($($metric:ident),*) => {$(
        impl $metric {
            /// The metric over the first `k` answers.
            #[must_use]
            pub const fn at(k: usize) -> Metric {
                Metric { kind: Kind::$metric, k }
            }
        }
    )*};
}

at!(HitRate, Recall, Mrr, Ndcg, Coverage, PopularityBias);

impl Metric {
    /// How many answers it looks at.
    #[must_use]
    pub const fn k(self) -> usize {
        self.k
    }

    /// What a query whose target has this rank, from 1, adds to the mean; `None` where the metric does not
    /// look at the target.
    pub(super) fn gain(self, rank: usize) -> Option<f64> {
        #[expect(
            clippy::cast_precision_loss,
            reason = "a rank is at most the catalogue's size"
        )]
        let rank_or_miss = (rank <= self.k).then_some(rank as f64);
        let of = |gain: fn(f64) -> f64| Some(rank_or_miss.map_or(0.0, gain));
        match self.kind {
            Kind::HitRate | Kind::Recall => of(|_| 1.0),
            Kind::Mrr => of(f64::recip),
            Kind::Ndcg => of(|rank| (1.0 + rank).log2().recip()),
            Kind::Coverage | Kind::PopularityBias => None,
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.kind {
            Kind::HitRate => "hit_rate",
            Kind::Recall => "recall",
            Kind::Mrr => "mrr",
            Kind::Ndcg => "ndcg",
            Kind::Coverage => "coverage",
            Kind::PopularityBias => "popularity_bias",
        };
        write!(f, "{name}@{}", self.k)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gains_worked_by_hand() {
        let check = |metric: Metric, expected: [f64; 4]| {
            let ranks = [1, 3, 4, 5];
            let found = ranks.map(|rank| metric.gain(rank).unwrap());
            let near = found
                .iter()
                .zip(expected)
                .all(|(f, e)| (f - e).abs() < 1e-12);
            assert!(near, "{metric}: {found:?}");
        };
        check(HitRate::at(4), [1.0, 1.0, 1.0, 0.0]);
        check(Recall::at(3), [1.0, 1.0, 0.0, 0.0]);
        check(Mrr::at(4), [1.0, 1.0 / 3.0, 0.25, 0.0]);
        // log2(2) = 1, log2(4) = 2, log2(5) = 2.321928…
        check(Ndcg::at(4), [1.0, 0.5, 0.430_676_558_073_393, 0.0]);
    }

    #[test]
    fn names_are_those_of_scores() {
        let metrics = [HitRate::at(1), Recall::at(20), PopularityBias::at(5)];
        assert_eq!(
            metrics.map(|m| m.to_string()),
            ["hit_rate@1", "recall@20", "popularity_bias@5"]
        );
    }
}
