//! GRU4Rec: a recurrent network over the session, trained in session-parallel mini-batches.
//!
//! Hidasi, Karatzoglou, Baltrunas and Tikk, *Session-based recommendations with recurrent neural networks*,
//! ICLR 2016, with the losses and the sampling of Hidasi and Karatzoglou, *Recurrent neural networks with
//! top-k gains for session-based recommendations*, CIKM 2018. The names of the settings are those of the
//! authors' implementation.
//!
//! # The network
//!
//! | letter | what | shape |
//! | --- | --- | --- |
//! | `E` | item embedding, of the input and of the output alike | `[n_items, dim]` |
//! | `b` | item bias | `[n_items]` |
//! | `W`, `c` | weights and biases of the input's half of the cell, gates r, z, n | `[3 · dim, dim]`, `[3 · dim]` |
//! | `U`, `d` | the same of the state's half | `[3 · dim, dim]`, `[3 · dim]` |
//! | `h` | state of a session | `[dim]` |
//!
//! With several layers each has a cell and a state, and the state of one is the input of the next; that of the
//! last is scored. The input may come from an embedding of its own, or be the item's number alone: then `W x`
//! is a row of a table, `[n_items, 3 · dim]`, and there is no `W`.
//!
//! A session moves its state from `h` to `h′` with each item `i`, whose row of `E` is `x`; `σ` is the logistic
//! function and `⊙` the product by elements:
//!
//! ```text
//! r  = σ(W_r x + c_r + U_r h + d_r)                  (1)
//! z  = σ(W_z x + c_z + U_z h + d_z)                  (2)
//! n  = tanh(W_n x + c_n + r ⊙ (U_n h + d_n))         (3)
//! h′ = (1 − z) ⊙ n + z ⊙ h                           (4)
//! o_j = E_j · h′ + b_j                               (5)   the score of item j
//! ```
//!
//! # Training
//!
//! As many sessions as the batch has lanes are walked side by side, in the order of their start; each step
//! takes one item of each as input and the next one as target. A lane whose session ends takes the next
//! session, with a state of zeros. A step is learned from by itself: its state is a constant for the next
//! one, nothing is propagated back through time.
//!
//! A target is scored against the targets of the other lanes and `n_sample` negatives, drawn for the batch
//! in proportion to `count^sample_alpha`. The cross-entropy is corrected for how
//! often each candidate is expected among them: `logq` times its logarithm is taken from the score.
//!
//! ```text
//! ln q_j = ln(batch_size · count_j / Σ count)                            for a target      (6)
//! ln q_j = ln(n_sample · count_j^sample_alpha / Σ count^sample_alpha)    for a negative
//! ```
//!
//! The losses are on the page of [`Loss`]. The mean loss of a step moves each parameter `θ` that has a
//! gradient `g`, for items only the rows that the step has used:
//!
//! ```text
//! a ← a + g²        v ← momentum · v − learning_rate · g / √(a + 10⁻⁶)        θ ← θ + v        (7)
//! ```
//!
//! # Engines
//!
//! [`Engine::Cpu`] runs kernels written by hand; the result is the same for any number of threads. Its threads
//! do not sleep while an epoch runs, so it is given as many as there are processors to spare.
//! [`Engine::Burn`] takes the same step with Burn's tensors, in as few operations as it can. Negatives and
//! dropout masks come from one seeded generator on the CPU, so both see the same batches: their losses
//! agree to 10⁻⁴, and a checkpoint of one is gone on from by the other.

mod batch;
mod candidates;
mod cell;
mod checkpoint;
mod config;
#[cfg(feature = "burn")]
mod device;
mod exchange;
#[cfg(test)]
mod gradients;
mod intent;
mod kernel;
mod lanes;
mod layout;
mod loss;
mod math;
pub(crate) mod matrix;
mod model;
mod parameters;
mod product;
mod team;
mod uses;
mod weights;

pub use config::Gru4RecConfig;
pub use intent::{IntentConfig, PurchaseIntent};
pub use loss::Loss;
pub use model::{Gru4Rec, Gru4RecLoader};

use std::ops::ControlFlow;
use std::path::PathBuf;

use reco_core::TrainSet;

use self::batch::Minibatches;
use self::checkpoint::{Checkpoint, EngineState};
use self::kernel::CpuEngine;
use self::weights::Weights;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::trainer::{EpochReport, Trainer};

/// The kind of the model, its artifacts and its loader.
const KIND: &str = "gru4rec";

/// Fits a [`Gru4Rec`].
///
/// An event of its reports is a pair of an item and the next; the loss is the mean of the events.
/// A session of one item has no pair: it teaches nothing, and an item that is in no other session is not in
/// the model's vocabulary.
///
/// # Examples
///
/// ```
/// use std::ops::ControlFlow;
/// use reco_core::{ModelExt, SessionDataset, SessionEncoding, Split};
/// use reco_train::{Engine, Gru4RecConfig, Gru4RecTrainer, Trainer};
///
/// // After a hat comes a scarf.
/// let mut builder = SessionDataset::builder(SessionEncoding::default());
/// for shopper in 0..50 {
///     let items = if shopper % 2 == 0 { ["hat", "scarf"] } else { ["shirt", "tie"] };
///     for item in items {
///         builder.push(&shopper.to_string(), item, "2024-05-01T10:00Z".parse()?)?;
///     }
/// }
/// let data = builder.build()?;
/// let split = Split::from_parts(data.clone(), data);
///
/// let config = Gru4RecConfig { layer: 8, batch_size: 4, n_sample: 4, ..Default::default() };
/// let trainer = Gru4RecTrainer::new(config, Engine::cpu(2));
/// let model = trainer.fit(&split.train, &mut |report| {
///     assert_eq!(report.n_events, 50);
///     ControlFlow::Continue(())
/// })?;
/// let ranking = model.recommend(&["hat"].into_iter().collect(), 1)?;
/// assert_eq!(ranking.items().next().unwrap().as_str(), "scarf");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Gru4RecTrainer {
    config: Gru4RecConfig,
    engine: Engine,
    checkpoint: Option<PathBuf>,
    resume: Option<PathBuf>,
}

