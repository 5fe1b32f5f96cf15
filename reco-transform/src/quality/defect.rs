//! What is wrong with an expectation before any table is looked at.

use datafusion::arrow::array::StringArray;
use datafusion::arrow::compute::kernels::regexp::regexp_is_match_scalar;

use super::check::Check;
use super::config::ExpectationConfig;
use super::range::ColumnRange;

/// Why the expectation could not fail, or not as meant.
pub(super) fn of(config: &ExpectationConfig) -> Option<&'static str> {
    let check = &config.check;
    if !(0.0..=1.0).contains(&config.mostly) {
        return Some("`mostly` is not from 0 to 1");
    }
    if config.has_mostly() && !is_of_rows(check) {
        return Some("`mostly` is for what single rows can fail");
    }
    if config.when.is_some() && !has_conditions(check) {
        return Some("`when` is for what looks at rows of the table");
    }
    of_check(check)
}

fn of_check(check: &Check) -> Option<&'static str> {
    match check {
        Check::Unique { columns, .. } | Check::MulticolumnSum { columns, .. } => {
            columns.is_empty().then_some("it names no column")
        }
        Check::UniqueWithinRecord { columns, .. } | Check::EqualWithinRecord { columns, .. } => {
            (columns.len() < 2).then_some("it names fewer than two columns")
        }
        Check::AcceptedValues(list)
        | Check::RejectedValues(list)
        | Check::DistinctValuesIn(list)
        | Check::DistinctValuesEqual(list)
        | Check::DistinctValuesContain(list) => {
            list.values.is_empty().then_some("it accepts no value")
        }
        Check::MostCommonValue { values, .. } => values.is_empty().then_some("it accepts no value"),
        Check::PairInSet { pairs, .. } => pairs.is_empty().then_some("it accepts no pair"),
        Check::Between(range) | Check::ColumnMin(range) | Check::ColumnMax(range) => {
            of_range(range)
        }
        Check::ValueLengths(range)
        | Check::ColumnMean(range)
        | Check::ColumnMedian(range)
        | Check::ColumnStdev(range)
        | Check::ColumnSum(range)
        | Check::ColumnNotNullShare(range)
        | Check::ColumnDistinctCount(range)
        | Check::ColumnDistinctShare(range) => of_numbers(range),
        Check::ColumnQuantile {
            quantile, min, max, ..
        } => {
            let is_empty = matches!((min, max), (Some(min), Some(max)) if min > max);
            of_quantile(*quantile).or_else(|| is_empty.then_some("no value is in its range"))
        }
        Check::RowCount(range) | Check::ColumnCount(range) => {
            range.is_empty().then_some("no number is in its range")
        }
        Check::MatchesRegex { regex, .. } | Check::NotMatchesRegex { regex, .. } => of_regex(regex),
        Check::MatchesRegexList { regexes, .. } | Check::NotMatchesRegexList { regexes, .. } => {
            let empty = regexes.is_empty().then_some("it names no expression");
            empty.or_else(|| regexes.iter().find_map(|regex| of_regex(regex)))
        }
        Check::MatchesLikeList { patterns, .. } | Check::NotMatchesLikeList { patterns, .. } => {
            patterns.is_empty().then_some("it names no pattern")
        }
        Check::Increasing(monotonic) | Check::Decreasing(monotonic) => {
            let unordered = monotonic.order_by.is_empty();
            unordered.then_some("it does not say by which columns rows are in order")
        }
        Check::ColumnType { types, .. } => types.is_empty().then_some("it names no type"),
        Check::RowCountNearEarlier {
            n_runs, max_change, ..
        } => of_earlier(*n_runs, *max_change),
        Check::NullShareNearEarlier(near) | Check::MeanNearEarlier(near) => {
            of_earlier(near.n_runs, near.max_change)
        }
        Check::QuantileNearEarlier {
            quantile,
            n_runs,
            max_change,
            ..
        } => of_quantile(*quantile).or_else(|| of_earlier(*n_runs, *max_change)),
        Check::Freshness { as_of: None, .. } => Some("it does not say at which time (`as_of`)"),
        _ => None,
    }
}

fn of_range(range: &ColumnRange) -> Option<&'static str> {
    range.is_empty().then_some("no value is in its range")
}

fn of_numbers(range: &ColumnRange) -> Option<&'static str> {
    let mut limits = range.min.iter().chain(&range.max);
    if limits.any(|limit| limit.number().is_none()) {
        return Some("its limits are not numbers");
    }
    of_range(range)
}

fn of_quantile(quantile: f64) -> Option<&'static str> {
    (!(0.0..=1.0).contains(&quantile)).then_some("the quantile is not from 0 to 1")
}

fn of_earlier(n_runs: u32, max_change: f64) -> Option<&'static str> {
    if n_runs == 0 {
        return Some("it looks at no run");
    }
    let sane = max_change.is_finite() && max_change >= 0.0;
    (!sane).then_some("the change is not a number from 0")
}

fn of_regex(regex: &str) -> Option<&'static str> {
    let read = regexp_is_match_scalar(&StringArray::from(vec![""]), regex, None);
    read.is_err()
        .then_some("its regular expression cannot be read")
}

/// Whether rows fail it, and others may pass.
pub(super) fn is_of_rows(check: &Check) -> bool {
    !matches!(
        check,
        Check::ColumnMin(_)
            | Check::ColumnMax(_)
            | Check::ColumnMean(_)
            | Check::ColumnMedian(_)
            | Check::ColumnStdev(_)
            | Check::ColumnSum(_)
            | Check::ColumnNotNullShare(_)
            | Check::ColumnDistinctCount(_)
            | Check::ColumnDistinctShare(_)
            | Check::ColumnQuantile { .. }
            | Check::DistinctValuesIn(_)
            | Check::DistinctValuesEqual(_)
            | Check::DistinctValuesContain(_)
            | Check::MostCommonValue { .. }
            | Check::RowCount(_)
            | Check::RowCountEqualsTable { .. }
            | Check::RowCountNearEarlier { .. }
            | Check::NullShareNearEarlier(_)
            | Check::MeanNearEarlier(_)
            | Check::QuantileNearEarlier { .. }
            | Check::Freshness { .. }
            | Check::NoRows { .. }
            | Check::Custom { .. }
    ) && !is_of_columns(check)
}

/// Whether the names and types of columns decide.
pub(super) fn is_of_columns(check: &Check) -> bool {
    matches!(
        check,
        Check::ColumnCount(_)
            | Check::ColumnExists { .. }
            | Check::ColumnType { .. }
            | Check::ColumnsMatchSet { .. }
            | Check::ColumnsMatchOrdered { .. }
    )
}

fn has_conditions(check: &Check) -> bool {
    let of_other_tables = matches!(
        check,
        Check::NoRows { .. }
            | Check::RowCountEqualsTable { .. }
            | Check::RowCountNearEarlier { .. }
    );
    !of_other_tables && !is_of_columns(check)
}
