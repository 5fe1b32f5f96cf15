//! [`Worker`]: makes requests of entries.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::client::{Client, Refused};
use super::queue::{Item, Queue};
use crate::track::{Entry, bad_path};

/// The most of each kind that `runs/log-batch` takes.
const MAX_METRICS: usize = 1000;
const MAX_PARAMS: usize = 100;
const MAX_TAGS: usize = 100;
/// The longest values that it takes; longer ones are cut.
const MAX_PARAM_LEN: usize = 6000;
const MAX_TAG_LEN: usize = 5000;

/// Makes requests of entries, in their order.
#[derive(Debug)]
pub(super) struct Worker {
    client: Client,
    experiment: String,
    experiment_id: Option<String>,
    runs: HashMap<String, Result<Known, String>>,
}

/// A run that the server knows.
#[derive(Debug)]
struct Known {
    id: String,
    /// Where its artifacts go, below the server's; none if they go elsewhere.
    artifacts: Result<String, String>,
}

/// Entries of a run that go in one request.
#[derive(Debug, Default)]
struct Batch {
    metrics: Vec<Value>,
    params: Vec<Value>,
    tags: Vec<Value>,
}

impl Worker {
    pub(super) fn new(client: Client, experiment: String) -> Self {
        Self {
            client,
            experiment,
            experiment_id: None,
            runs: HashMap::new(),
        }
    }

    pub(super) fn run(mut self, queue: &Queue) {
        while let Some(items) = queue.take() {
            // Batches are by run, and in the order in which runs first come.
            let mut batches: Vec<(String, Batch)> = Vec::new();
            for item in items {
                let nth = batches.iter().position(|(run, _)| *run == item.run);
                let nth = nth.unwrap_or_else(|| {
                    batches.push((item.run.clone(), Batch::default()));
                    batches.len() - 1
                });
                let batch = &mut batches[nth].1;
                if batch.takes(&item) {
                    batch.push(&item);
                    continue;
                }
                self.log(queue, &item.run, std::mem::take(batch));
                if batch.takes(&item) {
                    batch.push(&item);
                } else {
                    let lost = self.alone(&item).err();
                    queue.settle(1, lost.as_deref());
                }
            }
            for (run, batch) in batches {
                self.log(queue, &run, batch);
            }
        }
    }

    /// An entry that has a request of its own.
    fn alone(&mut self, item: &Item) -> Result<(), String> {
        match &item.entry {
            Entry::Start => {
                let begun = self.create(item);
                let reason = begun.as_ref().err().cloned();
                self.runs.insert(item.run.clone(), begun);
                reason.map_or(Ok(()), Err)
            }
            Entry::End { status } => {
                let run = self.known(&item.run)?;
                let body = json!({"run_id": run.id, "status": status, "end_time": item.at});
                let ended = self.client.post("runs/update", &body);
                self.runs.remove(&item.run);
                ended.map(drop).map_err(|refused| refused.reason)
            }
            Entry::Artifact { path, content } => {
                if let Some(reason) = bad_path(path) {
                    return Err(reason);
                }
                let run = self.known(&item.run)?;
                let folder = run.artifacts.as_ref().map_err(Clone::clone)?;
                let sent = self.client.put(&format!("{folder}/{path}"), content);
                sent.map(drop).map_err(|refused| refused.reason)
            }
            Entry::Metric { key, value, .. } => {
                Err(format!("metric `{key}` of run `{}` is {value}", item.run))
            }
            Entry::Param { .. } | Entry::Tag { .. } => Ok(()),
        }
    }

    fn create(&mut self, item: &Item) -> Result<Known, String> {
        let experiment_id = self.experiment_id().map_err(|refused| refused.reason)?;
        let body = json!({
            "experiment_id": experiment_id,
            "run_name": item.run,
            "start_time": item.at,
            "tags": [{"key": "mlflow.source.name", "value": "reco-train"}],
        });
        let made = self
            .client
            .post("runs/create", &body)
            .map_err(|refused| refused.reason)?;
        let info = &made["run"]["info"];
        let id = info["run_id"]
            .as_str()
            .ok_or("the server gave a run no id")?
            .to_owned();
        let uri = info["artifact_uri"].as_str().unwrap_or_default();
        let path =
            uri.strip_prefix("mlflow-artifacts:")
                .map(|path| match path.strip_prefix("//") {
                    // With a host, which is the server.
                    Some(path) => path.split_once('/').map_or("", |(_, path)| path).to_owned(),
                    None => path.trim_start_matches('/').to_owned(),
                });
        let artifacts =
            path.ok_or_else(|| format!("the server does not serve artifacts: they are in `{uri}`"));
        Ok(Known { id, artifacts })
    }

