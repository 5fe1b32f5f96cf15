//! Importing the files of a folder, each once.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use reco_core::{Event, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::sync::oneshot;

use super::ledger::{Known, Ledger, LedgerEntry};
use super::reading::Reading;
use super::rows::read_error;
use super::target::{Columns, Table};
use super::{Import, ImportReport, Progress, invalid};
use crate::delta::DeltaTable;
use crate::error::{Error, Result};
use crate::hex::hex;
use crate::privacy::Redaction;
use crate::sink::{DeadLetter, EventSinkExt as _};

// What else the batches of an import depend on: raise it when they are cut in another way.
const BATCHES_VERSION: u32 = 2;
// So much is read while the digest of a file is computed; columns of usual rows take some 250 bytes a row.
const BATCHES_AHEAD: usize = 3;

/// Where the files of a folder land.
#[derive(Debug, Clone)]
pub struct Landing {
    /// The table of the events.
    pub events: DeltaTable<Event>,
    /// The table of what cannot be read.
    pub dead_letters: DeltaTable<DeadLetter>,
    /// Which files were imported into them.
    pub ledger: Ledger,
    /// What is taken out before anything is written; none for nothing.
    pub redaction: Option<Redaction>,
}

/// How far the import of a folder is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FolderProgress<'a> {
    /// The file that is being imported, within the folder.
    pub path: &'a str,
    /// How many files are done.
    pub files: usize,
    /// How many files there are.
    pub files_total: usize,
    /// How far the file is.
    pub file: Progress,
}

/// What the import of a folder did.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FolderReport {
    /// Each file, by its path.
    pub files: Vec<FileReport>,
}

/// What became of a file of a folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileReport {
    /// The file, within the folder.
    pub path: String,
    /// Its bytes, as it is stored.
    pub size: u64,
    /// The digest of its bytes as it is stored, in hex.
    pub sha256: String,
    /// What became of it.
    pub outcome: FileOutcome,
}

/// What became of a file of a folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileOutcome {
    /// It was imported.
    Imported {
        /// What the import did.
        report: ImportReport,
        /// The digest of other content that was imported under this path before: the file was changed.
        changed_from: Option<String>,
        /// How many batches an import of it that did not end had written already.
        n_passed_over: usize,
    },
    /// Its content was imported before.
    AlreadyThere {
        /// Under which path.
        path: String,
    },
}

impl FolderReport {
    /// How many events of the files that were imported now.
    #[must_use]
    pub fn n_events(&self) -> u64 {
        let reports = self.files.iter().filter_map(|file| match &file.outcome {
            FileOutcome::Imported { report, .. } => Some(report.events),
            FileOutcome::AlreadyThere { .. } => None,
        });
        reports.sum()
    }
}

