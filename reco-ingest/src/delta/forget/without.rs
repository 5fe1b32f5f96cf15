//! The first step: the table without a person's rows.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::pin::pin;

use arrow::array::BooleanArray;
use deltalake::kernel::transaction::CommitData;
use deltalake::kernel::{Action, MetadataExt as _};
use deltalake::protocol::DeltaOperation;
use deltalake::table::state::DeltaTableState;
use futures::TryStreamExt;
use object_store::path::Path;
use reco_core::Timestamp;
use tracing::debug;

use super::super::commit::MAX_ATTEMPTS;
use super::super::files::DataFile;
use super::super::rewrite::Rewritten;
use super::super::{DeltaTable, check};
use super::stored::{Held, is_about};
use super::{Personal, Subject};
use crate::error::{Error, Result};

// About how large a file is that is written in the place of another one.
const TARGET_SIZE: usize = 128 << 20;
const APPEND_ONLY: &str = "delta.appendOnly";
// Says that `delta.appendOnly` was lifted by an erasure, which may have been cut short.
const LIFTED: &str = "reco.appendOnlyLifted";

/// What was taken out of the table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Without {
    /// The version up to which the table has no row of the subject.
    pub(super) version: u64,
    pub(super) n_rows: u64,
    pub(super) n_files: u64,
}

/// The files of the table that were looked at so far.
#[derive(Debug, Default)]
struct Searched {
    paths: HashSet<Path>,
    /// Those that hold rows of the subject, and what they become.
    rewritten: HashMap<Path, (DataFile, Rewritten)>,
}

impl<E: Personal> DeltaTable<E> {
    /// Commits the table without the rows of a subject, unless there are none.
    pub(super) async fn commit_without(
        &self,
        subject: &Subject,
        now: Timestamp,
    ) -> Result<Without> {
        let mut searched = Searched::default();
        let done = self.commit_searched(&mut searched, subject, now).await;
        // After an error nobody knows whether the commit landed; if it did not, the new files stay
        // behind for a vacuum, without a row of the subject.
        if let Ok((_, committed)) = &done {
            for (path, (_, rewritten)) in &searched.rewritten {
                if !committed.contains(path) {
                    self.delete_files(&rewritten.adds).await;
                }
            }
        }
        let (version, committed) = done?;
        let taken = searched.rewritten.iter();
        let taken = taken.filter(|(path, _)| committed.contains(*path));
        Ok(Without {
            version,
            n_rows: taken.map(|(_, (_, rewritten))| rewritten.n_dropped).sum(),
            n_files: committed.len() as u64,
        })
    }

    // The version, and the files that were replaced in it.
    async fn commit_searched(
        &self,
        searched: &mut Searched,
        subject: &Subject,
        now: Timestamp,
    ) -> Result<(u64, HashSet<Path>)> {
        // Most of the work, while writers go on.
        let state = self.refresh().await?;
        self.search(&state, searched, subject).await?;
        let _turn = self.inner.turn.lock().await;
        for attempt in 1..=MAX_ATTEMPTS {
            let state = self.refresh().await?;
            check::<E>(&self.inner.name, &state)?;
            // Files that were committed or compacted since.
            let live = self.search(&state, searched, subject).await?;
            let replaced: Vec<_> = live
                .iter()
                .filter_map(|path| searched.rewritten.get(path))
                .collect();
            if replaced.is_empty() {
                return Ok((state.version(), HashSet::new()));
            }
            let version = state.version() + 1;
            let commit = self.replacement(&state, &replaced, now)?;
            if self.write_entry(version, &commit).await? {
                debug!(table = %self.inner.name, version, attempt, n_files = replaced.len(), "committed without the subject");
                let paths = replaced.iter().map(|(file, _)| file.path.clone());
                return Ok((version, paths.collect()));
            }
        }
        Err(Error::Contended {
            table: self.inner.name.clone(),
            attempts: MAX_ATTEMPTS,
        })
    }

