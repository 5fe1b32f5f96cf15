//! [`Space`]: what is searched.

use std::collections::HashSet;

use reco_core::{did_you_mean, nearest};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::domain::Domain;
use super::params::Params;
use crate::error::{Error, Result};

/// The parameters of a search and the values that each may have.
///
/// It is data: it can be written as JSON and read from it, and what it is made of is checked either way.
///
/// # Examples
///
/// ```
/// use reco_train::search::{Parameter, Space};
///
/// let space = Space::new([
///     Parameter::integer("layer", 64, 512).step(32),
///     Parameter::log_uniform("learning_rate", 0.01, 0.25),
///     Parameter::choice("loss", ["cross-entropy", "bpr-max"]),
///     Parameter::uniform("bpreg", 0.0, 2.0).when("loss", ["bpr-max"]),
/// ])?;
/// let json = r#"[
///     {"name": "layer", "domain": {"integer": {"low": 64, "high": 512, "step": 32}}},
///     {"name": "learning_rate", "domain": {"log-uniform": {"low": 0.01, "high": 0.25}}},
///     {"name": "loss", "domain": {"choice": ["cross-entropy", "bpr-max"]}},
///     {"name": "bpreg", "domain": {"uniform": {"low": 0.0, "high": 2.0}},
///      "when": {"parameter": "loss", "is": ["bpr-max"]}}
/// ]"#;
/// assert_eq!(space, serde_json::from_str(json)?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Parameter>", into = "Vec<Parameter>")]
pub struct Space {
    parameters: Vec<Parameter>,
}

/// One parameter of a [`Space`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameter {
    /// The path of a field of the configuration: `layer`, or `gru.layer` for a field of a field.
    pub name: String,
    /// The values that it may have.
    pub domain: Domain,
    /// Which trials have it; all, if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<When>,
}

/// A parameter is there only in trials where an earlier one has certain values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct When {
    /// The earlier parameter.
    pub parameter: String,
    /// The values with which the later one is there.
    pub is: Vec<Value>,
}

impl Space {
    /// A space of these parameters.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidSpace`] names the first parameter that has a domain without values, a name that was
    /// there before, or a condition on a parameter that does not stand before it.
    pub fn new(parameters: impl IntoIterator<Item = Parameter>) -> Result<Self> {
        let space = Self {
            parameters: parameters.into_iter().collect(),
        };
        let mut before: HashSet<&str> = HashSet::new();
        for parameter in &space.parameters {
            let name = parameter.name.as_str();
            let invalid = |reason: String| {
                let parameter = name.to_owned();
                Err(Error::InvalidSpace { parameter, reason })
            };
            if let Some(reason) = parameter.domain.mistake() {
                return invalid(reason);
            }
            if let Some(when) = &parameter.when {
                if !before.contains(when.parameter.as_str()) {
                    let hint = nearest(&when.parameter, before.iter().copied());
                    let hint = did_you_mean(hint.as_deref());
                    let of = &when.parameter;
                    return invalid(format!(
                        "depends on `{of}`, which is no parameter before it{hint}"
                    ));
                }
                if when.is.is_empty() {
                    return invalid("is there for no value of the other".to_owned());
                }
            }
            if !before.insert(name) {
                return invalid("is there twice".to_owned());
            }
        }
        if space.parameters.is_empty() {
            return Err(Error::InvalidSpace {
                parameter: String::new(),
                reason: "there is none".to_owned(),
            });
        }
        Ok(space)
    }

    /// The parameters, in their order.
    #[must_use]
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// Whether these are values of a trial: of each parameter that is there, in its domain, and no others.
    #[must_use]
    pub fn contains(&self, params: &Params) -> bool {
        let mut n_known = 0;
        let fits = self.parameters.iter().all(|parameter| {
            let value = params.get(&parameter.name);
            n_known += usize::from(value.is_some());
            match value {
                Some(value) => parameter.is_active(params) && parameter.domain.contains(value),
                None => !parameter.is_active(params),
            }
        });
        fits && n_known == params.iter().len()
    }

    /// The ends of each domain, each by itself: what a configuration must be able to take.
    pub(super) fn extremes(&self) -> impl Iterator<Item = (&str, Params)> + '_ {
        self.parameters.iter().flat_map(|parameter| {
            let name = parameter.name.as_str();
            let values = parameter.domain.extremes().into_iter();
            values.map(move |value| (name, [(name, value)].into_iter().collect()))
        })
    }
}

impl TryFrom<Vec<Parameter>> for Space {
    type Error = Error;

    fn try_from(parameters: Vec<Parameter>) -> Result<Self> {
        Self::new(parameters)
    }
}

impl From<Space> for Vec<Parameter> {
    fn from(space: Space) -> Self {
        space.parameters
    }
}

impl Parameter {
    /// A parameter with these values, in all trials.
    #[must_use]
    pub fn new(name: impl Into<String>, domain: Domain) -> Self {
        Self {
            name: name.into(),
            domain,
            when: None,
        }
    }

