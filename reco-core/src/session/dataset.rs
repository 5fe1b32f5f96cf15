//! [`SessionDataset`]: all sessions of a table as offsets and item positions.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::TimestampMicrosecondType;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Interaction, Session, SessionEncoder, SessionEncoding};
use crate::artifact::hex;
use crate::error::{Error, Result};
use crate::record::project;
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
    encoder: SessionEncoder,
    /// Session `s` is `items[offsets[s]..offsets[s + 1]]`.
    offsets: Vec<usize>,
    items: Vec<ItemIdx>,
    /// Time of each interaction, in microseconds since 1970.
    times: Vec<i64>,
}

impl SessionDataset {
    /// Collects interactions, in any order.
    #[must_use]
    pub fn builder(encoding: SessionEncoding) -> SessionDatasetBuilder {
        SessionDatasetBuilder {
            encoding,
            sessions: HashMap::new(),
            items: HashMap::new(),
            rows: Vec::new(),
        }
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

    /// What the data is, in a few numbers and a digest.
    #[must_use]
    pub fn fingerprint(&self) -> DataFingerprint {
        let mut digest = Sha256::new();
        for item in self.vocabulary().items() {
            digest.update((item.as_str().len() as u64).to_le_bytes());
            digest.update(item.as_str());
        }
        let mut bytes = Vec::with_capacity(1 << 16);
        let mut write = |value: u64, digest: &mut Sha256| {
            bytes.extend_from_slice(&value.to_le_bytes());
            if bytes.len() >= 1 << 16 {
                digest.update(&bytes);
                bytes.clear();
            }
        };
        self.offsets
            .iter()
            .for_each(|&offset| write(offset as u64, &mut digest));
        self.items
            .iter()
            .for_each(|item| write(u64::from(item.0), &mut digest));
        digest.update(&bytes);
        DataFingerprint {
            n_sessions: self.n_sessions() as u64,
            n_interactions: self.n_interactions() as u64,
            n_items: self.vocabulary().len() as u64,
            from: self
                .times
                .iter()
                .min()
                .and_then(|&t| Timestamp::from_microsecond(t).ok()),
            until: self
                .times
                .iter()
                .max()
                .and_then(|&t| Timestamp::from_microsecond(t).ok()),
            sha256: hex(&digest.finalize()),
        }
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

/// Collects interactions, in any order, into a [`SessionDataset`].
///
/// Holds 16 bytes an interaction, and each session and item id once.
#[derive(Debug, Clone)]
pub struct SessionDatasetBuilder {
    encoding: SessionEncoding,
    sessions: HashMap<Box<str>, u32>,
    items: HashMap<Box<str>, u32>,
    rows: Vec<Row>,
}

#[derive(Debug, Clone, Copy)]
struct Row {
    session: u32,
    item: u32,
    time: i64,
}

impl SessionDatasetBuilder {
    /// Adds one interaction.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] if there are 2³² sessions or items or more.
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
        let sessions = batch.column(0).as_string::<i32>();
        let items = batch.column(1).as_string::<i32>();
        let times = batch.column(2).as_primitive::<TimestampMicrosecondType>();
        for row in 0..batch.num_rows() {
            self.push_micros(sessions.value(row), items.value(row), times.value(row))?;
        }
        Ok(())
    }

    fn push_micros(&mut self, session: &str, item: &str, time: i64) -> Result<()> {
        let session = intern(&mut self.sessions, session, "sessions")?;
        let item = intern(&mut self.items, item, "items")?;
        self.rows.push(Row {
            session,
            item,
            time,
        });
        Ok(())
    }

    /// Sorts and encodes what was collected.
    ///
    /// # Errors
    ///
    /// [`Error::EmptyDataset`] if that is nothing.
    pub fn build(mut self) -> Result<SessionDataset> {
        if self.rows.is_empty() {
            return Err(Error::EmptyDataset { part: "data" });
        }
        let mut starts = vec![i64::MAX; self.sessions.len()];
        for row in &self.rows {
            let start = &mut starts[row.session as usize];
            *start = (*start).min(row.time);
        }
        let mut by_start: Vec<(i64, &str, u32)> = self
            .sessions
            .iter()
            .map(|(id, &s)| (starts[s as usize], &**id, s))
            .collect();
        by_start.sort_unstable();
        let mut order = vec![0_u32; by_start.len()];
        for (position, (_, _, session)) in (0_u32..).zip(&by_start) {
            order[*session as usize] = position;
        }
        // Stable: rows of one session with equal times stay as they were pushed.
        self.rows
            .sort_by_key(|row| (order[row.session as usize], row.time));

        let mut by_id: Vec<(&str, u32)> =
            self.items.iter().map(|(id, &item)| (&**id, item)).collect();
        by_id.sort_unstable();
        let all = Vocabulary::from_counts(by_id.iter().map(|&(id, _)| (id, 0)))?;
        let mut position = vec![ItemIdx(0); by_id.len()];
        for (idx, (_, item)) in (0_u32..).zip(&by_id) {
            position[*item as usize] = ItemIdx(idx);
        }
        let (mut offsets, mut items, mut times) = (vec![0], Vec::new(), Vec::new());
        for session in self.rows.chunk_by(|a, b| a.session == b.session) {
            let positions = session.iter().map(|row| Some(position[row.item as usize]));
            for (place, item) in self.encoding.apply(positions) {
                items.push(item);
                times.push(session[place].time);
            }
            offsets.push(items.len());
        }
        let encoder = SessionEncoder::new(self.encoding, Arc::new(all))?;
        // Counts are those of the encoded sessions.
        SessionDataset {
            encoder,
            offsets,
            items,
            times,
        }
        .select(|_| true)
    }
}

fn intern(ids: &mut HashMap<Box<str>, u32>, id: &str, what: &str) -> Result<u32> {
    if let Some(&number) = ids.get(id) {
        return Ok(number);
    }
    let number = u32::try_from(ids.len()).map_err(|_| Error::InvalidConfig {
        of: "session data set".to_owned(),
        reason: format!("more {what} than a 32-bit index can name"),
    })?;
    match ids.entry(id.into()) {
        Entry::Occupied(entry) => Ok(*entry.get()),
        Entry::Vacant(entry) => Ok(*entry.insert(number)),
    }
}

/// What a data set is, in a few numbers and a digest: it travels with the model that learnt from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataFingerprint {
    /// Number of sessions.
    pub n_sessions: u64,
    /// Number of interactions.
    pub n_interactions: u64,
    /// Number of distinct items.
    pub n_items: u64,
    /// The first interaction.
    pub from: Option<Timestamp>,
    /// The last interaction.
    pub until: Option<Timestamp>,
    /// SHA-256 of the vocabulary, the offsets and the items, in hex.
    pub sha256: String,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn build(rows: &[(&str, &str, i64)], collapse_repeats: bool) -> SessionDataset {
        let encoding = SessionEncoding {
            collapse_repeats,
            ..SessionEncoding::default()
        };
        let mut builder = SessionDataset::builder(encoding);
        for (session, item, second) in rows {
            builder
                .push(session, item, Timestamp::from_second(*second).unwrap())
                .unwrap();
        }
        builder.build().unwrap()
    }

    fn names(dataset: &SessionDataset) -> Vec<Vec<&str>> {
        let name = |item: &ItemIdx| dataset.vocabulary().item(*item).as_str();
        dataset
            .sessions()
            .map(|session| session.iter().map(name).collect())
            .collect()
    }

    #[test]
    fn sessions_are_ordered_by_start_then_id_and_rows_by_time_then_arrival() {
        let rows = [
            ("b", "y", 5),
            ("b", "x", 5),
            ("a", "z", 7),
            ("a", "x", 5),
            ("c", "z", 1),
        ];
        assert_eq!(
            names(&build(&rows, false)),
            [vec!["z"], vec!["x", "z"], vec!["y", "x"]]
        );
    }

    #[test]
    fn collapsed_repeats_keep_their_first_time() {
        let rows = [
            ("a", "x", 1),
            ("a", "x", 2),
            ("a", "y", 3),
            ("a", "x", 4),
            ("a", "x", 5),
        ];
        let dataset = build(&rows, true);
        assert_eq!(names(&dataset), [["x", "y", "x"]]);
        assert_eq!(dataset.times(0), [1_000_000, 3_000_000, 4_000_000]);
        assert_eq!(dataset.vocabulary().counts(), [2, 1]);
    }

    #[test]
    fn items_of_short_sessions_leave_with_them() {
        let dataset = build(&[("a", "x", 1), ("b", "y", 2), ("b", "z", 3)], false);
        assert_eq!(names(&dataset.of_at_least(2).unwrap()), [["y", "z"]]);
        let error = dataset.of_at_least(3).unwrap_err();
        assert_eq!(error.to_string(), "the data set holds no session");
    }

    #[test]
    fn nothing_is_an_error() {
        let error = SessionDataset::builder(SessionEncoding::default())
            .build()
            .unwrap_err();
        assert_eq!(error.to_string(), "the data set holds no session");
    }

    proptest! {
        #[test]
        fn each_interaction_is_in_exactly_one_session(
            rows in prop::collection::vec((0..5_u8, 0..6_u8, 0..100_i64), 1..60),
        ) {
            let mut builder = SessionDataset::builder(SessionEncoding::default());
            for (session, item, second) in &rows {
                let time = Timestamp::from_second(*second).unwrap();
                builder.push(&session.to_string(), &item.to_string(), time).unwrap();
            }
            let dataset = builder.build().unwrap();
            prop_assert_eq!(dataset.n_interactions(), rows.len());
            prop_assert_eq!(dataset.sessions().map(<[_]>::len).sum::<usize>(), rows.len());
            for session in 0..dataset.n_sessions() {
                prop_assert!(dataset.times(session).is_sorted());
            }
            let counted: u64 = dataset.vocabulary().counts().iter().sum();
            prop_assert_eq!(counted, rows.len() as u64);
        }
    }
}
