//! Counting rules, one item at a time.

use std::ops::Range;

use rayon::prelude::*;
use reco_core::{ItemIdx, SessionDataset};

use super::RulesConfig;
use crate::neighbours::Sums;

/// The rules of all items: those of item `i` are `offsets[i]..offsets[i + 1]`, the heaviest first.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Table {
    pub(super) offsets: Vec<usize>,
    pub(super) items: Vec<u32>,
    pub(super) weights: Vec<f32>,
}

impl Table {
    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// How many rules each item has.
    pub(super) fn lengths(&self) -> Vec<u32> {
        let bounds = self.offsets.windows(2);
        bounds
            .map(|bounds| u32::try_from(bounds[1] - bounds[0]).expect("items are numbered by u32"))
            .collect()
    }

    /// The rules of an item, the heaviest first.
    pub(super) fn of(&self, item: usize) -> impl Iterator<Item = (u32, f32)> + '_ {
        let range = self.offsets[item]..self.offsets[item + 1];
        let items = self.items[range.clone()].iter().copied();
        items.zip(self.weights[range].iter().copied())
    }
}

/// Counts the rules of all items. Each thread goes through the places of one item at a time, so that nothing
/// is shared and sums are added in the order of the data.
pub(super) fn mine(sessions: &SessionDataset, config: &RulesConfig) -> Table {
    let n_items = sessions.vocabulary().len();
    let (starts, places) = places_of_items(sessions);
    let rules: Vec<Vec<(u32, f32)>> = (0..n_items)
        .into_par_iter()
        .with_min_len(64)
        .map_init(
            || Sums::of(n_items),
            |sums, item| {
                for &place in &places[starts[item]..starts[item + 1]] {
                    add_neighbours(sessions, place, config, sums);
                }
                prune(sums, config)
            },
        )
        .collect();
    let mut table = Table {
        offsets: vec![0],
        items: Vec::new(),
        weights: Vec::new(),
    };
    for rules in rules {
        table.items.extend(rules.iter().map(|(item, _)| item));
        table.weights.extend(rules.iter().map(|(_, weight)| weight));
        table.offsets.push(table.items.len());
    }
    table
}

/// The places of each item in the data, in their order, and where those of each begin.
fn places_of_items(sessions: &SessionDataset) -> (Vec<usize>, Vec<usize>) {
    let mut starts = vec![0; sessions.vocabulary().len() + 1];
    for item in sessions.items() {
        starts[item.get() + 1] += 1;
    }
    for item in 1..starts.len() {
        starts[item] += starts[item - 1];
    }
    let mut next = starts.clone();
    let mut places = vec![0; sessions.n_interactions()];
    for (place, item) in sessions.items().iter().enumerate() {
        places[next[item.get()]] = place;
        next[item.get()] += 1;
    }
    (starts, places)
}

/// Counts what comes after a place in its session, and what comes before it if asked.
fn add_neighbours(sessions: &SessionDataset, place: usize, config: &RulesConfig, sums: &mut Sums) {
    let session = sessions
        .offsets()
        .partition_point(|&start| start <= place as u64)
        - 1;
    let Range { start, end } = sessions.range(session);
    let items = sessions.items();
    let limit = if config.steps == 0 {
        usize::MAX
    } else {
        config.steps
    };
    let after = items[place + 1..end].iter();
    let before = items[start..place].iter().rev();
    let mut add = |(steps, item): (usize, &ItemIdx)| {
        sums.add(item.0, config.weighting.steps(steps));
    };
    (1..).zip(after).take(limit).for_each(&mut add);
    if config.both_ways {
        (1..).zip(before).take(limit).for_each(&mut add);
    }
}

/// The heaviest rules, ties by item; leaves the sums at 0.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "weights are f32; numbers of rules are far below 2⁵³, and `pruning` is not negative"
)]
fn prune(sums: &mut Sums, config: &RulesConfig) -> Vec<(u32, f32)> {
    // Narrowed first: sums that differ by their rounding alone are a tie.
    let narrow = |(item, weight)| (item, weight as f32);
    let mut rules: Vec<(u32, f32)> = sums.drain().map(narrow).collect();
    rules.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    let n_rules = rules.len();
    rules.truncate(if config.pruning < 1.0 {
        n_rules - (n_rules as f64 * config.pruning) as usize
    } else {
        config.pruning as usize
    });
    rules
}
