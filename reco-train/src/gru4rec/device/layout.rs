//! Where the weights lie on a device: biases in the matrices that they belong to.
//!
//! All rows have [`width`] columns: `dim` values, one column for the bias, zeros. Whatever is multiplied
//! with such a row has a one in the bias's column.
//!
//! | matrix | shape | bias |
//! | --- | --- | --- |
//! | items | `[n_items + 1, width]` | of each item, in column `dim`; the last row is spare and all zeros |
//! | inputs, if they are embeddings of their own | the same, of their `dim` | none |
//! | inputs, if they are looked up gate by gate | `[n_items + 1, 3 · width]`, gates n, r, z | none |
//! | input's half of a cell, gates n, r, z | `[3, width of the input, width]`, from input to gate | in row `dim` of the input |
//! | state's half, gates r, z, n | `[3, width, width]` | the same |
//!
//! The gates are in this order so that both halves' gradients are slices of one stack: n of the input, r and
//! z of both, n of the state. A cell whose input is looked up has an input's half of no values, which is the bias.

use super::super::cell::GruCell;
use super::super::weights::{InputMode, Shape, Weights};

/// Devices move four values at a time where they can.
const LINE: usize = 4;

/// The positions in the order r, z, n of the gates in the input's half, and of those in the state's half.
const GATES_IH: [usize; 3] = [2, 0, 1];
const GATES_HH: [usize; 3] = [0, 1, 2];

/// Columns of a row of so many values.
pub(super) const fn width(dim: usize) -> usize {
    (dim + 1).next_multiple_of(LINE)
}

/// How the rows of a table lie: as they are, or gate by gate.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    /// Values of a block.
    dim: usize,
    /// The blocks, by their positions in the weights.
    blocks: &'static [usize],
}

impl Row {
    /// A row of one block.
    pub(super) const fn plain(dim: usize) -> Self {
        Self { dim, blocks: &[0] }
    }

    /// The inputs of a network.
    pub(super) const fn of_input(shape: &Shape) -> Self {
        match shape.input {
            InputMode::OneHot => Self {
                dim: shape.input_dim / 3,
                blocks: &GATES_IH,
            },
            InputMode::Constrained | InputMode::Embedding => Self::plain(shape.input_dim),
        }
    }

    /// Values of a row.
    const fn n_values(self) -> usize {
        self.blocks.len() * self.dim
    }

    /// Columns of a row.
    pub(super) const fn n_columns(self) -> usize {
        self.blocks.len() * width(self.dim)
    }

    /// Rows of values as they lie, zeros between them.
    pub(super) fn lay(self, rows: &[f32]) -> Vec<f32> {
        let mut matrix = Vec::with_capacity(rows.len() / self.n_values() * self.n_columns());
        for row in rows.chunks_exact(self.n_values()) {
            for block in self.blocks {
                matrix.extend_from_slice(&row[block * self.dim..][..self.dim]);
                matrix.resize(matrix.len() + width(self.dim) - self.dim, 0.0);
            }
        }
        matrix
    }

    /// The values of the first rows of a matrix.
    fn take(self, matrix: &[f32], n_rows: usize) -> Vec<f32> {
        let mut rows = vec![0.0; n_rows * self.n_values()];
        let laid = matrix.chunks_exact(self.n_columns());
        for (row, laid) in rows.chunks_exact_mut(self.n_values()).zip(laid) {
            for (block, laid) in self.blocks.iter().zip(laid.chunks_exact(width(self.dim))) {
                row[block * self.dim..][..self.dim].copy_from_slice(&laid[..self.dim]);
            }
        }
        rows
    }
}

/// All matrices of a network.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Matrices {
    pub(super) items: Vec<f32>,
    /// Empty if the items' rows are the input.
    pub(super) input: Vec<f32>,
    /// The input's and the state's half of each cell.
    pub(super) cells: Vec<[Vec<f32>; 2]>,
}

impl Matrices {
    pub(super) fn new(weights: &Weights, shape: &Shape) -> Self {
        let row = Row::plain(shape.output_dim());
        let mut items = row.lay(&weights.item_embedding);
        let biases = items.iter_mut().skip(row.dim).step_by(row.n_columns());
        biases
            .zip(&weights.item_bias)
            .for_each(|(to, bias)| *to = *bias);
        items.resize(items.len() + row.n_columns(), 0.0);
        let row = Row::of_input(shape);
        let mut input = Vec::new();
        if shape.input != InputMode::Constrained {
            input = row.lay(&weights.input);
            input.resize(input.len() + row.n_columns(), 0.0);
        }
        let cell = |cell: &GruCell| {
            let GruCell {
                weight_ih,
                weight_hh,
                bias_ih,
                bias_hh,
                dim,
                ..
            } = cell;
            [
                half_matrix(weight_ih, bias_ih, *dim, GATES_IH),
                half_matrix(weight_hh, bias_hh, *dim, GATES_HH),
            ]
        };
        Self {
            items,
            input,
            cells: weights.cells.iter().map(cell).collect(),
        }
    }

