//! [`Interaction`]: one row of the table that sessions are made of.

use std::sync::{Arc, LazyLock};

use arrow::array::{AsArray, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimestampMicrosecondType};
use jiff::Timestamp;

use crate::error::{Error, Result};
use crate::record::{Record, project, timestamp_at, timestamp_type};
use crate::vocabulary::ItemId;

/// A shopper met an item in a session: one row of the table `interactions`.
///
/// The table may have more columns; these are the ones that the data set is built from.
///
/// | column | type | null | meaning |
/// | --- | --- | --- | --- |
/// | `session_id` | Utf8 | no | the session |
/// | `item_id` | Utf8 | no | the item |
/// | `occurred_at` | Timestamp(µs, UTC) | no | when |
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interaction {
    /// The session.
    pub session: String,
    /// The item.
    pub item: ItemId,
    /// When it happened.
    pub occurred_at: Timestamp,
}

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("session_id", DataType::Utf8, false),
        Field::new("item_id", DataType::Utf8, false),
        Field::new("occurred_at", timestamp_type(), false),
    ]))
});

impl Record for Interaction {
    const NAME: &'static str = "interaction";
    const TIMESTAMP: &'static str = "occurred_at";

    fn schema() -> SchemaRef {
        Arc::clone(&SCHEMA)
    }

    fn to_batch(records: &[Self]) -> Result<RecordBatch> {
        let sessions = StringArray::from_iter_values(records.iter().map(|r| &r.session));
        let items = StringArray::from_iter_values(records.iter().map(|r| r.item.as_str()));
        let times = TimestampMicrosecondArray::from_iter_values(
            records.iter().map(|r| r.occurred_at.as_microsecond()),
        );
        RecordBatch::try_new(
            Self::schema(),
            vec![
                Arc::new(sessions),
                Arc::new(items),
                Arc::new(times.with_timezone("UTC")),
            ],
        )
        .map_err(|source| Error::Arrow {
            table: Self::NAME.to_owned(),
            source,
        })
    }

    fn from_batch(batch: &RecordBatch) -> Result<Vec<Self>> {
        let batch = project::<Self>(batch)?;
        let sessions = batch.column(0).as_string::<i32>();
        let items = batch.column(1).as_string::<i32>();
        let times = batch.column(2).as_primitive::<TimestampMicrosecondType>();
        (0..batch.num_rows())
            .map(|row| {
                Ok(Self {
                    session: sessions.value(row).to_owned(),
                    item: ItemId::from(items.value(row)),
                    occurred_at: timestamp_at(Self::NAME, "occurred_at", times, row)?,
                })
            })
            .collect()
    }

    fn timestamp(&self) -> Timestamp {
        self.occurred_at
    }

    fn n_bytes(&self) -> usize {
        size_of::<Self>() + self.session.len() + self.item.as_str().len()
    }
}
