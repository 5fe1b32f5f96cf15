//! [`GruCell`]: one step of the gated recurrent unit, forwards and backwards.

use super::math::{sigmoid, tanh, vectorised};
use super::matrix::{Matrix, multiply};

/// The weights of a gated recurrent unit whose input is as wide as its state.
///
/// Names, gate order (reset, update, new) and the place of the reset gate are those of `PyTorch`'s
/// `GRUCell`, which is cuDNN's: the reset gate multiplies the state's part of the new gate after the
/// product and its bias.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct GruCell {
    /// H
    pub(super) dim: usize,
    /// `[3 * dim, dim]`
    pub(super) weight_ih: Vec<f32>,
    /// `[3 * dim, dim]`
    pub(super) weight_hh: Vec<f32>,
    /// `[3 * dim]`
    pub(super) bias_ih: Vec<f32>,
    /// `[3 * dim]`
    pub(super) bias_hh: Vec<f32>,
}

/// Buffers of a step for some lanes.
#[derive(Debug)]
pub(super) struct Lanes<'a> {
    /// The input, `[n_lanes, dim]`.
    pub(super) x: &'a [f32],
    /// The state before the step, `[n_lanes, dim]`.
    pub(super) state: &'a [f32],
    /// `[n_lanes, 3 * dim]`. After `forward` the gates r, z and n; after `backward` the gradient of
    /// what the input brings to each of them.
    pub(super) gates_ih: &'a mut [f32],
    /// `[n_lanes, 3 * dim]`. After `forward`, in its last third, what the state brings to n before the
    /// reset gate; after `backward` the gradient of what the state brings to each gate.
    pub(super) gates_hh: &'a mut [f32],
}

impl GruCell {
    /// Equations (1) to (4) of the module page: `hidden`, `[n_lanes, dim]`, is the state after the step.
    pub(super) fn forward(&self, lanes: &mut Lanes<'_>, hidden: &mut [f32]) {
        let dim = self.dim;
        let Lanes {
            x,
            state,
            gates_ih,
            gates_hh,
        } = lanes;
        multiply(
            gates_ih,
            Matrix::rows(x, dim),
            Matrix::rows(&self.weight_ih, dim).t(),
        );
        multiply(
            gates_hh,
            Matrix::rows(state, dim),
            Matrix::rows(&self.weight_hh, dim).t(),
        );
        vectorised(|| {
            let rows = hidden.chunks_exact_mut(dim).zip(state.chunks_exact(dim));
            let gates = gates_ih
                .chunks_exact_mut(3 * dim)
                .zip(gates_hh.chunks_exact_mut(3 * dim));
            for ((hidden, state), (gates_ih, gates_hh)) in rows.zip(gates) {
                self.activate(state, gates_ih, gates_hh, hidden);
            }
        });
    }

    /// One lane.
    #[inline(always)]
    fn activate(
        &self,
        state: &[f32],
        gates_ih: &mut [f32],
        gates_hh: &mut [f32],
        hidden: &mut [f32],
    ) {
        let dim = self.dim;
        let [ih_r, ih_z, ih_n] = thirds_mut(gates_ih, dim);
        let [hh_r, hh_z, hh_n] = thirds_mut(gates_hh, dim);
        let [bias_ih_r, bias_ih_z, bias_ih_n] = thirds(&self.bias_ih, dim);
        let [bias_hh_r, bias_hh_z, bias_hh_n] = thirds(&self.bias_hh, dim);
        let (state, hidden) = (&state[..dim], &mut hidden[..dim]);
        for i in 0..dim {
            let r = sigmoid(ih_r[i] + bias_ih_r[i] + hh_r[i] + bias_hh_r[i]);
            let z = sigmoid(ih_z[i] + bias_ih_z[i] + hh_z[i] + bias_hh_z[i]);
            let from_state = hh_n[i] + bias_hh_n[i];
            let n = tanh(ih_n[i] + bias_ih_n[i] + r * from_state);
            hidden[i] = n + z * (state[i] - n);
            (ih_r[i], ih_z[i], ih_n[i], hh_n[i]) = (r, z, n, from_state);
        }
    }

    /// From the gradient of the state after the step, `[n_lanes, dim]`, to the gradients of the gates,
    /// in place, and of the input, `d_x` of `[n_lanes, dim]`.
    ///
    /// The state before the step gets none: it is a constant of the step.
    pub(super) fn backward(&self, lanes: &mut Lanes<'_>, d_hidden: &[f32], d_x: &mut [f32]) {
        let dim = self.dim;
        let Lanes {
            state,
            gates_ih,
            gates_hh,
            ..
        } = lanes;
        vectorised(|| {
            let rows = d_hidden.chunks_exact(dim).zip(state.chunks_exact(dim));
            let gates = gates_ih
                .chunks_exact_mut(3 * dim)
                .zip(gates_hh.chunks_exact_mut(3 * dim));
            for ((d_hidden, state), (gates_ih, gates_hh)) in rows.zip(gates) {
                differentiate(state, d_hidden, gates_ih, gates_hh);
            }
        });
        multiply(
            d_x,
            Matrix::rows(gates_ih, 3 * dim),
            Matrix::rows(&self.weight_ih, dim),
        );
    }
}

