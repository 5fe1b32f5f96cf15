//! [`Weights`]: what the network learns, and [`Adagrad`], which moves it.

use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::cell::GruCell;

/// All that the network learns.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Weights {
    /// `[n_items, dim]`, input and output embedding in one.
    pub(super) item_embedding: Vec<f32>,
    /// `[n_items]`
    pub(super) item_bias: Vec<f32>,
    pub(super) cell: GruCell,
}

impl Weights {
    /// Each matrix uniform in ±√(6 / (rows + columns)), that of the cell gate by gate; biases 0.
    pub(super) fn new(n_items: usize, dim: usize, seed: u64) -> Self {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let mut uniform = |n_blocks: usize, n_rows: usize| -> Vec<f32> {
            let bound = bound(n_rows, dim);
            (0..n_blocks * n_rows * dim)
                .map(|_| rng.random_range(-bound..=bound))
                .collect()
        };
        Self {
            item_embedding: uniform(1, n_items),
            item_bias: vec![0.0; n_items],
            cell: GruCell {
                dim,
                weight_ih: uniform(3, dim),
                weight_hh: uniform(3, dim),
                bias_ih: vec![0.0; 3 * dim],
                bias_hh: vec![0.0; 3 * dim],
            },
        }
    }

    /// Whether every value is.
    pub(super) fn is_finite(&self) -> bool {
        let cell = &self.cell;
        let cell = [
            &cell.weight_ih,
            &cell.weight_hh,
            &cell.bias_ih,
            &cell.bias_hh,
        ];
        let mut all = cell
            .into_iter()
            .chain([&self.item_embedding, &self.item_bias]);
        all.all(|values| values.iter().all(|value| value.is_finite()))
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a bound needs no more than six digits"
)]
fn bound(n_rows: usize, n_columns: usize) -> f32 {
    (6.0 / (n_rows + n_columns) as f64).sqrt() as f32
}

/// Adagrad with momentum, equation (7) of the module page.
#[derive(Debug, Clone, Copy)]
pub(super) struct Adagrad {
    pub(super) learning_rate: f32,
    pub(super) momentum: f32,
}

/// Keeps the first step finite; the value of the reference implementation.
pub(super) const ADAGRAD_EPSILON: f32 = 1e-6;

impl Adagrad {
    /// What has to be remembered of a parameter of `len` values, one row: the squares of its gradients
    /// and, with momentum, its velocity.
    pub(super) fn memory_len(self, len: usize) -> usize {
        if self.momentum > 0.0 { 2 * len } else { len }
    }

    /// Moves one row of parameters; to be run vectorised.
    #[inline(always)]
    pub(super) fn step(self, row: &mut [f32], memory: &mut [f32], gradient: &[f32]) {
        let len = row.len();
        let gradient = &gradient[..len];
        let (squares, velocity) = memory.split_at_mut(len);
        for (square, g) in squares.iter_mut().zip(gradient) {
            *square += g * g;
        }
        if self.momentum > 0.0 {
            let velocity = &mut velocity[..len];
            for i in 0..len {
                let step = self.learning_rate * gradient[i] / (squares[i] + ADAGRAD_EPSILON).sqrt();
                velocity[i] = self.momentum * velocity[i] - step;
                row[i] += velocity[i];
            }
        } else {
            for i in 0..len {
                row[i] -= self.learning_rate * gradient[i] / (squares[i] + ADAGRAD_EPSILON).sqrt();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matrices_start_within_their_bound_and_biases_at_zero() {
        let weights = Weights::new(50, 4, 1);
        let widest = |values: &[f32]| values.iter().fold(0.0_f32, |widest, x| widest.max(x.abs()));
        let check = |values: &[f32], rows: f32| {
            let bound = (6.0 / (rows + 4.0)).sqrt();
            let widest = widest(values);
            assert!(
                (0.8 * bound..=bound).contains(&widest),
                "{widest} of {bound}"
            );
        };
        check(&weights.item_embedding, 50.0);
        check(&weights.cell.weight_ih, 4.0);
        check(&weights.cell.weight_hh, 4.0);
        assert!(widest(&weights.item_bias) + widest(&weights.cell.bias_ih) < f32::MIN_POSITIVE);
        assert_eq!(weights, Weights::new(50, 4, 1));
        assert_ne!(weights, Weights::new(50, 4, 2));
    }

    #[test]
    fn adagrad_worked_by_hand() {
        let check = |momentum: f32, expected: [f32; 2]| {
            let adagrad = Adagrad {
                learning_rate: 0.1,
                momentum,
            };
            let (mut row, mut memory) = ([1.0], vec![0.0; adagrad.memory_len(1)]);
            for (gradient, expected) in [3.0, 4.0].into_iter().zip(expected) {
                adagrad.step(&mut row, &mut memory, &[gradient]);
                assert!(
                    (row[0] - expected).abs() < 1e-6,
                    "{} is not {expected}",
                    row[0]
                );
            }
        };
        // Steps 0.1 * 3 / √9 and 0.1 * 4 / √25.
        check(0.0, [0.9, 0.82]);
        // The second velocity is 0.5 * −0.1 − 0.08.
        check(0.5, [0.9, 0.77]);
    }
}
