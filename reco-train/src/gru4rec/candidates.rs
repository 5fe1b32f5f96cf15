//! [`Block`]: some candidates of a step, their scores for all lanes, and the gradients of both.

use super::batch::Batch;
use super::lanes::Panel;
use super::loss::{Candidates, Objective, Sums, Targets, Totals};
use super::math::{sum, vectorised};
use super::parameters::ItemParameters;
use super::product::{Left, Product, padded};

/// Into how many blocks the candidates are cut, or fewer. An even number of tasks for any usual number of
/// threads; their number decides the order of sums, so it never depends on that of the threads.
const N_BLOCKS: usize = 16;
/// A block's size is a multiple of this: no tile of a product is cut short but in the last block.
const BLOCK: usize = 12;

/// The number of candidates of each block but the last.
pub(super) fn block_len(n_candidates: usize) -> usize {
    n_candidates.div_ceil(N_BLOCKS).next_multiple_of(BLOCK)
}

/// Values and gradients of a block of `m` candidates; they keep their capacity from step to step.
///
/// It is small enough to stay in a core's second cache from the first product to the last.
#[derive(Debug, Default)]
pub(super) struct Block {
    /// The first of the batch's candidates.
    first: usize,
    dim: usize,
    /// `[m, dim]`
    rows: Vec<f32>,
    /// `[m]`
    bias: Vec<f32>,
    of_panels: Vec<OfPanel>,
    /// `[m, padded(dim)]`
    d_rows: Vec<f32>,
    /// `[m]`
    d_bias: Vec<f32>,
}

/// The part of a block that is of a panel of `n` lanes.
#[derive(Debug, Default)]
struct OfPanel {
    /// Scores, then their gradients, `[m, n]`.
    scores: Vec<f32>,
    sums: Sums,
    /// What the block brings to the gradient of the lanes' outputs, `[dim, n]`.
    d_output: Vec<f32>,
}

impl Block {
    /// Gathers the candidates from `first` on, and scores them.
    pub(super) fn score(
        &mut self,
        first: usize,
        batch: &Batch,
        items: &ItemParameters,
        panels: &[Panel],
        objective: Objective,
    ) {
        let candidates = &batch.candidates[first..];
        let candidates = &candidates[..block_len(batch.candidates.len()).min(candidates.len())];
        self.first = first;
        self.rows.clear();
        self.bias.clear();
        for &item in candidates {
            self.rows.extend_from_slice(items.row(item));
            self.bias.push(items.bias[item as usize]);
        }
        self.dim = self.rows.len() / candidates.len();
        self.of_panels.resize_with(panels.len(), OfPanel::default);
        for (of_panel, panel) in self.of_panels.iter_mut().zip(panels) {
            let n = panel.n_columns;
            of_panel.scores.resize(candidates.len() * n, 0.0);
            Product {
                product: &mut of_panel.scores,
                left: Left::Rows {
                    data: &self.rows,
                    stride: self.dim,
                },
                right: &panel.output.columns,
                width: n,
                adds: false,
            }
            .run();
            let candidates = Candidates {
                first,
                bias: &self.bias,
                log_weight: &batch.log_weight[first..][..candidates.len()],
            };
            of_panel.sums = objective.absorb(&mut of_panel.scores, candidates, targets(panel));
        }
    }

    /// What is known about the candidates for the loss of a panel's lanes.
    pub(super) fn sums(&self, panel: usize) -> &Sums {
        &self.of_panels[panel].sums
    }

    /// The gradients of scores, rows, biases and outputs.
    pub(super) fn differentiate(
        &mut self,
        batch: &Batch,
        panels: &[Panel],
        objective: Objective,
        totals: &[Totals],
    ) {
        let (dim, width) = (self.dim, padded(self.dim));
        let scale = 1.0 / batch.n_lanes() as f32;
        self.d_rows.resize(self.bias.len() * width, 0.0);
        self.d_bias.clear();
        self.d_bias.resize(self.bias.len(), 0.0);
        let candidates = Candidates {
            first: self.first,
            bias: &self.bias,
            log_weight: &batch.log_weight[self.first..][..self.bias.len()],
        };
        let of_panels = self.of_panels.iter_mut().zip(panels).zip(totals);
        for ((of_panel, panel), totals) in of_panels {
            let OfPanel {
                scores,
                sums,
                d_output,
            } = of_panel;
            let n = panel.n_columns;
            objective.gradient(scores, candidates, targets(panel), (sums, totals), scale);
            Product {
                product: &mut self.d_rows,
                left: Left::Rows {
                    data: scores,
                    stride: n,
                },
                right: &panel.output.rows,
                width,
                adds: panel.first > 0,
            }
            .run();
            d_output.resize(dim * n, 0.0);
            Product {
                product: d_output,
                left: Left::Columns {
                    data: &self.rows,
                    stride: dim,
                },
                right: scores,
                width: n,
                adds: false,
            }
            .run();
            vectorised(
                #[inline(always)]
                || {
                    for (d_bias, row) in self.d_bias.iter_mut().zip(scores.chunks_exact(n)) {
                        *d_bias += sum(n, |lane| row[lane]);
                    }
                },
            );
        }
    }

    /// What the block brings to the gradient of a panel's outputs.
    pub(super) fn d_output(&self, panel: usize) -> &[f32] {
        &self.of_panels[panel].d_output
    }

    /// The gradients of a candidate's row and bias; it is counted from the first of the block.
    pub(super) fn d_item(&self, candidate: usize) -> (&[f32], f32) {
        let row = &self.d_rows[candidate * padded(self.dim)..][..self.dim];
        (row, self.d_bias[candidate])
    }
}

/// The lanes of a panel, as the loss wants them.
pub(super) fn targets(panel: &Panel) -> Targets<'_> {
    Targets {
        first: panel.first,
        n_lanes: panel.n_lanes,
        n_columns: panel.n_columns,
        scores: &panel.target_scores,
    }
}
