//! [`Gates`]: a cell's step on a device, forwards and backwards.

use burn::tensor::Tensor;
use burn::tensor::activation::sigmoid;

/// The gates of a step, `[1, n, w]`.
pub(super) struct Gates {
    /// The states before, `[n, w]`.
    pub(super) state: Tensor<3>,
    r: Tensor<3>,
    z: Tensor<3>,
    n: Tensor<3>,
    /// What the state brings to n, before the reset gate.
    from_state: Tensor<3>,
    /// The states after, `[n, w]`; what is beyond the values has no meaning.
    pub(super) hidden: Tensor<2>,
}

impl Gates {
    /// `looked_up` is what the input brings to the gates beside what is read of it.
    pub(super) fn new(
        ih: &Tensor<3>,
        hh: &Tensor<3>,
        x: &Tensor<2>,
        state: &Tensor<2>,
        looked_up: Option<Tensor<3>>,
    ) -> Self {
        let state = state.clone().unsqueeze::<3>();
        // [3, n, w]: n, r, z of the input; r, z, n of the state.
        let from_input = x.clone().unsqueeze::<3>().matmul(ih.clone());
        let from_input = match looked_up {
            None => from_input,
            Some(looked_up) => from_input + looked_up,
        };
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
    pub(super) fn backward(self, d_hidden: Tensor<2>) -> [Tensor<3>; 2] {
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