    // Looks at the files of a state that were not looked at yet, and rewrites those that hold rows of
    // the subject. Gives all files of the state.
    async fn search(
        &self,
        state: &DeltaTableState,
        searched: &mut Searched,
        subject: &Subject,
    ) -> Result<Vec<Path>> {
        let live: BTreeMap<Path, DataFile> = self
            .files_of(state)
            .await?
            .into_iter()
            .map(|file| (file.path.clone(), file))
            .collect();
        let new = live
            .values()
            .filter(|file| !searched.paths.contains(&file.path));
        let new = new.map(DataFile::meta).collect();
        let mut new = pin!(self.held_in(new, subject, u64::MAX));
        while let Some((meta, held)) = new.try_next().await? {
            let path = meta.location;
            match held {
                Held::Rows(0) => {}
                Held::Rows(_) => {
                    if let Some(file) = live.get(&path) {
                        let rewritten = self.rewrite_without(file.clone(), subject).await?;
                        let rewritten = (file.clone(), rewritten);
                        searched.rewritten.insert(path.clone(), rewritten);
                    }
                }
                Held::Unreadable => return Err(self.not_erased(&path, "is no whole Parquet file")),
                Held::Gone => {
                    return Err(self.not_erased(&path, "is part of the table and not there"));
                }
            }
            searched.paths.insert(path);
        }
        Ok(live.into_keys().collect())
    }

    async fn rewrite_without(&self, file: DataFile, subject: &Subject) -> Result<Rewritten> {
        let Some(date) = file.date else {
            return Err(self.not_erased(&file.path, "has no date, so it cannot be rewritten"));
        };
        self.rewrite(vec![file], date, TARGET_SIZE, |batch| {
            let about = is_about::<E>(batch, subject)?;
            let others = about.iter().map(|about| Some(about != Some(true)));
            Ok(Some(others.collect::<BooleanArray>()))
        })
        .await
    }

    fn replacement(
        &self,
        state: &DeltaTableState,
        replaced: &[&(DataFile, Rewritten)],
        now: Timestamp,
    ) -> Result<CommitData> {
        let mut actions = Vec::new();
        if state.table_config().append_only == Some(true) {
            let lifted = state
                .metadata()
                .clone()
                .add_config_key(APPEND_ONLY.to_owned(), "false".to_owned())
                .and_then(|metadata| metadata.add_config_key(LIFTED.to_owned(), "true".to_owned()));
            let lifted = lifted.map_err(|error| self.log_failed("commit", error.into()))?;
            actions.push(Action::Metadata(lifted));
        }
        for (file, rewritten) in replaced {
            actions.push(Action::Remove(file.remove(now, true)));
            actions.extend(rewritten.adds.iter().cloned().map(Action::Add));
        }
        Ok(CommitData::new(
            actions,
            DeltaOperation::Delete { predicate: None },
            HashMap::new(),
            Vec::new(),
        ))
    }

    /// Sets `delta.appendOnly` again if an erasure lifted it, this one or one that was cut short.
    pub(super) async fn set_append_only_again(&self) -> Result<()> {
        let _turn = self.inner.turn.lock().await;
        for _ in 0..MAX_ATTEMPTS {
            let state = self.refresh().await?;
            if !state.metadata().configuration().contains_key(LIFTED) {
                return Ok(());
            }
            let metadata = state
                .metadata()
                .clone()
                .add_config_key(APPEND_ONLY.to_owned(), "true".to_owned())
                .and_then(|metadata| metadata.remove_config_key(LIFTED));
            let metadata = metadata.map_err(|error| self.log_failed("commit", error.into()))?;
            let commit = CommitData::new(
                vec![Action::Metadata(metadata)],
                DeltaOperation::SetTableProperties {
                    properties: [(APPEND_ONLY.to_owned(), "true".to_owned())].into(),
                },
                HashMap::new(),
                Vec::new(),
            );
            self.write_entry(state.version() + 1, &commit).await?;
        }
        Err(Error::Contended {
            table: self.inner.name.clone(),
            attempts: MAX_ATTEMPTS,
        })
    }

    pub(super) fn not_erased(&self, path: &Path, reason: &str) -> Error {
        Error::NotErased {
            table: self.inner.name.clone(),
            path: path.to_string(),
            reason: reason.to_owned(),
        }
    }
}
