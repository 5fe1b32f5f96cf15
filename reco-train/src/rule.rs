//! Rules for hyperparameters: what each may be, and the error that says so.

use std::fmt::Display;
use std::ops::RangeInclusive;

use reco_core::ModelArtifact;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};

/// The widest layer or vector: above it a typo is likelier than a model.
pub(crate) const MAX_DIM: usize = 1 << 14;
/// The most lanes, draws or neighbours of a step.
pub(crate) const MAX_DRAWS: usize = 1 << 20;
/// The steepest power of a count, either way: the next ones underflow on a large shop.
pub(crate) const MAX_EXPONENT: f64 = 16.0;

/// A hyperparameter, whether its value is one that the algorithm allows, and what it must be and is.
pub(crate) type Rule = (&'static str, bool, String);

/// A value must be in a range, which NaN is not.
pub(crate) fn within<T: Copy + PartialOrd + Display>(
    key: &'static str,
    value: T,
    range: RangeInclusive<T>,
) -> Rule {
    let (least, most) = (range.start(), range.end());
    let reason = format!("must be from {least} to {most}, is {value}");
    (key, range.contains(&value), reason)
}

/// A value must be what `range` says in words.
pub(crate) fn holds(key: &'static str, value: f64, holds: bool, range: &str) -> Rule {
    (key, holds, format!("must be {range}, is {value}"))
}

/// The error of the first rule that is broken.
pub(crate) fn check(model: &'static str, rules: impl IntoIterator<Item = Rule>) -> Result<()> {
    match rules.into_iter().find(|(_, holds, _)| !holds) {
        Some((key, _, reason)) => Err(Error::InvalidConfig { model, key, reason }),
        None => Ok(()),
    }
}

/// The hyperparameters of an artifact, if they are some that the algorithm allows.
pub(crate) fn stored<C: DeserializeOwned>(
    kind: &str,
    artifact: &ModelArtifact,
    check: impl Fn(&C) -> Result<()>,
) -> reco_core::Result<C> {
    let config = artifact.config()?;
    check(&config).map_err(|error| reco_core::Error::InvalidConfig {
        of: kind.to_owned(),
        reason: error.to_string(),
    })?;
    Ok(config)
}
