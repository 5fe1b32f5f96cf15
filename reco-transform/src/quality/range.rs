//! Ranges of values and counts, as data.

use std::cmp::Ordering;
use std::fmt;
use std::ops::{Bound, RangeBounds};

use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Expr, Literal, lit};
use serde::{Deserialize, Serialize};

use super::scalar::{Scalar, number};

/// A column and the range that its values, or what is computed of them, are in.
///
/// NaN is above every number.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnRange {
    /// The column.
    pub column: String,
    /// The least that it may be; none if there is no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<Scalar>,
    /// The most that it may be; none if there is no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<Scalar>,
    /// Whether `min` itself is too little. Default false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub strict_min: bool,
    /// Whether `max` itself is too much. Default false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub strict_max: bool,
}

impl ColumnRange {
    /// A range of Rust.
    pub(crate) fn of<V: Literal>(column: impl Into<String>, range: &impl RangeBounds<V>) -> Self {
        let (min, strict_min) = side(range.start_bound());
        let (max, strict_max) = side(range.end_bound());
        Self {
            column: column.into(),
            min,
            max,
            strict_min,
            strict_max,
        }
    }

    /// What is true of a value outside; NULL where the value is.
    pub(crate) fn excludes(&self, value: &Expr) -> Expr {
        let below = self.min.as_ref().map(|min| match self.strict_min {
            true => value.clone().lt_eq(min.lit()),
            false => value.clone().lt(min.lit()),
        });
        let above = self.max.as_ref().map(|max| match self.strict_max {
            true => value.clone().gt_eq(max.lit()),
            false => value.clone().gt(max.lit()),
        });
        let outside = below.into_iter().chain(above).reduce(Expr::or);
        outside.unwrap_or_else(|| lit(false))
    }

    /// Whether a value that was computed is inside; NULL is not.
    pub(crate) fn includes(&self, value: &ScalarValue) -> bool {
        let from = self.min.as_ref().is_none_or(|min| {
            let order = compare(value, min);
            order == Some(Ordering::Greater) || (!self.strict_min && order == Some(Ordering::Equal))
        });
        let to = self.max.as_ref().is_none_or(|max| {
            let order = compare(value, max);
            order == Some(Ordering::Less) || (!self.strict_max && order == Some(Ordering::Equal))
        });
        !value.is_null() && from && to
    }

    /// Whether no value can be inside.
    pub(crate) fn is_empty(&self) -> bool {
        let (Some(min), Some(max)) = (&self.min, &self.max) else {
            return false;
        };
        match compare(&min.value(), max) {
            Some(Ordering::Greater) => true,
            Some(Ordering::Equal) => self.strict_min || self.strict_max,
            _ => false,
        }
    }
}

fn side<V: Literal>(bound: Bound<&V>) -> (Option<Scalar>, bool) {
    match bound {
        Bound::Included(value) => (Scalar::of(value), false),
        Bound::Excluded(value) => (Scalar::of(value), true),
        Bound::Unbounded => (None, false),
    }
}

/// How a value compares with a limit: as numbers where both are, otherwise as the type of the value.
fn compare(value: &ScalarValue, limit: &Scalar) -> Option<Ordering> {
    let limit = limit.value();
    match (number(value), number(&limit)) {
        // NaN is above every number, as in the engine.
        (Some(value), Some(limit)) => Some(
            value
                .partial_cmp(&limit)
                .unwrap_or_else(|| value.is_nan().cmp(&limit.is_nan())),
        ),
        _ => value.partial_cmp(&limit.cast_to(&value.data_type()).ok()?),
    }
}

/// As ranges are written in Rust.
impl fmt::Display for ColumnRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.min, self.strict_min) {
            (Some(min), false) => write!(f, "{min}")?,
            (Some(min), true) => write!(f, "above {min}, ")?,
            (None, _) => {}
        }
        match (&self.max, self.strict_max) {
            (Some(max), false) => write!(f, "..={max}"),
            (Some(max), true) => write!(f, "..{max}"),
            (None, _) => f.write_str(".."),
        }
    }
}

