//! [`add_product`]: the matrix products of a step, in tiles that stay in the processor's registers.
//!
//! A library's product packs both factors into a layout of its own, each time it is called. Here all
//! factors are kept in a layout that needs no packing: the right one has rows of whole vectors, of the lanes
//! of a panel or of the values of an embedding, and the left one is read one number at a time. So a batch's
//! candidates are gathered once, and read where they lie by three products.

use pulp::{Arch, Simd, WithSimd};

/// Rows of the right factor and of the product are this many values, or a multiple.
pub(super) const VECTOR: usize = 16;
/// Rows of a tile: with [`VECTORS_PER_TILE`], as many sums as there are registers for.
const ROWS_PER_TILE: usize = 6;

/// `len` rounded up to whole vectors.
pub(super) const fn padded(len: usize) -> usize {
    len.next_multiple_of(VECTOR)
}

/// The left factor of a product; no vector is taken from it, so it may lie either way.
#[derive(Debug, Clone, Copy)]
pub(super) enum Left<'a> {
    /// Element `(i, k)` is `data[i * stride + k]`.
    Rows { data: &'a [f32], stride: usize },
    /// Element `(i, k)` is `data[k * stride + i]`: the matrix transposed.
    Columns { data: &'a [f32], stride: usize },
}

/// `product = left · right`, or `product += left · right`.
///
/// | matrix | shape | row `i` starts at |
/// | --- | --- | --- |
/// | `left` | `[n_rows, depth]` | see [`Left`] |
/// | `right` | `[depth, width]` | `i * width` |
/// | `product` | `[n_rows, width]` | `i * width` |
///
/// `depth` is how many rows `right` has. Each element is summed in the order of `k`, whatever the shapes, so a
/// product that is cut into parts by rows or columns has the same bits.
///
/// # Panics
///
/// If `width` is not a multiple of [`VECTOR`], or a matrix is smaller than its shape.
#[derive(Debug)]
pub(super) struct Product<'a> {
    pub(super) product: &'a mut [f32],
    pub(super) left: Left<'a>,
    pub(super) right: &'a [f32],
    pub(super) width: usize,
    /// Whether the product is added to what is there.
    pub(super) adds: bool,
}

impl Product<'_> {
    /// Computes it with the widest vectors that the processor has, on the calling thread.
    pub(super) fn run(self) {
        assert!(
            self.width > 0 && self.width.is_multiple_of(VECTOR),
            "a product has rows of whole vectors"
        );
        Arch::new().dispatch(self);
    }
}

impl WithSimd for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            product,
            left,
            right,
            width,
            adds,
        } = self;
        let n_rows = product.len() / width;
        // AVX2 has half the registers that AVX-512 and NEON have.
        let vectors_per_tile = if S::F32_LANES == 8 { 2 } else { 4 };
        let n_vectors = width / S::F32_LANES;
        for vector in (0..n_vectors).step_by(vectors_per_tile) {
            let column = vector * S::F32_LANES;
            let n_vectors = vectors_per_tile.min(n_vectors - vector);
            for row in (0..n_rows).step_by(ROWS_PER_TILE) {
                let tile = Tile {
                    product: &mut product[row * width + column..],
                    left,
                    row,
                    right: &right[column..],
                    depth: right.len() / width,
                    width,
                    adds,
                };
                let n_rows = ROWS_PER_TILE.min(n_rows - row);
                match (n_rows, n_vectors) {
                    (6, 4) => tile.run::<S, 6, 4>(simd),
                    (6, 3) => tile.run::<S, 6, 3>(simd),
                    (6, 2) => tile.run::<S, 6, 2>(simd),
                    (6, _) => tile.run::<S, 6, 1>(simd),
                    (rows, vectors) => tile.rest(simd, rows, vectors),
                }
            }
        }
    }
}

/// A few rows and vectors of a product.
struct Tile<'a> {
    product: &'a mut [f32],
    left: Left<'a>,
    /// The first of its rows in the left factor.
    row: usize,
    right: &'a [f32],
    depth: usize,
    width: usize,
    adds: bool,
}

