//! Vacuum: files that nobody can need any more are deleted.

use std::collections::HashMap;
use std::time::Duration;

use futures::{TryStreamExt, stream};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt as _};
use reco_core::{Record, Timestamp};
use serde::{Deserialize, Serialize};
use tracing::info;

use super::DeltaTable;
use crate::error::{Error, Result};

// Requests to delete that run at the same time.
const N_AT_A_TIME: usize = 16;
const HOUR: Duration = Duration::from_secs(60 * 60);
// Longer than any write or compaction takes between its first file and its commit, and than scans are
// expected to run.
const MIN_RETENTION: Duration = HOUR.saturating_mul(24);

/// What a vacuum keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VacuumConfig {
    /// How long files stay after they left the table, or after they were stored if they never became
    /// part of it. Default: 7 days, as `delta.deletedFileRetentionDuration`.
    ///
    /// Versions that are older than this can perhaps not be read any more.
    pub retention: Duration,
    /// Whether a retention below 24 hours is refused. Default: true.
    ///
    /// A write or a compaction that runs has stored files which no version names yet, and a scan that
    /// runs reads files which may have left the table since: a vacuum must not take them. Turn it off
    /// only while neither runs.
    pub enforce_retention: bool,
    /// Whether to say only what would be deleted. Default: false.
    pub dry_run: bool,
}

impl Default for VacuumConfig {
    fn default() -> Self {
        Self {
            retention: HOUR.saturating_mul(24 * 7),
            enforce_retention: true,
            dry_run: false,
        }
    }
}

/// What a vacuum deleted, or would have.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Vacuumed {
    /// The files, within the table, in the order of their names.
    pub files: Vec<Path>,
    /// How many bytes they had.
    pub n_bytes: u64,
}

impl<E: Record> DeltaTable<E> {
    /// Deletes the data files that no version within the retention names.
    ///
    /// Those are the files that left the table before, in a compaction for instance, and those of
    /// commits that never landed. The log is left as it is.
    ///
    /// `now` is what ages are measured from; it is compared with times of the store.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] if the retention is below 24 hours and enforced, [`Error::Log`] and
    /// [`Error::Store`] if the store fails: some files may be deleted then.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, some files may be deleted. Run it again.
    #[tracing::instrument(level = "debug", skip_all, fields(table = %self.inner.name))]
    pub async fn vacuum(&self, config: &VacuumConfig, now: Timestamp) -> Result<Vacuumed> {
        if config.enforce_retention && config.retention < MIN_RETENTION {
            return Err(Error::InvalidConfig {
                of: "vacuum",
                reason: format!(
                    "a `retention` of {:?} is below the {MIN_RETENTION:?} that running writers and scans may need",
                    config.retention
                ),
            });
        }
        let before = i64::try_from(config.retention.as_millis())
            .ok()
            .and_then(|retention| now.as_millisecond().checked_sub(retention))
            .unwrap_or(i64::MIN);
        // Listed first: a file that is committed in between is then known to be in the table.
        let stored = self.stored_files().await?;
        let kept = self.kept_since(before).await?;
        let mut vacuumed = Vacuumed::default();
        for meta in stored {
            let left_at = match kept.get(&meta.location) {
                Some(Kept::Live) => continue,
                Some(Kept::Removed(at)) => *at,
                None => meta.last_modified.timestamp_millis(),
            };
            if left_at >= before {
                continue;
            }
            vacuumed.n_bytes += meta.size;
            vacuumed.files.push(meta.location);
        }
        if !config.dry_run {
            stream::iter(vacuumed.files.iter().map(Ok))
                .try_for_each_concurrent(N_AT_A_TIME, |path| self.delete(path))
                .await?;
        }
        info!(table = %self.inner.name, n_files = vacuumed.files.len(), n_bytes = vacuumed.n_bytes, dry_run = config.dry_run, "vacuumed");
        Ok(vacuumed)
    }

    /// Every stored data file, whether a version names it or none, by name.
    pub(super) async fn stored_files(&self) -> Result<Vec<ObjectMeta>> {
        let store = self.inner.log.object_store(None);
        let listed = store.list(None).try_collect::<Vec<_>>().await;
        let mut files = listed.map_err(|source| Error::Store {
            path: self.inner.name.clone(),
            source,
        })?;
        // Names that start with `_` or `.` are for the log and what else engines keep beside the data.
        files.retain(|meta| {
            let hidden = |part: &str| part.starts_with(['_', '.']);
            !meta.location.parts().any(|part| hidden(part.as_ref()))
                && meta.location.extension() == Some("parquet")
        });
        files.sort_by(|a, b| a.location.cmp(&b.location));
        Ok(files)
    }

    /// Deletes a file; that it is not there is fine.
    pub(super) async fn delete(&self, path: &Path) -> Result<()> {
        let store = self.inner.log.object_store(None);
        match store.delete(path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(source) => Err(Error::Store {
                path: path.to_string(),
                source,
            }),
        }
    }

    // The files that are in the table, and those that left it and whose log still says when.
    async fn kept_since(&self, before: i64) -> Result<HashMap<Path, Kept>> {
        let state = self.refresh().await?;
        let mut kept = HashMap::new();
        let mut tombstones = state.all_tombstones(self.inner.log.as_ref());
        while let Some(tombstone) = tombstones
            .try_next()
            .await
            .map_err(|source| self.log_failed("load", source))?
        {
            let name = tombstone.path();
            let path = Path::parse(name.as_ref()).unwrap_or_else(|_| Path::from(name.as_ref()));
            let removed_at = tombstone.deletion_timestamp().unwrap_or(before - 1);
            kept.insert(path, Kept::Removed(removed_at));
        }
        for file in self.files_of(&state).await? {
            kept.insert(file.path, Kept::Live);
        }
        Ok(kept)
    }
}

#[derive(Debug)]
enum Kept {
    Live,
    /// When it left the table, in milliseconds since 1970.
    Removed(i64),
}
