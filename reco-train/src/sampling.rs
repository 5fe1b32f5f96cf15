//! [`NegativeSampler`]: seeded draws of negative items by popularity.

use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::error::{Error, Result};
use crate::rule::{self, MAX_EXPONENT, within};

/// Draws items with a probability proportional to `count^exponent`, in constant time.
///
/// It is Walker's alias table: one random number of 64 bits and one place of it a draw, where a
/// cumulative table needs a binary search.
/// Exponent 1 draws as the training data does, 0 draws evenly, 0.75 is word2vec's `ns_exponent`; below 0
/// the rare items come more often.
/// An item whose count is 0 is never drawn.
///
/// The same counts, exponent and generator give the same draws.
///
/// # Examples
///
/// ```
/// use rand::SeedableRng;
/// use rand_xoshiro::Xoshiro256PlusPlus;
/// use reco_train::sampling::NegativeSampler;
///
/// let sampler = NegativeSampler::new(&[90, 0, 10], 1.0)?;
/// let mut rng = Xoshiro256PlusPlus::seed_from_u64(7);
/// let mut drawn = [0; 1000];
/// sampler.fill(&mut rng, &mut drawn);
/// assert!(!drawn.contains(&1));
/// assert!(drawn.iter().filter(|&&item| item == 0).count() > 800);
/// # Ok::<(), reco_train::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct NegativeSampler {
    slots: Vec<Slot>,
    largest_share: f64,
}

/// A slot stands for `item` for the first `keep` of 2³² draws that hit it, and for `alias` for the rest.
#[derive(Debug, Clone, Copy)]
struct Slot {
    keep: u32,
    item: u32,
    alias: u32,
}

/// Some items of a [`NegativeSampler`], to draw from.
#[derive(Debug, Clone, Copy)]
pub struct Negatives<'a> {
    slots: &'a [Slot],
}

impl NegativeSampler {
    /// A table over the items `0..counts.len()`.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] if the exponent is not from -16 to 16, if no count is positive, or if
    /// there are 2³² items or more.
    pub fn new(counts: &[u64], exponent: f64) -> Result<Self> {
        let invalid = |key, reason: &str| Error::InvalidConfig {
            model: "negative sampling",
            key,
            reason: reason.to_owned(),
        };
        rule::check(
            "negative sampling",
            [within("exponent", exponent, -MAX_EXPONENT..=MAX_EXPONENT)],
        )?;
        let n_items =
            u32::try_from(counts.len()).map_err(|_| invalid("counts", "too many items"))?;
        let weights = weights(counts, exponent)
            .ok_or_else(|| invalid("counts", "must have a positive one"))?;
        Ok(Self {
            slots: alias_slots(&weights, n_items),
            // The largest weight is 1.
            largest_share: 1.0 / weights.iter().sum::<f64>(),
        })
    }

    /// One item.
    #[inline]
    pub fn draw(&self, rng: &mut impl Rng) -> u32 {
        self.all().draw(rng)
    }

    /// As many items as `drawn` has room for.
    pub fn fill(&self, rng: &mut impl Rng, drawn: &mut [u32]) {
        self.all().fill(rng, drawn);
    }

    /// All items.
    #[must_use]
    pub fn all(&self) -> Negatives<'_> {
        Negatives { slots: &self.slots }
    }

    /// How much of the draws are the item that is drawn most often, from 0 to 1.
    #[must_use]
    pub const fn largest_share(&self) -> f64 {
        self.largest_share
    }

    /// One of `n_parts` parts that have few items in common: who draws from each of them as often draws all items
    /// in proportion, but for the `n_items % n_parts` parts that have one place in the table more.
    ///
    /// The places of an item follow one another, so that it is in one part, or in the few that its share spans. Else
    /// the items of a part have nothing in common: they are dealt at random, always in the same way.
    ///
    /// # Panics
    ///
    /// If `part` is not below `n_parts`, or there are fewer items than parts.
    #[must_use]
    pub fn part(&self, part: usize, n_parts: usize) -> Negatives<'_> {
        let n_slots = self.slots.len();
        assert!(part < n_parts && n_parts <= n_slots, "parts have items");
        let border = |part: usize| n_slots * part / n_parts;
        Negatives {
            slots: &self.slots[border(part)..border(part + 1)],
        }
    }

    /// How many items there are to draw from, those with count 0 included.
    #[must_use]
    pub const fn n_items(&self) -> usize {
        self.slots.len()
    }
}

