//! [`Perturbation`]: how much of an answer survives a change of the session; [`Asymmetry`].

use std::collections::HashSet;
use std::fmt::{self, Debug};
use std::sync::Arc;

use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use reco_core::{ItemId, Ranking, Session};

use super::{BehaviorTest, Measured, Subject, ratio};
use crate::error::Result;

/// How much of an answer survives a small change of the session: the mean share of the answers to the session
/// as it was that are still among those to the changed one.
///
/// Sessions that the change leaves as they are, and those that get no answer either way, are left out. A
/// model that does not look at the session has 1; so has one that does not look at the order, when the order
/// is what changes.
#[derive(Debug, Clone)]
pub struct Perturbation {
    change: Perturb,
}

/// A change of a session; those that draw use the seed of the cases.
#[derive(Clone)]
#[non_exhaustive]
pub enum Perturb {
    /// Two neighbouring items change places.
    Swap,
    /// All items in a random order.
    Shuffle,
    /// The last so many items are kept.
    Truncate(usize),
    /// The first item is dropped.
    DropFirst,
    /// The last item is seen once more.
    RepeatLast,
    /// One item becomes another, such as its nearest in a space or another colour of it; `None` keeps it.
    Substitute(Neighbour),
}

/// What an item is replaced by.
pub type Neighbour = Arc<dyn Fn(&ItemId) -> Option<ItemId> + Send + Sync>;

impl Perturbation {
    /// Changes sessions in this way.
    #[must_use]
    pub const fn new(change: Perturb) -> Self {
        Self { change }
    }
}

impl Debug for Perturb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

impl Perturb {
    fn name(&self) -> String {
        match self {
            Self::Swap => "swap".to_owned(),
            Self::Shuffle => "shuffle".to_owned(),
            Self::Truncate(n) => format!("truncate {n}"),
            Self::DropFirst => "drop first".to_owned(),
            Self::RepeatLast => "repeat last".to_owned(),
            Self::Substitute(_) => "substitute".to_owned(),
        }
    }

    fn apply(&self, items: &[ItemId], rng: &mut Xoshiro256PlusPlus) -> Vec<ItemId> {
        let mut changed = items.to_vec();
        match self {
            Self::Swap if changed.len() > 1 => {
                let first = rng.random_range(1..changed.len());
                changed.swap(first - 1, first);
            }
            Self::Swap => {}
            Self::Shuffle => changed.shuffle(rng),
            Self::Truncate(n) => drop(changed.drain(..changed.len().saturating_sub(*n))),
            Self::DropFirst => drop(changed.drain(..1.min(changed.len().saturating_sub(1)))),
            Self::RepeatLast => changed.extend(items.last().cloned()),
            Self::Substitute(by) => {
                let place = rng.random_range(0..changed.len().max(1));
                if let Some(item) = changed.get_mut(place) {
                    *item = by(item).unwrap_or_else(|| item.clone());
                }
            }
        }
        changed
    }
}

impl BehaviorTest for Perturbation {
    fn name(&self) -> String {
        format!("perturbation({})", self.change.name())
    }

    fn description(&self) -> String {
        format!(
            "How much of the answer is left after the change “{}” of the session.",
            self.change.name()
        )
    }

    fn measure(&self, subject: &Subject<'_>) -> Result<Measured> {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(subject.cases().config().seed);
        let mut before: Vec<&Ranking> = Vec::new();
        let mut changed: Vec<Session> = Vec::new();
        for (case, answer) in subject.answers() {
            let items = self.change.apply(case.session.items(), &mut rng);
            if items != case.session.items() {
                before.push(answer);
                changed.push(Session::new(items));
            }
        }
        let after = subject.ask(&changed)?;
        let overlaps: Vec<f64> = before
            .into_iter()
            .zip(&after)
            .filter_map(|(before, after)| overlap(before, after))
            .collect();
        Ok(Measured::mean(&overlaps))
    }
}

/// The items that two answers share, as a part of the longer one; none if both are empty.
fn overlap(before: &Ranking, after: &Ranking) -> Option<f64> {
    let items: HashSet<&ItemId> = before.items().collect();
    let longer = before.len().max(after.len());
    let common = after.items().filter(|item| items.contains(item)).count();
    (longer > 0).then(|| ratio(common, longer))
}

/// That what completes a purchase follows it and not the reverse: the share of pairs (television, cable) whose
/// second item is answered to the first in a better place than the first to the second.
///
/// A pair of which neither is answered to the other is left out.
#[derive(Debug, Clone, Default)]
pub struct Asymmetry {
    /// What comes first, and what completes it.
    pub pairs: Vec<(ItemId, ItemId)>,
}

impl BehaviorTest for Asymmetry {
    fn name(&self) -> String {
        "asymmetry".to_owned()
    }

    fn description(&self) -> String {
        "The share of pairs whose second item follows the first rather than the reverse.".to_owned()
    }

    fn measure(&self, subject: &Subject<'_>) -> Result<Measured> {
        let alone = |item: &ItemId| Session::new(vec![item.clone()]);
        let forth = subject.ask(
            &self
                .pairs
                .iter()
                .map(|(first, _)| alone(first))
                .collect::<Vec<_>>(),
        )?;
        let back = subject.ask(
            &self
                .pairs
                .iter()
                .map(|(_, second)| alone(second))
                .collect::<Vec<_>>(),
        )?;
        let place = |answer: &Ranking, of: &ItemId| answer.items().position(|item| item == of);
        let (mut right, mut n, mut wrong) = (0, 0, Vec::new());
        for ((first, second), (forth, back)) in self.pairs.iter().zip(forth.iter().zip(&back)) {
            let (follows, precedes) = (place(forth, second), place(back, first));
            if follows.is_none() && precedes.is_none() {
                continue;
            }
            n += 1;
            // `None` is after every place.
            if follows.unwrap_or(usize::MAX) < precedes.unwrap_or(usize::MAX) {
                right += 1;
            } else {
                wrong.push(format!("`{first}` after `{second}`"));
            }
        }
        wrong.truncate(5);
        Ok(Measured::share(right, n).with_samples(wrong))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_worked_by_hand() {
        let check = |change: Perturb, session: &str, expected: &str| {
            let items = |text: &str| {
                text.split_whitespace()
                    .map(ItemId::from)
                    .collect::<Vec<_>>()
            };
            let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
            assert_eq!(
                change.apply(&items(session), &mut rng),
                items(expected),
                "{change:?}"
            );
        };
        check(Perturb::Swap, "a b", "b a");
        check(Perturb::Swap, "a", "a");
        check(Perturb::Shuffle, "a", "a");
        check(Perturb::Truncate(2), "a b c", "b c");
        check(Perturb::Truncate(5), "a b c", "a b c");
        check(Perturb::DropFirst, "a b c", "b c");
        check(Perturb::DropFirst, "a", "a");
        check(Perturb::RepeatLast, "a b", "a b b");
        let upper = |item: &ItemId| (item.as_str() == "a").then(|| ItemId::from("A"));
        check(Perturb::Substitute(Arc::new(upper)), "a", "A");
        check(Perturb::Substitute(Arc::new(upper)), "b", "b");
        for change in [
            Perturb::Swap,
            Perturb::Shuffle,
            Perturb::DropFirst,
            Perturb::Substitute(Arc::new(upper)),
        ] {
            check(change, "", "");
        }
    }
}
