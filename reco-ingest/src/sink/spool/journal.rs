//! [`Journal`]: groups of records on disk, in the order acknowledged.

use std::collections::VecDeque;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use reco_core::BoxError;
use redb::{Database, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition};
use uuid::Uuid;

use super::facts::{self, Facts, Owner};
use super::group::{self, Group};
use super::room::pages_of;
use super::storage::{Files, Storage};
use crate::delta::{sync_ancestors, sync_folder};
use crate::error::{Error, Result};

/// The groups by their numbers.
pub(super) const GROUPS: TableDefinition<'_, i64, &[u8]> = TableDefinition::new("groups");

const FILE: &str = "spool.redb";
// Pages are written through, and read once.
const CACHE_BYTES: usize = 16 << 20;
// How long a file that could not be opened is left alone.
const REOPEN_AFTER: Duration = Duration::from_secs(1);

/// Groups of records on disk, in the order acknowledged, and what has become of them.
///
/// A [`redb`] file: a B-tree that is copied on write, whose transactions are there whole or not at all
/// after a power loss. What is trimmed makes room for what is appended, and the file shrinks once it
/// is empty and was large.
///
/// # When the disk fails
///
/// A transaction that failed may have been stored or not, so the file is closed and opened again before
/// the next one, and what it holds is counted anew. A file whose sync failed takes no more groups: once
/// all of them are in the table and trimmed, it is made anew.
#[derive(Debug)]
pub(super) struct Journal {
    dir: String,
    path: PathBuf,
    file: JournalFile,
    /// What is stored and not trimmed, oldest first.
    index: VecDeque<Stored>,
    held: Held,
    /// The highest number that any group ever had.
    last: i64,
    facts: Facts,
    _lock: File,
}

/// The file, if it is open.
struct JournalFile {
    files: Arc<dyn Files>,
    sync: bool,
    sync_failed: Arc<AtomicBool>,
    db: Option<Database>,
    /// When to try again to open it.
    retry_at: Option<Instant>,
}

impl std::fmt::Debug for JournalFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JournalFile")
            .field("db", &self.db)
            .finish_non_exhaustive()
    }
}

/// How much is stored and not trimmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Held {
    pub(super) n_records: u64,
    /// The bytes of the groups, and the pages that they take.
    pub(super) n_bytes: u64,
    pub(super) n_pages: usize,
}

impl Held {
    fn of<'a>(groups: impl IntoIterator<Item = &'a Stored>) -> Self {
        groups.into_iter().fold(Self::default(), |sum, group| Self {
            n_records: sum.n_records + group.n_records,
            n_bytes: sum.n_bytes + group.n_bytes,
            n_pages: sum.n_pages + group.n_pages,
        })
    }
}

/// A group in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) sequence: i64,
    pub(super) n_records: u64,
    pub(super) n_bytes: u64,
    pub(super) n_pages: usize,
}

