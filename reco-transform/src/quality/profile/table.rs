//! A profile as a table.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray,
};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::arrow::error::ArrowError;
use serde::Serialize;

use super::{ColumnProfile, Profile};

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("position", DataType::Int64, false),
        Field::new("column", DataType::Utf8, false),
        Field::new("data_type", DataType::Utf8, false),
        Field::new("n_rows", DataType::Int64, false),
        Field::new("n_nulls", DataType::Int64, false),
        Field::new("n_distinct", DataType::Int64, true),
        Field::new("is_exact", DataType::Boolean, false),
        Field::new("min", DataType::Utf8, true),
        Field::new("max", DataType::Utf8, true),
        Field::new("mean", DataType::Float64, true),
        Field::new("stdev", DataType::Float64, true),
        Field::new("quantiles", DataType::Utf8, false),
        Field::new("min_length", DataType::Int64, true),
        Field::new("max_length", DataType::Int64, true),
        Field::new("values", DataType::Utf8, false),
        Field::new("is_increasing", DataType::Boolean, true),
    ]))
});

/// The columns of the table that [`Profile::to_batch`] makes.
///
/// | column | type | null | meaning |
/// | --- | --- | --- | --- |
/// | `position` | Int64 | no | which column it is, from 0 |
/// | `column` | Utf8 | no | its name |
/// | `data_type` | Utf8 | no | its type, as Arrow writes it |
/// | `n_rows` | Int64 | no | how many rows the table has |
/// | `n_nulls` | Int64 | no | how many of them are NULL |
/// | `n_distinct` | Int64 | yes | how many different values it has |
/// | `is_exact` | Boolean | no | whether that is exact |
/// | `min`, `max` | Utf8 | yes | the least and the greatest value, as JSON |
/// | `mean`, `stdev` | Float64 | yes | of numbers |
/// | `quantiles` | Utf8 | no | of numbers, as JSON: `[{"quantile":0.5,"value":9.5}]` |
/// | `min_length`, `max_length` | Int64 | yes | in characters, of texts |
/// | `values` | Utf8 | no | all texts, if they are few, as JSON: `[{"value":"hat","n":3}]` |
/// | `is_increasing` | Boolean | yes | whether it never falls in the order that was said |
#[must_use]
pub fn profile_schema() -> SchemaRef {
    Arc::clone(&SCHEMA)
}

impl Profile {
    /// The profile as rows, one for each column.
    ///
    /// # Errors
    ///
    /// A count that the columns cannot hold.
    pub fn to_batch(&self) -> Result<RecordBatch, ArrowError> {
        let count = |count: u64| {
            i64::try_from(count).map_err(|_| ArrowError::CastError(format!("{count} is above i64")))
        };
        let counts = |of: &dyn Fn(&ColumnProfile) -> Option<u64>| -> Result<ArrayRef, ArrowError> {
            let counts = self
                .columns
                .iter()
                .map(|column| of(column).map(count).transpose());
            Ok(Arc::new(counts.collect::<Result<Int64Array, _>>()?))
        };
        let texts = |of: &dyn Fn(&ColumnProfile) -> Option<String>| -> ArrayRef {
            Arc::new(self.columns.iter().map(of).collect::<StringArray>())
        };
        let numbers = |of: &dyn Fn(&ColumnProfile) -> Option<f64>| -> ArrayRef {
            Arc::new(self.columns.iter().map(of).collect::<Float64Array>())
        };
        let flags = |of: &dyn Fn(&ColumnProfile) -> Option<bool>| -> ArrayRef {
            Arc::new(self.columns.iter().map(of).collect::<BooleanArray>())
        };
        let positions = (0..).take(self.columns.len());
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from_iter_values(positions)),
            texts(&|column| Some(column.name.clone())),
            texts(&|column| Some(column.data_type.clone())),
            counts(&|_| Some(self.n_rows))?,
            counts(&|column| Some(column.n_nulls))?,
            counts(&|column| column.n_distinct)?,
            flags(&|column| Some(column.is_exact)),
            texts(&|column| column.min.as_ref().map(json)),
            texts(&|column| column.max.as_ref().map(json)),
            numbers(&|column| column.mean),
            numbers(&|column| column.stdev),
            texts(&|column| Some(json(&column.quantiles))),
            counts(&|column| column.min_length)?,
            counts(&|column| column.max_length)?,
            texts(&|column| Some(json(&column.values))),
            flags(&|column| column.is_increasing),
        ];
        RecordBatch::try_new(profile_schema(), columns)
    }
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("texts and finite numbers can be written as JSON")
}
