//! [`SessionDataset`]: all sessions of a table as offsets and item positions.

use std::ops::Range;
use std::sync::Arc;

use arrow::buffer::ScalarBuffer;

use super::column::{Columns, Storage};
use super::{
    Session, SessionDatasetBuilder, SessionEncoder, SessionEncoding, SortedDatasetBuilder,
};
use crate::error::{Error, Result};
use crate::vocabulary::{ItemIdx, Vocabulary};

/// All sessions of a table: one vector of item positions and the offsets of the sessions in it.
///
/// Sessions are ordered by the time of their first interaction, ties by session id; interactions of
/// a session by time, ties in the order they were pushed.
/// There is no session without an interaction, and no item in the vocabulary without one.
///
/// It takes 12 bytes an interaction and 8 a session, which are in memory or, if a builder
/// [was told so](SortedDatasetBuilder::spill_to), in files that the system maps into memory: such a set may be
/// larger than it. Parts of it, as of a split, are kept as it is. Cloning is cheap and shares.
///
/// # Examples
///
/// ```
/// use reco_core::{SessionDataset, SessionEncoding};
///
/// let mut builder = SessionDataset::builder(SessionEncoding::default());
/// builder.push("late", "hat", "2024-05-02T10:00Z".parse()?)?;
/// builder.push("early", "scarf", "2024-05-01T10:05Z".parse()?)?;
/// builder.push("early", "hat", "2024-05-01T10:00Z".parse()?)?;
/// let dataset = builder.build()?;
///
/// assert_eq!(dataset.n_sessions(), 2);
/// let names: Vec<_> = dataset.session(0).iter().map(|&i| dataset.vocabulary().item(i).as_str()).collect();
/// assert_eq!(names, ["hat", "scarf"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct SessionDataset {
    pub(super) encoder: SessionEncoder,
    pub(super) storage: Storage,
    /// Session `s` is `items[offsets[s]..offsets[s + 1]]`.
    pub(super) offsets: ScalarBuffer<u64>,
    pub(super) items: ScalarBuffer<u32>,
    /// Time of each interaction, in microseconds since 1970.
    pub(super) times: ScalarBuffer<i64>,
}

impl SessionDataset {
    /// Collects interactions, in any order.
    #[must_use]
    pub fn builder(encoding: SessionEncoding) -> SessionDatasetBuilder {
        SessionDatasetBuilder::new(encoding)
    }

    /// Collects interactions that come session by session, into a data set of any size.
    #[must_use]
    pub fn sorted_builder(encoding: SessionEncoding) -> SortedDatasetBuilder {
        SortedDatasetBuilder::new(encoding)
    }

    /// Whether it is in files that the system maps into memory.
    #[must_use]
    pub const fn is_mapped(&self) -> bool {
        matches!(self.storage, Storage::Files(_))
    }

    /// How many sessions there are.
    #[must_use]
    pub fn n_sessions(&self) -> usize {
        self.offsets.len() - 1
    }

    /// How many interactions there are in all sessions.
    #[must_use]
    pub fn n_interactions(&self) -> usize {
        self.items.len()
    }

    /// The items, and how often each occurs.
    #[must_use]
    pub const fn vocabulary(&self) -> &Arc<Vocabulary> {
        self.encoder.vocabulary()
    }

    /// How sessions were encoded, and how a model of this data will encode them.
    #[must_use]
    pub const fn encoder(&self) -> &SessionEncoder {
        &self.encoder
    }

    /// The items of a session, the oldest first.
    ///
    /// # Panics
    ///
    /// If `session` is not below [`n_sessions`](Self::n_sessions).
    #[must_use]
    pub fn session(&self, session: usize) -> &[ItemIdx] {
        &self.items()[self.range(session)]
    }

    /// A session as the shop names its items: what a model is asked with.
    ///
    /// # Panics
    ///
    /// If `session` is not below [`n_sessions`](Self::n_sessions).
    #[must_use]
    pub fn decode(&self, session: usize) -> Session {
        let items = self.session(session).iter();
        items
            .map(|&item| self.vocabulary().item(item).clone())
            .collect()
    }

    /// The items of each session, in order.
    #[must_use]
    pub fn sessions(&self) -> impl ExactSizeIterator<Item = &[ItemIdx]> {
        self.offsets
            .windows(2)
            .map(|bounds| &self.items()[range(bounds)])
    }

    /// Where each session starts in [`items`](Self::items), and one more for the end of the last.
    #[must_use]
    pub fn offsets(&self) -> &[u64] {
        &self.offsets
    }

    /// The items of all sessions, one session after the other.
    #[must_use]
    pub fn items(&self) -> &[ItemIdx] {
        bytemuck::cast_slice(&self.items)
    }

    /// Where a session is in [`items`](Self::items).
    ///
    /// # Panics
    ///
    /// If `session` is not below [`n_sessions`](Self::n_sessions).
    #[must_use]
    pub fn range(&self, session: usize) -> Range<usize> {
        range(&self.offsets[session..session + 2])
    }

    /// The times of a session's interactions, in microseconds since 1970.
    ///
    /// # Panics
    ///
    /// If `session` is not below [`n_sessions`](Self::n_sessions).
    #[must_use]
    pub fn times(&self, session: usize) -> &[i64] {
        &self.times[self.range(session)]
    }

    /// The sessions of at least so many interactions, with a vocabulary of their own items.
    ///
    /// # Errors
    ///
    /// [`Error::EmptyDataset`] if there is none.
    pub fn of_at_least(&self, n_interactions: usize) -> Result<Self> {
        let is_long = |session| self.range(session).len() >= n_interactions;
        if (0..self.n_sessions()).all(is_long) {
            return Ok(self.clone());
        }
        let long = self.select(is_long)?;
        if long.n_sessions() == 0 {
            return Err(Error::EmptyDataset { part: "data" });
        }
        Ok(long)
    }

    /// The sessions for which `keep` says so, with a vocabulary of their own items.
    pub(super) fn select(&self, keep: impl Fn(usize) -> bool) -> Result<Self> {
        let kept = || (0..self.n_sessions()).filter(|&session| keep(session));
        let mut counts = vec![0_u64; self.vocabulary().len()];
        for item in kept().flat_map(|session| self.session(session)) {
            counts[item.get()] += 1;
        }
        let seen = self.vocabulary().items().iter().zip(&counts);
        let seen = seen.filter(|(_, count)| **count > 0);
        let vocabulary = Vocabulary::from_counts(seen.map(|(item, &count)| (item.clone(), count)))?;
        // Both vocabularies are ordered by id, so positions only close up.
        let mut next = 0;
        let position = |&count: &u64| {
            let position = next;
            next += u32::from(count > 0);
            position
        };
        let positions: Vec<u32> = counts.iter().map(position).collect();
        let mut columns = Columns::new(&self.storage)?;
        for session in kept() {
            columns.push(self.session(session), &positions, self.times(session))?;
        }
        let encoder = SessionEncoder::new(self.encoder.encoding(), Arc::new(vocabulary))?;
        columns.into_dataset(encoder)
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "positions of a slice that is in the address space"
)]
fn range(bounds: &[u64]) -> Range<usize> {
    let [start, end] = [bounds[0], bounds[1]].map(|bound| bound as usize);
    start..end
}
