//! [`TpeConfig`]: trials where good ones are dense and others are not.

use std::cmp::Ordering;

use rand_xoshiro::Xoshiro256PlusPlus;
use serde::{Deserialize, Serialize};

use super::parzen::Parzen;
use super::{Seen, Standing, random};
use crate::error::Result;
use crate::rule::{self, MAX_DRAWS, within};
use crate::search::params::Params;
use crate::search::space::Space;

/// A tree of Parzen estimators (Bergstra et al., NIPS 2011), over all parameters together, with the rules of
/// Optuna 4's `TPESampler(multivariate=True)`.
///
/// The trials that are known are divided into the good, a tenth of them and at most 25, and the others.
/// Candidates are drawn where the good are dense, and the one is taken where they are densest in proportion
/// to the others. Pruned trials count as worse than complete ones, the earlier they were stopped the worse;
/// trials that run or failed count among the others, so that several workers spread and what fails is left
/// alone.
///
/// # Examples
///
/// ```
/// use reco_train::search::{Sampler, TpeConfig};
///
/// let sampler = Sampler::Tpe(TpeConfig { n_startup_trials: 20, ..Default::default() });
/// assert_eq!(sampler, serde_json::from_str(r#"{"tpe": {"n_startup_trials": 20}}"#)?);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TpeConfig {
    /// How many trials must have ended before the estimators are used; the first are random. Default 10,
    /// Optuna's.
    pub n_startup_trials: usize,
    /// How many candidates are drawn for a trial. Default 24, Optuna's and hyperopt's.
    pub n_ei_candidates: usize,
}

impl Default for TpeConfig {
    fn default() -> Self {
        Self {
            n_startup_trials: 10,
            n_ei_candidates: 24,
        }
    }
}

impl TpeConfig {
    pub(super) fn check(&self) -> Result<()> {
        rule::check(
            "tpe",
            [
                within("n_startup_trials", self.n_startup_trials, 1..=MAX_DRAWS),
                within("n_ei_candidates", self.n_ei_candidates, 1..=MAX_DRAWS),
            ],
        )
    }
}

