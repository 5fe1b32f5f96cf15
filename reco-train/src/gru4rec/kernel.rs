//! The CPU engine: one step of training by hand, on all threads of a pool, without allocation.
//!
//! A step has three parallel parts: lanes (forwards, loss, backwards to the input), candidates (gradients
//! of their rows), and parameters (their updates, in [`super::parameters`]). Each works on pieces of fixed
//! size, and each value is summed by one task in a fixed order, so the result does not depend on the
//! number of threads.

use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::batch::{Batch, Minibatches};
use super::cell::{GruCell, Lanes};
use super::loss::{Candidates, Objective};
use super::math::vectorised;
use super::matrix::{Matrix, multiply};
use super::parameters::{CellParameters, ItemParameters};
use super::weights::{Adagrad, Weights};
use super::{EpochEngine, Gru4RecConfig};
use crate::error::{Error, Result};

/// Lanes of a task. A task packs all candidates for its products, so more lanes cost less in all; fewer
/// keep more threads busy: four with the default batch.
const LANES_PER_TASK: usize = 32;
/// Candidates of a task.
const CANDIDATES_PER_TASK: usize = 128;

/// Trains on the threads of its own pool.
#[derive(Debug)]
pub(super) struct CpuEngine {
    pool: ThreadPool,
    network: Network,
}

impl CpuEngine {
    pub(super) fn new(weights: Weights, config: &Gru4RecConfig, threads: usize) -> Result<Self> {
        let pool = ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|thread| format!("gru4rec-{thread}"))
            .build()
            .map_err(|source| Error::Threads { threads, source })?;
        Ok(Self {
            pool,
            network: Network::new(weights, config),
        })
    }
}

impl EpochEngine for CpuEngine {
    fn run_epoch(&mut self, minibatches: &mut Minibatches) -> Result<f64> {
        let Self { pool, network } = self;
        Ok(pool.install(|| {
            let (mut batch, mut following) = (Batch::default(), Batch::default());
            let mut loss = 0.0;
            let mut more = minibatches.next(&mut batch);
            while more {
                let (of_step, is_next) =
                    rayon::join(|| network.step(&batch), || minibatches.next(&mut following));
                loss += of_step;
                more = is_next;
                std::mem::swap(&mut batch, &mut following);
            }
            loss
        }))
    }

    fn into_weights(self: Box<Self>) -> Result<Weights> {
        let Network { cell, items, .. } = self.network;
        Ok(Weights {
            item_embedding: items.embedding,
            item_bias: items.bias,
            cell: cell.cell,
        })
    }
}

/// The parameters and the buffers of a step.
#[derive(Debug)]
struct Network {
    items: ItemParameters,
    cell: CellParameters,
    lanes: LaneBuffers,
    candidates: CandidateBuffers,
    objective: Objective,
    adagrad: Adagrad,
}

impl Network {
    fn new(weights: Weights, config: &Gru4RecConfig) -> Self {
        let adagrad = config.adagrad();
        let dim = weights.cell.dim;
        Self {
            items: ItemParameters::new(weights.item_embedding, weights.item_bias, dim, adagrad),
            cell: CellParameters::new(weights.cell, adagrad),
            lanes: LaneBuffers {
                dim,
                ..LaneBuffers::default()
            },
            candidates: CandidateBuffers {
                dim,
                ..CandidateBuffers::default()
            },
            objective: config.objective(),
            adagrad,
        }
    }

    /// Learns from one batch; the sum of its losses.
    fn step(&mut self, batch: &Batch) -> f64 {
        let Self {
            items,
            cell,
            lanes,
            candidates,
            objective,
            adagrad,
        } = self;
        rayon::join(
            || lanes.gather(batch, items),
            || candidates.gather(batch, items),
        );
        lanes.run(batch, &cell.cell, candidates, *objective);
        rayon::join(
            || {
                cell.update(
                    &lanes.x,
                    &lanes.state,
                    &lanes.gates_ih,
                    &lanes.gates_hh,
                    *adagrad,
                );
            },
            || {
                candidates.differentiate(lanes);
                let gradients = (&*lanes.d_sources, &*candidates.d_rows, &*candidates.d_bias);
                items.update(&batch.uses, gradients, *adagrad);
            },
        );
        lanes.losses.iter().sum()
    }
}