    fn experiment_id(&mut self) -> Result<String, Refused> {
        if let Some(id) = &self.experiment_id {
            return Ok(id.clone());
        }
        let name = &self.experiment;
        let made = match self
            .client
            .post("experiments/create", &json!({"name": name}))
        {
            Ok(made) => made["experiment_id"].clone(),
            Err(refused) if refused.code == "RESOURCE_ALREADY_EXISTS" => {
                let path = format!("experiments/get-by-name?experiment_name={}", escaped(name));
                self.client.get(&path)?["experiment"]["experiment_id"].clone()
            }
            Err(refused) => return Err(refused),
        };
        let id = made.as_str().unwrap_or_default().to_owned();
        self.experiment_id = Some(id.clone());
        Ok(id)
    }

    fn known(&self, run: &str) -> Result<&Known, String> {
        match self.runs.get(run) {
            Some(Ok(known)) => Ok(known),
            Some(Err(reason)) => Err(reason.clone()),
            None => Err(format!("run `{run}` has not begun")),
        }
    }

    /// Sends a batch; if the server refuses it, one by one, so that only what it refuses is lost.
    fn log(&self, queue: &Queue, run: &str, batch: Batch) {
        let n = batch.len();
        if n == 0 {
            return;
        }
        let id = match self.known(run) {
            Ok(known) => &known.id,
            Err(reason) => return queue.settle(n, Some(&reason)),
        };
        match self.client.post("runs/log-batch", &batch.body(id)) {
            Ok(_) => queue.settle(n, None),
            Err(refused) if refused.is_final && n > 1 => {
                for single in batch.singles() {
                    let sent = self.client.post("runs/log-batch", &single.body(id));
                    let lost = sent.err().map(|refused| refused.reason);
                    queue.settle(1, lost.as_deref());
                }
            }
            Err(refused) => queue.settle(n, Some(&refused.reason)),
        }
    }
}

impl Batch {
    fn len(&self) -> usize {
        self.metrics.len() + self.params.len() + self.tags.len()
    }

    /// Whether there is room for an entry, and it is one of a batch.
    fn takes(&self, item: &Item) -> bool {
        self.len() < MAX_METRICS
            && match &item.entry {
                Entry::Metric { value, .. } => value.is_finite(),
                Entry::Param { .. } => self.params.len() < MAX_PARAMS,
                Entry::Tag { .. } => self.tags.len() < MAX_TAGS,
                Entry::Start | Entry::Artifact { .. } | Entry::End { .. } => false,
            }
    }

    fn push(&mut self, item: &Item) {
        match &item.entry {
            Entry::Metric { key, value, step } => {
                let at = item.at;
                let metric = json!({"key": key, "value": value, "step": step, "timestamp": at});
                self.metrics.push(metric);
            }
            Entry::Param { key, value } => {
                self.params
                    .push(json!({"key": key, "value": cut(value, MAX_PARAM_LEN)}));
            }
            Entry::Tag { key, value } => {
                self.tags
                    .push(json!({"key": key, "value": cut(value, MAX_TAG_LEN)}));
            }
            Entry::Start | Entry::Artifact { .. } | Entry::End { .. } => {}
        }
    }

    fn body(&self, run_id: &str) -> Value {
        let Self {
            metrics,
            params,
            tags,
        } = self;
        json!({"run_id": run_id, "metrics": metrics, "params": params, "tags": tags})
    }

    fn singles(self) -> impl Iterator<Item = Self> {
        let metrics = self.metrics.into_iter().map(|metric| Self {
            metrics: vec![metric],
            ..Self::default()
        });
        let params = self.params.into_iter().map(|param| Self {
            params: vec![param],
            ..Self::default()
        });
        let tags = self.tags.into_iter().map(|tag| Self {
            tags: vec![tag],
            ..Self::default()
        });
        metrics.chain(params).chain(tags)
    }
}

/// The beginning of a text, so many characters at most.
fn cut(text: &str, len: usize) -> &str {
    text.char_indices()
        .nth(len)
        .map_or(text, |(end, _)| &text[..end])
}

/// A text in the query of a URL.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