    /// Back from [`new`](Self::new).
    pub(super) fn weights(&self, shape: &Shape) -> Weights {
        let row = Row::plain(shape.output_dim());
        let n_items = self.items.len() / row.n_columns() - 1;
        let biases = self.items.iter().skip(row.dim).step_by(row.n_columns());
        let mut input_dim = shape.input_dim;
        let cell = |(depth, ([ih, hh], &dim)): (usize, (&[Vec<f32>; 2], &usize))| {
            let is_read = depth > 0 || shape.input != InputMode::OneHot;
            let n_read = if is_read { input_dim } else { 0 };
            let (weight_ih, bias_ih) = half(ih, dim, n_read, GATES_IH);
            let (weight_hh, bias_hh) = half(hh, dim, dim, GATES_HH);
            GruCell {
                dim,
                input_dim: std::mem::replace(&mut input_dim, dim),
                weight_ih,
                weight_hh,
                bias_ih,
                bias_hh,
            }
        };
        Weights {
            item_embedding: row.take(&self.items, n_items),
            item_bias: biases.take(n_items).copied().collect(),
            input: if self.input.is_empty() {
                Vec::new()
            } else {
                Row::of_input(shape).take(&self.input, n_items)
            },
            cells: self
                .cells
                .iter()
                .zip(&shape.layers)
                .enumerate()
                .map(cell)
                .collect(),
        }
    }
}

fn half_matrix(weight: &[f32], bias: &[f32], dim: usize, gates: [usize; 3]) -> Vec<f32> {
    let input_dim = weight.len() / (3 * dim);
    let (width, n_rows) = (width(dim), width(input_dim));
    let mut matrix = vec![0.0; 3 * n_rows * width];
    for (to, gate) in matrix.chunks_exact_mut(n_rows * width).zip(gates) {
        for of_gate in 0..dim {
            let row = gate * dim + of_gate;
            for input in 0..input_dim {
                to[input * width + of_gate] = weight[row * input_dim + input];
            }
            to[input_dim * width + of_gate] = bias[row];
        }
    }
    matrix
}

fn half(matrix: &[f32], dim: usize, input_dim: usize, gates: [usize; 3]) -> (Vec<f32>, Vec<f32>) {
    let (width, n_rows) = (width(dim), width(input_dim));
    let (mut weight, mut bias) = (vec![0.0; 3 * dim * input_dim], vec![0.0; 3 * dim]);
    for (from, gate) in matrix.chunks_exact(n_rows * width).zip(gates) {
        for of_gate in 0..dim {
            let row = gate * dim + of_gate;
            for input in 0..input_dim {
                weight[row * input_dim + input] = from[input * width + of_gate];
            }
            bias[row] = from[input_dim * width + of_gate];
        }
    }
    (weight, bias)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(input: InputMode, input_dim: usize, layers: &[usize]) -> Shape {
        Shape {
            input,
            input_dim,
            layers: layers.to_vec(),
        }
    }

    #[test]
    fn weights_come_back_as_they_went() {
        for shape in [
            shape(InputMode::Constrained, 6, &[6]),
            shape(InputMode::Constrained, 3, &[5, 3]),
            shape(InputMode::Embedding, 2, &[6]),
            shape(InputMode::Embedding, 9, &[4, 8, 1]),
            shape(InputMode::OneHot, 3, &[1]),
            shape(InputMode::OneHot, 15, &[5, 2]),
        ] {
            let mut weights = Weights::new(5, &shape, 1);
            let numbers = |values: &mut [f32]| {
                values
                    .iter_mut()
                    .zip(1_u8..)
                    .for_each(|(value, number)| *value = f32::from(number));
            };
            numbers(&mut weights.item_bias);
            for cell in &mut weights.cells {
                numbers(&mut cell.bias_ih);
                numbers(&mut cell.bias_hh);
            }
            assert_eq!(Matrices::new(&weights, &shape).weights(&shape), weights);
        }
    }

    #[test]
    fn there_is_room_for_the_bias_and_a_spare_row() {
        assert_eq!([1, 3, 4, 100].map(width), [4, 4, 8, 104]);
        let shape = shape(InputMode::Constrained, 3, &[3]);
        let matrix = Matrices::new(&Weights::new(2, &shape, 1), &shape).items;
        assert_eq!(matrix.len(), 3 * 4);
        assert!(
            matrix[2 * 4..]
                .iter()
                .all(|value| value.abs() < f32::MIN_POSITIVE)
        );
    }

    #[test]
    fn gates_lie_as_the_halves_have_them() {
        let row = Row::of_input(&shape(InputMode::OneHot, 6, &[2]));
        assert_eq!(
            row.lay(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
            [5.0, 6.0, 0.0, 0.0, 1.0, 2.0, 0.0, 0.0, 3.0, 4.0, 0.0, 0.0]
        );
    }
}