impl Gru4RecTrainer {
    /// A trainer; the configuration is checked when it fits.
    #[must_use]
    pub const fn new(config: Gru4RecConfig, engine: Engine) -> Self {
        Self {
            config,
            engine,
            checkpoint: None,
            resume: None,
        }
    }

    /// Writes the training to a file after each epoch, before the observer hears of it.
    ///
    /// The file of the epoch before is replaced in one step, once the new one is durable; beside it there may
    /// be one that ends in `.tmp`. It is as large as the model, and once or twice that for what the optimiser
    /// remembers.
    #[must_use]
    pub fn checkpoint(mut self, path: impl Into<PathBuf>) -> Self {
        self.checkpoint = Some(path.into());
        self
    }

    /// Goes on from a [checkpoint](Self::checkpoint): the model is, byte for byte, the one of a training that
    /// was not interrupted; on a GPU, as near to it as two trainings are to each other.
    ///
    /// The checkpoint must be of the same data and configuration, of which `n_epochs` alone may be another, to
    /// train longer. It may have been written by another engine. If it has all epochs, the model is the one in it
    /// and the observer is not called.
    /// Whether there is a file to go on from is for the caller to see.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use std::{ops::ControlFlow, path::Path};
    /// # use reco_train::{Engine, Gru4RecConfig, Gru4RecTrainer, Trainer};
    /// # fn fit(train: &reco_core::TrainSet) -> reco_train::Result<reco_train::Gru4Rec> {
    /// let file = Path::new("training/gru4rec.safetensors");
    /// let mut trainer =
    ///     Gru4RecTrainer::new(Gru4RecConfig::default(), Engine::cpu(8)).checkpoint(file);
    /// if file.exists() {
    ///     trainer = trainer.resume(file);
    /// }
    /// let model = trainer.fit(train, &mut |_| ControlFlow::Continue(()))?;
    /// # Ok(model)
    /// # }
    /// ```
    #[must_use]
    pub fn resume(mut self, path: impl Into<PathBuf>) -> Self {
        self.resume = Some(path.into());
        self
    }

    fn engine(&self, weights: Weights) -> Result<Box<dyn EpochEngine>> {
        let config = &self.config;
        Ok(match &self.engine {
            Engine::Cpu { threads } => Box::new(CpuEngine::new(weights, config, threads.get())?),
            #[cfg(feature = "burn")]
            Engine::Burn(device) => Box::new(device::BurnEngine::new(&weights, config, device)),
        })
    }
}

impl Trainer for Gru4RecTrainer {
    type Model = Gru4Rec;

    fn fit(
        &self,
        train: &TrainSet,
        observer: &mut dyn FnMut(&EpochReport) -> ControlFlow<()>,
    ) -> Result<Gru4Rec> {
        let config = &self.config;
        config.check()?;
        let mut minibatches = Minibatches::new(train, config)?;
        let encoder = minibatches.dataset().encoder().clone();
        let n_items = encoder.vocabulary().len();
        let data = train.fingerprint();
        let (mut engine, n_done) = match &self.resume {
            None => {
                let weights = Weights::new(n_items, &config.shape(), config.seed);
                (self.engine(weights)?, 0)
            }
            Some(path) => {
                let Checkpoint { epoch, rng, state } =
                    Checkpoint::read(path, config, &data, n_items)?;
                minibatches.set_rng(rng);
                let mut engine = self.engine(state.weights)?;
                if !engine.remember(state.memory) {
                    return Err(checkpoint::does_not_fit(path));
                }
                (engine, epoch)
            }
        };
        let n_events = minibatches.n_pairs();
        let span = tracing::info_span!(
            "gru4rec.fit",
            n_events,
            batch_size = minibatches.batch_size()
        );
        let _entered = span.enter();
        for epoch in n_done + 1..=config.n_epochs {
            minibatches.start_epoch();
            let loss = engine.run_epoch(&mut minibatches)? / n_events as f64;
            if !loss.is_finite() {
                return Err(Error::Diverged { model: KIND, epoch });
            }
            tracing::debug!(epoch, loss, "epoch ended");
            if let Some(path) = &self.checkpoint {
                let (rng, state) = (minibatches.rng().clone(), engine.state()?);
                Checkpoint { epoch, rng, state }.write(path, config, &data)?;
            }
            let report = EpochReport {
                epoch,
                n_epochs: config.n_epochs,
                loss,
                n_events,
            };
            if observer(&report).is_break() {
                break;
            }
        }
        let weights = engine.into_weights()?;
        if !weights.is_finite() {
            return Err(Error::Diverged {
                model: KIND,
                epoch: config.n_epochs,
            });
        }
        Ok(Gru4Rec::new(weights, encoder, config.clone(), Some(data)))
    }
}

/// What runs the steps of an epoch.
trait EpochEngine {
    /// Learns from all batches; the sum of the losses of their lanes.
    fn run_epoch(&mut self, minibatches: &mut Minibatches) -> Result<f64>;

    /// What was learnt.
    fn into_weights(self: Box<Self>) -> Result<Weights>;

    /// What it goes on from, between two epochs.
    fn state(&self) -> Result<EngineState>;

    /// Takes over what its optimiser is to remember; false if that does not fit.
    fn remember(&mut self, memory: Vec<Vec<f32>>) -> bool;
}
