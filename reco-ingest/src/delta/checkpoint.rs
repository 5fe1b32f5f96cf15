//! Checkpoints: the log summed up, so that loading it stays fast.

use std::sync::Arc;

use reco_core::Record;
use tracing::warn;

use super::DeltaTable;
use crate::error::Result;

// After so many commits a writer makes a checkpoint.
const CHECKPOINT_INTERVAL: u64 = 100;

impl<E: Record> DeltaTable<E> {
    /// Sums up the log in a checkpoint, and gives the version that it is of.
    ///
    /// Whoever opens the table then reads the checkpoint and the entries after it. Writers make one
    /// every 100 commits by themselves.
    ///
    /// # Errors
    ///
    /// [`Error::Log`](crate::Error::Log) if the log cannot be read or the checkpoint cannot be written.
    pub async fn checkpoint(&self) -> Result<u64> {
        let version = self.refresh().await?.version();
        self.checkpoint_at(version).await?;
        Ok(version)
    }

    // The rows are committed whatever happens here.
    pub(super) async fn checkpoint_if_due(&self, version: u64) {
        if !version.is_multiple_of(CHECKPOINT_INTERVAL) {
            return;
        }
        if let Err(error) = self.checkpoint_at(version).await {
            warn!(table = %self.inner.name, version, %error, "no checkpoint was made");
        }
    }

    async fn checkpoint_at(&self, version: u64) -> Result<()> {
        let failed = |source| self.log_failed("checkpoint", source);
        let mut table = deltalake::DeltaTable::new(Arc::clone(&self.inner.log));
        table.load_version(version).await.map_err(failed)?;
        deltalake::checkpoints::create_checkpoint(&table, None)
            .await
            .map_err(failed)
    }
}
