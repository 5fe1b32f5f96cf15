//! The suite of [`RawTable`].

use std::collections::HashMap;

use bytes::Bytes;
use futures::TryStreamExt;
use jiff::{SignedDuration, Timestamp};

use super::sinks::{EMPTY, event_sink, flush, write};
use super::{broken, chain, detail};
use crate::event::{Event, EventKind};
use crate::record::Record;
use crate::table::{RawTable, RecordBatchStream, TimeWindow};
use crate::vocabulary::ItemId;

const CONTRACT: &str = "RawTable";
const FRESH: &str = "the suite starts with an empty table";
const EVERY: &str = "a scan yields every record that was flushed before it began";
const ONCE: &str = "a scan yields each record once";
const ORDER: &str = "a scan yields records in the order written";
const UNCHANGED: &str = "nothing is changed";
const WINDOW: &str = "a scan yields the records whose timestamp is in the window";
const SCHEMA: &str = "batches have the record's schema";
const SNAPSHOT: &str = "a scan sees one state of the table";
const FINGERPRINT: &str = "while the fingerprint is the same, so is what scans yield";
const WRITERS: &str = "batches that one caller writes one after the other keep their order";

/// Puts an empty table through its contract, and through that of the sink that it is.
///
/// Ends with some 1,400 events in it, over several dates.
///
/// # Panics
///
/// If the table breaks its contract: the message says which clause. So it does if the table is not
/// empty at first.
pub async fn raw_table<T: RawTable + ?Sized>(table: &T) {
    let found = scan(table, TimeWindow::ALL).await;
    if !found.is_empty() {
        broken(CONTRACT, FRESH, format!("it holds {} records", found.len()));
    }
    write(table, Vec::new()).await;
    flush(table).await;
    let found = scan(table, TimeWindow::ALL).await;
    if !found.is_empty() {
        broken("EventSink", EMPTY, format!("{} records", found.len()));
    }

    let mut written = Vec::new();
    let mut fingerprints = vec![fingerprint(table).await];
    for batch in batches_over_dates() {
        write(table, batch.clone()).await;
        written.extend(batch);
        flush(table).await;
        fingerprints.push(fingerprint(table).await);
    }
    fingerprints.dedup();
    let told: Vec<_> = fingerprints.iter().flatten().collect();
    if !told.is_empty() && told.len() <= batches_over_dates().len() {
        broken(CONTRACT, FINGERPRINT, format!("after each write: {told:?}"));
    }
    expect(table, TimeWindow::ALL, &written).await;
    for window in windows() {
        expect(table, window, &written).await;
    }

    for batch in [awkward_values(), awkward_values()] {
        write(table, batch.clone()).await;
        written.extend(batch);
    }
    write(table, Vec::new()).await;
    flush(table).await;
    expect(table, TimeWindow::ALL, &written).await;

    a_scan_is_a_snapshot(table, &mut written).await;
    writers_keep_their_order(table).await;
    event_sink(table).await;
}

async fn fingerprint<T: RawTable + ?Sized>(table: &T) -> Option<String> {
    match table.fingerprint().await {
        Ok(fingerprint) => fingerprint,
        Err(error) => broken(CONTRACT, FINGERPRINT, chain(&error)),
    }
}

/// Batches that jump between dates, forth and back, within a batch and from one to the next.
fn batches_over_dates() -> Vec<Vec<Event>> {
    let event = |id: &str, second: i64| detail(id.to_owned(), at(second, 0));
    vec![
        vec![
            event("b", DAY),
            event("a", 10),
            event("c", 2 * DAY),
            event("d", 10),
        ],
        vec![event("f", 20), event("e", DAY - 1), event("g", DAY + 10)],
        vec![event("i", DAY), event("h", 0)],
        // The same event again: nothing is deduplicated.
        vec![event("b", DAY), event("b", DAY)],
    ]
}

/// Windows whose sides are on, just before and just after events and midnights.
fn windows() -> Vec<TimeWindow> {
    let bounds = [at(0, 0), at(10, 1), at(DAY, 0), at(DAY, 1), at(2 * DAY, 0)];
    let mut windows = Vec::new();
    for (i, &start) in bounds.iter().enumerate() {
        windows.push(TimeWindow::from(start));
        windows.push(TimeWindow {
            start: None,
            end: Some(start),
        });
        windows.extend(
            bounds[i..]
                .iter()
                .map(|&end| TimeWindow::between(start, end)),
        );
    }
    windows
}

