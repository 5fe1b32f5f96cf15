//! Looking for a person in the files that are stored, whether a version names them or none.

use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::datatypes::Schema;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use object_store::{ObjectMeta, ObjectStoreExt as _};
use parquet::arrow::{ParquetRecordBatchStreamBuilder, ProjectionMask};
use parquet::errors::ParquetError;
use reco_core::project_to;

use super::super::DeltaTable;
use super::super::reader::StoredFile;
use super::super::scan::seq_of;
use super::super::schema::{SEQ, first_seq};
use super::{Personal, Subject};
use crate::batch_rows::batch_rows;
use crate::error::{Error, Result};

// Files in a remote store are waited for more than they are read.
const N_AT_A_TIME: usize = 8;
const BATCH_ROWS: usize = 8192;
const BATCH_BYTES: u64 = 16 << 20;

/// What a stored file holds of a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Held {
    /// So many rows.
    Rows(u64),
    /// Nobody can tell, since it is no whole Parquet file.
    Unreadable,
    /// Nothing, since it was deleted in the meantime.
    Gone,
}

impl<E: Personal> DeltaTable<E> {
    /// What each of some files holds, a few of them read at a time.
    pub(super) fn held_in(
        &self,
        files: Vec<ObjectMeta>,
        subject: &Subject,
        version: u64,
    ) -> impl Stream<Item = Result<(ObjectMeta, Held)>> + Send {
        stream::iter(files)
            .map(move |meta| async move {
                let held = self.held(&meta, subject, version).await?;
                Ok((meta, held))
            })
            .buffered(N_AT_A_TIME)
    }

    /// The rows of a stored file that are about a subject and were written up to a version.
    async fn held(&self, meta: &ObjectMeta, subject: &Subject, version: u64) -> Result<Held> {
        let max_seq = first_seq(version.saturating_add(1)) - 1;
        match self.count(meta, subject, max_seq).await {
            Ok(n_rows) => Ok(Held::Rows(n_rows)),
            // Somebody else deletes files of lost commits, and vacuums.
            Err(_) if self.is_gone(meta).await => Ok(Held::Gone),
            // The store's own trouble says nothing about the file.
            Err(
                error @ Error::Parquet {
                    source: ParquetError::External(_),
                    ..
                },
            ) => Err(error),
            Err(Error::Parquet { .. }) => Ok(Held::Unreadable),
            Err(error) => Err(error),
        }
    }

    async fn is_gone(&self, meta: &ObjectMeta) -> bool {
        let head = self.inner.log.object_store(None);
        let head = head.head(&meta.location).await;
        matches!(head, Err(object_store::Error::NotFound { .. }))
    }

    async fn count(&self, meta: &ObjectMeta, subject: &Subject, max_seq: i64) -> Result<u64> {
        let path = meta.location.to_string();
        let failed = |source| Error::Parquet {
            path: path.clone(),
            source,
        };
        let object = StoredFile {
            store: self.inner.log.object_store(None),
            path: meta.location.clone(),
            n_bytes: meta.size,
        };
        let builder = ParquetRecordBatchStreamBuilder::new(object)
            .await
            .map_err(failed)?;
        let columns = E::COLUMNS.iter().copied().chain([SEQ]);
        let projection = ProjectionMask::columns(builder.parquet_schema(), columns);
        let n_rows = batch_rows(builder.metadata(), BATCH_ROWS, BATCH_BYTES);
        let mut rows = builder
            .with_projection(projection)
            .with_batch_size(n_rows)
            .build()
            .map_err(failed)?;
        let mut n_rows = 0;
        while let Some(batch) = rows.try_next().await.map_err(failed)? {
            let about = is_about::<E>(&batch, subject).map_err(|error| Error::DataFile {
                path: path.clone(),
                reason: format!("it cannot be searched: {error}"),
            })?;
            let seq = seq_of(&path, &batch)?;
            let found = about.iter().zip(seq);
            n_rows += found
                .filter(|(about, seq)| *about == Some(true) && **seq <= max_seq)
                .count() as u64;
        }
        Ok(n_rows)
    }
}

/// Which rows of a batch are about a subject, whatever else the batch has.
pub(super) fn is_about<E: Personal>(
    batch: &RecordBatch,
    subject: &Subject,
) -> Result<BooleanArray> {
    let schema = E::schema();
    let fields = E::COLUMNS
        .iter()
        .map(|name| schema.field_with_name(name).cloned());
    let fields = fields.collect::<Result<Vec<_>, _>>();
    let fields = fields.map_err(|source| Error::Arrow {
        path: E::NAME.to_owned(),
        source,
    })?;
    let batch = project_to(E::NAME, &Arc::new(Schema::new(fields)), batch)?;
    Ok(E::is_about(&batch, subject))
}
