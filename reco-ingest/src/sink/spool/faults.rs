//! What a spool makes of power that fails at any point, disks that are full, and disks that lie.

use std::collections::HashMap;
use std::fmt;
use std::io::{Error as IoError, ErrorKind};
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures::TryStreamExt;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path as StorePath;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult,
};
use reco_core::{EventSink, RawTable, Record, TimeWindow, Timestamp};
use redb::{BackendError, StorageBackend};

use super::storage::{Files, SystemFiles};
use super::{DrainConfig, SpoolConfig, Spooled};
use crate::{DeadLetter, DeltaTable, Error};

/// Power that fails at the nth operation of the disk or the network, before it is done or after.
#[derive(Debug)]
struct Power {
    n_operations: AtomicU64,
    fails_at: u64,
    /// Whether the operation that it fails at is still done, and its answer lost.
    late: bool,
}

impl Power {
    fn failing_at(fails_at: u64, late: bool) -> Arc<Self> {
        Arc::new(Self {
            n_operations: AtomicU64::new(0),
            fails_at,
            late,
        })
    }

    fn cut(&self) {
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
struct Disk {
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
    fn restart(&mut self, seed: u64) {
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
struct PoweredFiles {
    disks: Arc<Disks>,
    power: Arc<Power>,
}

type Disks = Mutex<HashMap<PathBuf, Arc<Mutex<Disk>>>>;

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
struct Remote {
    inner: Arc<InMemory>,
    power: Arc<Power>,
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

fn letters(first: i64, n: i64) -> Vec<DeadLetter> {
    let letter = |position: i64| DeadLetter {
        received_at: "2024-05-01T12:00:00Z".parse::<Timestamp>().unwrap(),
        source: "collector".to_owned(),
        position,
        reason: "no client".to_owned(),
        payload: position.to_le_bytes().repeat(30).into(),
    };
    (first..first + n).map(letter).collect()
}

fn config(dir: &Path) -> SpoolConfig {
    SpoolConfig {
        max_wait: Duration::ZERO,
        drain: DrainConfig {
            max_rows: 4,
            max_age: Duration::MAX,
            ..DrainConfig::default()
        },
        ..SpoolConfig::at(dir)
    }
}

async fn scan(table: &DeltaTable<DeadLetter>) -> Vec<DeadLetter> {
    let batches: Vec<_> = table
        .scan(TimeWindow::ALL)
        .await
        .unwrap()
        .try_collect()
        .await
        .unwrap();
    let records = batches
        .iter()
        .map(|batch| DeadLetter::from_batch(batch).unwrap());
    records.flatten().collect()
}

// Opens a spool, as soon as the one before it has left the folder.
async fn open(
    table: &DeltaTable<DeadLetter>,
    config: &SpoolConfig,
    files: &Arc<dyn Files>,
) -> crate::Result<Spooled<DeadLetter>> {
    loop {
        match Spooled::open(table.clone(), config.clone(), Arc::clone(files)).await {
            Err(Error::SpoolInUse { .. }) => tokio::task::yield_now().await,
            other => return other,
        }
    }
}

/// A machine: its disk, and the store that its table is in.
struct Machine {
    disks: Arc<Disks>,
    store: Arc<InMemory>,
    dir: tempfile::TempDir,
}

impl Machine {
    // Runs a process on it, until it is through or the power fails; returns what was acknowledged.
    async fn live(&self, power: &Arc<Power>, first: i64) -> Vec<DeadLetter> {
        let mut acknowledged = Vec::new();
        if let Ok(sink) = self.start(power).await {
            for (batch, n) in (0..).zip([1, 4, 1]) {
                let records = letters(first + batch * 10, n);
                if sink.write(records.clone()).await.is_ok() {
                    acknowledged.extend(records);
                }
                if batch == 1 {
                    // It fails with the power.
                    drop(sink.flush().await);
                }
            }
        }
        power.cut();
        acknowledged
    }

    async fn start(&self, power: &Arc<Power>) -> crate::Result<Spooled<DeadLetter>> {
        open(
            &self.table(power).await?,
            &config(self.dir.path()),
            &self.files(power),
        )
        .await
    }

    async fn table(&self, power: &Arc<Power>) -> crate::Result<DeltaTable<DeadLetter>> {
        let remote = Remote {
            inner: Arc::clone(&self.store),
            power: Arc::clone(power),
        };
        DeltaTable::open(Arc::new(remote), "raw").await
    }

    fn files(&self, power: &Arc<Power>) -> Arc<dyn Files> {
        Arc::new(PoweredFiles {
            disks: Arc::clone(&self.disks),
            power: Arc::clone(power),
        })
    }

    fn restart(&self, seed: u64) {
        for disk in self.disks.lock().unwrap().values() {
            disk.lock().unwrap().restart(seed);
        }
    }
}

// Whether the power failed before the process was through.
async fn check(fails_at: u64, late: bool) -> bool {
    let machine = Machine {
        disks: Arc::default(),
        store: Arc::default(),
        dir: tempfile::tempdir().unwrap(),
    };
    let steady = || Power::failing_at(u64::MAX - 1, false);
    machine.table(&steady()).await.unwrap();
    let power = Power::failing_at(fails_at, late);
    let mut acknowledged = machine.live(&power, 0).await;
    // The last write is the last thing that the process does.
    let failed = acknowledged.len() < 6;
    machine.restart(fails_at);
    if fails_at.is_multiple_of(3) {
        // A second failure, of a process that has the first one's work to finish.
        let power = Power::failing_at(fails_at / 2, late);
        acknowledged.extend(machine.live(&power, 100).await);
        machine.restart(fails_at);
    }

    let sink = machine.start(&steady()).await.unwrap();
    let after = letters(200, 1);
    sink.write(after.clone()).await.unwrap();
    acknowledged.extend(after);
    sink.close().await.unwrap();
    let found = scan(&machine.table(&steady()).await.unwrap()).await;
    let at = format!("power failed at {fails_at}, late: {late}");
    let kept: Vec<_> = found
        .iter()
        .filter(|record| acknowledged.contains(record))
        .cloned()
        .collect();
    assert_eq!(kept, acknowledged, "{at}");
    let mut positions: Vec<_> = found.iter().map(|record| record.position).collect();
    positions.sort_unstable();
    positions.dedup();
    assert_eq!(
        positions.len(),
        found.len(),
        "{at}: a record is there twice"
    );
    let sent = |record: &DeadLetter| letters(record.position, 1)[0] == *record;
    assert!(found.iter().all(sent), "{at}: a record was changed");
    failed
}

async fn check_all(late: bool) {
    let mut fails_at = 0;
    while check(fails_at, late).await {
        fails_at += 1;
    }
    assert!(
        fails_at > 20,
        "only {fails_at} operations were there to fail"
    );
}

#[tokio::test]
async fn nothing_is_lost_or_doubled_wherever_the_power_fails() {
    check_all(false).await;
}

#[tokio::test]
async fn nothing_is_lost_or_doubled_whichever_answer_is_lost() {
    check_all(true).await;
}

/// Files that fail while told to.
#[derive(Debug)]
struct FailingFiles {
    full: Arc<AtomicBool>,
    sync_fails: Arc<AtomicBool>,
}

impl Files for FailingFiles {
    fn exists(&self, path: &Path) -> Result<bool, IoError> {
        SystemFiles.exists(path)
    }

    fn open(&self, path: &Path) -> Result<Box<dyn StorageBackend>, IoError> {
        Ok(Box::new(Failing {
            inner: SystemFiles.open(path)?,
            full: Arc::clone(&self.full),
            sync_fails: Arc::clone(&self.sync_fails),
        }))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), IoError> {
        SystemFiles.rename(from, to)
    }

    fn remove(&self, path: &Path) -> Result<(), IoError> {
        SystemFiles.remove(path)
    }
}

/// A file that fails while told to.
#[derive(Debug)]
struct Failing {
    inner: Box<dyn StorageBackend>,
    full: Arc<AtomicBool>,
    sync_fails: Arc<AtomicBool>,
}

impl StorageBackend for Failing {
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
        if self.sync_fails.load(Ordering::SeqCst) {
            return Err(IoError::other("the disk is broken"));
        }
        self.inner.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), IoError> {
        if self.full.load(Ordering::SeqCst) {
            return Err(ErrorKind::StorageFull.into());
        }
        self.inner.write(offset, data)
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

/// A spool on a file that fails while told to, and its table.
struct Broken {
    full: Arc<AtomicBool>,
    sync_fails: Arc<AtomicBool>,
    table: DeltaTable<DeadLetter>,
    sink: Spooled<DeadLetter>,
    dir: tempfile::TempDir,
}

async fn broken() -> Broken {
    let (full, sync_fails) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
    let (dir, store) = (tempfile::tempdir().unwrap(), Arc::new(InMemory::new()));
    let table = DeltaTable::open(store, "raw").await.unwrap();
    let files: Arc<dyn Files> = Arc::new(FailingFiles {
        full: Arc::clone(&full),
        sync_fails: Arc::clone(&sync_fails),
    });
    let mut config = config(dir.path());
    config.drain.max_rows = 1000;
    let sink = open(&table, &config, &files).await.unwrap();
    Broken {
        full,
        sync_fails,
        table,
        sink,
        dir,
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

// Writes until the spool takes it again.
async fn write_again(sink: &Spooled<DeadLetter>, records: Vec<DeadLetter>) {
    while sink.write(records.clone()).await.is_err() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_disk_that_is_full_refuses_and_loses_nothing() {
    let broken = broken().await;
    broken.sink.write(letters(0, 2)).await.unwrap();
    broken.full.store(true, Ordering::SeqCst);
    let error = broken.sink.write(letters(10, 1)).await.unwrap_err();
    let text = chain(&error);
    let dir = broken.dir.path().display();
    assert!(
        text.contains(&format!("the spool in `{dir}` failed to append")),
        "{text}"
    );
    assert!(text.contains("no storage space"), "{text}");
    assert!(broken.sink.write(letters(20, 1)).await.is_err());

    broken.full.store(false, Ordering::SeqCst);
    write_again(&broken.sink, letters(30, 1)).await;
    broken.sink.close().await.unwrap();
    let mut expected = letters(0, 2);
    expected.extend(letters(30, 1));
    assert_eq!(scan(&broken.table).await, expected);
}

#[tokio::test]
async fn a_file_whose_sync_failed_is_emptied_before_it_is_made_anew() {
    let broken = broken().await;
    broken.sink.write(letters(0, 2)).await.unwrap();
    broken.sync_fails.store(true, Ordering::SeqCst);
    assert!(broken.sink.write(letters(10, 1)).await.is_err());
    broken.sync_fails.store(false, Ordering::SeqCst);
    // What the system says was synced may not be, so nothing more is acknowledged on top of it.
    assert!(broken.sink.write(letters(20, 1)).await.is_err());
    while broken.sink.flush().await.is_err() {
        tokio::task::yield_now().await;
    }
    write_again(&broken.sink, letters(30, 1)).await;
    broken.sink.close().await.unwrap();
    let found = scan(&broken.table).await;
    let positions: Vec<_> = found.iter().map(|record| record.position).collect();
    // The write that failed may be there, as its caller was told.
    assert!(
        positions == [0, 1, 30] || positions == [0, 1, 10, 30],
        "{positions:?}"
    );
}

#[tokio::test]
async fn damage_is_told_and_nothing_is_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let system: Arc<dyn Files> = Arc::new(SystemFiles);
    let store = Arc::new(InMemory::new());
    let table = DeltaTable::open(store, "raw").await.unwrap();
    let mut config = config(dir.path());
    config.drain.max_rows = 1000;
    let sink = open(&table, &config, &system).await.unwrap();
    for first in [0, 10, 20] {
        sink.write(letters(first, 1)).await.unwrap();
    }
    drop(sink);
    // Free by the time that it can be locked.
    let lock = std::fs::File::open(dir.path().join("lock")).unwrap();
    while lock.try_lock().is_err() {
        tokio::task::yield_now().await;
    }
    let path = dir.path().join("spool.redb");
    let mut bytes = std::fs::read(&path).unwrap();
    let payload = 10_i64.to_le_bytes().repeat(30);
    let places: Vec<usize> = bytes
        .windows(payload.len())
        .enumerate()
        .filter(|(_, window)| *window == payload)
        .map(|(at, _)| at)
        .collect();
    assert!(!places.is_empty());
    for at in places {
        bytes[at] ^= 1;
    }
    std::fs::write(&path, bytes).unwrap();
    drop(lock);
    let text = match open(&table, &config, &system).await {
        Err(error) => chain(&error),
        Ok(sink) => chain(&sink.flush().await.unwrap_err()),
    };
    let dir = dir.path().display().to_string();
    assert!(text.contains(&dir), "{text}");
    assert_eq!(scan(&table).await, []);
}
