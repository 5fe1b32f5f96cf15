//! Disks that are full, that fail to sync, and that damage what they keep.

use std::io::{Error as IoError, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use object_store::memory::InMemory;
use reco_core::EventSink;

use super::super::Spooled;
use super::super::storage::{Files, SystemFiles};
use super::watched::{Change, Watch, Watched};
use super::{config, letters, open, scan};
use crate::{DeadLetter, DeltaTable};

/// When a disk fails.
#[derive(Debug, Default)]
struct Failing {
    full: AtomicBool,
    sync_fails: AtomicBool,
}

impl Watch for Failing {
    fn run(
        &self,
        change: Change<'_>,
        make: &mut dyn FnMut() -> Result<(), IoError>,
    ) -> Result<(), IoError> {
        match change {
            Change::Write(_) if self.full.load(Ordering::SeqCst) => {
                Err(ErrorKind::StorageFull.into())
            }
            Change::Sync if self.sync_fails.load(Ordering::SeqCst) => {
                Err(IoError::other("the disk is broken"))
            }
            _ => make(),
        }
    }
}

/// A spool on a file that fails while told to, and its table.
struct Broken {
    disk: Arc<Failing>,
    table: DeltaTable<DeadLetter>,
    sink: Spooled<DeadLetter>,
    dir: tempfile::TempDir,
}

async fn broken() -> Broken {
    let disk = Arc::<Failing>::default();
    let (dir, store) = (tempfile::tempdir().unwrap(), Arc::new(InMemory::new()));
    let table = DeltaTable::open(store, "raw").await.unwrap();
    let files: Arc<dyn Files> = Arc::new(Watched(Arc::clone(&disk)));
    let mut config = config(dir.path());
    config.drain.max_rows = 1000;
    let sink = open(&table, &config, &files).await.unwrap();
    Broken {
        disk,
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
    broken.disk.full.store(true, Ordering::SeqCst);
    let error = broken.sink.write(letters(10, 1)).await.unwrap_err();
    let text = chain(&error);
    let dir = broken.dir.path().display();
    assert!(
        text.contains(&format!("the spool in `{dir}` failed to append")),
        "{text}"
    );
    assert!(text.contains("no storage space"), "{text}");
    assert!(broken.sink.write(letters(20, 1)).await.is_err());

    broken.disk.full.store(false, Ordering::SeqCst);
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
    broken.disk.sync_fails.store(true, Ordering::SeqCst);
    assert!(broken.sink.write(letters(10, 1)).await.is_err());
    broken.disk.sync_fails.store(false, Ordering::SeqCst);
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
