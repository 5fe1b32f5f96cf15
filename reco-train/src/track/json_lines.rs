//! [`JsonLines`]: runs in a folder.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use reco_core::Timestamp;
use serde::Serialize;

use super::{Clock, Delivery, Entry, Tracker, bad_path};
use crate::error::{Error, Result};

/// Runs in a folder: `runs.jsonl`, an entry a line, and `artifacts/RUN/PATH`.
///
/// A line is written when its entry comes, and the file is synced to disk when a run ends and by
/// [`flush`](Tracker::flush): a crash loses the last lines of the runs that it ended. Several processes may
/// write to one folder.
///
/// ```json
/// {"at":"2024-05-01T10:00:00Z","run":"monday","metric":{"key":"loss","value":0.7,"step":1}}
/// ```
#[derive(Debug)]
pub struct JsonLines {
    folder: PathBuf,
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    file: File,
    delivery: Delivery,
}

#[derive(Serialize)]
struct Line<'a> {
    at: Timestamp,
    run: &'a str,
    #[serde(flatten)]
    entry: &'a Entry,
}

impl JsonLines {
    /// Records in this folder, which is made if it is not there; what it holds is added to.
    ///
    /// # Errors
    ///
    /// [`Error::File`] if the folder or the file cannot be made.
    pub fn open(folder: impl Into<PathBuf>, clock: Clock) -> Result<Self> {
        let folder = folder.into();
        let path = folder.join("runs.jsonl");
        let failed = |source| Error::File {
            path: path.clone(),
            operation: "open",
            source,
        };
        std::fs::create_dir_all(&folder).map_err(failed)?;
        let file = OpenOptions::new().append(true).create(true).open(&path);
        Ok(Self {
            clock,
            state: Mutex::new(State {
                file: file.map_err(failed)?,
                delivery: Delivery::default(),
            }),
            folder,
        })
    }

    fn write(&self, file: &mut File, run: &str, entry: &Entry) -> Result<(), String> {
        let io = |error: io::Error| error.to_string();
        match entry {
            Entry::Metric { key, value, .. } if !value.is_finite() => {
                return Err(format!("metric `{key}` of run `{run}` is {value}"));
            }
            Entry::Artifact { path, content } => {
                let path = Path::new("artifacts").join(run).join(path);
                let path = path.to_string_lossy();
                if let Some(reason) = bad_path(&path) {
                    return Err(reason);
                }
                let path = self.folder.join(&*path);
                let folder = path.parent().unwrap_or(&self.folder);
                std::fs::create_dir_all(folder).map_err(io)?;
                std::fs::write(&path, content).map_err(io)?;
            }
            _ => {}
        }
        let at = (self.clock)();
        let line = serde_json::to_string(&Line { at, run, entry });
        let line = line.map_err(|error| error.to_string())? + "\n";
        // One write: lines of several processes are not mixed.
        file.write_all(line.as_bytes()).map_err(io)?;
        match entry {
            Entry::End { .. } => file.sync_data().map_err(io),
            _ => Ok(()),
        }
    }
}

impl Tracker for JsonLines {
    fn record(&self, run: &str, entry: Entry) {
        let mut state = self.state.lock().unwrap();
        let state = &mut *state;
        match self.write(&mut state.file, run, &entry) {
            Ok(()) => state.delivery.n_recorded += 1,
            Err(reason) => state.delivery.lose(reason),
        }
    }

    fn flush(&self) -> Delivery {
        let mut state = self.state.lock().unwrap();
        if let Err(error) = state.file.sync_data() {
            state
                .delivery
                .reason
                .get_or_insert_with(|| error.to_string());
        }
        state.delivery.clone()
    }
}
