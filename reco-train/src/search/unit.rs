//! Domains as the interval from 0 to 1, in which samplers work.

use serde_json::Value;

use super::domain::Domain;

impl Domain {
    /// The value at a place of 0..=1: equal lengths are as likely as the domain says.
    pub(super) fn at(&self, unit: f64) -> Value {
        match self {
            Self::Uniform { low, high } => {
                // Not `low + unit * (high - low)`, which overflows on the widest intervals.
                (low * (1.0 - unit) + high * unit).clamp(*low, *high).into()
            }
            Self::LogUniform { low, high } => {
                let log = low.ln() * (1.0 - unit) + high.ln() * unit;
                log.exp().clamp(*low, *high).into()
            }
            Self::Integer { low, step, log, .. } => {
                let n = self.n_values();
                let place = if *log {
                    let (from, to) = self.log_ends();
                    let value = (from * (1.0 - unit) + to * unit).exp();
                    ((value - *low as f64) / *step as f64).round()
                } else {
                    (unit * n as f64).floor()
                };
                (low + step * nth(place, n)).into()
            }
            Self::Choice(values) => {
                let n = values.len() as u64;
                let nth = nth((unit * n as f64).floor(), n);
                values[usize::try_from(nth).unwrap_or(0)].clone()
            }
        }
    }

    /// The place of a value in 0..=1, the middle of those that give it; none if it is not in the domain.
    pub(super) fn place(&self, value: &Value) -> Option<f64> {
        match self {
            Self::Uniform { low, high } => {
                let x = value.as_f64().filter(|x| (*low..=*high).contains(x))?;
                // Halved, since the width of the widest intervals is not finite.
                Some((x / 2.0 - low / 2.0) / (high / 2.0 - low / 2.0))
            }
            Self::LogUniform { low, high } => {
                let x = value.as_f64().filter(|x| (*low..=*high).contains(x))?;
                Some((x.ln() - low.ln()) / (high.ln() - low.ln()))
            }
            Self::Integer { low, step, log, .. } => {
                let x = value.as_i64()?;
                let n = self.n_values();
                let nth = x.checked_sub(*low).filter(|by| by % step == 0)? / step;
                let nth = u64::try_from(nth).ok().filter(|nth| *nth < n)?;
                Some(if *log {
                    let (from, to) = self.log_ends();
                    ((x as f64).ln() - from) / (to - from)
                } else {
                    (nth as f64 + 0.5) / n as f64
                })
            }
            Self::Choice(_) => {
                let nth = self.choice(value)?;
                Some((nth as f64 + 0.5) / self.n_values() as f64)
            }
        }
    }

    /// Which of the choices a value is.
    pub(super) fn choice(&self, value: &Value) -> Option<usize> {
        match self {
            Self::Choice(values) => values.iter().position(|choice| choice == value),
            _ => None,
        }
    }

    pub(super) const fn is_choice(&self) -> bool {
        matches!(self, Self::Choice(_))
    }

    pub(super) fn contains(&self, value: &Value) -> bool {
        self.place(value).is_some()
    }

    /// How many values there are; 0 where they cannot be counted.
    pub(super) fn n_values(&self) -> u64 {
        match self {
            Self::Uniform { .. } | Self::LogUniform { .. } => 0,
            Self::Integer {
                low, high, step, ..
            } => ((high - low) / step + 1).cast_unsigned(),
            Self::Choice(values) => values.len() as u64,
        }
    }

    /// Half a step beyond the ends of integers, as logarithms, so that the ends are as likely as their
    /// neighbours.
    fn log_ends(&self) -> (f64, f64) {
        let Self::Integer { low, step, .. } = self else {
            return (0.0, 0.0);
        };
        let half = *step as f64 / 2.0;
        let last = (low + step * (self.n_values() - 1).cast_signed()) as f64;
        // Below a `low` of less than half a step there is no logarithm.
        let from = (*low as f64 - half).max(*low as f64 / 2.0);
        (from.ln(), (last + half).ln())
    }
}

/// A place among `n`, whatever rounding made of it.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to 0..n"
)]
fn nth(place: f64, n: u64) -> i64 {
    (place.max(0.0) as u64).min(n - 1).cast_signed()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn domains() -> impl Strategy<Value = Domain> {
        let ends = || (any::<i32>(), 1..1_000_000_i64);
        prop_oneof![
            (any::<f64>(), any::<f64>())
                .prop_filter("an interval", |(a, b)| a.is_finite()
                    && b.is_finite()
                    && (a - b).abs() > 0.0)
                .prop_map(|(a, b)| Domain::Uniform {
                    low: a.min(b),
                    high: a.max(b)
                }),
            (1e-300..1e300_f64, 1.01..1e6_f64).prop_map(|(low, by)| Domain::LogUniform {
                low,
                high: low * by
            }),
            (ends(), 1..100_i64).prop_map(|((low, n), step)| Domain::Integer {
                low: low.into(),
                high: i64::from(low) + n,
                step,
                log: false
            }),
            (1..10_000_i64, 1..10_000_i64, 1..100_i64).prop_map(|(low, n, step)| {
                Domain::Integer {
                    low,
                    high: low + n,
                    step,
                    log: true,
                }
            }),
            (1..20_i64).prop_map(|n| Domain::Choice((0..n).map(Value::from).collect())),
        ]
    }

    proptest! {
        #[test]
        fn each_place_is_a_value_and_each_value_has_a_place(domain in domains(), unit in 0.0..=1.0_f64) {
            let value = domain.at(unit);
            prop_assert!(domain.contains(&value), "{value}");
            let place = domain.place(&value).unwrap();
            prop_assert!((0.0..=1.0).contains(&place), "{place}");
            // The middle of its places gives the same value: exactly, where values can be counted.
            if domain.n_values() > 0 {
                prop_assert_eq!(domain.at(place), value);
            }
        }
    }

    #[test]
    fn values_outside_have_no_place() {
        let steps = Domain::Integer {
            low: 2,
            high: 9,
            step: 3,
            log: false,
        };
        let places: Vec<_> = (0..=11).filter(|&x| steps.contains(&x.into())).collect();
        assert_eq!(places, [2, 5, 8]);
        assert!(!steps.contains(&2.5.into()) && !steps.contains(&"2".into()));
        let uniform = Domain::Uniform {
            low: 0.0,
            high: 1.0,
        };
        assert!(uniform.contains(&1.0.into()) && !uniform.contains(&1.1.into()));
    }
}
