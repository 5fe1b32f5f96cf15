//! The suite of [`EventSink`].

use jiff::{SignedDuration, Timestamp};

use super::{broken, chain, detail};
use crate::event::Event;
use crate::sink::EventSink;

const CONTRACT: &str = "EventSink";
pub(super) const WHOLE: &str = "a batch is accepted whole or not at all";
pub(super) const EMPTY: &str = "an empty batch is accepted and leaves no trace";
const ACCEPTS: &str = "`write` returns when the batch is accepted, after waiting for room";
const FLUSHES: &str = "`flush` returns when everything accepted is durable and visible";

/// Puts a sink through what its contract says and its answers can show.
///
/// Writes some 1,300 events, of which some have the same id; what was in the sink stays. A sink that
/// can be read back is better put through [`raw_table`](super::raw_table).
///
/// # Panics
///
/// If the sink breaks its contract: the message says which clause.
pub async fn event_sink<S: EventSink + ?Sized>(sink: &S) {
    let events = |name: &str, n: usize| -> Vec<Event> {
        let start = Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24 * 365 * 50);
        let time = |i: usize| start + SignedDuration::from_mins(i64::try_from(i).unwrap_or(0));
        (0..n)
            .map(|i| detail(format!("{name}-{i}"), time(i)))
            .collect()
    };
    flush(sink).await;
    write(sink, Vec::new()).await;
    flush(sink).await;

    // Sizes that a buffer of any usual capacity has to split or wait for.
    for n in [1, 2, 7, 64, 1000] {
        write(sink, events("batch", n)).await;
    }
    let twice = events("twice", 3);
    write(sink, twice.clone()).await;
    write(sink, twice).await;
    flush(sink).await;

    let writers = (0..8).map(|writer| async move {
        for batch in 0..4 {
            write(sink, events(&format!("writer-{writer}-{batch}"), 5)).await;
        }
        flush(sink).await;
    });
    futures::future::join_all(writers).await;
    write(sink, Vec::new()).await;
    flush(sink).await;
    flush(sink).await;
}

/// Writes a batch and checks what the receipt says.
pub(super) async fn write<S: EventSink + ?Sized>(sink: &S, events: Vec<Event>) {
    let n_events = events.len();
    let clause = if n_events == 0 { EMPTY } else { WHOLE };
    match sink.write(events).await {
        Ok(receipt) if receipt.n_records == n_events => {}
        Ok(receipt) => broken(
            CONTRACT,
            clause,
            format!(
                "the receipt says {} of {n_events} records",
                receipt.n_records
            ),
        ),
        Err(error) if n_events == 0 => broken(CONTRACT, clause, chain(&error)),
        Err(error) => broken(CONTRACT, ACCEPTS, chain(&error)),
    }
}

/// Flushes, which must succeed.
pub(super) async fn flush<S: EventSink + ?Sized>(sink: &S) {
    if let Err(error) = sink.flush().await {
        broken(CONTRACT, FLUSHES, chain(&error));
    }
}
