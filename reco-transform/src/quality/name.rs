//! Expectations as they are written in reports.

use std::fmt;

use super::arguments::{ColumnNearEarlier, ColumnValues, MatchOn, Monotonic};
use super::check::Check;
use super::config::ExpectationConfig;
use super::range::ColumnRange;
use super::scalar::{Scalar, duration};

impl fmt::Display for ExpectationConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.check.fmt(f)?;
        if self.has_mostly() {
            write!(f, " mostly {}", self.mostly)?;
        }
        if let Some(when) = &self.when {
            write!(f, " when {when}")?;
        }
        Ok(())
    }
}

/// The name that the kind has in a suite, with the arguments; the name that it was given, if it has one.
impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, arguments) = match self {
            Self::Sql { name, .. } | Self::NoRows { name, .. } | Self::Custom { name } => {
                return f.write_str(name);
            }
            Self::NotNull { column } => ("not_null", column.clone()),
            Self::Null { column } => ("null", column.clone()),
            Self::Unique { columns, .. } => ("unique", columns.join(", ")),
            Self::AcceptedValues(values) => ("accepted_values", values.to_string()),
            Self::RejectedValues(values) => ("rejected_values", values.to_string()),
            Self::Between(range) => ("between", of_range(range)),
            Self::ValueLengths(range) => ("value_lengths", of_range(range)),
            Self::MatchesRegex { column, regex } => ("matches_regex", pair(column, regex)),
            Self::NotMatchesRegex { column, regex } => ("not_matches_regex", pair(column, regex)),
            Self::MatchesRegexList {
                column,
                regexes,
                match_on,
            } => (
                "matches_regex_list",
                of_list(column, regexes, Some(*match_on)),
            ),
            Self::NotMatchesRegexList { column, regexes } => {
                ("not_matches_regex_list", of_list(column, regexes, None))
            }
            Self::MatchesLike { column, pattern } => ("matches_like", pair(column, pattern)),
            Self::NotMatchesLike { column, pattern } => ("not_matches_like", pair(column, pattern)),
            Self::MatchesLikeList {
                column,
                patterns,
                match_on,
            } => (
                "matches_like_list",
                of_list(column, patterns, Some(*match_on)),
            ),
            Self::NotMatchesLikeList { column, patterns } => {
                ("not_matches_like_list", of_list(column, patterns, None))
            }
            Self::Parseable { column, r#as } => ("parseable", format!("{column}, {as:?}")),
            Self::MatchesStrftime { column, format } => ("matches_strftime", pair(column, format)),
            Self::Increasing(monotonic) => ("increasing", monotonic.to_string()),
            Self::Decreasing(monotonic) => ("decreasing", monotonic.to_string()),
            Self::Relationships {
                column,
                to_table,
                to_column,
            } => ("relationships", format!("{column}, {to_table}.{to_column}")),
            Self::PairEqual {
                column_a, column_b, ..
            } => ("pair_equal", pair(column_a, column_b)),
            Self::PairGreater {
                column_a,
                column_b,
                or_equal,
                ..
            } => {
                let or_equal = if *or_equal { ", or_equal" } else { "" };
                ("pair_greater", format!("{column_a}, {column_b}{or_equal}"))
            }
            Self::PairInSet {
                column_a,
                column_b,
                pairs,
                ..
            } => {
                let text = |value: &Option<Scalar>| match value {
                    Some(value) => value.to_string(),
                    None => "null".to_owned(),
                };
                let pairs = pairs
                    .iter()
                    .map(|(a, b)| format!("({}, {})", text(a), text(b)));
                let pairs: Vec<_> = pairs.collect();
                (
                    "pair_in_set",
                    format!("{column_a}, {column_b}, [{}]", pairs.join(", ")),
                )
            }
            Self::MulticolumnSum { columns, total, .. } => (
                "multicolumn_sum",
                format!("[{}], {total}", columns.join(", ")),
            ),
            Self::UniqueWithinRecord { columns, .. } => {
                ("unique_within_record", columns.join(", "))
            }
            Self::EqualWithinRecord { columns, .. } => ("equal_within_record", columns.join(", ")),
            Self::ColumnMin(range) => ("column_min", of_range(range)),
            Self::ColumnMax(range) => ("column_max", of_range(range)),
            Self::ColumnMean(range) => ("column_mean", of_range(range)),
            Self::ColumnMedian(range) => ("column_median", of_range(range)),
            Self::ColumnStdev(range) => ("column_stdev", of_range(range)),
            Self::ColumnSum(range) => ("column_sum", of_range(range)),
            Self::ColumnNotNullShare(range) => ("column_not_null_share", of_range(range)),
            Self::ColumnDistinctCount(range) => ("column_distinct_count", of_range(range)),
            Self::ColumnDistinctShare(range) => ("column_distinct_share", of_range(range)),
            Self::ColumnQuantile {
                column,
                quantile,
                min,
                max,
            } => {
                let text =
                    |limit: &Option<f64>| limit.map_or_else(String::new, |limit| limit.to_string());
                let equals = if max.is_some() { "=" } else { "" };
                let range = format!("{}..{equals}{}", text(min), text(max));
                ("column_quantile", format!("{column}, {quantile}, {range}"))
            }
            Self::DistinctValuesIn(values) => ("distinct_values_in", values.to_string()),
            Self::DistinctValuesEqual(values) => ("distinct_values_equal", values.to_string()),
            Self::DistinctValuesContain(values) => ("distinct_values_contain", values.to_string()),
            Self::MostCommonValue { column, values, .. } => {
                ("most_common_value", format!("{column}, {}", list(values)))
            }
            Self::RowCount(range) => ("row_count", range.to_string()),
            Self::RowCountEqualsTable { table } => ("row_count_equals_table", table.clone()),
            Self::RowCountNearEarlier {
                history,
                n_runs,
                max_change,
            } => (
                "row_count_near_earlier",
                format!("{history}, {n_runs}, {max_change}"),
            ),
            Self::NullShareNearEarlier(near) => ("null_share_near_earlier", near.to_string()),
            Self::MeanNearEarlier(near) => ("mean_near_earlier", near.to_string()),
            Self::QuantileNearEarlier {
                column,
                quantile,
                history,
                n_runs,
                max_change,
            } => (
                "quantile_near_earlier",
                format!("{column}, {quantile}, {history}, {n_runs}, {max_change}"),
            ),
            Self::ColumnCount(range) => ("column_count", range.to_string()),
            Self::ColumnExists { column, position } => {
                let position = position.map_or_else(String::new, |at| format!(", {at}"));
                ("column_exists", format!("{column}{position}"))
            }
            Self::ColumnType { column, types } => {
                ("column_type", format!("{column}, [{}]", types.join(", ")))
            }
            Self::ColumnsMatchSet { columns, .. } => ("columns_match_set", columns.join(", ")),
            Self::ColumnsMatchOrdered { columns } => ("columns_match_ordered", columns.join(", ")),
            Self::Freshness {
                column, max_age, ..
            } => {
                let max_age = duration::text(max_age).unwrap_or_else(|_| format!("{max_age:?}"));
                ("freshness", pair(column, &max_age))
            }
        };
        write!(f, "{name}({arguments})")
    }
}

