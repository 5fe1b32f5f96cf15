//! [`EventSink`]: what accepts events.

use std::fmt::Debug;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::event::Event;
use crate::record::Record;

/// Accepts records, events unless said otherwise.
///
/// # Contract
///
/// * `write` returns when the batch is accepted, after waiting for room if there is none; a batch is
///   accepted whole or not at all.
/// * Batches that one caller writes one after the other keep their order; so do the records of a batch.
/// * Nothing is changed, dropped or deduplicated.
/// * `flush` returns when everything that was accepted before it is visible to a scan, and as durable
///   as the sink makes it.
/// * An empty batch is accepted and leaves no trace.
///
/// [`testing::event_sink`](crate::testing::event_sink) checks it (feature `testing`).
///
/// # Cancel safety
///
/// A `write` whose future is dropped may or may not have accepted its batch. Write it again with the
/// same event ids: a duplicate is harmless, since steps remove duplicates by id.
#[async_trait]
pub trait EventSink<E: Record = Event>: Debug + Send + Sync + 'static {
    /// Accepts a batch and says how durable it is.
    ///
    /// # Errors
    ///
    /// The batch was not accepted, or it is not known whether it was.
    async fn write(&self, records: Vec<E>) -> Result<Receipt>;

    /// Makes everything that was accepted visible, and as durable as the sink can.
    ///
    /// # Errors
    ///
    /// Something that was accepted did not get there.
    async fn flush(&self) -> Result<()>;
}

/// What a sink says about a batch that it has accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// How many records were accepted: those of the batch.
    pub n_records: usize,
    /// What the records survive from now on.
    pub durability: Durability,
}

/// What a record survives once it is accepted, from the least to the most.
///
/// Written in configurations as `memory`, `os_cache` and `durable`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// Nothing: it is in the memory of the process.
    Memory,
    /// The end of the process: the operating system has it.
    OsCache,
    /// The end of the machine: it is synced to disk or stored by an object store.
    Durable,
}
