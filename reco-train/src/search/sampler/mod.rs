//! [`Sampler`]: how the values of the next trial are chosen.

mod parzen;
mod tpe;

use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use serde::{Deserialize, Serialize};

pub use self::tpe::TpeConfig;
use super::params::Params;
use super::space::Space;
use crate::error::Result;

/// How the values of the next trial are chosen.
///
/// The draws of a trial depend on the seed of the study, the number of the trial, and for [`Tpe`](Self::Tpe)
/// on what is known of the trials before it; on nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sampler {
    /// Each trial by itself, as the domains say (Bergstra and Bengio, JMLR 13, 2012).
    Random,
    /// Where good trials are dense and others are not: a tree of Parzen estimators.
    Tpe(TpeConfig),
}

impl Default for Sampler {
    fn default() -> Self {
        Self::Tpe(TpeConfig::default())
    }
}

/// What is known of a trial when the next one is chosen.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen<'a> {
    pub(super) params: &'a Params,
    pub(super) standing: Standing,
}

/// How a trial stands among others.
#[derive(Debug, Clone, Copy)]
pub(super) enum Standing {
    /// It ended with this loss.
    Complete(f64),
    /// It was stopped at this step with this loss.
    Pruned(u32, f64),
    /// It runs, or failed: nowhere to go next.
    Poor,
}

impl Sampler {
    /// The values of the next trial.
    pub(super) fn sample(&self, space: &Space, seen: &[Seen<'_>], seed: u64, trial: u64) -> Params {
        let mut rng = generator(seed, trial);
        match self {
            Self::Random => random(space, &mut rng),
            Self::Tpe(config) => tpe::sample(config, space, seen, &mut rng),
        }
    }

    pub(super) fn check(&self) -> Result<()> {
        match self {
            Self::Random => Ok(()),
            Self::Tpe(config) => config.check(),
        }
    }
}

/// The generator of a trial.
fn generator(seed: u64, trial: u64) -> Xoshiro256PlusPlus {
    Xoshiro256PlusPlus::seed_from_u64(seed_of(seed, trial))
}

/// A seed for each trial of a study.
pub(super) fn seed_of(seed: u64, trial: u64) -> u64 {
    // An odd factor: trials of one study never share a seed; those of two studies hardly ever do.
    seed.rotate_left(32) ^ (trial + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// Each parameter by itself.
fn random(space: &Space, rng: &mut Xoshiro256PlusPlus) -> Params {
    let mut params = Params::default();
    for parameter in space.parameters() {
        // Drawn whether it is there or not, so that a condition changes no other parameter.
        let unit = uniform(rng);
        if parameter.is_active(&params) {
            params.insert(&parameter.name, parameter.domain.at(unit));
        }
    }
    params
}

/// One of `0..n`.
fn below(n: usize, rng: &mut Xoshiro256PlusPlus) -> usize {
    let place = (u128::from(rng.next_u64()) * n as u128) >> 64;
    usize::try_from(place).unwrap_or(0)
}

/// A number from 0 to below 1.
fn uniform(rng: &mut Xoshiro256PlusPlus) -> f64 {
    (rng.next_u64() >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
}
