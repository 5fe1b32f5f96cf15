//! [`Parzen`]: a density over a whole space, one kernel per trial.

use std::f64::consts::{PI, SQRT_2};

use rand_xoshiro::Xoshiro256PlusPlus;

use super::{below, uniform};
use crate::search::params::Params;
use crate::search::space::{Parameter, Space};

/// A mixture with a component for each trial and one for the whole space, all of the same weight.
///
/// A component is a product over parameters, so that values that are good together are drawn together:
/// a normal distribution around the trial's value cut to 0..=1, or, for choices, most of the weight on the
/// trial's. A parameter that the trial did not have is uniform, as all are in the last component.
#[derive(Debug)]
pub(super) struct Parzen<'a> {
    space: &'a Space,
    /// The places of each trial's values, by parameter.
    centres: Vec<Vec<Option<f64>>>,
    sigma: f64,
}

impl<'a> Parzen<'a> {
    pub(super) fn new<'t>(space: &'a Space, trials: impl Iterator<Item = &'t Params>) -> Self {
        let place = |params: &Params, parameter: &Parameter| {
            parameter.domain.place(params.get(&parameter.name)?)
        };
        let centres: Vec<Vec<Option<f64>>> = trials
            .map(|params| {
                let parameters = space.parameters().iter();
                parameters
                    .map(|parameter| place(params, parameter))
                    .collect()
            })
            .collect();
        let (n, d) = (centres.len() as f64, space.parameters().len() as f64);
        // Scott's rule with the factor of Optuna 3 and 4, and its least width.
        let sigma = 0.2 * n.max(1.0).powf(-1.0 / (d + 4.0));
        let least = 1.0 / (n + 2.0).min(100.0);
        Self {
            space,
            centres,
            sigma: sigma.clamp(least, 1.0),
        }
    }

    /// Values drawn from it, and their places.
    pub(super) fn draw(&self, rng: &mut Xoshiro256PlusPlus) -> (Params, Vec<Option<f64>>) {
        // None: the component that is the whole space.
        let centres = self.centres.get(below(self.centres.len() + 1, rng));
        let mut params = Params::default();
        let mut places = Vec::with_capacity(self.space.parameters().len());
        for (i, parameter) in self.space.parameters().iter().enumerate() {
            if !parameter.is_active(&params) {
                places.push(None);
                continue;
            }
            let centre = centres.and_then(|centres| centres[i]);
            let unit = match (centre, choices(parameter)) {
                (Some(centre), None) => truncated_normal(centre, self.sigma, rng),
                // The weight of the choice itself is 1, of the prior 1 over all choices.
                (Some(centre), Some(_)) if uniform(rng) < 0.5 => centre,
                (None, _) | (Some(_), Some(_)) => uniform(rng),
            };
            let value = parameter.domain.at(unit);
            // Steps and choices: densities are compared at the middle of what gives the value.
            places.push(parameter.domain.place(&value));
            params.insert(&parameter.name, value);
        }
        (params, places)
    }

    /// The logarithm of the density at some places, of the parameters that are there.
    pub(super) fn log_density(&self, places: &[Option<f64>]) -> f64 {
        let prior: Vec<Option<f64>> = vec![None; places.len()];
        let logs: Vec<f64> = self
            .centres
            .iter()
            .chain(std::iter::once(&prior))
            .map(|centres| {
                let parameters = self.space.parameters().iter();
                let terms = parameters.zip(centres).zip(places);
                terms
                    .map(|((parameter, centre), place)| self.log_kernel(parameter, *centre, *place))
                    .sum()
            })
            .collect();
        let most = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = logs.iter().map(|log| (log - most).exp()).sum();
        most + (sum / logs.len() as f64).ln()
    }

    fn log_kernel(&self, parameter: &Parameter, centre: Option<f64>, place: Option<f64>) -> f64 {
        match (centre, place, choices(parameter)) {
            (_, None, _) | (None, _, None) => 0.0,
            (None, Some(_), Some(n)) => -n.ln(),
            (Some(centre), Some(place), Some(n)) => {
                let same = (centre - place).abs() * n < 0.5;
                (0.5 * f64::from(u8::from(same)) + 0.5 / n).ln()
            }
            (Some(centre), Some(place), None) => {
                let z = (place - centre) / self.sigma;
                let inside =
                    normal_below((1.0 - centre) / self.sigma) - normal_below(-centre / self.sigma);
                -0.5 * z * z - (self.sigma * (2.0 * PI).sqrt() * inside).ln()
            }
        }
    }
}

