//! [`GruCell`]: one step of the gated recurrent unit, forwards and backwards.

use super::math::{sigmoid, tanh, vectorised};
use super::product::{Left, Product};

/// The weights of a gated recurrent unit.
///
/// Names, gate order (reset, update, new) and the place of the reset gate are those of `PyTorch`'s
/// `GRUCell`, which is cuDNN's: the reset gate multiplies the state's part of the new gate after the
/// product and its bias.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct GruCell {
    /// H, the width of the state.
    pub(super) dim: usize,
    /// I, the width of the input.
    pub(super) input_dim: usize,
    /// `[3 * dim, input_dim]`; empty if the input is looked up gate by gate.
    pub(super) weight_ih: Vec<f32>,
    /// `[3 * dim, dim]`
    pub(super) weight_hh: Vec<f32>,
    /// `[3 * dim]`
    pub(super) bias_ih: Vec<f32>,
    /// `[3 * dim]`
    pub(super) bias_hh: Vec<f32>,
}

/// Buffers of a step for some lanes, which are the columns of each matrix: `n` of them, a multiple of
/// [`VECTOR`](super::product::VECTOR).
#[derive(Debug)]
pub(super) struct Gates<'a> {
    /// n, the number of lanes.
    pub(super) n_lanes: usize,
    /// The state before the step, `[dim, n]`.
    pub(super) state: &'a [f32],
    /// `[3 * dim, n]`. Before `forward` what the input brings to each gate, without bias; after it the gates
    /// r, z and n; after `backward` the gradient of what the input brings to each.
    pub(super) ih: &'a mut [f32],
    /// `[3 * dim, n]`. After `forward`, in its last third, what the state brings to n before the
    /// reset gate; after `backward` the gradient of what the state brings to each gate.
    pub(super) hh: &'a mut [f32],
}

impl GruCell {
    /// What the inputs `x`, `[input_dim, n_lanes]`, bring to the gates, `[3 * dim, n_lanes]`, without bias.
    pub(super) fn read(&self, x: &[f32], gates_ih: &mut [f32], n_lanes: usize) {
        Product {
            product: gates_ih,
            left: Left::Rows {
                data: &self.weight_ih,
                stride: self.input_dim,
            },
            right: x,
            width: n_lanes,
            adds: false,
        }
        .run();
    }

    /// Equations (1) to (4) of the module page: `hidden`, `[dim, n_lanes]`, is the state after the step.
    pub(super) fn forward(&self, gates: &mut Gates<'_>, hidden: &mut [f32]) {
        Product {
            product: gates.hh,
            left: Left::Rows {
                data: &self.weight_hh,
                stride: self.dim,
            },
            right: gates.state,
            width: gates.n_lanes,
            adds: false,
        }
        .run();
        vectorised(
            #[inline(always)]
            || self.activate(gates, hidden),
        );
    }

    #[inline(always)]
    fn activate(&self, gates: &mut Gates<'_>, hidden: &mut [f32]) {
        let (dim, n_lanes) = (self.dim, gates.n_lanes);
        let [ih_r, ih_z, ih_n] = thirds_mut(gates.ih, n_lanes);
        let [hh_r, hh_z, hh_n] = thirds_mut(gates.hh, n_lanes);
        let rows = ih_r.zip(ih_z).zip(ih_n).zip(hh_r.zip(hh_z).zip(hh_n));
        let states = gates
            .state
            .chunks_exact(n_lanes)
            .zip(hidden.chunks_exact_mut(n_lanes));
        for (i, ((((ih_r, ih_z), ih_n), ((hh_r, hh_z), hh_n)), (state, hidden))) in
            rows.zip(states).enumerate()
        {
            let bias_r = self.bias_ih[i] + self.bias_hh[i];
            let bias_z = self.bias_ih[dim + i] + self.bias_hh[dim + i];
            let (bias_ih_n, bias_hh_n) = (self.bias_ih[2 * dim + i], self.bias_hh[2 * dim + i]);
            for l in 0..n_lanes {
                let r = sigmoid(ih_r[l] + hh_r[l] + bias_r);
                let z = sigmoid(ih_z[l] + hh_z[l] + bias_z);
                let from_state = hh_n[l] + bias_hh_n;
                let n = tanh(ih_n[l] + bias_ih_n + r * from_state);
                hidden[l] = n + z * (state[l] - n);
                (ih_r[l], ih_z[l], ih_n[l], hh_n[l]) = (r, z, n, from_state);
            }
        }
    }

    /// From the gradient of the state after the step, `[dim, n_lanes]`, to the gradients of the gates,
    /// in place.
    ///
    /// The state before the step gets none: it is a constant of the step.
    pub(super) fn backward(gates: &mut Gates<'_>, d_hidden: &[f32]) {
        vectorised(
            #[inline(always)]
            || differentiate(gates, d_hidden),
        );
    }

