//! [`Pruner`]: which trials are stopped before their end.

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::rule::{self, within};

/// Which trials are stopped before their end, by what they report on the way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pruner {
    /// None.
    #[default]
    Never,
    /// All but the best at each rung.
    Asha(AshaConfig),
}

/// Asynchronous successive halving (Li et al., arXiv 1810.05934), in the form that stops trials instead of
/// pausing them, as Optuna's `SuccessiveHalvingPruner` does.
///
/// Rungs are at the steps `min_resource`, `min_resource · reduction_factor`, and so on. A trial that comes to
/// a rung goes on if it is among the best `1 / reduction_factor` of those that have been there, itself
/// included, and if it is the best of them while they are fewer than that. Nobody waits for anybody, so no
/// worker is idle; the price is that the first trials go on more easily than later ones.
///
/// A step is whatever the trial says; with [`Fitting`](super::Fitting) it is an epoch.
///
/// # Examples
///
/// ```
/// use reco_train::search::AshaConfig;
///
/// let asha = AshaConfig { min_resource: 2, ..Default::default() };
/// assert_eq!(asha.rungs(60).collect::<Vec<_>>(), [2, 6, 18, 54]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AshaConfig {
    /// The step of the first rung. Default 1, `r` of the paper.
    pub min_resource: u32,
    /// How many come to a rung for each that goes on, and how much farther the next rung is. Default 3, `η` of
    /// the paper, which takes 4 in its experiments; Optuna's is 4.
    pub reduction_factor: u32,
}

impl Default for AshaConfig {
    fn default() -> Self {
        Self {
            min_resource: 1,
            reduction_factor: 3,
        }
    }
}

impl AshaConfig {
    /// The steps of the rungs below `n_steps`, the last step of a trial, where there is nothing left to stop.
    #[must_use = "this changes nothing"]
    pub fn rungs(&self, n_steps: u32) -> impl Iterator<Item = u32> + use<> {
        let factor = self.reduction_factor.max(2);
        std::iter::successors(Some(self.min_resource.max(1)), move |rung| {
            rung.checked_mul(factor)
        })
        .take_while(move |rung| *rung < n_steps)
    }

    /// Whether a trial goes on that came to a rung with this loss, where others had those.
    fn goes_on(self, loss: f64, others: &[f64]) -> bool {
        let n_better = others.iter().filter(|other| **other < loss).count();
        let n_promoted = (others.len() + 1) / self.reduction_factor as usize;
        n_better < n_promoted.max(1)
    }
}

impl Pruner {
    pub(super) fn check(&self) -> Result<()> {
        let Self::Asha(asha) = self else {
            return Ok(());
        };
        rule::check(
            "asha",
            [
                within("min_resource", asha.min_resource, 1..=u32::MAX),
                within("reduction_factor", asha.reduction_factor, 2..=u32::MAX),
            ],
        )
    }

    /// The steps at which trials may be stopped.
    pub(super) fn rungs(&self, n_steps: u32) -> impl Iterator<Item = u32> + use<> {
        let asha = match self {
            Self::Never => None,
            Self::Asha(asha) => Some(asha.rungs(n_steps)),
        };
        asha.into_iter().flatten()
    }

