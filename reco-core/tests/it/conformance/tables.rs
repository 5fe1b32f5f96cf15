//! A table in memory that can break each clause of `EventSink` and `RawTable`.

use std::sync::{Arc, Mutex};

use futures::{FutureExt, StreamExt};
use jiff::SignedDuration;
use reco_core::arrow::datatypes::Schema;
use reco_core::{
    Durability, Error, Event, EventSink, RawTable, Receipt, Record, RecordBatchStream, Result,
    TimeWindow, Timestamp, async_trait, testing,
};

use super::failure;

/// What the table does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    ReceiptIsShort,
    EmptyBatchIsRefused,
    EmptyBatchLeavesARow,
    FlushFails,
    WriteFails,
    DropsWhatIsNotFlushedTwice,
    Deduplicates,
    YieldsTwice,
    OrdersByTime,
    OrdersWithinABatch,
    MixesWriters,
    LosesZeroBytes,
    EmptyTextIsNull,
    TimesInMilliseconds,
    WindowEndIsInside,
    WindowStartIsOutside,
    WindowIsIgnored,
    ScanSeesLaterWrites,
    SchemaLacksNullability,
    FingerprintStays,
}

/// An append-only table in memory.
#[derive(Debug, Default)]
struct MemoryTable {
    fault: Option<Fault>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    accepted: Vec<Event>,
    visible: Vec<Event>,
    n_flushes: usize,
}

impl MemoryTable {
    fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }
}

fn closed() -> Error {
    Error::SinkClosed {
        sink: "memory".to_owned(),
    }
}

#[async_trait]
impl EventSink for MemoryTable {
    async fn write(&self, mut records: Vec<Event>) -> Result<Receipt> {
        let n_records = records.len();
        if self.has(Fault::EmptyBatchIsRefused) && records.is_empty()
            || self.has(Fault::WriteFails) && n_records > 500
        {
            return Err(closed());
        }
        let mut state = self.state.lock().unwrap();
        if self.has(Fault::OrdersWithinABatch) {
            records.sort_by(|a, b| a.id.cmp(&b.id));
        }
        if self.has(Fault::Deduplicates) {
            let known = &state.accepted;
            records.retain(|event| known.iter().all(|known| known.id != event.id));
        }
        if self.has(Fault::LosesZeroBytes) {
            for event in &mut records {
                let end = event.payload.iter().position(|byte| *byte == 0);
                event.payload.truncate(end.unwrap_or(event.payload.len()));
            }
        }
        if self.has(Fault::EmptyTextIsNull) {
            for event in &mut records {
                event.query.take_if(|query| query.is_empty());
            }
        }
        if self.has(Fault::TimesInMilliseconds) {
            for event in &mut records {
                let millis = event.occurred_at.as_millisecond();
                event.occurred_at =
                    Timestamp::from_duration(SignedDuration::from_millis(millis)).unwrap();
            }
        }
        if self.has(Fault::MixesWriters) && records.iter().any(|e| e.client.starts_with("writer")) {
            records.append(&mut state.accepted);
            state.accepted = records;
        } else if self.has(Fault::EmptyBatchLeavesARow) && records.is_empty() {
            let id = "trace".to_owned();
            let time = Timestamp::UNIX_EPOCH;
            state.accepted.push(event(id, time));
        } else {
            state.accepted.append(&mut records);
        }
        let short = usize::from(self.has(Fault::ReceiptIsShort) && n_records > 1);
        Ok(Receipt {
            n_records: n_records - short,
            durability: Durability::Memory,
        })
    }

    async fn flush(&self) -> Result<()> {
        if self.has(Fault::FlushFails) {
            return Err(closed());
        }
        let mut state = self.state.lock().unwrap();
        state.n_flushes += 1;
        let State {
            accepted, visible, ..
        } = &mut *state;
        if self.has(Fault::DropsWhatIsNotFlushedTwice) {
            accepted.truncate(accepted.len().saturating_sub(1));
        }
        visible.append(accepted);
        if self.has(Fault::OrdersByTime) {
            visible.sort_by_key(|event| event.received_at);
        }
        Ok(())
    }
}

