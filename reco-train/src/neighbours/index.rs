//! [`SessionIndex`]: the past sessions that can still be a neighbour.

use std::sync::Arc;

use reco_core::{Error, Result, SessionDataset, SessionEncoder, Vocabulary};

use super::postings::Postings;
use super::visits::{Visit, Visits};

/// What is kept of past sessions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Kept {
    /// The most recent sessions of each item that can be found.
    pub(crate) m: usize,
    /// Whether the place of each item in its session is kept.
    pub(crate) places: bool,
    /// Sessions of more distinct items are left out; 0 leaves out none.
    pub(crate) max_session_items: usize,
}

/// The past sessions that can still be a neighbour: those that are among the `m` most recent of one of their
/// items. The others are let go of, since no later session makes them recent again.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SessionIndex {
    pub(super) learnt: Learnt,
    /// Numbered by recency: a higher number ended later.
    pub(super) visits: Visits,
    pub(super) postings: Postings,
}

/// How much was learnt from, sessions that were let go of included.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Learnt {
    /// The number of sessions.
    pub(crate) n_sessions: u64,
    /// In how many of the sessions that were not too long each item was: `[n_items]`.
    pub(crate) support: Vec<u32>,
}

impl SessionIndex {
    /// The index of the sessions of a data set.
    pub(crate) fn of(sessions: &SessionDataset, kept: Kept) -> Result<Self> {
        let n_items = sessions.vocabulary().len();
        let visits = Visits::of(
            sessions,
            &identity(n_items)?,
            kept.places,
            kept.max_session_items,
        );
        let mut learnt = Learnt {
            n_sessions: sessions.n_sessions() as u64,
            support: vec![0; n_items],
        };
        learnt.add(&visits);
        Self::assemble(learnt, visits, kept.m)
    }

    /// The index of the sessions behind this one and those of a data set, with what encodes sessions for it.
    ///
    /// `encoder` is the one of this index.
    pub(crate) fn updated(
        &self,
        encoder: &SessionEncoder,
        sessions: &SessionDataset,
        kept: Kept,
    ) -> Result<(Self, SessionEncoder)> {
        if encoder.encoding() != sessions.encoder().encoding() {
            let reason = format!(
                "the new sessions are encoded as {:?}, the model's as {:?}",
                sessions.encoder().encoding(),
                encoder.encoding()
            );
            return Err(invalid(reason));
        }
        let [old, new] = [encoder.vocabulary(), sessions.vocabulary()];
        let counts = |vocabulary: &Vocabulary| {
            let items = vocabulary.items().iter().cloned();
            let counts = vocabulary.counts().iter().copied();
            items.zip(counts).collect::<Vec<_>>()
        };
        let both = Vocabulary::from_counts(counts(old).into_iter().chain(counts(new)))?;
        let renumbered = |vocabulary: &Vocabulary| -> Vec<u32> {
            let items = vocabulary.items().iter();
            items
                .map(|item| both.idx(item.as_str()).map_or(u32::MAX, |idx| idx.0))
                .collect()
        };
        let (from_old, from_new) = (renumbered(old), renumbered(new));
        let mut learnt = Learnt {
            n_sessions: self.learnt.n_sessions + sessions.n_sessions() as u64,
            support: vec![0; both.len()],
        };
        for (&item, &support) in from_old.iter().zip(&self.learnt.support) {
            learnt.support[item as usize] = support;
        }
        let added = Visits::of(sessions, &from_new, kept.places, kept.max_session_items);
        learnt.add(&added);
        // Items keep their order when they are numbered anew, and visits with equal ends theirs.
        let mut visits = self.visits.clone();
        for item in &mut visits.items {
            *item = from_old[*item as usize];
        }
        visits.append(&added);
        let encoder = SessionEncoder::new(encoder.encoding(), Arc::new(both))?;
        Ok((Self::assemble(learnt, visits, kept.m)?, encoder))
    }

    /// Orders visits, finds which each item has, and lets go of those that none has.
    pub(super) fn assemble(learnt: Learnt, visits: Visits, m: usize) -> Result<Self> {
        // One is left for "no visit" in the merge of lists.
        if u32::try_from(visits.len()).is_err() || visits.len() == u32::MAX as usize {
            return Err(invalid(
                "more sessions than a 32-bit index can name".to_owned(),
            ));
        }
        let mut visits = visits.sorted();
        let mut postings = Postings::of(&visits, learnt.support.len(), m);
        let mut found = vec![false; visits.len()];
        for &visit in postings.visits() {
            found[visit as usize] = true;
        }
        if found.contains(&false) {
            let mut next = 0;
            let renumbered: Vec<u32> = found
                .iter()
                .map(|&found| {
                    let number = next;
                    next += u32::from(found);
                    number
                })
                .collect();
            postings.renumber(&renumbered);
            let order: Vec<usize> = (0..found.len()).filter(|&visit| found[visit]).collect();
            visits = visits.select(&order);
        }
        Ok(Self {
            learnt,
            visits,
            postings,
        })
    }

    /// How much was learnt from.
    pub(crate) const fn learnt(&self) -> &Learnt {
        &self.learnt
    }

    /// How many sessions are kept.
    pub(crate) fn n_kept(&self) -> usize {
        self.visits.len()
    }

    /// The distinct items of a kept session, in the order of their last occurrence.
    pub(crate) fn items(&self, session: u32) -> &[u32] {
        self.visits.items_of(session as usize)
    }

    /// The same with the place of each, from 1; no place where none is kept.
    pub(crate) fn items_and_places(&self, session: u32) -> (&[u32], &[u32]) {
        let Visit { items, places, .. } = self.visits.visit(session as usize);
        (items, places)
    }

    /// When each kept session ended, in microseconds since 1970.
    pub(crate) fn ended(&self) -> &[i64] {
        &self.visits.ended
    }
}

impl Learnt {
    fn add(&mut self, visits: &Visits) {
        for &item in &visits.items {
            self.support[item as usize] += 1;
        }
    }
}

fn identity(n_items: usize) -> Result<Vec<u32>> {
    let n_items = u32::try_from(n_items)
        .map_err(|_| invalid("more items than a 32-bit index can name".to_owned()))?;
    Ok((0..n_items).collect())
}

fn invalid(reason: String) -> Error {
    Error::InvalidConfig {
        of: "index of sessions".to_owned(),
        reason,
    }
}
