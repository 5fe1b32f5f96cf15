//! Rows of a batch as JSON objects.

use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Float64Type, Int64Type};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use serde_json::Value;

/// Each row as a JSON object: numbers and booleans as such, NULL as null, the rest as text.
pub(crate) fn rows(batch: &RecordBatch) -> Result<Vec<String>, ArrowError> {
    let mut rows = vec![Vec::new(); batch.num_rows()];
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        let name = Value::from(field.name().as_str());
        for (row, value) in rows.iter_mut().zip(values(column)?) {
            row.push(format!("{name}:{value}"));
        }
    }
    // Written by hand, since a map would be at liberty to sort the columns.
    let objects = rows.iter().map(|row| format!("{{{}}}", row.join(",")));
    Ok(objects.collect())
}

/// A value as JSON, in the same way.
pub(crate) fn value(value: &ScalarValue) -> Result<Value> {
    let array = value.to_array()?;
    Ok(values(&array)?.pop().unwrap_or_default())
}

fn values(column: &dyn Array) -> Result<Vec<Value>, ArrowError> {
    let data_type = column.data_type();
    let each = |value: &dyn Fn(usize) -> Value| -> Vec<Value> {
        let value = |row| {
            if column.is_null(row) {
                Value::Null
            } else {
                value(row)
            }
        };
        (0..column.len()).map(value).collect()
    };
    // Unsigned 64-bit integers do not all fit the signed ones, and are exact as text.
    if data_type.is_integer() && *data_type != DataType::UInt64 {
        let numbers = cast(column, &DataType::Int64)?;
        let numbers = numbers.as_primitive::<Int64Type>();
        return Ok(each(&|row| Value::from(numbers.value(row))));
    }
    if data_type.is_floating() {
        let numbers = cast(column, &DataType::Float64)?;
        let numbers = numbers.as_primitive::<Float64Type>();
        return Ok(each(&|row| number(numbers.value(row))));
    }
    if *data_type == DataType::Boolean {
        let flags = column.as_boolean();
        return Ok(each(&|row| Value::from(flags.value(row))));
    }
    let options = FormatOptions::default();
    let texts = ArrayFormatter::try_new(column, &options)?;
    Ok(each(&|row| Value::from(texts.value(row).to_string())))
}

/// JSON has no NaN and no infinity: they are texts.
fn number(value: f64) -> Value {
    serde_json::Number::from_f64(value)
        .map_or_else(|| Value::from(value.to_string()), Value::Number)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::{
        ArrayRef, BinaryArray, BooleanArray, Float64Array, StringArray, TimestampMicrosecondArray,
        UInt8Array,
    };

    use super::*;

    #[test]
    fn each_type_is_the_nearest_of_json() {
        let check = |column: ArrayRef, expected: &[&str]| {
            let batch = RecordBatch::try_from_iter_with_nullable([("x", column, true)]).unwrap();
            let expected: Vec<_> = expected
                .iter()
                .map(|value| format!(r#"{{"x":{value}}}"#))
                .collect();
            assert_eq!(rows(&batch).unwrap(), expected);
        };
        check(
            Arc::new(UInt8Array::from(vec![Some(7), None])),
            &["7", "null"],
        );
        check(
            Arc::new(Float64Array::from(vec![0.5, f64::NAN])),
            &["0.5", "\"NaN\""],
        );
        check(Arc::new(BooleanArray::from(vec![true])), &["true"]);
        check(
            Arc::new(StringArray::from(vec!["a \"b\""])),
            &[r#""a \"b\"""#],
        );
        check(
            Arc::new(BinaryArray::from(vec![&[0x0a_u8, 0xff][..]])),
            &["\"0aff\""],
        );
        let time =
            TimestampMicrosecondArray::from(vec![1_714_550_400_000_000]).with_timezone("UTC");
        check(Arc::new(time), &["\"2024-05-01T08:00:00Z\""]);
    }
}
