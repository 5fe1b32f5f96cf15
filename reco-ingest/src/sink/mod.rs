//! Sinks that wrap sinks, and the record for what could not be read.
//!
//! ```text
//! handlers ─▶ Buffered ─▶ Tee ─▶ DeltaTable       few, large commits
//!                          └───▶ MemoryTable, SessionTracker, …
//! handlers ─▶ Spooled ┄┄▶ DeltaTable              the same, and on disk before the answer
//! ```
//!
//! A wrapper keeps the contract of [`EventSink`]: order, whole batches, nothing dropped. What it
//! changes is when and how often the sink within is called; [`Redacted`] alone changes records, which is
//! what it is for.

mod buffered;
mod dead_letter;
mod redacted;
mod shared;
mod spool;
mod tee;

use reco_core::{EventSink, Record};

use crate::error::Result;
use crate::privacy::Redaction;

pub use buffered::{BufferConfig, Buffered};
pub use dead_letter::DeadLetter;
pub use redacted::Redacted;
pub use spool::{DrainConfig, SpoolConfig, SpoolStatus, Spooled};
pub use tee::Tee;

/// What wraps a sink in another one.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use reco_core::{Event, EventSink};
/// use reco_ingest::{BufferConfig, EventSinkExt, MemoryTable};
///
/// let (raw, live) = (MemoryTable::<Event>::new(), MemoryTable::new());
/// let sink = raw.clone().tee(live.clone()).buffered(BufferConfig::default())?;
/// sink.write(vec![]).await?;
/// sink.close().await?;
/// assert_eq!(raw.records(), live.records());
/// # Ok(())
/// # }
/// ```
pub trait EventSinkExt<E: Record>: EventSink<E> + Sized {
    /// Collects writes, and hands them on in large batches from a background task.
    ///
    /// # Errors
    ///
    /// As [`Buffered::new`].
    fn buffered(self, config: BufferConfig) -> Result<Buffered<E>> {
        Buffered::new(self, config)
    }

    /// Hands every batch to this sink and then to another.
    fn tee<S: EventSink<E>>(self, other: S) -> Tee<Self, S> {
        Tee::new(self, other)
    }

    /// Takes what identifies a person out of every record before it is written.
    fn redacted(self, rules: Redaction) -> Redacted<Self> {
        Redacted::new(self, rules)
    }
}

impl<E: Record, S: EventSink<E>> EventSinkExt<E> for S {}
