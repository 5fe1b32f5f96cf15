//! Expectations of a column or a table as a whole.

use serde_json::Value;

use super::super::check::Check;
use super::super::range::CountRange;
use super::arguments::{Arguments, Reason};
use super::condition::quoted;
use super::kinds::{Kind, Translation, of_range, of_set, one};
use super::types;

pub(super) const KINDS: &[(&str, Kind)] = &[
    ("expect_column_distinct_values_to_be_in_set", |a, _, _| {
        of_set(a, Check::DistinctValuesIn)
    }),
    ("expect_column_distinct_values_to_equal_set", |a, _, _| {
        of_set(a, Check::DistinctValuesEqual)
    }),
    ("expect_column_distinct_values_to_contain_set", |a, _, _| {
        of_set(a, Check::DistinctValuesContain)
    }),
    ("expect_column_most_common_value_to_be_in_set", |a, _, _| {
        let (column, values) = (a.column()?, a.values("value_set")?);
        one(Check::MostCommonValue {
            column,
            values,
            ties_okay: a.flag("ties_okay")?,
        })
    }),
    ("expect_column_min_to_be_between", |a, _, _| {
        of_range(a, Check::ColumnMin)
    }),
    ("expect_column_max_to_be_between", |a, _, _| {
        of_range(a, Check::ColumnMax)
    }),
    ("expect_column_mean_to_be_between", |a, _, _| {
        of_range(a, Check::ColumnMean)
    }),
    ("expect_column_median_to_be_between", |a, _, _| {
        of_range(a, Check::ColumnMedian)
    }),
    ("expect_column_stdev_to_be_between", |a, _, _| {
        of_range(a, Check::ColumnStdev)
    }),
    ("expect_column_sum_to_be_between", |a, _, _| {
        of_range(a, Check::ColumnSum)
    }),
    (
        "expect_column_unique_value_count_to_be_between",
        |a, _, _| of_range(a, Check::ColumnDistinctCount),
    ),
    (
        "expect_column_proportion_of_unique_values_to_be_between",
        |a, _, _| of_range(a, Check::ColumnDistinctShare),
    ),
    (
        "expect_column_proportion_of_non_null_values_to_be_between",
        |a, _, _| of_range(a, Check::ColumnNotNullShare),
    ),
    ("expect_column_quantile_values_to_be_between", |a, _, _| {
        quantiles(a)
    }),
    ("expect_table_row_count_to_be_between", |a, _, _| {
        one(Check::RowCount(counts(a)?))
    }),
    ("expect_table_row_count_to_equal", |a, _, _| {
        one(Check::RowCount(count(a)?))
    }),
    ("expect_table_row_count_to_equal_other_table", |a, _, _| {
        one(Check::RowCountEqualsTable {
            table: a.needed_text("other_table_name")?,
        })
    }),
    ("expect_table_column_count_to_be_between", |a, _, _| {
        one(Check::ColumnCount(counts(a)?))
    }),
    ("expect_table_column_count_to_equal", |a, _, _| {
        one(Check::ColumnCount(count(a)?))
    }),
    ("expect_table_columns_to_match_ordered_list", |a, _, _| {
        one(Check::ColumnsMatchOrdered {
            columns: a.texts("column_list")?,
        })
    }),
    ("expect_table_columns_to_match_set", |a, _, _| {
        let columns = a.texts("column_set")?;
        let exact = a.take("exact_match") != Some(Value::Bool(false));
        one(Check::ColumnsMatchSet { columns, exact })
    }),
    ("expect_column_to_exist", |a, _, _| {
        let column = a.column()?;
        let position = a.count("column_index")?;
        let position = position.map(usize::try_from).transpose();
        let position = position.map_err(|_| "no table has as many columns".to_owned())?;
        one(Check::ColumnExists { column, position })
    }),
    ("expect_column_values_to_be_of_type", |a, _, _| of_type(a)),
    ("expect_column_type_to_be", |a, _, _| of_type(a)),
    ("expect_column_values_to_be_in_type_list", |a, _, _| {
        let column = a.column()?;
        let mut types = Vec::new();
        for name in a.texts("type_list")? {
            let ours = types::to_ours(&name)?;
            if !types.contains(&ours) {
                types.push(ours);
            }
        }
        one(Check::ColumnType { column, types })
    }),
    ("unexpected_rows_expectation", |a, reader, description| {
        let query = a.needed_text("unexpected_rows_query")?;
        let described = a.text("description")?;
        let query = match (&reader.table, query.contains("{batch}")) {
            (_, false) => query,
            (Some(table), true) => query.replace("{batch}", &quoted(table)),
            (None, true) => {
                return Err(
                    "its query reads `{batch}`: say what that table is called with \
                    `GreatExpectations::table`"
                        .to_owned(),
                );
            }
        };
        let name = described
            .as_deref()
            .or(description)
            .unwrap_or("unexpected rows");
        one(Check::NoRows {
            name: name.to_owned(),
            query,
        })
    }),
];

fn counts(a: &mut Arguments) -> Result<CountRange, Reason> {
    let (min, max) = (a.count("min_value")?, a.count("max_value")?);
    let (strict_min, strict_max) = (a.flag("strict_min")?, a.flag("strict_max")?);
    if strict_max && max == Some(0) {
        return Err("no number is below 0".to_owned());
    }
    Ok(CountRange {
        min: min.map(|min| min.saturating_add(u64::from(strict_min))),
        max: max.map(|max| max.saturating_sub(u64::from(strict_max))),
    })
}

fn count(a: &mut Arguments) -> Result<CountRange, Reason> {
    match a.count("value")? {
        None => Err("it has no `value`".to_owned()),
        value => Ok(CountRange {
            min: value,
            max: value,
        }),
    }
}

fn quantiles(a: &mut Arguments) -> Translation {
    let column = a.column()?;
    match a.take("allow_relative_error") {
        // Ours are exact, which is allowed as well.
        None | Some(Value::Bool(_)) => {}
        Some(other) => return Err(format!("`allow_relative_error` is {other}: ours are exact")),
    }
    let Some(Value::Object(mut ranges)) = a.take("quantile_ranges") else {
        return Err("`quantile_ranges` is not an object".to_owned());
    };
    let malformed =
        || "`quantile_ranges` has no numbers for `quantiles` and `value_ranges`".to_owned();
    let quantiles = ranges.remove("quantiles").ok_or_else(malformed)?;
    let limits = ranges.remove("value_ranges").ok_or_else(malformed)?;
    let quantiles: Vec<f64> = serde_json::from_value(quantiles).map_err(|_| malformed())?;
    let limits: Vec<(Option<f64>, Option<f64>)> =
        serde_json::from_value(limits).map_err(|_| malformed())?;
    if quantiles.len() != limits.len() || quantiles.is_empty() {
        return Err(malformed());
    }
    let checks = quantiles.into_iter().zip(limits);
    let checks = checks.map(|(quantile, (min, max))| {
        let column = column.clone();
        Check::ColumnQuantile {
            column,
            quantile,
            min,
            max,
        }
        .into()
    });
    Ok(checks.collect())
}

fn of_type(a: &mut Arguments) -> Translation {
    let (column, name) = (a.column()?, a.needed_text("type_")?);
    one(Check::ColumnType {
        column,
        types: vec![types::to_ours(&name)?],
    })
}
