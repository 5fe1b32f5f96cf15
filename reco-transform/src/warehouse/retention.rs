//! [`Retention`]: what is kept of what nobody is shown any more.
//!
//! A state of an environment names versions of tables. Whatever no kept state names, and no run may still
//! be at work on, can go: whole tables of definitions that nobody uses, files that only old versions have, and
//! rows that a run left for executors when it was killed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt};
use reco_core::Timestamp;
use serde::{Deserialize, Serialize};

use super::environment::{self, Environment};
use super::{Warehouse, builds};
use crate::error::{Error, Result};

/// Where rows wait for the executors of a cluster; what is old there was left by a run that was killed.
pub(crate) const STAGING: &str = "_staging";

/// What [`Warehouse::vacuum`] keeps. The newest state of each environment is kept in any case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    /// How many states of an environment are kept, however old. Default 10.
    pub n_states: usize,
    /// States and files that are not older than this are kept. No run may take longer, or it could lose
    /// what it writes. Default 7 days, as in Delta Lake.
    pub keep_for: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            n_states: 10,
            keep_for: Duration::from_hours(7 * 24),
        }
    }
}

/// What a vacuum removed, or would remove.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Vacuumed {
    /// States of environments.
    pub n_states: usize,
    /// Tables of definitions that no state names.
    pub n_tables: usize,
    /// Files, of these tables and of others.
    pub n_files: usize,
    /// How large these files were, together.
    pub n_bytes: u64,
}

/// What is to be removed, in the order in which it is.
#[derive(Debug, Default)]
struct Waste {
    states: Vec<(Environment, u64)>,
    notes: Vec<Path>,
    files: Vec<ObjectMeta>,
    n_tables: usize,
}

/// Versions of tables by their locations.
type Versions = BTreeMap<String, BTreeSet<u64>>;

