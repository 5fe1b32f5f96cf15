//! [`DeltaTable`]: an append-only raw table that any engine can read.
//!
//! ```text
//! raw/events/
//! ├─ _delta_log/00000000000000000007.json      one entry a commit: what makes files part of the table
//! └─ received_date=2024-05-01/part-….parquet   the rows of one commit that were received that day
//! ```
//!
//! Rows go in by whole batches. A commit stores one Parquet file for each date of its batch and then
//! writes the next entry of the log, under a name that only one writer can take. Whoever loses that
//! race loads the log again and starts over. A crash in between leaves files that no entry names,
//! which no reader ever sees.
//!
//! # Two columns more
//!
//! * `received_date` is the UTC date of the record's [`timestamp`](Record::timestamp) and the
//!   partition: a scan of a window opens only the files of its days.
//! * `ingest_seq` says in which order the rows were written: the version of the commit × 2³² plus the
//!   row within it. Order is thus in the data, and survives a compaction by another engine.
//!
//! Scans of this crate leave both out; in SQL, `ORDER BY ingest_seq` replays.
//!
//! # Maintenance
//!
//! Rows are never changed, files are:
//!
//! * [`compact`](DeltaTable::compact) puts small files together, while writers go on;
//! * [`checkpoint`](DeltaTable::checkpoint) sums up the log, which writers do every 100 commits too;
//! * [`vacuum`](DeltaTable::vacuum) deletes files that no version of the last days names.
//!
//! [`as_of`](DeltaTable::as_of) reads old versions as long as their files are there, and
//! [`changes`](DeltaTable::changes) tells which rows came with which commit.
//!
//! The table has `delta.appendOnly` set, so other engines may rewrite its files too but refuse to
//! change or delete its rows. The one way to take rows out is [`forget`](DeltaTable::forget), which
//! erases a person.
//!
//! # Memory of a scan
//!
//! A scan yields batches of about 64 MiB at most and holds one of about 16 MiB of each file that it has
//! open: the dates of one commit, and after a compaction the dates whose files overlap. A file that another engine wrote without saying that it is sorted by
//! `ingest_seq` is held whole, so let compactions make files that fit into memory.

mod as_of;
mod batch_id;
mod changes;
mod checkpoint;
mod commit;
mod compact;
mod encode;
mod files;
mod folders;
mod forget;
mod history;
mod merge;
mod numbered;
mod open;
mod packed;
mod reader;
mod rewrite;
mod row_group;
#[cfg(feature = "s3")]
mod s3;
mod scan;
mod schema;
mod sequence;
mod sorted;
mod synced;
mod unsorted;
mod vacuum;

use std::marker::PhantomData;
use std::sync::Arc;

use async_trait::async_trait;
use deltalake::DeltaTableError;
use deltalake::kernel::transaction::PROTOCOL;
use deltalake::logstore::LogStoreRef;
use deltalake::table::state::DeltaTableState;
use reco_core::{
    Durability, Event, EventSink, RawTable, Receipt, Record, RecordBatchStream, TimeWindow,
};
use tokio::sync::Mutex;

use self::synced::Synced;
use crate::error::{Error, Result};

pub use as_of::AsOf;
pub use batch_id::BatchId;
pub use changes::{Change, ChangeStream};
pub(crate) use commit::Prepared;
pub use compact::{CompactConfig, Compaction};
#[cfg(all(test, feature = "http"))]
pub(crate) use folders::{Disk, SystemDisk};
pub(crate) use folders::{sync_ancestors, sync_folder};
pub use forget::{Erasure, Personal, Subject};
pub use numbered::Numbered;
pub(crate) use packed::{Packed, date_of, date_of_day, day_of};
pub use scan::Replay;
pub(crate) use scan::{NumberedRows, seq_of};
pub(crate) use schema::first_seq;
pub use vacuum::{VacuumConfig, Vacuumed};

/// An append-only Delta Lake table of records, events unless said otherwise.
///
/// Cloning is cheap and shares. Any number of clones, processes and machines may write at the same
/// time. Every write is one commit, which costs some requests to the store and one file a date:
/// collect small writes with [`Buffered`](crate::Buffered).
///
/// # Durability
///
/// A write is visible to every later scan when it returns, and `flush` has nothing left to do. What
/// it survives is what the store promises, which [`durability`](Self::durability) states and
/// receipts repeat: a table on a local path is durable, since every file and its folder are synced to
/// disk before the commit names it and the commit before the write returns; so is one in a remote
/// object store.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use futures::TryStreamExt;
/// use reco_core::{EventSink, RawTable, TimeWindow};
/// use reco_ingest::{BatchId, DeadLetter, DeltaTable, Written};
///
/// let folder = tempfile::tempdir()?;
/// let table = DeltaTable::<DeadLetter>::open_local(folder.path()).await?;
/// # let letters = vec![DeadLetter {
/// #     received_at: "2024-05-01T12:00Z".parse()?,
/// #     source: "clicks.csv".to_owned(),
/// #     position: 7,
/// #     reason: "4 fields where 5 are declared".to_owned(),
/// #     payload: "1;2;3;4".into(),
/// # }];
/// let id = BatchId::new("collector-1", 1)?;
/// assert_eq!(table.write_batch(&id, letters.clone()).await?, Written::Committed { version: 1 });
/// assert_eq!(table.write_batch(&id, letters).await?, Written::AlreadyThere);
///
/// let batches: Vec<_> = table.scan(TimeWindow::ALL).await?.try_collect().await?;
/// assert_eq!(batches[0].num_rows(), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct DeltaTable<E: Record = Event> {
    inner: Arc<Inner>,
    durability: Durability,
    records: PhantomData<fn() -> E>,
}

