//! [`SessionDatasetBuilder`]: interactions in any order into a data set.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::TimestampMicrosecondType;
use jiff::Timestamp;

use super::{Interaction, SessionDataset, SessionEncoder, SessionEncoding};
use crate::error::{Error, Result};
use crate::record::project;
use crate::vocabulary::{ItemIdx, Vocabulary};

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
    pub(super) fn new(encoding: SessionEncoding) -> Self {
        Self {
            encoding,
            sessions: HashMap::new(),
            items: HashMap::new(),
            rows: Vec::new(),
        }
    }

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
