//! [`Panel`]: some lanes of a step, from their items to their states and back.

use super::batch::Batch;
use super::cell::{Gates, GruCell};
use super::layout::{PANEL, TwoWays, transpose};
use super::math::{sum, vectorised};
use super::parameters::{CellParameters, ItemParameters, OfPanel};
use super::product::padded;
use super::weights::{InputMode, Shape};

/// Values and gradients of up to [`PANEL`] lanes; they keep their capacity from step to step.
///
/// What is computed lane by lane has the lanes as columns, `n` of them, a whole number of vectors; those that
/// are not there have inputs and states of zeros, and gradients of zeros.
#[derive(Debug)]
pub(super) struct Panel {
    /// The first lane of the batch.
    pub(super) first: usize,
    /// How many lanes there are.
    pub(super) n_lanes: usize,
    /// n
    pub(super) n_columns: usize,
    mode: InputMode,
    layers: Vec<Layer>,
    /// The states after the step of the last layer, after dropout.
    pub(super) output: TwoWays,
    /// The score of each lane's target.
    pub(super) target_scores: Vec<f32>,
    /// Gradients of the rows of the sources, as rows.
    d_sources: TwoWays,
}

#[derive(Debug)]
struct Layer {
    /// After dropout.
    input: TwoWays,
    /// Before the step.
    state: TwoWays,
    /// `[3 * dim, n]`
    gates_ih: Vec<f32>,
    /// `[3 * dim, n]`
    gates_hh: Vec<f32>,
    /// After the step, `[dim, n]`.
    hidden: Vec<f32>,
    /// Factors of what the layer gives on, `[dim, n]`.
    mask: Vec<f32>,
    /// The gradient of `hidden`.
    d_hidden: Vec<f32>,
}

/// The states that the lanes of a panel had after the step before.
#[derive(Debug, Default)]
pub(super) struct Carried {
    n_columns: usize,
    /// Of each layer, `[dim, n]`.
    hidden: Vec<Vec<f32>>,
}

impl Panel {
    pub(super) fn new(shape: &Shape) -> Self {
        let mut input_dim = shape.input_dim;
        let layer = |&dim: &usize| Layer {
            input: TwoWays::new(std::mem::replace(&mut input_dim, dim)),
            state: TwoWays::new(dim),
            gates_ih: Vec::new(),
            gates_hh: Vec::new(),
            hidden: Vec::new(),
            mask: Vec::new(),
            d_hidden: Vec::new(),
        };
        Self {
            first: 0,
            n_lanes: 0,
            n_columns: 0,
            mode: shape.input,
            layers: shape.layers.iter().map(layer).collect(),
            output: TwoWays::new(shape.output_dim()),
            target_scores: Vec::new(),
            d_sources: TwoWays::new(shape.input_dim),
        }
    }

    /// Makes room for the lanes of a batch from `first` on.
    pub(super) fn resize(&mut self, first: usize, batch: &Batch) {
        self.first = first;
        self.n_lanes = PANEL.min(batch.n_lanes() - first);
        let n = padded(self.n_lanes);
        self.n_columns = n;
        for layer in &mut self.layers {
            let dim = layer.state.dim;
            layer.input.resize(n);
            layer.state.resize(n);
            for gates in [&mut layer.gates_ih, &mut layer.gates_hh] {
                gates.resize(3 * dim * n, 0.0);
            }
            for values in [&mut layer.hidden, &mut layer.mask, &mut layer.d_hidden] {
                values.resize(dim * n, 0.0);
            }
        }
        self.output.resize(n);
        self.d_sources.resize(n);
        self.target_scores.resize(n, 0.0);
    }

    /// Looks inputs and states up, and computes the states after the step and the scores of the targets.
    ///
    /// `inputs` has the rows of the sources, `items` those that are scored.
    pub(super) fn forward(
        &mut self,
        batch: &Batch,
        (inputs, items): (&ItemParameters, &ItemParameters),
        cells: &[CellParameters],
        carried: &[Carried],
    ) {
        self.look_up(batch, inputs);
        let (first, n) = (self.first, self.n_columns);
        for (depth, (cell, mask)) in cells.iter().zip(&batch.hidden_masks).enumerate() {
            let (below, above) = self.layers.split_at_mut(depth + 1);
            let layer = &mut below[depth];
            layer.take_states(&batch.previous[first..], self.n_lanes, depth, carried, n);
            let cell = &cell.cell;
            if depth > 0 || self.mode != InputMode::OneHot {
                cell.read(&layer.input.columns, &mut layer.gates_ih, n);
            }
            let mut gates = Gates {
                n_lanes: n,
                state: &layer.state.columns,
                ih: &mut layer.gates_ih,
                hh: &mut layer.gates_hh,
            };
            cell.forward(&mut gates, &mut layer.hidden);
            let given_on = above.first_mut().map(|layer| &mut layer.input);
            let given_on = given_on.unwrap_or(&mut self.output);
            given_on.columns.copy_from_slice(&layer.hidden);
            layer.fill_mask(mask, first, self.n_lanes, n);
            layer.mask(&mut given_on.columns);
            zero_columns(&mut given_on.columns, self.n_lanes, n);
            given_on.columns_to_rows();
        }
        let targets = batch.candidates[first..].iter().take(self.n_lanes);
        let rows = self.output.rows.chunks_exact(padded(self.output.dim));
        for ((score, target), row) in self.target_scores.iter_mut().zip(targets).zip(rows) {
            let item = items.row(*target);
            *score = vectorised(
                #[inline(always)]
                || sum(item.len(), |k| item[k] * row[k]),
            ) + items.bias[*target as usize];
        }
    }

