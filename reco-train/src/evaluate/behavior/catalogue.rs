//! Tests about which items are answered at all: coverage and age.

use std::collections::{HashMap, HashSet};
use std::fmt::{self, Debug};

use reco_core::ItemId;

use super::{BehaviorTest, Measured, Part, Subject};
use crate::error::Result;

/// The share of the items of the training set that are answered to at least one case.
#[derive(Debug, Clone, Copy, Default)]
pub struct CatalogueCoverage;

impl BehaviorTest for CatalogueCoverage {
    fn name(&self) -> String {
        "coverage".to_owned()
    }

    fn description(&self) -> String {
        "The share of the catalogue that is answered to at least one case.".to_owned()
    }

    fn measure(&self, subject: &Subject<'_>) -> Result<Measured> {
        let answered: HashSet<&ItemId> = subject
            .answers()
            .flat_map(|(_, answer)| answer.items())
            .collect();
        let vocabulary = subject.cases().train().vocabulary();
        let known = answered
            .iter()
            .filter(|item| vocabulary.idx(item.as_str()).is_some())
            .count();
        let share = super::ratio(known, vocabulary.len());
        Ok(Measured::new(share, subject.answers().len()))
    }
}

/// How old the answers are: the median of the days from the first sight of an item to the moment of the
/// query.
///
/// When an item was first seen is what the training set says, or a closure: the date of publication, say.
/// Items for which it is not known are left out.
#[derive(Default)]
pub struct Freshness {
    since: Option<Since>,
}

type Since = Box<dyn Fn(&ItemId) -> Option<i64> + Send + Sync>;

impl Freshness {
    /// By a time that the shop knows, in microseconds since 1970.
    pub fn since(since: impl Fn(&ItemId) -> Option<i64> + Send + Sync + 'static) -> Self {
        Self {
            since: Some(Box::new(since)),
        }
    }
}

impl Debug for Freshness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Freshness").finish_non_exhaustive()
    }
}

impl BehaviorTest for Freshness {
    fn name(&self) -> String {
        "freshness".to_owned()
    }

    fn description(&self) -> String {
        "The median age of the answers in days.".to_owned()
    }

    fn measure(&self, subject: &Subject<'_>) -> Result<Measured> {
        let first_seen = match self.since {
            Some(_) => HashMap::new(),
            None => first_seen(subject),
        };
        let since = |item: &ItemId| match &self.since {
            Some(since) => since(item),
            None => first_seen.get(item).copied(),
        };
        let mut ages = Vec::new();
        let mut n_cases = 0;
        for (case, answer) in subject.answers() {
            let of_case = answer.items().filter_map(since);
            let before = ages.len();
            ages.extend(of_case.map(|since| days(case.time.saturating_sub(since))));
            n_cases += usize::from(ages.len() > before);
        }
        ages.sort_by(f64::total_cmp);
        let quantile = |tenths: usize| {
            ages.get((ages.len().saturating_sub(1)) * tenths / 10)
                .copied()
        };
        let names = [
            (1, "10 % are younger than"),
            (5, "half are younger than"),
            (9, "90 % are younger than"),
        ];
        let parts = names.into_iter().filter_map(|(tenths, name)| {
            Some(Part {
                name: name.to_owned(),
                value: quantile(tenths)?,
                n_cases: ages.len() as u64,
            })
        });
        Ok(Measured::new(quantile(5).unwrap_or_default(), n_cases).with_parts(parts.collect()))
    }
}

/// When each item of the training set was first seen.
fn first_seen(subject: &Subject<'_>) -> HashMap<ItemId, i64> {
    let train = subject.cases().train();
    let mut first = vec![i64::MAX; train.vocabulary().len()];
    for session in 0..train.n_sessions() {
        for (item, &time) in train.session(session).iter().zip(train.times(session)) {
            first[item.get()] = first[item.get()].min(time);
        }
    }
    train
        .vocabulary()
        .items()
        .iter()
        .cloned()
        .zip(first)
        .collect()
}

#[expect(clippy::cast_precision_loss, reason = "an age to a fraction of a day")]
fn days(microseconds: i64) -> f64 {
    microseconds as f64 / 86_400e6
}
