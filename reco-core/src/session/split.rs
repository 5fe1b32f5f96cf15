//! [`Split`]: a data set cut in time.

use std::ops::Deref;

use jiff::Timestamp;

use super::SessionDataset;
use crate::error::{Error, Result};

/// A data set cut in time: nothing that a model is fitted on happened after the test set began.
///
/// A session that straddles a cut is in neither part and counted in
/// [`n_straddling`](Self::n_straddling).
/// Each part is a type of its own, so that fitting on the test set does not compile:
///
/// ```compile_fail,E0308
/// # use reco_core::{Split, TrainSet};
/// fn fit(train: &TrainSet) {}
/// fn mistake(split: &Split) { fit(&split.test) }
/// ```
///
/// # Examples
///
/// ```
/// use reco_core::{SessionDataset, SessionEncoding};
///
/// let mut builder = SessionDataset::builder(SessionEncoding::default());
/// builder.push("a", "hat", "2024-05-01T10:00Z".parse()?)?;
/// builder.push("b", "scarf", "2024-05-02T10:00Z".parse()?)?;
/// let split = builder.build()?.split_last_days(1)?;
/// assert_eq!(split.train.n_sessions(), 1);
/// assert_eq!(split.test.n_sessions(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Split {
    /// What models are fitted on.
    pub train: TrainSet,
    /// What settings are chosen on; none until [`Split::hold_out_days`] makes one.
    pub validation: Option<ValidationSet>,
    /// What models are judged on.
    pub test: TestSet,
    /// How many sessions were left out because they straddle a cut.
    pub n_straddling: usize,
}

/// The sessions that a model may be fitted on.
#[derive(Debug, Clone)]
pub struct TrainSet(SessionDataset);

/// The sessions that settings are chosen on.
#[derive(Debug, Clone)]
pub struct ValidationSet(SessionDataset);

/// The sessions that a model is judged on. Its vocabulary is its own: items that training never saw
/// are in it.
#[derive(Debug, Clone)]
pub struct TestSet(SessionDataset);

impl Deref for TrainSet {
    type Target = SessionDataset;

    fn deref(&self) -> &SessionDataset {
        &self.0
    }
}

impl Deref for ValidationSet {
    type Target = SessionDataset;

    fn deref(&self) -> &SessionDataset {
        &self.0
    }
}

impl Deref for TestSet {
    type Target = SessionDataset;

    fn deref(&self) -> &SessionDataset {
        &self.0
    }
}

impl SessionDataset {
    /// Cuts at a time: sessions that end before it are for training, those that start at it or later
    /// for testing.
    ///
    /// # Errors
    ///
    /// [`Error::EmptyDataset`] names the part that would be empty.
    pub fn split_at(&self, cut: Timestamp) -> Result<Split> {
        let (before, after, n_straddling) = self.cut(cut, ["train", "test"])?;
        Ok(Split {
            train: TrainSet(before),
            validation: None,
            test: TestSet(after),
            n_straddling,
        })
    }

    /// Cuts so that the last `days` days (UTC) on which a session started are for testing.
    ///
    /// # Errors
    ///
    /// [`Error::EmptyDataset`] names the part that would be empty.
    pub fn split_last_days(&self, days: u32) -> Result<Split> {
        self.split_at(self.midnight_before_last(days)?)
    }

    // The start of the day `days - 1` days before the day of the last start.
    fn midnight_before_last(&self, days: u32) -> Result<Timestamp> {
        const DAY: i64 = 24 * 60 * 60 * 1_000_000;
        let last = (0..self.n_sessions())
            .filter_map(|s| self.times(s).first())
            .max();
        let last = last.ok_or(Error::EmptyDataset { part: "data" })?;
        let midnight = (last.div_euclid(DAY) + 1 - i64::from(days)).saturating_mul(DAY);
        Timestamp::from_microsecond(midnight).map_err(|error| Error::InvalidConfig {
            of: "split".to_owned(),
            reason: format!("{days} days before the last session: {error}"),
        })
    }

