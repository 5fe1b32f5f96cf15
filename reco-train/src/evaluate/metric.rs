//! [`Metric`]: what a list of `k` answers is judged by.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// A number between lists of `k` answers and what came next; one of the constructors below at a `k`:
/// `Mrr::at(20)`.
///
/// It prints as its name, `mrr@20`, is parsed from it, and is that string in JSON.
///
/// About the relevant items, of which there is one, the target, unless
/// [`Targets::Remaining`](super::Targets::Remaining) asks for all that follow: [`HitRate`], [`Recall`],
/// [`Precision`], [`F1`], [`Mrr`], [`Map`] and [`Ndcg`]. `rank` below is the place of a relevant item in
/// the model's scores, from 1; [`Ties`](super::Ties) says what a tie is worth.
///
/// About the answers alone: [`Coverage`], [`Gini`], [`PopularityBias`], [`Popularity`] and [`Novelty`].
/// Their lists are those of a ranking: ties go by item id. An evaluation that answers nothing at all, because
/// no query could be asked, has 0 in each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Metric {
    pub(super) kind: Kind,
    pub(super) k: usize,
}

/// The share of queries with a relevant item among the first `k`: `rank <= k`.
#[derive(Debug, Clone, Copy)]
pub struct HitRate;

/// The share of the relevant items that are among the first `k`. With one relevant item it
/// is the number of [`HitRate`] under the name that most papers use.
#[derive(Debug, Clone, Copy)]
pub struct Recall;

/// The share of the `k` places that hold a relevant item. It divides by `k` even where the model has fewer
/// items, as the script of Coveo's data challenge at SIGIR 2021 and session-rec do.
#[derive(Debug, Clone, Copy)]
pub struct Precision;

/// The harmonic mean of [`Precision`] and [`Recall`] of a query, 0 where both are; the mean over the queries
/// is taken last, as in Coveo's data challenge.
#[derive(Debug, Clone, Copy)]
pub struct F1;

/// The mean reciprocal rank: the mean of `1 / rank` where `rank <= k`, of 0 elsewhere. Of several relevant
/// items the best rank counts, as in `RecList` 2.
#[derive(Debug, Clone, Copy)]
pub struct Mrr;

/// The mean average precision: a relevant item at a `rank <= k` earns the precision of the list down to
/// it, an average over `min(k, n_relevant)` items. With one relevant item it is [`Mrr`].
///
/// session-rec's script computes another number under this name; see
/// [`lists::session_rec_map`](super::lists::session_rec_map).
#[derive(Debug, Clone, Copy)]
pub struct Map;

/// The normalised discounted cumulative gain: the sum of `1 / log2(1 + rank)` over the relevant items with
/// `rank <= k`, as a share of the most that it can be. With one relevant item the most is 1.
///
/// session-rec's script discounts otherwise; see
/// [`lists::session_rec_ndcg`](super::lists::session_rec_ndcg).
#[derive(Debug, Clone, Copy)]
pub struct Ndcg;

/// The catalogue coverage: the share of the model's items that are among the first `k` answers to at
/// least one query.
#[derive(Debug, Clone, Copy)]
pub struct Coverage;

/// The inequality of exposure (Gini's coefficient) over the model's items: 0 where each is answered equally
/// often, near 1 where a few take all the places.
#[derive(Debug, Clone, Copy)]
pub struct Gini;

/// The popularity bias: how often the items among the first `k` were seen in training, on average over the
/// answers to all queries. Compare it with the mean count of the targets, not with 0.
#[derive(Debug, Clone, Copy)]
pub struct PopularityBias;

/// How popular the answers are, from 0 to 1: their count in training over that of the most popular item,
/// a mean over each list and then over the queries, as in session-rec.
#[derive(Debug, Clone, Copy)]
pub struct Popularity;

/// How surprising the answers are: the mean of `−log2 p`, where `p` is the item's share of the
/// interactions in training.
///
/// It is the mean self-information of Zhou et al. 2010. An item without a count is taken as seen once.
#[derive(Debug, Clone, Copy)]
pub struct Novelty;