/// How many there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CountRange {
    /// The fewest; none if there is no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<u64>,
    /// The most; none if there is no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<u64>,
}

impl CountRange {
    /// A range of Rust; none if it excludes all there is.
    pub(crate) fn of(range: &impl RangeBounds<u64>) -> Self {
        let min = match range.start_bound() {
            Bound::Included(from) => Some(*from),
            Bound::Excluded(from) => Some(from.saturating_add(1)),
            Bound::Unbounded => None,
        };
        match range.end_bound() {
            Bound::Included(to) => Self {
                min,
                max: Some(*to),
            },
            Bound::Unbounded => Self { min, max: None },
            // Nothing is below 0: a range that is empty, and refused as such.
            Bound::Excluded(0) => Self {
                min: Some(1),
                max: Some(0),
            },
            Bound::Excluded(to) => Self {
                min,
                max: Some(to - 1),
            },
        }
    }

    pub(crate) fn includes(self, count: u64) -> bool {
        self.min.is_none_or(|min| count >= min) && self.max.is_none_or(|max| count <= max)
    }

    pub(crate) fn is_empty(self) -> bool {
        matches!((self.min, self.max), (Some(min), Some(max)) if min > max)
    }
}

/// As ranges are written in Rust.
impl fmt::Display for CountRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(min) = self.min {
            write!(f, "{min}")?;
        }
        match self.max {
            Some(max) => write!(f, "..={max}"),
            None => f.write_str(".."),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_are_compared_as_what_they_are() {
        let check = |range: ColumnRange, value: ScalarValue, expected: bool| {
            assert_eq!(range.includes(&value), expected, "{range} and {value}");
        };
        // An integer with a fraction: the fraction counts.
        check(
            ColumnRange::of("x", &(0.5..)),
            ScalarValue::from(0_i64),
            false,
        );
        check(
            ColumnRange::of("x", &(..=1_i64)),
            ScalarValue::from(1.5),
            false,
        );
        check(
            ColumnRange::of("x", &(..=f64::MAX)),
            ScalarValue::from(f64::NAN),
            false,
        );
        check(
            ColumnRange::of("x", &("b"..)),
            ScalarValue::from("a"),
            false,
        );
        check(ColumnRange::of("x", &("b"..)), ScalarValue::from("b"), true);
        check(
            ColumnRange::of("x", &(0_i64..)),
            ScalarValue::Int64(None),
            false,
        );
        let since = ColumnRange::of("x", &("2024-05-01".."2024-06-01"));
        let may = 1_714_550_400_000_000;
        check(
            since.clone(),
            ScalarValue::TimestampMicrosecond(Some(may), None),
            true,
        );
        check(
            since,
            ScalarValue::TimestampMicrosecond(Some(0), None),
            false,
        );
    }

    proptest! {
        #[test]
        fn a_range_holds_what_the_range_of_rust_holds(from: i32, to: i32, value: i32) {
            let value_of = ScalarValue::from(value);
            prop_assert_eq!(ColumnRange::of("x", &(from..to)).includes(&value_of), (from..to).contains(&value));
            prop_assert_eq!(ColumnRange::of("x", &(from..=to)).includes(&value_of), (from..=to).contains(&value));
            prop_assert_eq!(ColumnRange::of("x", &(from..to)).is_empty(), (from..to).is_empty());
        }

        #[test]
        fn a_range_of_counts_holds_what_the_range_of_rust_holds(from in 0..9_u64, to in 0..9_u64, n in 0..9_u64) {
            prop_assert_eq!(CountRange::of(&(from..to)).includes(n), (from..to).contains(&n));
            prop_assert_eq!(CountRange::of(&(from..to)).is_empty(), (from..to).is_empty());
            prop_assert_eq!(CountRange::of(&(from..=to)).includes(n), (from..=to).contains(&n));
        }
    }
}
