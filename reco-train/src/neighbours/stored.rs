//! A [`SessionIndex`] in an artifact, and out of it.

use reco_core::{BoxError, Error, ModelArtifact, ModelArtifactBuilder, Result};

use super::index::{Kept, Learnt, SessionIndex};
use super::visits::Visits;

/// The items of the kept sessions, one session after the other, the oldest first: `[n_entries]`.
const ITEMS: &str = "session_items";
/// The last place of each of them in its session, from 1: `[n_entries]`.
const PLACES: &str = "session_places";
/// How many items each session has: `[n_sessions]`.
const LENGTHS: &str = "session_lengths";
/// When each ended, in microseconds since 1970, as the upper and the lower 32 bits: `[n_sessions, 2]`.
const ENDED: &str = "session_ended";
/// In how many sessions each item was, sessions that were let go of included: `[n_items]`.
const SUPPORT: &str = "support";
/// How many sessions were learnt from, as the upper and the lower 32 bits: `[2]`.
const LEARNT: &str = "n_sessions";

impl SessionIndex {
    /// Adds what cannot be computed again: lists of items are not stored.
    pub(crate) fn save(&self, builder: ModelArtifactBuilder) -> ModelArtifactBuilder {
        let visits = &self.visits;
        let lengths: Vec<u32> = (0..visits.len())
            .map(|visit| {
                u32::try_from(visits.items_of(visit).len()).expect("items are numbered by u32")
            })
            .collect();
        let ended: Vec<u32> = visits
            .ended
            .iter()
            .flat_map(|ended| halves(ended.cast_unsigned()))
            .collect();
        let builder = builder
            .indices(ITEMS, &[visits.items.len()], &visits.items)
            .indices(LENGTHS, &[lengths.len()], &lengths)
            .indices(ENDED, &[visits.len(), 2], &ended)
            .indices(SUPPORT, &[self.learnt.support.len()], &self.learnt.support)
            .indices(LEARNT, &[2], &halves(self.learnt.n_sessions));
        match &visits.places {
            Some(places) => builder.indices(PLACES, &[places.len()], places),
            None => builder,
        }
    }

    /// The index that an artifact holds.
    ///
    /// # Errors
    ///
    /// [`Error::MalformedArtifact`] says which of its parts do not fit together.
    pub(crate) fn load(artifact: &ModelArtifact, n_items: usize, kept: Kept) -> Result<Self> {
        let shapes = artifact.tensor_shapes()?;
        let n_rows = |name: &str| {
            let shape = shapes.get(name).and_then(|shape| shape.first());
            shape
                .copied()
                .ok_or_else(|| malformed(format!("there is no tensor `{name}`")))
        };
        let (n_visits, n_entries) = (n_rows(LENGTHS)?, n_rows(ITEMS)?);
        let lengths = artifact.indices(LENGTHS, &[n_visits])?;
        let mut offsets = Vec::with_capacity(n_visits + 1);
        offsets.push(0);
        let mut end = 0_usize;
        for &length in &lengths {
            end = end.saturating_add(length as usize);
            offsets.push(end);
        }
        if end != n_entries || lengths.contains(&0) {
            let reason =
                format!("`{LENGTHS}` does not tell the {n_entries} rows of `{ITEMS}` apart");
            return Err(malformed(reason));
        }
        let ended = artifact.indices(ENDED, &[n_visits, 2])?;
        let (ended, _) = ended.as_chunks::<2>();
        let places = kept.places.then(|| artifact.indices(PLACES, &[n_entries]));
        let visits = Visits {
            ended: ended
                .iter()
                .map(|&pair| whole(pair).cast_signed())
                .collect(),
            offsets,
            items: artifact.indices(ITEMS, &[n_entries])?,
            places: places.transpose()?,
        };
        let learnt = artifact.indices(LEARNT, &[2])?;
        let learnt = Learnt {
            n_sessions: whole([learnt[0], learnt[1]]),
            support: artifact.indices(SUPPORT, &[n_items])?,
        };
        check(&visits, &learnt)?;
        Self::assemble(learnt, visits, kept.m)
    }
}

/// What every index that was saved keeps to.
fn check(visits: &Visits, learnt: &Learnt) -> Result<()> {
    let n_items = learnt.support.len();
    if let Some(item) = visits.items.iter().find(|&&item| item as usize >= n_items) {
        let reason = format!("`{ITEMS}` names item {item} of {n_items}");
        return Err(malformed(reason));
    }
    if !visits.is_sorted() {
        let reason = format!("the sessions of `{ENDED}` are not in the order of their ends");
        return Err(malformed(reason));
    }
    let mut found = vec![0_u32; n_items];
    let mut last_visit = vec![usize::MAX; n_items];
    for visit in 0..visits.len() {
        let places = visits.visit(visit).places;
        if places.first() == Some(&0) || !places.is_sorted_by(|a, b| a < b) {
            let reason = format!("session {visit} of `{PLACES}` is not in the order of its places");
            return Err(malformed(reason));
        }
        for &item in visits.items_of(visit) {
            if std::mem::replace(&mut last_visit[item as usize], visit) == visit {
                let reason = format!("session {visit} of `{ITEMS}` holds item {item} twice");
                return Err(malformed(reason));
            }
            found[item as usize] += 1;
        }
    }
    let short = |(found, support): (&u32, &u32)| found > support;
    if found.iter().zip(&learnt.support).any(short) || learnt.n_sessions < visits.len() as u64 {
        let reason = format!("there are more sessions than `{SUPPORT}` or `{LEARNT}` has counted");
        return Err(malformed(reason));
    }
    Ok(())
}

/// The upper and the lower 32 bits.
#[expect(clippy::cast_possible_truncation, reason = "the upper bits are apart")]
const fn halves(value: u64) -> [u32; 2] {
    [(value >> 32) as u32, value as u32]
}

fn whole([upper, lower]: [u32; 2]) -> u64 {
    u64::from(upper) << 32 | u64::from(lower)
}

pub(crate) fn malformed(reason: impl Into<BoxError>) -> Error {
    Error::MalformedArtifact {
        file: "weights.safetensors".to_owned(),
        source: reason.into(),
    }
}
