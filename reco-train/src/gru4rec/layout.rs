//! [`TwoWays`]: a matrix of lanes by values, once with the lanes and once with the values in vectors.

use super::product::padded;

/// Lanes that are computed side by side: as many as let a right factor of a product stay in the first cache.
pub(super) const PANEL: usize = 64;

/// A matrix of `n` lanes and `dim` values, both ways round.
///
/// A product goes over the lanes in vectors if it adds up values, and over the values if it adds up lanes.
#[derive(Debug, Clone, Default)]
pub(super) struct TwoWays {
    pub(super) dim: usize,
    /// `[dim, n]`
    pub(super) columns: Vec<f32>,
    /// `[n, padded(dim)]`; the padding is zeros.
    pub(super) rows: Vec<f32>,
}

impl TwoWays {
    pub(super) fn new(dim: usize) -> Self {
        Self {
            dim,
            ..Self::default()
        }
    }

    /// Makes room for so many lanes, and zeros in the padding.
    pub(super) fn resize(&mut self, n_lanes: usize) {
        self.columns.resize(self.dim * n_lanes, 0.0);
        self.rows.resize(padded(self.dim) * n_lanes, 0.0);
    }

    /// The values of each lane.
    pub(super) fn rows_mut(&mut self) -> impl Iterator<Item = &mut [f32]> {
        let dim = self.dim;
        self.rows
            .chunks_exact_mut(padded(dim))
            .map(move |row| &mut row[..dim])
    }

    /// Makes the columns those of the rows.
    pub(super) fn rows_to_columns(&mut self) {
        let n_lanes = self.columns.len() / self.dim;
        transpose(
            (&self.rows, padded(self.dim)),
            (&mut self.columns, n_lanes),
            n_lanes,
            self.dim,
        );
    }

    /// Makes the rows those of the columns.
    pub(super) fn columns_to_rows(&mut self) {
        let n_lanes = self.columns.len() / self.dim;
        transpose(
            (&self.columns, n_lanes),
            (&mut self.rows, padded(self.dim)),
            self.dim,
            n_lanes,
        );
    }
}

/// Writes `[n_rows, n_columns]` as `[n_columns, n_rows]`; each matrix comes with the distance of its rows.
pub(super) fn transpose(
    (from, from_stride): (&[f32], usize),
    (to, to_stride): (&mut [f32], usize),
    n_rows: usize,
    n_columns: usize,
) {
    /// Rows that are read side by side: what is written of them fills a line of the cache.
    const BLOCK: usize = 16;
    for start in (0..n_rows).step_by(BLOCK) {
        let block = &from[start * from_stride..];
        if n_rows - start >= BLOCK {
            for column in 0..n_columns {
                let to = &mut to[column * to_stride + start..][..BLOCK];
                for (row, to) in to.iter_mut().enumerate() {
                    *to = block[row * from_stride + column];
                }
            }
        } else {
            for column in 0..n_columns {
                let to = &mut to[column * to_stride + start..][..n_rows - start];
                for (row, to) in to.iter_mut().enumerate() {
                    *to = block[row * from_stride + column];
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let mut matrix = TwoWays::new(19);
        matrix.resize(32);
        for (lane, row) in matrix.rows_mut().enumerate() {
            for (k, value) in row.iter_mut().enumerate() {
                *value = (lane * 100 + k) as f32;
            }
        }
        let rows = matrix.rows.clone();
        matrix.rows_to_columns();
        assert_eq!(matrix.columns[7 * 32 + 30].to_bits(), 3007_f32.to_bits());
        for row in matrix.rows_mut() {
            row.fill(f32::NAN);
        }
        matrix.columns_to_rows();
        assert_eq!(matrix.rows, rows);
    }
}
