//! [`Bootstrap`]: how sure a value is, by drawing the test set again and again from itself.

use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{Metric, Ranks};
use crate::error::{Error, Result};
use crate::rule::{check, within};

/// How sure a value is: percentile intervals of Efron's bootstrap.
///
/// The queries of a session are not independent, so whole sessions are drawn unless one asks otherwise. The
/// same seed gives the same interval, on any number of threads.
///
/// # Examples
///
/// ```
/// use reco_train::evaluate::{Bootstrap, Cluster};
///
/// let quick = Bootstrap { n_resamples: 200, seed: 7, ..Default::default() };
/// assert_eq!((quick.confidence, quick.cluster), (0.95, Cluster::Session));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Bootstrap {
    /// How often the test set is drawn again. Default 1000.
    pub n_resamples: u32,
    /// How much of the draws an interval holds, between 0 and 1. Default 0.95.
    pub confidence: f64,
    /// Seed of the draws. Default 1.
    pub seed: u64,
    /// What is drawn as a whole. Default [`Cluster::Session`].
    pub cluster: Cluster,
}

/// What is drawn as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cluster {
    /// A session with all of its queries.
    #[default]
    Session,
    /// A query, as if it were independent of the others of its session: intervals come out too narrow.
    Query,
}

impl Default for Bootstrap {
    fn default() -> Self {
        Self {
            n_resamples: 1000,
            confidence: 0.95,
            seed: 1,
            cluster: Cluster::Session,
        }
    }
}

/// From where to where a value may be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The lower end.
    pub lower: f64,
    /// The upper end.
    pub upper: f64,
}

/// The value of a metric, and how sure it is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The metric.
    pub metric: Metric,
    /// Its value.
    pub value: f64,
    /// Where it may be. None where it was not asked for, and for [`Coverage`](super::Coverage) and
    /// [`Gini`](super::Gini), which are no means: they shrink when a test set is drawn from itself.
    pub interval: Option<Interval>,
}

impl Bootstrap {
    /// Whether the settings make sense.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] names one that does not.
    pub fn check(&self) -> Result<()> {
        let confidence = self.confidence;
        let inside = confidence > 0.0 && confidence < 1.0;
        check(
            "evaluation",
            [
                within("n_resamples", self.n_resamples, 1..=1_000_000),
                (
                    "confidence",
                    inside,
                    format!("must be between 0 and 1, is {confidence}"),
                ),
            ],
        )
    }

    /// Where the values in `draws` lie but for the tails; sorts them.
    ///
    /// The ends are drawn values, as many from below as from above, so that the interval of what is negated
    /// is the negated interval.
    pub(super) fn interval(&self, draws: &mut [f64]) -> Option<Interval> {
        draws.sort_by(f64::total_cmp);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a count of draws"
        )]
        let tail = ((1.0 - self.confidence) / 2.0 * draws.len() as f64) as usize;
        let upper = draws.len().checked_sub(1 + tail)?;
        Some(Interval {
            lower: draws[tail],
            upper: draws[upper],
        })
    }
}

/// Ratios of sums, prepared to be drawn again by cluster.
#[derive(Debug, Default)]
pub(super) struct Ratios {
    n_ratios: usize,
    /// What each ratio is near to: sums are of what differs from it, so that equal shares differ by exactly
    /// nothing, however often they are drawn.
    shifts: Vec<f64>,
    /// Of each cluster, one after the other: the two sums of each ratio.
    sums: Vec<(f64, f64)>,
}

impl Ratios {
    /// Ratios of the shares of queries; `cluster` names that of each, equal ones one after the other.
    pub(super) fn new(
        n_ratios: usize,
        queries: impl Iterator<Item = (u64, Vec<(f64, f64)>)>,
    ) -> Self {
        let mut shifts: Vec<Option<f64>> = vec![None; n_ratios];
        let mut sums: Vec<(f64, f64)> = Vec::new();
        let mut last = None;
        for (cluster, shares) in queries {
            if last != Some(cluster) {
                sums.resize(sums.len() + n_ratios, (0.0, 0.0));
                last = Some(cluster);
            }
            let start = sums.len() - n_ratios;
            for ((sum, share), shift) in sums[start..].iter_mut().zip(shares).zip(&mut shifts) {
                if share.1 > 0.0 {
                    let shift = *shift.get_or_insert(share.0 / share.1);
                    sum.0 += share.0 - shift * share.1;
                    sum.1 += share.1;
                }
            }
        }
        Self {
            n_ratios,
            shifts: shifts.into_iter().map(Option::unwrap_or_default).collect(),
            sums,
        }
    }

