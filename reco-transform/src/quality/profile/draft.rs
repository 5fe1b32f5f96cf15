//! The expectations that a profile suggests. The rules are on the page of the module.

use datafusion::arrow::datatypes::DataType;
use reco_core::Severity;

use super::super::arguments::{ColumnValues, IgnoreRowIf, Monotonic};
use super::super::check::Check;
use super::super::columns::family_of;
use super::super::config::ExpectationConfig;
use super::super::range::{ColumnRange, CountRange};
use super::super::scalar::Scalar;
use super::{ColumnProfile, Profile};

/// The fewest rows, or values, that anything is concluded of.
const MIN_ROWS: u64 = 100;

/// How often each value occurs on average at least, if they are to be all there are.
const MIN_OCCURRENCES: u64 = 10;

pub(super) fn expectations(profile: &Profile) -> Vec<ExpectationConfig> {
    let names = profile.columns.iter().map(|column| column.name.clone());
    let columns = names.collect();
    let mut drafted = vec![must(Check::ColumnsMatchOrdered { columns })];
    if profile.n_rows >= MIN_ROWS {
        drafted.push(may(Check::RowCount(CountRange {
            min: Some(profile.n_rows / 2),
            max: Some(profile.n_rows.saturating_mul(2)),
        })));
    }
    for column in &profile.columns {
        drafted.push(of_type(column));
        if profile.n_rows >= MIN_ROWS {
            drafted.extend(of_nulls(column, profile.n_rows));
            drafted.extend(of_values(column, profile));
        }
    }
    drafted
}

fn must(check: Check) -> ExpectationConfig {
    ExpectationConfig::new(check)
}

fn may(check: Check) -> ExpectationConfig {
    ExpectationConfig {
        severity: Severity::Warn,
        ..ExpectationConfig::new(check)
    }
}

fn of_type(column: &ColumnProfile) -> ExpectationConfig {
    must(Check::ColumnType {
        column: column.name.clone(),
        types: vec![family_or_type(&column.data_type)],
    })
}

/// The family of a type, by its name; the type itself where it has none.
fn family_or_type(name: &str) -> String {
    let read = name.parse::<DataType>().ok();
    let family = read.as_ref().and_then(family_of).or_else(|| {
        // Not all names can be read back.
        let families = [
            ("Timestamp", "timestamp"),
            ("List", "list"),
            ("LargeList", "list"),
        ];
        let mut families = families.into_iter();
        families.find_map(|(begin, family)| name.starts_with(begin).then_some(family))
    });
    family.unwrap_or(name).to_owned()
}

fn of_nulls(column: &ColumnProfile, n_rows: u64) -> Option<ExpectationConfig> {
    let check = Check::NotNull {
        column: column.name.clone(),
    };
    if column.n_nulls == 0 {
        return Some(must(check));
    }
    let known = (n_rows - column.n_nulls) as f64 / n_rows as f64;
    (known >= 0.5).then(|| ExpectationConfig {
        mostly: (known * 100.0 - 5.0).floor() / 100.0,
        ..may(check)
    })
}

fn of_values(column: &ColumnProfile, profile: &Profile) -> Vec<ExpectationConfig> {
    let n_known = profile.n_rows - column.n_nulls;
    if n_known < MIN_ROWS {
        return Vec::new();
    }
    let name = || column.name.clone();
    if is_key(column, n_known) {
        let unique = must(Check::Unique {
            columns: vec![name()],
            ignore_row_if: IgnoreRowIf::default(),
        });
        return std::iter::once(unique).chain(of_lengths(column)).collect();
    }
    if !column.values.is_empty() {
        let n_values = column.values.len() as u64;
        if n_known >= n_values * MIN_OCCURRENCES {
            let mut values: Vec<Scalar> = column
                .values
                .iter()
                .map(|value| value.value.clone())
                .collect();
            values.sort_by_key(ToString::to_string);
            return vec![may(Check::AcceptedValues(ColumnValues {
                column: name(),
                values,
            }))];
        }
    }
    let mut drafted = Vec::new();
    drafted.extend(of_lengths(column));
    drafted.extend(of_range(column));
    drafted.extend(of_median(column));
    if column.is_increasing == Some(true) && column.n_distinct > Some(1) {
        drafted.push(may(Check::Increasing(Monotonic {
            column: name(),
            order_by: profile.order_by.clone(),
            partition_by: Vec::new(),
            strictly: false,
        })));
    }
    drafted
}