    fn look_up(&mut self, batch: &Batch, inputs: &ItemParameters) {
        let (first, n, n_lanes) = (self.first, self.n_columns, self.n_lanes);
        let Some(Layer {
            input, gates_ih, ..
        }) = self.layers.first_mut()
        else {
            return;
        };
        let dim = input.dim;
        let sources = batch.sources[first..].iter().take(n_lanes);
        for (row, source) in input.rows_mut().zip(sources) {
            row.copy_from_slice(inputs.row(*source));
        }
        for row in input.rows_mut().skip(n_lanes) {
            row.fill(0.0);
        }
        let mask = batch.embed_mask.chunks_exact(dim).skip(first);
        for (row, mask) in input.rows_mut().zip(mask) {
            multiply_by(row, mask);
        }
        if self.mode == InputMode::OneHot {
            transpose((&input.rows, padded(dim)), (gates_ih, n), n, dim);
        } else {
            input.rows_to_columns();
        }
    }

    /// From the gradient of the output to those of the gates and of the sources' rows.
    pub(super) fn backward(
        &mut self,
        batch: &Batch,
        cells: &[CellParameters],
        d_output: impl FnOnce(&mut [f32]),
    ) {
        let n = self.n_columns;
        if let Some(last) = self.layers.last_mut() {
            d_output(&mut last.d_hidden);
        }
        for (depth, cell) in cells.iter().enumerate().rev() {
            let (below, above) = self.layers.split_at_mut(depth);
            let Some(layer) = above.first_mut() else {
                return;
            };
            layer.backward(n);
            let d_input = match below.last_mut() {
                Some(below) => &mut below.d_hidden,
                None if self.mode == InputMode::OneHot => {
                    self.d_sources.columns.copy_from_slice(&layer.gates_ih);
                    continue;
                }
                None => &mut self.d_sources.columns,
            };
            cell.cell.differentiate_read(&layer.gates_ih, d_input, n);
        }
        self.d_sources.columns_to_rows();
        let masks = batch.embed_mask.chunks_exact(self.d_sources.dim);
        for (row, mask) in self.d_sources.rows_mut().zip(masks.skip(self.first)) {
            multiply_by(row, mask);
        }
    }

    /// The gradient of the row of a lane's source; the lane is counted from the first of the panel.
    pub(super) fn d_source(&self, lane: usize) -> &[f32] {
        &self.d_sources.rows[lane * padded(self.d_sources.dim)..][..self.d_sources.dim]
    }

    /// What a layer's input and its state bring to the gradients of its cell.
    pub(super) fn of_layer(&self, depth: usize) -> [OfPanel<'_>; 2] {
        let layer = &self.layers[depth];
        [
            (&layer.gates_ih, &layer.input.rows),
            (&layer.gates_hh, &layer.state.rows),
        ]
        .map(|(d_gates, input)| OfPanel {
            d_gates,
            input,
            n_lanes: self.n_columns,
        })
    }

    /// Gives the states after the step away, for the next one to start from.
    pub(super) fn give_states(&mut self, carried: &mut Carried) {
        carried.n_columns = self.n_columns;
        carried.hidden.resize_with(self.layers.len(), Vec::new);
        for (layer, carried) in self.layers.iter_mut().zip(&mut carried.hidden) {
            std::mem::swap(&mut layer.hidden, carried);
        }
    }
}

impl Layer {
    /// Takes the states over from the step before; a session that starts has zeros.
    fn take_states(
        &mut self,
        previous: &[Option<u32>],
        n_lanes: usize,
        depth: usize,
        carried: &[Carried],
        n: usize,
    ) {
        let state = &mut self.state.columns;
        zero_columns(state, n_lanes, n);
        for (lane, previous) in previous.iter().take(n_lanes).enumerate() {
            let to = state[lane..].iter_mut().step_by(n);
            match previous {
                Some(previous) => {
                    let Carried { n_columns, hidden } = &carried[*previous as usize / PANEL];
                    let from = &hidden[depth][*previous as usize % PANEL..];
                    to.zip(from.iter().step_by(*n_columns))
                        .for_each(|(to, from)| *to = *from);
                }
                None => to.for_each(|to| *to = 0.0),
            }
        }
        self.state.columns_to_rows();
    }

    /// Takes the rows of its mask over, `[n_lanes of the batch, dim]`, if there is dropout.
    fn fill_mask(&mut self, mask: &[f32], first: usize, n_lanes: usize, n: usize) {
        let dim = self.state.dim;
        if mask.is_empty() {
            self.mask.clear();
        } else {
            transpose(
                (&mask[first * dim..], dim),
                (&mut self.mask, n),
                n_lanes,
                dim,
            );
        }
    }

    /// Drops out; without dropout there is no mask.
    fn mask(&self, values: &mut [f32]) {
        multiply_by(values, &self.mask);
    }

    fn backward(&mut self, n: usize) {
        multiply_by(&mut self.d_hidden, &self.mask);
        let mut gates = Gates {
            n_lanes: n,
            state: &self.state.columns,
            ih: &mut self.gates_ih,
            hh: &mut self.gates_hh,
        };
        GruCell::backward(&mut gates, &self.d_hidden);
    }
}

fn multiply_by(values: &mut [f32], factors: &[f32]) {
    values
        .iter_mut()
        .zip(factors)
        .for_each(|(value, factor)| *value *= factor);
}

/// Zeros where there is no lane.
fn zero_columns(values: &mut [f32], n_lanes: usize, n: usize) {
    if n_lanes < n {
        for row in values.chunks_exact_mut(n) {
            row[n_lanes..].fill(0.0);
        }
    }
}
