//! Expectations of a column or a table as a whole.

use std::fmt;
use std::ops::RangeBounds;
use std::time::Duration;

use datafusion::logical_expr::Literal;
use reco_core::Timestamp;

use super::check::Check;
use super::expectation::Expectation;
use super::range::CountRange;
use super::row_checks::{of_range, of_values, texts};

/// The least value of the column is in a range. Without values, it fails, as all on a column do.
///
/// # Examples
///
/// ```
/// assert_eq!(reco_transform::column_min("price", 0.0..).name(), "column_min(price, 0..)");
/// ```
#[must_use]
pub fn column_min<V: Literal + fmt::Display>(
    column: impl Into<String>,
    range: impl RangeBounds<V>,
) -> Expectation {
    of_range(column, &range, Check::ColumnMin)
}

/// The greatest value of the column is in a range.
#[must_use]
pub fn column_max<V: Literal + fmt::Display>(
    column: impl Into<String>,
    range: impl RangeBounds<V>,
) -> Expectation {
    of_range(column, &range, Check::ColumnMax)
}

/// The mean of the column is in a range.
#[must_use]
pub fn column_mean(column: impl Into<String>, range: impl RangeBounds<f64>) -> Expectation {
    of_range(column, &range, Check::ColumnMean)
}

/// The median of the column is in a range: of an even number of values, the mean of the two in the middle.
///
/// It is exact, and takes a pass that sorts the column.
#[must_use]
pub fn column_median(column: impl Into<String>, range: impl RangeBounds<f64>) -> Expectation {
    of_range(column, &range, Check::ColumnMedian)
}

/// The standard deviation of the column, as of a sample, is in a range.
#[must_use]
pub fn column_stdev(column: impl Into<String>, range: impl RangeBounds<f64>) -> Expectation {
    of_range(column, &range, Check::ColumnStdev)
}

/// The sum of the column is in a range, as a 64-bit floating-point number.
#[must_use]
pub fn column_sum(column: impl Into<String>, range: impl RangeBounds<f64>) -> Expectation {
    of_range(column, &range, Check::ColumnSum)
}

/// The column has so many different values. NULL is none.
#[must_use]
pub fn column_distinct_count(
    column: impl Into<String>,
    range: impl RangeBounds<u64>,
) -> Expectation {
    of_range(column, &range, Check::ColumnDistinctCount)
}

/// The share of rows in which the column is not NULL is in a range, from 0 to 1. Of no rows, it fails.
///
/// Unlike [`not_null`](super::not_null) with [`mostly`](Expectation::mostly), it can have an upper limit,
/// and its share is observed whether it is met or not.
///
/// # Examples
///
/// ```
/// let known = reco_transform::column_not_null_share("price", 0.9..=1.0);
/// assert_eq!(known.name(), "column_not_null_share(price, 0.9..=1)");
/// ```
#[must_use]
pub fn column_not_null_share(
    column: impl Into<String>,
    range: impl RangeBounds<f64>,
) -> Expectation {
    of_range(column, &range, Check::ColumnNotNullShare)
}

/// The number of different values of the column, divided by the number of values, is in a range.
#[must_use]
pub fn column_distinct_share(
    column: impl Into<String>,
    range: impl RangeBounds<f64>,
) -> Expectation {
    of_range(column, &range, Check::ColumnDistinctShare)
}

/// A quantile of the column is in a range: `percentile_disc` of SQL, which is always a value of the column.
///
/// It is exact, and takes a pass that sorts the column.
#[must_use]
pub fn column_quantile(
    column: impl Into<String>,
    quantile: f64,
    min: impl Into<Option<f64>>,
    max: impl Into<Option<f64>>,
) -> Expectation {
    Expectation::new(Check::ColumnQuantile {
        column: column.into(),
        quantile,
        min: min.into(),
        max: max.into(),
    })
}

/// The different values of the column are among these.
#[must_use]
pub fn distinct_values_in<V: Literal + fmt::Display>(
    column: impl Into<String>,
    values: impl IntoIterator<Item = V>,
) -> Expectation {
    of_values(column, values, Check::DistinctValuesIn)
}