/// Values at the edge of what an event can hold.
fn awkward_values() -> Vec<Event> {
    let plain = || detail("awkward".to_owned(), at(3 * DAY, 0));
    let text = |text: &str| Event {
        id: text.to_owned(),
        tenant: text.to_owned(),
        client: text.to_owned(),
        session: Some(text.to_owned()),
        item: Some(ItemId::from(text)),
        query: Some(text.to_owned()),
        currency: Some(text.to_owned()),
        payload: Bytes::copy_from_slice(text.as_bytes()),
        ..plain()
    };
    let time = |id: &str, received_at: Timestamp, occurred_at: Timestamp| Event {
        received_at: micros(received_at),
        occurred_at: micros(occurred_at),
        ..detail(id.to_owned(), received_at)
    };
    let before_1970 = Timestamp::UNIX_EPOCH - SignedDuration::from_micros(1);
    let in_9999 = Timestamp::MAX - SignedDuration::from_hours(24);
    let number = |price: f64, quantity: i64| Event {
        price: Some(price),
        quantity: Some(quantity),
        ..plain()
    };
    let mut events = vec![
        Event {
            session: None,
            item: None,
            query: None,
            price: None,
            quantity: None,
            currency: None,
            payload: Bytes::new(),
            ..plain()
        },
        text(""),
        text(" "),
        text("null"),
        text("Größe 38½ – 東京 – عربى – 👗\u{200d}🧵"),
        text("quotes \" ' ` \\ and\ttabs,\r\nlines; and \u{0} too"),
        text(&"long ".repeat(2000)),
        time("before-1970", before_1970, before_1970),
        time("in-9999", in_9999, in_9999),
        time("clock-at-the-start", at(3 * DAY, 7), Timestamp::MIN),
        time("clock-at-the-end", at(3 * DAY, 7), Timestamp::MAX),
        number(0.0, 0),
        number(-0.01, -1),
        number(f64::MAX, i64::MAX),
        number(f64::MIN_POSITIVE, i64::MIN),
        number(0.1 + 0.2, 1),
        Event {
            payload: (0..=u8::MAX).collect::<Vec<u8>>().into(),
            ..plain()
        },
        Event {
            payload: Bytes::from_static(b"\0\0not\0utf-8\xff\xfe\0"),
            ..plain()
        },
    ];
    events.extend(EventKind::ALL.map(|kind| Event { kind, ..plain() }));
    events
}

/// What is written while a scan runs is not in it, and in the next.
async fn a_scan_is_a_snapshot<T: RawTable + ?Sized>(table: &T, written: &mut Vec<Event>) {
    let running = start(table, TimeWindow::ALL).await;
    let later = vec![detail("while-a-scan-runs".to_owned(), at(DAY, 5))];
    write(table, later.clone()).await;
    flush(table).await;
    let found = collect(running).await;
    if found.len() > written.len() {
        let found = format!(
            "{} records written after it began",
            found.len() - written.len()
        );
        broken(CONTRACT, SNAPSHOT, found);
    }
    compare(&found, written, TimeWindow::ALL);
    written.extend(later);
    expect(table, TimeWindow::ALL, written).await;
}

/// Callers may interleave; the events of each stay in its order.
async fn writers_keep_their_order<T: RawTable + ?Sized>(table: &T) {
    const N_WRITERS: usize = 4;
    let day = at(5 * DAY, 0);
    let of = |writer: usize| format!("writer-{writer}");
    let batches = |writer: usize| {
        (0..5).map(move |batch| {
            (0..3)
                .map(|i| Event {
                    client: of(writer),
                    ..detail(format!("{writer}-{batch}-{i}"), day)
                })
                .collect::<Vec<_>>()
        })
    };
    let writers = (0..N_WRITERS).map(|writer| async move {
        for batch in batches(writer) {
            write(table, batch).await;
        }
    });
    futures::future::join_all(writers).await;
    flush(table).await;
    let found = scan(table, TimeWindow::from(day)).await;
    for writer in 0..N_WRITERS {
        let client = of(writer);
        let mine = found.iter().filter(|event| event.client == client);
        let mine: Vec<_> = mine.map(|event| event.id.as_str()).collect();
        let expected: Vec<_> = batches(writer).flatten().map(|event| event.id).collect();
        if mine != expected {
            let found = format!("writer {writer} wrote {expected:?}, the scan gives {mine:?}");
            broken("EventSink", WRITERS, found);
        }
    }
}

