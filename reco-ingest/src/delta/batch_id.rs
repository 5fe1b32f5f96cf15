//! [`BatchId`]: the name under which a batch is written at most once.

use crate::error::{Error, Result};

/// The name under which a batch is written at most once.
///
/// A writer numbers its batches upwards; the table remembers the last number of each writer in its
/// log, as a Delta *application transaction*, in the same commit as the rows. Writing a batch again
/// after a crash, whose outcome nobody knows, is then harmless: it is found to be there already.
///
/// Two sinks that write at the same time need two writer names: a table that has seen number 7 of a
/// writer takes its number 5 for one that is there already.
///
/// The log keeps the last number of each writer for ever, so use few writers. A table with one for
/// each request can be told to forget them, by its property `delta.setTransactionRetentionDuration`
/// (`interval 30 days`): a batch that is written again after that time is there twice.
///
/// # Examples
///
/// ```
/// use reco_ingest::BatchId;
///
/// let id = BatchId::new("collector-1", 42)?;
/// assert_eq!((id.writer(), id.sequence()), ("collector-1", 42));
/// assert!(BatchId::new("", 42).is_err());
/// # Ok::<(), reco_ingest::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BatchId {
    writer: String,
    sequence: i64,
}

impl BatchId {
    /// The batch of a number by a writer.
    ///
    /// # Errors
    ///
    /// [`Error::BatchId`] if the writer has no name or the number is negative.
    pub fn new(writer: impl Into<String>, sequence: i64) -> Result<Self> {
        let writer = writer.into();
        if writer.is_empty() {
            return Err(Error::BatchId {
                reason: "the writer has no name",
            });
        }
        if sequence < 0 {
            return Err(Error::BatchId {
                reason: "the sequence is negative",
            });
        }
        Ok(Self { writer, sequence })
    }

    /// Who writes: the application id of the transaction.
    #[must_use]
    pub fn writer(&self) -> &str {
        &self.writer
    }

    /// Which of the writer's batches: the version of the transaction.
    #[must_use]
    pub const fn sequence(&self) -> i64 {
        self.sequence
    }
}
