//! [`RunStore`]: the records of an environment as files.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, PutMode};
use reco_core::{BoxError, Timestamp};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::lineage::RecordedLineage;
use super::record::Outcome;
use super::{LineageKey, RunRecord, RunRetention, RunStatus, RunTable, micros};
use crate::error::{Error, Result};
use crate::warehouse::Warehouse;

const FOLDER: &str = "_runs";
const FORMAT: u32 = 1;
// Of all runs that end at once one gets the next number, so a loss means that another one got on.
const MAX_TRIES: u32 = 64;
const N_READERS: usize = 16;

/// A run as it is on disk.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RunFile {
    format: u32,
    status: RunStatus,
    #[serde(rename = "duration_us", with = "micros")]
    duration: Duration,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    state: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lineage: Option<LineageKey>,
    tables: Vec<RunTable>,
}

/// The records of the runs of one environment.
#[derive(Debug, Clone)]
pub(crate) struct RunStore {
    store: Arc<dyn ObjectStore>,
    environment: String,
    retention: RunRetention,
}

impl Warehouse {
    /// The records of the environment that is shown.
    pub(crate) fn run_store(&self) -> RunStore {
        self.run_store_of(self.environment_name())
    }

    pub(crate) fn run_store_of(&self, environment: &str) -> RunStore {
        RunStore {
            store: Arc::clone(&self.files),
            environment: environment.to_owned(),
            retention: self.config.run_retention.clone(),
        }
    }
}

impl RunStore {
    /// Writes the record of a run, and removes those that are kept no longer.
    pub(super) async fn record(&self, outcome: Outcome) -> Result<RunRecord> {
        let lineage = match &outcome.lineage {
            Some(lineage) => {
                let json = serde_json::to_vec(lineage);
                let json =
                    json.map_err(|error| self.failed("write", &self.folder(), error.into()))?;
                Some((RecordedLineage::digest(&json), json))
            }
            None => None,
        };
        let mut file = RunFile {
            format: FORMAT,
            status: outcome.status(),
            duration: outcome.duration,
            error: outcome.error,
            state: outcome.state,
            lineage: None,
            tables: outcome.tables,
        };
        for _ in 0..MAX_TRIES {
            let newest = self.numbers().await?.pop();
            let number = newest.unwrap_or(0) + 1;
            file.lineage = match &lineage {
                Some((digest, json)) => {
                    Some(self.keep_lineage(number, newest, digest, json).await?)
                }
                None => None,
            };
            if self.create(number, &file).await? {
                let record = self.read(number).await?;
                self.prune(&record).await?;
                return Ok(record);
            }
            tracing::debug!(environment = %self.environment, number, "another run ended first");
        }
        let reason = format!("other runs were first {MAX_TRIES} times in a row");
        Err(self.failed("write", &self.folder(), reason.into()))
    }

    /// Where the lineage of a run is: where that of the run before is, if it is the same.
    async fn keep_lineage(
        &self,
        number: u64,
        newest: Option<u64>,
        digest: &str,
        json: &[u8],
    ) -> Result<LineageKey> {
        if let Some(newest) = newest
            && let Some(key) = self.read(newest).await?.lineage
            && key.digest == digest
        {
            return Ok(key);
        }
        let key = LineageKey {
            since: number,
            digest: digest.to_owned(),
        };
        let path = self.lineage_path(&key);
        let put = self.store.put(&path, json.to_vec().into()).await;
        put.map_err(|error| self.failed("write", &path, error.into()))?;
        Ok(key)
    }

