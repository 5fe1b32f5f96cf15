//! [`Difference`]: one model beside another, query by query.

use serde::{Deserialize, Serialize};

use super::bootstrap::{Ratios, not_comparable};
use super::{Bootstrap, Interval, Metric, Ranks};
use crate::error::Result;

/// How much better one model is than another in one metric, on the queries that both were asked.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// The metric.
    pub metric: Metric,
    /// How many queries both were asked. Others, whose target only one of them knows, are left out:
    /// [`Unseen::Miss`](super::Unseen::Miss) leaves out none.
    pub n_queries: u64,
    /// The mean of this model's value less the other's, over the queries.
    pub difference: f64,
    /// Where it may be.
    pub interval: Interval,
    /// How likely draws are that differ as much, in either direction, if neither is better: twice the share
    /// of draws on the rarer side of 0, one draw added to each, at most 1.
    pub p_value: f64,
}

impl Ranks<'_> {
    /// Compares with another model on the same sessions: the paired bootstrap of each metric that both have
    /// and that is a mean.
    ///
    /// The same seed draws the same sessions, so that to swap the models negates the differences.
    ///
    /// # Errors
    ///
    /// [`Error::NotComparable`](crate::Error::NotComparable) if the sessions or the protocols are not the
    /// same, or no query is; as [`Bootstrap::check`].
    pub fn compare(&self, other: &Ranks<'_>, bootstrap: &Bootstrap) -> Result<Vec<Difference>> {
        bootstrap.check()?;
        if !self.is_about_the_sessions_of(other) {
            return Err(not_comparable(
                "the models were asked about different sessions",
            ));
        }
        if self.protocol() != other.protocol() {
            let protocols = (self.protocol(), other.protocol());
            return Err(not_comparable(format!(
                "the protocols differ: {protocols:?}"
            )));
        }
        let pairs = self.pairs(other);
        if pairs.is_empty() {
            return Err(not_comparable("no query was asked of both models"));
        }
        let common = |metric: &&Metric| metric.is_ratio() && other.metrics().contains(metric);
        let metrics: Vec<Metric> = self.metrics().iter().filter(common).copied().collect();
        let value = |of: &Ranks<'_>, metric, query| {
            let (sum, weight) = of.share(metric, query);
            if weight > 0.0 { sum / weight } else { 0.0 }
        };
        let differences =
            |metric, (mine, theirs)| value(self, metric, mine) - value(other, metric, theirs);
        let shares = |&pair: &(usize, usize)| {
            let shares = metrics
                .iter()
                .map(|&metric| (differences(metric, pair), 1.0));
            (self.cluster(pair.0, bootstrap.cluster), shares.collect())
        };
        let ratios = Ratios::new(metrics.len(), pairs.iter().map(shares));
        let values = metrics.iter().copied().zip(ratios.values());
        let difference = |((metric, difference), mut draws): ((Metric, f64), Vec<f64>)| {
            let interval = bootstrap.interval(&mut draws)?;
            Some(Difference {
                metric,
                n_queries: pairs.len() as u64,
                difference,
                interval,
                p_value: p_value(&draws),
            })
        };
        Ok(values
            .zip(ratios.draws(bootstrap))
            .filter_map(difference)
            .collect())
    }

    /// The queries that both were asked, by their positions in both.
    fn pairs(&self, other: &Ranks<'_>) -> Vec<(usize, usize)> {
        let mut pairs = Vec::with_capacity(self.n_queries().min(other.n_queries()));
        let mut theirs = 0;
        for mine in 0..self.n_queries() {
            while theirs < other.n_queries() && other.key(theirs) < self.key(mine) {
                theirs += 1;
            }
            if theirs < other.n_queries() && other.key(theirs) == self.key(mine) {
                pairs.push((mine, theirs));
            }
        }
        pairs
    }
}

#[expect(clippy::cast_precision_loss, reason = "a count of draws")]
fn p_value(draws: &[f64]) -> f64 {
    let below = draws.iter().filter(|&&draw| draw <= 0.0).count();
    let above = draws.iter().filter(|&&draw| draw >= 0.0).count();
    let rarer = below.min(above) as f64;
    (2.0 * (rarer + 1.0) / (draws.len() as f64 + 1.0)).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p_values_worked_by_hand() {
        let check = |draws: &[f64], expected: f64| {
            assert!((p_value(draws) - expected).abs() < 1e-12, "{draws:?}");
        };
        check(&[1.0; 99], 0.02);
        check(&[-1.0; 99], 0.02);
        check(&[0.0; 99], 1.0);
        check(&[1.0, 1.0, 1.0, -1.0], 0.8);
    }
}
