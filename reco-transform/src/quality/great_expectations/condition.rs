//! Conditions of rows, as conditions in SQL.

use serde_json::Value;

use super::arguments::Reason;
use super::pandas;

/// A condition in SQL that takes in the same rows.
pub(super) fn to_sql(row_condition: &Value, parser: Option<&str>) -> Result<String, Reason> {
    match row_condition {
        Value::String(text) => of_text(text, parser),
        condition => of_object(condition, parser),
    }
}

/// Two conditions as one.
pub(super) fn both(one: Option<String>, other: Option<String>) -> Option<String> {
    match (one, other) {
        (Some(one), Some(other)) => Some(format!("{one} and ({other})")),
        (one, other) => one.or(other),
    }
}

fn of_text(text: &str, parser: Option<&str>) -> Result<String, Reason> {
    match parser {
        Some("great_expectations" | "great_expectations__experimental__" | "ge") => own(text),
        Some("pandas" | "python") => pandas::to_sql(text),
        Some("spark" | "spark_sql" | "sql") => of_spark(text),
        Some(other) => Err(format!("no language of conditions is called `{other}`")),
        None => Err("its `row_condition` has no `condition_parser`".to_owned()),
    }
}

/// Spark's SQL is ours where nothing is quoted but texts, in single quotes.
fn of_spark(text: &str) -> Result<String, Reason> {
    if text.contains(['"', '`', '\\']) {
        return Err(format!("`{text}` quotes in the way of Spark"));
    }
    Ok(text.to_owned())
}

/// The conditions of 1.x, which are data.
fn of_object(condition: &Value, parser: Option<&str>) -> Result<String, Reason> {
    let malformed = || format!("`row_condition` is {condition}, which we cannot read");
    let column = || {
        let name = condition["column"]["name"].as_str();
        name.map(quoted).ok_or_else(malformed)
    };
    match condition["type"].as_str() {
        Some("pass_through") => {
            let text = condition["pass_through_filter"].as_str();
            of_text(text.ok_or_else(malformed)?, parser.or(Some("pandas")))
        }
        Some("nullity") => {
            let is = match condition["is_null"].as_bool() {
                Some(true) => "is null",
                Some(false) => "is not null",
                None => return Err(malformed()),
            };
            Ok(format!("{} {is}", column()?))
        }
        Some("comparison") => {
            let operator = match condition["operator"].as_str() {
                Some("==") => "=",
                Some("!=") => "<>",
                Some(same @ ("<" | "<=" | ">" | ">=")) => same,
                Some("IN") => "in",
                Some("NOT_IN") => "not in",
                _ => return Err(malformed()),
            };
            let parameter = match &condition["parameter"] {
                Value::Array(values) => {
                    let values = values.iter().map(literal).collect::<Option<Vec<_>>>();
                    let values = values.filter(|values| !values.is_empty());
                    format!("({})", values.ok_or_else(malformed)?.join(", "))
                }
                value => literal(value).ok_or_else(malformed)?,
            };
            Ok(format!("{} {operator} {parameter}", column()?))
        }
        Some(kind @ ("and" | "or")) => {
            let parts = condition["conditions"].as_array().ok_or_else(malformed)?;
            let parts = parts
                .iter()
                .map(|part| to_sql(part, parser).map(|part| format!("({part})")));
            let parts = parts.collect::<Result<Vec<_>, _>>()?;
            if parts.is_empty() {
                return Err(malformed());
            }
            Ok(parts.join(&format!(" {kind} ")))
        }
        _ => Err(malformed()),
    }
}

/// A name in SQL, which may be one of its words.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

pub(super) fn literal(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text_literal(text)),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    }
}

pub(super) fn text_literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// The language of Great Expectations itself: `col("kind") == "purchase"`, `col("price").notnull()`.
fn own(text: &str) -> Result<String, Reason> {
    let unread = || format!("`{text}` is no condition such as `col(\"kind\") == \"purchase\"`");
    let rest = text.trim().strip_prefix("col(\"").ok_or_else(unread)?;
    let (name, rest) = rest.split_once("\")").ok_or_else(unread)?;
    let (column, rest) = (quoted(name), rest.trim());
    if rest.eq_ignore_ascii_case(".notnull()") {
        return Ok(format!("{column} is not null"));
    }
    let operators = [
        ("==", "="),
        ("!=", "<>"),
        (">=", ">="),
        ("<=", "<="),
        (">", ">"),
        ("<", "<"),
    ];
    let mut operators = operators.iter();
    let found =
        operators.find_map(|(theirs, ours)| Some((*ours, rest.strip_prefix(theirs)?.trim())));
    let (operator, value) = found.ok_or_else(unread)?;
    if value.parse::<f64>().is_ok_and(f64::is_finite) {
        return Ok(format!("{column} {operator} {value}"));
    }
    let date = value
        .strip_prefix("date(")
        .and_then(|rest| rest.strip_suffix(')'));
    let quoted = date.unwrap_or(value).trim();
    let unquoted = ['"', '\''].iter().find_map(|quote| {
        let inner = quoted.strip_prefix(*quote)?.strip_suffix(*quote)?;
        (!inner.contains(*quote)).then_some(inner)
    });
    let value = text_literal(unquoted.ok_or_else(unread)?);
    match date {
        Some(_) => Ok(format!("{column} {operator} cast({value} as timestamp)")),
        None => Ok(format!("{column} {operator} {value}")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn conditions_of_each_language_are_conditions_in_sql() {
        let check = |condition: Value, parser: Option<&str>, expected: &str| {
            assert_eq!(to_sql(&condition, parser).unwrap(), expected);
        };
        let own = Some("great_expectations__experimental__");
        check(
            json!("col(\"price\").notnull()"),
            own,
            "\"price\" is not null",
        );
        check(json!("col(\"price\") >= 1.5"), own, "\"price\" >= 1.5");
        check(json!("col(\"a b\")!=\"it's\""), own, "\"a b\" <> 'it''s'");
        check(
            json!("col(\"day\") > date('2024-05-01')"),
            own,
            "\"day\" > cast('2024-05-01' as timestamp)",
        );
        check(
            json!("price > 1 and kind = 'x'"),
            Some("spark"),
            "price > 1 and kind = 'x'",
        );
        let price = json!({"name": "price"});
        check(
            json!({"type": "or", "conditions": [
                {"type": "comparison", "column": price, "operator": "IN", "parameter": [1, 2]},
                {"type": "and", "conditions": [
                    {"type": "nullity", "column": price, "is_null": true},
                    {"type": "comparison", "column": {"name": "kind"}, "operator": "!=", "parameter": "x"},
                ]},
            ]}),
            None,
            "(\"price\" in (1, 2)) or ((\"price\" is null) and (\"kind\" <> 'x'))",
        );
        check(
            json!({"type": "pass_through", "pass_through_filter": "price > 1"}),
            Some("pandas"),
            "\"price\" > 1",
        );
    }

    #[test]
    fn what_is_no_condition_is_told() {
        let check = |condition: Value, parser: Option<&str>, expected: &str| {
            let reason = to_sql(&condition, parser).unwrap_err();
            assert!(reason.contains(expected), "{reason}");
        };
        check(json!("price > 1"), None, "no `condition_parser`");
        check(json!("price > 1"), Some("polars"), "`polars`");
        check(
            json!("col(\"a\") > 1 and col(\"b\") > 2"),
            Some("great_expectations"),
            "is no condition",
        );
        check(json!("`a` > \"b\""), Some("spark"), "the way of Spark");
        check(json!({"type": "xor"}), None, "cannot read");
    }
}
