//! Expectations of a table beside what earlier runs found.
//!
//! The results of earlier runs are read from another table of the DAG, which has the columns that
//! [`checks_batch`](super::checks_batch) makes: as a rule a source, to which the host adds the results of
//! every run. Runs whose table was not published do not count, so that a bad one does not become the
//! measure of the next. While there is none, the expectation is met, and what it observes is kept for the
//! next run.

use super::arguments::ColumnNearEarlier;
use super::check::Check;
use super::expectation::Expectation;

/// The number of rows is near the mean of earlier runs: no further off than a share of it.
///
/// The results of earlier runs are read from another table of the DAG, which has the columns that
/// [`checks_batch`](super::checks_batch) makes: as a rule a source, to which the host adds the results of
/// every run. While it holds none of this table, the expectation is met.
///
/// # Examples
///
/// ```
/// use reco_transform::row_count_near_earlier;
///
/// // At most a fifth more or fewer rows than in the last seven runs.
/// let steady = row_count_near_earlier("checks", 7, 0.2);
/// assert_eq!(steady.name(), "row_count_near_earlier(checks, 7, 0.2)");
/// ```
#[must_use]
pub fn row_count_near_earlier(
    history: impl Into<String>,
    n_runs: u32,
    max_change: f64,
) -> Expectation {
    Expectation::new(Check::RowCountNearEarlier {
        history: history.into(),
        n_runs,
        max_change,
    })
}

/// The share of NULLs in the column is near the mean of earlier runs: no further off than a difference of
/// shares.
///
/// It is compared with what this expectation observed of the same column, under the same
/// [`when`](Expectation::when), in earlier runs; see [`row_count_near_earlier`] for where these are.
///
/// # Examples
///
/// ```
/// use reco_transform::null_share_near_earlier;
///
/// // Where a tenth was NULL in the last run, up to 15 % may be now, and no fewer than 5 %.
/// let steady = null_share_near_earlier("price", "checks", 1, 0.05);
/// assert_eq!(steady.name(), "null_share_near_earlier(price, checks, 1, 0.05)");
/// ```
#[must_use]
pub fn null_share_near_earlier(
    column: impl Into<String>,
    history: impl Into<String>,
    n_runs: u32,
    max_change: f64,
) -> Expectation {
    Expectation::new(Check::NullShareNearEarlier(ColumnNearEarlier {
        column: column.into(),
        history: history.into(),
        n_runs,
        max_change,
    }))
}

/// The mean of the column is near the mean of what it was in earlier runs: no further off than a share of
/// that.
///
/// See [`null_share_near_earlier`] for what it is compared with.
#[must_use]
pub fn mean_near_earlier(
    column: impl Into<String>,
    history: impl Into<String>,
    n_runs: u32,
    max_change: f64,
) -> Expectation {
    Expectation::new(Check::MeanNearEarlier(ColumnNearEarlier {
        column: column.into(),
        history: history.into(),
        n_runs,
        max_change,
    }))
}

/// A quantile of the column is near the mean of what it was in earlier runs: no further off than a share of
/// that.
///
/// See [`null_share_near_earlier`] for what it is compared with, and
/// [`column_quantile`](super::column_quantile) for which value it is.
///
/// # Examples
///
/// ```
/// use reco_transform::quantile_near_earlier;
///
/// let steady = quantile_near_earlier("price", 0.9, "checks", 7, 0.25);
/// assert_eq!(steady.name(), "quantile_near_earlier(price, 0.9, checks, 7, 0.25)");
/// ```
#[must_use]
pub fn quantile_near_earlier(
    column: impl Into<String>,
    quantile: f64,
    history: impl Into<String>,
    n_runs: u32,
    max_change: f64,
) -> Expectation {
    Expectation::new(Check::QuantileNearEarlier {
        column: column.into(),
        quantile,
        history: history.into(),
        n_runs,
        max_change,
    })
}
