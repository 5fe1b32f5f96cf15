//! [`Target`]: where the records of an import go.

use reco_core::{EventSink, Record};

use super::records::Records;
use crate::delta::{Numbered, Packed, Prepared};
use crate::error::Result;
use crate::privacy::{Redact, Redaction};

// So many records are made at a time, and packed while the processor still has them at hand.
const CHUNK_ROWS: usize = 1024;
// The memory of longer ones is not kept for the next.
const CHUNK_BYTES: usize = 4 << 20;

/// Where the records of an import go.
pub(super) trait Target<R: Record>: Sync {
    /// What gathers a batch on the thread that reads.
    type Gather: Gather<R>;
    /// A batch that only has to be written.
    type Ready: Send;

    /// What gathers the first batch.
    fn gather(&self) -> Self::Gather;

    /// Does what can be done of a batch while the one before it is written.
    fn prepare(&self, batch: Self::Gather) -> impl Future<Output = Result<Self::Ready>> + Send;

    /// Writes a batch that is not empty.
    fn write(&self, batch: Self::Ready) -> impl Future<Output = Result<()>> + Send;

    fn flush(&self) -> impl Future<Output = Result<()>> + Send;
}

/// A batch that is being gathered.
pub(super) trait Gather<R>: Send + 'static {
    /// After how many records it takes them.
    const CHUNK_ROWS: usize;

    /// Takes records, and leaves none.
    fn take(&mut self, records: &mut Records<R>) -> Result<()>;

    /// Hands over what was taken, to begin anew.
    fn next(&mut self) -> Self;
}

/// Any sink, which gets the records.
#[derive(Debug)]
pub(super) struct Sink<'a, S: ?Sized>(pub(super) &'a S);

impl<R: Record, S: EventSink<R> + ?Sized> Target<R> for Sink<'_, S> {
    type Gather = Vec<R>;
    type Ready = Vec<R>;

    fn gather(&self) -> Vec<R> {
        Vec::new()
    }

    async fn prepare(&self, batch: Vec<R>) -> Result<Vec<R>> {
        Ok(batch)
    }

    async fn write(&self, batch: Vec<R>) -> Result<()> {
        self.0.write(batch).await?;
        Ok(())
    }

    async fn flush(&self) -> Result<()> {
        Ok(self.0.flush().await?)
    }
}

impl<R: Send + 'static> Gather<R> for Vec<R> {
    const CHUNK_ROWS: usize = usize::MAX;

    fn take(&mut self, records: &mut Records<R>) -> Result<()> {
        if self.is_empty() {
            *self = records.take();
        } else {
            self.append(&mut records.take());
        }
        Ok(())
    }

    fn next(&mut self) -> Self {
        // The next batch will be about as long.
        let next = Self::with_capacity(self.len());
        std::mem::replace(self, next)
    }
}

/// A Delta table, which gets the records as columns.
#[derive(Debug)]
pub(super) struct Table<'a, R: Record> {
    pub(super) table: &'a Numbered<R>,
    /// What is taken out of every record before.
    pub(super) redaction: Option<&'a Redaction>,
}

impl<R: Redact> Target<R> for Table<'_, R> {
    type Gather = Columns<R>;
    type Ready = Prepared<R>;

    fn gather(&self) -> Columns<R> {
        Columns::new(self.redaction)
    }

    async fn prepare(&self, batch: Columns<R>) -> Result<Prepared<R>> {
        self.table.prepare(batch.packed).await
    }

    async fn write(&self, batch: Prepared<R>) -> Result<()> {
        self.table.write_prepared(batch).await
    }

    async fn flush(&self) -> Result<()> {
        Ok(self.table.flush().await?)
    }
}

/// A batch as columns.
#[derive(Debug)]
pub(super) struct Columns<R: Record> {
    packed: Packed<R>,
    redaction: Option<Redaction>,
}

impl<R: Record> Columns<R> {
    pub(super) fn new(redaction: Option<&Redaction>) -> Self {
        Self {
            packed: Packed::new(),
            redaction: redaction.cloned(),
        }
    }
}

impl<R: Redact> Gather<R> for Columns<R> {
    const CHUNK_ROWS: usize = CHUNK_ROWS;

    fn take(&mut self, records: &mut Records<R>) -> Result<()> {
        if let Some(rules) = &self.redaction {
            let redacted = records.take().into_iter().enumerate();
            let redacted = redacted.map(|(row, record)| record.redact(rules, row));
            self.packed
                .push(&redacted.collect::<reco_core::Result<Vec<R>>>()?)?;
        } else {
            self.packed.push(records.as_slice())?;
            let n_bytes: usize = records.as_slice().iter().map(Record::n_bytes).sum();
            if n_bytes > CHUNK_BYTES {
                records.truncate(0);
            } else {
                records.clear();
            }
        }
        Ok(())
    }

    fn next(&mut self) -> Self {
        Self {
            packed: std::mem::replace(&mut self.packed, Packed::new()),
            redaction: self.redaction.clone(),
        }
    }
}
