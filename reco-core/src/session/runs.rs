//! [`Runs`]: sessions in any order into sessions by their start, in memory or by an external merge sort.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, Write};
use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::ToByteSlice;

use super::column::{Storage, create, failed};
use crate::error::Result;
use crate::vocabulary::ItemIdx;

/// How much of the data a run holds before it is written to a file.
const RUN_BYTES: usize = 64 << 20;

/// Sessions as they come.
#[derive(Debug)]
pub(super) struct Runs {
    open: Run,
    /// Runs in files, and their folder.
    spilled: Vec<BufReader<File>>,
    folder: Option<Arc<Path>>,
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
            spilled: Vec::new(),
            folder: None,
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
        self.open.sessions.is_empty() && self.spilled.is_empty()
    }

    pub(super) fn memory_size(&self) -> usize {
        self.open.memory_size()
    }

    /// Where the data set is to be kept.
    pub(super) fn storage(&self) -> Storage {
        self.folder.clone().map_or(Storage::Memory, Storage::Files)
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
        match &self.folder {
            Some(folder) if self.open.memory_size() >= self.run_bytes => {
                let folder = Arc::clone(folder);
                self.spill(&folder)
            }
            _ => Ok(()),
        }
    }

    /// Keeps runs in files of a folder from now on.
    pub(super) fn spill_to(&mut self, folder: &Path) -> Result<()> {
        let folder = Arc::from(folder);
        self.spill(&folder)?;
        self.folder = Some(folder);
        Ok(())
    }

    fn spill(&mut self, folder: &Arc<Path>) -> Result<()> {
        let mut run = std::mem::take(&mut self.open);
        let mut file = create(folder)?;
        let mut write = || {
            for (items, times) in run.in_order() {
                file.write_all(&items.len().to_le_bytes())?;
                file.write_all(bytemuck::cast_slice(items))?;
                file.write_all(times.to_byte_slice())?;
            }
            file.flush()?;
            let mut file = file.get_ref().try_clone()?;
            file.rewind()?;
            Ok(BufReader::with_capacity(1 << 17, file))
        };
        let written = write().map_err(|source| failed(folder, source))?;
        self.spilled.push(written);
        Ok(())
    }

    /// Gives all sessions to `each`, by their start, those that start at the same time as they came.
    pub(super) fn in_order(
        mut self,
        mut each: impl FnMut(&[ItemIdx], &[i64]) -> Result<()>,
    ) -> Result<()> {
        if self.spilled.is_empty() {
            return self
                .open
                .in_order()
                .try_for_each(|(items, times)| each(items, times));
        }
        let Some(folder) = self.folder.clone() else {
            return Ok(());
        };
        self.spill(&folder)?;
        let read = |source| failed(&folder, source);
        let mut runs: Vec<RunReader> = self.spilled.into_iter().map(RunReader::new).collect();
        // Earlier runs hold what came earlier.
        let mut next = BinaryHeap::with_capacity(runs.len());
        for (nth, run) in runs.iter_mut().enumerate() {
            if let Some(start) = run.advance().map_err(read)? {
                next.push(Reverse((start, nth)));
            }
        }
        while let Some(Reverse((_, nth))) = next.pop() {
            let run = &mut runs[nth];
            each(&run.items, &run.times)?;
            if let Some(start) = run.advance().map_err(read)? {
                next.push(Reverse((start, nth)));
            }
        }
        Ok(())
    }
}

/// A run that is read again, and the session that it is at.
struct RunReader {
    file: BufReader<File>,
    items: Vec<ItemIdx>,
    times: Vec<i64>,
}

impl RunReader {
    const fn new(file: BufReader<File>) -> Self {
        Self {
            file,
            items: Vec::new(),
            times: Vec::new(),
        }
    }

    /// Goes to the next session and says when it starts, if there is one.
    fn advance(&mut self) -> io::Result<Option<i64>> {
        let mut len = [0; size_of::<usize>()];
        match self.file.read_exact(&mut len) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        let len = usize::from_le_bytes(len);
        self.items.resize(len, ItemIdx(0));
        self.times.resize(len, 0);
        self.file
            .read_exact(bytemuck::cast_slice_mut(&mut self.items))?;
        self.file
            .read_exact(bytemuck::cast_slice_mut(&mut self.times))?;
        Ok(self.times.first().copied())
    }
}

#[cfg(test)]
impl Runs {
    /// Runs of so many bytes.
    pub(super) const fn set_run_bytes(&mut self, run_bytes: usize) {
        self.run_bytes = run_bytes;
    }
}
