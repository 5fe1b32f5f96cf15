//! The steps after the commit: what lies beside the table, its log, and the proof.

use std::collections::HashSet;
use std::path::PathBuf;
use std::pin::pin;

use deltalake::kernel::Action;
use deltalake::logstore::get_actions;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt as _};

use super::super::DeltaTable;
use super::statistics::{names_values, values_in_checkpoint};
use super::stored::Held;
use super::{Personal, Subject};
use crate::error::{Error, Result};

impl<E: Personal> DeltaTable<E> {
    /// Deletes every stored file that is not in the table and holds rows of the subject up to a
    /// version, and those of which nobody can tell. Gives how many.
    pub(super) async fn sweep(&self, subject: &Subject, version: u64) -> Result<u64> {
        let mut n_deleted = self.delete_half_written().await?;
        // Listed first: a file that is committed in between is then known to be in the table.
        let stored = self.objects(false).await?;
        let live = self.live().await?;
        let dead = stored
            .into_iter()
            .filter(|meta| !live.contains(&meta.location));
        let mut dead = pin!(self.held_in(dead.collect(), subject, version));
        while let Some((meta, held)) = dead.try_next().await? {
            if held != Held::Rows(0) && held != Held::Gone {
                self.delete(&meta.location).await?;
                n_deleted += 1;
            }
        }
        Ok(n_deleted)
    }

    /// Deletes the entries of the log that may tell values of columns of files which are not in the
    /// table any more, after a checkpoint that does not. Gives how many.
    ///
    /// This crate never writes any; other engines do, for the files that they compact.
    pub(super) async fn clear_log(&self) -> Result<u64> {
        if self.telling_entries(u64::MAX).await?.is_empty() {
            return Ok(0);
        }
        let version = self.checkpoint().await?;
        let mut n_deleted = 0;
        for meta in self.objects(true).await? {
            if version_in(&meta.location).is_some_and(|of| of < version) {
                self.delete(&meta.location).await?;
                n_deleted += 1;
            }
        }
        Ok(n_deleted)
    }

    /// Reads every file that is stored under the table, and gives how many they are.
    pub(super) async fn prove(&self, subject: &Subject, version: u64) -> Result<u64> {
        let mut n_proved = 0;
        let stored = self.objects(false).await?;
        let mut stored = pin!(self.held_in(stored, subject, version));
        while let Some((meta, held)) = stored.try_next().await? {
            match held {
                Held::Rows(0) => n_proved += 1,
                Held::Gone => {}
                Held::Rows(n) => {
                    return Err(self.not_erased(&meta.location, &format!("has {n} rows of it")));
                }
                Held::Unreadable => {
                    return Err(self.not_erased(&meta.location, "is no whole Parquet file"));
                }
            }
        }
        if let Some(entry) = self.telling_entries(version).await?.first() {
            return Err(self.not_erased(entry, "tells values of files that were deleted"));
        }
        Ok(n_proved + self.objects(true).await?.len() as u64)
    }

    // The entries of the log up to a version that tell values of files which are not in the table.
    async fn telling_entries(&self, up_to: u64) -> Result<Vec<Path>> {
        let store = self.inner.log.object_store(None);
        let entries = self.objects(true).await?;
        let live = self.live().await?;
        let mut telling = Vec::new();
        for meta in entries {
            let Some(version) = version_in(&meta.location).filter(|of| *of <= up_to) else {
                continue;
            };
            let failed = |source| Error::Store {
                path: meta.location.to_string(),
                source,
            };
            let bytes = match store.get(&meta.location).await {
                Ok(found) => found.bytes().await.map_err(failed)?,
                Err(object_store::Error::NotFound { .. }) => continue,
                Err(source) => return Err(failed(source)),
            };
            let tells = match meta.location.extension() {
                Some("json") => get_actions(version, &bytes)
                    .map_err(|source| self.log_failed("load", source))?
                    .into_iter()
                    .any(|action| match action {
                        Action::Add(add) => {
                            !live.contains(&Path::from(add.path.as_str()))
                                && add.stats.as_deref().is_some_and(names_values)
                        }
                        _ => false,
                    }),
                Some("parquet") => values_in_checkpoint(meta.location.as_ref(), bytes, &live)?,
                _ => false,
            };
            if tells {
                telling.push(meta.location);
            }
        }
        Ok(telling)
    }

    async fn live(&self) -> Result<HashSet<Path>> {
        let state = self.refresh().await?;
        let files = self.files_of(&state).await?;
        Ok(files.into_iter().map(|file| file.path).collect())
    }

    // What is stored under the table: the log, or every Parquet file beside it.
    async fn objects(&self, of_log: bool) -> Result<Vec<ObjectMeta>> {
        let store = self.inner.log.object_store(None);
        let log = self.inner.log.log_path();
        let listed = store.list(of_log.then_some(log));
        let listed: Result<Vec<_>, _> = listed.try_collect().await;
        let mut objects = listed.map_err(|source| Error::Store {
            path: self.inner.name.clone(),
            source,
        })?;
        objects.retain(|meta| {
            let is_data = meta.location.extension() == Some("parquet");
            let is_of_log = meta.location.prefix_matches(log);
            is_of_log == of_log && (is_of_log || is_data)
        });
        objects.sort_by(|a, b| a.location.cmp(&b.location));
        Ok(objects)
    }

    // A local store writes a file under another name first, `….parquet#1`, which it never lists. A
    // crash leaves it there, whole or in part.
    async fn delete_half_written(&self) -> Result<u64> {
        let Some(local) = &self.inner.local else {
            return Ok(0);
        };
        let folder = local.root().to_owned();
        tokio::task::spawn_blocking(move || delete_half_written(folder))
            .await
            .map_err(|_| Error::TaskEnded { of: "DeltaTable" })?
    }
}

// The version that a file of the log is of: `00000000000000000007.json`.
fn version_in(path: &Path) -> Option<u64> {
    path.filename()?.get(..20)?.parse().ok()
}

fn delete_half_written(folder: PathBuf) -> Result<u64> {
    let mut folders = vec![folder];
    let mut n_deleted = 0;
    while let Some(folder) = folders.pop() {
        let failed = |source| Error::Read {
            path: folder.display().to_string(),
            source,
        };
        for entry in std::fs::read_dir(&folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if entry.file_type().map_err(failed)?.is_dir() {
                if name != "_delta_log" {
                    folders.push(entry.path());
                }
            } else if is_half_written(&name) {
                match std::fs::remove_file(entry.path()) {
                    Ok(()) => n_deleted += 1,
                    // Its writer was done with it.
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                    Err(error) => return Err(failed(error)),
                }
            }
        }
    }
    Ok(n_deleted)
}

fn is_half_written(name: &str) -> bool {
    name.rsplit_once('#').is_some_and(|(_, digits)| {
        !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
    })
}
