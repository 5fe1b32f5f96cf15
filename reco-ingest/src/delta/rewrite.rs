//! Rewriting files: the same rows, or some of them, in other files.

use std::ops::RangeInclusive;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use deltalake::kernel::Add;
use jiff::civil::Date;
use reco_core::{Record, TimeWindow};

use super::DeltaTable;
use super::commit::store_file;
use super::encode::OpenFile;
use super::files::DataFile;
use super::schema;
use crate::error::{Error, Result};

const ALL_ROWS: RangeInclusive<i64> = i64::MIN..=i64::MAX;

/// What came of rewriting some files. It is part of the table once a commit says so.
#[derive(Debug, Default)]
pub(super) struct Rewritten {
    /// The new files.
    pub(super) adds: Vec<Add>,
    /// How many rows were read.
    pub(super) n_rows: u64,
    /// How many of them are in no new file.
    pub(super) n_dropped: u64,
}

impl<E: Record> DeltaTable<E> {
    /// Stores the rows of some files of one date that are to be kept, as they are and in their order,
    /// in files of about `target_size` bytes.
    ///
    /// One new file is in memory at a time, and what a scan of the old ones takes. Should it fail, the
    /// files that it has stored are deleted.
    pub(super) async fn rewrite<K>(
        &self,
        files: Vec<DataFile>,
        date: Date,
        target_size: usize,
        keep: K,
    ) -> Result<Rewritten>
    where
        K: Fn(&RecordBatch) -> Result<Option<BooleanArray>> + Send + Sync,
    {
        let mut rewritten = Rewritten::default();
        let done = self.rewrite_into(&mut rewritten, files, date, target_size, keep);
        match done.await {
            Ok(()) => Ok(rewritten),
            Err(error) => {
                self.delete_files(&rewritten.adds).await;
                Err(error)
            }
        }
    }

    async fn rewrite_into<K>(
        &self,
        rewritten: &mut Rewritten,
        files: Vec<DataFile>,
        date: Date,
        target_size: usize,
        keep: K,
    ) -> Result<()>
    where
        K: Fn(&RecordBatch) -> Result<Option<BooleanArray>> + Send + Sync,
    {
        let schema = schema::file_schema::<E>();
        let mut merge = self.merge_files(files, TimeWindow::ALL, ALL_ROWS);
        let mut open: Option<OpenFile> = None;
        while let Some(batch) = merge.next().await? {
            let n_read = batch.num_rows();
            let kept = match keep(&batch)? {
                None => batch,
                Some(mask) => {
                    filter_record_batch(&batch, &mask).map_err(|source| Error::Arrow {
                        path: self.inner.name.clone(),
                        source,
                    })?
                }
            };
            rewritten.n_rows += n_read as u64;
            rewritten.n_dropped += (n_read - kept.num_rows()) as u64;
            if kept.num_rows() == 0 {
                continue;
            }
            let mut file = match open.take() {
                Some(file) => file,
                None => OpenFile::new(&self.inner.name, &schema)?,
            };
            let table = self.inner.name.clone();
            let written = tokio::task::spawn_blocking(move || -> Result<OpenFile> {
                file.write(&table, &kept)?;
                Ok(file)
            });
            let file = written
                .await
                .map_err(|_| Error::TaskEnded { of: "DeltaTable" })??;
            if file.n_bytes() >= target_size {
                rewritten.adds.push(self.store_open(file, date).await?);
            } else {
                open = Some(file);
            }
        }
        if let Some(file) = open {
            rewritten.adds.push(self.store_open(file, date).await?);
        }
        Ok(())
    }

    async fn store_open(&self, file: OpenFile, date: Date) -> Result<Add> {
        let table = self.inner.name.clone();
        let encoded = tokio::task::spawn_blocking(move || file.finish(&table, date))
            .await
            .map_err(|_| Error::TaskEnded { of: "DeltaTable" })??;
        store_file(self.inner.log.object_store(None).as_ref(), encoded).await
    }
}
