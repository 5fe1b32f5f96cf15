//! Expectations that rows can fail.

use jiff::civil::DateTime;
use jiff::fmt::strtime;
use reco_core::Timestamp;
use serde_json::Value;

use super::super::arguments::{IgnoreRowIf, MatchOn, Monotonic, ParseAs};
use super::super::check::Check;
use super::super::range::ColumnRange;
use super::super::scalar::Scalar;
use super::GreatExpectations;
use super::arguments::{Arguments, Reason};
use super::condition::quoted;
use super::kinds::{Kind, Translated, Translation, not_parsed, of_set, one, range};

pub(super) const KINDS: &[(&str, Kind)] = &[
    ("expect_column_values_to_not_be_null", |a, _, _| {
        one(Check::NotNull {
            column: a.column()?,
        })
    }),
    ("expect_column_values_to_be_null", |a, _, _| {
        one(Check::Null {
            column: a.column()?,
        })
    }),
    ("expect_column_values_to_be_unique", |a, _, _| {
        let columns = vec![a.column()?];
        not_parsed(a)?;
        one(Check::Unique {
            columns,
            ignore_row_if: IgnoreRowIf::AnyMissing,
        })
    }),
    ("expect_compound_columns_to_be_unique", |a, _, _| {
        let columns = a.texts("column_list")?;
        one(Check::Unique {
            columns,
            ignore_row_if: a.ignore_row_if()?,
        })
    }),
    ("expect_column_values_to_be_in_set", |a, _, _| {
        of_set(a, Check::AcceptedValues)
    }),
    ("expect_column_values_to_not_be_in_set", |a, _, _| {
        of_set(a, Check::RejectedValues)
    }),
    ("expect_column_values_to_be_between", |a, _, _| {
        let range = range(a)?;
        a.flag("allow_cross_type_comparisons")?;
        if a.flag("parse_strings_as_datetimes")? {
            return times_between(&range).map(|times| vec![times]);
        }
        one(Check::Between(range))
    }),
    ("expect_column_value_lengths_to_be_between", |a, _, _| {
        one(Check::ValueLengths(range(a)?))
    }),
    ("expect_column_value_lengths_to_equal", |a, _, _| {
        let column = a.column()?;
        let length = a.scalar("value")?;
        one(Check::ValueLengths(ColumnRange {
            column,
            min: length.clone(),
            max: length,
            ..ColumnRange::default()
        }))
    }),
    ("expect_column_values_to_match_regex", |a, _, _| {
        let column = a.column()?;
        // What 1.x leaves out matches anything.
        let regex = a.text("regex")?.unwrap_or_else(|| "(?s).*".to_owned());
        one(Check::MatchesRegex { column, regex })
    }),
    ("expect_column_values_to_not_match_regex", |a, _, _| {
        let (column, regex) = (a.column()?, a.needed_text("regex")?);
        one(Check::NotMatchesRegex { column, regex })
    }),
    ("expect_column_values_to_match_regex_list", |a, _, _| {
        let (column, regexes) = (a.column()?, a.texts("regex_list")?);
        one(Check::MatchesRegexList {
            column,
            regexes,
            match_on: match_on(a)?,
        })
    }),
    ("expect_column_values_to_not_match_regex_list", |a, _, _| {
        let (column, regexes) = (a.column()?, a.texts("regex_list")?);
        one(Check::NotMatchesRegexList { column, regexes })
    }),
    ("expect_column_values_to_match_like_pattern", |a, _, _| {
        let (column, pattern) = (a.column()?, a.needed_text("like_pattern")?);
        no_escape(a)?;
        one(Check::MatchesLike { column, pattern })
    }),
    (
        "expect_column_values_to_not_match_like_pattern",
        |a, _, _| {
            let (column, pattern) = (a.column()?, a.needed_text("like_pattern")?);
            no_escape(a)?;
            one(Check::NotMatchesLike { column, pattern })
        },
    ),
    (
        "expect_column_values_to_match_like_pattern_list",
        |a, _, _| {
            let (column, patterns) = (a.column()?, a.texts("like_pattern_list")?);
            no_escape(a)?;
            one(Check::MatchesLikeList {
                column,
                patterns,
                match_on: match_on(a)?,
            })
        },
    ),
    (
        "expect_column_values_to_not_match_like_pattern_list",
        |a, _, _| {
            let (column, patterns) = (a.column()?, a.texts("like_pattern_list")?);
            no_escape(a)?;
            one(Check::NotMatchesLikeList { column, patterns })
        },
    ),
    (
        "expect_column_values_to_match_strftime_format",
        |a, _, _| {
            let (column, format) = (a.column()?, a.needed_text("strftime_format")?);
            strtime::format(&format, Timestamp::UNIX_EPOCH)
                .map_err(|error| format!("its format cannot be read: {error}"))?;
            one(Check::MatchesStrftime { column, format })
        },
    ),
    ("expect_column_values_to_be_json_parseable", |a, _, _| {
        one(Check::Parseable {
            column: a.column()?,
            r#as: ParseAs::Json,
        })
    }),
    ("expect_column_values_to_be_increasing", |a, reader, _| {
        monotonic(a, reader).and_then(|monotonic| one(Check::Increasing(monotonic)))
    }),
    ("expect_column_values_to_be_decreasing", |a, reader, _| {
        monotonic(a, reader).and_then(|monotonic| one(Check::Decreasing(monotonic)))
    }),
    ("expect_column_pair_values_to_be_equal", |a, _, _| {
        let (column_a, column_b) = (a.needed_text("column_A")?, a.needed_text("column_B")?);
        one(Check::PairEqual {
            column_a,
            column_b,
            ignore_row_if: a.ignore_row_if()?,
        })
    }),
    (
        "expect_column_pair_values_a_to_be_greater_than_b",
        |a, _, _| pair_greater(a),
    ),
    (
        "expect_column_pair_values_A_to_be_greater_than_B",
        |a, _, _| pair_greater(a),
    ),
    ("expect_column_pair_values_to_be_in_set", |a, _, _| {
        let (column_a, column_b) = (a.needed_text("column_A")?, a.needed_text("column_B")?);
        let pairs = Value::Array(a.list("value_pairs_set")?);
        let pairs = serde_json::from_value(pairs)
            .map_err(|_| "`value_pairs_set` is not a list of pairs of values".to_owned())?;
        one(Check::PairInSet {
            column_a,
            column_b,
            pairs,
            ignore_row_if: a.ignore_row_if()?,
        })
    }),
    ("expect_multicolumn_sum_to_equal", |a, _, _| {
        let columns = a.texts("column_list")?;
        let Some(total) = a.number("sum_total")? else {
            return Err("it has no `sum_total`".to_owned());
        };
        one(Check::MulticolumnSum {
            columns,
            total,
            ignore_row_if: a.ignore_row_if()?,
        })
    }),
    ("expect_multicolumn_values_to_be_equal", |a, _, _| {
        let columns = a.texts("column_list")?;
        one(Check::EqualWithinRecord {
            columns,
            ignore_row_if: a.ignore_row_if()?,
        })
    }),
    (
        "expect_select_column_values_to_be_unique_within_record",
        |a, _, _| within_record(a),
    ),
    // What it was called before.
    ("expect_multicolumn_values_to_be_unique", |a, _, _| {
        within_record(a)
    }),
];