impl Import {
    /// Imports the files of a folder and the folders in it, in the order of their paths, each once.
    /// `progress` is called after every batch.
    ///
    /// A file whose content the [ledger](Ledger) knows is passed over. One that is new, or changed since
    /// it was imported, is imported whole: the ids of its events follow from its content, so they are
    /// not those of the former one. Files whose names begin with `.` or `_` are left out.
    ///
    /// After a crash, import the folder again with the same settings: it goes on where it was, and nothing
    /// is in a table twice. Put files into the folder under their names once they are whole.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run), of the first file that fails; those before it are imported.
    /// [`Error::InvalidConfig`] if the import has a [source](Self::source), which files must not share,
    /// [`Error::BegunOtherwise`] if a file was begun with other settings and did not end,
    /// [`Error::Changed`] if a file is changed while it is imported.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, import the folder again, as after a crash.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use reco_core::Timestamp;
    /// use reco_ingest::import::{Import, Landing, Ledger};
    /// use reco_ingest::DeltaTable;
    ///
    /// let (folder, tables) = (tempfile::tempdir()?, tempfile::tempdir()?);
    /// let row = "SessionId\tItemId\tTime\n1\that\t1714564800\n";
    /// std::fs::write(folder.path().join("monday.tsv"), row)?;
    ///
    /// let landing = Landing {
    ///     events: DeltaTable::open_local(tables.path().join("events")).await?,
    ///     dead_letters: DeltaTable::open_local(tables.path().join("dead_letters")).await?,
    ///     ledger: Ledger::new(DeltaTable::open_local(tables.path().join("ledger")).await?),
    ///     redaction: None,
    /// };
    /// let now: Timestamp = "2024-06-01T00:00Z".parse()?;
    /// let report = Import::tsv().run_folder(folder.path(), now, &landing, |_| {}).await?;
    /// assert_eq!((report.files.len(), report.n_events()), (1, 1));
    ///
    /// let again = Import::tsv().run_folder(folder.path(), now, &landing, |_| {}).await?;
    /// assert_eq!((again.files.len(), again.n_events()), (1, 0));
    /// # Ok(())
    /// # }
    /// ```
    #[tracing::instrument(level = "info", skip_all, fields(folder = %folder.as_ref().display()))]
    pub async fn run_folder(
        &self,
        folder: impl AsRef<Path>,
        imported_at: Timestamp,
        landing: &Landing,
        mut progress: impl FnMut(FolderProgress<'_>) + Send,
    ) -> Result<FolderReport> {
        if self.source.is_some() {
            return Err(invalid("`source` is one name, which the files would share"));
        }
        let settings = self.digest()?;
        landing.ledger.refresh().await?;
        let folder = folder.as_ref().to_owned();
        let root = folder.clone();
        let files = blocking(move || files_of(&root)).await?;
        let files_total = files.len();
        let mut report = FolderReport::default();
        for (path, at) in files {
            let each = |file| {
                progress(FolderProgress {
                    path: &path,
                    files: report.files.len(),
                    files_total,
                    file,
                });
            };
            let file = OneFile {
                path: &path,
                at: &at,
                settings: &settings,
                imported_at,
            };
            let done = self.run_once(file, landing, each).await?;
            report.files.push(done);
        }
        Ok(report)
    }

    async fn run_once(
        &self,
        file: OneFile<'_>,
        landing: &Landing,
        progress: impl FnMut(Progress) + Send,
    ) -> Result<FileReport> {
        let OneFile {
            path,
            at,
            settings,
            imported_at,
        } = file;
        let stamp = stamp(at).await?;
        let begin = || {
            let (tell, identity) = oneshot::channel();
            let columns = Columns::new(landing.redaction.as_ref());
            let reading = self.begin(at, Some(identity), imported_at, columns, BATCHES_AHEAD)?;
            Ok::<_, Error>((tell, reading))
        };
        // Of a size that no other has, it is new: it is read while its digest is computed.
        let begun = match landing.ledger.has_size(stamp.0).await {
            true => None,
            false => Some(begin()?),
        };
        let stored = stored(at, stamp).await?;
        let outcome = |outcome| FileReport {
            path: path.to_owned(),
            size: stored.size,
            sha256: stored.sha256.clone(),
            outcome,
        };
        let Known { content, other } = landing.ledger.look_up(path, &stored.sha256).await;
        let is_begun = content.is_some();
        if let Some(entry) = content {
            if entry.report.is_some() {
                let path = entry.path;
                return Ok(outcome(FileOutcome::AlreadyThere { path }));
            }
            // Batches that are cut in another way would be taken for others under their numbers.
            if entry.settings != settings {
                return Err(Error::BegunOtherwise { path: shown(at) });
            }
        }
        let entry = |report| LedgerEntry {
            recorded_at: imported_at,
            path: path.to_owned(),
            size: stored.size,
            sha256: stored.sha256.clone(),
            settings: settings.to_owned(),
            report,
        };
        if !is_begun {
            landing.ledger.record(entry(None)).await?;
        }
        if let Some(before) = &other {
            tracing::info!(
                path,
                before,
                now = stored.sha256,
                "a file that was imported has changed"
            );
        }
        let (tell, reading) = match begun {
            Some(begun) => begun,
            None => begin()?,
        };
        // Who does not ask for it makes no ids.
        drop(tell.send(stored.sha256.clone()));
        let (report, n_passed_over) = land(reading, &stored.sha256, landing, progress).await?;
        if stored.stamp != self::stamp(at).await? {
            return Err(Error::Changed { path: shown(at) });
        }
        landing.ledger.record(entry(Some(report))).await?;
        Ok(outcome(FileOutcome::Imported {
            report,
            changed_from: other,
            n_passed_over,
        }))
    }

    fn digest(&self) -> Result<String> {
        let settings = serde_json::to_vec(&(BATCHES_VERSION, self))
            .map_err(|error| invalid(&format!("it cannot be written down: {error}")))?;
        Ok(hex(Sha256::digest(settings).as_slice()))
    }
}

// The batches are numbered under the name of the content: those that are there are passed over.
async fn land(
    reading: Reading<Columns<Event>>,
    sha256: &str,
    landing: &Landing,
    progress: impl FnMut(Progress) + Send,
) -> Result<(ImportReport, usize)> {
    let writer = format!("import sha256:{sha256}");
    let events = landing.events.clone().numbered(writer.as_str());
    let letters = landing.dead_letters.clone().numbered(writer.as_str());
    let redaction = landing.redaction.as_ref();
    let target = Table {
        table: &events,
        redaction,
    };
    let report = match redaction.cloned() {
        Some(rules) => {
            let letters = letters.redacted(rules);
            reading.land(target, &letters, progress).await?
        }
        None => reading.land(target, &letters, progress).await?,
    };
    Ok((report, events.n_passed_over()))
}

struct OneFile<'a> {
    path: &'a str,
    at: &'a Path,
    settings: &'a str,
    imported_at: Timestamp,
}

