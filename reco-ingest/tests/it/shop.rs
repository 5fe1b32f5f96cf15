//! Events to write, and what a scan gives back of them.

use futures::TryStreamExt;
use reco_core::{Event, EventKind, RawTable, Record, RecordBatchStream, TimeWindow, Timestamp};

/// An event that was received at a time and is named by an id.
pub(crate) fn event(id: &str, received_at: &str) -> Event {
    let received_at: Timestamp = received_at.parse().unwrap();
    Event {
        session: Some("s1".to_owned()),
        item: Some(format!("item-{id}").into()),
        price: Some(9.5),
        payload: id.as_bytes().to_vec().into(),
        ..Event::new(id, EventKind::Detail, "c1", received_at)
    }
}

/// `n` events of one minute, named `prefix-0` and so on.
pub(crate) fn events(prefix: &str, n: usize) -> Vec<Event> {
    (0..n)
        .map(|i| event(&format!("{prefix}-{i}"), "2024-05-01T12:00:00Z"))
        .collect()
}

/// The records of a stream.
pub(crate) async fn collect<E: Record>(stream: RecordBatchStream) -> reco_core::Result<Vec<E>> {
    let batches: Vec<_> = stream.try_collect().await?;
    let mut records = Vec::new();
    for batch in batches {
        records.extend(E::from_batch(&batch)?);
    }
    Ok(records)
}

/// The ids of the events of a window, in the order replayed.
pub(crate) async fn ids<T: RawTable>(table: &T, window: TimeWindow) -> Vec<String> {
    let events = collect::<Event>(table.scan(window).await.unwrap())
        .await
        .unwrap();
    events.into_iter().map(|event| event.id).collect()
}

/// The ids of some events.
pub(crate) fn ids_of(events: &[Event]) -> Vec<String> {
    events.iter().map(|event| event.id.clone()).collect()
}

/// How many rows a table has.
pub(crate) async fn count<T: RawTable>(table: &T) -> u64 {
    let batches = table.scan(TimeWindow::ALL).await.unwrap();
    let counts = batches.map_ok(|batch| batch.num_rows() as u64);
    counts
        .try_fold(0, async |sum, n| Ok(sum + n))
        .await
        .unwrap()
}
