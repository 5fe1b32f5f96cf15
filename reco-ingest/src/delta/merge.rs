//! [`Merge`]: the rows of many files in the order of their sequence numbers.

use std::collections::VecDeque;

use arrow::array::{Array, RecordBatch};
use arrow::compute::concat_batches;
use reco_core::Record;

use super::files::{DataFile, Selected};
use super::scan::{FileReader, SortedFile, seq_of};
use crate::error::{Error, Result};

// Short runs are put together into batches of at least so many rows or bytes, while there are more.
const BATCH_ROWS: usize = 4096;
const BATCH_BYTES: usize = 64 << 20;

/// The rows of many files in the order of their sequence numbers.
///
/// A file is opened when the first number that it may hold is reached, and closed when it is read.
/// So the files that are open at a time, of each of which one batch is in memory, are those whose
/// ranges of numbers overlap: the dates of one commit, as this crate writes them.
#[derive(Debug)]
pub(super) struct Merge<E> {
    reader: FileReader<E>,
    /// Not opened yet, by the first number that they may hold.
    waiting: VecDeque<(DataFile, Selected)>,
    open: Vec<Source>,
}

struct Source {
    file: SortedFile,
    batch: RecordBatch,
    seq: Vec<i64>,
    /// The first row of the batch that was not given out.
    row: usize,
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source")
            .field("path", &self.file.path)
            .field("row", &self.row)
            .finish_non_exhaustive()
    }
}

impl Source {
    fn head(&self) -> i64 {
        self.seq.get(self.row).copied().unwrap_or(i64::MAX)
    }
}

impl<E: Record> Merge<E> {
    /// A merge of files that are sorted by the lowest number that they may hold.
    pub(super) fn new(
        reader: FileReader<E>,
        files: impl IntoIterator<Item = (DataFile, Selected)>,
    ) -> Self {
        Self {
            reader,
            waiting: files.into_iter().collect(),
            open: Vec::new(),
        }
    }

    /// The next rows; none at the end.
    pub(super) async fn next(&mut self) -> Result<Option<RecordBatch>> {
        let mut runs: Vec<RecordBatch> = Vec::new();
        let (mut n_rows, mut n_bytes) = (0, 0_usize);
        while n_rows < BATCH_ROWS && n_bytes < BATCH_BYTES {
            let Some(run) = self.next_run().await? else {
                break;
            };
            n_rows += run.num_rows();
            n_bytes = n_bytes.saturating_add(size_of_rows(&run)?);
            runs.push(run);
        }
        match runs.as_slice() {
            [] => Ok(None),
            [run] => Ok(Some(run.clone())),
            [first, ..] => concat_batches(&first.schema(), &runs)
                .map(Some)
                .map_err(|source| Error::Arrow {
                    path: "the merged files".to_owned(),
                    source,
                }),
        }
    }

    // The longest run of rows of one file that comes before the next row of any other.
    async fn next_run(&mut self) -> Result<Option<RecordBatch>> {
        self.open_up_to_head().await?;
        let Some(least) = (0..self.open.len()).min_by_key(|&at| self.open[at].head()) else {
            return Ok(None);
        };
        let others = self.open.iter().enumerate().filter(|(at, _)| *at != least);
        let limit = others
            .map(|(_, source)| source.head())
            .chain(self.waiting.front().map(|(file, _)| file.min_seq))
            .min();
        let source = &mut self.open[least];
        let rest = &source.seq[source.row..];
        // Numbers are unique; were they not, a run would still make progress.
        let n = limit.map_or(rest.len(), |limit| {
            rest.partition_point(|seq| *seq < limit).max(1)
        });
        let run = source.batch.slice(source.row, n);
        source.row += n;
        if source.row == source.seq.len() {
            self.refill(least).await?;
        }
        Ok(Some(run))
    }

    // Opens every file that may hold a row before the first row of those that are open.
    async fn open_up_to_head(&mut self) -> Result<()> {
        while let Some((file, selected)) = self.waiting.front() {
            let head = self.open.iter().map(Source::head).min();
            if head.is_some_and(|head| head < file.min_seq) {
                break;
            }
            let mut sorted = self.reader.open(file, *selected).await?;
            self.waiting.pop_front();
            if let Some(batch) = self.reader.next(&mut sorted).await? {
                let seq = seq_of(&sorted.path, &batch)?.to_vec();
                self.open.push(Source {
                    file: sorted,
                    batch,
                    seq,
                    row: 0,
                });
            }
        }
        Ok(())
    }

    async fn refill(&mut self, at: usize) -> Result<()> {
        let source = &mut self.open[at];
        match self.reader.next(&mut source.file).await? {
            Some(batch) => {
                source.seq = seq_of(&source.file.path, &batch)?.to_vec();
                source.batch = batch;
                source.row = 0;
            }
            None => {
                self.open.swap_remove(at);
            }
        }
        Ok(())
    }
}

/// How many bytes the rows of a batch take, which may be a slice of a larger one.
pub(super) fn size_of_rows(batch: &RecordBatch) -> Result<usize> {
    batch.columns().iter().try_fold(0_usize, |sum, column| {
        let n_bytes = column.to_data().get_slice_memory_size();
        n_bytes
            .map(|n_bytes| sum.saturating_add(n_bytes))
            .map_err(|source| Error::Arrow {
                path: "the merged files".to_owned(),
                source,
            })
    })
}