fn match_on(a: &mut Arguments) -> Result<MatchOn, Reason> {
    match a.text("match_on")?.as_deref() {
        None | Some("any") => Ok(MatchOn::Any),
        Some("all") => Ok(MatchOn::All),
        Some(other) => Err(format!("`match_on` is `{other}`, neither `any` nor `all`")),
    }
}

fn no_escape(a: &mut Arguments) -> Result<(), Reason> {
    match a.text("escape")?.as_deref() {
        None | Some("\\") => Ok(()),
        Some(other) => Err(format!(
            "`{other}` escapes in its patterns, and in ours `\\`"
        )),
    }
}

fn monotonic(a: &mut Arguments, reader: &GreatExpectations) -> Result<Monotonic, Reason> {
    let (column, strictly) = (a.column()?, a.flag("strictly")?);
    not_parsed(a)?;
    if reader.row_order.is_empty() {
        return Err(
            "rows of a table have no order: say by which columns they are in order with \
            `GreatExpectations::row_order`"
                .to_owned(),
        );
    }
    Ok(Monotonic {
        column,
        order_by: reader.row_order.clone(),
        partition_by: Vec::new(),
        strictly,
    })
}

fn pair_greater(a: &mut Arguments) -> Translation {
    let (column_a, column_b) = (a.needed_text("column_A")?, a.needed_text("column_B")?);
    let or_equal = a.flag("or_equal")?;
    a.flag("allow_cross_type_comparisons")?;
    not_parsed(a)?;
    let ignore_row_if = a.ignore_row_if()?;
    one(Check::PairGreater {
        column_a,
        column_b,
        or_equal,
        ignore_row_if,
    })
}

fn within_record(a: &mut Arguments) -> Translation {
    let columns = a.texts("column_list")?;
    one(Check::UniqueWithinRecord {
        columns,
        ignore_row_if: a.ignore_row_if()?,
    })
}

fn times_between(range: &ColumnRange) -> Result<Translated, Reason> {
    let column = quoted(&range.column);
    let time = |limit: &Scalar| {
        let time: Result<DateTime, _> = limit.to_string().parse();
        time.map_err(|_| format!("its limit {limit} is no time that we can read"))
    };
    let mut conditions = Vec::new();
    if let Some(min) = &range.min {
        let operator = if range.strict_min { ">" } else { ">=" };
        conditions.push(format!("{operator} timestamp '{}'", time(min)?));
    }
    if let Some(max) = &range.max {
        let operator = if range.strict_max { "<" } else { "<=" };
        conditions.push(format!("{operator} timestamp '{}'", time(max)?));
    }
    if conditions.is_empty() {
        return Err("it has no limits".to_owned());
    }
    let conditions = conditions.iter();
    let conditions = conditions.map(|condition| format!("cast({column} as timestamp) {condition}"));
    Ok(Translated {
        check: Check::Sql {
            name: format!("between({}, {range}) as times", range.column),
            predicate: conditions.collect::<Vec<_>>().join(" and "),
        },
        when: Some(format!("{column} is not null")),
    })
}