/// A file as it is stored.
#[derive(Debug)]
struct Stored {
    size: u64,
    sha256: String,
    stamp: Stamp,
}

/// What is changed when a file is.
type Stamp = (u64, Option<SystemTime>);

async fn stamp(at: &Path) -> Result<Stamp> {
    let metadata = tokio::fs::metadata(at).await;
    let metadata = metadata.map_err(|error| read_error(at, error))?;
    Ok((metadata.len(), metadata.modified().ok()))
}

async fn stored(at: &Path, stamp: Stamp) -> Result<Stored> {
    let path = at.to_owned();
    let (size, sha256) =
        blocking(move || digest_of(&path).map_err(|error| read_error(&path, error))).await?;
    Ok(Stored {
        size,
        sha256,
        stamp,
    })
}

fn digest_of(path: &Path) -> io::Result<(u64, String)> {
    let mut file = File::open(path)?;
    let mut digest = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    let mut size = 0;
    loop {
        let n = file.read(&mut buffer)?;
        if n == 0 {
            return Ok((size, hex(digest.finalize().as_slice())));
        }
        digest.update(&buffer[..n]);
        size += n as u64;
    }
}

// The files of a folder and of those in it, by their paths within it.
fn files_of(folder: &Path) -> Result<Vec<(String, PathBuf)>> {
    let mut files = Vec::new();
    let mut folders = vec![(String::new(), folder.to_owned())];
    while let Some((prefix, folder)) = folders.pop() {
        let failed = |error| read_error(&folder, error);
        for entry in fs::read_dir(&folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with(['.', '_']) {
                continue;
            }
            let path = format!("{prefix}{name}");
            // A link to a folder may lead round in a circle, so it is not followed.
            if entry.file_type().map_err(failed)?.is_dir() {
                folders.push((format!("{path}/"), entry.path()));
            } else if fs::metadata(entry.path()).map_err(failed)?.is_file() {
                files.push((path, entry.path()));
            }
        }
    }
    files.sort();
    Ok(files)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| Error::TaskEnded { of: "import" })?
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
