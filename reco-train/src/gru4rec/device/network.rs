//! [`Network`]: the parameters on a device, and a step of training on them.

use burn::tensor::{Device, Int, Tensor, TensorData};

use super::super::Gru4RecConfig;
use super::super::loss::Objective;
use super::super::weights::{Adagrad, InputMode, Weights};
use super::gates::Gates;
use super::inputs::{InputRows, Inputs, NEVER, OnDevice};
use super::layout::{self, Matrices, Row};
use super::objective::{differentiate, one_hot};
use super::parameter::{Parameter, Part};
use super::read;
use super::sums::{over_items, over_lanes};
use crate::error::Result;
use crate::rows::RowWriter;

/// The parameters, and the states of the lanes after the last step; [`layout`] has the shapes.
#[derive(Debug)]
pub(super) struct Network {
    items: Parameter<2>,
    input: Input,
    /// From the input up.
    layers: Vec<Layer>,
    /// The sum of the losses since it was last taken, `[1]`.
    loss: Tensor<1>,
    objective: Objective,
    adagrad: Adagrad,
    rows: RowWriter,
    device: Device,
}

/// Where the first cell's input comes from.
#[derive(Debug)]
enum Input {
    /// The rows of the items.
    Items,
    /// Rows of its own.
    Embedding(Parameter<2>),
    /// Rows of what it brings to each gate.
    Gates(Parameter<2>),
}

/// A cell, and the states of its lanes.
#[derive(Debug)]
struct Layer {
    ih: Parameter<3>,
    hh: Parameter<3>,
    /// `[n_lanes, width]`
    hidden: Tensor<2>,
    /// What it reads.
    input: Columns,
    /// Its state.
    state: Columns,
}

/// Which columns of a row are what.
#[derive(Debug)]
struct Columns {
    /// Ones in the columns of values, `[1, width]`.
    values: Tensor<2>,
    /// A one in the column of the bias, `[1, width]`.
    bias: Tensor<2>,
}

impl Columns {
    fn new(dim: usize, device: &Device) -> Self {
        let width = layout::width(dim);
        let ones = |is_one: &dyn Fn(usize) -> bool| {
            let row = (0..width).map(|column| f32::from(u8::from(is_one(column))));
            Tensor::from_data(TensorData::new(row.collect::<Vec<_>>(), [1, width]), device)
        };
        Self {
            values: ones(&|column| column < dim),
            bias: ones(&|column| column == dim),
        }
    }
}

/// What a layer has computed in a step.
struct Forward {
    /// What it read, `[n, w]` of its input.
    x: Tensor<2>,
    gates: Gates,
    /// Factors of its output, `[n, w]` or `[1, w]`.
    mask: Tensor<2>,
}

impl Network {
    pub(super) fn new(weights: &Weights, config: &Gru4RecConfig, device: &Device) -> Self {
        let (adagrad, shape) = (config.adagrad(), config.shape());
        let n_rows = weights.item_bias.len() + 1;
        let matrices = Matrices::new(weights, &shape);
        let table = |values, width| Parameter::new(values, [n_rows, width], adagrad, device);
        let input = match shape.input {
            InputMode::Constrained => Input::Items,
            mode => {
                let table = table(matrices.input, Row::of_input(&shape).n_columns());
                if mode == InputMode::OneHot {
                    Input::Gates(table)
                } else {
                    Input::Embedding(table)
                }
            }
        };
        let mut n_read = match shape.input {
            InputMode::OneHot => 0,
            InputMode::Constrained | InputMode::Embedding => shape.input_dim,
        };
        let layer = |([ih, hh], &dim): ([Vec<f32>; 2], &usize)| {
            let n_read = std::mem::replace(&mut n_read, dim);
            let (read, width) = (layout::width(n_read), layout::width(dim));
            Layer {
                ih: Parameter::new(ih, [3, read, width], adagrad, device),
                hh: Parameter::new(hh, [3, width, width], adagrad, device),
                hidden: Tensor::zeros([1, width], device),
                input: Columns::new(n_read, device),
                state: Columns::new(dim, device),
            }
        };
        Self {
            items: table(matrices.items, layout::width(shape.output_dim())),
            input,
            layers: matrices
                .cells
                .into_iter()
                .zip(&shape.layers)
                .map(layer)
                .collect(),
            loss: Tensor::zeros([1], device),
            objective: config.objective(),
            adagrad,
            rows: RowWriter::of(device),
            device: device.clone(),
        }
    }

    /// Whether its parameters have velocities.
    pub(super) fn has_momentum(&self) -> bool {
        self.adagrad.momentum > 0.0
    }

    /// One of the tensors of each parameter.
    ///
    /// # Errors
    ///
    /// [`Error::Device`](crate::Error::Device) if the device fails.
    pub(super) fn read(&self, part: Part) -> Result<Matrices> {
        let read_half = |half: &Parameter<3>| read(half.part(part), "read a cell");
        let cells = self.layers.iter();
        let cells = cells.map(|layer| Ok([read_half(&layer.ih)?, read_half(&layer.hh)?]));
        Ok(Matrices {
            items: read(self.items.part(part), "read the items")?,
            input: match &self.input {
                Input::Items => Vec::new(),
                Input::Embedding(table) | Input::Gates(table) => {
                    read(table.part(part), "read the inputs")?
                }
            },
            cells: cells.collect::<Result<_>>()?,
        })
    }

