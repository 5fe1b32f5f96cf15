//! [`Files`] and [`Storage`]: where the file of a journal is kept.

use std::fmt;
use std::io::{Error as IoError, ErrorKind};
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redb::backends::FileBackend;
use redb::{BackendError, StorageBackend};

/// Where the file of a journal is kept.
pub(super) trait Files: fmt::Debug + Send + Sync + 'static {
    /// Whether there is a file of that name.
    fn exists(&self, path: &Path) -> Result<bool, IoError>;

    /// Opens a file, or makes it.
    fn open(&self, path: &Path) -> Result<Box<dyn StorageBackend>, IoError>;

    /// Gives a file another name, in one step.
    fn rename(&self, from: &Path, to: &Path) -> Result<(), IoError>;

    /// Removes a file, if it is there.
    fn remove(&self, path: &Path) -> Result<(), IoError>;
}

/// Files of the operating system.
#[derive(Debug)]
pub(super) struct SystemFiles;

impl Files for SystemFiles {
    fn exists(&self, path: &Path) -> Result<bool, IoError> {
        path.try_exists()
    }

    fn open(&self, path: &Path) -> Result<Box<dyn StorageBackend>, IoError> {
        let mut options = std::fs::OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false);
        let backend = FileBackend::new(file.open(path)?).map_err(IoError::other)?;
        Ok(Box::new(backend))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), IoError> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> Result<(), IoError> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }
}

/// The file that a journal is kept in, which remembers whether a sync failed.
///
/// After a sync that failed the operating system may take pages for written that are not, so that a
/// later sync succeeds and what was acknowledged is gone all the same. So such a file is not trusted
/// again: see [`Journal`](super::journal::Journal).
pub(super) struct Storage {
    inner: Box<dyn StorageBackend>,
    /// Whether to wait for the disk.
    sync: bool,
    sync_failed: Arc<AtomicBool>,
}

impl Storage {
    pub(super) fn new(
        inner: Box<dyn StorageBackend>,
        sync: bool,
        sync_failed: Arc<AtomicBool>,
    ) -> Self {
        Self {
            inner,
            sync,
            sync_failed,
        }
    }
}

impl fmt::Debug for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[deny(clippy::missing_trait_methods)]
impl StorageBackend for Storage {
    fn len(&self) -> Result<u64, IoError> {
        self.inner.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), IoError> {
        self.inner.read(offset, out)
    }

    fn set_len(&self, len: u64) -> Result<(), IoError> {
        self.inner.set_len(len)
    }

    fn sync_data(&self) -> Result<(), IoError> {
        if !self.sync {
            return Ok(());
        }
        self.inner.sync_data().inspect_err(|_| {
            self.sync_failed.store(true, Ordering::SeqCst);
        })
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), IoError> {
        self.inner.write(offset, data)
    }

    fn close(&self) -> Result<(), IoError> {
        self.inner.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.inner.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.query_lock_range(start, end)
    }
}
