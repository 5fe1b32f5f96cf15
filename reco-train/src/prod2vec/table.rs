//! [`Table`]: rows of floats that threads share without locks, and the operations on them.
//!
//! All unsafe code of the crate's prod2vec is here. Rust has no vectors of relaxed atomic floats, so rows are
//! read and written by plain vector instructions through raw pointers, and no reference to their content is
//! made while threads share them. Two threads in one row may lose a part of an update, which the algorithm
//! bears; a single float is never torn on the machines that have such instructions.
#![expect(unsafe_code, reason = "lock-free updates of shared rows; see above")]

use std::marker::PhantomData;

use pulp::Simd;

/// A cache line: the unit of a row, so that no two rows share one and vectors need no tail.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; Self::N]);

impl Line {
    const N: usize = 16;
}

/// Rows of `dim` floats, each padded with zeros to whole cache lines.
#[derive(Debug)]
pub(super) struct Table {
    lines: Vec<Line>,
    n_lines: usize,
    dim: usize,
}

impl Table {
    /// Zeros.
    pub(super) fn new(n_rows: usize, dim: usize) -> Self {
        let n_lines = dim.div_ceil(Line::N);
        Self {
            lines: vec![Line([0.0; Line::N]); n_rows * n_lines],
            n_lines,
            dim,
        }
    }

    /// A table of `values: [n_rows, dim]`.
    pub(super) fn from_rows(values: &[f32], dim: usize) -> Self {
        let mut table = Self::new(values.len() / dim, dim);
        let rows = table.lines.chunks_exact_mut(table.n_lines);
        for (row, values) in rows.zip(values.chunks_exact(dim)) {
            for (line, values) in row.iter_mut().zip(values.chunks(Line::N)) {
                line.0[..values.len()].copy_from_slice(values);
            }
        }
        table
    }

    /// The rows without their padding: `[n_rows, dim]`.
    pub(super) fn into_rows(self) -> Vec<f32> {
        let mut values = Vec::with_capacity(self.lines.len() / self.n_lines * self.dim);
        for row in self.lines.chunks_exact(self.n_lines) {
            let end = values.len() + self.dim;
            for line in row {
                let n = Line::N.min(end - values.len());
                values.extend_from_slice(&line.0[..n]);
            }
        }
        values
    }

    /// A handle that threads can copy.
    pub(super) fn share(&mut self) -> Shared<'_> {
        Shared {
            first: self.lines.as_mut_ptr(),
            n_rows: self.lines.len() / self.n_lines,
            n_lines: self.n_lines,
            table: PhantomData,
        }
    }
}

/// A [`Table`] that is borrowed by any number of threads.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shared<'a> {
    first: *mut Line,
    n_rows: usize,
    n_lines: usize,
    table: PhantomData<&'a mut Table>,
}

// SAFETY: the lines outlive `'a`, and threads touch them by `SharedRow` only, which makes no references.
unsafe impl Send for Shared<'_> {}
// SAFETY: as above.
unsafe impl Sync for Shared<'_> {}

impl<'a> Shared<'a> {
    /// A row.
    ///
    /// # Panics
    ///
    /// If there is no such row.
    #[inline(always)]
    pub(super) fn row(self, row: u32) -> SharedRow<'a> {
        let row = row as usize;
        assert!(row < self.n_rows, "items of the corpus have rows");
        // SAFETY: `row * n_lines` is within the lines, by the assertion.
        let first = unsafe { self.first.add(row * self.n_lines) };
        SharedRow {
            first,
            n_lines: self.n_lines,
            table: PhantomData,
        }
    }
}

/// A row of a [`Shared`] table.
#[derive(Debug, Clone, Copy)]
pub(super) struct SharedRow<'a> {
    first: *mut Line,
    n_lines: usize,
    table: PhantomData<&'a mut Table>,
}

