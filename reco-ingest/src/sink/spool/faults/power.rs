//! Power that fails, and what it takes along.

use std::collections::HashMap;
use std::fmt;
use std::io::{Error as IoError, ErrorKind};
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path as StorePath;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult,
};
use redb::{BackendError, StorageBackend};

use super::super::storage::Files;

/// Power that fails at the nth operation of the disk or the network, before it is done or after.
#[derive(Debug)]
pub(super) struct Power {
    n_operations: AtomicU64,
    fails_at: u64,
    /// Whether the operation that it fails at is still done, and its answer lost.
    late: bool,
}

impl Power {
    pub(super) fn failing_at(fails_at: u64, late: bool) -> Arc<Self> {
        Arc::new(Self {
            n_operations: AtomicU64::new(0),
            fails_at,
            late,
        })
    }

    pub(super) fn cut(&self) {
        self.n_operations.store(self.fails_at + 1, Ordering::SeqCst);
    }

    fn has_failed(&self) -> bool {
        self.n_operations.load(Ordering::SeqCst) > self.fails_at
    }

    // Does an operation, or not.
    fn run<T>(&self, operation: impl FnOnce() -> T) -> Result<T, IoError> {
        let n = self.n_operations.fetch_add(1, Ordering::SeqCst);
        let lost = || IoError::other("the power failed");
        match n.cmp(&self.fails_at) {
            std::cmp::Ordering::Less => Ok(operation()),
            std::cmp::Ordering::Equal if self.late => {
                operation();
                Err(lost())
            }
            _ => {
                self.cut();
                Err(lost())
            }
        }
    }
}

/// A disk that loses what was not synced, or any part of it.
#[derive(Debug, Default)]
pub(super) struct Disk {
    synced: Vec<u8>,
    /// What the operating system shows.
    shown: Vec<u8>,
    unsynced: Vec<Change>,
}

#[derive(Debug, Clone)]
enum Change {
    SetLen(usize),
    Write(usize, Vec<u8>),
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::SetLen(len) => bytes.resize(*len, 0),
            Self::Write(offset, data) => {
                let end = offset + data.len();
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes[*offset..end].copy_from_slice(data);
            }
        }
    }
}

impl Disk {
    fn change(&mut self, change: Change) {
        change.apply(&mut self.shown);
        self.unsynced.push(change);
    }

    fn sync(&mut self) {
        for change in self.unsynced.drain(..) {
            change.apply(&mut self.synced);
        }
    }

    // Comes back after a power loss: of what was not synced, some writes made it, others half.
    pub(super) fn restart(&mut self, seed: u64) {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        for mut change in std::mem::take(&mut self.unsynced) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            match (&mut change, state % 3) {
                (_, 0) => continue,
                (Change::Write(_, data), 1) => data.truncate(data.len() / 2 / 512 * 512),
                _ => {}
            }
            change.apply(&mut self.synced);
        }
        self.shown.clone_from(&self.synced);
    }
}

fn index(offset: u64) -> usize {
    usize::try_from(offset).unwrap()
}

/// A disk under some power.
#[derive(Debug)]
struct Powered {
    disk: Arc<Mutex<Disk>>,
    power: Arc<Power>,
}

impl StorageBackend for Powered {
    fn len(&self) -> Result<u64, IoError> {
        let len = self.power.run(|| self.disk.lock().unwrap().shown.len())?;
        Ok(u64::try_from(len).unwrap())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), IoError> {
        // Reading changes nothing, so there is no point in failing before and after it.
        if self.power.has_failed() {
            return Err(IoError::other("the power failed"));
        }
        let disk = self.disk.lock().unwrap();
        let from = index(offset);
        let bytes = disk.shown.get(from..from + out.len());
        out.copy_from_slice(bytes.ok_or(ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<(), IoError> {
        let change = Change::SetLen(index(len));
        self.power.run(|| self.disk.lock().unwrap().change(change))
    }

    fn sync_data(&self) -> Result<(), IoError> {
        self.power.run(|| self.disk.lock().unwrap().sync())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), IoError> {
        let change = Change::Write(index(offset), data.to_vec());
        self.power.run(|| self.disk.lock().unwrap().change(change))
    }

    fn try_lock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<bool, BackendError> {
        Ok(true)
    }

    fn unlock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<(), BackendError> {
        Ok(())
    }
}

/// The disks of a machine, one for each file, under some power.
#[derive(Debug)]
pub(super) struct PoweredFiles {
    pub(super) disks: Arc<Disks>,
    pub(super) power: Arc<Power>,
}

pub(super) type Disks = Mutex<HashMap<PathBuf, Arc<Mutex<Disk>>>>;

impl Files for PoweredFiles {
    fn exists(&self, path: &Path) -> Result<bool, IoError> {
        Ok(self.disks.lock().unwrap().contains_key(path))
    }

    fn open(&self, path: &Path) -> Result<Box<dyn StorageBackend>, IoError> {
        let disk = Arc::clone(
            self.disks
                .lock()
                .unwrap()
                .entry(path.to_owned())
                .or_default(),
        );
        Ok(Box::new(Powered {
            disk,
            power: Arc::clone(&self.power),
        }))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), IoError> {
        self.power.run(|| {
            let mut disks = self.disks.lock().unwrap();
            let disk = disks.remove(from).unwrap();
            disks.insert(to.to_owned(), disk);
        })
    }

    fn remove(&self, path: &Path) -> Result<(), IoError> {
        self.power
            .run(|| drop(self.disks.lock().unwrap().remove(path)))
    }
}

/// A remote store that is reached while there is power.
#[derive(Debug)]
pub(super) struct Remote {
    pub(super) inner: Arc<InMemory>,
    pub(super) power: Arc<Power>,
}

impl Remote {
    // Whether the operation is still done though the power fails.
    fn run(&self) -> object_store::Result<bool> {
        let mut done = false;
        match self.power.run(|| done = true) {
            Ok(()) => Ok(false),
            Err(_) if done => Ok(true),
            Err(source) => Err(lost(source)),
        }
    }
}

fn lost(source: IoError) -> object_store::Error {
    object_store::Error::Generic {
        store: "remote",
        source: source.into(),
    }
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Remote")
    }
}

#[async_trait]
impl ObjectStore for Remote {
    async fn put_opts(
        &self,
        location: &StorePath,
        payload: PutPayload,
        opts: PutOptions,
    ) -> object_store::Result<PutResult> {
        let is_last = self.run()?;
        let result = self.inner.put_opts(location, payload, opts).await;
        if is_last {
            return Err(lost(IoError::other("the power failed")));
        }
        result
    }

    async fn put_multipart_opts(
        &self,
        location: &StorePath,
        opts: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(
        &self,
        location: &StorePath,
        options: GetOptions,
    ) -> object_store::Result<GetResult> {
        if self.power.has_failed() {
            return Err(lost(IoError::other("the power failed")));
        }
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, object_store::Result<StorePath>>,
    ) -> BoxStream<'static, object_store::Result<StorePath>> {
        self.inner.delete_stream(locations)
    }

    fn list(
        &self,
        prefix: Option<&StorePath>,
    ) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(
        &self,
        prefix: Option<&StorePath>,
    ) -> object_store::Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(
        &self,
        from: &StorePath,
        to: &StorePath,
        options: CopyOptions,
    ) -> object_store::Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