/// One lane.
#[inline(always)]
fn differentiate(state: &[f32], d_hidden: &[f32], gates_ih: &mut [f32], gates_hh: &mut [f32]) {
    let dim = state.len();
    let [ih_r, ih_z, ih_n] = thirds_mut(gates_ih, dim);
    let [hh_r, hh_z, hh_n] = thirds_mut(gates_hh, dim);
    let d_hidden = &d_hidden[..dim];
    for i in 0..dim {
        let (r, z, n, from_state) = (ih_r[i], ih_z[i], ih_n[i], hh_n[i]);
        let d_n = d_hidden[i] * (1.0 - z) * (1.0 - n * n);
        let d_z = d_hidden[i] * (state[i] - n) * z * (1.0 - z);
        let d_r = d_n * from_state * r * (1.0 - r);
        (ih_r[i], ih_z[i], ih_n[i]) = (d_r, d_z, d_n);
        (hh_r[i], hh_z[i], hh_n[i]) = (d_r, d_z, d_n * r);
    }
}

#[inline(always)]
fn thirds(row: &[f32], dim: usize) -> [&[f32]; 3] {
    let (r, rest) = row.split_at(dim);
    let (z, n) = rest.split_at(dim);
    [r, z, &n[..dim]]
}

#[inline(always)]
fn thirds_mut(row: &mut [f32], dim: usize) -> [&mut [f32]; 3] {
    let (r, rest) = row.split_at_mut(dim);
    let (z, n) = rest.split_at_mut(dim);
    [r, z, &mut n[..dim]]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A cell of one unit: gates are sums that a hand can follow.
    fn cell() -> GruCell {
        GruCell {
            dim: 1,
            weight_ih: vec![0.5, -1.0, 2.0],
            weight_hh: vec![1.0, 0.5, -0.5],
            bias_ih: vec![0.1, 0.2, 0.3],
            bias_hh: vec![-0.1, 0.0, 0.4],
        }
    }

    fn step(cell: &GruCell, x: f32, state: f32) -> (f32, [f32; 3], [f32; 3]) {
        let (mut gates_ih, mut gates_hh, mut hidden) = ([0.0; 3], [0.0; 3], [0.0]);
        let mut lanes = Lanes {
            x: &[x],
            state: &[state],
            gates_ih: &mut gates_ih,
            gates_hh: &mut gates_hh,
        };
        cell.forward(&mut lanes, &mut hidden);
        (hidden[0], gates_ih, gates_hh)
    }

    #[test]
    fn a_step_worked_by_hand() {
        let logistic = |x: f64| 1.0 / (1.0 + (-x).exp());
        let (x, h) = (0.4_f64, -0.6_f64);
        let r = logistic(0.5 * x + 0.1 + h - 0.1);
        let z = logistic(-x + 0.2 + 0.5 * h);
        let n = (2.0 * x + 0.3 + r * (-0.5 * h + 0.4)).tanh();
        let expected = (1.0 - z) * n + z * h;
        let (hidden, ..) = step(&cell(), 0.4, -0.6);
        assert!(
            (f64::from(hidden) - expected).abs() < 1e-6,
            "{hidden} is not {expected}"
        );
    }

    #[test]
    fn gradients_follow_finite_differences() {
        let (x, state, cell) = (0.4, -0.6, cell());
        let (_, mut gates_ih, mut gates_hh) = step(&cell, x, state);
        let mut lanes = Lanes {
            x: &[x],
            state: &[state],
            gates_ih: &mut gates_ih,
            gates_hh: &mut gates_hh,
        };
        let mut d_x = [0.0];
        cell.backward(&mut lanes, &[1.0], &mut d_x);
        let slope = |shift: &dyn Fn(&mut GruCell, &mut f32, f32)| {
            let at = |by: f32| {
                let (mut cell, mut x) = (cell.clone(), x);
                shift(&mut cell, &mut x, by);
                step(&cell, x, state).0
            };
            (at(1e-2) - at(-1e-2)) / 2e-2
        };
        let check = |found: f32, expected: f32| {
            assert!((found - expected).abs() < 1e-4, "{found} is not {expected}");
        };
        check(d_x[0], slope(&|_, x, by| *x += by));
        for gate in 0..3 {
            check(
                gates_ih[gate],
                slope(&|cell, _, by| cell.bias_ih[gate] += by),
            );
            check(
                gates_hh[gate],
                slope(&|cell, _, by| cell.bias_hh[gate] += by),
            );
            check(
                gates_ih[gate] * x,
                slope(&|cell, _, by| cell.weight_ih[gate] += by),
            );
            check(
                gates_hh[gate] * state,
                slope(&|cell, _, by| cell.weight_hh[gate] += by),
            );
        }
    }
}
