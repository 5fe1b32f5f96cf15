//! [`ParquetRows`]: rows of a Parquet file.

use std::borrow::Cow;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimeUnit};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::errors::ParquetError;

use super::rows::{Content, Fields, Row, Rows, parquet_error, positions, read_error, too_long};
use crate::batch_rows::batch_rows;
use crate::error::{Error, Result};

const BATCH_ROWS: usize = 1024;
const BATCH_BYTES: u64 = 16 << 20;

/// Rows of a Parquet file.
///
/// Values come as text, times in RFC 3339; a time without a zone is taken for UTC. A row has no bytes
/// of its own here, so it is kept as a JSON object of those texts.
#[derive(Debug)]
pub(super) struct ParquetRows {
    path: PathBuf,
    max_bytes: usize,
    batches: ParquetRecordBatchReader,
    names: Vec<String>,
    positions: Vec<usize>,
    /// The rows that are in memory, as text by column.
    batch: Vec<Vec<Option<String>>>,
    n_batch: usize,
    row: usize,
    n_rows: u64,
    n_total: u64,
    n_bytes: u64,
}

impl ParquetRows {
    /// Opens a file.
    pub(super) fn open(path: &Path, columns: &[String], max_bytes: usize) -> Result<Self> {
        let file = File::open(path).map_err(|error| read_error(path, error))?;
        let n_bytes = file
            .metadata()
            .map_err(|error| read_error(path, error))?
            .len();
        let builder = ParquetRecordBatchReaderBuilder::try_new(file)
            .map_err(|error| parquet_error(path, error))?;
        let n_batch = batch_rows(builder.metadata(), BATCH_ROWS, BATCH_BYTES);
        let n_total = builder.metadata().file_metadata().num_rows();
        let names: Vec<String> = builder
            .schema()
            .fields()
            .iter()
            .map(|field| field.name().clone())
            .collect();
        Ok(Self {
            path: path.to_owned(),
            max_bytes,
            positions: positions(path, &names, columns)?,
            batches: builder
                .with_batch_size(n_batch)
                .build()
                .map_err(|error| parquet_error(path, error))?,
            names,
            batch: Vec::new(),
            n_batch: 0,
            row: 0,
            n_rows: 0,
            n_total: u64::try_from(n_total).unwrap_or(0),
            n_bytes,
        })
    }

    fn load(&mut self, batch: &RecordBatch) -> Result<()> {
        let failed = |source| Error::Arrow {
            path: self.path.display().to_string(),
            source,
        };
        self.batch = batch
            .columns()
            .iter()
            .map(texts)
            .collect::<Result<_, _>>()
            .map_err(failed)?;
        self.n_batch = batch.num_rows();
        self.row = 0;
        Ok(())
    }
}

fn texts(column: &ArrayRef) -> Result<Vec<Option<String>>, arrow::error::ArrowError> {
    let column = match column.data_type() {
        DataType::Timestamp(_, _) => {
            let utc = DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::from("UTC")));
            cast(column, &utc)?
        }
        _ => Arc::clone(column),
    };
    let options = FormatOptions::new();
    let formatter = ArrayFormatter::try_new(column.as_ref(), &options)?;
    (0..column.len())
        .map(|row| {
            if column.is_null(row) {
                return Ok(None);
            }
            let text = formatter.value(row).try_to_string()?;
            Ok((!text.is_empty()).then_some(text))
        })
        .collect()
}

impl Rows for ParquetRows {
    fn next(&mut self, each: &mut dyn FnMut(Row<'_>)) -> Result<bool> {
        while self.row == self.n_batch {
            match self.batches.next() {
                None => return Ok(false),
                Some(Ok(batch)) => self.load(&batch)?,
                Some(Err(source)) => {
                    let source = ParquetError::External(Box::new(source));
                    return Err(parquet_error(&self.path, source));
                }
            }
        }
        let row = self.row;
        self.row += 1;
        self.n_rows += 1;
        let object: serde_json::Map<_, _> = self
            .names
            .iter()
            .zip(&self.batch)
            .map(|(name, column)| (name.clone(), column[row].clone().into()))
            .collect();
        let texts = self
            .positions
            .iter()
            .map(|&at| self.batch[at][row].as_deref().map(Cow::Borrowed));
        let fields = Fields::Texts(texts.collect());
        let mut bytes = serde_json::Value::Object(object).to_string().into_bytes();
        let n_cut = bytes.len().saturating_sub(self.max_bytes);
        bytes.truncate(self.max_bytes);
        each(Row {
            position: self.n_rows,
            bytes: &bytes.into(),
            content: if n_cut > 0 {
                Err(too_long(n_cut as u64))
            } else {
                Ok(Content::One(fields))
            },
        });
        Ok(true)
    }

    // The share of the rows that were read, of the bytes that the file has.
    fn n_read(&self) -> u64 {
        let share = u128::from(self.n_bytes) * u128::from(self.n_rows);
        let n_read = share.checked_div(u128::from(self.n_total));
        n_read.map_or(self.n_bytes, |n| u64::try_from(n).unwrap_or(self.n_bytes))
    }
}
