//! [`read`]: reads a file and makes batches of records of its rows.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use reco_core::{Record, Timestamp};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::csv::CsvRows;
use super::dialect::Dialect;
use super::json::{Column, JsonRows};
use super::parquet::ParquetRows;
use super::records::Records;
use super::rows::{Fields, Row, Rows, max_decoded_bytes, read_error, too_large};
use super::target::Gather;
use super::{Format, ImportReport, invalid};
use crate::error::{Error, Result};
use crate::sink::DeadLetter;

// A batch of long rows is written before it is full. Rows and records together count.
const MAX_BATCH_BYTES: usize = 128 << 20;
// So much of its beginning tells a file from others of its name.
const IDENTITY_BYTES: u64 = 64 << 10;

/// What is to be imported.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) path: PathBuf,
    pub(super) source: Option<String>,
    /// What its content is known by, once that is known; none to tell it by its beginning.
    pub(super) identity: Option<oneshot::Receiver<String>>,
    pub(super) format: Format,
    pub(super) batch_rows: usize,
    pub(super) max_row_bytes: usize,
    pub(super) imported_at: Timestamp,
    /// How many batches are read before they are written.
    pub(super) n_ahead: usize,
}

/// Makes records of rows.
pub(super) trait Decode<R>: Send + 'static {
    /// The columns whose values it takes, in their order.
    fn columns(&self) -> &[String];

    /// Whether a column names something, so that a number in it must not be rounded.
    fn is_name(&self, column: &str) -> bool;

    /// Whether records get ids that are made.
    fn makes_ids(&self) -> bool;

    /// Adds the records of a row, or says why it has none.
    fn decode(
        &self,
        fields: &Fields<'_>,
        ids: &mut RowIds<'_>,
        out: &mut Records<R>,
    ) -> Result<(), String>;

    /// Keeps the bytes of a row in its first record.
    fn keep(&self, first: &mut R, bytes: Bytes);
}

/// The ids of the records of a row: they follow from the file and the row's number.
#[derive(Debug)]
pub(super) struct RowIds<'a> {
    namespace: Uuid,
    source: &'a str,
    position: u64,
    n_given: usize,
}

impl RowIds<'_> {
    pub(super) fn next(&mut self) -> String {
        let Self {
            namespace,
            source,
            position,
            n_given,
        } = self;
        // With its length, no other name reads the same, whatever it has in it.
        let name = format!("{}:{source}:{position}:{n_given}", source.len());
        *n_given += 1;
        Uuid::new_v5(namespace, name.as_bytes()).to_string()
    }
}

// What tells the ids of a file from those of others of its name: what it begins with, unless it was
// given a name.
fn namespace(job: &mut Job) -> Result<Uuid> {
    if job.source.is_some() {
        return Ok(Uuid::NAMESPACE_URL);
    }
    if let Some(identity) = job.identity.take() {
        // Nobody is left to tell it, or to write what is read.
        let identity = identity
            .blocking_recv()
            .map_err(|_| Error::TaskEnded { of: "import" })?;
        return Ok(Uuid::new_v5(&Uuid::NAMESPACE_URL, identity.as_bytes()));
    }
    let failed = |error| read_error(&job.path, error);
    let mut beginning = Vec::new();
    File::open(&job.path)
        .map_err(failed)?
        .take(IDENTITY_BYTES)
        .read_to_end(&mut beginning)
        .map_err(failed)?;
    Ok(Uuid::new_v5(&Uuid::NAMESPACE_URL, &beginning))
}

/// What came of some rows.
#[derive(Debug)]
struct Batch<R, G> {
    /// The records that were not gathered yet.
    records: Records<R>,
    gathered: G,
    n_records: usize,
    dead_letters: Vec<DeadLetter>,
    n_bytes: usize,
}

/// A batch that is full.
pub(super) struct Full<G> {
    pub(super) records: G,
    pub(super) n_records: u64,
    pub(super) dead_letters: Vec<DeadLetter>,
    /// Of the whole file so far.
    pub(super) report: ImportReport,
}

