//! [`Watched`]: files of the operating system, of whose changes somebody else decides what becomes.

use std::fmt;
use std::io::Error as IoError;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use redb::{BackendError, StorageBackend};

use super::super::storage::{Files, SystemFiles};

/// What is about to be done to a file.
#[derive(Debug, Clone, Copy)]
pub(super) enum Change<'a> {
    Grow,
    Write(&'a [u8]),
    Sync,
    Rename,
}

/// Decides what becomes of a change.
pub(super) trait Watch: fmt::Debug + Send + Sync + 'static {
    /// Makes the change, or fails.
    fn run(
        &self,
        change: Change<'_>,
        make: &mut dyn FnMut() -> Result<(), IoError>,
    ) -> Result<(), IoError>;
}

/// Files of the operating system, of whose changes somebody else decides what becomes.
#[derive(Debug)]
pub(super) struct Watched<W>(pub(super) Arc<W>);

impl<W: Watch> Files for Watched<W> {
    fn exists(&self, path: &Path) -> Result<bool, IoError> {
        SystemFiles.exists(path)
    }

    fn open(&self, path: &Path) -> Result<Box<dyn StorageBackend>, IoError> {
        Ok(Box::new(WatchedFile {
            inner: SystemFiles.open(path)?,
            watch: Arc::clone(&self.0),
        }))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), IoError> {
        let mut make = || SystemFiles.rename(from, to);
        self.0.run(Change::Rename, &mut make)
    }

    fn remove(&self, path: &Path) -> Result<(), IoError> {
        SystemFiles.remove(path)
    }
}

#[derive(Debug)]
struct WatchedFile<W> {
    inner: Box<dyn StorageBackend>,
    watch: Arc<W>,
}

impl<W: Watch> StorageBackend for WatchedFile<W> {
    fn len(&self) -> Result<u64, IoError> {
        self.inner.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), IoError> {
        self.inner.read(offset, out)
    }

    fn set_len(&self, len: u64) -> Result<(), IoError> {
        if len <= self.inner.len()? {
            return self.inner.set_len(len);
        }
        let mut make = || self.inner.set_len(len);
        self.watch.run(Change::Grow, &mut make)
    }

    fn sync_data(&self) -> Result<(), IoError> {
        let mut make = || self.inner.sync_data();
        self.watch.run(Change::Sync, &mut make)
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), IoError> {
        let mut make = || self.inner.write(offset, data);
        self.watch.run(Change::Write(data), &mut make)
    }

    fn close(&self) -> Result<(), IoError> {
        self.inner.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.try_lock_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.unlock_range(start, end)
    }
}
