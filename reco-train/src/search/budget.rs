//! [`Budget`]: what all trials that run at a time may hold.

use std::fmt;
use std::sync::{Condvar, Mutex};

use serde::{Deserialize, Serialize};

/// What all trials that run at a time may hold together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Threads.
    pub threads: usize,
    /// Bytes of memory; [`u64::MAX`] if there is no need to look.
    pub bytes: u64,
}

/// What one trial says that it needs.
///
/// It is believed: nothing measures what a trial takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Demand {
    /// Threads.
    pub threads: usize,
    /// Bytes of memory.
    pub bytes: u64,
}

impl Budget {
    /// So many threads, and memory without a limit.
    #[must_use]
    pub const fn threads(threads: usize) -> Self {
        let bytes = u64::MAX;
        Self { threads, bytes }
    }

    /// Why a trial could never run, if it could not.
    pub(super) fn refusal(&self, demand: &Demand) -> Option<String> {
        if demand.threads > self.threads {
            let (asked, there) = (demand.threads, self.threads);
            return Some(format!("needs {asked} threads, the budget has {there}"));
        }
        (demand.bytes > self.bytes).then(|| {
            let (asked, there) = (demand.bytes, self.bytes);
            format!("needs {asked} bytes of memory, the budget has {there}")
        })
    }
}

impl Demand {
    /// So many threads, and memory not worth counting.
    #[must_use]
    pub const fn threads(threads: usize) -> Self {
        Self { threads, bytes: 0 }
    }
}

impl fmt::Display for Demand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} threads, {} bytes", self.threads, self.bytes)
    }
}

/// Lets trials in while they fit.
#[derive(Debug)]
pub(super) struct Gate {
    budget: Budget,
    workers: usize,
    inside: Mutex<Inside>,
    left: Condvar,
}

#[derive(Debug, Default, Clone, Copy)]
struct Inside {
    n: usize,
    threads: usize,
    bytes: u64,
}

/// A trial that is inside; its room is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Entered<'a> {
    gate: &'a Gate,
    demand: Demand,
}

impl Gate {
    pub(super) fn new(budget: Budget, workers: usize) -> Self {
        Self {
            budget,
            workers: workers.max(1),
            inside: Mutex::default(),
            left: Condvar::new(),
        }
    }

    /// Waits until fewer trials run than may.
    pub(super) fn wait_for_worker(&self) {
        let inside = self.inside.lock().unwrap();
        drop(
            self.left
                .wait_while(inside, |inside| inside.n >= self.workers)
                .unwrap(),
        );
    }

    /// Waits until a trial fits, which it must at some time. One thread only asks, so trials come in in
    /// their order and a large one is not passed by small ones for ever.
    pub(super) fn enter(&self, demand: Demand) -> Entered<'_> {
        let inside = self.inside.lock().unwrap();
        let is_full = |inside: &mut Inside| {
            inside.n >= self.workers
                || inside.threads + demand.threads > self.budget.threads
                || inside.bytes.saturating_add(demand.bytes) > self.budget.bytes
        };
        let mut inside = self.left.wait_while(inside, is_full).unwrap();
        inside.n += 1;
        inside.threads += demand.threads;
        inside.bytes = inside.bytes.saturating_add(demand.bytes);
        Entered { gate: self, demand }
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        let mut inside = self.gate.inside.lock().unwrap();
        inside.n -= 1;
        inside.threads -= self.demand.threads;
        inside.bytes = inside.bytes.saturating_sub(self.demand.bytes);
        self.gate.left.notify_all();
    }
}
