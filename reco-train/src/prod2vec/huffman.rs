//! [`HuffmanTree`]: the codes of hierarchical softmax.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A binary tree with the items for leaves, in which frequent ones are near the root: the mean length of a path,
/// weighted by the counts, is the least that there is (Huffman 1952).
///
/// Hierarchical softmax (Morin and Bengio 2005; Mikolov et al., arXiv 1310.4546) gives each inner node an output
/// vector. The probability of an item is the product, over the inner nodes from the root to it, of that of
/// turning the right way.
#[derive(Debug)]
pub(super) struct HuffmanTree {
    /// The path of item `i` is `turns[offsets[i]..offsets[i + 1]]`.
    offsets: Vec<usize>,
    turns: Vec<Turn>,
}

/// An inner node on the way to an item, and which way to turn there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Turn {
    pub(super) node: u32,
    /// 1 for the first child, -1 for the second; gensim's codes 0 and 1.
    pub(super) sign: f32,
}

impl HuffmanTree {
    /// The tree of the items `0..counts.len()`; it has one inner node less than items.
    ///
    /// Of trees that are as good, it takes the one that joins the lowest positions first, as gensim does: the
    /// same counts give the same tree.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "items have positions of 32 bits, and inner nodes are fewer"
    )]
    pub(super) fn new(counts: &[u64]) -> Self {
        let n_items = counts.len();
        let mut parents = vec![(0_u32, 1.0_f32); n_items];
        let leaves = counts.iter().enumerate();
        let mut heap: BinaryHeap<_> = leaves
            .map(|(node, &count)| Reverse((count, node)))
            .collect();
        while let (Some(Reverse((first_count, first))), Some(Reverse((second_count, second)))) =
            (heap.pop(), heap.pop())
        {
            let node = parents.len();
            parents[first] = ((node - n_items) as u32, 1.0);
            parents[second] = ((node - n_items) as u32, -1.0);
            parents.push((0, 1.0));
            heap.push(Reverse((first_count.saturating_add(second_count), node)));
        }
        let root = parents.len() - 1;
        let (mut offsets, mut turns) = (vec![0], Vec::new());
        for item in 0..n_items {
            let first = turns.len();
            let mut node = item;
            while node != root {
                let (parent, sign) = parents[node];
                turns.push(Turn { node: parent, sign });
                node = parent as usize + n_items;
            }
            turns[first..].reverse();
            offsets.push(turns.len());
        }
        Self { offsets, turns }
    }

    /// The turns from the root to an item; none if it is the only one.
    ///
    /// # Panics
    ///
    /// If there is no such item.
    #[inline(always)]
    pub(super) fn path(&self, item: u32) -> &[Turn] {
        &self.turns[self.offsets[item as usize]..self.offsets[item as usize + 1]]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    /// The least sum of count times length over all binary trees, by trying every pair to be joined.
    fn least_cost(counts: &[u64]) -> u64 {
        if counts.len() < 2 {
            return 0;
        }
        let pairs = (0..counts.len()).flat_map(|b| (0..b).map(move |a| (a, b)));
        let cost = |(a, b): (usize, usize)| {
            let mut rest = counts.to_vec();
            let joined = rest.remove(b) + rest.remove(a);
            rest.push(joined);
            joined + least_cost(&rest)
        };
        pairs.map(cost).min().unwrap()
    }

    proptest! {
        #[test]
        fn no_tree_has_a_shorter_mean_path(counts in prop::collection::vec(0..20_u64, 1..7)) {
            let tree = HuffmanTree::new(&counts);
            let lengths = (0..).zip(&counts).map(|(item, n)| n * tree.path(item).len() as u64);
            prop_assert_eq!(lengths.sum::<u64>(), least_cost(&counts));
        }

        #[test]
        fn paths_are_those_of_a_binary_tree(counts in prop::collection::vec(0..1000_u64, 1..200)) {
            let tree = HuffmanTree::new(&counts);
            let n = u32::try_from(counts.len()).unwrap();
            // No code is the start of another: each path is its own, and the shares of the leaves add up to one.
            let codes: HashSet<Vec<bool>> = (0..n)
                .map(|item| tree.path(item).iter().map(|turn| turn.sign > 0.0).collect())
                .collect();
            prop_assert_eq!(codes.len(), counts.len());
            let shares = codes.iter().map(|code| 0.5_f64.powi(i32::try_from(code.len()).unwrap()));
            prop_assert!((shares.sum::<f64>() - 1.0).abs() < 1e-9);
            for item in 0..n {
                prop_assert!(tree.path(item).iter().all(|turn| turn.node < n - 1));
                prop_assert!(tree.path(item).first().is_none_or(|turn| turn.node == n - 2));
            }
        }
    }

    #[test]
    fn a_tree_worked_by_hand() {
        // 1 + 2 = 3 (node 0), 3 + 4 = 7 (node 1), 7 + 9 = 16 (node 2); counts in the order of the items.
        let tree = HuffmanTree::new(&[9, 1, 4, 2]);
        let path = |item| {
            let turns = tree.path(item).iter();
            turns.map(|turn| (turn.node, turn.sign)).collect::<Vec<_>>()
        };
        assert_eq!(path(0), [(2, -1.0)]);
        assert_eq!(path(2), [(2, 1.0), (1, -1.0)]);
        assert_eq!(path(1), [(2, 1.0), (1, 1.0), (0, 1.0)]);
        assert_eq!(path(3), [(2, 1.0), (1, 1.0), (0, -1.0)]);
        assert!(HuffmanTree::new(&[5]).path(0).is_empty());
    }
}