macro_rules! metrics {
    ($($metric:ident $name:literal),* $(,)?) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub(super) enum Kind {
            $($metric,)*
        }

        impl Kind {
            const ALL: &[Self] = &[$(Self::$metric,)*];

            const fn name(self) -> &'static str {
                match self {
                    $(Self::$metric => $name,)*
                }
            }
        }

        $(impl $metric {
            /// The metric over the first `k` answers.
            #[must_use]
            pub const fn at(k: usize) -> Metric {
                Metric { kind: Kind::$metric, k }
            }
        })*
    };
}

metrics! {
    HitRate "hit_rate",
    Recall "recall",
    Precision "precision",
    F1 "f1",
    Mrr "mrr",
    Map "map",
    Ndcg "ndcg",
    Coverage "coverage",
    Gini "gini",
    PopularityBias "popularity_bias",
    Popularity "popularity",
    Novelty "novelty",
}

impl Metric {
    /// How many answers it looks at.
    #[must_use]
    pub const fn k(self) -> usize {
        self.k
    }

    /// Whether a lower value is the better one, where one can say so: of [`Gini`] alone. Of the popularity
    /// of answers neither is better in itself.
    #[must_use]
    pub const fn lower_is_better(self) -> bool {
        matches!(self.kind, Kind::Gini)
    }

    /// Whether it looks at the answers, not at the target.
    pub(super) const fn is_about_answers(self) -> bool {
        use Kind::{Coverage, Gini, Novelty, Popularity, PopularityBias};
        matches!(
            self.kind,
            Coverage | Gini | PopularityBias | Popularity | Novelty
        )
    }

    /// Whether it is a ratio of sums over queries, of which an interval can be drawn.
    pub(super) const fn is_ratio(self) -> bool {
        !matches!(self.kind, Kind::Coverage | Kind::Gini)
    }

    /// What a query is worth whose relevant items have these ranks, ascending; `n_relevant`, 1 or more,
    /// counts those that the model cannot rank as well.
    ///
    /// 0 for a metric that does not look at them.
    #[expect(
        clippy::cast_precision_loss,
        reason = "ranks and counts of items are far below 2⁵³"
    )]
    pub(super) fn gain(self, ranks: &[f64], n_relevant: usize) -> f64 {
        let k = self.k as f64;
        let hits = &ranks[..ranks.partition_point(|&rank| rank <= k)];
        let n_hits = hits.len() as f64;
        let ideal = n_relevant.min(self.k);
        match self.kind {
            Kind::HitRate => f64::from(u8::from(!hits.is_empty())),
            Kind::Recall => n_hits / n_relevant as f64,
            Kind::Precision => n_hits / k,
            // 2PR / (P + R) with P = hits / k and R = hits / n.
            Kind::F1 => 2.0 * n_hits / (k + n_relevant as f64),
            Kind::Mrr => hits.first().map_or(0.0, |rank| rank.recip()),
            Kind::Map => {
                let precisions = (1..).zip(hits).map(|(n, rank)| f64::from(n) / rank);
                precisions.sum::<f64>() / ideal as f64
            }
            Kind::Ndcg => {
                let discount = |rank: f64| (1.0 + rank).log2().recip();
                let most: f64 = (1..=ideal).map(|rank| discount(rank as f64)).sum();
                hits.iter().map(|&rank| discount(rank)).sum::<f64>() / most
            }
            Kind::Coverage
            | Kind::Gini
            | Kind::PopularityBias
            | Kind::Popularity
            | Kind::Novelty => 0.0,
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.kind.name(), self.k)
    }
}

impl FromStr for Metric {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (name, k) = text.split_once('@').unwrap_or((text, ""));
        let kind = Kind::ALL.iter().find(|kind| kind.name() == name);
        let reason = match (kind, k.parse()) {
            (Some(&kind), Ok(k)) => return Ok(Self { kind, k }),
            (Some(_), Err(_)) => "names no number of answers, as `recall@20` does".to_owned(),
            (None, _) => {
                let names = Kind::ALL.iter().map(|kind| kind.name());
                let hint = reco_core::did_you_mean(reco_core::nearest(name, names).as_deref());
                format!("is unknown{hint}")
            }
        };
        Err(Error::InvalidConfig {
            model: "evaluation",
            key: "metric",
            reason: format!("`{text}` {reason}"),
        })
    }
}

