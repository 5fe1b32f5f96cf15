//! What a spool makes of power that fails at any point, disks that are full, and disks that lie,
//! and of SIGKILL.

mod broken;
#[cfg(feature = "http")]
mod kills;
mod power;
mod watched;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt;
use object_store::memory::InMemory;
use reco_core::{EventSink, RawTable, Record, TimeWindow, Timestamp};

use self::power::{Disks, Power, PoweredFiles, Remote};
use super::storage::Files;
use super::{DrainConfig, SpoolConfig, Spooled};
use crate::{DeadLetter, DeltaTable, Error};

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

async fn scan<E: Record>(table: &DeltaTable<E>) -> Vec<E> {
    let batches: Vec<_> = table
        .scan(TimeWindow::ALL)
        .await
        .unwrap()
        .try_collect()
        .await
        .unwrap();
    let records = batches.iter().map(|batch| E::from_batch(batch).unwrap());
    records.flatten().collect()
}

// Opens a spool, as soon as the one before it has left the folder.
async fn open<E: Record>(
    table: &DeltaTable<E>,
    config: &SpoolConfig,
    files: &Arc<dyn Files>,
) -> crate::Result<Spooled<E>> {
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
