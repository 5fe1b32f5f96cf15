//! [`Record`]: a Rust type that is a row of a table.

use std::fmt::Debug;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, SchemaRef, TimeUnit, TimestampNanosecondType};
use jiff::{SignedDuration, Timestamp};

use crate::error::{Error, Result, nearest};

/// A Rust type that is a row of a table: its schema, and the way there and back.
///
/// # Contract
///
/// * `from_batch(to_batch(records)) == records` for records whose times are whole microseconds.
/// * `to_batch` makes a batch of exactly [`schema`](Self::schema), of one row per record, in order.
/// * `from_batch` finds columns by name, ignores others, and accepts other layouts of the
///   declared type, so that a table that another engine wrote can be read; no value changes.
pub trait Record: Clone + Debug + Send + Sync + Sized + 'static {
    /// What one is called in errors.
    const NAME: &'static str;

    /// The column of [`timestamp`](Self::timestamp).
    const TIMESTAMP: &'static str;

    /// The columns of the table.
    fn schema() -> SchemaRef;

    /// The records as a batch.
    ///
    /// # Errors
    ///
    /// [`Error::Arrow`] if the batch cannot be built.
    fn to_batch(records: &[Self]) -> Result<RecordBatch>;

    /// The rows of a batch as records.
    ///
    /// # Errors
    ///
    /// [`Error::MissingColumn`] and [`Error::InvalidValue`] name the column.
    fn from_batch(batch: &RecordBatch) -> Result<Vec<Self>>;

    /// The time by which a table of these is partitioned and a window selects: for a raw record,
    /// when it was received.
    fn timestamp(&self) -> Timestamp;

    /// About how many bytes it holds, for buffers that are bounded in bytes.
    fn n_bytes(&self) -> usize;
}

/// The Arrow type of every time in our tables: microseconds since 1970 in UTC.
#[must_use]
pub fn timestamp_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::from("UTC")))
}

/// The columns of a record's schema, in its order and of its types, out of a wider batch.
///
/// # Errors
///
/// [`Error::MissingColumn`] where one is not there, [`Error::ColumnType`] where a type is not one that
/// is read as the declared one, [`Error::InvalidValue`] where a value that must not be null is, or a
/// time is finer than a microsecond, [`Error::Arrow`] where a value does not fit.
pub fn project<R: Record>(batch: &RecordBatch) -> Result<RecordBatch> {
    project_to(R::NAME, &R::schema(), batch)
}

/// As [`project`], for a schema that is no record's.
///
/// # Errors
///
/// As [`project`].
pub fn project_to(table: &str, schema: &SchemaRef, batch: &RecordBatch) -> Result<RecordBatch> {
    let mut columns = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        let found = batch
            .column_by_name(field.name())
            .ok_or_else(|| Error::MissingColumn {
                table: table.to_owned(),
                column: field.name().clone(),
                nearest: nearest(
                    field.name(),
                    batch.schema().fields().iter().map(|f| f.name()),
                ),
            })?;
        let column = cast(table, field, found)?;
        if !field.is_nullable() && column.null_count() > 0 {
            let row = (0..column.len())
                .find(|&row| column.is_null(row))
                .unwrap_or_default();
            return Err(Error::InvalidValue {
                table: table.to_owned(),
                column: field.name().clone(),
                row,
                reason: "null where a value is required".to_owned(),
            });
        }
        columns.push(column);
    }
    RecordBatch::try_new(Arc::clone(schema), columns).map_err(|source| Error::Arrow {
        table: table.to_owned(),
        source,
    })
}

/// The column as the declared type, where no value changes on the way.
fn cast(table: &str, field: &Field, found: &ArrayRef) -> Result<ArrayRef> {
    if !is_read_as(found.data_type(), field.data_type()) {
        return Err(Error::ColumnType {
            table: table.to_owned(),
            column: field.name().clone(),
            found: found.data_type().to_string(),
            expected: field.data_type().to_string(),
        });
    }
    // Safe casts would turn what does not fit into nulls, silently.
    let options = CastOptions {
        safe: false,
        ..Default::default()
    };
    let failed = |source| Error::Arrow {
        table: table.to_owned(),
        source,
    };
    let column = cast_with_options(found, field.data_type(), &options).map_err(failed)?;
    if matches!(
        found.data_type(),
        DataType::Timestamp(TimeUnit::Nanosecond, _)
    ) {
        let finer = |nanos: Option<i64>| nanos.is_some_and(|nanos| nanos % 1_000 != 0);
        let nanos = found.as_primitive::<TimestampNanosecondType>();
        if let Some(row) = nanos.iter().position(finer) {
            return Err(Error::InvalidValue {
                table: table.to_owned(),
                column: field.name().clone(),
                row,
                reason: "finer than a microsecond".to_owned(),
            });
        }
    }
    Ok(column)
}

