//! What the CPU engine learns, with the memory of its optimiser: items row by row, the cells whole.

use super::cell::GruCell;
use super::math::{sum, vectorised};
use super::product::{Left, Product, padded};
use super::team;
use super::uses::Uses;
use super::weights::Adagrad;

/// Pieces of the item table that are updated side by side.
const N_PARTS: usize = 32;
/// Rows of a cell's matrix that a task updates.
const ROWS_PER_TASK: usize = 60;

/// A row for each item, and a bias for each if the items are scored by it; a step touches a few rows.
#[derive(Debug)]
pub(super) struct ItemParameters {
    dim: usize,
    /// `[n_items, dim]`
    pub(super) rows: Vec<f32>,
    /// `[n_items]`
    pub(super) bias: Vec<f32>,
    /// Of each row, see [`Adagrad::memory_len`].
    pub(super) rows_memory: Vec<f32>,
    /// Of each bias.
    pub(super) bias_memory: Vec<f32>,
    /// The summed gradient of a row, for each part.
    sums: Vec<f32>,
}

/// The gradients of a use of an item: of its row, and of its bias if the use was to score it.
pub(super) type OfUse<'a> = (&'a [f32], Option<f32>);

impl ItemParameters {
    pub(super) fn new(rows: Vec<f32>, bias: Vec<f32>, dim: usize, adagrad: Adagrad) -> Self {
        Self {
            dim,
            rows_memory: vec![0.0; adagrad.memory_len(rows.len())],
            bias_memory: vec![0.0; adagrad.memory_len(bias.len())],
            sums: vec![0.0; N_PARTS * dim],
            rows,
            bias,
        }
    }

    pub(super) fn row(&self, item: u32) -> &[f32] {
        &self.rows[item as usize * self.dim..][..self.dim]
    }

    /// Moves each row that was used once, by the sum of the gradients of its uses; so too the biases that were.
    pub(super) fn update<'a>(
        &mut self,
        uses: &Uses,
        gradients: impl Fn(u32) -> OfUse<'a> + Sync,
        adagrad: Adagrad,
    ) {
        let dim = self.dim;
        let part_len = (self.rows.len() / dim).div_ceil(N_PARTS);
        let (row_memory, bias_memory) = (adagrad.memory_len(dim), adagrad.memory_len(1));
        // A table without biases has nothing to cut.
        let mut biases = self.bias.chunks_mut(part_len);
        let mut bias_memories = self.bias_memory.chunks_mut(part_len * bias_memory);
        let parts: Vec<_> = self
            .rows
            .chunks_mut(part_len * dim)
            .zip(self.rows_memory.chunks_mut(part_len * row_memory))
            .zip(self.sums.chunks_mut(dim))
            .map(|part| {
                let bias = biases.next().unwrap_or_default();
                (part, bias, bias_memories.next().unwrap_or_default())
            })
            .collect();
        team::for_each(parts.into_iter(), |part, buffers| {
            let (((rows, memories), row_sum), biases, bias_memories) = buffers;
            let first = part * part_len;
            let below = |end: usize| uses.rows.partition_point(|&row| (row as usize) < end);
            vectorised(
                #[inline(always)]
                || {
                    for position in below(first)..below(first + part_len) {
                        let row = uses.rows[position] as usize - first;
                        let of_row = uses.of(position);
                        let mut d_bias = None;
                        let gradient = if let [only] = of_row {
                            let (gradient, of_bias) = gradients(*only);
                            d_bias = of_bias;
                            gradient
                        } else {
                            row_sum.fill(0.0);
                            for &of in of_row {
                                let (gradient, of_bias) = gradients(of);
                                add_to(row_sum, gradient);
                                if let Some(of_bias) = of_bias {
                                    d_bias = Some(d_bias.unwrap_or(0.0) + of_bias);
                                }
                            }
                            &*row_sum
                        };
                        let memory = &mut memories[row * row_memory..][..row_memory];
                        adagrad.step(&mut rows[row * dim..][..dim], memory, gradient);
                        if let Some(d_bias) = d_bias {
                            let memory = &mut bias_memories[row * bias_memory..][..bias_memory];
                            adagrad.step(&mut biases[row..=row], memory, &[d_bias]);
                        }
                    }
                },
            );
        });
    }
}

#[inline(always)]
pub(super) fn add_to(sums: &mut [f32], values: &[f32]) {
    sums.iter_mut()
        .zip(values)
        .for_each(|(sum, value)| *sum += value);
}

/// A cell, all of which each step moves.
#[derive(Debug)]
pub(super) struct CellParameters {
    pub(super) cell: GruCell,
    pub(super) ih: HalfMemory,
    pub(super) hh: HalfMemory,
}

