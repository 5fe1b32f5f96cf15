//! [`Mlflow`]: runs on an `MLflow` server, over its REST API.

mod client;
mod queue;
mod worker;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::client::Client;
use self::queue::Queue;
use self::worker::Worker;
use super::{Clock, Delivery, Entry, Tracker};
use crate::error::{Error, Result};

/// Where an `MLflow` server is, and how long to bear with it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MlflowConfig {
    /// The server: `http://127.0.0.1:5000`, the default, or `https://…`.
    pub url: String,
    /// The experiment that runs are put into; it is made if it is not there. Default `Default`.
    pub experiment: String,
    /// The value of the header `Authorization`, where the server asks for one: `Bearer …`, `Basic …`.
    /// Default none. It is in no debug output.
    pub authorization: Option<String>,
    /// Seconds until a request is given up. Default 10.
    pub timeout_seconds: u64,
    /// How many entries wait at most; more are lost. Default 10,000.
    pub capacity: usize,
    /// How many bytes of artifacts wait at most; more are lost. Default 64 MiB.
    pub capacity_bytes: usize,
    /// How many seconds [`flush`](Tracker::flush) waits for the server. Default 30.
    pub patience_seconds: u64,
}

impl Default for MlflowConfig {
    fn default() -> Self {
        Self {
            url: "http://127.0.0.1:5000".to_owned(),
            experiment: "Default".to_owned(),
            authorization: None,
            timeout_seconds: 10,
            capacity: 10_000,
            capacity_bytes: 64 << 20,
            patience_seconds: 30,
        }
    }
}

impl fmt::Debug for MlflowConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MlflowConfig")
            .field("url", &self.url)
            .field("experiment", &self.experiment)
            .field("authorization", &self.authorization.as_ref().map(|_| "…"))
            .field("timeout_seconds", &self.timeout_seconds)
            .field("capacity", &self.capacity)
            .field("capacity_bytes", &self.capacity_bytes)
            .field("patience_seconds", &self.patience_seconds)
            .finish()
    }
}

/// Runs on an `MLflow` server.
///
/// Entries go into a bounded queue, and a thread sends them in batches: a slow server slows nothing down, one
/// that is away is tried again and again while the queue has room, and one that is never there fails
/// nothing: [`flush`](Tracker::flush) says what was lost. What a server refuses is lost alone.
///
/// Where an answer was lost on the way, a request is sent again: a run may be there twice then.
/// Artifacts are sent where the server serves them (`--serve-artifacts`, its default).
///
/// Drop it after a flush: what still waits then is lost.
///
/// # Examples
///
/// ```
/// use reco_core::Timestamp;
/// use reco_train::track::mlflow::{Mlflow, MlflowConfig};
/// use reco_train::track::Tracker;
///
/// let config = MlflowConfig { url: "http://127.0.0.1:5000".to_owned(), ..Default::default() };
/// let tracker = Mlflow::start(config, Timestamp::now)?;
/// assert_eq!(tracker.flush().n_lost, 0);
/// # Ok::<(), reco_train::Error>(())
/// ```
#[derive(Debug)]
pub struct Mlflow {
    queue: Arc<Queue>,
    clock: Clock,
    patience: Duration,
}

impl Mlflow {
    /// A tracker with its thread; the server is asked for nothing yet.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] if the URL is none; [`Error::File`] if the thread cannot be started.
    pub fn start(config: MlflowConfig, clock: Clock) -> Result<Self> {
        let is_url = ["http://", "https://"]
            .iter()
            .any(|scheme| config.url.starts_with(scheme));
        if !is_url {
            return Err(Error::InvalidConfig {
                model: "mlflow",
                key: "url",
                reason: format!("must begin with http:// or https://, is {}", config.url),
            });
        }
        let queue = Arc::new(Queue::new(config.capacity, config.capacity_bytes));
        let patience = Duration::from_secs(config.patience_seconds);
        let worker = Worker::new(Client::new(&config, Arc::clone(&queue)), config.experiment);
        std::thread::Builder::new()
            .name("mlflow".to_owned())
            .spawn({
                let queue = Arc::clone(&queue);
                move || worker.run(&queue)
            })
            .map_err(|source| Error::File {
                path: "mlflow".into(),
                operation: "start a thread for",
                source,
            })?;
        Ok(Self {
            queue,
            clock,
            patience,
        })
    }
}

impl Tracker for Mlflow {
    fn record(&self, run: &str, entry: Entry) {
        self.queue.push((self.clock)().as_millisecond(), run, entry);
    }

    fn flush(&self) -> Delivery {
        self.queue.flush(self.patience)
    }
}

impl Drop for Mlflow {
    fn drop(&mut self) {
        self.queue.close();
    }
}
