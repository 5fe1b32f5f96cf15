//! [`Visits`]: past sessions as sets of items, in the order in which they ended.

use rayon::prelude::*;
use reco_core::{ItemIdx, SessionDataset};

/// How many sessions a thread takes at once.
const SESSIONS_PER_TASK: usize = 4096;

/// Past sessions, each as its distinct items in the order of their last occurrence.
///
/// Two visits that end at the same time are ordered by what they hold. So the order is a function of the set
/// of sessions alone: it does not depend on how they were named, or in which update they came.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Visits {
    /// When each ended, in microseconds since 1970.
    pub(super) ended: Vec<i64>,
    /// Visit `v` is `items[offsets[v]..offsets[v + 1]]`.
    pub(super) offsets: Vec<usize>,
    pub(super) items: Vec<u32>,
    /// The last place of each item in its session, from 1, repeats counted; where places are kept.
    pub(super) places: Option<Vec<u32>>,
}

/// One session; ordered by its end, then by what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Visit<'a> {
    pub(super) ended: i64,
    pub(super) items: &'a [u32],
    pub(super) places: &'a [u32],
}

impl Visits {
    pub(super) fn none(with_places: bool) -> Self {
        Self {
            ended: Vec::new(),
            offsets: vec![0],
            items: Vec::new(),
            places: with_places.then(Vec::new),
        }
    }

    /// The sessions of a data set whose items are numbered anew, but for those of more than `max_items`
    /// distinct items (0: none is too long).
    pub(super) fn of(
        sessions: &SessionDataset,
        renumbered: &[u32],
        with_places: bool,
        max_items: usize,
    ) -> Self {
        let starts: Vec<usize> = (0..sessions.n_sessions())
            .step_by(SESSIONS_PER_TASK)
            .collect();
        let parts: Vec<Self> = starts
            .into_par_iter()
            .map(|start| {
                let end = (start + SESSIONS_PER_TASK).min(sessions.n_sessions());
                let mut part = Self::none(with_places);
                let mut distinct = Vec::new();
                for session in start..end {
                    last_places(sessions.session(session), renumbered, &mut distinct);
                    if max_items > 0 && distinct.len() > max_items {
                        continue;
                    }
                    if let Some(&ended) = sessions.times(session).last() {
                        part.push(ended, &distinct);
                    }
                }
                part
            })
            .collect();
        let mut all = Self::none(with_places);
        parts.iter().for_each(|part| all.append(part));
        all
    }

    pub(super) fn len(&self) -> usize {
        self.ended.len()
    }

    pub(super) fn items_of(&self, visit: usize) -> &[u32] {
        &self.items[self.offsets[visit]..self.offsets[visit + 1]]
    }

    pub(super) fn visit(&self, visit: usize) -> Visit<'_> {
        let range = self.offsets[visit]..self.offsets[visit + 1];
        Visit {
            ended: self.ended[visit],
            items: &self.items[range.clone()],
            places: self.places.as_ref().map_or(&[], |places| &places[range]),
        }
    }

    fn push(&mut self, ended: i64, distinct: &[(u32, u32)]) {
        self.ended.push(ended);
        self.items.extend(distinct.iter().map(|(item, _)| item));
        if let Some(places) = &mut self.places {
            places.extend(distinct.iter().map(|(_, place)| place));
        }
        self.offsets.push(self.items.len());
    }

    /// Adds those of another, after its own.
    pub(super) fn append(&mut self, other: &Self) {
        let shift = self.items.len();
        self.ended.extend(&other.ended);
        self.offsets
            .extend(other.offsets[1..].iter().map(|offset| shift + offset));
        self.items.extend(&other.items);
        if let (Some(places), Some(more)) = (&mut self.places, &other.places) {
            places.extend(more);
        }
    }

    /// The oldest first.
    pub(super) fn sorted(self) -> Self {
        if self.is_sorted() {
            return self;
        }
        let mut order: Vec<usize> = (0..self.len()).collect();
        // Stable sorting is fast on what an update gives: two runs that are sorted.
        order.par_sort_by(|&a, &b| self.visit(a).cmp(&self.visit(b)));
        self.select(&order)
    }

    pub(super) fn is_sorted(&self) -> bool {
        (1..self.len()).all(|visit| self.visit(visit - 1) <= self.visit(visit))
    }

    /// Some of them, in the order given.
    pub(super) fn select(&self, order: &[usize]) -> Self {
        let mut selected = Self::none(self.places.is_some());
        for &visit in order {
            let Visit {
                ended,
                items,
                places,
            } = self.visit(visit);
            selected.ended.push(ended);
            selected.items.extend(items);
            if let Some(selected) = &mut selected.places {
                selected.extend(places);
            }
            selected.offsets.push(selected.items.len());
        }
        selected
    }
}

/// The distinct items of a session with the last place of each, from 1, in the order of the places.
fn last_places(session: &[ItemIdx], renumbered: &[u32], distinct: &mut Vec<(u32, u32)>) {
    distinct.clear();
    let items = session.iter().map(|item| renumbered[item.get()]);
    distinct.extend(items.zip(1..));
    distinct.sort_unstable_by_key(|&(item, place)| (item, std::cmp::Reverse(place)));
    distinct.dedup_by_key(|(item, _)| *item);
    distinct.sort_unstable_by_key(|(_, place)| *place);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_stands_where_it_was_last() {
        let mut distinct = Vec::new();
        let session = [3, 1, 3, 2, 1].map(ItemIdx);
        last_places(&session, &[0, 1, 2, 3], &mut distinct);
        assert_eq!(distinct, [(3, 3), (2, 4), (1, 5)]);
        last_places(&session, &[5, 6, 7, 8], &mut distinct);
        assert_eq!(distinct, [(8, 3), (7, 4), (6, 5)]);
    }

    #[test]
    fn equal_ends_are_ordered_by_what_the_visits_hold() {
        let mut visits = Visits::none(true);
        visits.push(7, &[(2, 1)]);
        visits.push(7, &[(1, 2), (2, 3)]);
        visits.push(3, &[(9, 1)]);
        visits.push(7, &[(1, 1), (2, 3)]);
        let sorted = visits.sorted();
        assert_eq!(sorted.ended, [3, 7, 7, 7]);
        assert_eq!(sorted.items, [9, 1, 2, 1, 2, 2]);
        assert_eq!(sorted.places, Some(vec![1, 1, 3, 2, 3, 1]));
    }
}
