//! [`CoveoContent`]: what the Coveo data challenge says of its items.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use arrow::array::{
    Array, ArrayRef, AsArray, Float32Builder, Int64Array, ListBuilder, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{
    DataType, Field, Float32Type, Int64Type, Schema, SchemaRef, TimestampMicrosecondType,
};
use bytes::Bytes;
use reco_core::{
    Error as CoreError, EventSink, ItemId, Record, Result as CoreResult, Timestamp, project,
    timestamp_type,
};

use super::drive::{Decode, Job, RowIds};
use super::mapper::list;
use super::reading::Reading;
use super::records::Records;
use super::rows::Fields;
use super::target::{Sink, Target};
use super::{Format, ImportReport, Progress};
use crate::error::Result;
use crate::sink::DeadLetter;

/// What the Coveo data challenge (SIGIR eCom 2021) says of an item: a row of `sku_to_content`.
///
/// | column | type | null | meaning |
/// | --- | --- | --- | --- |
/// | `received_at` | Timestamp(µs, UTC) | no | when it was imported; the table's partition |
/// | `item_id` | Utf8 | no | the hashed SKU |
/// | `description_vector` | List(Float32) | yes | in the space of query vectors |
/// | `category` | Utf8 | yes | a path, `/` separated |
/// | `image_vector` | List(Float32) | yes | |
/// | `price_bucket` | Int64 | yes | decile, from 1 |
#[derive(Debug, Clone, PartialEq)]
pub struct CoveoContent {
    /// When it was imported.
    pub received_at: Timestamp,
    /// The hashed SKU.
    pub item: ItemId,
    /// In the space of query vectors.
    pub description_vector: Option<Vec<f32>>,
    /// A path, `/` separated.
    pub category: Option<String>,
    /// Of the picture.
    pub image_vector: Option<Vec<f32>>,
    /// Decile, from 1.
    pub price_bucket: Option<i64>,
}

fn vector_type() -> DataType {
    DataType::List(Arc::new(Field::new("element", DataType::Float32, false)))
}

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("received_at", timestamp_type(), false),
        Field::new("item_id", DataType::Utf8, false),
        Field::new("description_vector", vector_type(), true),
        Field::new("category", DataType::Utf8, true),
        Field::new("image_vector", vector_type(), true),
        Field::new("price_bucket", DataType::Int64, true),
    ]))
});

impl Record for CoveoContent {
    const NAME: &'static str = "coveo_content";
    const TIMESTAMP: &'static str = "received_at";

    fn schema() -> SchemaRef {
        Arc::clone(&SCHEMA)
    }

    fn to_batch(records: &[Self]) -> CoreResult<RecordBatch> {
        let vectors = |of: fn(&Self) -> &Option<Vec<f32>>| -> ArrayRef {
            let mut builder = ListBuilder::new(Float32Builder::new()).with_field(Field::new(
                "element",
                DataType::Float32,
                false,
            ));
            for record in records {
                if let Some(vector) = of(record) {
                    builder.values().append_slice(vector);
                }
                builder.append(of(record).is_some());
            }
            Arc::new(builder.finish())
        };
        let times = records.iter().map(|r| r.received_at.as_microsecond());
        RecordBatch::try_new(
            Self::schema(),
            vec![
                Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC")),
                Arc::new(StringArray::from_iter_values(
                    records.iter().map(|r| r.item.as_str()),
                )),
                vectors(|r| &r.description_vector),
                Arc::new(StringArray::from_iter(
                    records.iter().map(|r| r.category.as_deref()),
                )),
                vectors(|r| &r.image_vector),
                Arc::new(Int64Array::from_iter(
                    records.iter().map(|r| r.price_bucket),
                )),
            ],
        )
        .map_err(|source| CoreError::Arrow {
            table: Self::NAME.to_owned(),
            source,
        })
    }

    fn from_batch(batch: &RecordBatch) -> CoreResult<Vec<Self>> {
        let batch = project::<Self>(batch)?;
        let received_at = batch.column(0).as_primitive::<TimestampMicrosecondType>();
        let item = batch.column(1).as_string::<i32>();
        let category = batch.column(3).as_string::<i32>();
        let price_bucket = batch.column(5).as_primitive::<Int64Type>();
        let vector = |column: usize, row: usize| {
            let vectors = batch.column(column).as_list::<i32>();
            vectors.is_valid(row).then(|| {
                let vector = vectors.value(row);
                vector.as_primitive::<Float32Type>().values().to_vec()
            })
        };
        (0..batch.num_rows())
            .map(|row| {
                let time = Timestamp::from_microsecond(received_at.value(row));
                Ok(Self {
                    received_at: time.map_err(|error| CoreError::InvalidValue {
                        table: Self::NAME.to_owned(),
                        column: "received_at".to_owned(),
                        row,
                        reason: error.to_string(),
                    })?,
                    item: item.value(row).into(),
                    description_vector: vector(2, row),
                    category: category
                        .is_valid(row)
                        .then(|| category.value(row).to_owned()),
                    image_vector: vector(4, row),
                    price_bucket: price_bucket.is_valid(row).then(|| price_bucket.value(row)),
                })
            })
            .collect()
    }

