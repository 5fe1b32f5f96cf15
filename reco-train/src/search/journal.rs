//! [`Journal`]: what happened in a study, line by line, on disk before anything is made of it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::outcome::{Outcome, TrialRecord};
use super::params::{Params, exact};
use super::space::Space;
use super::study::StudyConfig;
use crate::error::{Error, Result};

/// The version of the format that this build writes and reads.
const FORMAT: u32 = 1;

/// How often a trial is begun before it is given up: what ends the process each time would do so for ever.
const MAX_STARTS: usize = 3;

/// A file of JSON Lines that only grows. The first line says what study it is of; each line is synced to
/// disk before the study goes on.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
}

/// A line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Entry {
    /// A trial begins; again, if the process ended while it ran: then what it reported before is void.
    Started { trial: u64, params: Params },
    Reported {
        trial: u64,
        step: u32,
        #[serde(with = "exact")]
        value: f64,
    },
    Ended {
        trial: u64,
        #[serde(with = "exact")]
        seconds: f64,
        outcome: Outcome,
    },
}

/// The first line: whatever differs between two studies whose trials must not be mixed.
#[derive(Debug, Serialize)]
pub(super) struct Head<'a> {
    format_version: u32,
    space: &'a Space,
    config: &'a StudyConfig,
    objective: &'a Value,
}

#[derive(Debug, Serialize)]
struct FirstLine<'a> {
    study: &'a Head<'a>,
}

impl<'a> Head<'a> {
    pub(super) const fn new(
        space: &'a Space,
        config: &'a StudyConfig,
        objective: &'a Value,
    ) -> Self {
        Self {
            format_version: FORMAT,
            space,
            config,
            objective,
        }
    }
}

impl Journal {
    /// Opens a journal or begins one, and gives the trials that it tells of.
    ///
    /// A last line that was torn when the process ended is cut off.
    pub(super) fn open(path: &Path, head: &Head<'_>) -> Result<(Self, Vec<TrialRecord>)> {
        let io = |operation| move |source| failed(path, operation, source);
        let is_new = !path.exists();
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(path)
            .map_err(io("open"))?;
        file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => invalid(path, "another process is writing it".to_owned()),
            TryLockError::Error(source) => failed(path, "lock", source),
        })?;
        let mut journal = Self {
            path: path.to_owned(),
            file,
        };
        let mut bytes = Vec::new();
        journal.file.read_to_end(&mut bytes).map_err(io("read"))?;
        let whole = bytes
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        if whole < bytes.len() {
            tracing::warn!(path = %path.display(), "the last line of the journal was torn and is cut off");
            // What is written goes to the end, wherever that is.
            journal.file.set_len(whole as u64).map_err(io("cut"))?;
            bytes.truncate(whole);
        }
        let first = serde_json::to_string(&FirstLine { study: head })?;
        if bytes.is_empty() {
            journal.write_line(first)?;
            if is_new {
                journal.sync_folder()?;
            }
            return Ok((journal, Vec::new()));
        }
        let text = String::from_utf8(bytes)
            .map_err(|_| invalid(path, "it is not text in UTF-8".to_owned()))?;
        let mut lines = text.lines();
        same_study(path, &first, lines.next().unwrap_or_default())?;
        let mut trials = Trials::default();
        for (number, line) in (2..).zip(lines) {
            let entry = serde_json::from_str(line).map_err(|error| error.to_string());
            entry
                .and_then(|entry| trials.take(entry))
                .map_err(|reason| invalid(path, format!("line {number}: {reason}")))?;
        }
        for (trial, n_starts) in trials.records.iter_mut().zip(trials.n_starts) {
            if trial.outcome.is_none() && n_starts >= MAX_STARTS {
                let outcome = Outcome::Failed {
                    reason: format!("the process ended {n_starts} times while it ran"),
                };
                journal.append(&Entry::Ended {
                    trial: trial.number,
                    seconds: 0.0,
                    outcome: outcome.clone(),
                })?;
                trial.outcome = Some(outcome);
            }
        }
        Ok((journal, trials.records))
    }

    /// Adds a line, and returns when it is on disk.
    pub(super) fn append(&mut self, entry: &Entry) -> Result<()> {
        self.write_line(serde_json::to_string(entry)?)
    }

    fn write_line(&mut self, mut line: String) -> Result<()> {
        line.push('\n');
        // One write, so that what is torn is the end of one line.
        self.file
            .write_all(line.as_bytes())
            .map_err(|source| failed(&self.path, "write", source))?;
        self.file
            .sync_data()
            .map_err(|source| failed(&self.path, "sync", source))
    }

    /// The name of a new file is in its folder, which is to be on disk too.
    fn sync_folder(&self) -> Result<()> {
        let folder = match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        // Where folders cannot be opened as files there is nothing to sync.
        if cfg!(unix) {
            File::open(folder)
                .and_then(|folder| folder.sync_all())
                .map_err(|source| failed(&self.path, "sync", source))?;
        }
        Ok(())
    }
}

