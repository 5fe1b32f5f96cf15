//! The search: the most recent sessions that share an item with a query, and of those the nearest.

use super::index::SessionIndex;
use super::scratch::Scratch;

/// An item of a query, and what sharing it is worth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Term {
    pub(crate) item: u32,
    /// What is added to the similarity of a session that has it.
    pub(crate) weight: f64,
    /// How many items of the query came after its last occurrence.
    pub(crate) distance: usize,
}

/// A past session that shares an item with the query.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Candidate {
    pub(crate) session: u32,
    pub(crate) similarity: f64,
    /// The [`distance`](Term::distance) of the query's latest item that it has.
    pub(crate) distance: usize,
}

/// The list of a term while lists are merged.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor {
    next: usize,
    end: usize,
}

impl SessionIndex {
    /// Fills the candidates of a scratch with the `m` most recent sessions that have one of its terms, the
    /// newest first, each with the sum of the weights of those that it has.
    ///
    /// Merges the lists of the terms from the newest on. The newest of all heads is sought by a plain scan:
    /// there are few terms, and the scan compiles to vector instructions.
    pub(crate) fn recent(&self, m: usize, scratch: &mut Scratch) {
        let Scratch {
            terms,
            heads,
            cursors,
            candidates,
            ..
        } = scratch;
        let lists = self.postings.visits();
        // One more than the number of the next visit; 0 where a list has ended.
        let head = |cursor: Cursor| {
            if cursor.next < cursor.end {
                lists[cursor.next] + 1
            } else {
                0
            }
        };
        heads.clear();
        cursors.clear();
        candidates.clear();
        for term in &*terms {
            let range = self.postings.range(term.item);
            let cursor = Cursor {
                next: range.start,
                end: range.end,
            };
            cursors.push(cursor);
            heads.push(head(cursor));
        }
        while candidates.len() < m {
            let newest = heads.iter().fold(0, |newest, &head| newest.max(head));
            if newest == 0 {
                break;
            }
            let mut candidate = Candidate {
                session: newest - 1,
                similarity: 0.0,
                distance: usize::MAX,
            };
            for ((own, cursor), term) in heads.iter_mut().zip(&mut *cursors).zip(&*terms) {
                if *own == newest {
                    candidate.similarity += term.weight;
                    // The latest item is the first term.
                    candidate.distance = candidate.distance.min(term.distance);
                    cursor.next += 1;
                    *own = head(*cursor);
                }
            }
            candidates.push(candidate);
        }
    }
}

/// Keeps the `k` candidates of the highest similarity above 0, a tie to the more recent; in their order.
pub(crate) fn nearest(k: usize, scratch: &mut Scratch) {
    let Scratch {
        candidates,
        similarities,
        ..
    } = scratch;
    candidates.retain(|candidate| candidate.similarity > 0.0);
    if candidates.len() <= k {
        return;
    }
    similarities.clear();
    similarities.extend(candidates.iter().map(|candidate| candidate.similarity));
    let (_, &mut least, _) =
        similarities.select_nth_unstable_by(k - 1, |a: &f64, b| b.total_cmp(a));
    let n_above = candidates.iter().filter(|c| c.similarity > least).count();
    let mut n_ties = k - n_above;
    candidates.retain(|candidate| {
        if candidate.similarity > least {
            return true;
        }
        // Those below the least are no ties; the newest tie comes first.
        let kept = n_ties > 0 && candidate.similarity >= least;
        n_ties -= usize::from(kept);
        kept
    });
}
