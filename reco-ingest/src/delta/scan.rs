//! Replaying a table: which files, which rows, in the order written.

use std::marker::PhantomData;
use std::ops::RangeInclusive;
use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::Int64Type;
use deltalake::table::state::DeltaTableState;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStore;
use parquet::arrow::async_reader::ParquetRecordBatchStream;
use parquet::arrow::{ParquetRecordBatchStreamBuilder, ProjectionMask};
use parquet::file::metadata::ParquetMetaData;
use reco_core::{Record, RecordBatchStream, TimeWindow, project, project_to};

use super::DeltaTable;
use super::files::{DataFile, Selected};
use super::merge::Merge;
use super::reader::StoredFile;
use super::schema::{self, SEQ, first_seq};
use super::unsorted::Unsorted;
use crate::batch_rows::batch_rows;
use crate::error::{Error, Result};

// Rows may carry large payloads, and a merge holds one batch of each file that it has open.
const BATCH_ROWS: usize = 4096;
const BATCH_BYTES: u64 = 16 << 20;

/// A replay of a table as it was at one version.
pub struct Replay {
    /// The version that is replayed: pass it to [`DeltaTable::scan_from`] to go on from here.
    pub version: u64,
    /// The rows, in the order written.
    pub batches: RecordBatchStream,
}

impl std::fmt::Debug for Replay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replay")
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

impl<E: Record> DeltaTable<E> {
    /// Replays what was committed after a version, in the order written.
    ///
    /// Version 0 is the creation of the table, so `scan_from(0)` replays everything. A consumer that
    /// keeps [`Replay::version`] with its results sees each row exactly once.
    ///
    /// # Errors
    ///
    /// [`Error::Log`] if the log cannot be read, [`Error::DataFile`] if it names a file that cannot be
    /// replayed; later trouble is an error in the stream.
    pub async fn scan_from(&self, version: u64) -> Result<Replay> {
        self.replay(TimeWindow::ALL, Some(version)).await
    }

    pub(super) async fn replay(&self, window: TimeWindow, after: Option<u64>) -> Result<Replay> {
        let min_seq = after.map_or(i64::MIN, |version| first_seq(version.saturating_add(1)));
        let state = self.refresh().await?;
        self.replay_of(&state, window, min_seq).await
    }

    /// Replays the rows of a state of the table whose sequence numbers are `min_seq` or more.
    pub(super) async fn replay_of(
        &self,
        state: &DeltaTableState,
        window: TimeWindow,
        min_seq: i64,
    ) -> Result<Replay> {
        let NumberedRows { version, batches } = self.rows_of(state, window, min_seq).await?;
        let table = self.inner.name.clone();
        let batches = batches.map(move |batch| {
            batch
                .map_err(|error| error.at(&table, "scan"))
                .and_then(|batch| project::<E>(&batch))
        });
        Ok(Replay {
            version,
            batches: batches.boxed(),
        })
    }

    /// The rows of a window from a sequence number on, in its order and with it.
    pub(crate) async fn numbered_rows(
        &self,
        window: TimeWindow,
        min_seq: i64,
    ) -> Result<NumberedRows> {
        let state = self.refresh().await?;
        self.rows_of(&state, window, min_seq).await
    }

    async fn rows_of(
        &self,
        state: &DeltaTableState,
        window: TimeWindow,
        min_seq: i64,
    ) -> Result<NumberedRows> {
        let merge = self.merge_of(state, window, min_seq..=i64::MAX).await?;
        let batches = stream::try_unfold(merge, async |mut merge| {
            Ok(merge.next().await?.map(|batch| (batch, merge)))
        });
        Ok(NumberedRows {
            version: state.version(),
            batches: batches.boxed(),
        })
    }
}

/// Rows of a table as it was at one version, with their sequence numbers.
pub(crate) struct NumberedRows {
    pub(crate) version: u64,
    pub(crate) batches: BoxStream<'static, Result<RecordBatch>>,
}

