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
use super::{BatchId, Committed, DeltaTable, Written, check};
use crate::error::{Error, Result};
use crate::metric;

// Of all writers that try at once one wins, so a loss means that another one got on.
pub(super) const MAX_ATTEMPTS: u32 = 64;

/// What the table has of a writer, for a commit that is made only then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Last {
    /// Anything.
    Any,
    /// This number, or nothing.
    Is(Option<i64>),
}

/// Records to commit, encoded perhaps for the version that they are expected to get.
#[derive(Debug)]
pub(crate) struct Prepared<E: Record> {
    pub(super) records: Arc<Packed<E>>,
    pub(super) files: Option<(u64, Vec<EncodedFile>)>,
}

impl<E: Record> Prepared<E> {
    pub(super) fn of(records: Packed<E>) -> Self {
        Self {
            records: Arc::new(records),
            files: None,
        }
    }
}

impl Committed {
    // Whether it is what a version of the table has last of a writer.
    fn is_last(&self, version: u64, writer: &str) -> bool {
        self.version == version && self.id.writer() == writer
    }
}

impl<E: Record> DeltaTable<E> {
    /// Writes a batch that follows the last one of its writer, or nothing.
    ///
    /// So what a lost call of the same writer commits late is noticed, whatever was in it.
    pub(crate) async fn write_following(
        &self,
        id: &BatchId,
        last: Option<i64>,
        records: Packed<E>,
    ) -> Result<Written> {
        let records = Prepared::of(records);
        self.commit_after(records, Some(id), Last::Is(last)).await
    }

    /// Commits records: see [`commit_prepared`](Self::commit_prepared).
    pub(super) async fn commit(&self, records: Vec<E>, id: Option<&BatchId>) -> Result<Written> {
        let records = Prepared::of(pack(records).await?);
        self.commit_prepared(records, id).await
    }

    /// Commits records whatever the table has of the writer.
    pub(super) async fn commit_prepared(
        &self,
        records: Prepared<E>,
        id: Option<&BatchId>,
    ) -> Result<Written> {
        self.commit_after(records, id, Last::Any).await
    }

    /// Encodes records for a version before it is their turn.
    pub(super) async fn prepare(&self, records: Packed<E>, version: u64) -> Result<Prepared<E>> {
        let mut prepared = Prepared::of(records);
        let files = self.encode(Arc::clone(&prepared.records), version).await?;
        prepared.files = Some((version, files));
        Ok(prepared)
    }

    /// Commits the records at the version after the one that is loaded; if another writer takes that
    /// version first, loads again and starts over.
    async fn commit_after(
        &self,
        prepared: Prepared<E>,
        id: Option<&BatchId>,
        last: Last,
    ) -> Result<Written> {
        let begun = Instant::now();
        let Prepared { records, mut files } = prepared;
        // Clones of a table take turns, so that only other processes make a commit start over.
        let mut turn = self.inner.turn.lock().await;
        for attempt in 1..=MAX_ATTEMPTS {
            let state = self.refresh().await?;
            // Another engine may have changed the table since it was opened.
            check::<E>(&self.inner.name, &state)?;
            if let Some(id) = id {
                // Asking the log means to read it back to its last checkpoint, for every batch.
                let seen = match &*turn {
                    Some(committed) if committed.is_last(state.version(), id.writer()) => {
                        Some(committed.id.sequence())
                    }
                    _ => self.sequence_in(&state, id.writer()).await?,
                };
                if seen.is_some_and(|seen| seen >= id.sequence()) {
                    metrics::counter!(metric::DUPLICATES, metric::TABLE => self.inner.name.clone())
                        .increment(records.len() as u64);
                    self.settle().await?;
                    return Ok(Written::AlreadyThere);
                }
                if last != Last::Any && last != Last::Is(seen) {
                    return Err(Error::Overtaken {
                        table: self.inner.name.clone(),
                        writer: id.writer().to_owned(),
                    });
                }
            }
            let version = state.version() + 1;
            let encoded = match files.take() {
                Some((of, files)) if of == version => files,
                _ => self.encode(Arc::clone(&records), version).await?,
            };
            let adds = self.store_files(encoded).await?;
            if self.try_commit(version, &adds, id).await? {
                debug!(table = %self.inner.name, version, attempt, "committed");
                *turn = id.cloned().map(|id| Committed { version, id });
                metrics::histogram!(metric::COMMIT_SECONDS, metric::TABLE => self.inner.name.clone())
                    .record(begun.elapsed());
                self.checkpoint_if_due(version).await;
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

    // The rows are numbered by the version that they get.
    async fn encode(&self, records: Arc<Packed<E>>, version: u64) -> Result<Vec<EncodedFile>> {
        let table = self.inner.name.clone();
        tokio::task::spawn_blocking(move || encode(&table, &records, first_seq(version)))
            .await
            .map_err(|_| Error::TaskEnded { of: "DeltaTable" })?
    }

    async fn store_files(&self, encoded: Vec<EncodedFile>) -> Result<Vec<Add>> {
        let store = self.inner.log.object_store(None);
        let mut adds = Vec::with_capacity(encoded.len());
        for file in encoded {
            adds.push(store_file(store.as_ref(), file).await?);
        }
        Ok(adds)
    }

    async fn try_commit(&self, version: u64, adds: &[Add], id: Option<&BatchId>) -> Result<bool> {
        let operation = DeltaOperation::Write {
            mode: SaveMode::Append,
            partition_by: Some(vec![DATE.to_owned()]),
            predicate: None,
        };
        // The time of the store, which is the only clock here. It lets a table forget transactions
        // that are older than its `delta.setTransactionRetentionDuration`.
        let updated = adds.iter().map(|add| add.modification_time).max();
        let transactions =
            id.map(|id| Transaction::new_with_last_update(id.writer(), id.sequence(), updated));
        let commit = CommitData::new(
            adds.iter().cloned().map(Action::Add).collect(),
            operation,
            HashMap::new(),
            transactions.into_iter().collect(),
        );
        self.write_entry(version, &commit).await
    }

    /// Writes the entry of a version. False if the version is another writer's. On an error it is not
    /// known whether the commit landed, so the files have to stay; those of a commit that did not are
    /// for [`vacuum`](Self::vacuum).
    pub(super) async fn write_entry(&self, version: u64, commit: &CommitData) -> Result<bool> {
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

    /// Deletes files that no entry names and none will.
    pub(super) async fn delete_files(&self, adds: &[Add]) {
        let store = self.inner.log.object_store(None);
        for add in adds {
            if let Err(error) = store.delete(&Path::from(add.path.as_str())).await {
                warn!(path = %add.path, %error, "a file of a lost commit stays behind");
            }
        }
    }
}

// Making columns is work for a thread of its own.
async fn pack<E: Record>(records: Vec<E>) -> Result<Packed<E>> {
    let packing = tokio::task::spawn_blocking(move || {
        let mut packed = Packed::new();
        packed.push(&records).map(|()| packed)
    });
    packing
        .await
        .map_err(|_| Error::TaskEnded { of: "DeltaTable" })?
}

/// Stores a file under a new name, and says how the log names it.
pub(super) async fn store_file(store: &dyn ObjectStore, file: EncodedFile) -> Result<Add> {
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
    match store.put_opts(&path, file.bytes.into(), options).await {
        // Nobody else writes under this name: a store that retries found its own first try.
        Ok(_) | Err(object_store::Error::AlreadyExists { .. }) => {}
        Err(source) => return Err(failed(source)),
    }
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
