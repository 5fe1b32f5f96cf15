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
mod packed;
mod reader;
mod rewrite;
#[cfg(feature = "s3")]
mod s3;
mod scan;
mod schema;
mod sequence;
mod sorted;
mod synced;
mod unsorted;
mod vacuum;

use std::collections::HashMap;
use std::marker::PhantomData;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use deltalake::kernel::transaction::{CommitProperties, PROTOCOL};
use deltalake::logstore::LogStoreRef;
use deltalake::operations::create::CreateBuilder;
use deltalake::table::state::DeltaTableState;
use deltalake::{DeltaTableBuilder, DeltaTableError};
use object_store::ObjectStore;
use object_store::path::Path as StorePath;
use object_store::prefix::PrefixStore;
use reco_core::{
    BoxError, Durability, Event, EventSink, RawTable, Receipt, Record, RecordBatchStream,
    TimeWindow,
};
use tokio::sync::Mutex;
use url::Url;

use self::sorted::Sorted;
use self::synced::Synced;
use crate::error::{Error, Result};

pub use as_of::AsOf;
pub use batch_id::BatchId;
pub use changes::{Change, ChangeStream};
pub use compact::{CompactConfig, Compaction};
pub(crate) use folders::{sync_ancestors, sync_folder};
pub use forget::{Erasure, Personal, Subject};
pub use numbered::Numbered;
pub(crate) use packed::{Packed, date_of};
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
    /// Held by the clone that commits.
    turn: Mutex<()>,
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
    /// Opens the table at a prefix of a store, or creates it.
    ///
    /// The prefix is a path of the store, taken as it is: `raw/shop#1` is a folder `shop#1`.
    ///
    /// What a record survives there is not known, so receipts claim the least; say more with
    /// [`with_durability`](Self::with_durability).
    ///
    /// # Errors
    ///
    /// [`Error::SchemaMismatch`] or [`reco_core::Error::MissingColumn`] if the table that is there has
    /// other columns, [`Error::Log`] if its log cannot be read or written, [`Error::Location`] if the
    /// prefix is not a path: `a/../b`.
    pub async fn open(store: Arc<dyn ObjectStore>, prefix: &str) -> Result<Self> {
        let path = StorePath::parse(prefix).map_err(|error| location_error(prefix, error))?;
        let store = Sorted(Arc::new(PrefixStore::new(store, path)));
        let log = log_at_root(prefix, Arc::new(store))?;
        Self::open_log(prefix, log, None, Durability::Memory).await
    }

    /// Opens the table in a local folder, or creates both.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), and [`Error::Location`] if the path cannot be used.
    pub async fn open_local(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let name = path.display().to_string();
        let failed = |error| location_error(&name, error);
        tokio::fs::create_dir_all(path).await.map_err(failed)?;
        let absolute = tokio::fs::canonicalize(path).await.map_err(failed)?;
        let folder = tokio::task::spawn_blocking(move || Synced::new(&absolute)).await;
        let folder = folder
            .map_err(|error| location_error(&name, error))?
            .map_err(|error| location_error(&name, error))?;
        let log = log_at_root(&name, Arc::new(folder.clone()))?;
        Self::open_log(&name, log, Some(folder), Durability::Durable).await
    }

    /// Opens the table at a URL, or creates it: `file:///…`, `memory:///…`, `s3://bucket/prefix` with
    /// the feature `s3`, and what the features of [`deltalake`] add.
    ///
    /// The options of an S3 store are those of `object_store`: `aws_access_key_id`,
    /// `aws_secret_access_key`, `aws_region`, `aws_endpoint`, `allow_http` and so on, in upper or lower
    /// case. Nothing is read from the environment. Commits rely on conditional puts (`If-None-Match`),
    /// which S3 has since 2024, and so have the stores that are compatible with it; no lock table is
    /// needed.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), and [`Error::Location`] if the URL is malformed, its scheme unknown or
    /// an option not one of the store.
    pub async fn open_url(url: &str, options: HashMap<String, String>) -> Result<Self> {
        let location = parse_url(url)?;
        if location.scheme() == "file" {
            let path = location
                .to_file_path()
                .map_err(|()| location_error(url, "it names no local path"))?;
            return Self::open_local(path).await;
        }
        #[cfg(feature = "s3")]
        if location.scheme() == "s3" {
            let (store, prefix) = s3::store(url, &location, &options)?;
            let table = Self::open(store, &prefix).await?;
            return Ok(table.with_durability(Durability::Durable));
        }
        Self::open_location(url, location, options).await
    }

    async fn open_location(
        name: &str,
        location: Url,
        options: HashMap<String, String>,
    ) -> Result<Self> {
        let durability = match location.scheme() {
            "memory" => Durability::Memory,
            _ => Durability::Durable,
        };
        let table = DeltaTableBuilder::from_url(location)
            .map(|builder| builder.with_storage_options(options))
            .and_then(DeltaTableBuilder::build)
            .map_err(|error| location_error(name, error))?;
        Self::open_log(name, table.log_store(), None, durability).await
    }

    async fn open_log(
        name: &str,
        log: LogStoreRef,
        local: Option<Synced>,
        durability: Durability,
    ) -> Result<Self> {
        let state = load_or_create::<E>(name, &log).await?;
        check::<E>(name, &state)?;
        Ok(Self {
            inner: Arc::new(Inner {
                name: name.to_owned(),
                log,
                local,
                state: Mutex::new(state),
                turn: Mutex::new(()),
            }),
            durability,
            records: PhantomData,
        })
    }

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
}

