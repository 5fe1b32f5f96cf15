//! Expectations that a row can fail.

use std::fmt;
use std::ops::RangeBounds;

use datafusion::logical_expr::Literal;

use super::arguments::{ColumnValues, IgnoreRowIf, MatchOn, Monotonic, ParseAs};
use super::check::Check;
use super::expectation::Expectation;
use super::range::ColumnRange;
use super::scalar::Scalar;

const NO_SCALAR: &str = "one of its values is NULL or no number, text, time or boolean";

/// No row has NULL in the column.
#[must_use]
pub fn not_null(column: impl Into<String>) -> Expectation {
    let column = column.into();
    Expectation::new(Check::NotNull { column })
}

/// Every row has NULL in the column.
#[must_use]
pub fn null(column: impl Into<String>) -> Expectation {
    let column = column.into();
    Expectation::new(Check::Null { column })
}

/// No two rows have the same value in the column, or the same combination in several.
///
/// All rows that share one are failures, the first included. Rows with a NULL in any of the columns are
/// passed over. Without columns, the DAG is refused.
///
/// # Examples
///
/// ```
/// use reco_transform::unique;
///
/// assert_eq!(unique(["id"]).name(), "unique(id)");
/// assert_eq!(unique(["tenant_id", "id"]).name(), "unique(tenant_id, id)");
/// ```
#[must_use]
pub fn unique(columns: impl IntoIterator<Item = impl Into<String>>) -> Expectation {
    Expectation::new(Check::Unique {
        columns: texts(columns),
        ignore_row_if: IgnoreRowIf::default(),
    })
}

/// Each value of the column is one of these. NULL is passed over. Without values, the DAG is refused.
#[must_use]
pub fn accepted_values<V: Literal + fmt::Display>(
    column: impl Into<String>,
    values: impl IntoIterator<Item = V>,
) -> Expectation {
    of_values(column, values, Check::AcceptedValues)
}

/// No value of the column is one of these. NULL is passed over. Without values, the DAG is refused.
#[must_use]
pub fn rejected_values<V: Literal + fmt::Display>(
    column: impl Into<String>,
    values: impl IntoIterator<Item = V>,
) -> Expectation {
    of_values(column, values, Check::RejectedValues)
}

/// Each value of the column is in a range, whose sides may be open. NULL is passed over; NaN is above
/// every number.
///
/// # Examples
///
/// ```
/// use reco_transform::between;
///
/// assert_eq!(between("price", 0.0..=999.5).name(), "between(price, 0..=999.5)");
/// assert_eq!(between("quantity", 1..).name(), "between(quantity, 1..)");
/// ```
#[must_use]
pub fn between<V: Literal + fmt::Display>(
    column: impl Into<String>,
    range: impl RangeBounds<V>,
) -> Expectation {
    of_range(column, &range, Check::Between)
}

/// Each text of the column has so many characters.
///
/// # Examples
///
/// ```
/// assert_eq!(reco_transform::value_lengths("sku", 8..=12).name(), "value_lengths(sku, 8..=12)");
/// ```
#[must_use]
pub fn value_lengths(column: impl Into<String>, range: impl RangeBounds<u64>) -> Expectation {
    of_range(column, &range, Check::ValueLengths)
}

/// A regular expression matches a part of each text of the column.
///
/// In the syntax of Rust's `regex`; `^` and `$` anchor it. One that cannot be read is refused.
#[must_use]
pub fn matches_regex(column: impl Into<String>, regex: impl Into<String>) -> Expectation {
    let (column, regex) = (column.into(), regex.into());
    Expectation::new(Check::MatchesRegex { column, regex })
}

/// A regular expression matches no part of any text of the column.
#[must_use]
pub fn not_matches_regex(column: impl Into<String>, regex: impl Into<String>) -> Expectation {
    let (column, regex) = (column.into(), regex.into());
    Expectation::new(Check::NotMatchesRegex { column, regex })
}

/// Any, or all, of several regular expressions match a part of each text of the column.
#[must_use]
pub fn matches_regex_list(
    column: impl Into<String>,
    regexes: impl IntoIterator<Item = impl Into<String>>,
    match_on: MatchOn,
) -> Expectation {
    Expectation::new(Check::MatchesRegexList {
        column: column.into(),
        regexes: texts(regexes),
        match_on,
    })
}

