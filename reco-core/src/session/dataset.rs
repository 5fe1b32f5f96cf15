//! [`SessionDataset`]: all sessions of a table as offsets and item positions.

use std::sync::Arc;

use super::{Session, SessionDatasetBuilder, SessionEncoder, SessionEncoding};
use crate::error::{Error, Result};
use crate::vocabulary::{ItemIdx, Vocabulary};

/// All sessions of a table: one vector of item positions and the offsets of the sessions in it.
///
/// Sessions are ordered by the time of their first interaction, ties by session id; interactions of
/// a session by time, ties in the order they were pushed.
/// There is no session without an interaction, and no item in the vocabulary without one.
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
    /// Session `s` is `items[offsets[s]..offsets[s + 1]]`.
    pub(super) offsets: Vec<usize>,
    pub(super) items: Vec<ItemIdx>,
    /// Time of each interaction, in microseconds since 1970.
    pub(super) times: Vec<i64>,
}

impl SessionDataset {
    /// Collects interactions, in any order.
    #[must_use]
    pub fn builder(encoding: SessionEncoding) -> SessionDatasetBuilder {
        SessionDatasetBuilder::new(encoding)
    }

    /// How many sessions there are.
    #[must_use]
    pub const fn n_sessions(&self) -> usize {
        self.offsets.len() - 1
    }

    /// How many interactions there are in all sessions.
    #[must_use]
    pub const fn n_interactions(&self) -> usize {
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
        &self.items[self.offsets[session]..self.offsets[session + 1]]
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
            .map(|bounds| &self.items[bounds[0]..bounds[1]])
    }

    /// Where each session starts in [`items`](Self::items), and one more for the end of the last.
    #[must_use]
    pub fn offsets(&self) -> &[usize] {
        &self.offsets
    }

    /// The items of all sessions, one session after the other.
    #[must_use]
    pub fn items(&self) -> &[ItemIdx] {
        &self.items
    }

    /// The times of a session's interactions, in microseconds since 1970.
    ///
    /// # Panics
    ///
    /// If `session` is not below [`n_sessions`](Self::n_sessions).
    #[must_use]
    pub fn times(&self, session: usize) -> &[i64] {
        &self.times[self.offsets[session]..self.offsets[session + 1]]
    }

    /// The sessions of at least so many interactions, with a vocabulary of their own items.
    ///
    /// # Errors
    ///
    /// [`Error::EmptyDataset`] if there is none.
    pub fn of_at_least(&self, n_interactions: usize) -> Result<Self> {
        let long = self.select(|session| self.session(session).len() >= n_interactions)?;
        if long.n_sessions() == 0 {
            return Err(Error::EmptyDataset { part: "data" });
        }
        Ok(long)
    }

    /// The sessions for which `keep` says so, with a vocabulary of their own items.
    pub(super) fn select(&self, keep: impl Fn(usize) -> bool) -> Result<Self> {
        let kept: Vec<usize> = (0..self.n_sessions())
            .filter(|&session| keep(session))
            .collect();
        let mut counts = vec![0_u64; self.vocabulary().len()];
        for &session in &kept {
            self.session(session)
                .iter()
                .for_each(|item| counts[item.get()] += 1);
        }
        let seen = self
            .vocabulary()
            .items()
            .iter()
            .zip(&counts)
            .filter(|(_, count)| **count > 0);
        let vocabulary = Vocabulary::from_counts(seen.map(|(item, &count)| (item.clone(), count)))?;
        // Both vocabularies are ordered by id, so positions only close up.
        let mut next = 0;
        let renumbered: Vec<u32> = counts
            .iter()
            .map(|&count| {
                let idx = next;
                next += u32::from(count > 0);
                idx
            })
            .collect();
        let mut offsets = vec![0];
        let (mut items, mut times) = (Vec::new(), Vec::new());
        for &session in &kept {
            items.extend(
                self.session(session)
                    .iter()
                    .map(|item| ItemIdx(renumbered[item.get()])),
            );
            times.extend_from_slice(self.times(session));
            offsets.push(items.len());
        }
        let encoder = SessionEncoder::new(self.encoder.encoding(), Arc::new(vocabulary))?;
        Ok(Self {
            encoder,
            offsets,
            items,
            times,
        })
    }
}