/// Values and gradients of the lanes; they keep their capacity from step to step.
#[derive(Debug, Default)]
struct LaneBuffers {
    dim: usize,
    /// Inputs after dropout, `[n_lanes, dim]`.
    x: Vec<f32>,
    /// States before the step, `[n_lanes, dim]`.
    state: Vec<f32>,
    /// `[n_lanes, 3 * dim]`
    gates_ih: Vec<f32>,
    /// `[n_lanes, 3 * dim]`
    gates_hh: Vec<f32>,
    /// States after the step, `[n_lanes, dim]`: the next step starts from them.
    hidden: Vec<f32>,
    /// The same after dropout.
    output: Vec<f32>,
    /// Their gradients.
    d_hidden: Vec<f32>,
    /// Gradients of the rows of the sources, `[n_lanes, dim]`.
    d_sources: Vec<f32>,
    /// Scores, then their gradients, `[n_lanes, n_candidates]`.
    scores: Vec<f32>,
    /// The loss of each task.
    losses: Vec<f64>,
}

impl LaneBuffers {
    /// Takes the states over from the step before, and looks the inputs up.
    fn gather(&mut self, batch: &Batch, items: &ItemParameters) {
        let (dim, n_lanes) = (self.dim, batch.n_lanes());
        self.state.resize(n_lanes * dim, 0.0);
        for (state, previous) in self.state.chunks_exact_mut(dim).zip(&batch.previous) {
            match previous {
                Some(lane) => state.copy_from_slice(&self.hidden[*lane as usize * dim..][..dim]),
                None => state.fill(0.0),
            }
        }
        self.x.clear();
        for &source in &batch.sources {
            self.x.extend_from_slice(items.row(source));
        }
        apply(&batch.embed_mask, &mut self.x);
        for buffer in [
            &mut self.hidden,
            &mut self.output,
            &mut self.d_hidden,
            &mut self.d_sources,
        ] {
            buffer.resize(n_lanes * dim, 0.0);
        }
        self.gates_ih.resize(n_lanes * 3 * dim, 0.0);
        self.gates_hh.resize(n_lanes * 3 * dim, 0.0);
        self.scores.resize(n_lanes * batch.candidates.len(), 0.0);
        self.losses.resize(n_lanes.div_ceil(LANES_PER_TASK), 0.0);
    }

    /// Everything but the parameters' gradients.
    fn run(
        &mut self,
        batch: &Batch,
        cell: &GruCell,
        candidates: &CandidateBuffers,
        objective: Objective,
    ) {
        let dim = self.dim;
        let n_candidates = batch.candidates.len();
        let rows = Matrix::rows(&candidates.rows, dim);
        let of_candidates = Candidates {
            bias: &candidates.bias,
            log_weight: &batch.log_weight,
        };
        let scale = 1.0 / batch.n_lanes() as f32;
        let per_task = LANES_PER_TASK * dim;
        let tasks = (
            self.x.par_chunks(per_task),
            self.state.par_chunks(per_task),
            self.gates_ih.par_chunks_mut(3 * per_task),
            self.gates_hh.par_chunks_mut(3 * per_task),
            self.hidden.par_chunks_mut(per_task),
            self.output.par_chunks_mut(per_task),
            self.d_hidden.par_chunks_mut(per_task),
            self.d_sources.par_chunks_mut(per_task),
            self.scores.par_chunks_mut(LANES_PER_TASK * n_candidates),
            &mut self.losses,
        );
        tasks
            .into_par_iter()
            .enumerate()
            .for_each(|(task, buffers)| {
                let (x, state, gates_ih, gates_hh, hidden, output, d_hidden, d_x, scores, loss) =
                    buffers;
                let hidden_mask = batch
                    .hidden_mask
                    .chunks(per_task)
                    .nth(task)
                    .unwrap_or_default();
                let embed_mask = batch
                    .embed_mask
                    .chunks(per_task)
                    .nth(task)
                    .unwrap_or_default();
                let mut lanes = Lanes {
                    x,
                    state,
                    gates_ih,
                    gates_hh,
                };
                cell.forward(&mut lanes, hidden);
                output.copy_from_slice(hidden);
                apply(hidden_mask, output);
                multiply(scores, Matrix::rows(output, dim), rows.t());
                *loss = objective.rows(scores, task * LANES_PER_TASK, of_candidates, scale);
                multiply(d_hidden, Matrix::rows(scores, n_candidates), rows);
                apply(hidden_mask, d_hidden);
                cell.backward(&mut lanes, d_hidden, d_x);
                apply(embed_mask, d_x);
            });
    }
}

