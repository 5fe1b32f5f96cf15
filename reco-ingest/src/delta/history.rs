//! When the versions of a table were committed.

use std::collections::BTreeMap;

use futures::TryStreamExt;
use reco_core::{Record, Timestamp};

use super::DeltaTable;
use crate::error::{Error, Result};

impl<E: Record> DeltaTable<E> {
    /// When each version was committed whose entry of the log is still there, by the store's clock.
    ///
    /// Times ascend with versions, even where clocks went back.
    pub(super) async fn commit_times(&self) -> Result<BTreeMap<u64, Timestamp>> {
        let log = &self.inner.log;
        let store = log.object_store(None);
        let failed = |source| Error::Store {
            path: self.inner.name.clone(),
            source,
        };
        let mut times = BTreeMap::new();
        let mut entries = store.list(Some(log.log_path()));
        while let Some(meta) = entries.try_next().await.map_err(failed)? {
            let entry = meta
                .location
                .filename()
                .and_then(|name| name.strip_suffix(".json"));
            let Some(version) = entry.filter(|name| name.len() == 20) else {
                continue;
            };
            let Ok(version) = version.parse() else {
                continue;
            };
            let time = Timestamp::from_microsecond(meta.last_modified.timestamp_micros());
            times.insert(version, time.unwrap_or(Timestamp::MIN));
        }
        let mut last = Timestamp::MIN;
        for time in times.values_mut() {
            last = last.max(*time);
            *time = last;
        }
        Ok(times)
    }
}
