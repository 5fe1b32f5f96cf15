//! [`Weights`]: what the network learns, and [`Adagrad`], which moves it.

use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::cell::GruCell;

/// Where the input of the first cell comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InputMode {
    /// The embedding that scores the items.
    Constrained,
    /// An embedding of its own.
    Embedding,
    /// One number of each item is 1, the rest 0: what it brings to the gates is looked up.
    OneHot,
}

/// The widths of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) input: InputMode,
    /// Width of a row of the input's table.
    pub(super) input_dim: usize,
    /// Widths of the states, from the input up.
    pub(super) layers: Vec<usize>,
}

impl Shape {
    /// Width of the state that is scored.
    pub(super) fn output_dim(&self) -> usize {
        self.layers.last().copied().unwrap_or_default()
    }

    /// The names and shapes of the weights' matrices: items, biases, inputs, then four for each cell. What a
    /// network has not has no shape.
    fn tensors(&self, n_items: usize) -> Vec<(String, Vec<usize>)> {
        let (input, columns) = match self.input {
            InputMode::Constrained => ("input", None),
            InputMode::Embedding => ("input_embedding", Some(self.input_dim)),
            InputMode::OneHot => ("input_gates", Some(self.input_dim)),
        };
        let mut tensors = vec![
            (
                "item_embedding".to_owned(),
                vec![n_items, self.output_dim()],
            ),
            ("item_bias".to_owned(), vec![n_items]),
            (
                input.to_owned(),
                columns.map_or_else(Vec::new, |columns| vec![n_items, columns]),
            ),
        ];
        let mut input_dim = self.input_dim;
        for (layer, &dim) in self.layers.iter().enumerate() {
            let suffix = if self.layers.len() > 1 {
                format!("_l{layer}")
            } else {
                String::new()
            };
            let is_read = layer > 0 || self.input != InputMode::OneHot;
            let weight_ih = if is_read {
                vec![3 * dim, input_dim]
            } else {
                Vec::new()
            };
            tensors.extend([
                (format!("weight_ih{suffix}"), weight_ih),
                (format!("weight_hh{suffix}"), vec![3 * dim, dim]),
                (format!("bias_ih{suffix}"), vec![3 * dim]),
                (format!("bias_hh{suffix}"), vec![3 * dim]),
            ]);
            input_dim = dim;
        }
        tensors
    }
}

/// All that the network learns.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Weights {
    /// `[n_items, output_dim]`; what scores the items, and their input too if it is constrained.
    pub(super) item_embedding: Vec<f32>,
    /// `[n_items]`
    pub(super) item_bias: Vec<f32>,
    /// `[n_items, input_dim]`: the input of each item, or what it brings to each gate; empty if constrained.
    pub(super) input: Vec<f32>,
    /// From the input up.
    pub(super) cells: Vec<GruCell>,
}

impl Weights {
    /// Each matrix uniform in ±√(6 / (rows + columns)), that of the cell gate by gate; biases 0.
    pub(super) fn new(n_items: usize, shape: &Shape, seed: u64) -> Self {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let mut uniform = |n_blocks: usize, n_rows: usize, n_columns: usize| -> Vec<f32> {
            let bound = bound(n_rows, n_columns);
            (0..n_blocks * n_rows * n_columns)
                .map(|_| rng.random_range(-bound..=bound))
                .collect()
        };
        let item_embedding = uniform(1, n_items, shape.output_dim());
        let input = match shape.input {
            InputMode::Constrained => Vec::new(),
            InputMode::Embedding => uniform(1, n_items, shape.input_dim),
            // Each gate has a matrix of `[dim, n_items]`.
            InputMode::OneHot => uniform(3, n_items, shape.input_dim / 3),
        };
        let mut input_dim = shape.input_dim;
        let cells = shape.layers.iter().enumerate().map(|(layer, &dim)| {
            let is_read = layer > 0 || shape.input != InputMode::OneHot;
            let cell = GruCell {
                dim,
                input_dim,
                weight_ih: if is_read {
                    uniform(3, dim, input_dim)
                } else {
                    Vec::new()
                },
                weight_hh: uniform(3, dim, dim),
                bias_ih: vec![0.0; 3 * dim],
                bias_hh: vec![0.0; 3 * dim],
            };
            input_dim = dim;
            cell
        });
        let cells = cells.collect();
        Self {
            item_embedding,
            item_bias: vec![0.0; n_items],
            input,
            cells,
        }
    }

    /// Each matrix with its name and shape, as artifacts and other files have them.
    ///
    /// A layer's tensors end in `_l0` and so on if there are several, as in `PyTorch`'s `GRU`.
    pub(super) fn tensors(&self, shape: &Shape) -> Vec<(String, Vec<usize>, &[f32])> {
        let names = shape.tensors(self.item_bias.len());
        let cells = self.cells.iter().flat_map(|cell| {
            [
                &cell.weight_ih,
                &cell.weight_hh,
                &cell.bias_ih,
                &cell.bias_hh,
            ]
        });
        let values = [&self.item_embedding, &self.item_bias, &self.input]
            .into_iter()
            .chain(cells);
        let named = names.into_iter().zip(values);
        named
            .filter(|((_, shape), _)| !shape.is_empty())
            .map(|((name, shape), values)| (name, shape, values.as_slice()))
            .collect()
    }

    /// Back from [`tensors`](Self::tensors): `read` gives the values of a name and shape.
    pub(super) fn from_tensors<E>(
        shape: &Shape,
        n_items: usize,
        mut read: impl FnMut(&str, &[usize]) -> Result<Vec<f32>, E>,
    ) -> Result<Self, E> {
        let mut values = Vec::new();
        for (name, shape) in shape.tensors(n_items) {
            values.push(if shape.is_empty() {
                Vec::new()
            } else {
                read(&name, &shape)?
            });
        }
        let mut values = values.into_iter();
        let mut next = || values.next().unwrap_or_default();
        let (item_embedding, item_bias, input) = (next(), next(), next());
        let mut input_dim = shape.input_dim;
        let cell = |&dim: &usize| GruCell {
            dim,
            input_dim: std::mem::replace(&mut input_dim, dim),
            weight_ih: next(),
            weight_hh: next(),
            bias_ih: next(),
            bias_hh: next(),
        };
        Ok(Self {
            cells: shape.layers.iter().map(cell).collect(),
            item_embedding,
            item_bias,
            input,
        })
    }

    /// Whether every value is.
    pub(super) fn is_finite(&self) -> bool {
        let cells = self.cells.iter().flat_map(|cell| {
            [
                &cell.weight_ih,
                &cell.weight_hh,
                &cell.bias_ih,
                &cell.bias_hh,
            ]
        });
        let mut all = cells.chain([&self.item_embedding, &self.item_bias, &self.input]);
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
        let shape = |input, input_dim| Shape {
            input,
            input_dim,
            layers: vec![4],
        };
        let constrained = shape(InputMode::Constrained, 4);
        let weights = Weights::new(50, &constrained, 1);
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
        check(&weights.cells[0].weight_ih, 4.0);
        check(&weights.cells[0].weight_hh, 4.0);
        assert!(widest(&weights.item_bias) + widest(&weights.cells[0].bias_ih) < f32::MIN_POSITIVE);
        assert_eq!(weights, Weights::new(50, &constrained, 1));
        assert_ne!(weights, Weights::new(50, &constrained, 2));
        let one_hot = Weights::new(50, &shape(InputMode::OneHot, 12), 1);
        check(&one_hot.input, 50.0);
        assert!(one_hot.cells[0].weight_ih.is_empty());
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