/// A process that another thread is starting holds the file too, until it is another program; the lock must
/// not wait for that.
impl Drop for Journal {
    fn drop(&mut self) {
        if let Err(error) = self.file.unlock() {
            tracing::warn!(%error, path = %self.path.display(), "a journal stays locked");
        }
    }
}

/// The trials that entries tell of.
#[derive(Debug, Default)]
struct Trials {
    records: Vec<TrialRecord>,
    n_starts: Vec<usize>,
}

impl Trials {
    fn take(&mut self, entry: Entry) -> Result<(), String> {
        match entry {
            Entry::Started { trial, params } if trial == self.records.len() as u64 => {
                self.n_starts.push(1);
                self.records.push(TrialRecord {
                    number: trial,
                    params,
                    reports: Vec::new(),
                    outcome: None,
                    seconds: 0.0,
                });
            }
            Entry::Started { trial, params } => {
                let record = self.running(trial)?;
                if record.params != params {
                    return Err(format!("trial {trial} began before with other values"));
                }
                record.reports.clear();
                let nth = usize::try_from(trial).unwrap_or(usize::MAX);
                self.n_starts[nth] += 1;
            }
            Entry::Reported { trial, step, value } => {
                self.running(trial)?.reports.push((step, value));
            }
            Entry::Ended {
                trial,
                seconds,
                outcome,
            } => {
                let record = self.running(trial)?;
                record.outcome = Some(outcome);
                record.seconds = seconds;
            }
        }
        Ok(())
    }

    fn running(&mut self, trial: u64) -> Result<&mut TrialRecord, String> {
        let found = usize::try_from(trial)
            .ok()
            .and_then(|trial| self.records.get_mut(trial));
        match found {
            Some(record) if record.outcome.is_none() => Ok(record),
            Some(_) => Err(format!("trial {trial} had ended")),
            None => Err(format!("trial {trial} has not begun")),
        }
    }
}

/// An error that says in what two studies differ, if they do.
fn same_study(path: &Path, expected: &str, found: &str) -> Result<()> {
    if expected == found {
        return Ok(());
    }
    let study = |line: &str| {
        serde_json::from_str::<Value>(line)
            .ok()?
            .get_mut("study")
            .map(Value::take)
    };
    let (Some(expected), Some(found)) = (study(expected), study(found)) else {
        return Err(invalid(path, "its first line names no study".to_owned()));
    };
    // Another build may have written its keys in another order.
    if expected == found {
        return Ok(());
    }
    if found["format_version"] != expected["format_version"] {
        return Err(Error::Core(reco_core::Error::UnsupportedFormat {
            what: "journal of a search",
            found: found["format_version"]
                .as_u64()
                .map_or(0, |v| u32::try_from(v).unwrap_or(u32::MAX)),
            supported: FORMAT,
        }));
    }
    let differs = ["space", "config", "objective"]
        .into_iter()
        .find(|key| found[key] != expected[key]);
    let reason = match differs {
        Some(key) => format!(
            "it is of another study: its {key} is {}, not {}",
            found[key], expected[key]
        ),
        None => "it is of another study".to_owned(),
    };
    Err(invalid(path, reason))
}

fn invalid(path: &Path, reason: String) -> Error {
    let path = path.to_owned();
    Error::Journal { path, reason }
}

fn failed(path: &Path, operation: &'static str, source: std::io::Error) -> Error {
    let path = path.to_owned();
    Error::File {
        path,
        operation,
        source,
    }
}