    /// Any number from `low` to `high`.
    #[must_use]
    pub fn uniform(name: impl Into<String>, low: f64, high: f64) -> Self {
        Self::new(name, Domain::Uniform { low, high })
    }

    /// Any number from `low` to `high`, both above 0, each order of magnitude as likely.
    #[must_use]
    pub fn log_uniform(name: impl Into<String>, low: f64, high: f64) -> Self {
        Self::new(name, Domain::LogUniform { low, high })
    }

    /// Any integer from `low` to `high`, both included.
    #[must_use]
    pub fn integer(name: impl Into<String>, low: i64, high: i64) -> Self {
        let (step, log) = (1, false);
        Self::new(
            name,
            Domain::Integer {
                low,
                high,
                step,
                log,
            },
        )
    }

    /// Any integer from `low` to `high`, both above 0, each order of magnitude as likely.
    #[must_use]
    pub fn log_integer(name: impl Into<String>, low: i64, high: i64) -> Self {
        let (step, log) = (1, true);
        Self::new(
            name,
            Domain::Integer {
                low,
                high,
                step,
                log,
            },
        )
    }

    /// One of these values.
    #[must_use]
    pub fn choice<V: Into<Value>>(
        name: impl Into<String>,
        values: impl IntoIterator<Item = V>,
    ) -> Self {
        let values = values.into_iter().map(Into::into).collect();
        Self::new(name, Domain::Choice(values))
    }

    /// The same in steps, if its values are integers; others have no steps and stay as they are.
    #[must_use]
    pub fn step(mut self, by: i64) -> Self {
        if let Domain::Integer { step, .. } = &mut self.domain {
            *step = by;
        }
        self
    }

    /// The same only in trials where an earlier parameter has one of these values.
    #[must_use]
    pub fn when<V: Into<Value>>(
        self,
        parameter: impl Into<String>,
        is: impl IntoIterator<Item = V>,
    ) -> Self {
        let when = When {
            parameter: parameter.into(),
            is: is.into_iter().map(Into::into).collect(),
        };
        Self {
            when: Some(when),
            ..self
        }
    }

    /// Whether a trial with these values has it; those before it must be there.
    pub(super) fn is_active(&self, params: &Params) -> bool {
        self.when.as_ref().is_none_or(|when| {
            let value = params.get(&when.parameter);
            value.is_some_and(|value| when.is.contains(value))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mistake_is_named() {
        let check = |parameters: Vec<Parameter>, expected: &str| {
            let error = Space::new(parameters).unwrap_err().to_string();
            assert_eq!(error, format!("the search space is invalid: {expected}"));
        };
        let x = |domain| vec![Parameter::new("x", domain)];
        check(vec![], "parameter `` there is none");
        check(
            vec![Parameter::uniform("x", 1.0, 1.0)],
            "parameter `x` must have a `low` that is below its `high`, has 1 and 1",
        );
        check(
            vec![Parameter::uniform("x", f64::NAN, 1.0)],
            "parameter `x` must have a `low` that is below its `high`, has NaN and 1",
        );
        check(
            vec![Parameter::log_uniform("x", 0.0, 1.0)],
            "parameter `x` must have a `low` that is above 0 and below its `high`, has 0 and 1",
        );
        check(
            vec![Parameter::integer("x", 3, 2)],
            "parameter `x` must have a `low` that is below its `high`, has 3 and 2",
        );
        check(
            vec![Parameter::integer("x", 1, 2).step(0)],
            "parameter `x` must have a `step` of at least 1, has 0",
        );
        check(
            vec![Parameter::integer("x", i64::MIN, 2)],
            "parameter `x` must be from -2^52 to 2^52, is -9223372036854775808 to 2",
        );
        check(
            vec![Parameter::log_integer("x", 0, 2)],
            "parameter `x` must have a `low` above 0, has 0",
        );
        check(
            x(Domain::Choice(vec![])),
            "parameter `x` must have a value to choose",
        );
        check(
            vec![Parameter::choice("x", [1, 2, 1])],
            "parameter `x` has 1 twice",
        );
        check(
            x(Domain::Choice(vec![serde_json::json!([1])])),
            "parameter `x` must choose among plain values, has [1]",
        );
        check(
            vec![
                Parameter::choice("loss", ["a"]),
                Parameter::uniform("x", 0.0, 1.0).when("los", ["a"]),
            ],
            "parameter `x` depends on `los`, which is no parameter before it; did you mean `loss`?",
        );
        check(
            vec![Parameter::choice("x", [1]), Parameter::choice("x", [2])],
            "parameter `x` is there twice",
        );
        let json = r#"[{"name": "x", "domain": {"uniform": {"low": 0, "hihg": 1}}}]"#;
        let error = serde_json::from_str::<Space>(json).unwrap_err().to_string();
        assert!(error.starts_with("unknown field `hihg`"), "{error}");
    }
}
