//! [`AsOf`]: a table as it was.

use std::sync::Arc;

use deltalake::DeltaTableError;
use deltalake::table::state::DeltaTableState;
use reco_core::{Event, Record, RecordBatchStream, TimeWindow, Timestamp};

use super::DeltaTable;
use crate::error::{Error, Result};

/// A table as it was at one version, to read only.
///
/// Made by [`DeltaTable::as_of_version`] and [`DeltaTable::as_of`]. It goes on to give the same rows
/// whatever is written, as long as its files are there: a [`vacuum`](DeltaTable::vacuum) deletes those
/// of old versions, and [`forget`](DeltaTable::forget) those with the rows of a person.
#[derive(Debug, Clone)]
pub struct AsOf<E: Record = Event> {
    table: DeltaTable<E>,
    state: Arc<DeltaTableState>,
}

impl<E: Record> DeltaTable<E> {
    /// The table as it was at a version.
    ///
    /// # Errors
    ///
    /// [`Error::NoVersion`] if there is no such version yet, [`Error::Log`] if the entries of the log
    /// that it needs are not there any more.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use futures::TryStreamExt;
    /// use reco_core::{EventSink, TimeWindow};
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
    /// table.write(vec![letter]).await?;
    ///
    /// let before = table.as_of_version(1).await?;
    /// let batches: Vec<_> = before.scan(TimeWindow::ALL).await?.try_collect().await?;
    /// assert_eq!(batches[0].num_rows(), 1);
    /// assert!(table.as_of_version(3).await.is_err());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn as_of_version(&self, version: u64) -> Result<AsOf<E>> {
        let newest = self.version().await?;
        if version > newest {
            return Err(Error::NoVersion {
                table: self.inner.name.clone(),
                asked: format!("version {version}"),
                has: format!("version {newest} is the newest"),
            });
        }
        let state = DeltaTableState::try_new(self.inner.log.as_ref(), Some(version))
            .await
            .map_err(|source| self.log_failed("load", source))?;
        // An engine may give the nearest version that it can.
        if state.version() != version {
            let source = DeltaTableError::InvalidVersion(version);
            return Err(self.log_failed("load", source));
        }
        Ok(AsOf {
            table: self.clone(),
            state: Arc::new(state),
        })
    }

    /// The table as it was at a time: at the last version that was committed until then, by the
    /// store's clock.
    ///
    /// The times are those of the entries of the log, which a copy of a folder may not keep.
    ///
    /// # Errors
    ///
    /// [`Error::NoVersion`] if the log knows of no version that early, and as
    /// [`as_of_version`](Self::as_of_version).
    pub async fn as_of(&self, time: Timestamp) -> Result<AsOf<E>> {
        let times = self.commit_times().await?;
        let version = times
            .iter()
            .rev()
            .find(|(_, committed)| **committed <= time);
        match version {
            Some((version, _)) => self.as_of_version(*version).await,
            None => Err(Error::NoVersion {
                table: self.inner.name.clone(),
                asked: format!("version at {time}"),
                has: match times.first_key_value() {
                    Some((version, time)) => format!("version {version} of {time} is the oldest"),
                    None => "its log is empty".to_owned(),
                },
            }),
        }
    }
}

impl<E: Record> AsOf<E> {
    /// The version.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.state.version()
    }

    /// Replays a window of time, in the order written.
    ///
    /// # Errors
    ///
    /// [`Error::Log`] if the log cannot be read, [`Error::DataFile`] if it names a file that cannot be
    /// replayed; later trouble is an error in the stream: that a file was deleted, for one.
    pub async fn scan(&self, window: TimeWindow) -> Result<RecordBatchStream> {
        let replay = self.table.replay_of(&self.state, window, i64::MIN).await?;
        Ok(replay.batches)
    }
}
