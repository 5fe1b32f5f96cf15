//! The Burn engine: the same step as tensors on any device, differentiated by Burn.
//!
//! The tables stay outside the graph. A step takes the rows that it uses out of them, once each, and only
//! these rows are differentiated and moved.

use burn::tensor::activation::sigmoid;
use burn::tensor::{Bool, Device, Gradients, IndexingUpdateOp, Int, Tensor, TensorData};

use super::batch::{Batch, Minibatches};
use super::cell::GruCell;
use super::loss::{EPSILON, Loss, Objective};
use super::weights::{ADAGRAD_EPSILON, Adagrad, Weights};
use super::{EpochEngine, Gru4RecConfig};
use crate::error::{Error, Result};

/// Steps whose losses are added up on the device before they are read.
const STEPS_PER_READ: usize = 64;

/// Trains on a Burn device.
#[derive(Debug)]
pub(super) struct BurnEngine {
    device: Device,
    network: Network,
}

impl BurnEngine {
    pub(super) fn new(weights: &Weights, config: &Gru4RecConfig, device: &Device) -> Self {
        Self {
            device: device.clone(),
            network: Network::new(weights, config, device),
        }
    }
}

impl EpochEngine for BurnEngine {
    fn run_epoch(&mut self, minibatches: &mut Minibatches) -> Result<f64> {
        let mut batch = Batch::default();
        let mut loss = 0.0;
        let mut unread: Vec<Tensor<1>> = Vec::with_capacity(STEPS_PER_READ);
        let mut more = true;
        while more {
            more = minibatches.next(&mut batch);
            if more {
                unread.push(self.network.step(&batch, &self.device));
            }
            if unread.len() == STEPS_PER_READ || (!more && !unread.is_empty()) {
                let of_steps = read(Tensor::cat(std::mem::take(&mut unread), 0), "read the loss")?;
                loss += of_steps.into_iter().map(f64::from).sum::<f64>();
            }
        }
        Ok(loss)
    }

    fn into_weights(self: Box<Self>) -> Result<Weights> {
        let Network {
            item_embedding,
            item_bias,
            cell,
            ..
        } = self.network;
        let [weight_ih, weight_hh, bias_ih, bias_hh] = cell;
        let dim = weight_ih.value.dims()[1];
        Ok(Weights {
            item_embedding: read(item_embedding.value, "read the item embedding")?,
            item_bias: read(item_bias.value, "read the item biases")?,
            cell: GruCell {
                dim,
                weight_ih: read(weight_ih.value, "read the cell's weights")?,
                weight_hh: read(weight_hh.value, "read the cell's weights")?,
                bias_ih: read(bias_ih.value, "read the cell's biases")?,
                bias_hh: read(bias_hh.value, "read the cell's biases")?,
            },
        })
    }
}

fn read<const D: usize>(tensor: Tensor<D>, operation: &'static str) -> Result<Vec<f32>> {
    let failed = |reason: String| Error::Device { operation, reason };
    let data = tensor
        .try_into_data()
        .map_err(|error| failed(error.to_string()))?;
    data.try_into_vec::<f32>()
        .map_err(|error| failed(error.to_string()))
}

/// A matrix that is learnt, with the memory of its optimiser.
#[derive(Debug)]
struct Parameter {
    value: Tensor<2>,
    squares: Tensor<2>,
    velocity: Tensor<2>,
}

impl Parameter {
    fn new(values: &[f32], shape: [usize; 2], device: &Device) -> Self {
        let value = matrix(values, shape, device);
        Self {
            squares: value.zeros_like(),
            velocity: value.zeros_like(),
            value,
        }
    }

    /// Moves all of it.
    fn update(&mut self, gradient: Tensor<2>, adagrad: Adagrad) {
        self.squares = self.squares.clone() + gradient.clone().powi_scalar(2);
        let step = scaled(gradient, self.squares.clone(), adagrad);
        self.velocity = self.velocity.clone().mul_scalar(adagrad.momentum) - step;
        self.value = self.value.clone() + self.velocity.clone();
    }

    /// Moves some rows, each named once.
    fn update_rows(&mut self, rows: &Tensor<1, Int>, gradient: Tensor<2>, adagrad: Adagrad) {
        add_rows(&mut self.squares, rows, gradient.clone().powi_scalar(2));
        let step = scaled(
            gradient,
            self.squares.clone().select(0, rows.clone()),
            adagrad,
        );
        if adagrad.momentum > 0.0 {
            let before = self.velocity.clone().select(0, rows.clone());
            let velocity = before.clone().mul_scalar(adagrad.momentum) - step;
            add_rows(&mut self.velocity, rows, velocity.clone() - before);
            add_rows(&mut self.value, rows, velocity);
        } else {
            add_rows(&mut self.value, rows, step.neg());
        }
    }
}

