//! [`Cosines`]: the products of queries with all unit vectors.

use pulp::{Simd, WithSimd};

/// The scores of many queries: each block of rows is read from memory once for all of them.
///
/// The dot product of a query and a row is always summed in the same order, so a session scores the same
/// alone as in a batch.
pub(super) struct Cosines<'a> {
    pub(super) dim: usize,
    pub(super) vectors: &'a [f32],
    pub(super) inverse_norms: &'a [f32],
    pub(super) queries: &'a [f32],
    pub(super) scores: &'a mut [f32],
}

/// Rows that are read at once: a block of 100 dimensions fits into the first cache.
const ROWS_PER_BLOCK: usize = 48;
/// Rows whose dot products are summed side by side, to fill the processor's pipeline.
const ROWS_AT_ONCE: usize = 8;

impl WithSimd for Cosines<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            dim,
            vectors,
            inverse_norms,
            queries,
            scores,
        } = self;
        let n_items = inverse_norms.len();
        let blocks = vectors.chunks(ROWS_PER_BLOCK * dim);
        for (start, block) in (0..).step_by(ROWS_PER_BLOCK).zip(blocks) {
            let rows_of_scores = scores.chunks_exact_mut(n_items);
            for (query, scores) in queries.chunks_exact(dim).zip(rows_of_scores) {
                let end = start + block.len() / dim;
                let scores = scores[start..end].chunks_mut(ROWS_AT_ONCE);
                let norms = inverse_norms[start..end].chunks(ROWS_AT_ONCE);
                let rows = block.chunks(ROWS_AT_ONCE * dim);
                for ((rows, norms), scores) in rows.zip(norms).zip(scores) {
                    let dots = dots(simd, query, rows);
                    for ((score, dot), norm) in scores.iter_mut().zip(dots).zip(norms) {
                        *score = dot * norm;
                    }
                }
            }
        }
    }
}

/// The dot products of a query with up to [`ROWS_AT_ONCE`] rows.
#[inline(always)]
fn dots<S: Simd>(simd: S, query: &[f32], rows: &[f32]) -> [f32; ROWS_AT_ONCE] {
    let dim = query.len();
    let (query, query_tail) = S::as_simd_f32s(query);
    let query_tail = simd.partial_load_f32s(query_tail);
    let mut sums = [simd.splat_f32s(0.0); ROWS_AT_ONCE];
    // Loops instead of closures: what is not inlined here is not compiled for the vectors of `S`.
    if rows.len() == ROWS_AT_ONCE * dim {
        let mut heads = [query; ROWS_AT_ONCE];
        for (row, head) in heads.iter_mut().enumerate() {
            *head = &S::as_simd_f32s(&rows[row * dim..][..dim]).0[..query.len()];
        }
        for (place, &q) in query.iter().enumerate() {
            for row in 0..ROWS_AT_ONCE {
                sums[row] = simd.mul_add_e_f32s(q, heads[row][place], sums[row]);
            }
        }
    } else {
        for (sum, row) in sums.iter_mut().zip(rows.chunks_exact(dim)) {
            for (&q, &v) in query.iter().zip(S::as_simd_f32s(row).0) {
                *sum = simd.mul_add_e_f32s(q, v, *sum);
            }
        }
    }
    let mut dots = [0.0; ROWS_AT_ONCE];
    for ((sum, row), dot) in sums.into_iter().zip(rows.chunks_exact(dim)).zip(&mut dots) {
        let tail = simd.partial_load_f32s(S::as_simd_f32s(row).1);
        *dot = simd.reduce_sum_f32s(simd.mul_add_e_f32s(query_tail, tail, sum));
    }
    dots
}