/// None of several regular expressions matches a part of any text of the column.
#[must_use]
pub fn not_matches_regex_list(
    column: impl Into<String>,
    regexes: impl IntoIterator<Item = impl Into<String>>,
) -> Expectation {
    let (column, regexes) = (column.into(), texts(regexes));
    Expectation::new(Check::NotMatchesRegexList { column, regexes })
}

/// Each text of the column is LIKE a pattern of SQL, where `%` stands for any characters and `_` for one.
#[must_use]
pub fn matches_like(column: impl Into<String>, pattern: impl Into<String>) -> Expectation {
    let (column, pattern) = (column.into(), pattern.into());
    Expectation::new(Check::MatchesLike { column, pattern })
}

/// No text of the column is LIKE a pattern of SQL.
#[must_use]
pub fn not_matches_like(column: impl Into<String>, pattern: impl Into<String>) -> Expectation {
    let (column, pattern) = (column.into(), pattern.into());
    Expectation::new(Check::NotMatchesLike { column, pattern })
}

/// Any, or all, of several patterns of SQL fit each text of the column.
#[must_use]
pub fn matches_like_list(
    column: impl Into<String>,
    patterns: impl IntoIterator<Item = impl Into<String>>,
    match_on: MatchOn,
) -> Expectation {
    Expectation::new(Check::MatchesLikeList {
        column: column.into(),
        patterns: texts(patterns),
        match_on,
    })
}

/// None of several patterns of SQL fits any text of the column.
#[must_use]
pub fn not_matches_like_list(
    column: impl Into<String>,
    patterns: impl IntoIterator<Item = impl Into<String>>,
) -> Expectation {
    let (column, patterns) = (column.into(), texts(patterns));
    Expectation::new(Check::NotMatchesLikeList { column, patterns })
}