    async fn create(&self, number: u64, file: &RunFile) -> Result<bool> {
        let path = self.path(number);
        let failed = |error: BoxError| self.failed("write", &path, error);
        let json = serde_json::to_vec_pretty(file).map_err(|error| failed(error.into()))?;
        let create = PutMode::Create.into();
        match self.store.put_opts(&path, json.into(), create).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(false),
            Err(error) => Err(failed(error.into())),
        }
    }

    /// Removes what is kept no longer, as of the end of the newest run.
    async fn prune(&self, newest: &RunRecord) -> Result<()> {
        let listed = self.list().await?;
        let n_kept = self
            .retention
            .n_runs
            .map_or(usize::MAX, std::num::NonZero::get);
        let n_first = listed.len().saturating_sub(n_kept);
        let is_old = |meta: &ObjectMeta| {
            let Some(age) = self.retention.age else {
                return false;
            };
            let ended_at = Timestamp::from_microsecond(meta.last_modified.timestamp_micros());
            ended_at
                .is_ok_and(|ended_at| newest.ended_at.duration_since(ended_at).unsigned_abs() > age)
        };
        let mut kept = Vec::new();
        for (position, (number, meta)) in listed.iter().enumerate() {
            let goes = position < n_first || is_old(meta);
            if goes && *number != newest.number {
                self.remove(&meta.location).await?;
            } else {
                kept.push(*number);
            }
        }
        if kept.len() == listed.len() {
            return Ok(());
        }
        // Lineage is shared by runs in a row, so the oldest run needs the oldest that is needed.
        let oldest = match kept.first() {
            Some(&oldest) => self.read(oldest).await?.lineage,
            None => None,
        };
        let needed_since = oldest.map_or(0, |key| key.since);
        for meta in self.files(&self.folder().join("lineage")).await? {
            let since = meta
                .location
                .filename()
                .and_then(|name| name.split_once('-'));
            let since = since.and_then(|(number, _)| number.parse::<u64>().ok());
            if since.is_some_and(|since| since < needed_since) {
                self.remove(&meta.location).await?;
            }
        }
        Ok(())
    }

    async fn remove(&self, path: &Path) -> Result<()> {
        match self.store.delete(path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.failed("remove", path, error.into())),
        }
    }

    /// The record of a number.
    pub(crate) async fn read(&self, number: u64) -> Result<RunRecord> {
        let path = self.path(number);
        let (file, modified): (RunFile, _) = self.read_json(&path).await?;
        let failed = |error: BoxError| self.failed("read", &path, error);
        if file.format != FORMAT {
            let found = file.format;
            let reason = format!("it has format {found}; this build reads {FORMAT}");
            return Err(failed(reason.into()));
        }
        let ended_at =
            Timestamp::from_microsecond(modified).map_err(|error| failed(error.into()))?;
        let started_at = ended_at.checked_sub(file.duration);
        Ok(RunRecord {
            environment: self.environment.clone(),
            number,
            started_at: started_at.map_err(|error| failed(error.into()))?,
            ended_at,
            status: file.status,
            error: file.error,
            state: file.state,
            tables: file.tables,
            lineage: file.lineage,
        })
    }

    /// The records of some numbers, several at once; one that was removed meanwhile is left out.
    pub(crate) async fn read_all(&self, numbers: Vec<u64>) -> Result<Vec<RunRecord>> {
        let read = numbers.into_iter().map(|number| async move {
            match self.read(number).await {
                Ok(record) => Ok(Some(record)),
                Err(error) if is_not_found(&error) => Ok(None),
                Err(error) => Err(error),
            }
        });
        let read = futures::stream::iter(read).buffered(N_READERS);
        read.try_filter_map(|record| std::future::ready(Ok(record)))
            .try_collect()
            .await
    }

    pub(crate) async fn read_lineage(&self, key: &LineageKey) -> Result<Option<RecordedLineage>> {
        let path = self.lineage_path(key);
        match self.read_json::<RecordedLineage>(&path).await {
            Ok((lineage, _)) if lineage.format == RecordedLineage::FORMAT => Ok(Some(lineage)),
            Ok((lineage, _)) => {
                let (found, format) = (lineage.format, RecordedLineage::FORMAT);
                let reason = format!("it has format {found}; this build reads {format}");
                Err(self.failed("read", &path, reason.into()))
            }
            Err(error) if is_not_found(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn read_json<T: DeserializeOwned>(&self, path: &Path) -> Result<(T, i64)> {
        let failed = |error: BoxError| self.failed("read", path, error);
        let object = self.store.get(path).await;
        let object = object.map_err(|error| failed(error.into()))?;
        let modified = object.meta.last_modified.timestamp_micros();
        let bytes = object.bytes().await.map_err(|error| failed(error.into()))?;
        let value = serde_json::from_slice(&bytes).map_err(|error| failed(error.into()))?;
        Ok((value, modified))
    }

    /// The numbers of all records, upwards.
    pub(crate) async fn numbers(&self) -> Result<Vec<u64>> {
        Ok(self.list().await?.into_keys().collect())
    }

    /// The records by number. What has another name is not ours.
    async fn list(&self) -> Result<BTreeMap<u64, ObjectMeta>> {
        let listed = self.files(&self.folder()).await?;
        let number = |path: &Path| path.filename()?.strip_suffix(".json")?.parse().ok();
        let records = listed
            .into_iter()
            .filter_map(|meta| Some((number(&meta.location)?, meta)));
        Ok(records.collect())
    }

    /// The files in a folder, without those below.
    async fn files(&self, folder: &Path) -> Result<Vec<ObjectMeta>> {
        let listed = self.store.list_with_delimiter(Some(folder)).await;
        let listed = listed.map_err(|error| self.failed("list", folder, error.into()))?;
        Ok(listed.objects)
    }

    fn folder(&self) -> Path {
        Path::from_iter([FOLDER, &self.environment])
    }

    fn path(&self, number: u64) -> Path {
        self.folder().join(format!("{number:020}.json"))
    }

    fn lineage_path(&self, LineageKey { since, digest }: &LineageKey) -> Path {
        self.folder()
            .join("lineage")
            .join(format!("{since:020}-{digest}.json"))
    }

    fn failed(&self, operation: &'static str, path: &Path, source: BoxError) -> Error {
        Error::RunRecord {
            environment: self.environment.clone(),
            operation,
            path: path.to_string(),
            source,
        }
    }
}

fn is_not_found(error: &Error) -> bool {
    let Error::RunRecord { source, .. } = error else {
        return false;
    };
    matches!(
        source.downcast_ref(),
        Some(object_store::Error::NotFound { .. })
    )
}
