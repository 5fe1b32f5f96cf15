//! Records as Parquet files, one for each date.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{DataType, SchemaRef};
use bytes::Bytes;
use jiff::civil::Date;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowRowGroupWriterFactory;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::SortingColumn;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::ColumnPath;
use reco_core::Record;

use super::packed::Packed;
use super::row_group::encode_columns;
use super::schema::{self, MAX_ROWS, SEQ};
use crate::error::{Error, Result};

// A row group that has so many bytes in memory ends: readers take the mean size of its rows for that
// of each, which must not hide a few large ones among many small.
const ROW_GROUP_BYTES: usize = 64 << 20;
// How much smaller rows usually are in a file than in memory.
const USUAL_RATIO: usize = 4;
// What records call the column that names them.
const ID: &str = "id";

/// A data file that is not stored yet.
#[derive(Debug)]
pub(super) struct EncodedFile {
    /// The partition.
    pub(super) date: Date,
    /// The Parquet file.
    pub(super) bytes: Bytes,
    /// How many rows it has.
    pub(super) n_rows: usize,
    /// The sequence number of its first row.
    pub(super) min_seq: i64,
    /// The sequence number of its last row.
    pub(super) max_seq: i64,
}

/// The records of one commit as files, one for each date, numbered from `first_seq` on in their order.
pub(super) fn encode<E: Record>(
    table: &str,
    records: &Packed<E>,
    first_seq: i64,
) -> Result<Vec<EncodedFile>> {
    if records.len() > MAX_ROWS {
        return Err(Error::InvalidConfig {
            of: "batch",
            reason: format!("it has more than {MAX_ROWS} records"),
        });
    }
    let file_schema = schema::file_schema::<E>();
    let mut files: BTreeMap<Date, OpenFile> = BTreeMap::new();
    let mut seq = first_seq;
    for chunk in records.chunks() {
        let batch = number(table, &file_schema, &chunk.batch, seq)?;
        for (date, rows) in &chunk.rows {
            let part = if rows.len() == batch.num_rows() {
                batch.clone()
            } else {
                let rows = UInt32Array::from(rows.clone());
                take_record_batch(&batch, &rows).map_err(|source| Error::Arrow {
                    path: table.to_owned(),
                    source,
                })?
            };
            let file = match files.entry(*date) {
                std::collections::btree_map::Entry::Occupied(file) => file.into_mut(),
                std::collections::btree_map::Entry::Vacant(slot) => {
                    slot.insert(OpenFile::new(table, &file_schema)?)
                }
            };
            file.write(table, &part)?;
        }
        seq += i64::try_from(batch.num_rows()).unwrap_or(i64::MAX);
    }
    files
        .into_iter()
        .map(|(date, file)| file.finish(table, date))
        .collect()
}

fn number(table: &str, schema: &SchemaRef, batch: &RecordBatch, seq: i64) -> Result<RecordBatch> {
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values((seq..).take(batch.num_rows())));
    let mut columns = batch.columns().to_vec();
    columns.push(numbers);
    RecordBatch::try_new(Arc::clone(schema), columns).map_err(|source| Error::Arrow {
        path: table.to_owned(),
        source,
    })
}

/// A data file that is being written.
pub(super) struct OpenFile {
    schema: SchemaRef,
    writer: SerializedFileWriter<Vec<u8>>,
    columns: ArrowRowGroupWriterFactory,
    /// The rows of the next row group, and their bytes in memory.
    group: Vec<RecordBatch>,
    n_group_bytes: usize,
    /// The bytes that the rows of the other row groups had in memory.
    n_bytes_before: usize,
    n_rows: usize,
    min_seq: i64,
    max_seq: i64,
}