    /// Replaces one of the tensors of each parameter.
    pub(super) fn set(&mut self, part: Part, matrices: Matrices) {
        self.items.set(part, matrices.items);
        if let Input::Embedding(table) | Input::Gates(table) = &mut self.input {
            table.set(part, matrices.input);
        }
        for (layer, [ih, hh]) in self.layers.iter_mut().zip(matrices.cells) {
            layer.ih.set(part, ih);
            layer.hh.set(part, hh);
        }
    }

    /// The sum of the losses since it was last taken, without the offsets of the inputs.
    pub(super) fn take_loss(&mut self) -> Tensor<1> {
        std::mem::replace(&mut self.loss, Tensor::zeros([1], &self.device))
    }

    /// Learns from one batch: `n` lanes, `m` rows of items, `w` columns.
    pub(super) fn step(&mut self, inputs: Inputs) {
        let scale = 1.0 / inputs.n_lanes() as f32;
        let OnDevice {
            rows,
            previous,
            goes_on,
            input_rows,
            sources,
            embed_mask,
            hidden_masks,
            scored,
        } = inputs.upload(&self.device);
        let adagrad = self.adagrad;

        // Forwards, equations (1) to (5) of the module page. Items: [m, w]. Inputs and states: [n, w].
        let items = self.items.value.clone().select(0, rows.clone());
        let of_sources = sources.clone().squeeze_dim::<1>(1);
        let values = match (&self.input, &input_rows) {
            (Input::Embedding(table) | Input::Gates(table), Some(touched)) => {
                table.value.clone().select(0, touched.rows.clone())
            }
            _ => items.clone(),
        };
        let read = values.clone().select(0, of_sources);
        let bottom = &self.layers[0].input;
        let embed_mask = embed_mask.unwrap_or_else(|| bottom.values.clone());
        let (mut x, mut looked_up) = if matches!(self.input, Input::Gates(_)) {
            let [n, columns] = read.dims();
            let gates = read.reshape([n, 3, columns / 3]).swap_dims(0, 1);
            (bottom.bias.clone().repeat_dim(0, n), Some(gates))
        } else {
            (read * embed_mask.clone() + bottom.bias.clone(), None)
        };
        let mut steps = Vec::with_capacity(self.layers.len());
        for (layer, mask) in self.layers.iter_mut().zip(hidden_masks) {
            let Columns { values, bias } = &layer.state;
            let state = layer.hidden.clone().select(0, previous.clone())
                * (goes_on.clone() * values.clone())
                + bias.clone();
            let gates = Gates::new(
                &layer.ih.value,
                &layer.hh.value,
                &x,
                &state,
                looked_up.take(),
            );
            layer.hidden = gates.hidden.clone();
            let mask = mask.unwrap_or_else(|| values.clone());
            let output = gates.hidden.clone() * mask.clone() + bias.clone();
            let x = std::mem::replace(&mut x, output);
            steps.push(Forward { x, gates, mask });
        }
        // [n, m]
        let output = x;
        let scores = output.clone().matmul(items.clone().transpose());

        // Backwards.
        let (log_weight, positions) = (scored.log_weight.clone(), scored.positions.clone());
        let (loss, d_scores) = differentiate(self.objective, scores, scored, scale);
        self.loss.inplace(|sum| sum + loss);
        let mut d_output = over_items(d_scores.clone(), items.clone());
        let mut d_looked_up = None;
        for (layer, step) in self.layers.iter_mut().zip(steps).rev() {
            let Forward { x, gates, mask } = step;
            let state = gates.state.clone();
            let [d_ih, d_hh] = gates.backward(d_output * mask);
            // Each gate's share of the input's gradient: [3, n, w].
            let d_x = d_ih.clone().matmul(layer.ih.value.clone().transpose());
            d_output = d_x.sum_dim(0).squeeze_dim(0);
            layer
                .ih
                .update(over_lanes(x.unsqueeze(), d_ih.clone()), adagrad);
            layer.hh.update(over_lanes(state, d_hh), adagrad);
            d_looked_up = Some(d_ih);
        }
        let d_x = match d_looked_up {
            Some(d_ih) if matches!(self.input, Input::Gates(_)) => {
                let [_, n, columns] = d_ih.dims();
                d_ih.swap_dims(0, 1).reshape([n, 3 * columns])
            }
            _ => d_output * embed_mask,
        };
        // The rows of the sources: a product, because it adds up those of an item in a fixed order.
        let of_rows = |positions: Tensor<2, Int>| {
            over_lanes(one_hot(sources, positions).unsqueeze(), d_x.unsqueeze())
        };
        let d_items = over_lanes(d_scores.unsqueeze(), output.unsqueeze());
        let d_items = match (&mut self.input, input_rows) {
            (
                Input::Embedding(table) | Input::Gates(table),
                Some(InputRows { rows, positions }),
            ) => {
                let gradient = of_rows(positions).squeeze_dim(0);
                let all = || Tensor::ones([1, 1], &self.device);
                table.update_rows(&rows, values, gradient, all, adagrad, self.rows);
                d_items
            }
            _ => d_items + of_rows(positions),
        };
        // The bias of an item that is no candidate keeps still.
        let columns = self.layers.last().map(|layer| &layer.state);
        let moves = || {
            let is_candidate = log_weight.greater_scalar(NEVER / 2.0).float().transpose();
            match columns {
                Some(Columns { values, bias }) => values.clone() + bias.clone() * is_candidate,
                None => is_candidate,
            }
        };
        let gradient = d_items.squeeze_dim(0);
        self.items
            .update_rows(&rows, items, gradient, moves, adagrad, self.rows);
    }
}
