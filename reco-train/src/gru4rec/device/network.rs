//! [`Network`]: the parameters on a device, and a step of training on them.

use burn::tensor::activation::sigmoid;
use burn::tensor::{Device, Tensor, TensorData};

use super::super::Gru4RecConfig;
use super::super::loss::Objective;
use super::super::weights::{Adagrad, Weights};
use super::inputs::{Inputs, NEVER, OnDevice};
use super::layout;
use super::objective::{differentiate, one_hot};
use super::parameter::Parameter;
use crate::rows::RowWriter;

/// The parameters, and the states of the lanes after the last step; [`layout`] has the shapes.
#[derive(Debug)]
pub(super) struct Network {
    items: Parameter<2>,
    ih: Parameter<3>,
    hh: Parameter<3>,
    /// `[n_lanes, width]`
    hidden: Tensor<2>,
    /// The sum of the losses since it was last taken, `[1]`.
    loss: Tensor<1>,
    /// Ones in the columns of values, `[1, width]`.
    of_values: Tensor<2>,
    /// A one in the column of the bias, `[1, width]`.
    of_bias: Tensor<2>,
    objective: Objective,
    adagrad: Adagrad,
    rows: RowWriter,
    device: Device,
}

impl Network {
    pub(super) fn new(weights: &Weights, config: &Gru4RecConfig, device: &Device) -> Self {
        let adagrad = config.adagrad();
        let (n_items, dim) = (weights.item_bias.len(), config.layer);
        let width = layout::width(dim);
        let items = layout::items_matrix(weights, dim);
        let [ih, hh] = layout::cell_matrices(&weights.cells[0]);
        let half = |matrix| Parameter::new(matrix, [3, width, width], adagrad, device);
        let columns = |is_one: &dyn Fn(usize) -> bool| {
            let row = (0..width).map(|column| f32::from(u8::from(is_one(column))));
            Tensor::from_data(TensorData::new(row.collect::<Vec<_>>(), [1, width]), device)
        };
        Self {
            items: Parameter::new(items, [n_items + 1, width], adagrad, device),
            ih: half(ih),
            hh: half(hh),
            hidden: Tensor::zeros([1, width], device),
            loss: Tensor::zeros([1], device),
            of_values: columns(&|column| column < dim),
            of_bias: columns(&|column| column == dim),
            objective: config.objective(),
            adagrad,
            rows: RowWriter::of(device),
            device: device.clone(),
        }
    }

    /// The values of the items, of the input's half and of the state's half of the cell.
    pub(super) fn into_values(self) -> (Tensor<2>, [Tensor<3>; 2]) {
        (self.items.value, [self.ih.value, self.hh.value])
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
            sources,
            embed_mask,
            hidden_mask,
            scored,
        } = inputs.upload(&self.device);
        let (of_values, of_bias) = (self.of_values.clone(), self.of_bias.clone());
        let embed_mask = embed_mask.unwrap_or_else(|| of_values.clone());
        let hidden_mask = hidden_mask.unwrap_or_else(|| of_values.clone());

        // Forwards, equations (1) to (5) of the module page. Items: [m, w]. Inputs and states: [n, w].
        let items = self.items.value.clone().select(0, rows.clone());
        let x = items.clone().select(0, sources.clone().squeeze_dim(1)) * embed_mask.clone()
            + of_bias.clone();
        let state = self.hidden.clone().select(0, previous) * (goes_on * of_values.clone())
            + of_bias.clone();
        let gates = Gates::new(&self.ih.value, &self.hh.value, &x, &state);
        self.hidden = gates.hidden.clone();
        let output = gates.hidden.clone() * hidden_mask.clone() + of_bias.clone();
        // [n, m]
        let scores = output.clone().matmul(items.clone().transpose());

        // Backwards.
        let (log_weight, positions) = (scored.log_weight.clone(), scored.positions.clone());
        let (loss, d_scores) = differentiate(self.objective, scores, scored, scale);
        self.loss.inplace(|sum| sum + loss);
        let d_hidden = over_items(d_scores.clone(), items.clone()) * hidden_mask;
        let [d_ih, d_hh] = gates.backward(d_hidden);
        // Each gate's share of the input's gradient: [3, n, w].
        let d_x = d_ih.clone().matmul(self.ih.value.clone().transpose());
        let d_x = d_x.sum_dim(0).squeeze_dim::<2>(0) * embed_mask;
        // The rows of the sources: a product, because it adds up those of an item in a fixed order.
        let d_items = over_lanes(d_scores.unsqueeze(), output.unsqueeze())
            + over_lanes(one_hot(sources, positions).unsqueeze(), d_x.unsqueeze());
        let d_ih = over_lanes(x.unsqueeze(), d_ih);
        let d_hh = over_lanes(state.unsqueeze(), d_hh);

        let adagrad = self.adagrad;
        self.ih.update(d_ih, adagrad);
        self.hh.update(d_hh, adagrad);
        // The bias of an item that is no candidate keeps still.
        let moves = || {
            let is_candidate = log_weight.greater_scalar(NEVER / 2.0).float();
            of_values + of_bias * is_candidate.transpose()
        };
        self.items.update_rows(
            &rows,
            items,
            d_items.squeeze_dim(0),
            moves,
            adagrad,
            self.rows,
        );
    }
}

