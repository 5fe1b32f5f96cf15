//! [`Rows`]: what a query gives, as what it can be read as.

use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Float64Type, Int64Type, TimeUnit};
use datafusion::arrow::error::ArrowError;
use datafusion::error::{DataFusionError, Result as EngineResult};
use jiff::civil::DateTime;
use jiff::tz::Offset;
use reco_core::Timestamp;

use crate::error::{Error, Result};

/// The rows of a query.
pub(super) struct Rows {
    pub(super) batches: Vec<RecordBatch>,
}

/// A row of a query, whose values are taken as what they can be read as.
pub(super) struct Row<'a> {
    batch: &'a RecordBatch,
    position: usize,
}

impl Rows {
    pub(super) fn map<T>(
        &self,
        table: &str,
        of: impl Fn(&Row<'_>) -> EngineResult<T>,
    ) -> Result<Vec<T>> {
        let rows = self
            .batches
            .iter()
            .flat_map(|batch| (0..batch.num_rows()).map(move |position| Row { batch, position }));
        let values = rows.map(|row| of(&row)).collect::<EngineResult<Vec<T>>>();
        values.map_err(|source| Error::Read {
            table: table.to_owned(),
            source,
        })
    }
}

impl Row<'_> {
    /// A value as another type; none if it is NULL.
    fn get(&self, column: &str, as_type: &DataType) -> EngineResult<Option<ArrayRef>> {
        let Some(values) = self.batch.column_by_name(column) else {
            return Err(DataFusionError::Internal(format!(
                "the query makes no column `{column}`"
            )));
        };
        let value = values.slice(self.position, 1);
        if value.is_null(0) {
            return Ok(None);
        }
        let value = cast(&value, as_type)
            .map_err(|error| DataFusionError::ArrowError(Box::new(error), None))?;
        Ok((!value.is_null(0)).then_some(value))
    }

    pub(super) fn text(&self, column: &str) -> EngineResult<Option<String>> {
        let value = self.get(column, &DataType::Utf8)?;
        Ok(value.map(|value| value.as_string::<i32>().value(0).to_owned()))
    }

    pub(super) fn number(&self, column: &str) -> EngineResult<Option<f64>> {
        let value = self.get(column, &DataType::Float64)?;
        Ok(value.map(|value| value.as_primitive::<Float64Type>().value(0)))
    }

    /// A count; of NULL none.
    pub(super) fn whole(&self, column: &str) -> EngineResult<u64> {
        let value = self.get(column, &DataType::Int64)?;
        let value = value.map_or(0, |value| value.as_primitive::<Int64Type>().value(0));
        Ok(value.unsigned_abs())
    }

    fn micros(&self, column: &str) -> EngineResult<i64> {
        let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
        let value = self.get(column, &micros)?;
        let value = value
            .map(|value| cast(&value, &DataType::Int64))
            .transpose();
        let failed = |error: ArrowError| DataFusionError::ArrowError(Box::new(error), None);
        let value = value.map_err(failed)?;
        Ok(value.map_or(0, |value| value.as_primitive::<Int64Type>().value(0)))
    }

    pub(super) fn time(&self, column: &str) -> EngineResult<Timestamp> {
        let time = Timestamp::from_microsecond(self.micros(column)?);
        time.map_err(|error| DataFusionError::External(error.into()))
    }

    /// A time on the clocks of a place.
    pub(super) fn local(&self, column: &str) -> EngineResult<DateTime> {
        Ok(Offset::UTC.to_datetime(self.time(column)?))
    }
}
