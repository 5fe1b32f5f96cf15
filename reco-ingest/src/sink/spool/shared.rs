//! [`Inner`]: what the handles, the writing thread and the draining task of a spool share.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use metrics::gauge;
use reco_core::{Durability, Error as CoreError, Receipt};
use tokio::sync::{Notify, watch};

use super::config::{DrainConfig, SpoolConfig};
use super::journal::Held;
use super::room::{Room, bytes_of};
use crate::error::Error;
use crate::metric;

/// What the handles, the writing thread and the draining task of a spool share.
#[derive(Debug)]
pub(super) struct Inner {
    /// What a record survives: the least of the spool and of the table that it drains into.
    pub(super) durability: Durability,
    pub(super) config: SpoolConfig,
    /// What the spool is called in errors: its folder.
    pub(super) name: String,
    /// What it is counted under: the table.
    pub(super) table: String,
    pub(super) room: Arc<Room>,
    /// How much is stored and not trimmed.
    pub(super) held: watch::Sender<Held>,
    /// The number of the last group that was acknowledged.
    pub(super) acknowledged: AtomicI64,
    /// How many records were drained into the table since the spool was opened.
    pub(super) drained: AtomicU64,
    pub(super) closed: AtomicBool,
    /// Somebody waits for room.
    pub(super) wanted: Notify,
    /// Why the last try to drain failed, until one succeeds.
    pub(super) failure: Mutex<Option<String>>,
}

impl Inner {
    /// What a write of so many records is told.
    pub(super) fn receipt(&self, n_records: usize) -> Receipt {
        Receipt {
            n_records,
            durability: self.durability,
        }
    }

    /// Says how much is held now, and wakes the draining task if it has something to do or to wait for.
    pub(super) fn hold(&self, now: Held) {
        let drain = &self.config.drain;
        self.held.send_if_modified(|held| {
            let begins = held.n_records == 0 && now.n_records > 0;
            let fills = !is_full(held, drain) && is_full(&now, drain);
            *held = now;
            begins || fills
        });
        #[expect(
            clippy::cast_precision_loss,
            reason = "a gauge is a float, and exact up to 2^53"
        )]
        let (n_records, n_bytes) = (now.n_records as f64, bytes_of(now.n_pages) as f64);
        gauge!(metric::SPOOL_RECORDS, metric::TABLE => self.table.clone()).set(n_records);
        gauge!(metric::SPOOL_BYTES, metric::TABLE => self.table.clone()).set(n_bytes);
    }

    pub(super) fn set_failure(&self, failure: Option<String>) {
        *self.failure.lock().unwrap() = failure;
    }

    pub(super) fn failure(&self) -> Option<String> {
        self.failure.lock().unwrap().clone()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// The error of a call to a spool that is gone: it was closed, or its thread ended.
    pub(super) fn gone(&self) -> CoreError {
        if self.is_closed() {
            return CoreError::SinkClosed {
                sink: self.name.clone(),
            };
        }
        self.core(Error::TaskEnded { of: "Spooled" }, "write")
    }

    pub(super) fn core(&self, error: Error, operation: &'static str) -> CoreError {
        error.at(&self.name, operation)
    }
}

/// Whether there is enough for a commit to the table.
pub(super) fn is_full(held: &Held, drain: &DrainConfig) -> bool {
    let at_least = |n: u64, limit: usize| usize::try_from(n).is_ok_and(|n| n >= limit);
    at_least(held.n_records, drain.max_rows) || at_least(held.n_bytes, drain.max_bytes)
}
