//! Tests about hits: any metric, by popularity, beside a plainer model.

use std::collections::BTreeMap;
use std::sync::Arc;

use reco_core::{ItemId, Model, Ranking, Session};

use super::cases::ask;
use super::{BehaviorTest, Case, Measured, Part, Subject};
use crate::error::{Error, Result};
use crate::evaluate::Metric;

/// A metric about the target, over the cases: what gates a candidate that finds less than the champion.
///
/// The rank is the place in the answer, so a model that answers less than `k` items misses the others, and a
/// target that it does not know is missed. A metric about answers is refused; a `k` beyond that of the cases
/// sees theirs. Some misses are among the samples.
#[derive(Debug, Clone, Copy)]
pub struct Accuracy(
    /// The metric.
    pub Metric,
);

impl BehaviorTest for Accuracy {
    fn name(&self) -> String {
        self.0.to_string()
    }

    fn description(&self) -> String {
        format!("The mean {} of the item that came next.", self.0)
    }

    fn measure(&self, subject: &Subject<'_>) -> Result<Measured> {
        if self.0.is_about_answers() || self.0.k() == 0 {
            return Err(Error::InvalidConfig {
                model: "behavioural tests",
                key: "metric",
                reason: format!("must be about the target, which `{}` is not", self.0),
            });
        }
        let gain = |(case, answer): (&Case, &Ranking)| {
            let rank = answer.items().position(|item| *item == case.target);
            #[expect(clippy::cast_precision_loss, reason = "a place in an answer")]
            let rank = rank.map_or(f64::INFINITY, |place| (place + 1) as f64);
            self.0.gain(&[rank], 1)
        };
        let gains: Vec<f64> = subject.answers().map(gain).collect();
        let missed = subject
            .answers()
            .filter(|(case, answer)| !is_hit(case, answer));
        Ok(Measured::mean(&gains).with_samples(missed.take(5).map(shown).collect()))
    }
}

/// The hit rate by how often the target was seen in training, in powers of ten: never, 1–9, 10–99 and so on.
///
/// The value is that of the worst bin of `min_cases` cases or more, not counting targets never seen, which
/// no model of items by their ids can find.
#[derive(Debug, Clone, Copy)]
pub struct HitsByPopularity {
    /// How many cases a bin needs to be the worst. Default 30.
    pub min_cases: u64,
}

impl Default for HitsByPopularity {
    fn default() -> Self {
        Self { min_cases: 30 }
    }
}

impl BehaviorTest for HitsByPopularity {
    fn name(&self) -> String {
        "hits_by_popularity".to_owned()
    }

    fn description(&self) -> String {
        format!(
            "The hit rate of the worst bin of the target's count in training, of bins of {} cases or more.",
            self.min_cases
        )
    }

    fn measure(&self, subject: &Subject<'_>) -> Result<Measured> {
        let mut hits: BTreeMap<u32, Vec<f64>> = BTreeMap::new();
        for (case, answer) in subject.answers() {
            let count = subject.cases().count(&case.target);
            let bin = count.checked_ilog10().map_or(0, |power| power + 1);
            hits.entry(bin)
                .or_default()
                .push(f64::from(u8::from(is_hit(case, answer))));
        }
        let name = |bin: u32| match bin {
            0 => "never seen".to_owned(),
            1 => "1–9".to_owned(),
            bin => format!("{}–{}", 10_u64.pow(bin - 1), 10_u64.pow(bin - 1) * 10 - 1),
        };
        let part = |(&bin, hits): (&u32, &Vec<f64>)| (bin, Part::of(name(bin), hits));
        let parts: Vec<(u32, Part)> = hits.iter().map(part).collect();
        let counts = |(bin, part): &&(u32, Part)| *bin > 0 && part.n_cases >= self.min_cases;
        let worst = parts
            .iter()
            .filter(counts)
            .map(|(_, part)| part.value)
            .min_by(f64::total_cmp);
        Ok(Measured {
            value: worst,
            n_cases: subject.answers().len() as u64,
            parts: parts.into_iter().map(|(_, part)| part).collect(),
            samples: Vec::new(),
        })
    }
}

/// The share of cases that the model hits and a plainer one does not: what it knows that need not be asked
/// of popularity, or of the last item.
#[derive(Debug, Clone)]
pub struct Serendipity {
    /// The plainer model.
    pub than: Arc<dyn Model>,
}

impl BehaviorTest for Serendipity {
    fn name(&self) -> String {
        format!("serendipity({})", self.than.kind())
    }

    fn description(&self) -> String {
        format!(
            "The share of cases that are hit, and not by the model “{}”.",
            self.than.kind()
        )
    }

    fn measure(&self, subject: &Subject<'_>) -> Result<Measured> {
        let sessions: Vec<Session> = subject
            .cases()
            .cases()
            .iter()
            .map(|case| case.session.clone())
            .collect();
        let plain = ask(&*self.than, &sessions, subject.k())?;
        let mine = |((case, answer), plain): &((&Case, &Ranking), &Ranking)| {
            is_hit(case, answer) && !is_hit(case, plain)
        };
        let n = subject.answers().zip(&plain).filter(mine).count();
        Ok(Measured::share(n, plain.len()))
    }
}

/// A case and the head of its answer, to look at.
fn shown((case, answer): (&Case, &Ranking)) -> String {
    const N_SHOWN: usize = 3;
    let list = |items: Vec<&str>| items.join(" ");
    let seen = case.session.items().iter().rev().take(N_SHOWN).rev();
    format!(
        "`{}` then `{}`, answered `{}`",
        list(seen.map(ItemId::as_str).collect()),
        case.target,
        list(answer.items().take(N_SHOWN).map(ItemId::as_str).collect())
    )
}

pub(super) fn is_hit(case: &Case, answer: &Ranking) -> bool {
    answer.items().any(|item| *item == case.target)
}