impl OpenFile {
    pub(super) fn new(table: &str, schema: &SchemaRef) -> Result<Self> {
        let seq = schema.fields().len() - 1;
        let mut properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            // Says that a scan need not sort the file: see `scan`.
            .set_sorting_columns(i32::try_from(seq).ok().map(|column_idx| {
                vec![SortingColumn {
                    column_idx,
                    descending: false,
                    nulls_first: false,
                }]
            }));
        for field in schema.fields() {
            let (name, data_type) = (field.name().as_str(), field.data_type());
            let column = || ColumnPath::from(name);
            // Values that hardly repeat are put into a dictionary in vain.
            let is_ascending = name == SEQ || matches!(data_type, DataType::Timestamp(..));
            let is_bytes = data_type == &DataType::Binary;
            if is_ascending || is_bytes || name == ID {
                properties = properties.set_column_dictionary_enabled(column(), false);
            }
            if is_ascending {
                let delta = Encoding::DELTA_BINARY_PACKED;
                properties = properties.set_column_encoding(column(), delta);
            }
            if is_bytes || data_type == &DataType::Utf8 {
                // Rows come by time, so every file has names from everywhere: their bounds say nothing.
                let none = EnabledStatistics::None;
                properties = properties.set_column_statistics_enabled(column(), none);
            }
        }
        let properties = properties.build();
        let writer = ArrowWriter::try_new(Vec::new(), Arc::clone(schema), Some(properties))
            .and_then(ArrowWriter::into_serialized_writer);
        let (writer, columns) = writer.map_err(|source| failed(table, source))?;
        Ok(Self {
            schema: Arc::clone(schema),
            writer,
            columns,
            group: Vec::new(),
            n_group_bytes: 0,
            n_bytes_before: 0,
            n_rows: 0,
            min_seq: i64::MAX,
            max_seq: i64::MIN,
        })
    }

    /// Adds rows, whose last column is the sequence number and ascends.
    pub(super) fn write(&mut self, table: &str, batch: &RecordBatch) -> Result<()> {
        let seq = batch.column(batch.num_columns() - 1);
        if let Some(seq) = seq.as_any().downcast_ref::<Int64Array>() {
            self.min_seq = seq
                .values()
                .first()
                .copied()
                .unwrap_or(i64::MAX)
                .min(self.min_seq);
            self.max_seq = seq
                .values()
                .last()
                .copied()
                .unwrap_or(i64::MIN)
                .max(self.max_seq);
        }
        self.n_rows += batch.num_rows();
        self.n_group_bytes += batch.get_array_memory_size();
        self.group.push(batch.clone());
        if self.n_group_bytes >= ROW_GROUP_BYTES {
            self.end_group().map_err(|source| failed(table, source))?;
        }
        Ok(())
    }

    fn end_group(&mut self) -> Result<(), ParquetError> {
        let batches = std::mem::take(&mut self.group);
        let index = self.writer.flushed_row_groups().len();
        let columns = self.columns.create_column_writers(index)?;
        let mut group = self.writer.next_row_group()?;
        for column in encode_columns(&self.schema, &batches, columns)? {
            column.append_to_row_group(&mut group)?;
        }
        group.close()?;
        self.n_bytes_before += std::mem::take(&mut self.n_group_bytes);
        Ok(())
    }

    /// About how large the file is so far, if the rows that are not encoded yet are like those that are.
    pub(super) fn n_bytes(&self) -> usize {
        let n_written = self.writer.bytes_written();
        if self.n_bytes_before == 0 {
            return n_written + self.n_group_bytes / USUAL_RATIO;
        }
        n_written + n_written.saturating_mul(self.n_group_bytes) / self.n_bytes_before
    }

    pub(super) fn finish(mut self, table: &str, date: Date) -> Result<EncodedFile> {
        let failed = |source| failed(table, source);
        if !self.group.is_empty() {
            self.end_group().map_err(failed)?;
        }
        let bytes = self.writer.into_inner().map_err(failed)?;
        Ok(EncodedFile {
            date,
            bytes: bytes.into(),
            n_rows: self.n_rows,
            min_seq: self.min_seq,
            max_seq: self.max_seq,
        })
    }
}

fn failed(table: &str, source: ParquetError) -> Error {
    Error::Parquet {
        path: table.to_owned(),
        source,
    }
}