impl Negatives<'_> {
    /// One item.
    #[inline]
    pub fn draw(self, rng: &mut impl Rng) -> u32 {
        let random = rng.next_u64();
        let (high, low) = (random >> 32, random & 0xFFFF_FFFF);
        // A uniform slot without a division: `high / 2³² * n_slots`, rounded down.
        let index = (high * self.slots.len() as u64) >> 32;
        let slot = self.slots[index as usize];
        if low < u64::from(slot.keep) {
            slot.item
        } else {
            slot.alias
        }
    }

    /// As many items as `drawn` has room for.
    pub fn fill(self, rng: &mut impl Rng, drawn: &mut [u32]) {
        for item in drawn {
            *item = self.draw(rng);
        }
    }
}

/// `count^exponent` over the largest of them; `None` if all counts are 0.
#[expect(
    clippy::cast_precision_loss,
    reason = "a count's last bits do not matter"
)]
fn weights(counts: &[u64], exponent: f64) -> Option<Vec<f64>> {
    // In logarithms, so that no exponent overflows.
    let log = |count: u64| exponent * (count as f64).ln();
    let positive = counts.iter().copied().filter(|&count| count > 0);
    let largest = positive.map(log).reduce(f64::max)?;
    let weight = |&count: &u64| {
        if count > 0 {
            (log(count) - largest).exp()
        } else {
            0.0
        }
    };
    Some(counts.iter().map(weight).collect())
}

