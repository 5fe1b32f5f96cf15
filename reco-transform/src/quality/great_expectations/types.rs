//! The names that Great Expectations has for types, of pandas, Spark and SQL.

use super::arguments::Reason;

/// A type, or a family of types, of [`Check::ColumnType`](super::super::check::Check::ColumnType).
///
/// A name with a width that Arrow has is that type. A name of SQL, whose width depends on the database, is
/// a family.
pub(super) fn to_ours(name: &str) -> Result<String, Reason> {
    // `VARCHAR(255)` and `DECIMAL(10, 2)` without their arguments, which are no part of ours.
    let bare = name.split('(').next().unwrap_or_default().trim();
    let ours = match bare.to_ascii_lowercase().as_str() {
        "int8" | "bytetype" => "Int8",
        "int16" | "shorttype" => "Int16",
        "int32" | "integertype" => "Int32",
        "int64" | "longtype" => "Int64",
        "uint8" => "UInt8",
        "uint16" => "UInt16",
        "uint32" => "UInt32",
        "uint64" => "UInt64",
        "float16" => "Float16",
        "float32" | "floattype" => "Float32",
        "float64" | "float_" | "doubletype" => "Float64",
        "int" | "int_" | "integer" | "bigint" | "smallint" | "tinyint" | "byteint"
        | "mediumint" | "biginteger" | "smallinteger" | "serial" | "bigserial" => "integer",
        "float" | "double" | "double_precision" | "double precision" | "real" | "float4"
        | "float8" => "float",
        "decimal" | "decimaltype" | "numeric" | "number" | "bignumeric" => "number",
        "str" | "string" | "stringtype" | "text" | "varchar" | "char" | "nchar" | "nvarchar"
        | "character" | "character varying" | "varchar2" | "unicode" | "tinytext"
        | "mediumtext" | "longtext" | "object" | "object_" | "large_string" => "text",
        // How pandas writes the type of a column of texts.
        "dtype" if name.eq_ignore_ascii_case("dtype('o')") => "text",
        "bool" | "bool_" | "boolean" | "booleantype" => "boolean",
        "date" | "datetype" => "date",
        "timestamp" | "timestamptype" | "timestamp_ntz" | "timestamp_ltz" | "timestamp_tz"
        | "timestamptz" | "datetime" | "datetime64" | "datetime64[ns]" | "datetime2"
        | "timestampntztype" => "timestamp",
        "bytes" | "binary" | "varbinary" | "binarytype" | "blob" | "bytea" => "binary",
        "list" | "array" | "arraytype" => "list",
        _ => return Err(format!("we know no type called `{name}`")),
    };
    Ok(ours.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_known_by_its_names() {
        let check = |name: &str, expected: &str| assert_eq!(to_ours(name).unwrap(), expected);
        check("VARCHAR(255)", "text");
        check("StringType", "text");
        check("dtype('O')", "text");
        check("NUMERIC(10, 2)", "number");
        check("int64", "Int64");
        check("INTEGER", "integer");
        check("datetime64[ns]", "timestamp");
        assert_eq!(
            to_ours("GEOGRAPHY").unwrap_err(),
            "we know no type called `GEOGRAPHY`"
        );
    }
}