    fn cut(&self, cut: Timestamp, parts: [&'static str; 2]) -> Result<(Self, Self, usize)> {
        let cut = cut.as_microsecond();
        let ends_before = |s: usize| self.times(s).last().is_some_and(|&end| end < cut);
        let starts_after = |s: usize| self.times(s).first().is_some_and(|&start| start >= cut);
        let sets = [self.select(ends_before)?, self.select(starts_after)?];
        for (set, part) in sets.iter().zip(parts) {
            if set.n_sessions() == 0 {
                return Err(Error::EmptyDataset { part });
            }
        }
        let n_straddling = self.n_sessions() - sets[0].n_sessions() - sets[1].n_sessions();
        let [before, after] = sets;
        Ok((before, after, n_straddling))
    }
}

impl Split {
    /// A split that was made elsewhere, such as the two files of a published benchmark.
    ///
    /// The caller vouches that the test sessions are the later ones: benchmarks whose times are
    /// mere orders within a file cannot show it.
    #[must_use]
    pub const fn from_parts(train: SessionDataset, test: SessionDataset) -> Self {
        Self {
            train: TrainSet(train),
            validation: None,
            test: TestSet(test),
            n_straddling: 0,
        }
    }

    /// Moves the last `days` days of the training set into a validation set.
    ///
    /// # Errors
    ///
    /// [`Error::EmptyDataset`] names the part that would be empty.
    pub fn hold_out_days(self, days: u32) -> Result<Self> {
        let cut = self.train.midnight_before_last(days)?;
        let (before, after, n_straddling) = self.train.cut(cut, ["train", "validation"])?;
        Ok(Self {
            train: TrainSet(before),
            validation: Some(ValidationSet(after)),
            test: self.test,
            n_straddling: self.n_straddling + n_straddling,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::SessionEncoding;

    const DAY: i64 = 86_400;

    fn dataset(sessions: &[(&str, i64, i64)]) -> SessionDataset {
        let mut builder = SessionDataset::builder(SessionEncoding::default());
        for (name, start, end) in sessions {
            for second in [start, end] {
                let time = Timestamp::from_second(*second).unwrap();
                builder.push(name, name, time).unwrap();
            }
        }
        builder.build().unwrap()
    }

    #[test]
    fn a_straddling_session_is_left_out_and_counted() {
        let all = dataset(&[
            ("ends", 0, DAY - 1),
            ("straddles", DAY - 1, DAY),
            ("starts", DAY, DAY),
            ("validates", 10, 20),
        ]);
        let split = all.split_last_days(1).unwrap();
        assert_eq!((split.train.n_sessions(), split.test.n_sessions()), (2, 1));
        assert_eq!(split.n_straddling, 1);
        assert_eq!(
            split.test.vocabulary().items(),
            [crate::ItemId::from("starts")]
        );
    }

    #[test]
    fn validation_is_cut_from_training() {
        let all = dataset(&[("a", 0, 1), ("b", DAY, DAY), ("c", 2 * DAY, 2 * DAY)]);
        let split = all.split_last_days(1).unwrap().hold_out_days(1).unwrap();
        assert_eq!(split.train.vocabulary().items()[0].as_str(), "a");
        assert_eq!(
            split.validation.unwrap().vocabulary().items()[0].as_str(),
            "b"
        );
        assert_eq!(split.test.vocabulary().items()[0].as_str(), "c");
    }

    #[test]
    fn an_empty_part_is_named() {
        let all = dataset(&[("a", 0, 1)]);
        assert_eq!(
            all.split_last_days(1).unwrap_err().to_string(),
            "the train set holds no session"
        );
        assert_eq!(
            all.split_last_days(0).unwrap_err().to_string(),
            "the test set holds no session"
        );
    }
}
