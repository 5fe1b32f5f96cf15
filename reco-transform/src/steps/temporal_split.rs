//! [`TemporalSplit`]: sessions for training, validation and test, by time.

use async_trait::async_trait;
use datafusion::error::Result;
use datafusion::prelude::DataFrame;
use reco_core::Timestamp;
use serde::{Deserialize, Serialize};

use super::query::{Input, TIME};
use crate::step::{Step, StepContext};

/// Says of each row which part of a split in time it belongs to, in the column `split`.
///
/// The rule is that of [`Split`](reco_core::Split), so that the data set and the table agree: a session
/// belongs to one part as a whole. One that starts at the cut or later is for testing; one that ends before
/// it is for training, and of those, one that starts at the cut of validation or later is for validation.
/// A session that straddles a cut is in no part: nothing that a model is fitted on happened after the test
/// set began.
///
/// | `split` | the session |
/// | --- | --- |
/// | `train` | ends before the cut of validation, or of test if there is no other |
/// | `validation` | starts at the cut of validation or later and ends before the cut of test |
/// | `test` | starts at the cut of test or later |
/// | `straddling` | anything else |
/// | NULL | the row has no session, or its session no time |
///
/// Reads `session_id` and `occurred_at`, and `tenant_id` if there is one: then a session is one of its
/// tenant. Keeps all columns; a `split` that is there already is replaced. What each part is for is then a
/// query: `select * from split where split = 'train'`.
///
/// Two sorts of whole rows by session and time, at once, and windows that look back only: all of it
/// spills. A cut in [days](SplitCut::LastDays) takes a look at all sessions before, and so reads the input
/// once more for itself and, for that of validation, once more again.
///
/// # Examples
///
/// ```
/// use reco_transform::{SplitCut, Step, TemporalSplit};
///
/// // The last day for testing, the seven before for validation.
/// let step = TemporalSplit {
///     validation: Some(SplitCut::LastDays(7)),
///     ..Default::default()
/// };
/// assert_eq!((step.inputs(), step.name()), (vec!["interactions".to_owned()], "split"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TemporalSplit {
    /// When testing begins. Default the last day.
    pub test: SplitCut,
    /// When validation begins: before testing, if both are times. Default none.
    pub validation: Option<SplitCut>,
    /// The table to read. Default `interactions`.
    pub input: String,
    /// The table to make. Default `split`.
    pub output: String,
}

/// When a part of a [`TemporalSplit`] begins.
///
/// Written as `{"at": "2024-05-01T00:00:00Z"}` or `{"last_days": 7}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SplitCut {
    /// At a time.
    At(Timestamp),
    /// So that it holds the last so many days (UTC) on which a session started: for validation, a session
    /// that ends before the test set begins.
    LastDays(u32),
}

impl Default for TemporalSplit {
    fn default() -> Self {
        Self {
            test: SplitCut::LastDays(1),
            validation: None,
            input: "interactions".to_owned(),
            output: "split".to_owned(),
        }
    }
}

#[async_trait]
impl Step for TemporalSplit {
    fn name(&self) -> &str {
        &self.output
    }

    fn inputs(&self) -> Vec<String> {
        vec![self.input.clone()]
    }

