//! [`Redacted`]: what identifies a person is taken out before it is written.

use async_trait::async_trait;
use reco_core::{EventSink, Receipt, Result};

use crate::privacy::{Redact, Redaction};

/// Takes what identifies a person out of every record before it is written.
///
/// See [`privacy`](crate::privacy) for the rules. A batch of which the rules refuse a record is refused
/// whole, and nothing of it is written.
///
/// # Cancel safety
///
/// That of the sink within.
#[derive(Debug, Clone)]
pub struct Redacted<S> {
    sink: S,
    rules: Redaction,
}

impl<S> Redacted<S> {
    /// A sink behind rules.
    #[must_use]
    pub const fn new(sink: S, rules: Redaction) -> Self {
        Self { sink, rules }
    }

    /// The sink within.
    #[must_use]
    pub fn into_inner(self) -> S {
        self.sink
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<E: Redact, S: EventSink<E>> EventSink<E> for Redacted<S> {
    async fn write(&self, records: Vec<E>) -> Result<Receipt> {
        let redacted = records.into_iter().enumerate();
        let redacted = redacted.map(|(row, record)| record.redact(&self.rules, row));
        self.sink.write(redacted.collect::<Result<_>>()?).await
    }

    async fn flush(&self) -> Result<()> {
        self.sink.flush().await
    }
}