/// A scan gives those of the written records that are in the window.
async fn expect<T: RawTable + ?Sized>(table: &T, window: TimeWindow, written: &[Event]) {
    let inside = |event: &&Event| window.contains(event.timestamp());
    let expected: Vec<Event> = written.iter().filter(inside).cloned().collect();
    let found = scan(table, window).await;
    if let Some(outside) = found.iter().find(|event| !inside(event)) {
        let received_at = outside.received_at;
        let found = format!("{window:?} gives `{}` of {received_at}", outside.id);
        broken(CONTRACT, WINDOW, found);
    }
    compare(&found, &expected, window);
}

/// Says what is wrong with a scan: something is missing, too much, out of order or changed.
fn compare(found: &[Event], expected: &[Event], window: TimeWindow) {
    let mut missing: HashMap<&str, i64> = HashMap::new();
    for event in expected {
        *missing.entry(&event.id).or_default() += 1;
    }
    for event in found {
        *missing.entry(&event.id).or_default() -= 1;
    }
    let all = window == TimeWindow::ALL;
    if let Some((id, n)) = missing.iter().find(|(_, n)| **n > 0) {
        let clause = if all { EVERY } else { WINDOW };
        broken(
            CONTRACT,
            clause,
            format!("{window:?} lacks `{id}`, {n} times"),
        );
    }
    if let Some((id, n)) = missing.iter().find(|(_, n)| **n < 0) {
        let found = format!("{window:?} gives `{id}` {} times too often", -n);
        broken(CONTRACT, ONCE, found);
    }
    for (row, (found, expected)) in found.iter().zip(expected).enumerate() {
        if found.id != expected.id {
            let found = format!("row {row} is `{}`, not `{}`", found.id, expected.id);
            broken(CONTRACT, ORDER, found);
        }
        if found != expected {
            let found = format!("{expected:?} was written, the scan gives {found:?}");
            broken("EventSink", UNCHANGED, found);
        }
    }
}

async fn scan<T: RawTable + ?Sized>(table: &T, window: TimeWindow) -> Vec<Event> {
    collect(start(table, window).await).await
}

async fn start<T: RawTable + ?Sized>(table: &T, window: TimeWindow) -> RecordBatchStream {
    match table.scan(window).await {
        Ok(batches) => batches,
        Err(error) => broken(CONTRACT, EVERY, chain(&error)),
    }
}

async fn collect(mut batches: RecordBatchStream) -> Vec<Event> {
    let mut events = Vec::new();
    loop {
        let batch = match batches.try_next().await {
            Ok(Some(batch)) => batch,
            Ok(None) => return events,
            Err(error) => broken(CONTRACT, EVERY, chain(&error)),
        };
        if batch.schema().fields() != Event::schema().fields() {
            broken(CONTRACT, SCHEMA, batch.schema());
        }
        match Event::from_batch(&batch) {
            Ok(more) => events.extend(more),
            Err(error) => broken(CONTRACT, SCHEMA, chain(&error)),
        }
    }
}

const DAY: i64 = 24 * 60 * 60;

/// A time after the start of 2024-02-28, so that a leap day is among the dates.
fn at(second: i64, micro: i64) -> Timestamp {
    const START: i64 = 1_709_078_400;
    let since_1970 = SignedDuration::from_secs(START + second);
    Timestamp::UNIX_EPOCH + since_1970 + SignedDuration::from_micros(micro)
}

/// Records hold whole microseconds.
fn micros(time: Timestamp) -> Timestamp {
    let since_1970 = SignedDuration::from_micros(time.as_microsecond());
    Timestamp::from_duration(since_1970).unwrap_or(time)
}
