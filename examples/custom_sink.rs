//! # A sink of your own
//!
//! A sink is what accepts events. This one appends them to a file as JSON Lines, for a tool that
//! wants to follow along, while the raw table takes them as always.
//!
//! You will see the contract of a sink, how two sinks are joined by `tee`, and how the suite that
//! ships with the contract tests an implementation.
//!
//! ```sh
//! cargo run --all-features --example custom_sink
//! ```

use std::io::{Write, stdout};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use futures::TryStreamExt;
use reco_core::testing::{SyntheticShop, SyntheticShopConfig};
use reco_core::{
    BoxError, Durability, Error, Event, EventSink, RawTable, Receipt, Result, TimeWindow,
};
use reco_ingest::{EventSinkExt, MemoryTable};
use tokio::fs::File;
use tokio::io::AsyncWriteExt;
use tokio::sync::Mutex;

// ## The sink
//
// `write` and `flush` share the file, so a lock orders the batches: two writers never mix their lines.

#[derive(Debug)]
struct JsonLines {
    path: PathBuf,
    file: Mutex<File>,
}

impl JsonLines {
    async fn create(path: &Path) -> std::io::Result<Self> {
        let file = File::options().create(true).append(true).open(path).await?;
        Ok(Self {
            path: path.to_owned(),
            file: Mutex::new(file),
        })
    }

    // The contract's error names the table and what was tried; the cause stays the source.
    fn failed(&self, operation: &'static str, source: impl Into<BoxError>) -> Error {
        Error::Table {
            table: self.path.display().to_string(),
            operation,
            source: source.into(),
        }
    }
}

#[async_trait]
impl EventSink for JsonLines {
    async fn write(&self, events: Vec<Event>) -> Result<Receipt> {
        let mut lines = String::new();
        for event in &events {
            let line = serde_json::json!({
                "id": event.id,
                "at": event.occurred_at,
                "client": event.client,
                "kind": event.kind,
                "item": event.item,
            });
            lines.push_str(&line.to_string());
            lines.push('\n');
        }
        // One call for the batch: it is accepted whole or not at all.
        let mut file = self.file.lock().await;
        file.write_all(lines.as_bytes())
            .await
            .map_err(|error| self.failed("write", error))?;
        file.flush()
            .await
            .map_err(|error| self.failed("write", error))?;
        Ok(Receipt {
            n_records: events.len(),
            durability: Durability::OsCache,
        })
    }

    async fn flush(&self) -> Result<()> {
        let file = self.file.lock().await;
        file.sync_all()
            .await
            .map_err(|error| self.failed("flush", error))
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("events.jsonl");

    // ## The contract's own tests
    //
    // They panic with the clause that an implementation breaks.
    let sink = JsonLines::create(&folder.path().join("suite.jsonl")).await?;
    reco_core::testing::event_sink(&sink).await;
    writeln!(stdout(), "the sink keeps its contract")?;

    // ## In a pipeline
    //
    // `tee` writes every batch to both; a receipt names the better durability of the two, since an
    // event survives where one copy does.
    let table = MemoryTable::<Event>::new();
    let sink = table.clone().tee(JsonLines::create(&path).await?);
    let shop = SyntheticShop::new(SyntheticShopConfig::default())?;
    let receipt = sink.write(shop.events().take(1_000).collect()).await?;
    sink.flush().await?;

    let lines = std::fs::read_to_string(&path)?;
    let batches: Vec<_> = table.scan(TimeWindow::ALL).await?.try_collect().await?;
    let n_rows: usize = batches.iter().map(|batch| batch.num_rows()).sum();
    writeln!(
        stdout(),
        "{receipt:?}; {} lines, {n_rows} rows",
        lines.lines().count()
    )?;
    writeln!(stdout(), "{}", lines.lines().next().unwrap_or_default())?;
    Ok(())
}