// Whether the table has the columns of the record, and asks of writers nothing that is not known.
fn check<E: Record>(name: &str, state: &DeltaTableState) -> Result<()> {
    schema::check::<E>(name, state)?;
    PROTOCOL
        .can_write_to(state)
        .map_err(|source| log_error(name, "load", source.into()))
}

async fn load_or_create<E: Record>(name: &str, log: &LogStoreRef) -> Result<DeltaTableState> {
    let columns = schema::table_columns::<E>(name)?;
    let load = || DeltaTableState::try_new(log.as_ref(), None);
    let exists = log
        .is_delta_table_location()
        .await
        .map_err(|source| log_error(name, "load", source))?;
    if !exists {
        let created = CreateBuilder::new()
            .with_log_store(Arc::clone(log))
            .with_columns(columns)
            .with_partition_columns([schema::DATE])
            .with_comment(format!("raw table of {} records", E::NAME))
            // With retries, losing the race for version 0 would declare the table again at version 1.
            .with_commit_properties(CommitProperties::default().with_max_retries(0))
            .with_configuration([
                ("delta.appendOnly", Some("true")),
                ("delta.checkpointInterval", Some("100")),
            ])
            .await;
        if let Err(error) = created {
            // Another process may have been first.
            return load().await.map_err(|_| log_error(name, "create", error));
        }
    }
    load()
        .await
        .map_err(|source| log_error(name, "load", source))
}

// The log of a table that is the root of a store, so that no folder has to be written as a URL.
fn log_at_root(name: &str, store: Arc<dyn ObjectStore>) -> Result<LogStoreRef> {
    let location = parse_url("memory:///")?;
    let table = DeltaTableBuilder::from_url(location.clone())
        .map(|builder| builder.with_storage_backend(store, location))
        .and_then(DeltaTableBuilder::build)
        .map_err(|error| location_error(name, error))?;
    Ok(table.log_store())
}

fn parse_url(url: &str) -> Result<Url> {
    Url::parse(url).map_err(|error| location_error(url, error))
}

fn location_error(location: &str, source: impl Into<BoxError>) -> Error {
    Error::Location {
        location: location.to_owned(),
        source: source.into(),
    }
}

fn log_error(table: &str, operation: &'static str, source: DeltaTableError) -> Error {
    Error::Log {
        table: table.to_owned(),
        operation,
        source: Box::new(source),
    }
}
