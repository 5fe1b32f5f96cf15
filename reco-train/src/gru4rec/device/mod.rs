//! The Burn engine: the step of the CPU engine as tensors, on any device.
//!
//! A GPU is done with a small tensor before the host has asked for the next one, so what a step costs is
//! mostly how many operations it has. Here they are few:
//!
//! * Gradients are written out as in the CPU engine, not recorded and replayed.
//! * A bias is one more column of its matrix: [`layout`] says where everything lies. A network of one
//!   layer is three matrices, and each is multiplied, differentiated and moved as a whole.
//! * An item is scored once, however often it is a candidate, so no gradient has to be gathered from the
//!   places that an item is at. [`inputs`] has the algebra.
//! * The host draws batches ahead on a thread of its own and reads losses once in many steps.

mod gates;
mod inputs;
mod layout;
mod memory;
mod network;
mod objective;
mod parameter;
mod sums;

use std::sync::mpsc::sync_channel;

use burn::tensor::{Device, Tensor};

use self::inputs::Inputs;
use self::layout::Matrices;
use self::memory::{memory, remembered, zeros};
use self::network::Network;
use self::parameter::Part;
use super::batch::{Batch, Minibatches};
use super::checkpoint::EngineState;
use super::loss::Loss;
use super::weights::{Shape, Weights};
use super::{EpochEngine, Gru4RecConfig};
use crate::error::{Error, Result};

/// Steps between two readings of the loss. Reading waits for the device; never to read would let the host
/// run ahead of it without bound.
const STEPS_PER_READ: usize = 128;
/// Batches that are drawn ahead of the device.
const N_AHEAD: usize = 4;

/// Trains on a Burn device.
#[derive(Debug)]
pub(super) struct BurnEngine {
    network: Network,
    loss: Loss,
    shape: Shape,
    n_items: usize,
}

impl BurnEngine {
    pub(super) fn new(weights: &Weights, config: &Gru4RecConfig, device: &Device) -> Self {
        Self {
            network: Network::new(weights, config, device),
            loss: config.loss,
            shape: config.shape(),
            n_items: weights.item_bias.len(),
        }
    }
}

impl BurnEngine {
    /// One of the tensors of each parameter, as the weights are.
    fn read(&self, part: Part) -> Result<Weights> {
        Ok(self.network.read(part)?.weights(&self.shape))
    }
}

impl EpochEngine for BurnEngine {
    fn run_epoch(&mut self, minibatches: &mut Minibatches) -> Result<f64> {
        let Self {
            network,
            loss: of,
            shape,
            n_items,
        } = self;
        let (of, shape, n_items) = (*of, &*shape, *n_items);
        std::thread::scope(|scope| {
            let (drawn, steps) = sync_channel(N_AHEAD);
            scope.spawn(move || {
                let mut batch = Batch::default();
                while minibatches.next(&mut batch) {
                    // Nobody listens any more if a reading has failed.
                    if drawn.send(Inputs::new(&batch, of, shape, n_items)).is_err() {
                        break;
                    }
                }
            });
            let mut loss = 0.0;
            for (step, inputs) in (1..).zip(steps) {
                loss += inputs.loss_offset;
                network.step(inputs);
                if step % STEPS_PER_READ == 0 {
                    loss += take_loss(network)?;
                }
            }
            Ok(loss + take_loss(network)?)
        })
    }

    fn state(&self) -> Result<EngineState> {
        let has_momentum = self.network.has_momentum();
        let mut squares = self.read(Part::Squares)?;
        let mut velocities = has_momentum
            .then(|| self.read(Part::Velocity))
            .transpose()?;
        Ok(EngineState {
            weights: self.read(Part::Value)?,
            memory: memory(&mut squares, velocities.as_mut()),
        })
    }

    fn remember(&mut self, memory: Vec<Vec<f32>>) -> bool {
        let zeros = || zeros(self.n_items, &self.shape);
        let (mut squares, mut velocities) = (zeros(), self.network.has_momentum().then(zeros));
        let fits = remembered(&memory, &mut squares, velocities.as_mut());
        if fits {
            let parts = [(Part::Squares, Some(squares)), (Part::Velocity, velocities)];
            for (part, weights) in parts {
                if let Some(weights) = weights {
                    self.network.set(part, Matrices::new(&weights, &self.shape));
                }
            }
        }
        fits
    }

    fn into_weights(self: Box<Self>) -> Result<Weights> {
        self.read(Part::Value)
    }
}

fn take_loss(network: &mut Network) -> Result<f64> {
    let of_steps = read(network.take_loss(), "read the loss")?;
    Ok(of_steps.into_iter().map(f64::from).sum())
}

fn read<const D: usize>(tensor: Tensor<D>, operation: &'static str) -> Result<Vec<f32>> {
    let failed = |reason: String| Error::Device { operation, reason };
    let data = tensor
        .try_into_data()
        .map_err(|error| failed(error.to_string()))?;
    data.try_into_vec::<f32>()
        .map_err(|error| failed(error.to_string()))
}