impl<E: Record> DeltaTable<E> {
    /// The files of a state of the table.
    pub(super) async fn files_of(&self, state: &DeltaTableState) -> Result<Vec<DataFile>> {
        let mut files = Vec::new();
        let mut views = state.snapshot().file_views(self.inner.log.as_ref(), None);
        while let Some(view) = views
            .try_next()
            .await
            .map_err(|source| self.log_failed("load", source))?
        {
            files.push(DataFile::from_view(&view)?);
        }
        Ok(files)
    }

    /// The rows of a state of the table that a window and a range of sequence numbers select, with
    /// these numbers.
    pub(super) async fn merge_of(
        &self,
        state: &DeltaTableState,
        window: TimeWindow,
        seqs: RangeInclusive<i64>,
    ) -> Result<Merge<E>> {
        let mut files = self.files_of(state).await?;
        files.retain(|file| file.max_seq >= *seqs.start() && file.min_seq <= *seqs.end());
        Ok(self.merge_files(files, window, seqs))
    }

    /// As [`merge_of`](Self::merge_of), for some files.
    pub(super) fn merge_files(
        &self,
        files: Vec<DataFile>,
        window: TimeWindow,
        seqs: RangeInclusive<i64>,
    ) -> Merge<E> {
        let select = |file: DataFile| {
            let selected = file.selected_by(window);
            (selected != Selected::None).then_some((file, selected))
        };
        let mut files: Vec<_> = files.into_iter().filter_map(select).collect();
        files.sort_by(|(a, _), (b, _)| {
            (a.min_seq, a.max_seq, &a.path).cmp(&(b.min_seq, b.max_seq, &b.path))
        });
        let reader = FileReader::<E> {
            store: self.inner.log.object_store(None),
            window,
            seqs,
            records: PhantomData,
        };
        Merge::new(reader, files)
    }
}

/// Opens files and reads the rows of them that a scan selects.
#[derive(Debug)]
pub(super) struct FileReader<E> {
    store: Arc<dyn ObjectStore>,
    window: TimeWindow,
    seqs: RangeInclusive<i64>,
    records: PhantomData<fn() -> E>,
}

impl<E: Record> FileReader<E> {
    /// Opens a file, whose rows come sorted by their sequence number.
    ///
    /// A file that does not say that it is sorted is read into memory whole.
    pub(super) async fn open(&self, file: &DataFile, selected: Selected) -> Result<SortedFile> {
        let name = file.path.to_string();
        let failed = |source| Error::Parquet {
            path: name.clone(),
            source,
        };
        let object = StoredFile {
            store: Arc::clone(&self.store),
            path: file.path.clone(),
            n_bytes: file.n_bytes,
        };
        let builder = ParquetRecordBatchStreamBuilder::new(object)
            .await
            .map_err(failed)?;
        if builder.schema().column_with_name(SEQ).is_none() {
            return Err(Error::DataFile {
                path: name,
                reason: format!("it has no column `{SEQ}`"),
            });
        }
        let sorted = is_declared_sorted(builder.metadata());
        let n_rows = batch_rows(builder.metadata(), BATCH_ROWS, BATCH_BYTES);
        let rows = builder
            .with_projection(ProjectionMask::all())
            .with_batch_size(n_rows)
            .build()
            .map_err(failed)?;
        let rows = if sorted {
            Rows::Streamed(rows)
        } else {
            // Written by an engine that does not say, perhaps in a compaction.
            let batches: Vec<_> = rows.try_collect().await.map_err(failed)?;
            Rows::Unsorted(Unsorted::new(&name, batches)?)
        };
        Ok(SortedFile {
            path: name,
            rows,
            filter_times: selected != Selected::All,
            filter_seq: file.min_seq < *self.seqs.start() || *self.seqs.end() < file.max_seq,
        })
    }

    /// The next batch of an open file that has a selected row.
    pub(super) async fn next(&self, file: &mut SortedFile) -> Result<Option<RecordBatch>> {
        while let Some(batch) = file.rows.next(&file.path).await? {
            // Another engine may have written other types, or the columns in another order.
            let batch = project_to(E::NAME, &schema::file_schema::<E>(), &batch)?;
            let batch = self.select(file, batch)?;
            if batch.num_rows() > 0 {
                return Ok(Some(batch));
            }
        }
        Ok(None)
    }