impl From<Metric> for String {
    fn from(metric: Metric) -> Self {
        metric.to_string()
    }
}

impl TryFrom<String> for Metric {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: &[f64], expected: &[f64]) -> bool {
        found.len() == expected.len()
            && found
                .iter()
                .zip(expected)
                .all(|(f, e)| (f - e).abs() < 1e-12)
    }

    #[test]
    fn gains_of_one_relevant_item_worked_by_hand() {
        let check = |metric: Metric, expected: [f64; 4]| {
            let found = [1.0, 3.0, 4.0, 5.0].map(|rank| metric.gain(&[rank], 1));
            assert!(near(&found, &expected), "{metric}: {found:?}");
        };
        check(HitRate::at(4), [1.0, 1.0, 1.0, 0.0]);
        check(Recall::at(3), [1.0, 1.0, 0.0, 0.0]);
        check(Precision::at(4), [0.25, 0.25, 0.25, 0.0]);
        // P = 1/4, R = 1: 2 · 0.25 / 1.25.
        check(F1::at(4), [0.4, 0.4, 0.4, 0.0]);
        check(Mrr::at(4), [1.0, 1.0 / 3.0, 0.25, 0.0]);
        check(Map::at(4), [1.0, 1.0 / 3.0, 0.25, 0.0]);
        // log2(2) = 1, log2(4) = 2, log2(5) = 2.321928…
        check(Ndcg::at(4), [1.0, 0.5, 0.430_676_558_073_393, 0.0]);
    }

    #[test]
    fn gains_of_several_relevant_items_worked_by_hand() {
        // Four are relevant: at ranks 1, 3 and 6, and one that the model does not know.
        let check = |metric: Metric, expected: f64| {
            let found = metric.gain(&[1.0, 3.0, 6.0], 4);
            assert!(near(&[found], &[expected]), "{metric}: {found}");
        };
        check(HitRate::at(5), 1.0);
        check(Recall::at(5), 0.5);
        check(Precision::at(5), 0.4);
        // 2 · 0.4 · 0.5 / 0.9
        check(F1::at(5), 4.0 / 9.0);
        check(Mrr::at(5), 1.0);
        // (1/1 + 2/3) / min(4, 5), and with rank 6 another 3/6.
        check(Map::at(5), 5.0 / 12.0);
        check(Map::at(6), 13.0 / 24.0);
        // Of two places, both could be relevant.
        check(Map::at(2), 0.5);
        // (1 + 1/2) / (1 + 0.6309297535714574 + 1/2 + 0.43067655807339306)
        check(Ndcg::at(5), 0.585_570_074_988_152_5);
        // 1 / (1 + 0.6309297535714574)
        check(Ndcg::at(2), 0.613_147_192_765_458_5);
    }

    #[test]
    fn a_rank_between_two_places_is_a_hit_where_it_is_whole() {
        assert!(near(&[Mrr::at(3).gain(&[2.5], 1)], &[0.4]));
        assert!(near(&[Recall::at(2).gain(&[2.5], 1)], &[0.0]));
    }

    #[test]
    fn names_are_those_of_scores() {
        for kind in Kind::ALL {
            let metric = Metric { kind: *kind, k: 20 };
            assert_eq!(metric.to_string().parse::<Metric>().unwrap(), metric);
            let json = serde_json::to_string(&metric).unwrap();
            assert_eq!(json, format!("\"{metric}\""));
            assert_eq!(serde_json::from_str::<Metric>(&json).unwrap(), metric);
        }
        let check = |text: &str, expected: &str| {
            assert_eq!(text.parse::<Metric>().unwrap_err().to_string(), expected);
        };
        check(
            "recal@20",
            "evaluation: `metric` `recal@20` is unknown; did you mean `recall`?",
        );
        check(
            "recall",
            "evaluation: `metric` `recall` names no number of answers, as `recall@20` does",
        );
    }
}
