//! [`Tee`]: every batch to two sinks.

use async_trait::async_trait;
use reco_core::{EventSink, Receipt, Record, Result};

/// Hands every batch to a first sink, and once that has accepted it, to a second.
///
/// So the second never has what the first refused: put the table first and what only follows along,
/// such as live sessions, second. If the second refuses, the write fails though the first has the
/// batch; written again it is there twice, which steps undo by event id.
///
/// A receipt states the better durability of the two: a record survives where one copy does.
///
/// # Cancel safety
///
/// A write whose future is dropped may have reached none, the first or both.
#[derive(Debug, Clone)]
pub struct Tee<A, B> {
    first: A,
    second: B,
}

impl<A, B> Tee<A, B> {
    /// A tee of two sinks.
    #[must_use]
    pub const fn new(first: A, second: B) -> Self {
        Self { first, second }
    }

    /// The two sinks.
    #[must_use]
    pub fn into_inner(self) -> (A, B) {
        (self.first, self.second)
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<E: Record, A: EventSink<E>, B: EventSink<E>> EventSink<E> for Tee<A, B> {
    async fn write(&self, records: Vec<E>) -> Result<Receipt> {
        let first = self.first.write(records.clone()).await?;
        let second = self.second.write(records).await?;
        Ok(Receipt {
            n_records: first.n_records,
            durability: first.durability.max(second.durability),
        })
    }

    async fn flush(&self) -> Result<()> {
        // The second is flushed even if the first fails: its records need not share the trouble.
        let first = self.first.flush().await;
        let second = self.second.flush().await;
        first.and(second)
    }
}