impl Tile<'_> {
    /// The last rows: in tiles of four, two and one.
    #[inline(always)]
    fn rest<S: Simd>(self, simd: S, n_rows: usize, n_vectors: usize) {
        let Self {
            product,
            left,
            right,
            depth,
            width,
            adds,
            ..
        } = self;
        let mut done = 0;
        while done < n_rows {
            let tile = Tile {
                product: &mut product[done * width..],
                left,
                row: self.row + done,
                right,
                depth,
                width,
                adds,
            };
            let rows = match n_rows - done {
                4.. => 4,
                2.. => 2,
                _ => 1,
            };
            match (rows, n_vectors) {
                (4, 4) => tile.run::<S, 4, 4>(simd),
                (4, 3) => tile.run::<S, 4, 3>(simd),
                (4, 2) => tile.run::<S, 4, 2>(simd),
                (4, _) => tile.run::<S, 4, 1>(simd),
                (2, 4) => tile.run::<S, 2, 4>(simd),
                (2, 3) => tile.run::<S, 2, 3>(simd),
                (2, 2) => tile.run::<S, 2, 2>(simd),
                (2, _) => tile.run::<S, 2, 1>(simd),
                (_, 4) => tile.run::<S, 1, 4>(simd),
                (_, 3) => tile.run::<S, 1, 3>(simd),
                (_, 2) => tile.run::<S, 1, 2>(simd),
                (_, _) => tile.run::<S, 1, 1>(simd),
            }
            done += rows;
        }
    }

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) {
        let Self {
            product,
            left,
            row,
            right,
            depth,
            width,
            adds,
        } = self;
        let mut sums = [[simd.splat_f32s(0.0); VECTORS]; ROWS];
        match left {
            Left::Rows { data, stride } => {
                let rows: [&[f32]; ROWS] =
                    std::array::from_fn(|r| &data[(row + r) * stride..][..depth]);
                for k in 0..depth {
                    let right = vectors::<S, VECTORS>(&right[k * width..]);
                    for (sums, values) in sums.iter_mut().zip(&rows) {
                        add(simd, sums, values[k], right);
                    }
                }
            }
            Left::Columns { data, stride } => {
                for k in 0..depth {
                    let right = vectors::<S, VECTORS>(&right[k * width..]);
                    let column = &data[k * stride + row..][..ROWS];
                    for (sums, value) in sums.iter_mut().zip(column) {
                        add(simd, sums, *value, right);
                    }
                }
            }
        }
        for (r, sums) in sums.iter().enumerate() {
            let to = &mut product[r * width..][..VECTORS * S::F32_LANES];
            let (to, _) = S::as_mut_simd_f32s(to);
            for (to, sum) in to.iter_mut().zip(sums) {
                *to = if adds { simd.add_f32s(*to, *sum) } else { *sum };
            }
        }
    }
}

/// The first vectors of a row.
#[inline(always)]
fn vectors<S: Simd, const VECTORS: usize>(row: &[f32]) -> [S::f32s; VECTORS] {
    let (row, _) = S::as_simd_f32s(&row[..VECTORS * S::F32_LANES]);
    std::array::from_fn(|vector| row[vector])
}

#[inline(always)]
fn add<S: Simd, const VECTORS: usize>(
    simd: S,
    sums: &mut [S::f32s; VECTORS],
    value: f32,
    right: [S::f32s; VECTORS],
) {
    let value = simd.splat_f32s(value);
    for (sum, right) in sums.iter_mut().zip(right) {
        *sum = simd.mul_add_e_f32s(value, right, *sum);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn agrees_with_three_loops(
            n_rows in 1..20_usize,
            depth in 1..20_usize,
            n_vectors in 1..9_usize,
            seed in 0..99_usize,
        ) {
            let width = n_vectors * VECTOR;
            let values = |len: usize, salt: usize| -> Vec<f32> {
                let value = |i: usize| ((i * 31 + seed * 17 + salt) % 23) as f32 / 23.0 - 0.5;
                (0..len).map(value).collect()
            };
            let (left, right) = (values(n_rows * depth, 1), values(depth * width, 2));
            let rows = Left::Rows { data: &left, stride: depth };
            let columns = Left::Columns { data: &left, stride: n_rows };
            for (of, left) in [(0, rows), (1, columns)] {
                let mut product = vec![2.0; n_rows * width];
                for adds in [false, true] {
                    Product { product: &mut product, left, right: &right, width, adds }.run();
                }
                for row in 0..n_rows {
                    for column in 0..width {
                        let at = |k: usize| values(n_rows * depth, 1)[[row * depth + k, k * n_rows + row][of]];
                        let expected: f32 = (0..depth).map(|k| at(k) * right[k * width + column]).sum();
                        let found = product[row * width + column];
                        prop_assert!((found - 2.0 * expected).abs() < 1e-4, "{found} {expected}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_product_is_the_same_bit_by_bit_in_parts() {
        let values = |len: usize| -> Vec<f32> { (0..len).map(|i| (i as f32).sin()).collect() };
        let (left, right) = (values(13 * 37), values(37 * 32));
        let product = |first: usize, n_rows: usize| {
            let mut product = vec![0.0; n_rows * 32];
            let left = Left::Rows {
                data: &left[first * 37..],
                stride: 37,
            };
            Product {
                product: &mut product,
                left,
                right: &right,
                width: 32,
                adds: false,
            }
            .run();
            product
        };
        assert_eq!(product(0, 13), [product(0, 8), product(8, 5)].concat());
    }
}
