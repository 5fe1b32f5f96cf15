//! How far a writer is in a table.

use deltalake::table::state::DeltaTableState;
use reco_core::Record;

use super::DeltaTable;
use crate::error::{Error, Result};

impl<E: Record> DeltaTable<E> {
    /// The number of the last batch that a writer has in the table, if it has any.
    ///
    /// What it says outlasts the machine where the table does: on a local path, what another process
    /// committed and may not have synced yet is synced first.
    ///
    /// # Errors
    ///
    /// [`Error::Log`] if the log cannot be read, [`Error::Store`] if it cannot be synced.
    pub async fn last_sequence(&self, writer: &str) -> Result<Option<i64>> {
        let state = self.refresh().await?;
        let last = self.sequence_in(&state, writer).await?;
        self.settle().await?;
        Ok(last)
    }

    /// The id that the table was given when it was created.
    pub(crate) async fn id(&self) -> String {
        self.inner.state.lock().await.metadata().id().to_owned()
    }

    /// The number of the last batch that a writer has in a state of the table.
    pub(super) async fn sequence_in(
        &self,
        state: &DeltaTableState,
        writer: &str,
    ) -> Result<Option<i64>> {
        state
            .transaction_version(self.inner.log.as_ref(), writer)
            .await
            .map_err(|source| self.log_failed("load", source))
    }

    /// What the log was seen to hold is there for good once this returns.
    pub(super) async fn settle(&self) -> Result<()> {
        let Some(folder) = &self.inner.local else {
            return Ok(());
        };
        let log = self.inner.log.log_path();
        folder
            .sync_folder(log)
            .await
            .map_err(|source| Error::Store {
                path: log.to_string(),
                source,
            })
    }
}
