//! Where the weights lie on a device: biases in the matrices that they belong to.
//!
//! All rows have [`width`] columns: `dim` values, one column for the bias, zeros. Whatever is multiplied
//! with such a row has a one in the bias's column.
//!
//! | matrix | shape | bias |
//! | --- | --- | --- |
//! | items | `[n_items + 1, width]` | of each item, in column `dim`; the last row is spare and all zeros |
//! | input's half of the cell, gates n, r, z | `[3, width, width]`, from input to gate | in row `dim` |
//! | state's half, gates r, z, n | the same | the same |
//!
//! The gates are in this order so that both halves' gradients are slices of one stack: n of the input, r and
//! z of both, n of the state.

use super::super::cell::GruCell;
use super::super::weights::Weights;

/// Devices move four values at a time where they can.
const LINE: usize = 4;

/// The positions in the order r, z, n of the gates in the input's half, and of those in the state's half.
const GATES_IH: [usize; 3] = [2, 0, 1];
const GATES_HH: [usize; 3] = [0, 1, 2];

/// Columns of all matrices.
pub(super) const fn width(dim: usize) -> usize {
    (dim + 1).next_multiple_of(LINE)
}

/// The items' matrix.
pub(super) fn items_matrix(weights: &Weights, dim: usize) -> Vec<f32> {
    let width = width(dim);
    let mut matrix = vec![0.0; (weights.item_bias.len() + 1) * width];
    let rows = weights.item_embedding.chunks_exact(dim);
    for ((to, row), bias) in matrix
        .chunks_exact_mut(width)
        .zip(rows)
        .zip(&weights.item_bias)
    {
        to[..dim].copy_from_slice(row);
        to[dim] = *bias;
    }
    matrix
}

/// Back from [`items_matrix`], without a cell.
pub(super) fn items(matrix: &[f32], dim: usize, n_items: usize) -> Weights {
    let rows = || matrix.chunks_exact(width(dim)).take(n_items);
    Weights {
        item_embedding: rows().flat_map(|row| &row[..dim]).copied().collect(),
        item_bias: rows().map(|row| row[dim]).collect(),
        input: Vec::new(),
        cells: Vec::new(),
    }
}

/// The matrices of both halves of the cell.
pub(super) fn cell_matrices(cell: &GruCell) -> [Vec<f32>; 2] {
    [
        half_matrix(&cell.weight_ih, &cell.bias_ih, cell.dim, GATES_IH),
        half_matrix(&cell.weight_hh, &cell.bias_hh, cell.dim, GATES_HH),
    ]
}

/// Back from [`cell_matrices`].
pub(super) fn cell(ih: &[f32], hh: &[f32], dim: usize) -> GruCell {
    let (weight_ih, bias_ih) = half(ih, dim, GATES_IH);
    let (weight_hh, bias_hh) = half(hh, dim, GATES_HH);
    GruCell {
        dim,
        input_dim: dim,
        weight_ih,
        weight_hh,
        bias_ih,
        bias_hh,
    }
}

fn half_matrix(weight: &[f32], bias: &[f32], dim: usize, gates: [usize; 3]) -> Vec<f32> {
    let width = width(dim);
    let mut matrix = vec![0.0; 3 * width * width];
    for (to, gate) in matrix.chunks_exact_mut(width * width).zip(gates) {
        for of_gate in 0..dim {
            let row = gate * dim + of_gate;
            for input in 0..dim {
                to[input * width + of_gate] = weight[row * dim + input];
            }
            to[dim * width + of_gate] = bias[row];
        }
    }
    matrix
}

fn half(matrix: &[f32], dim: usize, gates: [usize; 3]) -> (Vec<f32>, Vec<f32>) {
    let width = width(dim);
    let (mut weight, mut bias) = (vec![0.0; 3 * dim * dim], vec![0.0; 3 * dim]);
    for (from, gate) in matrix.chunks_exact(width * width).zip(gates) {
        for of_gate in 0..dim {
            let row = gate * dim + of_gate;
            for input in 0..dim {
                weight[row * dim + input] = from[input * width + of_gate];
            }
            bias[row] = from[dim * width + of_gate];
        }
    }
    (weight, bias)
}

#[cfg(test)]
mod tests {
    use super::super::super::weights::{InputMode, Shape};
    use super::*;

    fn shape(dim: usize) -> Shape {
        Shape {
            input: InputMode::Constrained,
            input_dim: dim,
            layers: vec![dim],
        }
    }

    #[test]
    fn weights_come_back_as_they_went() {
        let mut weights = Weights::new(5, &shape(6), 1);
        let numbers = |values: &mut [f32]| {
            values
                .iter_mut()
                .zip(1_u8..)
                .for_each(|(value, number)| *value = f32::from(number));
        };
        numbers(&mut weights.item_bias);
        numbers(&mut weights.cells[0].bias_ih);
        numbers(&mut weights.cells[0].bias_hh);
        let [ih, hh] = cell_matrices(&weights.cells[0]);
        let back = Weights {
            cells: vec![cell(&ih, &hh, 6)],
            ..items(&items_matrix(&weights, 6), 6, 5)
        };
        assert_eq!(back, weights);
    }

    #[test]
    fn there_is_room_for_the_bias_and_a_spare_row() {
        assert_eq!([1, 3, 4, 100].map(width), [4, 4, 8, 104]);
        let matrix = items_matrix(&Weights::new(2, &shape(3), 1), 3);
        assert_eq!(matrix.len(), 3 * 4);
        assert!(
            matrix[2 * 4..]
                .iter()
                .all(|value| value.abs() < f32::MIN_POSITIVE)
        );
    }
}
