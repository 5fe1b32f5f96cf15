//! The change feed: which rows came with which commit.

use std::ops::RangeInclusive;
use std::pin::Pin;
use std::sync::Arc;

use arrow::array::RecordBatch;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use reco_core::{Record, TimeWindow, Timestamp, project};

use super::DeltaTable;
use super::scan::seq_of;
use super::schema::{first_seq, version_of};
use crate::error::{Error, Result};

/// Rows that one commit appended.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The version that the rows are in the table since.
    pub version: u64,
    /// When they were committed, by the store's clock; not known if the entry of the log is not there
    /// any more.
    pub committed_at: Option<Timestamp>,
    /// The rows, in the order written. A commit may come as several changes, one after the other.
    pub batch: RecordBatch,
}

/// Changes as they come, the first error being the last item.
pub type ChangeStream = Pin<Box<dyn Stream<Item = reco_core::Result<Change>> + Send>>;

impl<E: Record> DeltaTable<E> {
    /// The rows that a range of versions appended, with the version and time of their commits.
    ///
    /// Rows know the commit that they came with, so compactions are no changes and change nothing
    /// here. What was erased by [`forget`](Self::forget) is in no change any more.
    /// [`scan_from`](Self::scan_from) gives the same rows without saying which commit they came with.
    ///
    /// # Errors
    ///
    /// [`Error::NoVersion`] if the last version is not there yet, [`Error::Log`] if the log cannot be
    /// read; later trouble is an error in the stream.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use futures::TryStreamExt;
    /// use reco_core::EventSink;
    /// use reco_ingest::{DeadLetter, DeltaTable};
    ///
    /// let folder = tempfile::tempdir()?;
    /// let table = DeltaTable::<DeadLetter>::open_local(folder.path()).await?;
    /// # let letter = DeadLetter {
    /// #     received_at: "2024-05-01T12:00Z".parse()?,
    /// #     source: "clicks.csv".to_owned(),
    /// #     position: 7,
    /// #     reason: "4 fields where 5 are declared".to_owned(),
    /// #     payload: "1;2;3;4".into(),
    /// # };
    /// table.write(vec![letter.clone()]).await?;
    /// table.write(vec![letter.clone(), letter]).await?;
    ///
    /// let changes: Vec<_> = table.changes(2..=2).await?.try_collect().await?;
    /// assert_eq!((changes[0].version, changes[0].batch.num_rows()), (2, 2));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn changes(&self, versions: RangeInclusive<u64>) -> Result<ChangeStream> {
        let state = self.refresh().await?;
        let (first, last) = versions.into_inner();
        if last > state.version() {
            return Err(Error::NoVersion {
                table: self.inner.name.clone(),
                asked: format!("version {last}"),
                has: format!("version {} is the newest", state.version()),
            });
        }
        let times = Arc::new(self.commit_times().await?);
        let seqs = first_seq(first)..=first_seq(last.saturating_add(1)) - 1;
        let merge = self.merge_of(&state, TimeWindow::ALL, seqs).await?;
        let table = self.inner.name.clone();
        let batches = stream::try_unfold(merge, async |mut merge| {
            Ok(merge.next().await?.map(|batch| (batch, merge)))
        });
        let changes = batches
            .and_then(|batch| async move { by_version(&batch) })
            .map_ok(|runs| stream::iter(runs.into_iter().map(Ok)))
            .try_flatten()
            .map(move |run: Result<(u64, RecordBatch)>| {
                let (version, batch) = run.map_err(|error| error.at(&table, "changes"))?;
                Ok(Change {
                    version,
                    committed_at: times.get(&version).copied(),
                    batch: project::<E>(&batch)?,
                })
            });
        Ok(changes.boxed())
    }
}

// The rows of each version, as slices of a batch whose sequence numbers ascend.
fn by_version(batch: &RecordBatch) -> Result<Vec<(u64, RecordBatch)>> {
    let seq = seq_of("the merged files", batch)?;
    let mut runs = Vec::new();
    let mut row = 0;
    while let Some(first) = seq.get(row) {
        let version = version_of(*first);
        let n = seq[row..].partition_point(|seq| version_of(*seq) == version);
        runs.push((version, batch.slice(row, n)));
        row += n;
    }
    Ok(runs)
}
