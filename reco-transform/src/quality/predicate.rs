//! Checks on single rows as conditions.

use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::{DFSchema, plan_err};
use datafusion::error::Result;
use datafusion::functions::expr_fn::character_length;
use datafusion::logical_expr::{Expr, Operator, binary_expr, cast, ident, lit, try_cast};
use datafusion::prelude::SessionContext;

use super::arguments::{IgnoreRowIf, MatchOn, ParseAs};
use super::check::Check;
use super::config::ExpectationConfig;
use super::functions::{is_json, is_strftime};
use super::guard::guarded;
use super::scalar::Scalar;

/// What is true of the rows that an expectation looks at, and of those that fail.
#[derive(Debug, Clone)]
pub(super) struct RowCondition {
    /// All of them have to hold; none for all rows.
    pub(super) considered: Vec<Expr>,
    /// All of them have to hold.
    pub(super) fails: Vec<Expr>,
}

/// What is true of the rows that a check passes over or not, and of those that fail.
#[derive(Debug)]
struct OfRows {
    /// None for all rows.
    considered: Option<Expr>,
    fails: Expr,
}

/// The condition of an expectation, where a row can tell on its own.
pub(super) fn row_condition(
    config: &ExpectationConfig,
    session: &SessionContext,
    schema: &DFSchema,
) -> Result<Option<RowCondition>> {
    let Some(condition) = of_check(&config.check, session, schema)? else {
        return Ok(None);
    };
    let when = when(config, session, schema)?;
    Ok(Some(RowCondition {
        considered: when
            .clone()
            .into_iter()
            .chain(condition.considered)
            .collect(),
        fails: guarded(when, condition.fails, schema)?,
    }))
}

/// The condition that a row has to meet to be looked at.
pub(super) fn when(
    config: &ExpectationConfig,
    session: &SessionContext,
    schema: &DFSchema,
) -> Result<Option<Expr>> {
    let when = config.when.as_deref();
    when.map(|when| session.parse_sql_expr(when, schema))
        .transpose()
}

/// The rows that are not passed over for their NULLs; none if that is all.
pub(super) fn considered(columns: &[&str], ignore_row_if: IgnoreRowIf) -> Option<Expr> {
    let known = columns.iter().map(|column| ident(*column).is_not_null());
    match ignore_row_if {
        IgnoreRowIf::AnyMissing => known.reduce(Expr::and),
        IgnoreRowIf::AllMissing => known.reduce(Expr::or),
        IgnoreRowIf::Never => None,
    }
}