/// Reads a file, and hands over what it is read as.
pub(super) fn read<R: Record, G: Gather<R>>(
    mut job: Job,
    decode: &dyn Decode<R>,
    gathered: G,
    batches: &mpsc::Sender<Full<G>>,
) -> Result<ImportReport> {
    let mut rows = open(&job, decode)?;
    let namespace = if decode.makes_ids() {
        namespace(&mut job)?
    } else {
        Uuid::nil()
    };
    let source = job.source.clone().unwrap_or_else(|| file_name(&job.path));
    let mut report = ImportReport::default();
    let mut batch = Batch {
        records: Records::default(),
        gathered,
        n_records: 0,
        dead_letters: Vec::new(),
        n_bytes: 0,
    };
    loop {
        let more = rows.next(&mut |row| {
            let ids = RowIds {
                namespace,
                source: &source,
                position: row.position,
                n_given: 0,
            };
            batch.take(&mut report, row, ids, &job, decode);
        })?;
        if batch.records.len() >= G::CHUNK_ROWS {
            batch.gather()?;
        }
        let n_rows = batch.n_records + batch.records.len() + batch.dead_letters.len();
        let full = n_rows >= job.batch_rows || batch.n_bytes >= MAX_BATCH_BYTES;
        if full || (!more && n_rows > 0) {
            report.bytes = rows.n_read();
            // Nobody listens any more when a sink has failed, which its caller tells.
            if batches.blocking_send(batch.next(report)?).is_err() {
                return Ok(report);
            }
        }
        if !more {
            report.bytes = rows.n_read();
            return Ok(report);
        }
    }
}

fn open<R: Record>(job: &Job, decode: &dyn Decode<R>) -> Result<Box<dyn Rows>> {
    let (path, columns, max_bytes) = (&job.path, decode.columns(), job.max_row_bytes);
    Ok(match &job.format {
        Format::Csv {
            delimiter,
            quote,
            columns: names,
        } => {
            let special = |char: char| {
                let byte = u8::try_from(char).ok();
                byte.filter(|byte| byte.is_ascii() && !b"\r\n".contains(byte))
            };
            let dialect = Dialect {
                delimiter: special(*delimiter)
                    .filter(|_| Some(*delimiter) != *quote)
                    .ok_or_else(|| {
                        invalid("`delimiter` is not an ASCII character that can separate")
                    })?,
                quote: quote
                    .map(|quote| {
                        special(quote).ok_or_else(|| {
                            invalid("`quote` is not an ASCII character that can quote")
                        })
                    })
                    .transpose()?,
            };
            let names = names.as_deref();
            Box::new(CsvRows::open(path, dialect, names, columns, max_bytes)?)
        }
        Format::JsonLines { nested } => {
            let columns = columns.iter().map(|column| Column {
                name: column.clone(),
                is_name: decode.is_name(column),
            });
            let nested = nested.as_deref();
            Box::new(JsonRows::open(path, nested, columns.collect(), max_bytes)?)
        }
        Format::Parquet => Box::new(ParquetRows::open(path, columns, max_bytes)?),
    })
}

impl<R: Record, G: Gather<R>> Batch<R, G> {
    fn take(
        &mut self,
        report: &mut ImportReport,
        row: Row<'_>,
        mut ids: RowIds<'_>,
        job: &Job,
        decode: &dyn Decode<R>,
    ) {
        report.rows += 1;
        self.n_bytes += row.bytes.len();
        let first = self.records.len();
        let (max_bytes, mut n_bytes) = (max_decoded_bytes(job.max_row_bytes), 0_usize);
        let decoded = row.content.and_then(|records| {
            records.records().iter().try_for_each(|fields| {
                let before = self.records.len();
                decode.decode(fields, &mut ids, &mut self.records)?;
                let added = self.records.as_slice()[before..]
                    .iter()
                    .map(Record::n_bytes);
                n_bytes = n_bytes.saturating_add(added.sum());
                if n_bytes > max_bytes {
                    return Err(too_large(max_bytes));
                }
                Ok(())
            })
        });
        match decoded {
            Ok(()) => match self.records.get_mut(first) {
                Some(record) => decode.keep(record, row.bytes.clone()),
                None => report.skipped += 1,
            },
            Err(reason) => {
                // A row is read whole or not at all.
                self.records.truncate(first);
                n_bytes = 0;
                report.dead_letters += 1;
                self.dead_letters.push(DeadLetter {
                    received_at: job.imported_at,
                    source: ids.source.to_owned(),
                    position: i64::try_from(row.position).unwrap_or(i64::MAX),
                    reason,
                    // A copy: the block that it is a part of would be kept for a row of many.
                    payload: Bytes::copy_from_slice(row.bytes),
                });
            }
        }
        self.n_bytes += n_bytes;
        report.events += (self.records.len() - first) as u64;
    }

    fn gather(&mut self) -> Result<()> {
        self.n_records += self.records.len();
        self.gathered.take(&mut self.records)
    }

    // What it holds, all of it gathered; then it is empty.
    fn next(&mut self, report: ImportReport) -> Result<Full<G>> {
        self.gather()?;
        self.n_bytes = 0;
        Ok(Full {
            records: self.gathered.next(),
            n_records: std::mem::take(&mut self.n_records) as u64,
            dead_letters: std::mem::take(&mut self.dead_letters),
            report,
        })
    }
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or(path.as_os_str())
        .to_string_lossy()
        .into_owned()
}