    async fn plan(&self, ctx: &StepContext<'_>) -> Result<DataFrame> {
        let input = Input::open(ctx, &self.output, &self.input)?;
        self.check(&input)?;
        let (table, tenant) = (&input.table, input.tenant);
        let columns = input.columns_but("split");
        let test = cut(self.test, "sessions");
        let validation = match self.validation {
            Some(at) => cut(at, "test_cut cross join sessions where last_at < test_at"),
            None => "select cast(null as bigint) as cut".to_owned(),
        };
        // The cuts come first: the left side of a join is held in memory.
        let query = format!(
            "with sessions as (
               select {tenant} session_id, min({TIME}) as first_at, max({TIME}) as last_at
               from {table}
               where session_id is not null
               group by {tenant} session_id
             ),
             test_cut as (select cut as test_at from ({test}) as cut),
             validation_cut as (select cut as validation_at from ({validation}) as cut),
             forwards as (
               select *, min({TIME}) over (
                 partition by {tenant} session_id order by {TIME} nulls last
                 rows between unbounded preceding and current row) as __first_at
               from {table}
             ),
             spans as (
               select *, max({TIME}) over (
                 partition by {tenant} session_id order by {TIME} desc nulls last
                 rows between unbounded preceding and current row) as __last_at
               from forwards
             )
             select {columns}, case
               when session_id is null or __first_at is null then null
               when __first_at >= test_at then 'test'
               when __last_at >= test_at then 'straddling'
               when validation_at is null then 'train'
               when __first_at >= validation_at then 'validation'
               when __last_at >= validation_at then 'straddling'
               else 'train' end as split
             from test_cut cross join validation_cut cross join spans"
        );
        ctx.sql(&query).await
    }
}

impl TemporalSplit {
    fn check(&self, input: &Input<'_>) -> Result<()> {
        for (key, cut) in [("test", Some(self.test)), ("validation", self.validation)] {
            if cut == Some(SplitCut::LastDays(0)) {
                return Err(
                    input.invalid(format!("`{key}` holds the last 0 days, which is nothing"))
                );
            }
        }
        if let (SplitCut::At(test), Some(SplitCut::At(validation))) = (self.test, self.validation)
            && validation >= test
        {
            return Err(input.invalid(format!(
                "`validation` begins at {validation}, which is not before `test` at {test}"
            )));
        }
        Ok(())
    }
}

