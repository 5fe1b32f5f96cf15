//! [`Runs`]: sessions in any order into sessions by their start, in memory or by an external merge sort.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::column::{ColumnWriter, Storage, failed};
use crate::error::Result;
use crate::vocabulary::ItemIdx;

/// How much of the data a run holds before it is written to a file.
const RUN_BYTES: usize = 64 << 20;

/// Sessions as they come.
#[derive(Debug)]
pub(super) struct Runs {
    open: Run,
    storage: Storage,
    /// The runs that are in a file, one after the other, and where they end there.
    file: Option<ColumnWriter<u64>>,
    ends: Vec<usize>,
    /// Whether a run was written in part.
    is_broken: bool,
    run_bytes: usize,
}

/// Sessions that are sorted together.
#[derive(Debug, Default)]
pub(super) struct Run {
    sessions: Vec<Place>,
    items: Vec<ItemIdx>,
    times: Vec<i64>,
    /// Where the session begins that is not closed yet.
    first: usize,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    start: i64,
    first: usize,
    end: usize,
}

impl Default for Runs {
    fn default() -> Self {
        Self {
            open: Run::default(),
            storage: Storage::Memory,
            file: None,
            ends: Vec::new(),
            is_broken: false,
            run_bytes: RUN_BYTES,
        }
    }
}

impl Run {
    /// Adds an interaction to the session that is not closed yet; they come in the order of time.
    pub(super) fn push(&mut self, item: ItemIdx, time: i64) {
        self.items.push(item);
        self.times.push(time);
    }

    fn clear(&mut self) {
        self.sessions.clear();
        self.items.clear();
        self.times.clear();
        self.first = 0;
    }

    fn memory_size(&self) -> usize {
        size_of_val(&self.sessions[..])
            + size_of_val(&self.items[..])
            + size_of_val(&self.times[..])
    }

    /// The sessions by their start, those that start at the same time as they came.
    fn in_order(&mut self) -> impl Iterator<Item = (&[ItemIdx], &[i64])> {
        self.sessions.sort_by_key(|session| session.start);
        let of = |place: &Place| {
            (
                &self.items[place.first..place.end],
                &self.times[place.first..place.end],
            )
        };
        self.sessions.iter().map(of)
    }
}

impl Runs {
    /// The run that sessions are added to.
    pub(super) const fn open(&mut self) -> &mut Run {
        &mut self.open
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.open.sessions.is_empty() && self.ends.is_empty()
    }

    pub(super) fn memory_size(&self) -> usize {
        self.open.memory_size()
    }

    /// Where the data set is to be kept.
    pub(super) const fn storage(&self) -> &Storage {
        &self.storage
    }

    /// Ends a session.
    pub(super) fn close_session(&mut self) -> Result<()> {
        let run = &mut self.open;
        if let Some(&start) = run.times.get(run.first) {
            run.sessions.push(Place {
                start,
                first: run.first,
                end: run.items.len(),
            });
            run.first = run.items.len();
        }
        if self.file.is_some() && self.open.memory_size() >= self.run_bytes {
            self.spill()?;
        }
        Ok(())
    }

    /// Keeps runs in a file of a folder from now on. If the first one cannot be, all stay in memory.
    pub(super) fn spill_to(&mut self, folder: &Path) -> Result<()> {
        if self.file.is_none() {
            let storage = Storage::Files(Arc::from(folder));
            self.file = Some(ColumnWriter::new(&storage)?);
            self.storage = storage;
        }
        self.spill()
    }

    /// Writes the open run behind the others.
    fn spill(&mut self) -> Result<()> {
        self.check()?;
        let written = self.write_run();
        if written.is_err() {
            if self.ends.is_empty() {
                (self.file, self.storage) = (None, Storage::Memory);
            } else {
                self.is_broken = true;
            }
        }
        written
    }

    fn write_run(&mut self) -> Result<()> {
        let Some(file) = &mut self.file else {
            return Ok(());
        };
        let start = self.ends.last().copied().unwrap_or_default();
        let (mut end, mut session) = (start, Vec::new());
        for (items, times) in self.open.in_order() {
            write_session(items, times, &mut session);
            file.extend(&session)?;
            end += session.len();
        }
        if end > start {
            self.ends.push(end);
            self.open.clear();
        }
        Ok(())
    }

    /// Whether all runs are whole.
    fn check(&self) -> Result<()> {
        match &self.storage {
            Storage::Files(folder) if self.is_broken => {
                Err(failed(folder, io::Error::other("it could not be before")))
            }
            _ => Ok(()),
        }
    }

    /// Gives all sessions to `each`, by their start, those that start at the same time as they came.
    pub(super) fn in_order(
        mut self,
        mut each: impl FnMut(&[ItemIdx], &[i64]) -> Result<()>,
    ) -> Result<()> {
        if self.ends.is_empty() {
            let mut sessions = self.open.in_order();
            return sessions.try_for_each(|(items, times)| each(items, times));
        }
        self.spill()?;
        let file = self.file.expect("runs are in a file");
        let words = file.finish()?;
        let starts = [0].into_iter().chain(self.ends.iter().copied());
        let mut runs: Vec<Range<usize>> = starts.zip(&self.ends).map(|(a, &b)| a..b).collect();
        // Earlier runs hold what came earlier.
        let mut next = BinaryHeap::with_capacity(runs.len());
        let start_of = |run: &Range<usize>| Some(read_session(words.get(run.clone())?)?.1[0]);
        let first = runs.iter().enumerate();
        next.extend(first.filter_map(|(nth, run)| Some(Reverse((start_of(run)?, nth)))));
        while let Some(Reverse((_, nth))) = next.pop() {
            let run = &mut runs[nth];
            if let Some((items, times)) = read_session(&words[run.clone()]) {
                each(items, times)?;
                run.start += n_words(items.len());
            }
            next.extend(start_of(run).map(|start| Reverse((start, nth))));
        }
        Ok(())
    }
}

/// How many words a session takes: its length, its times, two items a word.
const fn n_words(len: usize) -> usize {
    1 + len + len.div_ceil(2)
}

fn write_session(items: &[ItemIdx], times: &[i64], words: &mut Vec<u64>) {
    words.clear();
    words.push(items.len() as u64);
    words.extend_from_slice(bytemuck::cast_slice(times));
    words.resize(n_words(items.len()), 0);
    let of_items = &mut words[1 + times.len()..];
    bytemuck::cast_slice_mut(of_items)[..items.len()].copy_from_slice(items);
}

/// The session that words start with; none at the end.
fn read_session(words: &[u64]) -> Option<(&[ItemIdx], &[i64])> {
    let (len, words) = words.split_first()?;
    let len = usize::try_from(*len).ok()?;
    let (times, words) = words.split_at(len);
    Some((
        &bytemuck::cast_slice(words)[..len],
        bytemuck::cast_slice(times),
    ))
}

#[cfg(test)]
impl Runs {
    /// Runs of so many bytes.
    pub(super) const fn set_run_bytes(&mut self, run_bytes: usize) {
        self.run_bytes = run_bytes;
    }
}
