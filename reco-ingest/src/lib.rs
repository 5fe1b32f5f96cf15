//! Where events land, and how they come back: sinks, the append-only raw Delta table, importers.
//!
//! * [`DeltaTable`]: an append-only Delta Lake table of any [`Record`](reco_core::Record) on a local
//!   path or an object store, exactly once by [`BatchId`], replayed in the order written.
//! * [`MemoryTable`]: the same contract in memory, for tests and examples.
//! * [`EventSinkExt`]: what wraps a sink: [`Buffered`] collects small writes, [`Tee`] writes to two.
//! * [`DeadLetter`]: what could not be read, with its bytes and the reason.
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
#[cfg(feature = "http")]
pub mod http;
pub mod import;
pub mod memory;
pub mod metric;
#[cfg(feature = "http")]
pub mod pixel;
pub mod sink;

#[cfg(feature = "http")]
pub use axum;
pub use deltalake;
#[cfg(feature = "lambda")]
pub use lambda_http;

pub use delta::{BatchId, DeltaTable, Numbered, Replay, Written};
pub use error::{Error, Result};
pub use import::{Import, ImportReport};
pub use memory::MemoryTable;
pub use sink::{BufferConfig, Buffered, DeadLetter, EventSinkExt, Tee};
