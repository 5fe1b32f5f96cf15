//! [`Postings`]: for each item the most recent visits that hold it.

use std::sync::atomic::{AtomicU32, Ordering};

use rayon::prelude::*;

use super::visits::Visits;

/// For each item the numbers of the `m` most recent visits that hold it, the newest first.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Postings {
    offsets: Vec<usize>,
    visits: Vec<u32>,
}

impl Postings {
    /// Inverts visits, the oldest of which is first; in parallel, by a counting sort.
    ///
    /// Each thread counts the items of its share of the visits, so it takes 4 bytes an item and thread.
    pub(super) fn of(visits: &Visits, n_items: usize, m: usize) -> Self {
        let share = visits.len().div_ceil(rayon::current_num_threads()).max(1);
        let starts: Vec<usize> = (0..visits.len()).step_by(share).collect();
        let range = |start: usize| start..(start + share).min(visits.len());
        let mut places: Vec<Vec<u32>> = starts
            .par_iter()
            .map(|&start| {
                let mut counts = vec![0_u32; n_items];
                for visit in range(start) {
                    for &item in visits.items_of(visit) {
                        counts[item as usize] += 1;
                    }
                }
                counts
            })
            .collect();
        // Counts become the place of each share's newest visit in the list of the item.
        let mut offsets = Vec::with_capacity(n_items + 1);
        let mut end = 0;
        offsets.push(end);
        for item in 0..n_items {
            let mut newer = 0_u32;
            for counts in places.iter_mut().rev() {
                newer += std::mem::replace(&mut counts[item], newer);
            }
            end += (newer as usize).min(m);
            offsets.push(end);
        }
        // Shares write to places of their own; atomics say so without `unsafe`.
        let lists: Vec<AtomicU32> = (0..end).map(|_| AtomicU32::new(0)).collect();
        starts
            .par_iter()
            .zip(&mut places)
            .for_each(|(&start, places)| {
                for visit in range(start).rev() {
                    let number = number(visit);
                    for &item in visits.items_of(visit) {
                        let place = &mut places[item as usize];
                        if (*place as usize) < m {
                            lists[offsets[item as usize] + *place as usize]
                                .store(number, Ordering::Relaxed);
                            *place += 1;
                        }
                    }
                }
            });
        Self {
            offsets,
            visits: lists.into_iter().map(AtomicU32::into_inner).collect(),
        }
    }

    /// Where the list of an item begins and ends in [`visits`](Self::visits).
    pub(super) fn range(&self, item: u32) -> std::ops::Range<usize> {
        self.offsets[item as usize]..self.offsets[item as usize + 1]
    }

    /// The lists of all items, one after the other.
    pub(super) fn visits(&self) -> &[u32] {
        &self.visits
    }

    /// Numbers the visits anew; the new numbers have the order of the old ones.
    pub(super) fn renumber(&mut self, renumbered: &[u32]) {
        self.visits
            .par_iter_mut()
            .for_each(|visit| *visit = renumbered[*visit as usize]);
    }
}

/// A position as the number of a visit; the index has checked that there are not too many.
fn number(position: usize) -> u32 {
    u32::try_from(position).expect("an index holds fewer than 2³² visits")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_newest_first_and_cut_at_m_whatever_the_threads() {
        let visits = Visits {
            ended: vec![1, 2, 3, 4, 5],
            offsets: vec![0, 2, 3, 5, 6, 7],
            items: vec![0, 1, 0, 1, 0, 2, 0],
            places: None,
        };
        for threads in [1, 2, 3, 8] {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            let lists = pool.install(|| Postings::of(&visits, 4, 3));
            let list = |item| &lists.visits()[lists.range(item)];
            assert_eq!(list(0), [4, 2, 1], "{threads} threads");
            assert_eq!(list(1), [2, 0]);
            assert_eq!(list(2), [3]);
            assert!(list(3).is_empty());
        }
    }
}