    /// Whether a trial of `n_steps` is to stop after its last report, where others have reported theirs:
    /// steps, which rise, and losses.
    pub(super) fn stops<'a>(
        &self,
        (reports, n_steps): (&[(u32, f64)], u32),
        others: &(impl Iterator<Item = &'a [(u32, f64)]> + Clone),
    ) -> bool {
        let Self::Asha(asha) = self else {
            return false;
        };
        let Some((&(step, loss), before)) = reports.split_last() else {
            return false;
        };
        let passed = before.last().map_or(0, |(step, _)| *step);
        let mut rungs = asha.rungs(n_steps).take_while(|rung| *rung <= step);
        rungs.any(|rung| {
            // The loss of a trial at a rung is that of its first report there.
            let at_rung: Vec<f64> = others
                .clone()
                .filter_map(|of| of.iter().find(|(step, _)| *step >= rung))
                .map(|(_, loss)| *loss)
                .collect();
            rung > passed && !asha.goes_on(loss, &at_rung)
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The rule in other words: put the losses of a rung in order and look where this one is.
    fn is_among_the_best(loss: f64, mut others: Vec<f64>, factor: usize) -> bool {
        others.push(loss);
        others.sort_by(f64::total_cmp);
        let last = (others.len() / factor).max(1) - 1;
        loss <= others[last]
    }

    #[test]
    fn rungs_are_where_the_paper_has_them() {
        let rungs = |min_resource, reduction_factor, n| {
            let asha = AshaConfig {
                min_resource,
                reduction_factor,
            };
            asha.rungs(n).collect::<Vec<_>>()
        };
        assert_eq!(rungs(1, 3, 81), [1, 3, 9, 27]);
        assert_eq!(rungs(1, 3, 82), [1, 3, 9, 27, 81]);
        assert_eq!(rungs(5, 2, 5), [0; 0]);
        assert_eq!(rungs(2_000_000_000, 4, u32::MAX), [2_000_000_000]);
    }

    #[test]
    fn nine_known_curves_come_to_known_rungs() {
        // Losses at steps 1, 2, 3, one trial after the other; worked by hand with η = 3 and rungs 1 and 3.
        let curves = [
            ([0.9, 0.8, 0.7], 3),  // the first is the best so far, at both rungs
            ([0.8, 0.7, 0.6], 3),  // better than the first
            ([0.85, 0.1, 0.1], 1), // of three, one goes on: 0.8 is better
            ([0.7, 0.7, 0.65], 3), // the best of four; at rung 3 of 0.7, 0.6, 0.65 it is second: stopped there
            ([0.75, 0.2, 0.2], 1), // of five, one goes on
            ([0.72, 0.2, 0.2], 3), // of six, two: the second best
            ([0.99, 0.0, 0.0], 1),
            ([0.71, 0.9, 0.9], 3),   // of eight, two: 0.7 and 0.71
            ([0.715, 0.1, 0.05], 3), // of nine, three
        ];
        let pruner = Pruner::Asha(AshaConfig::default());
        let mut all: Vec<Vec<(u32, f64)>> = Vec::new();
        for (curve, expected) in curves {
            let mut reports = Vec::new();
            for (step, loss) in (1..).zip(curve) {
                reports.push((step, loss));
                if pruner.stops((&reports, u32::MAX), &all.iter().map(Vec::as_slice)) {
                    break;
                }
            }
            let n_steps = u32::try_from(reports.len()).unwrap();
            assert_eq!(n_steps, expected, "{curve:?}");
            all.push(reports);
        }
    }

    proptest! {
        #[test]
        fn it_promotes_what_a_sorted_list_promotes(
            curves in prop::collection::vec(prop::collection::vec(0_u8..20, 30), 1..40),
            factor in 2_u32..5,
            min_resource in 1_u32..4,
        ) {
            let asha = AshaConfig { min_resource, reduction_factor: factor };
            let pruner = Pruner::Asha(asha);
            let rungs: Vec<u32> = asha.rungs(31).collect();
            let mut all: Vec<Vec<(u32, f64)>> = Vec::new();
            for curve in curves {
                let mut reports: Vec<(u32, f64)> = Vec::new();
                for (step, loss) in (1..).zip(curve) {
                    reports.push((step, f64::from(loss)));
                    let expected = rungs.contains(&step) && {
                        let at = |of: &Vec<(u32, f64)>| of.iter().find(|(s, _)| *s == step).map(|(_, loss)| *loss);
                        !is_among_the_best(f64::from(loss), all.iter().filter_map(at).collect(), factor as usize)
                    };
                    let stops = pruner.stops((&reports, u32::MAX), &all.iter().map(Vec::as_slice));
                    prop_assert_eq!(stops, expected);
                    if stops {
                        break;
                    }
                }
                all.push(reports);
            }
        }

        #[test]
        fn a_trial_that_reports_seldom_is_judged_at_the_rungs_it_passed(every in 1_u32..20) {
            let pruner = Pruner::Asha(AshaConfig::default());
            let best = [(9, 0.0), (27, 0.0)];
            let mut reports = Vec::new();
            for step in (every..=60).step_by(every as usize) {
                reports.push((step, 1.0));
                let stops = pruner.stops((&reports, u32::MAX), &std::iter::once(best.as_slice()));
                // The first report passes rung 1, where the other has 0.
                prop_assert!(stops || step > every);
            }
        }
    }
}
