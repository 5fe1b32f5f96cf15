//! [`Record`]: a Rust type that is a row of a table.

use std::fmt::Debug;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, SchemaRef, TimeUnit};
use jiff::{SignedDuration, Timestamp};

use crate::error::{Error, Result, nearest};

/// A Rust type that is a row of a table: its schema, and the way there and back.
///
/// # Contract
///
/// * `from_batch(to_batch(records)) == records` for records whose times are whole microseconds.
/// * `to_batch` makes a batch of exactly [`schema`](Self::schema), of one row per record, in order.
/// * `from_batch` finds columns by name, ignores others, and accepts any type that Arrow casts
///   without loss to the declared one, so that a table that another engine wrote can be read.
pub trait Record: Clone + Debug + Send + Sync + Sized + 'static {
    /// What one is called in errors.
    const NAME: &'static str;

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
/// [`Error::MissingColumn`] where one is not there, [`Error::InvalidValue`] where a value that must
/// not be null is, [`Error::Arrow`] where a type cannot be cast without loss.
pub fn project<R: Record>(batch: &RecordBatch) -> Result<RecordBatch> {
    project_to(R::NAME, &R::schema(), batch)
}

/// As [`project`], for a schema that is no record's.
///
/// # Errors
///
/// As [`project`].
pub fn project_to(table: &str, schema: &SchemaRef, batch: &RecordBatch) -> Result<RecordBatch> {
    // Safe casts would turn what does not fit into nulls, silently.
    let options = arrow::compute::CastOptions {
        safe: false,
        ..Default::default()
    };
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
        let column = arrow::compute::cast_with_options(found, field.data_type(), &options)
            .map_err(|source| Error::Arrow {
                table: table.to_owned(),
                source,
            })?;
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