/// The gates of a step, `[1, n, w]`.
struct Gates {
    /// The states before, `[n, w]`.
    state: Tensor<3>,
    r: Tensor<3>,
    z: Tensor<3>,
    n: Tensor<3>,
    /// What the state brings to n, before the reset gate.
    from_state: Tensor<3>,
    /// The states after, `[n, w]`; what is beyond the values has no meaning.
    hidden: Tensor<2>,
}

impl Gates {
    fn new(ih: &Tensor<3>, hh: &Tensor<3>, x: &Tensor<2>, state: &Tensor<2>) -> Self {
        let state = state.clone().unsqueeze::<3>();
        // [3, n, w]: n, r, z of the input; r, z, n of the state.
        let from_input = x.clone().unsqueeze::<3>().matmul(ih.clone());
        let from_state = state.clone().matmul(hh.clone());
        let rz = sigmoid(from_input.clone().narrow(0, 1, 2) + from_state.clone().narrow(0, 0, 2));
        let (r, z) = (rz.clone().narrow(0, 0, 1), rz.narrow(0, 1, 1));
        let from_state = from_state.narrow(0, 2, 1);
        let n = (from_input.narrow(0, 0, 1) + r.clone() * from_state.clone()).tanh();
        let hidden = n.clone() + z.clone() * (state.clone() - n.clone());
        Self {
            state,
            r,
            z,
            n,
            from_state,
            hidden: hidden.squeeze_dim(0),
        }
    }

    /// The gradients of what the input and the state bring to the gates, `[3, n, w]`, each in the order of
    /// its half, from that of the states after, `[n, w]`.
    fn backward(self, d_hidden: Tensor<2>) -> [Tensor<3>; 2] {
        let Self {
            state,
            r,
            z,
            n,
            from_state,
            ..
        } = self;
        let d_hidden = d_hidden.unsqueeze::<3>();
        let from_n = d_hidden * (z.clone().neg() + 1.0);
        let d_n = from_n.clone() * ((n.clone() * n.clone()).neg() + 1.0);
        let d_z = from_n * (state - n) * z;
        let d_from_state = d_n.clone() * r.clone();
        let d_r = d_from_state.clone() * from_state * (r.neg() + 1.0);
        let stack = Tensor::cat(vec![d_n, d_r, d_z, d_from_state], 0);
        [stack.clone().narrow(0, 0, 3), stack.narrow(0, 1, 3)]
    }
}

/// Into how many parts a long sum of products is cut.
///
/// A GPU gives a tile of the result to a multiprocessor, which goes through all terms of its sums. A result that
/// is a row of values wide has a tile or a few, and most of the device would wait for them.
const fn n_parts(n_terms: usize) -> usize {
    const PARTS: usize = 16;
    // Parts of whole vectors of four values; a short sum is not worth the parts.
    if n_terms >= 512 && n_terms.is_multiple_of(4 * PARTS) {
        PARTS
    } else {
        1
    }
}

/// The product of `[n, m]` and `[m, w]`.
fn over_items(left: Tensor<2>, right: Tensor<2>) -> Tensor<2> {
    let ([n, m], [_, w]) = (left.dims(), right.dims());
    let parts = n_parts(m);
    if parts == 1 {
        return left.matmul(right);
    }
    let left = left.reshape([n, parts, m / parts]).swap_dims(0, 1);
    let right = right.reshape([parts, m / parts, w]);
    left.matmul(right).sum_dim(0).squeeze_dim(0)
}

/// The products of each left `[n, a]` transposed and right `[n, w]`, `[g, a, w]` of `g` pairs; a single left
/// goes with all right ones.
fn over_lanes(left: Tensor<3>, right: Tensor<3>) -> Tensor<3> {
    let ([g_left, n, a], [g, _, w]) = (left.dims(), right.dims());
    let parts = n_parts(n);
    if parts == 1 {
        return left.transpose().matmul(right);
    }
    let left = left.reshape([g_left, parts, n / parts, a]).transpose();
    let right = right.reshape([g, parts, n / parts, w]);
    left.matmul(right).sum_dim(1).squeeze_dim(1)
}

#[cfg(test)]
mod tests {
    use burn::tensor::Distribution;

    use super::*;

    #[test]
    fn sums_in_parts_are_the_same() {
        let devices = vec![Device::flex()];
        #[cfg(feature = "wgpu")]
        let devices = {
            let mut devices = devices;
            match crate::Engine::wgpu() {
                Ok(crate::Engine::Burn(device)) => devices.push(device),
                other => println!("not run on a GPU: {other:?}"),
            }
            devices
        };
        for device in &devices {
            assert_eq!([512, 576, 500, 128].map(n_parts), [16, 16, 1, 1]);
            let random = |shape: [usize; 3]| {
                Tensor::<3>::random(shape, Distribution::Uniform(-1.0, 1.0), device)
            };
            let check = |found: Tensor<3>, expected: Tensor<3>| {
                assert_eq!(found.dims(), expected.dims());
                let largest: f32 = (found - expected).abs().max().into_scalar();
                assert!(largest < 1e-4, "{largest} on {device:?}");
            };
            let (left, right) = (random([1, 576, 12]), random([3, 576, 8]));
            check(
                over_lanes(left.clone(), right.clone()),
                left.clone().transpose().matmul(right.clone()),
            );
            let (left, right) = (left.transpose(), right.narrow(0, 1, 1));
            check(
                over_items(left.clone().squeeze_dim(0), right.clone().squeeze_dim(0)).unsqueeze(),
                left.matmul(right),
            );
        }
    }
}