    fn timestamp(&self) -> Timestamp {
        self.received_at
    }

    fn n_bytes(&self) -> usize {
        let vector = |vector: &Option<Vec<f32>>| vector.as_ref().map_or(0, |v| size_of_val(&v[..]));
        size_of::<Self>()
            + self.item.as_str().len()
            + self.category.as_ref().map_or(0, String::len)
            + vector(&self.description_vector)
            + vector(&self.image_vector)
    }
}

/// The file `sku_to_content` of the Coveo data challenge as [`CoveoContent`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoveoContentImport {
    /// Write once so many records and dead letters are there. Default: 10 000.
    pub batch_rows: usize,
    /// The longest row in bytes; a longer one is a dead letter. Default: 1 MiB.
    pub max_row_bytes: usize,
}

impl Default for CoveoContentImport {
    fn default() -> Self {
        Self {
            batch_rows: 10_000,
            max_row_bytes: super::default_max_row_bytes(),
        }
    }
}

impl CoveoContentImport {
    /// Imports a file, as [`Import::run`](super::Import::run) does.
    ///
    /// # Errors
    ///
    /// As [`Import::run`](super::Import::run).
    pub async fn run<S, D>(
        &self,
        path: impl AsRef<Path>,
        imported_at: Timestamp,
        sink: &S,
        dead_letters: &D,
        progress: impl FnMut(Progress) + Send,
    ) -> Result<ImportReport>
    where
        S: EventSink<CoveoContent> + ?Sized,
        D: EventSink<DeadLetter> + ?Sized,
    {
        let job = Job {
            path: path.as_ref().to_owned(),
            source: None,
            identity: None,
            format: Format::csv(','),
            batch_rows: self.batch_rows,
            max_row_bytes: self.max_row_bytes,
            imported_at,
            n_ahead: 1,
        };
        let decode = ContentDecoder {
            columns: COLUMNS.map(ToOwned::to_owned),
            imported_at,
        };
        let target = Sink(sink);
        let reading = Reading::begin(job, decode, Target::<CoveoContent>::gather(&target))?;
        reading.land(target, dead_letters, progress).await
    }
}

const COLUMNS: [&str; 5] = [
    "product_sku_hash",
    "description_vector",
    "category_hash",
    "image_vector",
    "price_bucket",
];

#[derive(Debug)]
struct ContentDecoder {
    columns: [String; 5],
    imported_at: Timestamp,
}

impl Decode<CoveoContent> for ContentDecoder {
    fn columns(&self) -> &[String] {
        &self.columns
    }

    fn decode(
        &self,
        fields: &Fields<'_>,
        _ids: &mut RowIds<'_>,
        out: &mut Records<CoveoContent>,
    ) -> Result<(), String> {
        let get = |at: usize| fields.get(at);
        let vector = |at: usize| get(at).map(|text| floats(COLUMNS[at], text)).transpose();
        out.push(CoveoContent {
            received_at: self.imported_at,
            item: get(0)
                .ok_or("column `product_sku_hash` has no value")?
                .into(),
            description_vector: vector(1)?,
            category: get(2).map(ToOwned::to_owned),
            image_vector: vector(3)?,
            price_bucket: get(4).map(bucket).transpose()?,
        });
        Ok(())
    }

    fn is_name(&self, column: &str) -> bool {
        column == COLUMNS[0]
    }

    fn makes_ids(&self) -> bool {
        false
    }

    // A row says nothing more than its columns.
    fn keep(&self, _first: &mut CoveoContent, _bytes: Bytes) {}
}

fn floats(column: &str, text: &str) -> Result<Vec<f32>, String> {
    list(text)
        .map(|element| {
            let number = element.parse();
            number.map_err(|_| format!("column `{column}`: `{element}` is no number"))
        })
        .collect()
}

// The file writes whole numbers as `7.0`.
fn bucket(text: &str) -> Result<i64, String> {
    let whole = text.strip_suffix(".0").unwrap_or(text);
    whole
        .parse()
        .map_err(|_| format!("column `price_bucket`: `{text}` is no whole number"))
}
