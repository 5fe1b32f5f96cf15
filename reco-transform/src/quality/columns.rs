//! Checks on the names and types of columns.

use datafusion::arrow::datatypes::{DataType, Schema};
use serde_json::Value;

use super::check::Check;

/// Whether the columns are as a check expects, and what they are; none for a check on something else.
pub(super) fn check_columns(check: &Check, schema: &Schema) -> Option<(bool, Value)> {
    let names = || schema.fields().iter().map(|field| field.name());
    let all_names = || Value::from_iter(names().map(String::as_str));
    Some(match check {
        Check::ColumnCount(range) => {
            let n_columns = schema.fields().len();
            (range.includes(n_columns as u64), Value::from(n_columns))
        }
        Check::ColumnExists { column, position } => {
            let found = names().position(|name| name == column);
            let passed = found.is_some_and(|found| position.is_none_or(|at| at == found));
            (passed, Value::from(found))
        }
        Check::ColumnsMatchSet { columns, exact } => {
            let is_there = columns
                .iter()
                .all(|column| names().any(|name| name == column));
            let is_all = !exact || names().all(|name| columns.contains(name));
            (is_there && is_all, all_names())
        }
        Check::ColumnsMatchOrdered { columns } => (names().eq(columns), all_names()),
        Check::ColumnType { column, types } => {
            let field = schema.field_with_name(column).ok()?;
            let found = field.data_type();
            let passed = types.iter().any(|name| is_of_type(found, name));
            (passed, Value::from(found.to_string()))
        }
        _ => return None,
    })
}

/// Whether a type is the one of a name, or of the family of that name.
fn is_of_type(found: &DataType, name: &str) -> bool {
    match name {
        "number" => found.is_numeric(),
        _ => family_of(found) == Some(name) || found.to_string() == name,
    }
}

/// The narrowest family of a type, if it has one.
pub(super) const fn family_of(data_type: &DataType) -> Option<&'static str> {
    Some(match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text",
        DataType::Decimal32(..)
        | DataType::Decimal64(..)
        | DataType::Decimal128(..)
        | DataType::Decimal256(..) => "decimal",
        DataType::Boolean => "boolean",
        DataType::Date32 | DataType::Date64 => "date",
        DataType::Timestamp(..) => "timestamp",
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => "binary",
        DataType::List(_)
        | DataType::LargeList(_)
        | DataType::ListView(_)
        | DataType::LargeListView(_)
        | DataType::FixedSizeList(..) => "list",
        DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::UInt8
        | DataType::UInt16
        | DataType::UInt32
        | DataType::UInt64 => "integer",
        DataType::Float16 | DataType::Float32 | DataType::Float64 => "float",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::TimeUnit;

    use super::*;

    #[test]
    fn a_type_has_a_name_and_a_family() {
        let check = |found: DataType, name: &str, expected: bool| {
            assert_eq!(is_of_type(&found, name), expected, "{found} is {name}");
        };
        check(DataType::Utf8View, "text", true);
        check(DataType::Utf8View, "Utf8View", true);
        check(DataType::Utf8View, "Utf8", false);
        check(DataType::UInt8, "integer", true);
        check(DataType::UInt8, "number", true);
        check(DataType::Decimal128(10, 2), "decimal", true);
        check(DataType::Decimal128(10, 2), "float", false);
        check(
            DataType::Timestamp(TimeUnit::Second, None),
            "timestamp",
            true,
        );
        check(DataType::Date32, "timestamp", false);
    }
}