/// How many values there are, if they have no order.
fn choices(parameter: &Parameter) -> Option<f64> {
    parameter
        .domain
        .is_choice()
        .then(|| parameter.domain.n_values() as f64)
}

/// A number of 0..=1 from a normal distribution around one of them, drawn again while it is outside.
fn truncated_normal(mean: f64, sigma: f64, rng: &mut Xoshiro256PlusPlus) -> f64 {
    // At least a third of the draws are inside: the mean is, and sigma is at most 1.
    for _ in 0..256 {
        let radius = (-2.0 * (1.0 - uniform(rng)).ln()).sqrt();
        let x = mean + sigma * radius * (2.0 * PI * uniform(rng)).cos();
        if (0.0..=1.0).contains(&x) {
            return x;
        }
    }
    mean
}

/// The share of a standard normal distribution that is below.
fn normal_below(z: f64) -> f64 {
    0.5 * (1.0 + erf(z / SQRT_2))
}

/// The error function to 1.5e-7 (Abramowitz and Stegun, 7.1.26).
fn erf(x: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.327_591_1 * x.abs());
    let polynomial = t
        * (0.254_829_592
            + t * (-0.284_496_736
                + t * (1.421_413_741 + t * (-1.453_152_027 + t * 1.061_405_429))));
    (1.0 - polynomial * (-x * x).exp()).copysign(x)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn the_error_function_is_that_of_the_tables() {
        // Abramowitz and Stegun, table 7.1.
        for (x, expected) in [
            (0.0, 0.0),
            (0.5, 0.520_499_9),
            (1.0, 0.842_700_8),
            (2.0, 0.995_322_3),
            (-1.0, -0.842_700_8),
        ] {
            assert!((erf(x) - expected).abs() < 2e-7, "{x}");
        }
    }

    /// What is drawn is where the density is, and the density is one: checked on a grid.
    #[test]
    fn draws_follow_the_density() {
        let space = Space::new([
            Parameter::uniform("x", -2.0, 6.0),
            Parameter::choice("c", ["a", "b", "d"]),
        ])
        .unwrap();
        let trial = |x: f64, c: &str| [("x", x.into()), ("c", c.into())].into_iter().collect();
        let trials: [Params; 2] = [trial(-1.5, "a"), trial(4.0, "d")];
        let parzen = Parzen::new(&space, trials.iter());

        let mut rng = Xoshiro256PlusPlus::seed_from_u64(3);
        let (n, n_cells) = (60_000, 8);
        let mut counts = vec![[0_u32; 3]; n_cells];
        for _ in 0..n {
            let (params, places) = parzen.draw(&mut rng);
            assert!(space.contains(&params));
            let cell = (places[0].unwrap() * n_cells as f64).floor().min(7.0);
            let c = space.parameters()[1]
                .domain
                .choice(params.get("c").unwrap())
                .unwrap();
            let cell = (0..n_cells).find(|&i| i as f64 >= cell).unwrap();
            counts[cell][c] += 1;
        }
        let mut mass = 0.0;
        for (cell, of_cell) in counts.iter().enumerate() {
            for (c, count) in of_cell.iter().enumerate() {
                let fine = 100;
                let density: f64 = (0..fine)
                    .map(|i| {
                        let x = (cell as f64 + (f64::from(i) + 0.5) / f64::from(fine)) / 8.0;
                        let places = [Some(x), Some((c as f64 + 0.5) / 3.0)];
                        parzen.log_density(&places).exp() / f64::from(fine) / 8.0
                    })
                    .sum();
                mass += density;
                let share = f64::from(*count) / f64::from(n);
                assert!(
                    (share - density).abs() < 0.006,
                    "{cell} {c}: {share} {density}"
                );
            }
        }
        assert!((mass - 1.0).abs() < 1e-3, "{mass}");
    }
}
