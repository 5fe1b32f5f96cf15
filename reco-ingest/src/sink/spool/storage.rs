//! [`Files`] and [`Storage`]: where the file of a journal is kept.

use std::collections::BTreeSet;
use std::fmt;
use std::io::{Error as IoError, ErrorKind};
use std::ops::Bound;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::backends::FileBackend;
use redb::{BackendError, StorageBackend};

// A hole is filled in blocks of so many bytes: some hundred groups of few records.
const BLOCK_BYTES: u64 = 1 << 20;
static ZEROS: [u8; 1 << 20] = [0; 1 << 20];

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

/// The file that a journal is kept in, which remembers whether a sync failed, and fills its holes.
///
/// Where a file grew, it has a hole, and the first write to a part of it has the file system find room and
/// note it, which the next sync has to wait for: it takes about twice as long as one of blocks that were
/// written before. So the first write to a block of the hole fills all of it with zeros, and most writes
/// find theirs filled.
///
/// After a sync that failed the operating system may take pages for written that are not, so that a
/// later sync succeeds and what was acknowledged is gone all the same. So such a file is not trusted
/// again: see [`Journal`](super::journal::Journal).
pub(super) struct Storage {
    inner: Box<dyn StorageBackend>,
    /// Whether to wait for the disk.
    sync: bool,
    sync_failed: Arc<AtomicBool>,
    /// The blocks of the file that nothing was written to since it grew.
    holes: Mutex<BTreeSet<u64>>,
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
            holes: Mutex::default(),
        }
    }

    fn holes(&self) -> MutexGuard<'_, BTreeSet<u64>> {
        self.holes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // Fills the blocks that are written to for the first time.
    fn fill(&self, offset: u64, len: usize) -> Result<(), IoError> {
        let mut holes = self.holes();
        let end = offset.saturating_add(u64::try_from(len).unwrap_or(u64::MAX));
        let written = offset / BLOCK_BYTES..end.div_ceil(BLOCK_BYTES);
        while let Some(&block) = holes.range(written.clone()).next() {
            self.inner.write(block * BLOCK_BYTES, &ZEROS)?;
            holes.remove(&block);
        }
        Ok(())
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
        let before = self.inner.len()?;
        self.inner.set_len(len)?;
        if self.sync {
            let mut holes = self.holes();
            // Whole blocks alone: what is written past the end would make the file longer.
            holes.split_off(&(len / BLOCK_BYTES));
            holes.extend(before.div_ceil(BLOCK_BYTES)..len / BLOCK_BYTES);
        }
        Ok(())
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
        self.fill(offset, data.len())?;
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

#[cfg(test)]
mod tests {
    use redb::backends::InMemoryBackend;

    use super::*;

    /// A file in memory that is not zero where nothing was written.
    #[derive(Debug, Default)]
    struct Dirty(InMemoryBackend);

    impl StorageBackend for Dirty {
        fn len(&self) -> Result<u64, IoError> {
            self.0.len()
        }

        fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), IoError> {
            self.0.read(offset, out)
        }

        fn set_len(&self, len: u64) -> Result<(), IoError> {
            let before = self.0.len()?;
            self.0.set_len(len)?;
            let n = usize::try_from(len.saturating_sub(before)).unwrap();
            self.0.write(before.min(len), &vec![7; n])
        }

        fn sync_data(&self) -> Result<(), IoError> {
            self.0.sync_data()
        }

        fn write(&self, offset: u64, data: &[u8]) -> Result<(), IoError> {
            self.0.write(offset, data)
        }
    }

    fn storage(sync: bool) -> Storage {
        Storage::new(Box::new(Dirty::default()), sync, Arc::default())
    }

    // The bytes at the start, in the middle and at the end of each block.
    fn look(storage: &Storage) -> Vec<[u8; 3]> {
        let n_blocks = storage.len().unwrap() / BLOCK_BYTES;
        let at = |offset| {
            let mut byte = [0];
            storage.read(offset, &mut byte).unwrap();
            byte[0]
        };
        let block = |start| {
            [
                at(start),
                at(start + BLOCK_BYTES / 2),
                at(start + BLOCK_BYTES - 1),
            ]
        };
        (0..n_blocks)
            .map(|index| block(index * BLOCK_BYTES))
            .collect()
    }

    #[test]
    fn the_first_write_to_a_block_of_a_hole_fills_it() {
        let storage = storage(true);
        storage.set_len(4 * BLOCK_BYTES + 5).unwrap();
        storage.write(BLOCK_BYTES, &[1]).unwrap();
        assert_eq!(look(&storage), [[7; 3], [1, 0, 0], [7; 3], [7; 3]]);
        // What is written is not filled again, and a write may touch two blocks.
        storage.write(2 * BLOCK_BYTES - 1, &[2, 3]).unwrap();
        assert_eq!(look(&storage), [[7; 3], [1, 0, 2], [3, 0, 0], [7; 3]]);
        // The rest of the file is no whole block.
        storage.write(4 * BLOCK_BYTES, &[4]).unwrap();
        assert_eq!(storage.len().unwrap(), 4 * BLOCK_BYTES + 5);
        // A file that was made shorter and grew has a hole again; what is left of it has not.
        storage.set_len(2 * BLOCK_BYTES).unwrap();
        storage.set_len(3 * BLOCK_BYTES).unwrap();
        storage.write(0, &[5; ZEROS.len() + 1]).unwrap();
        storage.write(3 * BLOCK_BYTES - 1, &[6]).unwrap();
        assert_eq!(look(&storage), [[5; 3], [5, 0, 2], [0, 0, 6]]);
    }

    #[test]
    fn without_a_sync_nothing_is_filled() {
        let storage = storage(false);
        storage.set_len(BLOCK_BYTES).unwrap();
        storage.write(0, &[1]).unwrap();
        assert_eq!(look(&storage), [[1, 7, 7]]);
    }
}