impl Warehouse {
    /// Removes what is not kept, of all environments: old states, and the tables and files that only they
    /// name. `now` is the time by the clock of the store.
    ///
    /// Readers that hold a state that is removed lose its files.
    ///
    /// # Errors
    ///
    /// [`Error::Environment`], [`Error::Table`] or [`Error::Vacuum`] if the store fails. What was removed by
    /// then was not needed; the next call removes the rest.
    pub async fn vacuum(&self, retention: &Retention, now: Timestamp) -> Result<Vacuumed> {
        let waste = self.waste(retention, now).await?;
        let vacuumed = waste.measure();
        // What names files goes before the files.
        for (environment, number) in &waste.states {
            environment.remove(*number).await?;
        }
        let files = waste.files.into_iter().map(|file| file.location);
        for path in waste.notes.into_iter().chain(files) {
            match self.files.delete(&path).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(vacuumed)
    }

    /// What [`vacuum`](Self::vacuum) would remove.
    ///
    /// # Errors
    ///
    /// As [`vacuum`](Self::vacuum).
    pub async fn vacuum_dry_run(&self, retention: &Retention, now: Timestamp) -> Result<Vacuumed> {
        Ok(self.waste(retention, now).await?.measure())
    }

    async fn waste(&self, retention: &Retention, now: Timestamp) -> Result<Waste> {
        let oldest = now
            .checked_sub(retention.keep_for)
            .unwrap_or(Timestamp::MIN);
        let mut waste = Waste::default();
        let mut kept = Versions::new();
        for name in environment::names(&*self.files).await? {
            let environment = Environment::new(Arc::clone(&self.files), &name)?;
            for (age, number) in environment.numbers().await?.into_iter().rev().enumerate() {
                let state = environment.read(number).await?;
                if age > 0 && age >= retention.n_states && state.published_at < oldest {
                    waste.states.push((environment.clone(), number));
                    continue;
                }
                for table in state.contents.tables.into_values() {
                    kept.entry(table.location)
                        .or_default()
                        .insert(table.version);
                }
            }
        }
        self.notes(oldest, &mut kept, &mut waste).await?;
        let staged = self.files.list(Some(&Path::from(STAGING)));
        let staged: Vec<ObjectMeta> = staged.try_collect().await.map_err(failed)?;
        let is_old = |file: &ObjectMeta| modified(file) < oldest;
        waste.files.extend(staged.into_iter().filter(is_old));
        for (location, files) in self.locations().await? {
            let is_old = |file: &ObjectMeta| modified(file) < oldest;
            match kept.get(&location) {
                Some(versions) => {
                    let named = self.files_of(&location, versions).await?;
                    let is_waste = |file: &ObjectMeta| {
                        is_old(file) && !is_log(file) && !named.contains(&file.location)
                    };
                    waste.files.extend(files.into_iter().filter(is_waste));
                }
                None if files.iter().all(is_old) => {
                    waste.n_tables += 1;
                    waste.files.extend(files);
                }
                None => {}
            }
        }
        Ok(waste)
    }

    /// Keeps what young notes of builds name, and finds the old ones whose rows go.
    async fn notes(&self, oldest: Timestamp, kept: &mut Versions, waste: &mut Waste) -> Result<()> {
        let mut old = Vec::new();
        let mut notes = self.files.list(Some(&Path::from(builds::FOLDER)));
        while let Some(meta) = notes.try_next().await.map_err(failed)? {
            let Some(build) = self.note_at(&meta.location).await? else {
                continue;
            };
            if modified(&meta) < oldest {
                old.push((meta.location, build));
            } else {
                kept.entry(build.location)
                    .or_default()
                    .insert(build.version);
            }
        }
        let goes = |(_, build): &(Path, super::PublishedTable)| {
            kept.get(&build.location)
                .is_none_or(|versions| !versions.contains(&build.version))
        };
        old.retain(goes);
        waste.notes.extend(old.into_iter().map(|(path, _)| path));
        Ok(())
    }

    /// All files of tables, by the folder of their Delta table.
    async fn locations(&self) -> Result<BTreeMap<String, Vec<ObjectMeta>>> {
        let mut locations: BTreeMap<String, Vec<ObjectMeta>> = BTreeMap::new();
        let mut files = self.files.list(None);
        while let Some(file) = files.next().await {
            let file = file.map_err(failed)?;
            let mut parts = file.location.parts();
            let (Some(table), Some(definition)) = (parts.next(), parts.next()) else {
                continue;
            };
            let (table, definition) = (table.as_ref().to_owned(), definition.as_ref().to_owned());
            // What begins with `_` is not a table.
            if parts.next().is_some() && !table.starts_with('_') {
                locations
                    .entry(format!("{table}/{definition}"))
                    .or_default()
                    .push(file);
            }
        }
        Ok(locations)
    }

    /// The files that some versions of a table have.
    async fn files_of(&self, location: &str, versions: &BTreeSet<u64>) -> Result<BTreeSet<Path>> {
        let mut named = BTreeSet::new();
        for version in versions {
            let table = self.open(location, location, Some(*version)).await?;
            let state = table.snapshot().map_err(|error| Error::Table {
                table: location.to_owned(),
                operation: "open",
                source: error.into(),
            })?;
            let folder = Path::from(location);
            for file in state.log_data().iter() {
                let parts = file.object_store_path();
                named.insert(folder.parts().chain(parts.parts()).collect());
            }
        }
        Ok(named)
    }
}

impl Waste {
    fn measure(&self) -> Vacuumed {
        Vacuumed {
            n_states: self.states.len(),
            n_tables: self.n_tables,
            n_files: self.files.len(),
            n_bytes: self.files.iter().map(|file| file.size).sum(),
        }
    }
}

fn is_log(file: &ObjectMeta) -> bool {
    file.location
        .parts()
        .any(|part| part.as_ref() == "_delta_log")
}

fn modified(file: &ObjectMeta) -> Timestamp {
    let micros = file.last_modified.timestamp_micros();
    Timestamp::from_microsecond(micros).unwrap_or(Timestamp::MAX)
}

fn failed(source: object_store::Error) -> Error {
    Error::Vacuum {
        source: source.into(),
    }
}
