//! [`Erasure`]: that somebody was forgotten, and not who.

use std::sync::{Arc, LazyLock};

use arrow::array::{
    ArrayRef, AsArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimestampMicrosecondType};
use reco_core::{Error, Record, Result, Timestamp, project, timestamp_type};

/// That somebody was forgotten, and not who.
///
/// | column | type | null | meaning |
/// | --- | --- | --- | --- |
/// | `erased_at` | Timestamp(µs, UTC) | no | when it was asked for; the table's partition |
/// | `table` | Utf8 | no | where it was erased: the location of the table |
/// | `version` | Int64 | no | the version up to which rows were erased |
/// | `n_rows` | Int64 | no | rows of the table that were erased |
/// | `n_files_rewritten` | Int64 | no | files of the table that held them |
/// | `n_files_deleted` | Int64 | no | files that were deleted, those of old versions included |
/// | `n_log_entries_deleted` | Int64 | no | files of the log that were deleted |
/// | `n_files_proved` | Int64 | no | files that were read afterwards, with nothing found |
///
/// An erasure that is run again counts what was left to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erasure {
    /// When it was asked for.
    pub erased_at: Timestamp,
    /// Where it was erased: the location of the table.
    pub table: String,
    /// The version up to which rows were erased.
    pub version: u64,
    /// Rows of the table that were erased.
    pub n_rows: u64,
    /// Files of the table that held them.
    pub n_files_rewritten: u64,
    /// Files that were deleted, those of old versions included.
    pub n_files_deleted: u64,
    /// Files of the log that were deleted.
    pub n_log_entries_deleted: u64,
    /// Files that were read afterwards, with nothing found.
    pub n_files_proved: u64,
}

const COUNTS: [&str; 6] = [
    "version",
    "n_rows",
    "n_files_rewritten",
    "n_files_deleted",
    "n_log_entries_deleted",
    "n_files_proved",
];

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let mut fields = vec![
        Field::new("erased_at", timestamp_type(), false),
        Field::new("table", DataType::Utf8, false),
    ];
    fields.extend(COUNTS.map(|name| Field::new(name, DataType::Int64, false)));
    Arc::new(Schema::new(fields))
});

impl Erasure {
    // In the order of `COUNTS`.
    fn counts(&self) -> [u64; 6] {
        [
            self.version,
            self.n_rows,
            self.n_files_rewritten,
            self.n_files_deleted,
            self.n_log_entries_deleted,
            self.n_files_proved,
        ]
    }
}

impl Record for Erasure {
    const NAME: &'static str = "erasure";
    const TIMESTAMP: &'static str = "erased_at";

    fn schema() -> SchemaRef {
        Arc::clone(&SCHEMA)
    }

    fn to_batch(records: &[Self]) -> Result<RecordBatch> {
        let times = records.iter().map(|r| r.erased_at.as_microsecond());
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC")),
            Arc::new(StringArray::from_iter_values(
                records.iter().map(|r| &r.table),
            )),
        ];
        for at in 0..COUNTS.len() {
            let counts = records.iter().map(|r| r.counts()[at]);
            columns.push(Arc::new(Int64Array::from_iter_values(
                counts.map(|count| i64::try_from(count).unwrap_or(i64::MAX)),
            )));
        }
        RecordBatch::try_new(Self::schema(), columns).map_err(|source| Error::Arrow {
            table: Self::NAME.to_owned(),
            source,
        })
    }

    fn from_batch(batch: &RecordBatch) -> Result<Vec<Self>> {
        let batch = project::<Self>(batch)?;
        let times = batch.column(0).as_primitive::<TimestampMicrosecondType>();
        let tables = batch.column(1).as_string::<i32>();
        let invalid = |column: &str, row, reason| Error::InvalidValue {
            table: Self::NAME.to_owned(),
            column: column.to_owned(),
            row,
            reason,
        };
        (0..batch.num_rows())
            .map(|row| {
                let mut counts = [0; 6];
                for (at, count) in counts.iter_mut().enumerate() {
                    let value = batch.column(at + 2).as_primitive::<Int64Type>().value(row);
                    *count = u64::try_from(value)
                        .map_err(|error| invalid(COUNTS[at], row, error.to_string()))?;
                }
                let [
                    version,
                    n_rows,
                    n_files_rewritten,
                    n_files_deleted,
                    n_log,
                    n_proved,
                ] = counts;
                Ok(Self {
                    erased_at: Timestamp::from_microsecond(times.value(row))
                        .map_err(|error| invalid("erased_at", row, error.to_string()))?,
                    table: tables.value(row).to_owned(),
                    version,
                    n_rows,
                    n_files_rewritten,
                    n_files_deleted,
                    n_log_entries_deleted: n_log,
                    n_files_proved: n_proved,
                })
            })
            .collect()
    }

    fn timestamp(&self) -> Timestamp {
        self.erased_at
    }

    fn n_bytes(&self) -> usize {
        size_of::<Self>() + self.table.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_batch_gives_back_what_went_in(
            erasures in prop::collection::vec(
                (-2_000_000_000_000_000_i64..4_000_000_000_000_000, ".{0,12}", prop::array::uniform6(0..i64::MAX as u64)),
                0..20,
            ),
        ) {
            let erasures: Vec<_> = erasures
                .into_iter()
                .map(|(time, table, counts)| Erasure {
                    erased_at: Timestamp::from_microsecond(time).unwrap(),
                    table,
                    version: counts[0],
                    n_rows: counts[1],
                    n_files_rewritten: counts[2],
                    n_files_deleted: counts[3],
                    n_log_entries_deleted: counts[4],
                    n_files_proved: counts[5],
                })
                .collect();
            let batch = Erasure::to_batch(&erasures).unwrap();
            prop_assert_eq!(Erasure::from_batch(&batch).unwrap(), erasures);
        }
    }
}
