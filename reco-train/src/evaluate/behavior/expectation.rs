//! [`Expectation`]: what a measured value must be.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a measured value must be, in itself or beside the value of the champion: the model that serves now.
///
/// Without a champion, or where it has no value of that name, what is relative to it is met: the first model
/// has nothing to be worse than. A value that is none or not finite meets nothing but
/// [`Anything`](Self::Anything).
///
/// # Examples
///
/// ```
/// use reco_train::evaluate::behavior::{Expectation, Tolerance};
///
/// // 5 % of the champion's value may be lost, not more.
/// let kept = Expectation::NotBelowChampion(Tolerance::Relative(0.05));
/// assert!(kept.is_met(Some(0.191), Some(0.2)));
/// assert!(!kept.is_met(Some(0.189), Some(0.2)));
/// assert!(kept.is_met(Some(0.0), None));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expectation {
    /// Whatever it is: it is reported.
    #[default]
    Anything,
    /// This or more.
    AtLeast(f64),
    /// This or less.
    AtMost(f64),
    /// From this to that, both included.
    Between(f64, f64),
    /// The champion's less the tolerance, or more.
    NotBelowChampion(Tolerance),
    /// The champion's and the tolerance, or less.
    NotAboveChampion(Tolerance),
}

/// How far a value may be from the champion's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tolerance {
    /// By so much.
    Absolute(f64),
    /// By such a share of the champion's value.
    Relative(f64),
}

impl Expectation {
    /// Whether a value meets it, beside the champion's if there is one.
    #[must_use]
    pub fn is_met(self, value: Option<f64>, champion: Option<f64>) -> bool {
        if self == Self::Anything {
            return true;
        }
        let Some(value) = value.filter(|value| value.is_finite()) else {
            return false;
        };
        let champion = champion.filter(|value| value.is_finite());
        match self {
            Self::Anything => true,
            Self::AtLeast(least) => value >= least,
            Self::AtMost(most) => value <= most,
            Self::Between(least, most) => (least..=most).contains(&value),
            Self::NotBelowChampion(tolerance) => {
                champion.is_none_or(|champion| value >= champion - tolerance.of(champion))
            }
            Self::NotAboveChampion(tolerance) => {
                champion.is_none_or(|champion| value <= champion + tolerance.of(champion))
            }
        }
    }
}

impl Tolerance {
    fn of(self, value: f64) -> f64 {
        match self {
            Self::Absolute(tolerance) => tolerance,
            Self::Relative(share) => share * value.abs(),
        }
    }
}

impl fmt::Display for Expectation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anything => write!(f, "reported"),
            Self::AtLeast(least) => write!(f, "≥ {least}"),
            Self::AtMost(most) => write!(f, "≤ {most}"),
            Self::Between(least, most) => write!(f, "{least} to {most}"),
            Self::NotBelowChampion(tolerance) => write!(f, "≥ champion − {tolerance}"),
            Self::NotAboveChampion(tolerance) => write!(f, "≤ champion + {tolerance}"),
        }
    }
}

impl fmt::Display for Tolerance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absolute(tolerance) => write!(f, "{tolerance}"),
            // 0.07 · 100 is 7.000000000000001.
            Self::Relative(share) => write!(f, "{} %", (share * 1e8).round() / 1e6),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expectations_worked_by_hand() {
        let check = |expectation: Expectation, champion: Option<f64>, met: &[f64], not: &[f64]| {
            for (values, expected) in [(met, true), (not, false)] {
                for &value in values {
                    let found = expectation.is_met(Some(value), champion);
                    assert_eq!(found, expected, "{value} {expectation}");
                }
            }
        };
        let nan = f64::NAN;
        check(Expectation::Anything, None, &[0.0, nan], &[]);
        check(
            Expectation::AtLeast(0.5),
            None,
            &[0.5, 1.0],
            &[0.49, nan, f64::INFINITY],
        );
        check(Expectation::AtMost(0.5), None, &[0.5, -1.0], &[0.51, nan]);
        check(
            Expectation::Between(0.1, 0.2),
            None,
            &[0.1, 0.2],
            &[0.0, 0.3],
        );
        let below = |tolerance| Expectation::NotBelowChampion(tolerance);
        check(
            below(Tolerance::Absolute(0.1)),
            Some(1.0),
            &[0.9, 2.0],
            &[0.89],
        );
        check(
            below(Tolerance::Relative(0.5)),
            Some(-1.0),
            &[-1.5],
            &[-1.6],
        );
        check(below(Tolerance::Relative(0.0)), None, &[0.0], &[nan]);
        check(below(Tolerance::Relative(0.0)), Some(nan), &[0.0], &[]);
        let above = Expectation::NotAboveChampion(Tolerance::Relative(0.1));
        check(above, Some(10.0), &[11.0, 0.0], &[11.1]);
        assert!(!Expectation::AtLeast(0.0).is_met(None, None));
        assert!(Expectation::Anything.is_met(None, None));
    }

    #[test]
    fn they_say_what_they_are() {
        let relative = Expectation::NotBelowChampion(Tolerance::Relative(0.07));
        assert_eq!(relative.to_string(), "≥ champion − 7 %");
        let json = serde_json::to_string(&relative).unwrap();
        assert_eq!(json, r#"{"not_below_champion":{"relative":0.07}}"#);
        assert_eq!(
            serde_json::from_str::<Expectation>(&json).unwrap(),
            relative
        );
    }
}
