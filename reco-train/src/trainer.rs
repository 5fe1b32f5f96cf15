//! [`Trainer`]: what fits a model, and what it reports on the way.

use std::ops::ControlFlow;

use reco_core::{Model, TrainSet};

use crate::error::Result;

/// Fits a model to training sessions.
///
/// # Contract
///
/// * The observer is called once after each epoch, in order, and nothing that it does but
///   [`ControlFlow::Break`] changes the model.
/// * After a break the model is the one of the epochs so far.
/// * The same data, configuration, seed and engine give the same model, unless the trainer says
///   otherwise (lock-free training on several threads).
pub trait Trainer {
    /// What it makes.
    type Model: Model;

    /// Fits a model.
    ///
    /// # Errors
    ///
    /// A hyperparameter is out of range, the data cannot teach the model anything, the device
    /// failed, or the loss diverged.
    fn fit(
        &self,
        train: &TrainSet,
        observer: &mut dyn FnMut(&EpochReport) -> ControlFlow<()>,
    ) -> Result<Self::Model>;
}

/// What a trainer says after an epoch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EpochReport {
    /// The epoch that ended, from 1.
    pub epoch: u32,
    /// How many there will be.
    pub n_epochs: u32,
    /// Mean training loss of an example in it.
    pub loss: f64,
    /// How many events (interactions or input-target pairs, as the trainer says) it went through.
    pub n_events: u64,
}