impl SharedRow<'_> {
    /// How many vectors it is.
    #[inline(always)]
    const fn n_vectors<S: Simd>(self) -> usize {
        self.n_lines * (Line::N / S::F32_LANES)
    }

    #[inline(always)]
    fn load<S: Simd>(self, place: usize) -> S::f32s {
        debug_assert!(place < self.n_vectors::<S>(), "within the row");
        // SAFETY: the row has so many vectors; a line is aligned for and divided evenly by each of them.
        unsafe { self.first.cast::<S::f32s>().add(place).read() }
    }

    #[inline(always)]
    fn store<S: Simd>(self, place: usize, vector: S::f32s) {
        debug_assert!(place < self.n_vectors::<S>(), "within the row");
        // SAFETY: as for `load`.
        unsafe { self.first.cast::<S::f32s>().add(place).write(vector) }
    }

    /// Asks for the row to be brought into the cache, to be written there: a line that another core has
    /// written comes over once, not once to be read and once more to be written.
    #[inline(always)]
    pub(super) fn prefetch(self) {
        #[cfg(target_arch = "x86_64")]
        for line in 0..self.n_lines {
            // SAFETY: a prefetch reads and writes nothing, the address is within the row, and processors
            // that do not know this one skip it.
            unsafe {
                std::arch::asm!(
                    "prefetchw [{}]",
                    in(reg) self.first.add(line),
                    options(nostack, preserves_flags, readonly)
                );
            }
        }
    }

    /// `row = 0`
    #[inline(always)]
    pub(super) fn clear<S: Simd>(self, simd: S) {
        for place in 0..self.n_vectors::<S>() {
            self.store::<S>(place, simd.splat_f32s(0.0));
        }
    }

    /// `row += scale · other`
    #[inline(always)]
    pub(super) fn add<S: Simd>(self, simd: S, scale: f32, other: SharedRow<'_>) {
        let scale = simd.splat_f32s(scale);
        for place in 0..self.n_vectors::<S>().min(other.n_vectors::<S>()) {
            let sum = simd.mul_add_e_f32s(scale, other.load::<S>(place), self.load::<S>(place));
            self.store::<S>(place, sum);
        }
    }
}

