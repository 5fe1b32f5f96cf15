//! [`SessionDatasetBuilder`]: interactions in any order into a data set.

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::TimestampMicrosecondType;
use jiff::Timestamp;

use super::numbers::Numbers;
use super::{Interaction, SessionDataset, SessionEncoding, SortedDatasetBuilder};
use crate::error::Result;
use crate::record::project;
use crate::vocabulary::ItemIdx;

/// Collects interactions, in any order, into a [`SessionDataset`].
///
/// Holds 16 bytes an interaction, and each session and item id once. Where sessions come one after the other,
/// [`SortedDatasetBuilder`] needs less.
#[derive(Debug, Clone)]
pub struct SessionDatasetBuilder {
    encoding: SessionEncoding,
    sessions: Numbers,
    items: Numbers,
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
            sessions: Numbers::new("sessions"),
            items: Numbers::new("items"),
            rows: Vec::new(),
        }
    }

    /// Adds one interaction.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`](crate::Error::InvalidConfig) if there are 2³² sessions or items or more.
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

    fn push_micros(&mut self, session: &str, item: &str, time: i64) -> Result<()> {
        self.rows.push(Row {
            session: self.sessions.number(session)?,
            item: self.items.number(item)?,
            time,
        });
        Ok(())
    }

    /// Sorts and encodes what was collected.
    ///
    /// # Errors
    ///
    /// [`Error::EmptyDataset`](crate::Error::EmptyDataset) if that is nothing.
    pub fn build(mut self) -> Result<SessionDataset> {
        let by_id = self.sessions.sorted();
        let mut order = vec![0_u32; by_id.len()];
        for (position, (_, session)) in (0_u32..).zip(&by_id) {
            order[*session as usize] = position;
        }
        // Stable: rows of one session with equal times stay as they were pushed.
        self.rows
            .sort_by_key(|row| (order[row.session as usize], row.time));
        let mut sorted = SortedDatasetBuilder::of_items(self.encoding, self.items);
        let sessions = self.rows.chunk_by(|a, b| a.session == b.session);
        for ((id, _), rows) in by_id.iter().zip(sessions) {
            sorted.open_session(id)?;
            for row in rows {
                sorted.push_numbered(ItemIdx(row.item), row.time);
            }
        }
        sorted.build()
    }
}

/// The session, the item and the time in microseconds of each row of a batch of [`Interaction`]s.
pub(super) fn for_each_row(
    batch: &RecordBatch,
    mut each: impl FnMut(&str, &str, i64) -> Result<()>,
) -> Result<()> {
    let sessions = batch.column(0).as_string::<i32>();
    let items = batch.column(1).as_string::<i32>();
    let times = batch.column(2).as_primitive::<TimestampMicrosecondType>();
    (0..batch.num_rows())
        .try_for_each(|row| each(sessions.value(row), items.value(row), times.value(row)))
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
    fn sessions_out_of_order_are_refused_and_not_taken() {
        let mut sorted = SessionDataset::sorted_builder(SessionEncoding::default());
        let mut push = |session, item| sorted.push(session, item, Timestamp::UNIX_EPOCH);
        push("b", "x").unwrap();
        let error = push("a", "y").unwrap_err();
        let expected =
            "session `a` came after session `b`: they must come in the order of their ids";
        assert_eq!(error.to_string(), expected);
        push("b", "z").unwrap();
        assert_eq!(names(&sorted.build().unwrap()), [["x", "z"]]);
    }

    #[test]
    fn what_cannot_be_spilled_stays() {
        let folder = tempfile::tempdir().unwrap();
        for spills_then in [false, true] {
            let mut sorted = SessionDataset::sorted_builder(SessionEncoding::default());
            let push = |sorted: &mut SortedDatasetBuilder, session, item| {
                sorted.push(session, item, Timestamp::UNIX_EPOCH).unwrap();
            };
            push(&mut sorted, "a", "x");
            push(&mut sorted, "b", "y");
            let error = sorted.spill_to(std::path::Path::new("/no/such/folder"));
            assert!(matches!(error, Err(crate::Error::DatasetFile { .. })));
            if spills_then {
                sorted.spill_to(folder.path()).unwrap();
            }
            push(&mut sorted, "b", "x");
            let dataset = sorted.build().unwrap();
            assert_eq!(dataset.is_mapped(), spills_then);
            assert_eq!(names(&dataset), [vec!["x"], vec!["y", "x"]]);
        }
    }

    #[test]
    fn nothing_is_an_error() {
        let error = SessionDataset::builder(SessionEncoding::default())
            .build()
            .unwrap_err();
        assert_eq!(error.to_string(), "the data set holds no session");
        let mut sorted = SessionDataset::sorted_builder(SessionEncoding::default());
        sorted.spill_to(&std::env::temp_dir()).unwrap();
        let error = sorted.build().unwrap_err();
        assert_eq!(error.to_string(), "the data set holds no session");
    }

    /// What a data set holds, in words.
    fn content(dataset: &SessionDataset) -> (Vec<Vec<&str>>, Vec<&[i64]>, &[u64]) {
        let times = (0..dataset.n_sessions()).map(|session| dataset.times(session));
        (
            names(dataset),
            times.collect(),
            dataset.vocabulary().counts(),
        )
    }

    proptest! {
        #[test]
        fn sessions_in_files_are_those_in_memory(
            rows in prop::collection::vec((0..9_u8, 0..6_u8, 0..5_i64), 1..60),
            spill_at in 0..60_usize,
            collapse_repeats: bool,
        ) {
            let mut rows: Vec<(String, String, i64)> = rows
                .into_iter()
                .map(|(session, item, second)| (session.to_string(), item.to_string(), second))
                .collect();
            rows.sort_by(|a, b| a.0.cmp(&b.0));
            let folder = tempfile::tempdir().unwrap();
            let encoding = SessionEncoding { collapse_repeats, ..SessionEncoding::default() };
            let mut sorted = SessionDataset::sorted_builder(encoding);
            sorted.runs().set_run_bytes(100);
            for (place, (session, item, second)) in rows.iter().enumerate() {
                if place == spill_at {
                    sorted.spill_to(folder.path()).unwrap();
                }
                sorted.push(session, item, Timestamp::from_second(*second).unwrap()).unwrap();
            }
            let found = sorted.build().unwrap();
            let mut rows: Vec<(&str, &str, i64)> =
                rows.iter().map(|(session, item, second)| (&**session, &**item, *second)).collect();
            let expected = build(&rows, collapse_repeats);
            prop_assert_eq!(found.is_mapped(), spill_at < rows.len());
            prop_assert_eq!(content(&found), content(&expected));
            // Sessions may come in any order where nothing is promised.
            rows.sort_by_key(|(session, _, _)| session.len().wrapping_sub(session.as_bytes()[0].into()));
            let shuffled = build(&rows, collapse_repeats);
            prop_assert_eq!(content(&shuffled), content(&expected));
            // So are their parts.
            match (found.of_at_least(2), expected.of_at_least(2)) {
                (Ok(found), Ok(expected)) => {
                    prop_assert_eq!(found.is_mapped(), spill_at < rows.len());
                    prop_assert_eq!(content(&found), content(&expected));
                    prop_assert_eq!(found.fingerprint(), expected.fingerprint());
                }
                (found, expected) => prop_assert!(found.is_err() && expected.is_err()),
            }
        }

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