fn is_key(column: &ColumnProfile, n_known: u64) -> bool {
    let data_type = column.data_type.parse::<DataType>();
    let may_be = data_type
        .is_ok_and(|data_type| data_type.is_integer() || family_of(&data_type) == Some("text"));
    may_be && column.is_exact && column.n_distinct == Some(n_known)
}

fn of_lengths(column: &ColumnProfile) -> Option<ExpectationConfig> {
    let (min, max) = (column.min_length?, column.max_length?);
    let (min, max) = match (min, max) {
        (_, 0) => return None,
        (min, max) if min == max => (Some(min), max),
        (0, max) => (None, max.saturating_mul(2)),
        (_, max) => (Some(1), max.saturating_mul(2)),
    };
    let count = |count: u64| i64::try_from(count).map_or(Scalar::Unsigned(count), Scalar::Integer);
    Some(may(Check::ValueLengths(ColumnRange {
        column: column.name.clone(),
        min: min.map(count),
        max: Some(count(max)),
        ..ColumnRange::default()
    })))
}

fn of_range(column: &ColumnProfile) -> Option<ExpectationConfig> {
    let (least, most) = (column.min.as_ref()?, column.max.as_ref()?);
    let (min, max) = (least.number()?, most.number()?);
    let width = max - min;
    if width <= 0.0 || !width.is_finite() {
        return None;
    }
    let from = match min >= 0.0 {
        true => 0.0,
        false => round_down(min - width / 2.0),
    };
    let to = match max <= 0.0 {
        true => 0.0,
        false => -round_down(-(max + width / 2.0)),
    };
    let is_integer = !matches!(least, Scalar::Float(_));
    let limit = |limit: f64| match is_integer {
        true => integer(limit),
        false => limit.is_finite().then_some(Scalar::Float(limit)),
    };
    let range = ColumnRange {
        column: column.name.clone(),
        min: limit(from),
        max: limit(to),
        ..ColumnRange::default()
    };
    (range.min.is_some() || range.max.is_some()).then(|| may(Check::Between(range)))
}

/// The greatest number of one digit, of any magnitude, that is not above.
fn round_down(number: f64) -> f64 {
    let text = format!("{number:e}");
    let Some((mantissa, exponent)) = text.split_once('e') else {
        return number;
    };
    let digit = mantissa.parse::<f64>().map_or(0.0, f64::floor);
    // Written out and read, so that 0.3 is 0.3 and not three tenths.
    format!("{digit}e{exponent}").parse().unwrap_or(number)
}

/// A limit of integers, where numbers are exact.
#[expect(clippy::cast_possible_truncation, reason = "the limit is below 2^53")]
fn integer(limit: f64) -> Option<Scalar> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let limit = limit.floor();
    (limit.abs() <= EXACT).then_some(Scalar::Integer(limit as i64))
}

fn of_median(column: &ColumnProfile) -> Option<ExpectationConfig> {
    let at = |quantile: f64| {
        let found = column
            .quantiles
            .iter()
            .find(|one| one.quantile.total_cmp(&quantile).is_eq());
        found.map(|found| found.value)
    };
    let (from, to) = (at(0.25)?, at(0.75)?);
    (from < to).then(|| {
        may(Check::ColumnMedian(ColumnRange {
            column: column.name.clone(),
            min: Some(Scalar::Float(from)),
            max: Some(Scalar::Float(to)),
            ..ColumnRange::default()
        }))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_have_one_digit() {
        let check = |number: f64, expected: f64| {
            assert_eq!(round_down(number).to_bits(), expected.to_bits());
        };
        check(1234.0, 1000.0);
        check(-1234.0, -2000.0);
        check(-1000.0, -1000.0);
        check(-9.5, -10.0);
        check(0.37, 0.3);
        check(-0.00021, -0.0003);
        check(0.0, 0.0);
    }
}