/// `hidden · row` of each pair of them; the sums run side by side, so that none waits for itself and each vector
/// is read once.
#[inline(always)]
pub(super) fn dots<S: Simd, const C: usize, const N: usize>(
    simd: S,
    hidden: [SharedRow<'_>; C],
    rows: [SharedRow<'_>; N],
) -> [[f32; N]; C] {
    let mut sums = [[simd.splat_f32s(0.0); N]; C];
    for place in 0..n_vectors::<S, C, N>(&hidden, &rows) {
        let mut of_hidden = [simd.splat_f32s(0.0); C];
        for c in 0..C {
            of_hidden[c] = hidden[c].load::<S>(place);
        }
        for n in 0..N {
            let of_row = rows[n].load::<S>(place);
            for c in 0..C {
                sums[c][n] = simd.mul_add_e_f32s(of_hidden[c], of_row, sums[c][n]);
            }
        }
    }
    let mut dots = [[0.0; N]; C];
    for c in 0..C {
        for n in 0..N {
            dots[c][n] = simd.reduce_sum_f32s(sums[c][n]);
        }
    }
    dots
}

/// `gradient += scale · row` for each hidden layer, then `row += scale · hidden`, for each row in turn, in one
/// pass: a step of all pairs of them. A row that is there twice is changed twice.
#[inline(always)]
pub(super) fn step<S: Simd, const C: usize, const N: usize>(
    simd: S,
    scales: &[[f32; N]; C],
    hidden: [SharedRow<'_>; C],
    rows: [SharedRow<'_>; N],
    gradients: [SharedRow<'_>; C],
) {
    let n_vectors =
        n_vectors::<S, C, N>(&hidden, &rows).min(n_vectors::<S, C, N>(&gradients, &rows));
    for place in 0..n_vectors {
        let mut of_hidden = [simd.splat_f32s(0.0); C];
        let mut of_gradient = of_hidden;
        for c in 0..C {
            of_hidden[c] = hidden[c].load::<S>(place);
            of_gradient[c] = gradients[c].load::<S>(place);
        }
        for n in 0..N {
            let before = rows[n].load::<S>(place);
            let mut after = before;
            for c in 0..C {
                let scale = simd.splat_f32s(scales[c][n]);
                of_gradient[c] = simd.mul_add_e_f32s(scale, before, of_gradient[c]);
                after = simd.mul_add_e_f32s(scale, of_hidden[c], after);
            }
            rows[n].store::<S>(place, after);
        }
        for c in 0..C {
            gradients[c].store::<S>(place, of_gradient[c]);
        }
    }
}

/// How many vectors all of the rows have.
#[inline(always)]
fn n_vectors<S: Simd, const C: usize, const N: usize>(
    some: &[SharedRow<'_>; C],
    others: &[SharedRow<'_>; N],
) -> usize {
    let mut n_vectors = usize::MAX;
    for row in some {
        n_vectors = n_vectors.min(row.n_vectors::<S>());
    }
    for row in others {
        n_vectors = n_vectors.min(row.n_vectors::<S>());
    }
    n_vectors
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use pulp::{Arch, WithSimd};

    use super::*;

    /// What the operations do to three rows, by the vectors of `S`.
    struct Operations<'a>(&'a mut Table);

    impl WithSimd for Operations<'_> {
        type Output = f32;

        fn with_simd<S: Simd>(self, simd: S) -> f32 {
            let table = self.0.share();
            let [a, b, c] = [table.row(0), table.row(1), table.row(2)];
            a.prefetch();
            // One row twice: the second time it is what the first has made of it.
            step(simd, &[[0.5, -0.25]], [a], [b, b], [c]);
            // Two hidden layers at once, which are one: both see the row as it was.
            step(simd, &[[0.5], [1.0]], [a, a], [b], [c, c]);
            a.add(simd, -2.0, c);
            c.clear(simd);
            c.add(simd, 1.0, b);
            let [[of_ab, of_ac], [of_bb, of_bc]] = dots(simd, [a, b], [b, c]);
            of_ab + 2.0 * of_ac + 4.0 * of_bb + 8.0 * of_bc
        }
    }

    /// The same on plain vectors.
    fn plain([a, b, c]: &mut [Vec<f32>; 3]) -> f32 {
        for i in 0..a.len() {
            c[i] += 0.5 * b[i];
            b[i] += 0.5 * a[i];
            c[i] += -0.25 * b[i];
            b[i] += -0.25 * a[i];
            // The gradients are one row, of which the last that is written stays.
            c[i] += b[i];
            b[i] += 1.5 * a[i];
            a[i] += -2.0 * c[i];
        }
        c.clone_from(b);
        a.iter()
            .zip(c)
            .map(|(a, b)| 3.0 * a * *b + 12.0 * *b * *b)
            .sum()
    }

    proptest! {
        #[test]
        fn vectors_do_what_plain_loops_do(
            rows in (1..70_usize).prop_flat_map(|dim| {
                prop::collection::vec(prop::collection::vec(-1.0..1.0_f32, dim), 3)
            }),
        ) {
            let dim = rows[0].len();
            let mut expected: [Vec<f32>; 3] = rows.clone().try_into().unwrap();
            let expected_dot = plain(&mut expected);
            let check = |operate: &dyn Fn(&mut Table) -> f32| {
                let mut table = Table::from_rows(&rows.concat(), dim);
                let dot = operate(&mut table);
                let tolerance = 1e-5 * (10.0 + expected_dot.abs());
                prop_assert!((dot - expected_dot).abs() < tolerance, "{dot} {expected_dot}");
                for (found, expected) in table.into_rows().iter().zip(expected.concat()) {
                    prop_assert!((found - expected).abs() < 1e-5, "{found} {expected}");
                }
                Ok(())
            };
            check(&|table| Arch::new().dispatch(Operations(table)))?;
            check(&|table| Operations(table).with_simd(pulp::Scalar))?;
        }
    }

    #[test]
    fn rows_come_back_as_they_were_put() {
        let values: Vec<f32> = (0..3 * 17_u8).map(f32::from).collect();
        assert_eq!(Table::from_rows(&values, 17).into_rows(), values);
    }

    #[test]
    #[should_panic(expected = "items of the corpus have rows")]
    fn a_row_beyond_the_table_panics() {
        let _row = Table::new(2, 3).share().row(2);
    }
}