/// Vose's method: each slot that is less than full is filled up from one that is more than full, until that is
/// less than full itself. So the slots that an item has a share of follow one another.
fn alias_slots(weights: &[f64], n_items: u32) -> Vec<Slot> {
    let mean = weights.iter().sum::<f64>() / f64::from(n_items);
    let mut share: Vec<f64> = weights.iter().map(|weight| weight / mean).collect();
    let mut slots = Vec::with_capacity(weights.len());
    let (mut less, mut more): (Vec<u32>, Vec<u32>) =
        (0..n_items).partition(|&item| share[item as usize] < 1.0);
    // Ids that begin alike are alike: a part of the slots would be a category.
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(0);
    less.shuffle(&mut rng);
    more.shuffle(&mut rng);
    while let Some(&large) = more.last() {
        let Some(item) = less.pop() else { break };
        let (s, l) = (item as usize, large as usize);
        slots.push(Slot {
            keep: part_of_32_bits(share[s]),
            item,
            alias: large,
        });
        share[l] -= 1.0 - share[s];
        if share[l] < 1.0 {
            more.pop();
            less.push(large);
        }
    }
    // What rounding leaves over is full.
    slots.extend(less.into_iter().chain(more).map(|item| Slot {
        keep: u32::MAX,
        item,
        alias: item,
    }));
    slots
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float to integer cast saturates, and the share is in 0..1"
)]
fn part_of_32_bits(share: f64) -> u32 {
    (share * 4_294_967_296.0) as u32
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use proptest::prelude::*;

    /// The probability of each item, added up over the slots.
    fn probabilities(sampler: &NegativeSampler) -> Vec<f64> {
        let n = sampler.n_items();
        let mut probabilities = vec![0.0; n];
        for slot in &sampler.slots {
            let keep = f64::from(slot.keep) / f64::from(u32::MAX);
            probabilities[slot.item as usize] += keep / n as f64;
            probabilities[slot.alias as usize] += (1.0 - keep) / n as f64;
        }
        probabilities
    }

    fn check(counts: &[u64], exponent: f64, expected: &[f64]) {
        let found = probabilities(&NegativeSampler::new(counts, exponent).unwrap());
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-8, "{found} is not {expected}");
        }
    }

    #[test]
    fn probabilities_worked_by_hand() {
        check(&[1, 3], 1.0, &[0.25, 0.75]);
        check(&[1, 3], 0.0, &[0.5, 0.5]);
        check(&[1, 3], -1.0, &[0.75, 0.25]);
        // 16^0.75 = 8, 1^0.75 = 1.
        check(&[16, 1, 0, 1], 0.75, &[0.8, 0.1, 0.0, 0.1]);
        check(&[5], 0.75, &[1.0]);
        check(&[u64::MAX, 1], 16.0, &[1.0, 0.0]);
    }

    proptest! {
        #[test]
        fn probabilities_are_proportional_to_the_power(
            counts in prop::collection::vec(0..1000_u64, 1..50),
            exponent in -2.0..2.0_f64,
        ) {
            prop_assume!(counts.iter().any(|&count| count > 0));
            let power = |&count: &u64| if count > 0 { (count as f64).powf(exponent) } else { 0.0 };
            let total: f64 = counts.iter().map(power).sum();
            let expected: Vec<f64> = counts.iter().map(|count| power(count) / total).collect();
            check(&counts, exponent, &expected);
        }
    }

    proptest! {
        #[test]
        fn parts_are_the_whole_and_have_few_items_in_common(
            counts in prop::collection::vec(0..1000_u64, 12..60),
            n_parts in 1..5_usize,
        ) {
            prop_assume!(counts.iter().any(|&count| count > 0));
            let sampler = NegativeSampler::new(&counts, 0.75).unwrap();
            let parts: Vec<_> = (0..n_parts).map(|part| sampler.part(part, n_parts)).collect();
            let n_slots: usize = parts.iter().map(|part| part.slots.len()).sum();
            prop_assert_eq!(n_slots, counts.len());
            let items = |part: &Negatives<'_>| -> HashSet<u32> {
                part.slots.iter().flat_map(|slot| [slot.item, slot.alias]).collect()
            };
            for (before, after) in parts.iter().zip(&parts[1..]) {
                let common = items(before).intersection(&items(after)).count();
                prop_assert!(common <= 2, "{common} in common");
            }
        }
    }

    #[test]
    fn the_largest_share_is_that_of_the_most_popular() {
        // 16^0.75 = 8 of 10.
        let share = |counts: &[u64]| NegativeSampler::new(counts, 0.75).unwrap().largest_share();
        assert!((share(&[16, 1, 0, 1]) - 0.8).abs() < 1e-12);
        assert!((share(&[7; 4]) - 0.25).abs() < 1e-12);
    }

    #[test]
    fn draws_follow_the_table_and_the_seed() {
        let sampler = NegativeSampler::new(&[16, 1, 0, 1], 0.75).unwrap();
        let draw = |seed| {
            let mut drawn = vec![0; 100_000];
            sampler.fill(&mut Xoshiro256PlusPlus::seed_from_u64(seed), &mut drawn);
            drawn
        };
        let drawn = draw(1);
        assert_eq!(drawn, draw(1));
        assert_ne!(drawn, draw(2));
        for (item, expected) in (0..).zip([0.8, 0.1, 0.0, 0.1]) {
            let found = drawn.iter().filter(|&&d| d == item).count() as f64 / 1e5;
            // Five standard deviations of a share of 100,000 draws are at most 0.008.
            assert!((found - expected).abs() < 0.008, "{item}: {found}");
        }
    }

    #[test]
    fn what_cannot_be_drawn_from_is_an_error() {
        let check = |counts: &[u64], exponent, expected: &str| {
            let error = NegativeSampler::new(counts, exponent).unwrap_err();
            assert_eq!(error.to_string(), expected);
        };
        check(
            &[],
            1.0,
            "negative sampling: `counts` must have a positive one",
        );
        check(
            &[0, 0],
            1.0,
            "negative sampling: `counts` must have a positive one",
        );
        check(
            &[1],
            f64::NAN,
            "negative sampling: `exponent` must be from -16 to 16, is NaN",
        );
    }
}
