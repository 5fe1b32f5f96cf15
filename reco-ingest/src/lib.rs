//! Where events land, and how they come back: sinks, the append-only raw Delta table, importers.
//!
//! * [`DeltaTable`]: an append-only Delta Lake table of any [`Record`](reco_core::Record) on a local
//!   path or an object store, exactly once by [`BatchId`], replayed in the order written; it is
//!   compacted while it is written to, read as it was, and rid of a person who asks for it.
//! * [`MemoryTable`]: the same contract in memory, for tests and examples.
//! * [`EventSinkExt`]: what wraps a sink: [`Buffered`] collects small writes, [`Tee`] writes to two,
//!   [`Redacted`] takes out what identifies a person.
//! * [`Spooled`]: acknowledges what is on disk, and drains it into the table: nothing acknowledged is
//!   ever lost, and everything is in the table once.
//! * [`DeadLetter`]: what could not be read, with its bytes and the reason.
//! * [`Replayer`]: what was written, again, into any sink, at full speed or as it came.
//! * [`import`]: CSV, JSON Lines and Parquet files by a declared mapping, and mappings of well-known
//!   data sets.
//! * `http` (feature `http`): a collector, an axum router that takes events as JSON or as hits of a
//!   [`pixel`](https://developers.google.com/analytics/devguides/collection/protocol/v1).
//!
//! The crates whose types are in these signatures are re-exported: [`deltalake`], and through
//! `reco-core` Arrow and `object_store`.
#![cfg_attr(doctest, doc = include_str!("../README.md"))]

mod batch_rows;
pub mod delta;
pub mod error;
mod hex;
#[cfg(feature = "http")]
pub mod http;
pub mod import;
pub mod memory;
pub mod metric;
#[cfg(feature = "http")]
pub mod pixel;
pub mod privacy;
pub mod replay;
pub mod sink;

#[cfg(feature = "http")]
pub use axum;
pub use deltalake;
#[cfg(feature = "lambda")]
pub use lambda_http;
#[cfg(feature = "prometheus")]
pub use metrics_exporter_prometheus;

pub use delta::{BatchId, DeltaTable, Numbered, Replay, Written};
pub use error::{Error, Result};
pub use import::{Import, ImportReport};
pub use memory::MemoryTable;
pub use privacy::{Keyring, Redaction, RedactionConfig};
pub use replay::Replayer;
pub use sink::{
    BufferConfig, Buffered, DeadLetter, DrainConfig, EventSinkExt, Redacted, SpoolConfig,
    SpoolStatus, Spooled, Tee,
};
