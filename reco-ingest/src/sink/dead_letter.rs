//! [`DeadLetter`]: what could not be read, with its bytes and the reason.

use std::sync::{Arc, LazyLock};

use arrow::array::{
    AsArray, BinaryArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimestampMicrosecondType};
use bytes::Bytes;
use reco_core::{Error, Record, Result, Timestamp, project, timestamp_type};

/// What could not be read, with its bytes and the reason.
///
/// Dead letters are records like any other: a `DeltaTable<DeadLetter>` keeps them, and once the
/// reader is mended their payloads can be read again.
///
/// | column | type | null | meaning |
/// | --- | --- | --- | --- |
/// | `received_at` | Timestamp(µs, UTC) | no | when it was received; the table's partition |
/// | `source` | Utf8 | no | the file or endpoint that it came from |
/// | `position` | Int64 | no | the line or row in the source, from 1; of a text that spans lines, the first |
/// | `reason` | Utf8 | no | why it could not be read |
/// | `payload` | Binary | no | the bytes as the source sent them |
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// When it was received.
    pub received_at: Timestamp,
    /// The file or endpoint that it came from.
    pub source: String,
    /// The line or row in the source, from 1; of a text that spans lines, the first.
    pub position: i64,
    /// Why it could not be read.
    pub reason: String,
    /// The bytes as the source sent them.
    pub payload: Bytes,
}

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("received_at", timestamp_type(), false),
        Field::new("source", DataType::Utf8, false),
        Field::new("position", DataType::Int64, false),
        Field::new("reason", DataType::Utf8, false),
        Field::new("payload", DataType::Binary, false),
    ]))
});

impl Record for DeadLetter {
    const NAME: &'static str = "dead_letter";
    const TIMESTAMP: &'static str = "received_at";

    fn schema() -> SchemaRef {
        Arc::clone(&SCHEMA)
    }

    fn to_batch(records: &[Self]) -> Result<RecordBatch> {
        let times = records.iter().map(|r| r.received_at.as_microsecond());
        RecordBatch::try_new(
            Self::schema(),
            vec![
                Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC")),
                Arc::new(StringArray::from_iter_values(
                    records.iter().map(|r| &r.source),
                )),
                Arc::new(Int64Array::from_iter_values(
                    records.iter().map(|r| r.position),
                )),
                Arc::new(StringArray::from_iter_values(
                    records.iter().map(|r| &r.reason),
                )),
                Arc::new(BinaryArray::from_iter_values(
                    records.iter().map(|r| &r.payload),
                )),
            ],
        )
        .map_err(|source| Error::Arrow {
            table: Self::NAME.to_owned(),
            source,
        })
    }

    fn from_batch(batch: &RecordBatch) -> Result<Vec<Self>> {
        let batch = project::<Self>(batch)?;
        let received_at = batch.column(0).as_primitive::<TimestampMicrosecondType>();
        let source = batch.column(1).as_string::<i32>();
        let position = batch.column(2).as_primitive::<Int64Type>();
        let reason = batch.column(3).as_string::<i32>();
        let payload = batch.column(4).as_binary::<i32>();
        (0..batch.num_rows())
            .map(|row| {
                let time = Timestamp::from_microsecond(received_at.value(row));
                Ok(Self {
                    received_at: time.map_err(|error| Error::InvalidValue {
                        table: Self::NAME.to_owned(),
                        column: "received_at".to_owned(),
                        row,
                        reason: error.to_string(),
                    })?,
                    source: source.value(row).to_owned(),
                    position: position.value(row),
                    reason: reason.value(row).to_owned(),
                    payload: Bytes::copy_from_slice(payload.value(row)),
                })
            })
            .collect()
    }

    fn timestamp(&self) -> Timestamp {
        self.received_at
    }

    fn n_bytes(&self) -> usize {
        size_of::<Self>() + self.source.len() + self.reason.len() + self.payload.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    prop_compose! {
        fn letters()(
            time in -2_000_000_000_000_000_i64..4_000_000_000_000_000,
            source in ".{0,12}",
            position in any::<i64>(),
            reason in ".{0,12}",
            payload in prop::collection::vec(any::<u8>(), 0..40),
        ) -> DeadLetter {
            DeadLetter {
                received_at: Timestamp::from_microsecond(time).unwrap(),
                source, position, reason, payload: payload.into(),
            }
        }
    }

    proptest! {
        #[test]
        fn a_batch_gives_back_what_went_in(letters in prop::collection::vec(letters(), 0..20)) {
            let batch = DeadLetter::to_batch(&letters).unwrap();
            prop_assert_eq!(DeadLetter::from_batch(&batch).unwrap(), letters);
        }
    }
}
