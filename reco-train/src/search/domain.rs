//! [`Domain`]: the values that a parameter may have.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The values that a parameter may have.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Domain {
    /// Any number of an interval, each as likely.
    Uniform {
        /// The least.
        low: f64,
        /// The greatest.
        high: f64,
    },
    /// Any number of an interval above 0, each order of magnitude as likely.
    LogUniform {
        /// The least, above 0.
        low: f64,
        /// The greatest.
        high: f64,
    },
    /// `low`, `low + step`, … up to `high`.
    Integer {
        /// The least.
        low: i64,
        /// None is greater.
        high: i64,
        /// From one to the next.
        #[serde(default = "one")]
        step: i64,
        /// Whether each order of magnitude is as likely, rather than each value; `low` is above 0 then.
        #[serde(default)]
        log: bool,
    },
    /// One of some values without an order: null, booleans, numbers, texts.
    Choice(Vec<Value>),
}

/// Integers are mapped to numbers of 64 bits and back.
const MAX_INTEGER: i64 = 1 << 52;

const fn one() -> i64 {
    1
}

impl Domain {
    /// What is wrong with it, if anything is.
    pub(super) fn mistake(&self) -> Option<String> {
        let interval = |low: f64, high: f64, least: f64| {
            let is_one = low.is_finite() && high.is_finite() && low < high && low > least;
            let above = if least == 0.0 { "above 0 and " } else { "" };
            (!is_one).then(|| {
                format!("must have a `low` that is {above}below its `high`, has {low} and {high}")
            })
        };
        match self {
            Self::Uniform { low, high } => interval(*low, *high, f64::NEG_INFINITY),
            Self::LogUniform { low, high } => interval(*low, *high, 0.0),
            Self::Integer { step, .. } if *step < 1 => {
                Some(format!("must have a `step` of at least 1, has {step}"))
            }
            Self::Integer { low, high, .. } if low >= high => Some(format!(
                "must have a `low` that is below its `high`, has {low} and {high}"
            )),
            Self::Integer { low, high, .. } if *low < -MAX_INTEGER || *high > MAX_INTEGER => {
                Some(format!("must be from -2^52 to 2^52, is {low} to {high}"))
            }
            Self::Integer { low, log: true, .. } if *low < 1 => {
                Some(format!("must have a `low` above 0, has {low}"))
            }
            Self::Integer { .. } => None,
            Self::Choice(values) => {
                let is_nested = |value: &&Value| value.is_array() || value.is_object();
                if values.is_empty() {
                    Some("must have a value to choose".to_owned())
                } else if let Some(value) = values.iter().find(is_nested) {
                    Some(format!("must choose among plain values, has {value}"))
                } else {
                    let mut rest = values.iter().enumerate();
                    rest.find(|(i, value)| values[..*i].contains(value))
                        .map(|(_, value)| format!("has {value} twice"))
                }
            }
        }
    }

    /// Its ends, or all choices.
    pub(super) fn extremes(&self) -> Vec<Value> {
        match self {
            Self::Choice(values) => values.clone(),
            _ => vec![self.at(0.0), self.at(1.0)],
        }
    }
}
