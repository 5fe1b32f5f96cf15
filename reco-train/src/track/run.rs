//! [`Run`]: a handle to record one run with.

use std::fmt::{self, Display};
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use super::{Entry, Status, Tracker};
use crate::evaluate::Evaluation;

/// A handle to record one run with. Clones record the same run.
///
/// A run that nobody has ended when its last handle is dropped has failed: an error or a panic came between.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use reco_core::Timestamp;
/// use reco_train::track::{JsonLines, Run, Status, Tracker};
/// use reco_train::Prod2VecConfig;
///
/// # let folder = tempfile::tempdir()?;
/// # let folder = folder.path();
/// let tracker: Arc<dyn Tracker> = Arc::new(JsonLines::open(folder, Timestamp::now)?);
/// let run = Run::start(&tracker, "monday");
/// run.params(&Prod2VecConfig::default());
/// run.metric("loss", 0.7, 1);
/// run.end(Status::Finished);
/// assert_eq!(tracker.flush().n_lost, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Run(Option<Arc<Open>>);

struct Open {
    tracker: Arc<dyn Tracker>,
    name: String,
    ended: std::sync::atomic::AtomicBool,
}

impl Run {
    /// Begins a run.
    #[must_use]
    pub fn start(tracker: &Arc<dyn Tracker>, name: impl Into<String>) -> Self {
        let (tracker, name) = (Arc::clone(tracker), name.into());
        tracker.record(&name, Entry::Start);
        let ended = false.into();
        Self(Some(Arc::new(Open {
            tracker,
            name,
            ended,
        })))
    }

    /// A run that records nothing.
    #[must_use]
    pub const fn untracked() -> Self {
        Self(None)
    }

    /// Records a setting.
    pub fn param(&self, key: &str, value: impl Display) {
        self.record(|| Entry::Param {
            key: key.to_owned(),
            value: value.to_string(),
        });
    }

    /// Records all settings of a configuration; a field of a field as `outer.inner`.
    pub fn params(&self, config: &impl Serialize) {
        if self.0.is_some()
            && let Ok(config) = serde_json::to_value(config)
        {
            self.tree("", &config);
        }
    }

    /// Records a number at a step.
    pub fn metric(&self, key: &str, value: f64, step: u64) {
        let key = key.to_owned();
        self.record(|| Entry::Metric { key, value, step });
    }

    /// Records the scores of a model, at a step.
    pub fn scores(&self, scores: &Evaluation, step: u64) {
        for (metric, value) in scores.iter() {
            // Trackers take no `@`.
            self.metric(&metric.to_string().replace('@', "_at_"), value, step);
        }
    }

    /// Records something to find it by.
    pub fn tag(&self, key: &str, value: impl Display) {
        self.record(|| Entry::Tag {
            key: key.to_owned(),
            value: value.to_string(),
        });
    }

    /// Records a file: its path below the run's files, with `/` between folders, and its content.
    pub fn artifact(&self, path: &str, content: impl Into<Vec<u8>>) {
        self.record(|| Entry::Artifact {
            path: path.to_owned(),
            content: content.into(),
        });
    }

    /// Ends it. The first end holds.
    pub fn end(&self, status: Status) {
        if let Some(open) = &self.0 {
            open.end(status);
        }
    }

    fn record(&self, entry: impl FnOnce() -> Entry) {
        if let Some(open) = &self.0 {
            open.tracker.record(&open.name, entry());
        }
    }

    fn tree(&self, path: &str, value: &Value) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    let dot = if path.is_empty() { "" } else { "." };
                    self.tree(&format!("{path}{dot}{name}"), value);
                }
            }
            Value::String(text) => self.param(path, text),
            value => self.param(path, value),
        }
    }
}

impl Open {
    fn end(&self, status: Status) {
        if !self.ended.swap(true, std::sync::atomic::Ordering::SeqCst) {
            self.tracker.record(&self.name, Entry::End { status });
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.end(Status::Failed);
    }
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.0.as_ref().map(|open| open.name.as_str());
        f.debug_tuple("Run").field(&name).finish()
    }
}
