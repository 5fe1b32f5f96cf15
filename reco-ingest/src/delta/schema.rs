//! The columns of a raw table: those of the record, and two that the table adds.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use deltalake::kernel::engine::arrow_conversion::TryIntoKernel;
use deltalake::kernel::{StructField, StructType};
use deltalake::table::state::DeltaTableState;
use reco_core::{Record, nearest};

use crate::error::{Error, Result};

/// The column that says in which order the rows were written; see [`first_seq`].
pub(super) const SEQ: &str = "ingest_seq";
/// The partition column: the UTC date of the record's time.
pub(super) const DATE: &str = "received_date";

// The lower half of a sequence number counts the rows of a commit.
const ROW_BITS: u32 = 32;
/// The most rows that one commit can number.
pub(super) const MAX_ROWS: usize = u32::MAX as usize;

/// The sequence number of the first row of a commit: version × 2³² + row.
///
/// A commit lands at exactly the version that its rows are numbered by, or is numbered anew. So the
/// numbers order the rows of the whole table as they were written, whatever files a later compaction
/// moves them to, and the version of a row can be read off its number.
pub(crate) fn first_seq(version: u64) -> i64 {
    i64::try_from(version).map_or(i64::MAX, |version| {
        version.saturating_mul(1_i64 << ROW_BITS)
    })
}

/// The version of the commit that wrote the row of a sequence number.
pub(super) fn version_of(seq: i64) -> u64 {
    u64::try_from(seq >> ROW_BITS).unwrap_or(0)
}

/// The columns of the data files: those of the record, then the sequence number.
///
/// The date is not among them: Delta keeps partition values in the log.
pub(super) fn file_schema<E: Record>() -> SchemaRef {
    let mut fields: Vec<_> = E::schema().fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new(SEQ, DataType::Int64, false)));
    Arc::new(Schema::new(fields))
}

/// The columns of the table, as Delta declares them.
pub(super) fn table_columns<E: Record>(table: &str) -> Result<Vec<StructField>> {
    for reserved in [SEQ, DATE] {
        if E::schema().column_with_name(reserved).is_some() {
            return Err(mismatch(
                table,
                reserved,
                "no such column: the table adds it",
                "one of the record",
            ));
        }
    }
    let mut fields: Vec<_> = file_schema::<E>().fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new(DATE, DataType::Date32, false)));
    let schema: StructType =
        (&Schema::new(fields))
            .try_into_kernel()
            .map_err(|source| Error::Arrow {
                path: table.to_owned(),
                source,
            })?;
    Ok(schema.fields().cloned().collect())
}

/// Whether the table that is there has the columns of the record.
pub(super) fn check<E: Record>(table: &str, state: &DeltaTableState) -> Result<()> {
    let found = state.schema();
    let expected = table_columns::<E>(table)?;
    for field in &expected {
        let name = field.name();
        let Some(there) = found.field(name) else {
            return Err(reco_core::Error::MissingColumn {
                table: table.to_owned(),
                column: name.clone(),
                nearest: nearest(name, found.fields().map(StructField::name)),
            }
            .into());
        };
        if (there.data_type(), there.is_nullable()) != (field.data_type(), field.is_nullable()) {
            return Err(mismatch(table, name, &describe(field), &describe(there)));
        }
    }
    if let Some(extra) = found
        .fields()
        .find(|there| expected.iter().all(|field| field.name() != there.name()))
    {
        let found = describe(extra);
        return Err(mismatch(table, extra.name(), "no such column", &found));
    }
    let partitions = state.metadata().partition_columns();
    if partitions.iter().ne([DATE]) {
        let found = format!("partitions by {partitions:?}");
        return Err(mismatch(table, DATE, "the only partition column", &found));
    }
    Ok(())
}

fn describe(field: &StructField) -> String {
    let null = if field.is_nullable() {
        "nullable"
    } else {
        "not null"
    };
    format!("{} {null}", field.data_type())
}

fn mismatch(table: &str, column: &str, expected: &str, found: &str) -> Error {
    Error::SchemaMismatch {
        table: table.to_owned(),
        column: column.to_owned(),
        expected: expected.to_owned(),
        found: found.to_owned(),
    }
}
