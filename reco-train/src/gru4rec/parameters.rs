//! What the CPU engine learns, with the memory of its optimiser: items row by row, the cell whole.

use rayon::prelude::*;

use super::cell::GruCell;
use super::kernel::sum_columns;
use super::math::vectorised;
use super::matrix::{Matrix, multiply};
use super::uses::Uses;
use super::weights::Adagrad;

/// Pieces of the item table that are updated side by side.
const N_PARTS: usize = 32;

/// Embeddings and biases of the items, of which a step touches a few rows.
#[derive(Debug)]
pub(super) struct ItemParameters {
    dim: usize,
    /// `[n_items, dim]`
    pub(super) embedding: Vec<f32>,
    /// `[n_items]`
    pub(super) bias: Vec<f32>,
    embedding_memory: Vec<f32>,
    bias_memory: Vec<f32>,
    /// The summed gradient of a row, for each part.
    row_sums: Vec<f32>,
}

impl ItemParameters {
    pub(super) fn new(embedding: Vec<f32>, bias: Vec<f32>, dim: usize, adagrad: Adagrad) -> Self {
        Self {
            dim,
            embedding_memory: vec![0.0; adagrad.memory_len(embedding.len())],
            bias_memory: vec![0.0; adagrad.memory_len(bias.len())],
            row_sums: vec![0.0; N_PARTS * dim],
            embedding,
            bias,
        }
    }

    pub(super) fn row(&self, item: u32) -> &[f32] {
        &self.embedding[item as usize * self.dim..][..self.dim]
    }

    /// Moves each row that was used once, by the sum of the gradients of its uses.
    ///
    /// The gradients are those of the sources' rows, `[n_lanes, dim]`, of the candidates' rows,
    /// `[n_candidates, dim]`, and of the candidates' biases. A bias is moved if its item was a candidate.
    pub(super) fn update(
        &mut self,
        uses: &Uses,
        (d_sources, d_candidates, d_bias): (&[f32], &[f32], &[f32]),
        adagrad: Adagrad,
    ) {
        let dim = self.dim;
        let n_lanes = d_sources.len() / dim;
        let d_row = |of: u32| {
            let of = of as usize;
            let (of, rows) = if of < n_lanes {
                (of, d_sources)
            } else {
                (of - n_lanes, d_candidates)
            };
            &rows[of * dim..][..dim]
        };
        let part_len = self.bias.len().div_ceil(N_PARTS);
        let (row_memory, bias_memory) = (adagrad.memory_len(dim), adagrad.memory_len(1));
        let parts = (
            self.embedding.par_chunks_mut(part_len * dim),
            self.bias.par_chunks_mut(part_len),
            self.embedding_memory.par_chunks_mut(part_len * row_memory),
            self.bias_memory.par_chunks_mut(part_len * bias_memory),
            self.row_sums.par_chunks_mut(dim),
        );
        parts
            .into_par_iter()
            .enumerate()
            .for_each(|(part, buffers)| {
                let (embedding, bias, embedding_memory, bias_memories, row_sum) = buffers;
                let first = part * part_len;
                let below = |end: usize| uses.rows.partition_point(|&row| (row as usize) < end);
                vectorised(|| {
                    for position in below(first)..below(first + part_len) {
                        let row = uses.rows[position] as usize - first;
                        let of_row = uses.of(position);
                        let gradient = if let [only] = of_row {
                            d_row(*only)
                        } else {
                            row_sum.fill(0.0);
                            for &of in of_row {
                                row_sum
                                    .iter_mut()
                                    .zip(d_row(of))
                                    .for_each(|(sum, g)| *sum += g);
                            }
                            &*row_sum
                        };
                        let memory = &mut embedding_memory[row * row_memory..][..row_memory];
                        adagrad.step(&mut embedding[row * dim..][..dim], memory, gradient);
                        // Uses ascend, so candidates come last.
                        if of_row.last().is_some_and(|&of| of as usize >= n_lanes) {
                            let of_bias = of_row
                                .iter()
                                .filter_map(|&of| (of as usize).checked_sub(n_lanes));
                            let gradient: f32 = of_bias.map(|candidate| d_bias[candidate]).sum();
                            let memory = &mut bias_memories[row * bias_memory..][..bias_memory];
                            adagrad.step(&mut bias[row..=row], memory, &[gradient]);
                        }
                    }
                });
            });
    }
}

/// The cell, all of which each step moves.
#[derive(Debug)]
pub(super) struct CellParameters {
    pub(super) cell: GruCell,
    ih: HalfMemory,
    hh: HalfMemory,
}

/// Gradients and optimiser memory of the input's or the state's half of the cell.
#[derive(Debug)]
struct HalfMemory {
    d_weight: Vec<f32>,
    d_bias: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
}

impl CellParameters {
    pub(super) fn new(cell: GruCell, adagrad: Adagrad) -> Self {
        let half = || HalfMemory {
            d_weight: vec![0.0; cell.weight_ih.len()],
            d_bias: vec![0.0; cell.bias_ih.len()],
            weight: vec![0.0; adagrad.memory_len(cell.weight_ih.len())],
            bias: vec![0.0; adagrad.memory_len(cell.bias_ih.len())],
        };
        Self {
            ih: half(),
            hh: half(),
            cell,
        }
    }

    /// Moves the cell by the gradients that [`GruCell::backward`] left in the gates; `x` and `state` are
    /// `[n_lanes, dim]`, the gates `[n_lanes, 3 * dim]`.
    pub(super) fn update(
        &mut self,
        x: &[f32],
        state: &[f32],
        gates_ih: &[f32],
        gates_hh: &[f32],
        adagrad: Adagrad,
    ) {
        let Self { cell, ih, hh } = self;
        let dim = cell.dim;
        rayon::join(
            || {
                ih.update(
                    &mut cell.weight_ih,
                    &mut cell.bias_ih,
                    x,
                    gates_ih,
                    dim,
                    adagrad,
                );
            },
            || {
                hh.update(
                    &mut cell.weight_hh,
                    &mut cell.bias_hh,
                    state,
                    gates_hh,
                    dim,
                    adagrad,
                );
            },
        );
    }
}

impl HalfMemory {
    fn update(
        &mut self,
        weight: &mut [f32],
        bias: &mut [f32],
        input: &[f32],
        d_gates: &[f32],
        dim: usize,
        adagrad: Adagrad,
    ) {
        multiply(
            &mut self.d_weight,
            Matrix::rows(d_gates, 3 * dim).t(),
            Matrix::rows(input, dim),
        );
        sum_columns(d_gates, 3 * dim, &mut self.d_bias);
        vectorised(|| {
            adagrad.step(weight, &mut self.weight, &self.d_weight);
            adagrad.step(bias, &mut self.bias, &self.d_bias);
        });
    }
}