    /// The value of each ratio, all clusters taken once.
    pub(super) fn values(&self) -> Vec<f64> {
        let mut totals = vec![(0.0, 0.0); self.n_ratios];
        for sums in self.sums.chunks_exact(self.n_ratios.max(1)) {
            for (total, sum) in totals.iter_mut().zip(sums) {
                total.0 += sum.0;
                total.1 += sum.1;
            }
        }
        self.ratios(&totals)
    }

    fn ratios(&self, totals: &[(f64, f64)]) -> Vec<f64> {
        let value = |(total, shift): (&(f64, f64), &f64)| match total.1 {
            weight if weight > 0.0 => shift + total.0 / weight,
            _ => *shift,
        };
        totals.iter().zip(&self.shifts).map(value).collect()
    }

    /// The values of each ratio in each draw: `[n_ratios][n_resamples]`.
    pub(super) fn draws(&self, bootstrap: &Bootstrap) -> Vec<Vec<f64>> {
        let n_clusters = self.sums.len() / self.n_ratios.max(1);
        let resample = |resample: u32| {
            let mut rng = generator(bootstrap.seed, resample);
            let mut totals = vec![(0.0, 0.0); self.n_ratios];
            for _ in 0..n_clusters {
                let drawn = below(&mut rng, n_clusters) * self.n_ratios;
                for (total, sum) in totals.iter_mut().zip(&self.sums[drawn..]) {
                    total.0 += sum.0;
                    total.1 += sum.1;
                }
            }
            self.ratios(&totals)
        };
        let resamples: Vec<Vec<f64>> = (0..bootstrap.n_resamples)
            .into_par_iter()
            .map(resample)
            .collect();
        let of_ratio = |ratio: usize| resamples.iter().map(|values| values[ratio]).collect();
        (0..self.n_ratios).map(of_ratio).collect()
    }
}

/// A generator of its own for each draw, so that draws can be made in any order.
fn generator(seed: u64, resample: u32) -> Xoshiro256PlusPlus {
    // Seeding goes through SplitMix64, which parts neighbouring seeds; the factor keeps the draws of one seed
    // from being those of the next.
    Xoshiro256PlusPlus::seed_from_u64(
        seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(resample),
    )
}

/// A number below `n`, by the high half of a product (Lemire 2019, without the rejection: the bias is `n` in
/// 2⁶⁴).
#[expect(
    clippy::cast_possible_truncation,
    reason = "the product's high half is below `n`"
)]
fn below(rng: &mut Xoshiro256PlusPlus, n: usize) -> usize {
    ((u128::from(rng.next_u64()) * n as u128) >> 64) as usize
}

impl Ranks<'_> {
    /// The value of each metric over all queries, with intervals where asked for.
    ///
    /// # Errors
    ///
    /// As [`Bootstrap::check`].
    pub fn estimates(&self, bootstrap: Option<&Bootstrap>) -> Result<Vec<Estimate>> {
        let all: Vec<usize> = (0..self.n_queries()).collect();
        self.estimates_of(&all, bootstrap)
    }

    /// The value of each metric over some queries, ascending.
    pub(super) fn estimates_of(
        &self,
        queries: &[usize],
        bootstrap: Option<&Bootstrap>,
    ) -> Result<Vec<Estimate>> {
        let mut estimates: Vec<Estimate> = self
            .metrics()
            .iter()
            .map(|&metric| Estimate {
                metric,
                value: self.value(metric, queries),
                interval: None,
            })
            .collect();
        let Some(bootstrap) = bootstrap else {
            return Ok(estimates);
        };
        bootstrap.check()?;
        let ratios: Vec<&mut Estimate> = estimates
            .iter_mut()
            .filter(|estimate| estimate.metric.is_ratio())
            .collect();
        let metrics: Vec<Metric> = ratios.iter().map(|estimate| estimate.metric).collect();
        let shares = |&query: &usize| {
            let shares = metrics.iter().map(|&metric| self.share(metric, query));
            (self.cluster(query, bootstrap.cluster), shares.collect())
        };
        let draws = Ratios::new(metrics.len(), queries.iter().map(shares)).draws(bootstrap);
        for (estimate, mut draws) in ratios.into_iter().zip(draws) {
            estimate.interval = bootstrap.interval(&mut draws);
        }
        Ok(estimates)
    }

    pub(super) fn cluster(&self, query: usize, cluster: Cluster) -> u64 {
        match cluster {
            Cluster::Session => u64::from(self.key(query).0),
            Cluster::Query => query as u64,
        }
    }
}