/// A query for a time in microseconds: midnight before the last days on which one of `sessions` started.
fn cut(cut: SplitCut, sessions: &str) -> String {
    const DAY: i64 = 24 * 60 * 60 * 1_000_000;
    match cut {
        SplitCut::At(time) => format!("select cast({} as bigint) as cut", time.as_microsecond()),
        SplitCut::LastDays(days) => {
            let before = (i64::from(days) - 1) * DAY;
            format!(
                "select max(first_at) - ((max(first_at) % {DAY}) + {DAY}) % {DAY} - {before} as cut
                 from {sessions}"
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use datafusion::arrow::array::{Array, AsArray};
    use proptest::prelude::*;
    use reco_core::{EventKind, SessionDataset, SessionEncoding};

    use super::super::testing::{Act, acts, run};
    use super::*;

    const DAY: i64 = 24 * 60 * 60;

    /// The part of each session; all rows of one are in the same.
    fn parts(step: &TemporalSplit, input: &[Act<'_>]) -> BTreeMap<String, String> {
        let mut parts = BTreeMap::new();
        for batch in run(step, acts(input)).unwrap() {
            let column = |name| {
                batch
                    .column_by_name(name)
                    .unwrap()
                    .as_string::<i32>()
                    .clone()
            };
            let (sessions, split) = (
                column("session_id"),
                datafusion::arrow::compute::cast(
                    batch.column_by_name("split").unwrap(),
                    &datafusion::arrow::datatypes::DataType::Utf8,
                )
                .unwrap(),
            );
            let split = split.as_string::<i32>();
            for row in 0..batch.num_rows() {
                let session = if sessions.is_null(row) {
                    "none"
                } else {
                    sessions.value(row)
                };
                let part = if split.is_null(row) {
                    "null"
                } else {
                    split.value(row)
                };
                let before = parts.insert(session.to_owned(), part.to_owned());
                assert!(before.is_none_or(|before| before == part), "{session}");
            }
        }
        parts
    }

    fn at(session: &str, seconds: i64) -> Act<'_> {
        Act::new(session, "1970-01-01T00:00:00Z", EventKind::Detail)
            .later(seconds)
            .of("hat")
    }

    #[test]
    fn a_session_is_in_one_part_or_straddles() {
        let input = [
            at("trains", 0),
            at("trains", 2 * DAY - 1),
            at("straddles_validation", 2 * DAY - 1),
            at("straddles_validation", 2 * DAY),
            at("validates", 2 * DAY),
            at("straddles_both", 0),
            at("straddles_both", 4 * DAY),
            at("straddles_test", 3 * DAY - 1),
            at("straddles_test", 3 * DAY),
            at("tests", 3 * DAY),
            at("tests", 5 * DAY),
            at("x", 0).in_no_session(),
        ];
        let time = |second| Timestamp::from_second(second).unwrap();
        let at_times = TemporalSplit {
            test: SplitCut::At(time(3 * DAY)),
            validation: Some(SplitCut::At(time(2 * DAY))),
            ..TemporalSplit::default()
        };
        let in_days = TemporalSplit {
            validation: Some(SplitCut::LastDays(1)),
            ..TemporalSplit::default()
        };
        for step in [at_times, in_days] {
            let expected = [
                ("none", "null"),
                ("straddles_both", "straddling"),
                ("straddles_test", "straddling"),
                ("straddles_validation", "straddling"),
                ("tests", "test"),
                ("trains", "train"),
                ("validates", "validation"),
            ];
            let expected = expected.map(|(session, part)| (session.to_owned(), part.to_owned()));
            assert_eq!(parts(&step, &input), BTreeMap::from(expected));
        }
    }

    #[test]
    fn cuts_that_mean_nothing_are_refused() {
        let check = |step: TemporalSplit, expected: &str| {
            let error = run(&step, acts(&[])).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check(
            TemporalSplit {
                test: SplitCut::LastDays(0),
                ..TemporalSplit::default()
            },
            "`test` holds the last 0 days",
        );
        let at = SplitCut::At(Timestamp::UNIX_EPOCH);
        check(
            TemporalSplit {
                test: at,
                validation: Some(at),
                ..TemporalSplit::default()
            },
            "`validation` begins at 1970-01-01T00:00:00Z, which is not before `test`",
        );
    }

    #[test]
    fn a_cut_is_written_by_its_kind() {
        let json = r#"{"test":{"at":"2024-05-01T00:00:00Z"},"validation":{"last_days":7}}"#;
        let step: TemporalSplit = reco_core::config_from_json("split", json).unwrap();
        assert_eq!(step.validation, Some(SplitCut::LastDays(7)));
        assert_eq!(
            step.test,
            SplitCut::At("2024-05-01T00:00:00Z".parse().unwrap())
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        #[test]
        fn the_table_agrees_with_the_data_set(
            spans in prop::collection::vec((-6..12_i64, 0..6_i64), 2..10),
            days in 1..3_u32,
        ) {
            const NAMES: [&str; 10] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
            let mut input = Vec::new();
            let mut builder = SessionDataset::builder(SessionEncoding::default());
            for (name, (start, length)) in NAMES.into_iter().zip(&spans) {
                // Half days, so that ends fall on cuts.
                for second in [start * DAY / 2, (start + length) * DAY / 2] {
                    input.push(at(name, second));
                    let time = Timestamp::from_second(second).unwrap();
                    builder.push(name, name, time).unwrap();
                }
            }
            let expected = builder.build().unwrap().split_last_days(days);
            let expected = expected.and_then(|split| split.hold_out_days(days));
            // A data set without one of the parts is an error; a table is what it is.
            if let Ok(split) = expected {
                let step = TemporalSplit {
                    test: SplitCut::LastDays(days),
                    validation: Some(SplitCut::LastDays(days)),
                    ..TemporalSplit::default()
                };
                let parts = parts(&step, &input);
                let n = |part: &str| parts.values().filter(|p| *p == part).count();
                prop_assert_eq!(n("train"), split.train.n_sessions());
                prop_assert_eq!(n("validation"), split.validation.unwrap().n_sessions());
                prop_assert_eq!(n("test"), split.test.n_sessions());
                prop_assert_eq!(n("straddling"), split.n_straddling);
            }
        }
    }
}
