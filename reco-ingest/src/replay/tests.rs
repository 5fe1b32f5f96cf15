//! Pacing by a clock that only a sleep moves on.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream;
use reco_core::{Durability, Receipt, Timestamp};

use super::*;
use crate::{DeadLetter, MemoryTable};

/// A clock that only a sleep moves on.
#[derive(Debug, Default)]
struct Slept(Mutex<Duration>);

impl Clock for Slept {
    fn now(&self) -> Duration {
        *self.0.lock().unwrap()
    }

    fn sleep_until(&self, due: Duration) -> impl Future<Output = ()> + Send {
        let mut now = self.0.lock().unwrap();
        *now = due.max(*now);
        std::future::ready(())
    }
}

impl Clock for &Slept {
    fn now(&self) -> Duration {
        (*self).now()
    }

    fn sleep_until(&self, due: Duration) -> impl Future<Output = ()> + Send {
        (*self).sleep_until(due)
    }
}

fn letters(seconds: &[i64]) -> Vec<DeadLetter> {
    let letter = |(position, seconds): (i64, &i64)| DeadLetter {
        received_at: Timestamp::from_second(1_714_564_800 + seconds).unwrap(),
        source: "clicks.csv".to_owned(),
        position,
        reason: String::new(),
        payload: Bytes::new(),
    };
    (0..).zip(seconds).map(letter).collect()
}

// After how many seconds which records were handed on, with which settings.
async fn check(replayer: Replayer, seconds: &[i64], expected: &[(f64, &[i64])]) {
    let batch = DeadLetter::to_batch(&letters(seconds)).unwrap();
    let batches = stream::iter([Ok(batch)]);
    let chunks = chunks::counted::<DeadLetter>(batches, 0, replayer.pace.column());
    let pacer = replayer.pacer::<DeadLetter>().unwrap();
    let (clock, sink) = (Slept::default(), MemoryTable::new());
    let mut found = Vec::new();
    let mut n_before = 0;
    let progress = |_: ReplayProgress| {
        let written: Vec<i64> = sink.records()[n_before..]
            .iter()
            .map(|letter: &DeadLetter| letter.position)
            .collect();
        n_before += written.len();
        found.push((clock.now().as_secs_f64(), written));
    };
    let report = replayer
        .run(chunks, Position::default(), pacer, &clock, &sink, progress)
        .await
        .unwrap();
    assert_eq!(report.position, Position(seconds.len() as u64));
    let found: Vec<_> = found.iter().map(|(at, rows)| (*at, &rows[..])).collect();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn records_come_when_they_are_due() {
    let timed = |speed| Replayer {
        pace: Pace::times(speed),
        ..Replayer::default()
    };
    let seconds = [0, 0, 3, 60, 60, 120];
    check(
        timed(1.0),
        &seconds,
        &[(0.0, &[0, 1]), (3.0, &[2]), (60.0, &[3, 4]), (120.0, &[5])],
    )
    .await;
    check(
        timed(60.0),
        &seconds,
        &[(0.0, &[0, 1]), (0.05, &[2]), (1.0, &[3, 4]), (2.0, &[5])],
    )
    .await;
    // What was received earlier than one before it waits no longer, and holds nobody up.
    check(
        timed(1.0),
        &[10, 5, 12, 11],
        &[(0.0, &[0, 1]), (2.0, &[2, 3])],
    )
    .await;
}

#[tokio::test]
async fn batches_are_bounded() {
    let full_speed = Replayer {
        batch_rows: 2,
        ..Replayer::default()
    };
    check(full_speed, &[0, 60, 120], &[(0.0, &[0, 1]), (0.0, &[2])]).await;
}

#[tokio::test]
async fn settings_that_cannot_be_used_are_refused() {
    let check = async |replayer: Replayer, expected: &str| {
        let (table, sink) = (MemoryTable::<DeadLetter>::new(), MemoryTable::new());
        let replayed = replayer.window(&table, TimeWindow::ALL, Position::default(), &sink, |_| {});
        assert_eq!(replayed.await.unwrap_err().to_string(), expected);
    };
    let by = |by: &str, speed| Replayer {
        pace: Pace::Timed {
            by: by.to_owned(),
            speed,
        },
        ..Replayer::default()
    };
    check(
        by("received_at", 0.0),
        "the replay is invalid: `speed` is 0, not a number above 0",
    )
    .await;
    check(
        by("recieved_at", 1.0),
        "table `dead_letter` has no column `recieved_at`; did you mean `received_at`?",
    )
    .await;
    check(
        by("reason", 1.0),
        "table `dead_letter`, column `reason` is Utf8, expected Timestamp(µs, \"UTC\")",
    )
    .await;
    let empty = Replayer {
        batch_rows: 0,
        ..Replayer::default()
    };
    check(empty, "the replay is invalid: `batch_rows` is 0").await;
}

/// A sink that is full the first time that it gets a record.
#[derive(Debug, Default)]
struct Filled(Mutex<HashMap<i64, usize>>);

#[async_trait]
impl EventSink<DeadLetter> for Filled {
    async fn write(&self, records: Vec<DeadLetter>) -> reco_core::Result<Receipt> {
        let mut tries = self.0.lock().unwrap();
        let n_tries = tries.entry(records[0].position).or_default();
        *n_tries += 1;
        if *n_tries == 1 {
            return Err(CoreError::Full {
                sink: "test".to_owned(),
                retry_after: Duration::from_secs(7),
            });
        }
        Ok(Receipt {
            n_records: records.len(),
            durability: Durability::Memory,
        })
    }

    async fn flush(&self) -> reco_core::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_sink_that_is_full_is_tried_again() {
    let (clock, sink) = (Slept::default(), Filled::default());
    for letter in letters(&[0, 0]) {
        write(&sink, vec![letter], &&clock).await.unwrap();
    }
    assert_eq!(clock.now(), Duration::from_secs(14));
    assert_eq!(*sink.0.lock().unwrap(), [(0, 2), (1, 2)].into());
}