#[derive(Debug)]
struct Inner {
    /// What the table is called in errors: its location.
    name: String,
    log: LogStoreRef,
    /// The folder of a table on a local path.
    local: Option<Synced>,
    /// The state as of the last look at the log; locked only while looking again.
    state: Mutex<DeltaTableState>,
    /// Held by the clone that commits; what was committed last, if it had an id.
    turn: Mutex<Option<Committed>>,
}

/// A batch that was committed under an id.
#[derive(Debug)]
struct Committed {
    version: u64,
    id: BatchId,
}

/// What came of a batch that was written under an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// It is in the table since this version.
    Committed {
        /// The version of the table.
        version: u64,
    },
    /// It, or a later one of the same writer, was in the table already; nothing was written.
    AlreadyThere,
}

impl<E: Record> DeltaTable<E> {
    /// The same table, whose receipts state another durability: what its store is known to promise.
    #[must_use]
    pub fn with_durability(self, durability: Durability) -> Self {
        Self { durability, ..self }
    }

    /// What a record survives once it is written.
    #[must_use]
    pub const fn durability(&self) -> Durability {
        self.durability
    }

    /// What the table is called in errors: the location that it was opened at.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// The version of the last commit.
    ///
    /// # Errors
    ///
    /// [`Error::Log`] if the log cannot be read.
    pub async fn version(&self) -> Result<u64> {
        Ok(self.refresh().await?.version())
    }

    /// Writes a batch under an id, unless it is there already.
    ///
    /// On an error it is not known whether the batch was committed: write it again under the same id.
    /// An empty batch makes a commit that holds the id alone.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open) if the table was changed since; [`Error::Date`] if a record's time has
    /// no date, [`Error::Contended`] if other writers were
    /// faster every time, [`Error::Store`] and [`Error::Log`] if the store fails.
    ///
    /// # Cancel safety
    ///
    /// A batch whose future is dropped may or may not be committed, as on an error.
    #[tracing::instrument(level = "debug", skip_all, fields(table = %self.inner.name, writer = id.writer(), sequence = id.sequence(), n_records = records.len()))]
    pub async fn write_batch(&self, id: &BatchId, records: Vec<E>) -> Result<Written> {
        self.commit(records, Some(id)).await
    }

    // The state of the table now.
    async fn refresh(&self) -> Result<DeltaTableState> {
        let mut state = self.inner.state.lock().await;
        state
            .update(self.inner.log.as_ref(), None)
            .await
            .map_err(|source| self.log_failed("load", source))?;
        Ok(state.clone())
    }

    fn log_failed(&self, operation: &'static str, source: DeltaTableError) -> Error {
        log_error(&self.inner.name, operation, source)
    }
}

// Not derived: that would ask for `E: Clone` in the wrong words, and a clone shares.
impl<E: Record> Clone for DeltaTable<E> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            durability: self.durability,
            records: PhantomData,
        }
    }
}

#[async_trait]
impl<E: Record> EventSink<E> for DeltaTable<E> {
    async fn write(&self, records: Vec<E>) -> reco_core::Result<Receipt> {
        let n_records = records.len();
        if n_records > 0 {
            self.commit(records, None)
                .await
                .map_err(|error| error.at(&self.inner.name, "write"))?;
        }
        Ok(Receipt {
            n_records,
            durability: self.durability,
        })
    }

    async fn flush(&self) -> reco_core::Result<()> {
        Ok(())
    }
}

#[async_trait]
impl<E: Record> RawTable<E> for DeltaTable<E> {
    async fn scan(&self, window: TimeWindow) -> reco_core::Result<RecordBatchStream> {
        let replay = self.replay(window, None).await;
        Ok(replay
            .map_err(|error| error.at(&self.inner.name, "scan"))?
            .batches)
    }

    /// The id of the table and the version of its last commit.
    async fn fingerprint(&self) -> reco_core::Result<Option<String>> {
        let state = self.refresh().await;
        let state = state.map_err(|error| error.at(&self.inner.name, "load"))?;
        let (id, version) = (state.metadata().id(), state.version());
        Ok(Some(format!("delta {id} version {version}")))
    }
}

// Whether the table has the columns of the record, and asks of writers nothing that is not known.
fn check<E: Record>(name: &str, state: &DeltaTableState) -> Result<()> {
    schema::check::<E>(name, state)?;
    PROTOCOL
        .can_write_to(state)
        .map_err(|source| log_error(name, "load", source.into()))
}

fn log_error(table: &str, operation: &'static str, source: DeltaTableError) -> Error {
    Error::Log {
        table: table.to_owned(),
        operation,
        source: Box::new(source),
    }
}
