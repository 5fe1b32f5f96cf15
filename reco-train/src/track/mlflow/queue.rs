//! [`Queue`]: what waits for the server.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use crate::track::{Delivery, Entry};

/// How many entries are taken at a time.
const BATCH: usize = 1000;

/// What waits for the server, and what has become of the rest.
#[derive(Debug)]
pub(super) struct Queue {
    capacity: usize,
    capacity_bytes: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Item>,
    bytes: usize,
    /// Taken by the worker, and not settled yet.
    n_under_way: u64,
    delivery: Delivery,
    /// Whoever flushes has lost patience: what is under way is given up.
    is_given_up: bool,
    is_closed: bool,
}

/// An entry that waits.
#[derive(Debug)]
pub(super) struct Item {
    /// When it came, in milliseconds since 1970.
    pub(super) at: i64,
    pub(super) run: String,
    pub(super) entry: Entry,
}

impl Queue {
    pub(super) fn new(capacity: usize, capacity_bytes: usize) -> Self {
        Self {
            capacity,
            capacity_bytes,
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// Takes an entry if there is room. Begins and ends of runs are few and find twice the room: without them
    /// all else of a run is lost.
    pub(super) fn push(&self, at: i64, run: &str, entry: Entry) {
        let mut state = self.state.lock().unwrap();
        let capacity = match entry {
            Entry::Start | Entry::End { .. } => 2 * self.capacity,
            _ => self.capacity,
        };
        let bytes = size(&entry);
        if state.waiting.len() >= capacity {
            state
                .delivery
                .lose("the server is too slow: the queue is full");
        } else if state.bytes + bytes > self.capacity_bytes {
            state
                .delivery
                .lose("the server is too slow: the queue of artifacts is full");
        } else {
            state.bytes += bytes;
            let run = run.to_owned();
            state.waiting.push_back(Item { at, run, entry });
            self.changed.notify_all();
        }
    }

    /// Waits for entries and takes some; none when the queue is closed.
    pub(super) fn take(&self) -> Option<Vec<Item>> {
        let state = self.state.lock().unwrap();
        let is_idle = |state: &mut State| state.waiting.is_empty() && !state.is_closed;
        let mut state = self.changed.wait_while(state, is_idle).unwrap();
        if state.is_closed {
            return None;
        }
        let n = state.waiting.len().min(BATCH);
        let items: Vec<Item> = state.waiting.drain(..n).collect();
        state.bytes -= items.iter().map(|item| size(&item.entry)).sum::<usize>();
        state.n_under_way = n as u64;
        state.is_given_up = false;
        Some(items)
    }

    /// Settles entries that were taken: the reason, if they are lost.
    pub(super) fn settle(&self, n: usize, lost: Option<&str>) {
        let mut state = self.state.lock().unwrap();
        for _ in 0..n {
            match lost {
                Some(reason) => state.delivery.lose(reason),
                None => state.delivery.n_recorded += 1,
            }
        }
        state.n_under_way = state.n_under_way.saturating_sub(n as u64);
        self.changed.notify_all();
    }

    /// Waits for a while, less if what is under way is given up; says whether it is.
    pub(super) fn pause(&self, time: Duration) -> bool {
        let state = self.state.lock().unwrap();
        let goes_on = |state: &mut State| !state.is_given_up && !state.is_closed;
        let (state, _) = self
            .changed
            .wait_timeout_while(state, time, goes_on)
            .unwrap();
        state.is_given_up || state.is_closed
    }

    /// Waits until all is settled, or gives up what is not.
    pub(super) fn flush(&self, patience: Duration) -> Delivery {
        let until = Instant::now() + patience;
        let is_busy = |state: &mut State| !state.waiting.is_empty() || state.n_under_way > 0;
        let state = self.state.lock().unwrap();
        let left = until.saturating_duration_since(Instant::now());
        let (mut state, waited) = self
            .changed
            .wait_timeout_while(state, left, is_busy)
            .unwrap();
        if waited.timed_out() {
            let reason = format!("the server did not take them in {} s", patience.as_secs());
            for _ in 0..std::mem::take(&mut state.waiting).len() {
                state.delivery.lose(&reason);
            }
            state.bytes = 0;
            state.is_given_up = true;
            self.changed.notify_all();
            // What is under way is settled by the worker, within the time of one request; here it counts as
            // lost already.
            let mut delivery = state.delivery.clone();
            for _ in 0..state.n_under_way {
                delivery.lose(&reason);
            }
            return delivery;
        }
        state.delivery.clone()
    }

    pub(super) fn close(&self) {
        let mut state = self.state.lock().unwrap();
        state.is_closed = true;
        let n = state.waiting.len() as u64 + state.n_under_way;
        if n > 0 {
            tracing::warn!(n, "a tracker was dropped before its entries were sent");
        }
        state.waiting.clear();
        self.changed.notify_all();
    }
}

fn size(entry: &Entry) -> usize {
    match entry {
        Entry::Artifact { content, .. } => content.len(),
        _ => 0,
    }
}