#[async_trait]
impl RawTable for MemoryTable {
    async fn scan(&self, window: TimeWindow) -> Result<RecordBatchStream> {
        let fault = self.fault;
        let state = Arc::clone(&self.state);
        let read = move || -> Vec<Result<_>> {
            let inside = |event: &&Event| match fault {
                Some(Fault::WindowEndIsInside) => {
                    window.contains(event.received_at) || window.end == Some(event.received_at)
                }
                Some(Fault::WindowStartIsOutside) => {
                    window.contains(event.received_at) && window.start != Some(event.received_at)
                }
                Some(Fault::WindowIsIgnored) => true,
                _ => window.contains(event.received_at),
            };
            let state = state.lock().unwrap();
            let mut events: Vec<Event> = state.visible.iter().filter(inside).cloned().collect();
            if fault == Some(Fault::YieldsTwice) {
                events.extend(events.last().cloned());
            }
            let batches = events.chunks(7).map(|events| {
                let batch = Event::to_batch(events)?;
                if fault != Some(Fault::SchemaLacksNullability) {
                    return Ok(batch);
                }
                let fields = batch
                    .schema()
                    .fields()
                    .iter()
                    .map(|field| field.as_ref().clone().with_nullable(true))
                    .collect::<Vec<_>>();
                let schema = Arc::new(Schema::new(fields));
                Ok(batch.with_schema(schema).unwrap())
            });
            batches.collect()
        };
        if fault == Some(Fault::ScanSeesLaterWrites) {
            let late = async move { futures::stream::iter(read()) };
            return Ok(late.into_stream().flatten().boxed());
        }
        Ok(futures::stream::iter(read()).boxed())
    }

    async fn fingerprint(&self) -> Result<Option<String>> {
        let n_records = self.state.lock().unwrap().visible.len();
        Ok(match self.fault {
            None => Some(n_records.to_string()),
            Some(Fault::FingerprintStays) => Some("the same".to_owned()),
            // A table that cannot tell.
            Some(_) => None,
        })
    }
}

fn event(id: String, received_at: Timestamp) -> Event {
    Event::new(id, reco_core::EventKind::Custom, "", received_at)
}

#[tokio::test]
async fn a_right_table_passes() {
    testing::event_sink(&MemoryTable::default()).await;
    testing::raw_table(&MemoryTable::default()).await;
    let boxed: Box<dyn RawTable> = Box::new(MemoryTable::default());
    testing::raw_table(&*boxed).await;
}

#[test]
fn each_broken_clause_is_named() {
    let check = |fault: Fault, clause: &str| {
        let table = MemoryTable {
            fault: Some(fault),
            ..Default::default()
        };
        let message = failure(|| futures::executor::block_on(testing::raw_table(&table)));
        assert!(message.contains(clause), "{fault:?}: {message}");
    };
    check(
        Fault::ReceiptIsShort,
        "accepted whole or not at all: the receipt says 3 of 4",
    );
    check(Fault::EmptyBatchIsRefused, "an empty batch is accepted");
    check(Fault::EmptyBatchLeavesARow, "leaves no trace: 1 records");
    check(
        Fault::FlushFails,
        "`flush` returns when everything accepted is durable",
    );
    check(
        Fault::WriteFails,
        "`write` returns when the batch is accepted",
    );
    check(
        Fault::DropsWhatIsNotFlushedTwice,
        "yields every record that was flushed",
    );
    check(Fault::Deduplicates, "yields every record that was flushed");
    check(Fault::YieldsTwice, "yields each record once");
    check(Fault::OrdersByTime, "in the order written");
    check(Fault::OrdersWithinABatch, "in the order written");
    check(Fault::MixesWriters, "keep their order: writer 0");
    check(Fault::LosesZeroBytes, "nothing is changed");
    check(Fault::EmptyTextIsNull, "nothing is changed");
    check(Fault::TimesInMilliseconds, "nothing is changed");
    check(Fault::WindowEndIsInside, "whose timestamp is in the window");
    check(
        Fault::WindowStartIsOutside,
        "whose timestamp is in the window",
    );
    check(Fault::WindowIsIgnored, "whose timestamp is in the window");
    check(
        Fault::ScanSeesLaterWrites,
        "a scan sees one state of the table: 1 records",
    );
    check(
        Fault::SchemaLacksNullability,
        "batches have the record's schema",
    );
    check(
        Fault::FingerprintStays,
        "while the fingerprint is the same, so is what scans yield",
    );
}

#[test]
fn a_table_that_is_not_empty_is_refused() {
    let table = MemoryTable::default();
    let message = failure(|| {
        futures::executor::block_on(async {
            testing::raw_table(&table).await;
            testing::raw_table(&table).await;
        });
    });
    assert!(message.contains("starts with an empty table"), "{message}");
}

#[test]
fn the_suite_of_sinks_names_what_answers_can_show() {
    let check = |fault: Fault, clause: &str| {
        let table = MemoryTable {
            fault: Some(fault),
            ..Default::default()
        };
        let message = failure(|| futures::executor::block_on(testing::event_sink(&table)));
        assert!(message.contains(clause), "{fault:?}: {message}");
    };
    check(Fault::ReceiptIsShort, "accepted whole or not at all");
    check(Fault::EmptyBatchIsRefused, "an empty batch is accepted");
    check(Fault::FlushFails, "`flush` returns");
    check(Fault::WriteFails, "`write` returns");
}
