//! [`Uses`]: which rows of the item table a batch touches, and what for.

/// The rows of the item table that a batch touches, each once, and their uses.
///
/// Use `u` is source `u`, or candidate `u − n_lanes`.
#[derive(Debug, Clone, Default)]
pub(super) struct Uses {
    /// The rows, ascending.
    pub(super) rows: Vec<u32>,
    /// The uses of row `rows[i]` are `uses[starts[i]..starts[i + 1]]`.
    starts: Vec<usize>,
    uses: Vec<u32>,
    /// Row and number of each use in one word, for sorting.
    keys: Vec<u64>,
}

impl Uses {
    /// The uses of the row at a position of [`rows`](Self::rows), ascending.
    pub(super) fn of(&self, position: usize) -> &[u32] {
        &self.uses[self.starts[position]..self.starts[position + 1]]
    }

    /// Takes down the uses of a batch, in place of those before.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a key is two words of 32 bits"
    )]
    pub(super) fn collect(&mut self, sources: &[u32], candidates: &[u32]) {
        let Self {
            rows,
            starts,
            uses,
            keys,
        } = self;
        keys.clear();
        let rows_of_uses = sources.iter().chain(candidates);
        keys.extend(
            rows_of_uses
                .zip(0_u64..)
                .map(|(&row, of)| u64::from(row) << 32 | of),
        );
        keys.sort_unstable();
        rows.clear();
        starts.clear();
        uses.clear();
        for (position, &key) in keys.iter().enumerate() {
            let [row, of] = [(key >> 32) as u32, key as u32];
            if rows.last() != Some(&row) {
                rows.push(row);
                starts.push(position);
            }
            uses.push(of);
        }
        starts.push(keys.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uses_name_each_row_once() {
        let mut uses = Uses::default();
        uses.collect(&[3, 1], &[1, 7, 3, 3]);
        assert_eq!(uses.rows, [1, 3, 7]);
        let of: Vec<_> = (0..3).map(|position| uses.of(position)).collect();
        assert_eq!(of, [vec![1, 2], vec![0, 4, 5], vec![3]]);
    }
}
