//! [`Staging`]: tables that only the host can read, as files that executors can.

use std::sync::{Arc, PoisonError, Weak};

use ballista_core::ids::new_instance_id;
use datafusion::catalog::TableProvider;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::SessionState;
use datafusion::parquet::arrow::async_writer::AsyncArrowWriter;
use datafusion::parquet::basic::Compression;
use datafusion::parquet::file::properties::WriterProperties;
use futures::StreamExt;
use object_store::buffered::BufWriter;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use super::files::{Location, ParquetFiles};
use crate::error::Error;
use crate::warehouse::STAGING;

/// Tables that only the host can read, as files that executors can.
///
/// Each is written once, whoever reads it, and deleted when its rows are no longer there to be read.
#[derive(Debug)]
pub(crate) struct Staging {
    files: Arc<dyn ObjectStore>,
    location: Location,
    /// A table is one of these as long as it lives, so that no two have one address.
    staged: std::sync::Mutex<Vec<Entry>>,
}

#[derive(Debug)]
struct Entry {
    table: Weak<dyn TableProvider>,
    /// Held while it is written, so that others wait.
    file: Arc<tokio::sync::Mutex<Option<Staged>>>,
}

/// A staged table; its file goes with it.
#[derive(Debug)]
struct Staged {
    files: Arc<dyn ObjectStore>,
    path: Path,
    table: Arc<ParquetFiles>,
}

impl Staging {
    pub(crate) fn new(files: Arc<dyn ObjectStore>, location: Location) -> Self {
        Self {
            files,
            location,
            staged: std::sync::Mutex::default(),
        }
    }

    /// The files of a table, which are written if they are not there.
    pub(super) async fn stage(
        &self,
        name: &str,
        table: &Arc<dyn TableProvider>,
        session: &SessionState,
        limit: usize,
    ) -> Result<Arc<ParquetFiles>> {
        let slot = self.slot(table);
        let mut slot = slot.lock().await;
        if let Some(staged) = &*slot {
            return Ok(Arc::clone(&staged.table));
        }
        let staged = self.write(name, table, session, limit).await?;
        let files = Arc::clone(&staged.table);
        *slot = Some(staged);
        Ok(files)
    }

    fn slot(&self, table: &Arc<dyn TableProvider>) -> Arc<tokio::sync::Mutex<Option<Staged>>> {
        let mut staged = self.staged.lock().unwrap_or_else(PoisonError::into_inner);
        staged.retain(|entry| entry.table.strong_count() > 0);
        let same = |entry: &&Entry| std::ptr::addr_eq(entry.table.as_ptr(), Arc::as_ptr(table));
        if let Some(entry) = staged.iter().find(same) {
            return Arc::clone(&entry.file);
        }
        let file = Arc::default();
        staged.push(Entry {
            table: Arc::downgrade(table),
            file: Arc::clone(&file),
        });
        file
    }

    async fn write(
        &self,
        name: &str,
        table: &Arc<dyn TableProvider>,
        session: &SessionState,
        limit: usize,
    ) -> Result<Staged> {
        let path = Path::from_iter([STAGING, &format!("{name}-{}.parquet", new_instance_id())]);
        let properties = WriterProperties::builder().set_compression(Compression::SNAPPY);
        let mut writer = AsyncArrowWriter::try_new(
            BufWriter::new(Arc::clone(&self.files), path.clone()),
            table.schema(),
            Some(properties.build()),
        )?;
        let plan = table.scan(session, None, &[], None).await?;
        let (mut n_bytes, mut n_rows) = (0, 0);
        // One part after the other: the order of the rows is theirs.
        for partition in 0..plan.properties().partitioning.partition_count() {
            let mut rows = plan.execute(partition, session.task_ctx())?;
            while let Some(batch) = rows.next().await {
                let batch = batch?;
                n_bytes += batch.get_array_memory_size();
                n_rows += batch.num_rows();
                if n_bytes > limit {
                    return Err(too_large(name, limit).into_datafusion());
                }
                writer.write(&batch).await?;
            }
        }
        writer.finish().await?;
        let n_bytes = u64::try_from(writer.bytes_written())
            .map_err(|error| DataFusionError::External(error.into()))?;
        let table = ParquetFiles::one(&self.location, &path, table.schema(), n_bytes, n_rows);
        Ok(Staged {
            files: Arc::clone(&self.files),
            path,
            table: Arc::new(table),
        })
    }
}

/// Why a table of more than `limit` bytes stays where it is.
pub(super) fn too_large(table: &str, limit: usize) -> Error {
    Error::CannotTravel {
        table: table.to_owned(),
        reason: format!(
            "executors cannot read it where it is, and to stage it would take more than {limit} bytes"
        ),
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        let (files, path) = (Arc::clone(&self.files), self.path.clone());
        // Without a runtime the host is at its end; the file stays, as it does when the host is killed.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Err(error) = files.delete(&path).await {
                    tracing::warn!(%path, %error, "a staged table was not deleted");
                }
            });
        }
    }
}
