//! Records as Parquet files, one for each date.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{DataType, SchemaRef};
use bytes::Bytes;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::SortingColumn;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use reco_core::{Record, Timestamp};

use super::schema::{self, MAX_ROWS, SEQ};
use crate::error::{Error, Result};

// Arrow counts the bytes of a text column in 32 bits: a batch stays well below.
const MAX_BATCH_BYTES: usize = 64 << 20;
// A row group that has so many bytes in memory ends: readers take the mean size of its rows for that
// of each, which must not hide a few large ones among many small.
const ROW_GROUP_BYTES: usize = 64 << 20;
// Columns of records whose values name the row.
const UNIQUE: [&str; 2] = ["id", SEQ];
const DAY_MICROS: i64 = 24 * 60 * 60 * 1_000_000;

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

/// The records of one commit as files, one for each date, numbered from `first_seq` on in the order
/// given.
pub(super) fn encode<E: Record>(
    table: &str,
    records: &[E],
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
    let mut row = 0;
    let mut seq = first_seq;
    for chunk in chunks(records) {
        let batch = number(table, &file_schema, &E::to_batch(chunk)?, seq)?;
        for (date, rows) in rows_of_dates(chunk, row)? {
            let part = if rows.len() == chunk.len() {
                batch.clone()
            } else {
                take_record_batch(&batch, &UInt32Array::from(rows)).map_err(|source| {
                    Error::Arrow {
                        path: table.to_owned(),
                        source,
                    }
                })?
            };
            let file = match files.entry(date) {
                std::collections::btree_map::Entry::Occupied(file) => file.into_mut(),
                std::collections::btree_map::Entry::Vacant(slot) => {
                    slot.insert(OpenFile::new(table, &file_schema)?)
                }
            };
            file.write(table, &part)?;
        }
        row += chunk.len();
        seq += i64::try_from(chunk.len()).unwrap_or(i64::MAX);
    }
    files
        .into_iter()
        .map(|(date, file)| file.finish(table, date))
        .collect()
}

/// The UTC date of a time, as it is read back: in whole microseconds.
pub(super) fn date_of(time: Timestamp) -> Option<Date> {
    let time = Timestamp::from_microsecond(time.as_microsecond()).ok()?;
    let date = TimeZone::UTC.to_datetime(time).date();
    (1..=9999).contains(&date.year()).then_some(date)
}

// Runs of records of at most `MAX_BATCH_BYTES` together, but at least one record each.
fn chunks<E: Record>(records: &[E]) -> impl Iterator<Item = &[E]> {
    let mut rest = records;
    std::iter::from_fn(move || {
        let mut n_bytes = 0_usize;
        let n = rest
            .iter()
            .take_while(|record| {
                n_bytes = n_bytes.saturating_add(record.n_bytes());
                n_bytes <= MAX_BATCH_BYTES
            })
            .count()
            .max(1);
        let (chunk, after) = rest.split_at_checked(n)?;
        rest = after;
        Some(chunk)
    })
}

fn rows_of_dates<E: Record>(chunk: &[E], first_row: usize) -> Result<BTreeMap<Date, Vec<u32>>> {
    let mut rows: BTreeMap<Date, Vec<u32>> = BTreeMap::new();
    // Most records are of the day of the one before, whose rows are gathered here.
    let mut day: Option<(i64, Date)> = None;
    let mut of_day: Vec<u32> = Vec::new();
    for (row, record) in (0_u32..).zip(chunk) {
        let time = record.timestamp();
        let n_days = time.as_microsecond().div_euclid(DAY_MICROS);
        if day.is_none_or(|(same, _)| same != n_days) {
            let date = date_of(time).ok_or(Error::Date {
                row: first_row + row as usize,
                time,
            })?;
            if let Some((_, before)) = day.replace((n_days, date)) {
                rows.entry(before).or_default().append(&mut of_day);
            }
        }
        of_day.push(row);
    }
    if let Some((_, date)) = day {
        rows.entry(date).or_default().append(&mut of_day);
    }
    Ok(rows)
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

struct OpenFile {
    writer: ArrowWriter<Vec<u8>>,
    n_rows: usize,
    /// The bytes of the row group that is being written, as they are in memory.
    n_group_bytes: usize,
    min_seq: i64,
    max_seq: i64,
}

impl OpenFile {
    fn new(table: &str, schema: &SchemaRef) -> Result<Self> {
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
            }))
            .set_column_encoding(SEQ.into(), Encoding::DELTA_BINARY_PACKED);
        for field in schema.fields() {
            let name = field.name().as_str();
            let is_bytes = field.data_type() == &DataType::Binary;
            // Values that hardly repeat are put into a dictionary in vain, and bounds of bytes say nothing.
            if is_bytes || UNIQUE.contains(&name) {
                properties = properties.set_column_dictionary_enabled(name.into(), false);
            }
            if is_bytes {
                let none = EnabledStatistics::None;
                properties = properties.set_column_statistics_enabled(name.into(), none);
            }
        }
        let properties = properties.build();
        let writer = ArrowWriter::try_new(Vec::new(), Arc::clone(schema), Some(properties))
            .map_err(|source| failed(table, source))?;
        Ok(Self {
            writer,
            n_rows: 0,
            n_group_bytes: 0,
            min_seq: i64::MAX,
            max_seq: i64::MIN,
        })
    }

    fn write(&mut self, table: &str, batch: &RecordBatch) -> Result<()> {
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
        self.writer
            .write(batch)
            .map_err(|source| failed(table, source))?;
        self.n_group_bytes += batch.get_array_memory_size();
        if self.n_group_bytes >= ROW_GROUP_BYTES {
            self.n_group_bytes = 0;
            self.writer
                .flush()
                .map_err(|source| failed(table, source))?;
        }
        Ok(())
    }

    fn finish(self, table: &str, date: Date) -> Result<EncodedFile> {
        let bytes = self
            .writer
            .into_inner()
            .map_err(|source| failed(table, source))?;
        Ok(EncodedFile {
            date,
            bytes: bytes.into(),
            n_rows: self.n_rows,
            min_seq: self.min_seq,
            max_seq: self.max_seq,
        })
    }
}

fn failed(table: &str, source: parquet::errors::ParquetError) -> Error {
    Error::Parquet {
        path: table.to_owned(),
        source,
    }
}