fn of_check(check: &Check, session: &SessionContext, schema: &DFSchema) -> Result<Option<OfRows>> {
    let known = |column: &str, fails: Expr| OfRows {
        considered: Some(ident(column).is_not_null()),
        fails,
    };
    Ok(Some(match check {
        Check::NotNull { column } => OfRows {
            considered: None,
            fails: ident(column).is_null(),
        },
        Check::Null { column } => OfRows {
            considered: None,
            fails: ident(column).is_not_null(),
        },
        Check::AcceptedValues(list) => known(
            &list.column,
            ident(&list.column).in_list(literals(&list.values), true),
        ),
        Check::RejectedValues(list) => known(
            &list.column,
            ident(&list.column).in_list(literals(&list.values), false),
        ),
        Check::Between(range) => known(&range.column, range.excludes(&ident(&range.column))),
        Check::ValueLengths(range) => {
            let length = character_length(ident(&range.column));
            known(&range.column, range.excludes(&length))
        }
        Check::MatchesRegex { column, regex } => known(column, matches(column, regex, false)),
        Check::NotMatchesRegex { column, regex } => known(column, matches(column, regex, true)),
        Check::MatchesRegexList {
            column,
            regexes,
            match_on,
        } => {
            let fails = regexes.iter().map(|regex| matches(column, regex, false));
            known(column, any_or_all(fails, *match_on))
        }
        Check::NotMatchesRegexList { column, regexes } => {
            let fails = regexes.iter().map(|regex| matches(column, regex, true));
            known(column, fails.reduce(Expr::or).unwrap_or_else(|| lit(false)))
        }
        Check::MatchesLike { column, pattern } => {
            known(column, ident(column).not_like(lit(pattern)))
        }
        Check::NotMatchesLike { column, pattern } => {
            known(column, ident(column).like(lit(pattern)))
        }
        Check::MatchesLikeList {
            column,
            patterns,
            match_on,
        } => {
            let fails = patterns
                .iter()
                .map(|like| ident(column).not_like(lit(like)));
            known(column, any_or_all(fails, *match_on))
        }
        Check::NotMatchesLikeList { column, patterns } => {
            let fails = patterns.iter().map(|like| ident(column).like(lit(like)));
            known(column, fails.reduce(Expr::or).unwrap_or_else(|| lit(false)))
        }
        Check::Parseable { column, r#as } => {
            let known_value = ident(column).is_not_null();
            known(column, known_value.and(cannot_parse(column, *r#as)))
        }
        Check::MatchesStrftime { column, format } => {
            known(column, is_strftime(ident(column), format).is_false())
        }
        Check::Sql { predicate, .. } => {
            let holds = session.parse_sql_expr(predicate, schema)?;
            OfRows {
                considered: None,
                fails: holds.is_false(),
            }
        }
        _ => return of_columns(check, schema),
    }))
}

/// The condition of a check that compares the columns of a row.
fn of_columns(check: &Check, schema: &DFSchema) -> Result<Option<OfRows>> {
    let (columns, ignore_row_if, holds) = match check {
        Check::PairEqual {
            column_a,
            column_b,
            ignore_row_if,
        } => {
            let holds = ident(column_a).eq(ident(column_b));
            (vec![column_a.as_str(), column_b], ignore_row_if, holds)
        }
        Check::PairGreater {
            column_a,
            column_b,
            or_equal,
            ignore_row_if,
        } => {
            let holds = match or_equal {
                true => ident(column_a).gt_eq(ident(column_b)),
                false => ident(column_a).gt(ident(column_b)),
            };
            (vec![column_a.as_str(), column_b], ignore_row_if, holds)
        }
        Check::PairInSet {
            column_a,
            column_b,
            pairs,
            ignore_row_if,
        } => {
            let is = |column: &str, value: &Option<Scalar>| match value {
                Some(value) => ident(column).eq(value.lit()),
                None => ident(column).is_null(),
            };
            let holds = pairs
                .iter()
                .map(|(a, b)| is(column_a, a).and(is(column_b, b)))
                .reduce(Expr::or)
                .unwrap_or_else(|| lit(false));
            (vec![column_a.as_str(), column_b], ignore_row_if, holds)
        }
        Check::MulticolumnSum {
            columns,
            total,
            ignore_row_if,
        } => {
            let numbers = columns.iter().map(|column| number(column, schema));
            let numbers = numbers.collect::<Result<Vec<_>>>()?;
            let sum = numbers.into_iter().reduce(|sum, number| sum + number);
            let Some(sum) = sum else { return Ok(None) };
            let columns = columns.iter().map(String::as_str).collect();
            (columns, ignore_row_if, sum.eq(lit(*total)))
        }
        Check::UniqueWithinRecord {
            columns,
            ignore_row_if,
        } => {
            let pairs = columns.iter().enumerate().flat_map(|(i, a)| {
                let later = columns.iter().skip(i + 1);
                later.map(move |b| ident(a).not_eq(ident(b)))
            });
            // With a NULL on one side, two values differ.
            let differ = pairs.map(Expr::is_not_false).reduce(Expr::and);
            let Some(differ) = differ else {
                return Ok(None);
            };
            let columns = columns.iter().map(String::as_str).collect();
            (columns, ignore_row_if, differ)
        }
        Check::EqualWithinRecord {
            columns,
            ignore_row_if,
        } => {
            let equal = columns
                .windows(2)
                .map(|pair| ident(&pair[0]).eq(ident(&pair[1])));
            let Some(equal) = equal.reduce(Expr::and) else {
                return Ok(None);
            };
            let columns = columns.iter().map(String::as_str).collect();
            (columns, ignore_row_if, equal)
        }
        _ => return Ok(None),
    };
    let considered = considered(&columns, *ignore_row_if);
    let fails = holds.is_not_true();
    Ok(Some(OfRows {
        fails: match &considered {
            Some(considered) => considered.clone().and(fails),
            None => fails,
        },
        considered,
    }))
}

/// A column as a number, whatever numeric type it has.
pub(super) fn number(column: &str, schema: &DFSchema) -> Result<Expr> {
    let data_type = schema.field_with_unqualified_name(column)?.data_type();
    if data_type.is_numeric() {
        return Ok(cast(ident(column), DataType::Float64));
    }
    plan_err!("column `{column}` is {data_type}, not a number")
}

fn literals(values: &[Scalar]) -> Vec<Expr> {
    values.iter().map(Scalar::lit).collect()
}

fn matches(column: &str, regex: &str, is_match: bool) -> Expr {
    let operator = match is_match {
        true => Operator::RegexMatch,
        false => Operator::RegexNotMatch,
    };
    binary_expr(ident(column), operator, lit(regex))
}

/// Of conditions under which one pattern fails, the one under which too few of them match.
fn any_or_all(fails: impl Iterator<Item = Expr>, match_on: MatchOn) -> Expr {
    let fails = match match_on {
        MatchOn::Any => fails.reduce(Expr::and),
        MatchOn::All => fails.reduce(Expr::or),
    };
    fails.unwrap_or_else(|| lit(false))
}

fn cannot_parse(column: &str, parse_as: ParseAs) -> Expr {
    let data_type = match parse_as {
        ParseAs::Json => return is_json(ident(column)).is_false(),
        ParseAs::Integer => DataType::Int64,
        ParseAs::Float => DataType::Float64,
        ParseAs::Date => DataType::Date32,
        ParseAs::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
    };
    try_cast(ident(column), data_type).is_null()
}