fn scaled(gradient: Tensor<2>, squares: Tensor<2>, adagrad: Adagrad) -> Tensor<2> {
    gradient.mul_scalar(adagrad.learning_rate) / squares.add_scalar(ADAGRAD_EPSILON).sqrt()
}

fn add_rows(table: &mut Tensor<2>, rows: &Tensor<1, Int>, values: Tensor<2>) {
    // Only `Add` is the same on every device. The table is moved in, so that it can be changed in place.
    let placeholder = values.clone();
    let moved = std::mem::replace(table, placeholder);
    *table = moved.select_assign(0, rows.clone(), values, IndexingUpdateOp::Add);
}

fn matrix(values: &[f32], shape: [usize; 2], device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), device)
}

fn indices(values: &[u32], device: &Device) -> Tensor<1, Int> {
    let values: Vec<i64> = values.iter().copied().map(i64::from).collect();
    let shape = [values.len()];
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// The parameters, and the states of the lanes after the last step.
#[derive(Debug)]
struct Network {
    item_embedding: Parameter,
    /// `[n_items, 1]`
    item_bias: Parameter,
    /// `weight_ih`, `weight_hh` of `[3 * dim, dim]`, `bias_ih`, `bias_hh` of `[1, 3 * dim]`.
    cell: [Parameter; 4],
    /// `[n_lanes, dim]`
    hidden: Tensor<2>,
    objective: Objective,
    adagrad: Adagrad,
}

impl Network {
    fn new(weights: &Weights, config: &Gru4RecConfig, device: &Device) -> Self {
        let Weights {
            item_embedding,
            item_bias,
            cell,
        } = weights;
        let (n_items, dim) = (item_bias.len(), cell.dim);
        let parameter = |values: &[f32], shape| Parameter::new(values, shape, device);
        Self {
            item_embedding: parameter(item_embedding, [n_items, dim]),
            item_bias: parameter(item_bias, [n_items, 1]),
            cell: [
                parameter(&cell.weight_ih, [3 * dim, dim]),
                parameter(&cell.weight_hh, [3 * dim, dim]),
                parameter(&cell.bias_ih, [1, 3 * dim]),
                parameter(&cell.bias_hh, [1, 3 * dim]),
            ],
            hidden: Tensor::zeros([1, dim], device),
            objective: config.objective(),
            adagrad: config.adagrad(),
        }
    }

    /// Learns from one batch; the sum of its losses, `[1]`.
    fn step(&mut self, batch: &Batch, device: &Device) -> Tensor<1> {
        let n_lanes = batch.n_lanes();
        let n_candidates = batch.candidates.len();
        let dim = self.hidden.dims()[1];
        let touched = Touched::of(batch, device);
        let leaf = |tensor: Tensor<2>| tensor.autodiff().require_grad();
        let rows = leaf(
            self.item_embedding
                .value
                .clone()
                .select(0, touched.rows.clone()),
        );
        let bias = leaf(
            self.item_bias
                .value
                .clone()
                .select(0, touched.biases.clone()),
        );
        let cell = self
            .cell
            .each_ref()
            .map(|parameter| leaf(parameter.value.clone()));

        let mask = |factors: &[f32], of: Tensor<2>| match factors {
            [] => of,
            factors => of * matrix(factors, [n_lanes, dim], device),
        };
        let x = mask(&batch.embed_mask, rows.clone().select(0, touched.sources));
        let state = self.states_before(batch, device);
        let hidden = forward(&cell, x, state);
        self.hidden = hidden.clone().inner();
        let output = mask(&batch.hidden_mask, hidden);
        let candidates = rows.clone().select(0, touched.candidates);
        let candidate_bias = bias.clone().select(0, touched.candidate_biases).transpose();
        let scores = output.matmul(candidates.transpose()) + candidate_bias;
        let log_weight = matrix(&batch.log_weight, [1, n_candidates], device);
        let loss = losses(self.objective, scores, log_weight, device).sum();
        let total = loss.clone().inner();

        let mut gradients = loss.div_scalar(n_lanes as f64).backward();
        let adagrad = self.adagrad;
        if let Some(gradient) = take(&rows, &mut gradients) {
            self.item_embedding
                .update_rows(&touched.rows, gradient, adagrad);
        }
        if let Some(gradient) = take(&bias, &mut gradients) {
            self.item_bias
                .update_rows(&touched.biases, gradient, adagrad);
        }
        for (parameter, leaf) in self.cell.iter_mut().zip(&cell) {
            if let Some(gradient) = take(leaf, &mut gradients) {
                parameter.update(gradient, adagrad);
            }
        }
        total
    }

    /// The states that the lanes go on from, `[n_lanes, dim]`.
    fn states_before(&self, batch: &Batch, device: &Device) -> Tensor<2> {
        let lane: Vec<u32> = batch
            .previous
            .iter()
            .map(|lane| lane.unwrap_or(0))
            .collect();
        let goes_on = |lane: &Option<u32>| if lane.is_some() { 1.0 } else { 0.0 };
        let goes_on: Vec<f32> = batch.previous.iter().map(goes_on).collect();
        self.hidden.clone().select(0, indices(&lane, device))
            * matrix(&goes_on, [batch.n_lanes(), 1], device)
    }
}

fn take(leaf: &Tensor<2>, gradients: &mut Gradients) -> Option<Tensor<2>> {
    leaf.grad_remove(gradients).map(Tensor::inner)
}

/// What a batch touches, each row once, and where its lanes and candidates find theirs.
struct Touched {
    /// Rows of the item embedding.
    rows: Tensor<1, Int>,
    /// Positions in `rows`, one for each source and each candidate.
    sources: Tensor<1, Int>,
    candidates: Tensor<1, Int>,
    /// The items whose bias is touched: the candidates, each once.
    biases: Tensor<1, Int>,
    /// Positions in `biases`, one for each candidate.
    candidate_biases: Tensor<1, Int>,
}

impl Touched {
    fn of(batch: &Batch, device: &Device) -> Self {
        let n_lanes = batch.n_lanes();
        let mut row_of = vec![0_u32; n_lanes + batch.candidates.len()];
        let mut bias_of = vec![0_u32; batch.candidates.len()];
        let mut biases = Vec::new();
        let mut n_biases = 0;
        for ((position, row), number) in batch.uses.rows.iter().enumerate().zip(0..) {
            let uses = batch.uses.of(position);
            uses.iter().for_each(|&of| row_of[of as usize] = number);
            let mut of_candidates = uses
                .iter()
                .filter_map(|&of| (of as usize).checked_sub(n_lanes))
                .peekable();
            if of_candidates.peek().is_some() {
                of_candidates.for_each(|candidate| bias_of[candidate] = n_biases);
                biases.push(*row);
                n_biases += 1;
            }
        }
        Self {
            rows: indices(&batch.uses.rows, device),
            sources: indices(&row_of[..n_lanes], device),
            candidates: indices(&row_of[n_lanes..], device),
            biases: indices(&biases, device),
            candidate_biases: indices(&bias_of, device),
        }
    }
}

/// Equations (1) to (4) of the module page.
fn forward(cell: &[Tensor<2>; 4], x: Tensor<2>, state: Tensor<2>) -> Tensor<2> {
    let [weight_ih, weight_hh, bias_ih, bias_hh] = cell.clone();
    let dim = state.dims()[1];
    let ih = x.matmul(weight_ih.transpose()) + bias_ih;
    let hh = state.clone().matmul(weight_hh.transpose()) + bias_hh;
    let gate = |of: &Tensor<2>, idx: usize| of.clone().narrow(1, idx * dim, dim);
    let r = sigmoid(gate(&ih, 0) + gate(&hh, 0));
    let z = sigmoid(gate(&ih, 1) + gate(&hh, 1));
    let n = (gate(&ih, 2) + r * gate(&hh, 2)).tanh();
    n.clone() + z * (state - n)
}

/// The loss of each lane, `[n_lanes, 1]`, from the scores with their biases, `[n_lanes, n_candidates]`;
/// the equations are those of [`Loss`].
fn losses(
    objective: Objective,
    scores: Tensor<2>,
    log_weight: Tensor<2>,
    device: &Device,
) -> Tensor<2> {
    let [n_lanes, n_candidates] = scores.dims();
    let is_target = Tensor::<2, Bool>::diag_mask([n_lanes, n_candidates], 0, device).bool_not();
    let of_target = |values: Tensor<2>| {
        values
            .mask_fill(is_target.clone().bool_not(), 0.0)
            .sum_dim(1)
    };
    if objective.loss == Loss::CrossEntropy {
        let z = scores + log_weight;
        let best = z.clone().detach().max_dim(1);
        return (z.clone() - best.clone()).exp().sum_dim(1).log() + best - of_target(z);
    }
    let r = match objective.elu_param {
        0.0 => scores,
        alpha => {
            scores.clone().clamp_min(0.0) + (scores.clamp_max(0.0).exp() - 1.0).mul_scalar(alpha)
        }
    };
    if n_candidates == 1 {
        // There is no negative to beat.
        return r.mul_scalar(0.0);
    }
    let z = (r.clone() + log_weight).mask_fill(is_target.clone(), f32::MIN / 2.0);
    let e = (z.clone() - z.detach().max_dim(1)).exp();
    let s = e.clone() / e.sum_dim(1);
    let beaten = sigmoid(of_target(r.clone()) - r.clone());
    let a = (s.clone() * beaten).sum_dim(1).add_scalar(EPSILON);
    let squares = (s * r.powi_scalar(2)).sum_dim(1);
    squares.mul_scalar(objective.bpreg) - a.log()
}