/// Gradients and optimiser memory of the input's or the state's half of a cell.
#[derive(Debug)]
pub(super) struct HalfMemory {
    /// Columns of the weight.
    dim: usize,
    /// `[3 * dim of the state, padded(dim)]`
    d_weight: Vec<f32>,
    d_bias: Vec<f32>,
    /// Of each row, see [`Adagrad::memory_len`].
    pub(super) weight: Vec<f32>,
    /// Of the bias as a whole.
    pub(super) bias: Vec<f32>,
}

/// What a panel of lanes brings to the gradient of a half: that of its gates, `[3 * dim, n_lanes]`, and its
/// input, `[n_lanes, padded(input_dim)]`, which is empty where it was looked up.
#[derive(Debug, Clone, Copy)]
pub(super) struct OfPanel<'a> {
    pub(super) d_gates: &'a [f32],
    pub(super) input: &'a [f32],
    pub(super) n_lanes: usize,
}

impl CellParameters {
    pub(super) fn new(cell: GruCell, adagrad: Adagrad) -> Self {
        Self {
            ih: HalfMemory::new(&cell.weight_ih, 3 * cell.dim, adagrad),
            hh: HalfMemory::new(&cell.weight_hh, 3 * cell.dim, adagrad),
            cell,
        }
    }

    /// Moves the cell by the gradients that [`GruCell::backward`] left in the gates.
    pub(super) fn update<'a, P>(
        &mut self,
        of_input: impl Fn() -> P + Sync + Send,
        of_state: impl Fn() -> P + Sync + Send,
        adagrad: Adagrad,
    ) where
        P: Iterator<Item = OfPanel<'a>>,
    {
        let Self { cell, ih, hh } = self;
        let GruCell {
            weight_ih,
            weight_hh,
            bias_ih,
            bias_hh,
            ..
        } = cell;
        team::join(
            || ih.update((weight_ih, bias_ih), of_input, adagrad),
            || hh.update((weight_hh, bias_hh), of_state, adagrad),
        );
    }
}

impl HalfMemory {
    fn new(weight: &[f32], n_rows: usize, adagrad: Adagrad) -> Self {
        let dim = weight.len() / n_rows;
        Self {
            dim,
            d_weight: vec![0.0; n_rows * padded(dim)],
            d_bias: vec![0.0; n_rows],
            weight: vec![0.0; adagrad.memory_len(weight.len())],
            bias: vec![0.0; adagrad.memory_len(n_rows)],
        }
    }

    fn update<'a, P>(
        &mut self,
        (weight, bias): (&mut [f32], &mut [f32]),
        panels: impl Fn() -> P + Sync,
        adagrad: Adagrad,
    ) where
        P: Iterator<Item = OfPanel<'a>>,
    {
        let dim = self.dim;
        let (width, memory_len) = (padded(dim), adagrad.memory_len(dim));
        // A half that looks its input up has a bias and no weight.
        if dim == 0 {
            sum_rows(&mut self.d_bias, 0, panels());
        } else {
            let gradients = self
                .d_weight
                .chunks_mut(ROWS_PER_TASK * width)
                .zip(self.d_bias.chunks_mut(ROWS_PER_TASK));
            let values = weight
                .chunks_mut(ROWS_PER_TASK * dim)
                .zip(self.weight.chunks_mut(ROWS_PER_TASK * memory_len));
            team::for_each(gradients.zip(values), |task, buffers| {
                let ((d_weight, d_bias), (weight, memory)) = buffers;
                let row = task * ROWS_PER_TASK;
                for (of_panel, position) in panels().zip(0..) {
                    Product {
                        product: d_weight,
                        left: Left::Rows {
                            data: &of_panel.d_gates[row * of_panel.n_lanes..],
                            stride: of_panel.n_lanes,
                        },
                        right: of_panel.input,
                        width,
                        adds: position > 0,
                    }
                    .run();
                }
                sum_rows(d_bias, row, panels());
                vectorised(
                    #[inline(always)]
                    || {
                        let rows = weight
                            .chunks_exact_mut(dim)
                            .zip(memory.chunks_exact_mut(memory_len));
                        for ((row, memory), gradient) in rows.zip(d_weight.chunks_exact(width)) {
                            adagrad.step(row, memory, gradient);
                        }
                    },
                );
            });
        }
        vectorised(
            #[inline(always)]
            || adagrad.step(bias, &mut self.bias, &self.d_bias),
        );
    }
}

/// The sums of rows of the gates' gradients over all lanes, from a row on.
fn sum_rows<'a>(sums: &mut [f32], first: usize, panels: impl Iterator<Item = OfPanel<'a>>) {
    sums.fill(0.0);
    for OfPanel {
        d_gates, n_lanes, ..
    } in panels
    {
        let rows = d_gates[first * n_lanes..].chunks_exact(n_lanes);
        vectorised(
            #[inline(always)]
            || {
                for (total, row) in sums.iter_mut().zip(rows) {
                    *total += sum(n_lanes, |lane| row[lane]);
                }
            },
        );
    }
}
