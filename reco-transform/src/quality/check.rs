//! [`Check`]: what can be expected of a table, as data.

use std::time::Duration;

use reco_core::Timestamp;
use serde::{Deserialize, Serialize};

use super::arguments::{ColumnNearEarlier, ColumnValues, IgnoreRowIf, MatchOn, Monotonic, ParseAs};
use super::range::{ColumnRange, CountRange};
use super::scalar::Scalar;

/// What can be expected of a table.
///
/// Every kind is also a function that makes an [`Expectation`](super::Expectation) of the same name:
/// the function [`between`](super::between) makes a [`Check::Between`], which in a suite is
/// `{"type": "between", "column": "price", "min": 0}`. The words are those of Great Expectations, in
/// short: without `expect_column_values_to_be`; where dbt has one for it, it is dbt's.
///
/// Unless said otherwise, rows that have NULL in a column of the check are passed over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Check {
    /// The column is never NULL.
    NotNull {
        /// The column.
        column: String,
    },
    /// The column is always NULL.
    Null {
        /// The column.
        column: String,
    },
    /// No two rows have the same values in the columns.
    Unique {
        /// The columns that are unique together.
        columns: Vec<String>,
        /// Which rows are passed over for their NULLs.
        #[serde(default, skip_serializing_if = "IgnoreRowIf::is_default")]
        ignore_row_if: IgnoreRowIf,
    },
    /// Each value is one of these.
    AcceptedValues(ColumnValues),
    /// No value is one of these.
    RejectedValues(ColumnValues),
    /// Each value is in a range.
    Between(ColumnRange),
    /// Each text has so many characters.
    ValueLengths(ColumnRange),
    /// A regular expression matches a part of each text.
    MatchesRegex {
        /// The column.
        column: String,
        /// The expression, in the syntax of Rust's `regex`; `^` and `$` anchor it.
        regex: String,
    },
    /// A regular expression matches no part of any text.
    NotMatchesRegex {
        /// The column.
        column: String,
        /// The expression.
        regex: String,
    },
    /// Any, or all, of several regular expressions match a part of each text.
    MatchesRegexList {
        /// The column.
        column: String,
        /// The expressions.
        regexes: Vec<String>,
        /// How many have to match.
        #[serde(default)]
        match_on: MatchOn,
    },
    /// None of several regular expressions matches a part of any text.
    NotMatchesRegexList {
        /// The column.
        column: String,
        /// The expressions.
        regexes: Vec<String>,
    },
    /// Each text is LIKE a pattern of SQL, where `%` stands for any characters and `_` for one.
    MatchesLike {
        /// The column.
        column: String,
        /// The pattern.
        pattern: String,
    },
    /// No text is LIKE a pattern of SQL.
    NotMatchesLike {
        /// The column.
        column: String,
        /// The pattern.
        pattern: String,
    },
    /// Any, or all, of several patterns of SQL fit each text.
    MatchesLikeList {
        /// The column.
        column: String,
        /// The patterns.
        patterns: Vec<String>,
        /// How many have to fit.
        #[serde(default)]
        match_on: MatchOn,
    },
    /// None of several patterns of SQL fits any text.
    NotMatchesLikeList {
        /// The column.
        column: String,
        /// The patterns.
        patterns: Vec<String>,
    },
    /// Each text can be read as a value of a type.
    Parseable {
        /// The column.
        column: String,
        /// What it can be read as.
        r#as: ParseAs,
    },
    /// Each text is a time in a format of `strftime`.
    MatchesStrftime {
        /// The column.
        column: String,
        /// The format, such as `%Y-%m-%d`.
        format: String,
    },
    /// Values do not fall from row to row.
    Increasing(Monotonic),
    /// Values do not rise from row to row.
    Decreasing(Monotonic),
    /// Each value is a value of a column of another table.
    Relationships {
        /// The column.
        column: String,
        /// The other table.
        to_table: String,
        /// The column of the other table.
        to_column: String,
    },
    /// Two columns have the same value in each row.
    PairEqual {
        /// The one column.
        column_a: String,
        /// The other.
        column_b: String,
        /// Which rows are passed over for their NULLs.
        #[serde(default, skip_serializing_if = "IgnoreRowIf::is_default")]
        ignore_row_if: IgnoreRowIf,
    },
    /// One column is greater than another in each row.
    PairGreater {
        /// The greater column.
        column_a: String,
        /// The smaller.
        column_b: String,
        /// Whether they may be equal.
        #[serde(default)]
        or_equal: bool,
        /// Which rows are passed over for their NULLs.
        #[serde(default, skip_serializing_if = "IgnoreRowIf::is_default")]
        ignore_row_if: IgnoreRowIf,
    },
    /// The values of two columns are one of these pairs in each row.
    PairInSet {
        /// The one column.
        column_a: String,
        /// The other.
        column_b: String,
        /// The pairs; none stands for NULL.
        pairs: Vec<(Option<Scalar>, Option<Scalar>)>,
        /// Which rows are passed over for their NULLs.
        #[serde(default, skip_serializing_if = "IgnoreRowIf::is_default")]
        ignore_row_if: IgnoreRowIf,
    },
    /// The columns add up to a total in each row, as 64-bit floating-point numbers.
    MulticolumnSum {
        /// The columns.
        columns: Vec<String>,
        /// The total.
        total: f64,
        /// Which rows are passed over for their NULLs.
        #[serde(default, skip_serializing_if = "IgnoreRowIf::is_default")]
        ignore_row_if: IgnoreRowIf,
    },
    /// No two of the columns have the same value within a row.
    UniqueWithinRecord {
        /// The columns.
        columns: Vec<String>,
        /// Which rows are passed over for their NULLs.
        #[serde(default, skip_serializing_if = "IgnoreRowIf::is_default")]
        ignore_row_if: IgnoreRowIf,
    },
    /// All of the columns have the same value within a row.
    EqualWithinRecord {
        /// The columns.
        columns: Vec<String>,
        /// Which rows are passed over for their NULLs.
        #[serde(default, skip_serializing_if = "IgnoreRowIf::is_default")]
        ignore_row_if: IgnoreRowIf,
    },
    /// A condition in SQL is false for no row; where it is NULL, the row passes.
    Sql {
        /// What it is called in reports.
        name: String,
        /// The condition.
        predicate: String,
    },
    /// The least value is in a range.
    ColumnMin(ColumnRange),
    /// The greatest value is in a range.
    ColumnMax(ColumnRange),
    /// The mean is in a range.
    ColumnMean(ColumnRange),
    /// The median is in a range: of an even number of values, the mean of the two in the middle.
    ColumnMedian(ColumnRange),
    /// The standard deviation of the sample is in a range.
    ColumnStdev(ColumnRange),
    /// The sum is in a range, as a 64-bit floating-point number.
    ColumnSum(ColumnRange),
    /// The share of rows in which the column is not NULL is in a range.
    ColumnNotNullShare(ColumnRange),
    /// The number of different values is in a range.
    ColumnDistinctCount(ColumnRange),
    /// The number of different values, divided by the number of values, is in a range.
    ColumnDistinctShare(ColumnRange),
    /// A quantile is in a range: `percentile_disc` of SQL, which is always a value of the column.
    ColumnQuantile {
        /// The column.
        column: String,
        /// Which quantile, from 0 to 1.
        quantile: f64,
        /// The least that it may be.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        min: Option<f64>,
        /// The most that it may be.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max: Option<f64>,
    },
    /// The different values are among these.
    DistinctValuesIn(ColumnValues),
    /// The different values are exactly these.
    DistinctValuesEqual(ColumnValues),
    /// All of these values occur.
    DistinctValuesContain(ColumnValues),
    /// The value that occurs most often is one of these.
    MostCommonValue {
        /// The column.
        column: String,
        /// The values.
        values: Vec<Scalar>,
        /// Whether others may occur just as often.
        #[serde(default)]
        ties_okay: bool,
    },
    /// The table has so many rows.
    RowCount(CountRange),
    /// The table has as many rows as another.
    RowCountEqualsTable {
        /// The other table.
        table: String,
    },
    /// The number of rows is near the mean of earlier runs; passes if there is none.
    RowCountNearEarlier {
        /// The table that holds the results of earlier runs, as [`checks_batch`](super::checks_batch)
        /// makes it.
        history: String,
        /// How many runs back, the newest first.
        n_runs: u32,
        /// How far it may be from their mean, as a share of it: 0.2 for a fifth.
        max_change: f64,
    },
    /// The share of NULLs is near the mean of earlier runs; passes if there is none.
    ///
    /// `max_change` is a difference of shares: with 0.05, after a mean of 0.10, up to 0.15 passes.
    NullShareNearEarlier(ColumnNearEarlier),
    /// The mean is near the mean of earlier runs; passes if there is none.
    ///
    /// `max_change` is a share of what it was.
    MeanNearEarlier(ColumnNearEarlier),
    /// A quantile is near the mean of earlier runs; passes if there is none.
    ///
    /// Of the same values as [`ColumnQuantile`](Self::ColumnQuantile).
    QuantileNearEarlier {
        /// The column.
        column: String,
        /// Which quantile, from 0 to 1.
        quantile: f64,
        /// The table that holds the results of earlier runs.
        history: String,
        /// How many runs back, the newest first.
        n_runs: u32,
        /// How far it may be from their mean, as a share of it.
        max_change: f64,
    },
    /// The table has so many columns.
    ColumnCount(CountRange),
    /// The table has the column.
    ColumnExists {
        /// The column.
        column: String,
        /// At which position, from 0; anywhere if not said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        position: Option<usize>,
    },
    /// The column has one of these types.
    ColumnType {
        /// The column.
        column: String,
        /// Types of Arrow such as `Int64`, or families of them: `text`, `integer`, `float`, `decimal`,
        /// `number`, `boolean`, `date`, `timestamp`, `binary`, `list`.
        types: Vec<String>,
    },
    /// The table has these columns, in any order.
    ColumnsMatchSet {
        /// The columns.
        columns: Vec<String>,
        /// Whether it has no others.
        #[serde(default = "yes")]
        exact: bool,
    },
    /// The table has exactly these columns in this order.
    ColumnsMatchOrdered {
        /// The columns.
        columns: Vec<String>,
    },
    /// The newest time is no older than this.
    Freshness {
        /// The column of times.
        column: String,
        /// The greatest age, in a suite such as `36h` or `90m`.
        #[serde(with = "super::scalar::duration")]
        max_age: Duration,
        /// The time at which the age is taken. A suite may leave it out; then
        /// [`Expectation::as_of`](super::Expectation::as_of) has to say it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        as_of: Option<Timestamp>,
    },
    /// A query finds nothing.
    NoRows {
        /// What it is called in reports.
        name: String,
        /// The query.
        query: String,
    },
    /// What code of the host expects, a [`CustomExpectation`](super::CustomExpectation).
    ///
    /// Data can name it;
    /// [`Expectation::implemented_by`](super::Expectation::implemented_by) says what it is.
    Custom {
        /// What it is called in reports.
        name: String,
    },
}

const fn yes() -> bool {
    true
}
