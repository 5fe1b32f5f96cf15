//! [`Verdict`]: whether an expectation is met, and what was found.

use datafusion::common::ScalarValue;
use datafusion::error::Result;
use jiff::SignedDuration;
use reco_core::Timestamp;
use serde_json::Value;

use super::check::Check;
use super::scalar::number;

/// Whether an expectation is met, before what goes with any check is taken into account.
#[derive(Debug)]
pub(super) struct Verdict {
    /// None where the share of rows that fail decides.
    pub(super) passed: Option<bool>,
    pub(super) n_checked: u64,
    pub(super) n_failed: u64,
    pub(super) observed: Option<Value>,
    pub(super) note: Option<String>,
}

impl Verdict {
    /// Of a value that was computed.
    pub(super) fn new(passed: bool, n_checked: u64, observed: Value) -> Self {
        Self {
            passed: Some(passed),
            n_checked,
            n_failed: 0,
            observed: Some(observed),
            note: None,
        }
    }

    /// Of rows that fail.
    pub(super) const fn of_rows(n_checked: u64, n_failed: u64) -> Self {
        Self {
            passed: None,
            n_checked,
            n_failed,
            observed: None,
            note: None,
        }
    }

    /// Of a figure beside the mean of earlier ones, of which there may be none; a figure of no rows is
    /// none, too.
    pub(super) fn near(
        found: Option<f64>,
        observed: Value,
        mean: &ScalarValue,
        check: &Check,
        n_rows: u64,
    ) -> Self {
        let Some(mean) = number(mean) else {
            return Self::new(true, n_rows, observed).with_note("no earlier run");
        };
        let max_difference = match check {
            Check::NullShareNearEarlier(near) => near.max_change,
            Check::MeanNearEarlier(near) => near.max_change * mean.abs(),
            Check::RowCountNearEarlier { max_change, .. }
            | Check::QuantileNearEarlier { max_change, .. } => max_change * mean.abs(),
            _ => 0.0,
        };
        let passed = found.is_some_and(|found| (found - mean).abs() <= max_difference);
        Self::new(passed, n_rows, observed).with_note(format!("the mean of earlier runs is {mean}"))
    }

    pub(super) fn with_note(self, note: impl Into<String>) -> Self {
        Self {
            note: Some(note.into()),
            ..self
        }
    }
}

/// Whether enough rows pass, compared as in Great Expectations: the share, not the count, is rounded.
pub(super) fn share_passes(n_failed: u64, n_checked: u64, mostly: f64) -> bool {
    n_failed == 0 || (n_checked - n_failed) as f64 / n_checked as f64 >= mostly
}

/// Whether the newest time is young enough.
pub(super) fn check_age(check: &Check, newest: &ScalarValue, n_rows: u64) -> Result<Verdict> {
    let Check::Freshness {
        max_age,
        as_of: Some(as_of),
        ..
    } = check
    else {
        return Ok(Verdict::new(false, n_rows, super::json::value(newest)?));
    };
    let newest = match newest {
        ScalarValue::TimestampMicrosecond(Some(micros), _) => {
            Timestamp::from_microsecond(*micros).ok()
        }
        _ => None,
    };
    let Some(newest) = newest else {
        return Ok(Verdict::new(false, n_rows, Value::Null));
    };
    let age = newest.duration_until(*as_of);
    let passed = SignedDuration::try_from(*max_age).is_ok_and(|max_age| age <= max_age);
    let verdict = Verdict::new(passed, n_rows, Value::from(newest.to_string()));
    Ok(verdict.with_note(format!("{age:#} old")))
}

/// Whether those values occur that should, and no others.
pub(super) fn check_occurrences(
    check: &Check,
    n_rows: u64,
    of_each: &[u64],
    of_others: u64,
) -> Verdict {
    let (Check::DistinctValuesIn(list)
    | Check::DistinctValuesEqual(list)
    | Check::DistinctValuesContain(list)) = check
    else {
        return Verdict::of_rows(n_rows, 0);
    };
    let missing = list.values.iter().zip(of_each);
    let missing = missing.filter(|(_, n)| **n == 0);
    let missing: Vec<String> = missing.map(|(value, _)| value.to_string()).collect();
    let mut verdict = Verdict {
        passed: Some(missing.is_empty() && of_others == 0),
        ..Verdict::of_rows(n_rows, of_others)
    };
    if !missing.is_empty() {
        verdict = verdict.with_note(format!("missing: {}", missing.join(", ")));
    }
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_mostly_is_enough() {
        let check = |n_failed, n_checked, mostly, expected| {
            assert_eq!(share_passes(n_failed, n_checked, mostly), expected);
        };
        check(1, 100, 0.99, true);
        check(2, 100, 0.99, false);
        check(1, 3, 2.0 / 3.0, true);
        check(3, 10, 0.7, true);
        check(0, 0, 1.0, true);
        check(1, 1, 0.0, true);
    }
}
