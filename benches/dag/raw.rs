//! What the shop sent: the raw events that the tables are made of, as one Parquet file.

use std::fs::File;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread;

use reco_core::testing::{SyntheticShop, SyntheticShopConfig};
use reco_core::{Event, timestamp_type};
use reco_transform::datafusion::arrow::array::{
    RecordBatch, StringBuilder, TimestampMicrosecondBuilder,
};
use reco_transform::datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use reco_transform::datafusion::parquet::arrow::ArrowWriter;
use reco_transform::datafusion::parquet::basic::{Compression, ZstdLevel};
use reco_transform::datafusion::parquet::file::properties::WriterProperties;

/// Groups as large as DuckDB makes them: small enough that two threads share even the smallest file.
const ROW_GROUP: usize = 122_880;
const BATCH: usize = 8192;
const DAYS: u32 = 30;

/// The columns of the raw table: when an event was received, and what was received.
pub(crate) fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("received_at", timestamp_type(), false),
        Field::new("payload", DataType::Utf8, false),
    ]))
}

/// So many events of a shop that is as large as it takes to have them in a month, in batches.
pub(crate) fn batches(n_events: usize) -> impl Iterator<Item = RecordBatch> {
    // A visit has 8 to 9 events; a bot's has hundreds.
    let per_day = n_events as u64 / (u64::from(DAYS) * 7) + 1;
    let shop = SyntheticShop::new(SyntheticShopConfig {
        sessions_per_day: u32::try_from(per_day).unwrap(),
        n_shoppers: per_day * 5,
        n_items: 20_000,
        days: DAYS,
        ..SyntheticShopConfig::default()
    });
    let mut events = shop.unwrap().events().take(n_events);
    std::iter::from_fn(move || {
        let batch = batch(events.by_ref().take(BATCH));
        (batch.num_rows() > 0).then_some(batch)
    })
}

fn batch(events: impl Iterator<Item = Event>) -> RecordBatch {
    let mut received_at = TimestampMicrosecondBuilder::with_capacity(BATCH).with_timezone("UTC");
    let mut payload = StringBuilder::with_capacity(BATCH, BATCH * 160);
    for event in events {
        received_at.append_value(event.received_at.as_microsecond());
        payload.append_value(str::from_utf8(&event.payload).unwrap());
    }
    let columns = vec![
        Arc::new(received_at.finish()) as _,
        Arc::new(payload.finish()) as _,
    ];
    RecordBatch::try_new(schema(), columns).unwrap()
}

/// Writes so many events, unless the file is there already.
pub(crate) fn write(n_events: usize, path: &Path) {
    if path.exists() {
        return;
    }
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let unfinished = path.with_extension("unfinished");
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).unwrap()))
        .set_max_row_group_row_count(Some(ROW_GROUP))
        .build();
    let file = File::create(&unfinished).unwrap();
    let mut writer = ArrowWriter::try_new(file, schema(), Some(properties)).unwrap();
    let (sender, receiver) = mpsc::sync_channel(8);
    let shop = thread::spawn(move || {
        batches(n_events).for_each(|batch| sender.send(batch).unwrap());
    });
    for batch in receiver {
        writer.write(&batch).unwrap();
    }
    shop.join().unwrap();
    let n_written = writer.close().unwrap().file_metadata().num_rows();
    assert_eq!(
        usize::try_from(n_written),
        Ok(n_events),
        "the shop is too small"
    );
    std::fs::rename(unfinished, path).unwrap();
}