impl Check {
    /// How the names of all checks on the same figure begin, where results are compared with earlier ones.
    pub(super) fn metric(&self) -> Option<String> {
        match self {
            Self::NullShareNearEarlier(near) => {
                Some(format!("null_share_near_earlier({}, ", near.column))
            }
            Self::MeanNearEarlier(near) => Some(format!("mean_near_earlier({}, ", near.column)),
            Self::QuantileNearEarlier {
                column, quantile, ..
            } => Some(format!("quantile_near_earlier({column}, {quantile}, ")),
            _ => None,
        }
    }
}

fn pair(one: &str, other: &str) -> String {
    format!("{one}, {other}")
}

fn of_range(range: &ColumnRange) -> String {
    format!("{}, {range}", range.column)
}

fn of_list(column: &str, patterns: &[String], match_on: Option<MatchOn>) -> String {
    let all = if match_on == Some(MatchOn::All) {
        ", all"
    } else {
        ""
    };
    format!("{column}, [{}]{all}", patterns.join(", "))
}

fn list(values: &[Scalar]) -> String {
    let values: Vec<_> = values.iter().map(ToString::to_string).collect();
    format!("[{}]", values.join(", "))
}

impl fmt::Display for ColumnValues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.column, list(&self.values))
    }
}

impl fmt::Display for Monotonic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} by {}", self.column, self.order_by.join(", "))?;
        if !self.partition_by.is_empty() {
            write!(f, " within {}", self.partition_by.join(", "))?;
        }
        f.write_str(if self.strictly { ", strictly" } else { "" })
    }
}

impl fmt::Display for ColumnNearEarlier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            column,
            history,
            n_runs,
            max_change,
        } = self;
        write!(f, "{column}, {history}, {n_runs}, {max_change}")
    }
}