    fn select(&self, file: &SortedFile, mut batch: RecordBatch) -> Result<RecordBatch> {
        let keep = |batch: &RecordBatch, mask: Vec<bool>| {
            filter_record_batch(batch, &BooleanArray::from(mask)).map_err(|source| Error::Arrow {
                path: file.path.clone(),
                source,
            })
        };
        if file.filter_seq {
            let seq = seq_of(&file.path, &batch)?.to_vec();
            let mask = seq.iter().map(|seq| self.seqs.contains(seq)).collect();
            batch = keep(&batch, mask)?;
        }
        if file.filter_times {
            // Only the days at the window's edges come here. The time of a record is known to the
            // record alone, hence the way through it.
            let records = E::from_batch(&batch)?;
            let mask = records
                .iter()
                .map(|record| self.window.contains(record.timestamp()))
                .collect();
            batch = keep(&batch, mask)?;
        }
        Ok(batch)
    }
}

/// An open file.
pub(super) struct SortedFile {
    pub(super) path: String,
    rows: Rows,
    filter_times: bool,
    filter_seq: bool,
}

enum Rows {
    Streamed(ParquetRecordBatchStream<StoredFile>),
    Unsorted(Unsorted),
}

impl Rows {
    async fn next(&mut self, path: &str) -> Result<Option<RecordBatch>> {
        match self {
            Self::Streamed(rows) => rows.try_next().await.map_err(|source| Error::Parquet {
                path: path.to_owned(),
                source,
            }),
            Self::Unsorted(rows) => rows.next(path),
        }
    }
}

/// The sequence numbers of the rows of a batch.
pub(crate) fn seq_of<'a>(path: &str, batch: &'a RecordBatch) -> Result<&'a [i64]> {
    let odd = |reason: &str| Error::DataFile {
        path: path.to_owned(),
        reason: reason.to_owned(),
    };
    let column = batch
        .column_by_name(SEQ)
        .ok_or_else(|| odd("it has no sequence numbers"))?;
    let seq = column
        .as_primitive_opt::<Int64Type>()
        .ok_or_else(|| odd("its sequence numbers are not 64-bit integers"))?;
    if seq.nulls().is_some_and(|nulls| nulls.null_count() > 0) {
        return Err(odd("a row has no sequence number"));
    }
    Ok(seq.values())
}

// Whether the file says that all of it is sorted by the sequence number.
fn is_declared_sorted(metadata: &ParquetMetaData) -> bool {
    let seq = |column: i32| {
        let columns = metadata.file_metadata().schema_descr().columns();
        usize::try_from(column)
            .ok()
            .and_then(|column| columns.get(column))
            .is_some_and(|column| column.name() == SEQ)
    };
    let groups = metadata.row_groups();
    // One group after the other is only sorted for sure if there is one: the statement is about rows
    // within a group. Our own writer numbers across groups, and starts a new one after 2²⁰ rows.
    let in_groups = groups.iter().all(|group| {
        group
            .sorting_columns()
            .and_then(|by| by.first())
            .is_some_and(|by| !by.descending && seq(by.column_idx))
    });
    let mut last = i64::MIN;
    in_groups
        && (groups.len() < 2
            || groups.iter().all(|group| {
                let bounds = group
                    .columns()
                    .iter()
                    .find(|column| column.column_descr().name() == SEQ)
                    .and_then(|column| column.statistics())
                    .and_then(|statistics| match statistics {
                        parquet::file::statistics::Statistics::Int64(seq) => {
                            Some((*seq.min_opt()?, *seq.max_opt()?))
                        }
                        _ => None,
                    });
                let follows = bounds.is_some_and(|(min, _)| last < min);
                last = bounds.map_or(last, |(_, max)| max);
                follows
            }))
}