/// Multiplies by a mask; without dropout there is none.
fn apply(mask: &[f32], values: &mut [f32]) {
    values
        .iter_mut()
        .zip(mask)
        .for_each(|(value, factor)| *value *= factor);
}

/// Rows of the candidates and their gradients; they keep their capacity from step to step.
#[derive(Debug, Default)]
struct CandidateBuffers {
    dim: usize,
    /// `[n_candidates, dim]`
    rows: Vec<f32>,
    /// `[n_candidates]`
    bias: Vec<f32>,
    /// `[n_candidates, dim]`
    d_rows: Vec<f32>,
    /// `[n_candidates]`
    d_bias: Vec<f32>,
}

impl CandidateBuffers {
    fn gather(&mut self, batch: &Batch, items: &ItemParameters) {
        self.rows.clear();
        self.bias.clear();
        for &item in &batch.candidates {
            self.rows.extend_from_slice(items.row(item));
            self.bias.push(items.bias[item as usize]);
        }
        self.d_rows.resize(self.rows.len(), 0.0);
        self.d_bias.resize(self.bias.len(), 0.0);
    }

    /// The gradients of rows and biases from those of the scores.
    fn differentiate(&mut self, lanes: &LaneBuffers) {
        let (dim, n_candidates) = (self.dim, self.bias.len());
        let d_scores = Matrix::rows(&lanes.scores, n_candidates);
        let output = Matrix::rows(&lanes.output, dim);
        let tasks = (
            self.d_rows.par_chunks_mut(CANDIDATES_PER_TASK * dim),
            self.d_bias.par_chunks_mut(CANDIDATES_PER_TASK),
        );
        tasks
            .into_par_iter()
            .enumerate()
            .for_each(|(task, (d_rows, d_bias))| {
                let start = task * CANDIDATES_PER_TASK;
                multiply(d_rows, d_scores.columns(start, d_bias.len()).t(), output);
                sum_columns(&lanes.scores[start..], n_candidates, d_bias);
            });
    }
}

/// The sums of the first columns of a matrix whose rows are `stride` apart.
pub(super) fn sum_columns(values: &[f32], stride: usize, sums: &mut [f32]) {
    vectorised(|| {
        sums.fill(0.0);
        for row in values.chunks(stride) {
            // The last chunk may be cut short after the columns that are asked for.
            sums.iter_mut()
                .zip(row)
                .for_each(|(sum, value)| *sum += value);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_summed_within_their_bounds() {
        let values = [1.0, 2.0, 3.0, 10.0, 20.0, 30.0];
        let mut sums = [f32::NAN; 2];
        sum_columns(&values[1..], 3, &mut sums);
        assert_eq!(sums.map(f32::to_bits), [22.0_f32, 33.0].map(f32::to_bits));
    }
}