impl Journal {
    /// Opens the journal of a table in a folder, or makes it.
    pub(super) fn open(
        dir: &Path,
        sync: bool,
        owner: &Owner,
        files: Arc<dyn Files>,
    ) -> Result<Self> {
        let name = dir.display().to_string();
        let failed = |source: std::io::Error| failed(&name, "open", source);
        std::fs::create_dir_all(dir).map_err(failed)?;
        let lock = File::create(dir.join("lock")).map_err(failed)?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => Error::SpoolInUse { dir: name.clone() },
            TryLockError::Error(error) => failed(error),
        })?;
        let mut journal = Self {
            path: dir.join(FILE),
            file: JournalFile {
                files,
                sync,
                sync_failed: Arc::default(),
                db: None,
                retry_at: None,
            },
            index: VecDeque::new(),
            held: Held::default(),
            last: 0,
            facts: Facts {
                writer: Uuid::new_v4().to_string(),
                owner: owner.clone(),
            },
            dir: name.clone(),
            _lock: lock,
        };
        journal.load()?;
        if journal.facts.owner.id != owner.id {
            let describe = |owner: &Owner| format!("{} ({})", owner.name, owner.id);
            return Err(Error::SpoolOfOther {
                dir: name,
                owner: describe(&journal.facts.owner),
                table: describe(owner),
            });
        }
        if sync {
            let whole = std::path::absolute(dir).map_err(failed)?;
            sync_ancestors(&whole).map_err(failed)?;
        }
        Ok(journal)
    }

    /// The name of this spool among the writers of the table.
    pub(super) fn writer(&self) -> &str {
        &self.facts.writer
    }

    /// How much is stored and not trimmed.
    pub(super) const fn held(&self) -> Held {
        self.held
    }

    /// The number of the oldest group that is not trimmed.
    pub(super) fn first(&self) -> Option<i64> {
        self.index.front().map(|stored| stored.sequence)
    }

    /// The highest number that any group ever had.
    pub(super) const fn last(&self) -> i64 {
        self.last
    }

    /// Numbers groups from behind a number on, if that is higher.
    pub(super) fn raise(&mut self, last: i64) {
        self.last = self.last.max(last);
    }

    /// The state of the file now, for a reader on another thread.
    pub(super) fn read(&mut self) -> Result<ReadTransaction> {
        self.load()?;
        let transaction = self.db()?.begin_read();
        transaction.map_err(|error| self.failed("read", error))
    }

    /// Appends groups, and removes those up to a number, but at most some; all of it or nothing.
    ///
    /// Returns how many records were removed.
    pub(super) fn commit(
        &mut self,
        groups: &[Group],
        trim: Option<i64>,
        max_trimmed: usize,
    ) -> Result<u64> {
        self.load()?;
        if self.sync_failed() && !groups.is_empty() {
            let reason = "a sync failed before: everything has to be drained into the table first";
            return Err(self.failed("append", reason));
        }
        let trimmed: Vec<Stored> = trim.map_or_else(Vec::new, |through| {
            let old = self.index.iter().take_while(|old| old.sequence <= through);
            old.take(max_trimmed).copied().collect()
        });
        let mut added = Vec::with_capacity(groups.len());
        for group in groups {
            let n_bytes = u64::try_from(group.bytes.len()).unwrap_or(u64::MAX);
            let sequence = added
                .last()
                .map_or(self.last, |stored: &Stored| stored.sequence)
                + 1;
            added.push(Stored {
                sequence,
                n_records: group.n_records,
                n_bytes,
                n_pages: pages_of(n_bytes),
            });
        }
        let result = self.db().and_then(|db| {
            let entries = added.iter().zip(groups);
            write(db, entries, &trimmed).map_err(|error| self.failed("append", error))
        });
        if let Err(error) = result {
            // Whatever became of it, the file says.
            self.file.db = None;
            return Err(error);
        }
        self.index.drain(..trimmed.len());
        let (more, less) = (Held::of(&added), Held::of(&trimmed));
        self.held = Held {
            n_records: self.held.n_records + more.n_records - less.n_records,
            n_bytes: self.held.n_bytes + more.n_bytes - less.n_bytes,
            n_pages: self.held.n_pages + more.n_pages - less.n_pages,
        };
        self.last = added.last().map_or(self.last, |stored| stored.sequence);
        self.index.extend(added);
        Ok(less.n_records)
    }

    /// Gives disk back, if the file is empty and larger than that.
    pub(super) fn shrink(&mut self, max_bytes: u64) {
        if !self.index.is_empty() {
            return;
        }
        if self.sync_failed() {
            self.file.db = None;
            return;
        }
        let n_bytes = std::fs::metadata(&self.path).map_or(0, |file| file.len());
        if let (true, Some(db)) = (n_bytes > max_bytes, self.file.db.as_mut())
            && let Err(error) = db.compact()
        {
            tracing::debug!(dir = %self.dir, %error, "a spool was not shrunk");
        }
    }

    fn sync_failed(&self) -> bool {
        self.file.sync_failed.load(Ordering::SeqCst)
    }

    fn db(&self) -> Result<&Database> {
        let closed = || self.failed("open", "it was closed after a failure");
        self.file.db.as_ref().ok_or_else(closed)
    }

    // Opens the file if it is not open, and counts what it holds.
    fn load(&mut self) -> Result<()> {
        if self.file.db.is_some() {
            return Ok(());
        }
        if self.file.retry_at.is_some_and(|at| Instant::now() < at) {
            return Err(self.failed("open", "it could not be opened just before"));
        }
        self.file.retry_at = Some(Instant::now() + REOPEN_AFTER);
        let is_new = self.make().map_err(|error| self.failed("open", error))?;
        let opened = self.open_file(&self.path);
        let settled = opened.and_then(|db| {
            let (facts, trimmed) = facts::settle(&db, self.facts.clone())?;
            Ok((db, facts, trimmed))
        });
        let (db, facts, trimmed) = settled.map_err(|error| self.failed("open", error))?;
        self.facts = facts;
        if is_new {
            self.file.sync_failed.store(false, Ordering::SeqCst);
        }
        self.index = self.count(&db)?;
        self.held = Held::of(&self.index);
        let last = self.index.back().map_or(trimmed, |stored| stored.sequence);
        self.raise(last.max(trimmed));
        self.file.db = Some(db);
        self.file.retry_at = None;
        Ok(())
    }

    // Makes the file if there is none, or none that is trusted: under another name until it is whole, so
    // that a power loss leaves none or all of it. Says whether it did.
    fn make(&self) -> Result<bool, redb::Error> {
        let files = &self.file.files;
        let is_distrusted = self.sync_failed() && self.index.is_empty();
        if files.exists(&self.path)? && !is_distrusted {
            return Ok(false);
        }
        let new = self.path.with_extension("new");
        files.remove(&new)?;
        let db = self.open_file(&new)?;
        facts::settle(&db, self.facts.clone())?;
        drop(db);
        // Nothing in the old one was acknowledged and is not in the table.
        files.rename(&new, &self.path)?;
        if let (true, Some(folder)) = (self.file.sync, self.path.parent()) {
            sync_folder(folder)?;
        }
        Ok(true)
    }

    fn open_file(&self, path: &Path) -> Result<Database, redb::Error> {
        let backend = self.file.files.open(path)?;
        let sync_failed = Arc::clone(&self.file.sync_failed);
        let storage = Storage::new(backend, self.file.sync, sync_failed);
        let db = Database::builder()
            .set_cache_size(CACHE_BYTES)
            .set_check_integrity_on_open(true)
            .create_with_backend(storage)?;
        Ok(db)
    }

    fn count(&self, db: &Database) -> Result<VecDeque<Stored>> {
        let scan = || -> Result<_, redb::Error> {
            let mut index = VecDeque::new();
            for entry in db.begin_read()?.open_table(GROUPS)?.iter()? {
                let (sequence, bytes) = entry?;
                let (sequence, bytes) = (sequence.value(), bytes.value());
                let n_bytes = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                index.push_back((sequence, n_bytes, group::n_records(bytes)));
            }
            Ok(index)
        };
        let groups = scan().map_err(|error| self.failed("open", error))?;
        let stored = groups.into_iter().map(|(sequence, n_bytes, n_records)| {
            Ok(Stored {
                sequence,
                n_records: n_records.map_err(|reason| damaged(&self.path, sequence, &reason))?,
                n_bytes,
                n_pages: pages_of(n_bytes),
            })
        });
        stored.collect()
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn failed(&self, operation: &'static str, source: impl Into<BoxError>) -> Error {
        failed(&self.dir, operation, source)
    }
}

/// The error of a group that cannot be read back.
pub(super) fn damaged(path: &Path, sequence: i64, reason: &str) -> Error {
    Error::DataFile {
        path: path.display().to_string(),
        reason: format!("group {sequence} cannot be read: {reason}"),
    }
}

/// The error of a spool.
pub(super) fn failed(dir: &str, operation: &'static str, source: impl Into<BoxError>) -> Error {
    Error::Spool {
        dir: dir.to_owned(),
        operation,
        source: source.into(),
    }
}

fn write<'a>(
    db: &Database,
    groups: impl Iterator<Item = (&'a Stored, &'a Group)>,
    trimmed: &[Stored],
) -> Result<(), redb::Error> {
    let transaction = db.begin_write()?;
    {
        let mut table = transaction.open_table(GROUPS)?;
        for (stored, group) in groups {
            table.insert(stored.sequence, group.bytes.as_slice())?;
        }
        if let Some(newest) = trimmed.last() {
            table.retain_in(..=newest.sequence, |_, _| false)?;
            facts::trimmed(&transaction, newest.sequence)?;
        }
    }
    transaction.commit()?;
    Ok(())
}