/// Each text of the column can be read as a value of a type.
#[must_use]
pub fn parseable(column: impl Into<String>, r#as: ParseAs) -> Expectation {
    let column = column.into();
    Expectation::new(Check::Parseable { column, r#as })
}

/// Each text of the column is a time in a format of `strftime`, such as `%Y-%m-%d`.
#[must_use]
pub fn matches_strftime(column: impl Into<String>, format: impl Into<String>) -> Expectation {
    let (column, format) = (column.into(), format.into());
    Expectation::new(Check::MatchesStrftime { column, format })
}

/// Values of a column do not fall from row to row, in the order of other columns.
///
/// A table has no order of its own, so it has to be said. NULL is passed over. To compare rows within
/// groups, or to refuse equal values, use [`Check::Increasing`].
#[must_use]
pub fn increasing(
    column: impl Into<String>,
    order_by: impl IntoIterator<Item = impl Into<String>>,
) -> Expectation {
    Expectation::new(Check::Increasing(monotonic(column, order_by)))
}

/// Values of a column do not rise from row to row, in the order of other columns; see [`increasing`].
#[must_use]
pub fn decreasing(
    column: impl Into<String>,
    order_by: impl IntoIterator<Item = impl Into<String>>,
) -> Expectation {
    Expectation::new(Check::Decreasing(monotonic(column, order_by)))
}

/// Each value of the column is a value of a column of another table. NULL is passed over.
#[must_use]
pub fn relationships(
    column: impl Into<String>,
    to_table: impl Into<String>,
    to_column: impl Into<String>,
) -> Expectation {
    Expectation::new(Check::Relationships {
        column: column.into(),
        to_table: to_table.into(),
        to_column: to_column.into(),
    })
}

/// Two columns have the same value in each row. Rows with NULL in either are passed over.
#[must_use]
pub fn pair_equal(column_a: impl Into<String>, column_b: impl Into<String>) -> Expectation {
    Expectation::new(Check::PairEqual {
        column_a: column_a.into(),
        column_b: column_b.into(),
        ignore_row_if: IgnoreRowIf::default(),
    })
}

/// The first column is greater than the second in each row, or equal if that is allowed. Rows with NULL
/// in either are passed over.
#[must_use]
pub fn pair_greater(
    column_a: impl Into<String>,
    column_b: impl Into<String>,
    or_equal: bool,
) -> Expectation {
    Expectation::new(Check::PairGreater {
        column_a: column_a.into(),
        column_b: column_b.into(),
        or_equal,
        ignore_row_if: IgnoreRowIf::default(),
    })
}

/// The values of two columns are one of these pairs in each row. Rows with NULL in either are passed
/// over.
#[must_use]
pub fn pair_in_set<A: Literal, B: Literal>(
    column_a: impl Into<String>,
    column_b: impl Into<String>,
    pairs: impl IntoIterator<Item = (A, B)>,
) -> Expectation {
    let pairs = pairs.into_iter();
    let pairs: Vec<_> = pairs
        .map(|(a, b)| (Scalar::of(&a), Scalar::of(&b)))
        .collect();
    let is_scalar = pairs.iter().all(|(a, b)| a.is_some() && b.is_some());
    let check = Check::PairInSet {
        column_a: column_a.into(),
        column_b: column_b.into(),
        pairs,
        ignore_row_if: IgnoreRowIf::default(),
    };
    Expectation::new(check).with_defect((!is_scalar).then_some(NO_SCALAR))
}

/// Columns add up to a total in each row, exactly. Rows with NULL in any of them are passed over.
#[must_use]
pub fn multicolumn_sum(
    columns: impl IntoIterator<Item = impl Into<String>>,
    total: f64,
) -> Expectation {
    Expectation::new(Check::MulticolumnSum {
        columns: texts(columns),
        total,
        ignore_row_if: IgnoreRowIf::default(),
    })
}

/// No two of the columns have the same value within a row. Rows with NULL in any of them are passed over.
#[must_use]
pub fn unique_within_record(columns: impl IntoIterator<Item = impl Into<String>>) -> Expectation {
    Expectation::new(Check::UniqueWithinRecord {
        columns: texts(columns),
        ignore_row_if: IgnoreRowIf::default(),
    })
}

/// All of the columns have the same value within a row. Rows with NULL in any of them are passed over.
#[must_use]
pub fn equal_within_record(columns: impl IntoIterator<Item = impl Into<String>>) -> Expectation {
    Expectation::new(Check::EqualWithinRecord {
        columns: texts(columns),
        ignore_row_if: IgnoreRowIf::default(),
    })
}

/// No row makes a condition in SQL false; where it is NULL, the row passes.
///
/// # Examples
///
/// ```
/// use reco_transform::expect_sql;
///
/// let paid = expect_sql("purchases have a price", "kind <> 'purchase' or price is not null");
/// assert_eq!(paid.name(), "purchases have a price");
/// ```
#[must_use]
pub fn expect_sql(name: impl Into<String>, predicate: impl Into<String>) -> Expectation {
    let (name, predicate) = (name.into(), predicate.into());
    Expectation::new(Check::Sql { name, predicate })
}

pub(super) fn texts(texts: impl IntoIterator<Item = impl Into<String>>) -> Vec<String> {
    texts.into_iter().map(Into::into).collect()
}

pub(super) fn of_range<V: Literal>(
    column: impl Into<String>,
    range: &impl RangeBounds<V>,
    check: impl Fn(ColumnRange) -> Check,
) -> Expectation {
    use std::ops::Bound;

    let sides = [range.start_bound(), range.end_bound()];
    let is_scalar = sides.iter().all(|side| match side {
        Bound::Included(value) | Bound::Excluded(value) => Scalar::of(*value).is_some(),
        Bound::Unbounded => true,
    });
    let expectation = Expectation::new(check(ColumnRange::of(column, range)));
    expectation.with_defect((!is_scalar).then_some(NO_SCALAR))
}

pub(super) fn of_values<V: Literal>(
    column: impl Into<String>,
    values: impl IntoIterator<Item = V>,
    check: impl Fn(ColumnValues) -> Check,
) -> Expectation {
    let values: Vec<Option<Scalar>> = values.into_iter().map(|value| Scalar::of(&value)).collect();
    let is_scalar = values.iter().all(Option::is_some);
    let list = ColumnValues {
        column: column.into(),
        values: values.into_iter().flatten().collect(),
    };
    Expectation::new(check(list)).with_defect((!is_scalar).then_some(NO_SCALAR))
}

fn monotonic(
    column: impl Into<String>,
    order_by: impl IntoIterator<Item = impl Into<String>>,
) -> Monotonic {
    Monotonic {
        column: column.into(),
        order_by: texts(order_by),
        partition_by: Vec::new(),
        strictly: false,
    }
}