/// The different values of the column are exactly these.
#[must_use]
pub fn distinct_values_equal<V: Literal + fmt::Display>(
    column: impl Into<String>,
    values: impl IntoIterator<Item = V>,
) -> Expectation {
    of_values(column, values, Check::DistinctValuesEqual)
}

/// All of these values occur in the column.
#[must_use]
pub fn distinct_values_contain<V: Literal + fmt::Display>(
    column: impl Into<String>,
    values: impl IntoIterator<Item = V>,
) -> Expectation {
    of_values(column, values, Check::DistinctValuesContain)
}

/// The value that occurs most often in the column is one of these, and no other occurs as often.
#[must_use]
pub fn most_common_value<V: Literal + fmt::Display>(
    column: impl Into<String>,
    values: impl IntoIterator<Item = V>,
) -> Expectation {
    of_values(column, values, |list| Check::MostCommonValue {
        column: list.column,
        values: list.values,
        ties_okay: false,
    })
}

/// The table has so many rows; with a condition, so many that meet it.
///
/// # Examples
///
/// ```
/// assert_eq!(reco_transform::row_count(1..=1000).name(), "row_count(1..=1000)");
/// ```
#[must_use]
pub fn row_count(range: impl RangeBounds<u64>) -> Expectation {
    Expectation::new(Check::RowCount(CountRange::of(&range)))
}

/// The table has as many rows as another.
#[must_use]
pub fn row_count_equals_table(table: impl Into<String>) -> Expectation {
    let table = table.into();
    Expectation::new(Check::RowCountEqualsTable { table })
}

/// The table has so many columns.
#[must_use]
pub fn column_count(range: impl RangeBounds<u64>) -> Expectation {
    Expectation::new(Check::ColumnCount(CountRange::of(&range)))
}

/// The table has the column.
#[must_use]
pub fn column_exists(column: impl Into<String>) -> Expectation {
    Expectation::new(Check::ColumnExists {
        column: column.into(),
        position: None,
    })
}

/// The column has one of these types: types of Arrow such as `Int64`, or families of them such as `text`,
/// `integer` and `timestamp`, which [`Check::ColumnType`] lists.
#[must_use]
pub fn column_type(
    column: impl Into<String>,
    types: impl IntoIterator<Item = impl Into<String>>,
) -> Expectation {
    let (column, types) = (column.into(), texts(types));
    Expectation::new(Check::ColumnType { column, types })
}

/// The table has exactly these columns, in any order.
#[must_use]
pub fn columns_match_set(columns: impl IntoIterator<Item = impl Into<String>>) -> Expectation {
    Expectation::new(Check::ColumnsMatchSet {
        columns: texts(columns),
        exact: true,
    })
}

/// The table has exactly these columns in this order.
#[must_use]
pub fn columns_match_ordered(columns: impl IntoIterator<Item = impl Into<String>>) -> Expectation {
    let columns = texts(columns);
    Expectation::new(Check::ColumnsMatchOrdered { columns })
}

/// The newest time of the column is no older than this at a given time.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use reco_core::Timestamp;
/// use reco_transform::freshness;
///
/// let now: Timestamp = "2024-05-01T08:00:00Z".parse()?;
/// let recent = freshness("occurred_at", Duration::from_secs(36 * 60 * 60), now);
/// assert_eq!(recent.name(), "freshness(occurred_at, 36h)");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn freshness(column: impl Into<String>, max_age: Duration, as_of: Timestamp) -> Expectation {
    Expectation::new(Check::Freshness {
        column: column.into(),
        max_age,
        as_of: Some(as_of),
    })
}

/// A query finds nothing: for what no single row can tell. It may name the table and any other of the
/// DAG; what it finds are the samples.
///
/// # Examples
///
/// ```
/// use reco_transform::expect_no_rows;
///
/// let sane = expect_no_rows(
///     "sessions have 2 to 10 interactions on average",
///     "select avg(n) as average
///      from (select count(*) as n from interactions group by session_id)
///      having avg(n) not between 2 and 10",
/// );
/// ```
#[must_use]
pub fn expect_no_rows(name: impl Into<String>, query: impl Into<String>) -> Expectation {
    let (name, query) = (name.into(), query.into());
    Expectation::new(Check::NoRows { name, query })
}
