//! [`SortedDatasetBuilder`]: interactions that come session by session, into a data set of any size.

use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use jiff::Timestamp;

use super::builder::for_each_row;
use super::column::Columns;
use super::numbers::Numbers;
use super::runs::Runs;
use super::{Interaction, SessionDataset, SessionEncoder, SessionEncoding};
use crate::error::{Error, Result};
use crate::record::project;
use crate::vocabulary::{ItemIdx, Vocabulary};

/// Collects the interactions of one session after the other, in the order of the session ids, into a
/// [`SessionDataset`].
///
/// What it has read takes 12 bytes an interaction and 24 a session, and each item id once. Where that is too much,
/// [`spill_to`](Self::spill_to) moves it to files: from then on it needs memory for the items and for one run of
/// sessions, and the data set is mapped into memory by the system, which keeps of it what there is room for.
///
/// # Examples
///
/// ```
/// use reco_core::{SessionDataset, SessionEncoding};
///
/// let mut builder = SessionDataset::sorted_builder(SessionEncoding::default());
/// builder.push("s1", "hat", "2024-05-02T10:00Z".parse()?)?;
/// builder.spill_to(&std::env::temp_dir())?;
/// builder.push("s2", "scarf", "2024-05-01T10:00Z".parse()?)?;
/// builder.push("s2", "hat", "2024-05-01T10:05Z".parse()?)?;
/// assert!(builder.push("s1", "hat", "2024-05-02T10:05Z".parse()?).is_err());
///
/// let dataset = builder.build()?;
/// assert!(dataset.is_mapped());
/// assert_eq!(dataset.session(0).len(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct SortedDatasetBuilder {
    encoding: SessionEncoding,
    items: Numbers,
    /// How often each item is in the encoded sessions.
    counts: Vec<u64>,
    session: Option<Box<str>>,
    /// The interactions of the session, as they came.
    open: Vec<(i64, ItemIdx)>,
    runs: Runs,
}

impl SortedDatasetBuilder {
    pub(super) fn new(encoding: SessionEncoding) -> Self {
        Self::of_items(encoding, Numbers::new("items"))
    }

    /// With items that have their numbers.
    pub(super) fn of_items(encoding: SessionEncoding, items: Numbers) -> Self {
        Self {
            encoding,
            counts: vec![0; items.len()],
            items,
            session: None,
            open: Vec::new(),
            runs: Runs::default(),
        }
    }

    /// Adds one interaction.
    ///
    /// # Errors
    ///
    /// [`Error::UnsortedSessions`] if the session id is before the last one, [`Error::InvalidConfig`] if there are
    /// 2³² items or more, and [`Error::DatasetFile`] if a file cannot be written.
    pub fn push(&mut self, session: &str, item: &str, occurred_at: Timestamp) -> Result<()> {
        self.push_micros(session, item, occurred_at.as_microsecond())
    }

    /// Adds the rows of a batch that has the columns of an [`Interaction`].
    ///
    /// # Errors
    ///
    /// As [`Interaction::from_batch`](crate::Record::from_batch) and [`push`](Self::push).
    pub fn push_batch(&mut self, batch: &RecordBatch) -> Result<()> {
        let batch = project::<Interaction>(batch)?;
        for_each_row(&batch, |session, item, time| {
            self.push_micros(session, item, time)
        })
    }

    /// How many bytes what was read takes, but for the ids of items.
    #[must_use]
    pub fn memory_size(&self) -> usize {
        self.runs.memory_size() + size_of_val(&self.open[..]) + size_of_val(&self.counts[..])
    }

    /// Moves what was read to files of a folder, and what will be read; the data set will be
    /// [mapped](SessionDataset::is_mapped). What stays in memory are the items, a run of 64 MiB, and the longest
    /// session.
    ///
    /// The files have no names, so nothing is left of them when they are not needed any more. They take as much
    /// space as the data set, twice while it is built. Parts of it, such as those of a split, and the sessions of
    /// two items or more that a trainer takes, are files of the same folder: it must be there as long as the data
    /// set is, with room for a copy for each.
    ///
    /// # Errors
    ///
    /// [`Error::DatasetFile`] if there can be no files, or no room in them. Nothing is lost then: it may be tried
    /// in another folder, or the data set built in memory. Once something was moved, the disk must have room for
    /// what follows, or [`push`](Self::push) and [`build`](Self::build) fail with the same error.
    pub fn spill_to(&mut self, folder: &Path) -> Result<()> {
        self.runs.spill_to(folder)
    }

    /// Orders and encodes what was collected.
    ///
    /// # Errors
    ///
    /// [`Error::EmptyDataset`] if that is nothing, [`Error::DatasetFile`] if a file cannot be written or read.
    pub fn build(mut self) -> Result<SessionDataset> {
        self.close_session()?;
        if self.runs.is_empty() {
            return Err(Error::EmptyDataset { part: "data" });
        }
        let by_id = self.items.sorted();
        // The encoding may have left an item out everywhere.
        let known = || {
            by_id
                .iter()
                .filter(|(_, number)| self.counts[*number as usize] > 0)
        };
        let counts = known().map(|&(id, number)| (id, self.counts[number as usize]));
        let vocabulary = Vocabulary::from_counts(counts)?;
        let mut positions = vec![0; self.items.len()];
        for (position, (_, number)) in (0_u32..).zip(known()) {
            positions[*number as usize] = position;
        }
        let encoder = SessionEncoder::new(self.encoding, Arc::new(vocabulary))?;
        let mut columns = Columns::new(self.runs.storage())?;
        self.runs
            .in_order(|items, times| columns.push(items, &positions, times))?;
        columns.into_dataset(encoder)
    }

    fn push_micros(&mut self, session: &str, item: &str, time: i64) -> Result<()> {
        if self.session.as_deref() != Some(session) {
            self.open_session(session)?;
        }
        let item = self.items.number(item)?;
        self.push_numbered(ItemIdx(item), time);
        Ok(())
    }

    /// Begins a session, of which the interactions follow.
    pub(super) fn open_session(&mut self, session: &str) -> Result<()> {
        if let Some(last) = self.session.as_deref().filter(|last| session < *last) {
            return Err(Error::UnsortedSessions {
                session: session.to_owned(),
                last: last.to_owned(),
            });
        }
        self.close_session()?;
        self.session = Some(session.into());
        Ok(())
    }

    /// Adds an interaction of the session.
    pub(super) fn push_numbered(&mut self, item: ItemIdx, time: i64) {
        self.open.push((time, item));
    }

    fn close_session(&mut self) -> Result<()> {
        if self.open.is_empty() {
            return Ok(());
        }
        // Stable: interactions at the same time stay as they came.
        self.open.sort_by_key(|(time, _)| *time);
        self.counts.resize(self.items.len(), 0);
        let items = self.open.iter().map(|(_, item)| Some(*item));
        let run = self.runs.open();
        for (place, item) in self.encoding.apply(items) {
            self.counts[item.get()] += 1;
            run.push(item, self.open[place].0);
        }
        self.open.clear();
        self.runs.close_session()
    }
}

#[cfg(test)]
impl SortedDatasetBuilder {
    pub(super) const fn runs(&mut self) -> &mut Runs {
        &mut self.runs
    }
}