/// Refuses to compare what is not alike.
pub(super) fn not_comparable(reason: impl Into<String>) -> Error {
    Error::NotComparable {
        reason: reason.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interval(values: &[f64], bootstrap: &Bootstrap) -> Interval {
        let queries = (0..)
            .zip(values)
            .map(|(query, &value)| (query, vec![(value, 1.0)]));
        let mut draws = Ratios::new(1, queries).draws(bootstrap);
        bootstrap.interval(&mut draws[0]).unwrap()
    }

    #[test]
    fn the_interval_of_a_constant_has_no_width() {
        for constant in [0.1, 1.0 / 3.0, 0.0] {
            let found = interval(&[constant; 77], &Bootstrap::default());
            assert_eq!((found.lower, found.upper), (constant, constant));
        }
    }

    #[test]
    fn the_interval_of_a_share_is_near_the_binomial_one() {
        // 200 of 1000: 0.2 ± 1.96 · √(0.2 · 0.8 / 1000) = 0.2 ± 0.0248.
        let values: Vec<f64> = (0..1000).map(|i| f64::from(u8::from(i % 5 == 0))).collect();
        let found = interval(
            &values,
            &Bootstrap {
                n_resamples: 4000,
                ..Default::default()
            },
        );
        assert!((found.lower - 0.1752).abs() < 0.003, "{found:?}");
        assert!((found.upper - 0.2248).abs() < 0.003, "{found:?}");
    }

    #[test]
    fn clusters_are_drawn_whole() {
        // Ten sessions of a hundred equal queries each: as unsure as ten queries.
        let bootstrap = Bootstrap::default();
        let queries = (0..1000_u32).map(|query| {
            let session = query / 100;
            (u64::from(session), vec![(f64::from(session % 2), 1.0)])
        });
        let mut draws = Ratios::new(1, queries).draws(&bootstrap);
        let clustered = bootstrap.interval(&mut draws[0]).unwrap();
        let values: Vec<f64> = (0..10).map(|session| f64::from(session % 2)).collect();
        assert_eq!(clustered, interval(&values, &bootstrap));
        assert!(clustered.upper - clustered.lower > 0.4, "{clustered:?}");
    }

    #[test]
    fn draws_are_those_of_the_seed_on_any_number_of_threads() {
        let values: Vec<f64> = (0..50).map(|i| f64::from(i * 7 % 11)).collect();
        let on = |threads, seed| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| {
                interval(
                    &values,
                    &Bootstrap {
                        seed,
                        ..Default::default()
                    },
                )
            })
        };
        assert_eq!(on(1, 1), on(4, 1));
        assert_ne!(on(1, 1), on(1, 2));
    }

    #[test]
    fn settings_without_sense_are_refused() {
        let check = |bootstrap: Bootstrap, expected: &str| {
            assert_eq!(bootstrap.check().unwrap_err().to_string(), expected);
        };
        let defaults = Bootstrap::default();
        check(
            Bootstrap {
                n_resamples: 0,
                ..defaults
            },
            "evaluation: `n_resamples` must be from 1 to 1000000, is 0",
        );
        for confidence in [0.0, 1.0, f64::NAN] {
            check(
                Bootstrap {
                    confidence,
                    ..defaults
                },
                &format!("evaluation: `confidence` must be between 0 and 1, is {confidence}"),
            );
        }
    }
}