pub(super) fn sample(
    config: &TpeConfig,
    space: &Space,
    seen: &[Seen<'_>],
    rng: &mut Xoshiro256PlusPlus,
) -> Params {
    let mut ranked: Vec<&Seen<'_>> = seen.iter().collect();
    // Stable: of equals the earlier is first.
    ranked.sort_by(|a, b| order(a.standing, b.standing));
    let n_ended = ranked
        .iter()
        .filter(|seen| !matches!(seen.standing, Standing::Poor))
        .count();
    if n_ended < config.n_startup_trials {
        return random(space, rng);
    }
    let n_good = n_ended.div_ceil(10).min(25);
    let (good, others) = ranked.split_at(n_good);
    let good = Parzen::new(space, good.iter().map(|seen| seen.params));
    let others = Parzen::new(space, others.iter().map(|seen| seen.params));

    let mut best: Option<(f64, Params)> = None;
    for _ in 0..config.n_ei_candidates {
        let (params, places) = good.draw(rng);
        let gain = good.log_density(&places) - others.log_density(&places);
        if best.as_ref().is_none_or(|(most, _)| gain > *most) {
            best = Some((gain, params));
        }
    }
    best.map_or_else(|| random(space, rng), |(_, params)| params)
}

/// The better first.
fn order(a: Standing, b: Standing) -> Ordering {
    use Standing::{Complete, Poor, Pruned};
    match (a, b) {
        (Complete(a), Complete(b)) => a.total_cmp(&b),
        (Pruned(at, a), Pruned(other, b)) => other.cmp(&at).then(a.total_cmp(&b)),
        (Complete(_), _) | (Pruned(..), Poor) => Ordering::Less,
        (Poor, Poor) => Ordering::Equal,
        (Poor, _) | (Pruned(..), Complete(_)) => Ordering::Greater,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::sampler::Sampler;
    use crate::search::space::Parameter;

    /// The best of `n` trials of a function, for each of some seeds; the middle of them.
    fn median_best(sampler: Sampler, space: &Space, n: u64, f: impl Fn(&Params) -> f64) -> f64 {
        let mut best: Vec<f64> = (0..21)
            .map(|seed| {
                let mut tried: Vec<(Params, f64)> = Vec::new();
                for trial in 0..n {
                    let seen: Vec<Seen<'_>> = tried
                        .iter()
                        .map(|(params, loss)| Seen {
                            params,
                            standing: Standing::Complete(*loss),
                        })
                        .collect();
                    let params = sampler.sample(space, &seen, seed, trial);
                    assert!(space.contains(&params), "{params}");
                    let loss = f(&params);
                    tried.push((params, loss));
                }
                tried
                    .iter()
                    .map(|(_, loss)| *loss)
                    .fold(f64::INFINITY, f64::min)
            })
            .collect();
        best.sort_by(f64::total_cmp);
        best[best.len() / 2]
    }

    fn compare(space: &Space, n: u64, f: impl Fn(&Params) -> f64 + Copy) -> (f64, f64) {
        let tpe = median_best(Sampler::default(), space, n, f);
        (tpe, median_best(Sampler::Random, space, n, f))
    }

    #[test]
    fn it_is_nearer_to_the_bottom_of_a_bowl_than_random_draws() {
        let space = Space::new([
            Parameter::uniform("x", -5.0, 5.0),
            Parameter::log_uniform("y", 1e-4, 1.0),
        ])
        .unwrap();
        let bowl = |params: &Params| {
            let (x, y) = (params.number("x").unwrap(), params.number("y").unwrap());
            (x - 2.0).powi(2) + (y.log10() + 2.0).powi(2)
        };
        let (tpe, random) = compare(&space, 60, bowl);
        assert!(tpe < random / 3.0, "{tpe} {random}");
    }

    #[test]
    fn it_is_nearer_to_a_bottom_of_branin() {
        let space = Space::new([
            Parameter::uniform("x", -5.0, 10.0),
            Parameter::uniform("y", 0.0, 15.0),
        ])
        .unwrap();
        // Its least value is 0.397887, at three places.
        let branin = |params: &Params| {
            use std::f64::consts::PI;
            let (x, y) = (params.number("x").unwrap(), params.number("y").unwrap());
            let valley = y - 5.1 / (4.0 * PI * PI) * x * x + 5.0 / PI * x - 6.0;
            valley * valley + 10.0 * (1.0 - 1.0 / (8.0 * PI)) * x.cos() + 10.0
        };
        let (tpe, random) = compare(&space, 80, branin);
        assert!(
            tpe - 0.397_887 < (random - 0.397_887) / 2.0,
            "{tpe} {random}"
        );
    }

    #[test]
    fn it_finds_choices_steps_and_what_depends_on_them() {
        let space = Space::new([
            Parameter::choice("kind", ["flat", "steep", "far"]),
            Parameter::integer("n", 0, 400).step(4),
            Parameter::uniform("only", 0.0, 1.0).when("kind", ["steep"]),
        ])
        .unwrap();
        let loss = |params: &Params| {
            let n = (params.number("n").unwrap() - 300.0).abs() / 100.0;
            match params.number("only") {
                Some(only) => n + (only - 0.1).abs(),
                None => n + 1.0,
            }
        };
        let (tpe, random) = compare(&space, 80, loss);
        assert!(tpe < random / 2.0, "{tpe} {random}");
    }

    #[test]
    fn pruned_trials_are_worse_than_complete_ones_and_the_others_worse_still() {
        use Standing::{Complete, Poor, Pruned};
        let mut standings = [
            Poor,
            Pruned(1, 0.1),
            Complete(9.0),
            Pruned(3, 0.4),
            Complete(1.0),
            Pruned(3, 0.2),
        ];
        standings.sort_by(|a, b| order(*a, *b));
        let expected =
            "[Complete(1.0), Complete(9.0), Pruned(3, 0.2), Pruned(3, 0.4), Pruned(1, 0.1), Poor]";
        assert_eq!(format!("{standings:?}"), expected);
    }
}
