//! [`multiply`]: the product of matrices in slices, checked at its border.

use gemm::Parallelism;

/// A view of a matrix in a slice.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Matrix<'a> {
    data: &'a [f32],
    n_rows: usize,
    n_columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// Rows of `n_columns` values, one after the other.
    pub(crate) fn rows(data: &'a [f32], n_columns: usize) -> Self {
        let n_rows = data.len() / n_columns.max(1);
        Self {
            data,
            n_rows,
            n_columns,
            row_stride: n_columns,
            column_stride: 1,
        }
    }

    /// The matrix transposed; nothing moves.
    pub(crate) const fn t(self) -> Self {
        Self {
            data: self.data,
            n_rows: self.n_columns,
            n_columns: self.n_rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
        }
    }

    fn check(self) {
        if self.n_rows == 0 || self.n_columns == 0 {
            return;
        }
        let last = (self.n_rows - 1) * self.row_stride + (self.n_columns - 1) * self.column_stride;
        assert!(last < self.data.len(), "a matrix lies within its slice");
    }
}

/// `product = left · right`, in rows one after the other; on the calling thread.
///
/// # Panics
///
/// If the shapes do not fit.
pub(crate) fn multiply(product: &mut [f32], left: Matrix<'_>, right: Matrix<'_>) {
    assert_eq!(
        left.n_columns, right.n_rows,
        "inner dimensions of a product"
    );
    assert_eq!(
        product.len(),
        left.n_rows * right.n_columns,
        "outer dimensions of a product"
    );
    left.check();
    right.check();
    let stride = usize::cast_signed;
    #[expect(
        unsafe_code,
        reason = "the gemm crate takes pointers; bounds were checked above"
    )]
    // SAFETY: every index that the shapes and strides reach lies within its slice: `check` for the
    // factors, the length for the product, which is borrowed mutably and so overlaps neither.
    unsafe {
        gemm::gemm(
            left.n_rows,
            right.n_columns,
            left.n_columns,
            product.as_mut_ptr(),
            1,
            stride(right.n_columns),
            false,
            left.data.as_ptr(),
            stride(left.column_stride),
            stride(left.row_stride),
            right.data.as_ptr(),
            stride(right.column_stride),
            stride(right.row_stride),
            0.0_f32,
            1.0_f32,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(matrix: Matrix<'_>, row: usize, column: usize) -> f64 {
        f64::from(matrix.data[row * matrix.row_stride + column * matrix.column_stride])
    }

    /// The safe version: three loops.
    fn check(left: Matrix<'_>, right: Matrix<'_>) {
        let mut product = vec![f32::NAN; left.n_rows * right.n_columns];
        multiply(&mut product, left, right);
        for row in 0..left.n_rows {
            for column in 0..right.n_columns {
                let expected: f64 = (0..left.n_columns)
                    .map(|k| at(left, row, k) * at(right, k, column))
                    .sum();
                let found = f64::from(product[row * right.n_columns + column]);
                assert!(
                    (found - expected).abs() < 1e-4,
                    "{row}, {column}: {found} {expected}"
                );
            }
        }
    }

    proptest! {
        #[test]
        fn agrees_with_three_loops(m in 0..40_usize, n in 0..40_usize, k in 1..40_usize, seed in 0..99_u32) {
            let values = |len: usize, salt: u32| -> Vec<f32> {
                let value = |i: u32| ((i * 31 + seed * 17 + salt) % 23) as f32 / 23.0 - 0.5;
                (0..).take(len).map(value).collect()
            };
            let (a, b) = (values(m * k, 1), values(k * n, 2));
            let (at, bt) = (values(k * m, 3), values(n * k, 4));
            if m > 0 && n > 0 {
                check(Matrix::rows(&a, k), Matrix::rows(&b, n));
                check(Matrix::rows(&at, m).t(), Matrix::rows(&b, n));
                check(Matrix::rows(&a, k), Matrix::rows(&bt, k).t());
            }
        }
    }

    #[test]
    #[should_panic(expected = "inner dimensions")]
    fn shapes_that_do_not_fit_are_refused() {
        multiply(
            &mut [0.0; 4],
            Matrix::rows(&[0.0; 4], 2),
            Matrix::rows(&[0.0; 6], 2),
        );
    }
}