/// Whether values of a type are taken for those of another: other layouts of text and bytes, narrower
/// numbers, times in other units. Not numbers as times, nor fractions as counts.
fn is_read_as(found: &DataType, declared: &DataType) -> bool {
    use DataType::{
        Binary, BinaryView, Dictionary, FixedSizeBinary, Float16, Float32, Float64, Int8, Int16,
        Int32, Int64, LargeBinary, LargeUtf8, Null, Timestamp, UInt8, UInt16, UInt32, Utf8,
        Utf8View,
    };
    match (found, declared) {
        (Dictionary(_, values), _) => is_read_as(values, declared),
        (Null, _)
        | (LargeUtf8 | Utf8View, Utf8)
        | (BinaryView | FixedSizeBinary(_) | LargeBinary, Binary)
        | (Timestamp(..), Timestamp(..))
        | (Float16 | Float32 | Int8 | Int16 | Int32 | UInt8 | UInt16 | UInt32, Float64) => true,
        (found, Int64) => found.is_integer(),
        (found, declared) => found == declared,
    }
}

/// The time at a row of a column of [`timestamp_type`].
pub(crate) fn timestamp_at(
    table: &str,
    column: &str,
    values: &arrow::array::TimestampMicrosecondArray,
    row: usize,
) -> Result<Timestamp> {
    // Not `from_microsecond`, which refuses the last second that there is.
    let since_1970 = SignedDuration::from_micros(values.value(row));
    Timestamp::from_duration(since_1970).map_err(|error| Error::InvalidValue {
        table: table.to_owned(),
        column: column.to_owned(),
        row,
        reason: error.to_string(),
    })
}

/// The text at a row, or none where it is null.
pub(crate) fn text_at(column: &dyn Array, row: usize) -> Option<&str> {
    column
        .is_valid(row)
        .then(|| column.as_string::<i32>().value(row))
}

#[cfg(test)]
mod tests {
    use arrow::array::{
        Float64Array, Int64Array, StringViewArray, TimestampNanosecondArray, TimestampSecondArray,
    };
    use arrow::datatypes::{Schema, TimestampMicrosecondType};

    use super::*;

    fn check(column: ArrayRef, declared: DataType) -> Result<ArrayRef> {
        let schema = |of: DataType| Arc::new(Schema::new(vec![Field::new("c", of, true)]));
        let from = schema(column.data_type().clone());
        let batch = RecordBatch::try_new(from, vec![column]).unwrap();
        project_to("t", &schema(declared), &batch).map(|batch| Arc::clone(batch.column(0)))
    }

    #[test]
    fn other_layouts_and_units_are_read() {
        let text = check(Arc::new(StringViewArray::from(vec!["a"])), DataType::Utf8).unwrap();
        assert_eq!(text_at(&text, 0), Some("a"));
        let time = check(
            Arc::new(TimestampSecondArray::from(vec![7])),
            timestamp_type(),
        )
        .unwrap();
        assert_eq!(
            time.as_primitive::<TimestampMicrosecondType>().value(0),
            7_000_000
        );
    }

    #[test]
    fn what_would_change_is_refused() {
        let refused = |column, declared| check(column, declared).unwrap_err().to_string();
        let error = refused(
            Arc::new(Int64Array::from(vec![1_714_564_800])),
            timestamp_type(),
        );
        assert!(
            error.starts_with("table `t`, column `c` is Int64, expected Timestamp("),
            "{error}"
        );
        assert_eq!(
            refused(Arc::new(Float64Array::from(vec![2.7])), DataType::Int64),
            "table `t`, column `c` is Float64, expected Int64"
        );
        assert_eq!(
            refused(
                Arc::new(TimestampNanosecondArray::from(vec![1_000, 1_001])),
                timestamp_type()
            ),
            "table `t`, column `c`, row 1: finer than a microsecond"
        );
    }
}