    /// The gradient of the inputs, `[input_dim, n_lanes]`, from that of what they brought to the gates.
    pub(super) fn differentiate_read(&self, d_gates_ih: &[f32], d_x: &mut [f32], n_lanes: usize) {
        Product {
            product: d_x,
            left: Left::Columns {
                data: &self.weight_ih,
                stride: self.input_dim,
            },
            right: d_gates_ih,
            width: n_lanes,
            adds: false,
        }
        .run();
    }
}

#[inline(always)]
fn differentiate(gates: &mut Gates<'_>, d_hidden: &[f32]) {
    let n_lanes = gates.n_lanes;
    let [ih_r, ih_z, ih_n] = thirds_mut(gates.ih, n_lanes);
    let [hh_r, hh_z, hh_n] = thirds_mut(gates.hh, n_lanes);
    let rows = ih_r.zip(ih_z).zip(ih_n).zip(hh_r.zip(hh_z).zip(hh_n));
    let states = gates
        .state
        .chunks_exact(n_lanes)
        .zip(d_hidden.chunks_exact(n_lanes));
    for ((((ih_r, ih_z), ih_n), ((hh_r, hh_z), hh_n)), (state, d_hidden)) in rows.zip(states) {
        for l in 0..n_lanes {
            let (r, z, n, from_state) = (ih_r[l], ih_z[l], ih_n[l], hh_n[l]);
            let d_n = d_hidden[l] * (1.0 - z) * (1.0 - n * n);
            let d_z = d_hidden[l] * (state[l] - n) * z * (1.0 - z);
            let d_r = d_n * from_state * r * (1.0 - r);
            (ih_r[l], ih_z[l], ih_n[l]) = (d_r, d_z, d_n);
            (hh_r[l], hh_z[l], hh_n[l]) = (d_r, d_z, d_n * r);
        }
    }
}

/// The rows of each gate, of `n_lanes` values.
#[inline(always)]
fn thirds_mut(gates: &mut [f32], n_lanes: usize) -> [std::slice::ChunksExactMut<'_, f32>; 3] {
    let (r, rest) = gates.split_at_mut(gates.len() / 3);
    let (z, n) = rest.split_at_mut(rest.len() / 2);
    [r, z, n].map(|gate| gate.chunks_exact_mut(n_lanes))
}

#[cfg(test)]
mod tests {
    use super::super::product::VECTOR;
    use super::*;

    /// A cell of one unit: gates are sums that a hand can follow.
    fn cell() -> GruCell {
        GruCell {
            dim: 1,
            input_dim: 1,
            weight_ih: vec![0.5, -1.0, 2.0],
            weight_hh: vec![1.0, 0.5, -0.5],
            bias_ih: vec![0.1, 0.2, 0.3],
            bias_hh: vec![-0.1, 0.0, 0.4],
        }
    }

    /// A step of equal lanes: state after it, gates.
    fn step(cell: &GruCell, x: f32, state: f32) -> (f32, Vec<f32>, Vec<f32>) {
        let (mut ih, mut hh) = (vec![0.0; 3 * VECTOR], vec![0.0; 3 * VECTOR]);
        let mut hidden = [0.0; VECTOR];
        cell.read(&[x; VECTOR], &mut ih, VECTOR);
        let mut gates = Gates {
            n_lanes: VECTOR,
            state: &[state; VECTOR],
            ih: &mut ih,
            hh: &mut hh,
        };
        cell.forward(&mut gates, &mut hidden);
        let bits = hidden.map(f32::to_bits);
        assert_eq!(bits, [bits[0]; VECTOR]);
        (hidden[0], ih, hh)
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
        let (_, mut ih, mut hh) = step(&cell, x, state);
        let mut gates = Gates {
            n_lanes: VECTOR,
            state: &[state; VECTOR],
            ih: &mut ih,
            hh: &mut hh,
        };
        GruCell::backward(&mut gates, &[1.0; VECTOR]);
        let mut d_x = [0.0; VECTOR];
        cell.differentiate_read(&ih, &mut d_x, VECTOR);
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
        check(d_x[3], slope(&|_, x, by| *x += by));
        for gate in 0..3 {
            let (ih, hh) = (ih[gate * VECTOR + 5], hh[gate * VECTOR + 5]);
            check(ih, slope(&|cell, _, by| cell.bias_ih[gate] += by));
            check(hh, slope(&|cell, _, by| cell.bias_hh[gate] += by));
            check(ih * x, slope(&|cell, _, by| cell.weight_ih[gate] += by));
            check(hh * state, slope(&|cell, _, by| cell.weight_hh[gate] += by));
        }
    }
}
