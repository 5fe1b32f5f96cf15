//! How a batch gets into the table: files first, then one entry of the log.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use deltalake::kernel::transaction::{CommitData, TransactionError};
use deltalake::kernel::{Action, Add, Transaction};
use deltalake::logstore::CommitOrBytes;
use deltalake::protocol::{DeltaOperation, SaveMode};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _, PutMode, PutOptions};
use reco_core::Record;
use tracing::{debug, warn};
use uuid::Uuid;

use super::encode::{EncodedFile, encode};
use super::packed::Packed;
use super::schema::{DATE, SEQ, first_seq};
use super::{BatchId, DeltaTable, Written, check};
use crate::error::{Error, Result};
use crate::metric;

// Of all writers that try at once one wins, so a loss means that another one got on.
const MAX_ATTEMPTS: u32 = 64;
// After so many commits the log is summed up in a checkpoint, so that loading it stays fast.
const CHECKPOINT_INTERVAL: u64 = 100;

impl<E: Record> DeltaTable<E> {
    /// Commits records: see [`commit_packed`](Self::commit_packed).
    pub(super) async fn commit(&self, records: Vec<E>, id: Option<&BatchId>) -> Result<Written> {
        let packing = tokio::task::spawn_blocking(move || {
            let mut packed = Packed::new();
            packed.push(&records).map(|()| packed)
        });
        let packed = packing
            .await
            .map_err(|_| Error::TaskEnded { of: "DeltaTable" })??;
        self.commit_packed(packed, id).await
    }

    /// Commits the records at the version after the one that is loaded; if another writer takes that
    /// version first, loads again and starts over.
    pub(super) async fn commit_packed(
        &self,
        records: Packed<E>,
        id: Option<&BatchId>,
    ) -> Result<Written> {
        let begun = Instant::now();
        let records = Arc::new(records);
        // Clones of a table take turns, so that only other processes make a commit start over.
        let _turn = self.inner.turn.lock().await;
        for attempt in 1..=MAX_ATTEMPTS {
            let state = self.refresh().await?;
            // Another engine may have changed the table since it was opened.
            check::<E>(&self.inner.name, &state)?;
            if let Some(id) = id {
                let seen = state
                    .transaction_version(self.inner.log.as_ref(), id.writer())
                    .await
                    .map_err(|source| self.log_failed("load", source))?;
                if seen.is_some_and(|seen| seen >= id.sequence()) {
                    metrics::counter!(metric::DUPLICATES, metric::TABLE => self.inner.name.clone())
                        .increment(records.len() as u64);
                    return Ok(Written::AlreadyThere);
                }
            }
            let version = state.version() + 1;
            let adds = self.store_files(Arc::clone(&records), version).await?;
            if self.try_commit(version, &adds, id).await? {
                debug!(table = %self.inner.name, version, attempt, "committed");
                metrics::histogram!(metric::COMMIT_SECONDS, metric::TABLE => self.inner.name.clone())
                    .record(begun.elapsed());
                self.checkpoint(version).await;
                return Ok(Written::Committed { version });
            }
            debug!(table = %self.inner.name, version, attempt, "another writer was first");
            self.delete_files(&adds).await;
        }
        Err(Error::Contended {
            table: self.inner.name.clone(),
            attempts: MAX_ATTEMPTS,
        })
    }

    async fn store_files(&self, records: Arc<Packed<E>>, version: u64) -> Result<Vec<Add>> {
        let table = self.inner.name.clone();
        let encoded =
            tokio::task::spawn_blocking(move || encode(&table, &records, first_seq(version)))
                .await
                .map_err(|_| Error::TaskEnded { of: "DeltaTable" })??;
        let store = self.inner.log.object_store(None);
        let mut adds = Vec::with_capacity(encoded.len());
        for file in encoded {
            adds.push(store_file(store.as_ref(), file).await?);
        }
        Ok(adds)
    }

    // False if the version is another writer's. On an error it is not known whether the commit
    // landed, so the files have to stay; those of a commit that did not are for `VACUUM`.
    async fn try_commit(&self, version: u64, adds: &[Add], id: Option<&BatchId>) -> Result<bool> {
        let operation = DeltaOperation::Write {
            mode: SaveMode::Append,
            partition_by: Some(vec![DATE.to_owned()]),
            predicate: None,
        };
        let transactions = id.map(|id| Transaction::new(id.writer(), id.sequence()));
        let commit = CommitData::new(
            adds.iter().cloned().map(Action::Add).collect(),
            operation,
            HashMap::new(),
            transactions.into_iter().collect(),
        );
        let failed = |source: TransactionError| self.log_failed("commit", source.into());
        let bytes = commit.get_bytes().map_err(failed)?;
        let log = &self.inner.log;
        let entry = CommitOrBytes::LogBytes(bytes.clone());
        match log.write_commit_entry(version, entry, Uuid::new_v4()).await {
            Ok(()) => Ok(true),
            // A store that retries a request may find the entry of its own first try.
            Err(TransactionError::VersionAlreadyExists(_)) => Ok(log
                .read_commit_entry(version)
                .await
                .map_err(|source| self.log_failed("commit", source))?
                .is_some_and(|there| there == bytes)),
            Err(error) => Err(failed(error)),
        }
    }

    async fn delete_files(&self, adds: &[Add]) {
        let store = self.inner.log.object_store(None);
        for add in adds {
            if let Err(error) = store.delete(&Path::from(add.path.as_str())).await {
                warn!(path = %add.path, %error, "a file of a lost commit stays behind");
            }
        }
    }

    // The rows are committed whatever happens here.
    async fn checkpoint(&self, version: u64) {
        if !version.is_multiple_of(CHECKPOINT_INTERVAL) {
            return;
        }
        let mut table = deltalake::DeltaTable::new(Arc::clone(&self.inner.log));
        let made = match table.load_version(version).await {
            Ok(()) => deltalake::checkpoints::create_checkpoint(&table, None).await,
            Err(error) => Err(error),
        };
        if let Err(error) = made {
            warn!(table = %self.inner.name, version, %error, "no checkpoint was made");
        }
    }
}

async fn store_file(store: &dyn ObjectStore, file: EncodedFile) -> Result<Add> {
    let path = Path::from(format!(
        "{DATE}={}/part-{}.zstd.parquet",
        file.date,
        Uuid::new_v4()
    ));
    let failed = |source| Error::Store {
        path: path.to_string(),
        source,
    };
    let size = i64::try_from(file.bytes.len()).unwrap_or(i64::MAX);
    let options = PutOptions::from(PutMode::Create);
    store
        .put_opts(&path, file.bytes.into(), options)
        .await
        .map_err(failed)?;
    let modified = store.head(&path).await.map_err(failed)?.last_modified;
    let stats = serde_json::json!({
        "numRecords": file.n_rows,
        "minValues": { SEQ: file.min_seq },
        "maxValues": { SEQ: file.max_seq },
        "nullCount": { SEQ: 0 },
    });
    Ok(Add {
        path: path.to_string(),
        partition_values: [(DATE.to_owned(), Some(file.date.to_string()))].into(),
        size,
        modification_time: modified.timestamp_millis(),
        data_change: true,
        stats: Some(stats.to_string()),
        ..Add::default()
    })
}
