//! [`Prod2VecTrainer`]: from sessions to a model, from the start or from an earlier model.

use std::ops::ControlFlow;
use std::sync::Arc;

use reco_core::TrainSet;

use super::corpus::Corpus;
#[cfg(feature = "burn")]
use super::device;
use super::weights::Weights;
use super::{KIND, Prod2Vec, Prod2VecConfig, hogwild};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::rule::{self, within};
use crate::trainer::{EpochReport, Trainer};

/// With fewer items, windows share no negatives: on a circle of 6 or 12 items, of which a session walks six, items
/// that share find up to a fifth fewer of the next ones; from 25 on, as many.
pub(super) const FEWEST_TO_SHARE: usize = 32;

/// Fits [`Prod2Vec`] models.
///
/// It reports the mean loss of an example: of an item of a window against its middle with its negatives
/// (skip-gram), or of a whole window (CBOW). Its events are the interactions gone through.
///
/// # Examples
///
/// ```
/// use std::ops::ControlFlow;
/// use reco_core::{ModelExt, SessionDataset, SessionEncoding, Split};
/// use reco_train::{Engine, Prod2VecConfig, Prod2VecTrainer, Trainer};
///
/// let mut builder = SessionDataset::builder(SessionEncoding::default());
/// for session in 0..200 {
///     let items = [["hat", "scarf", "gloves"], ["racket", "ball", "net"]][session % 2];
///     for item in items {
///         builder.push(&session.to_string(), item, "2024-05-01T10:00Z".parse()?)?;
///     }
/// }
/// let data = builder.build()?;
/// let split = Split::from_parts(data.clone(), data);
///
/// let config = Prod2VecConfig {
///     vector_size: 8,
///     sample: 0.0,
///     alpha: 0.1,
///     epochs: 20,
///     ..Default::default()
/// };
/// let trainer = Prod2VecTrainer::new(config, Engine::cpu(1));
/// let model = trainer.fit(&split.train, &mut |_| ControlFlow::Continue(()))?;
/// let ranking = model.recommend(&["hat"].into_iter().collect(), 3)?;
/// let mut items: Vec<_> = ranking.items().map(|item| item.as_str()).collect();
/// assert_eq!(items[0], "hat");
/// items.sort();
/// assert_eq!(items, ["gloves", "hat", "scarf"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Prod2VecTrainer {
    config: Prod2VecConfig,
    engine: Engine,
    earlier: Option<(Arc<Prod2Vec>, Vanished)>,
}

/// What becomes of the items of an earlier model that are not, or not often enough, in the new data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vanished {
    /// They stay, whatever their count. Those that are not there at all keep their vectors to the bit, and are no
    /// negatives.
    Keep,
    /// They leave, as below [`min_count`](Prod2VecConfig::min_count).
    Drop,
}

impl Prod2VecTrainer {
    /// A trainer with these hyperparameters, on this engine.
    #[must_use]
    pub const fn new(config: Prod2VecConfig, engine: Engine) -> Self {
        Self {
            config,
            engine,
            earlier: None,
        }
    }

    /// Starts from what an earlier model has learnt, as a daily retraining does.
    ///
    /// Items that it knows start from its vectors and its outputs, new ones as in a first training; counts are
    /// those of the new data. Few epochs and an [`alpha`](Prod2VecConfig::alpha) below the first one's will do.
    /// The tree of hierarchical softmax follows from the counts: its outputs start from zero each time.
    ///
    /// [`fit`](Trainer::fit) says [`Error::InvalidConfig`] if the earlier model has another `vector_size`, or has
    /// no outputs to go on with ([`keep_outputs`](Prod2VecConfig::keep_outputs)) and there are negatives.
    #[must_use]
    pub fn continuing(self, earlier: Prod2Vec, vanished: Vanished) -> Self {
        Self {
            earlier: Some((Arc::new(earlier), vanished)),
            ..self
        }
    }

    /// The earlier model, if it is one that this training can go on with.
    fn earlier(&self) -> Result<Option<(&Prod2Vec, Vanished)>> {
        let Some((earlier, vanished)) = &self.earlier else {
            return Ok(None);
        };
        let (dim, found) = (self.config.vector_size, earlier.config().vector_size);
        let rules = [
            within("vector_size", dim, found..=found),
            (
                "keep_outputs",
                self.config.negative == 0 || earlier.has_outputs(),
                "must be set for the model that training continues from".to_owned(),
            ),
        ];
        rule::check(KIND, rules)?;
        Ok(Some((earlier, *vanished)))
    }
}

impl Trainer for Prod2VecTrainer {
    type Model = Prod2Vec;

    fn fit(
        &self,
        train: &TrainSet,
        observer: &mut dyn FnMut(&EpochReport) -> ControlFlow<()>,
    ) -> Result<Prod2Vec> {
        let config = &self.config;
        config.check()?;
        let earlier = self.earlier()?;
        let kept = earlier.filter(|(_, vanished)| *vanished == Vanished::Keep);
        let corpus = Corpus::new(train, config, kept.map(|(earlier, _)| earlier.vocabulary()))?;
        let n_items = corpus.n_items();
        let span = tracing::info_span!("fit", kind = KIND, n_items, n_words = corpus.n_words());
        let mut initial = Weights::new(n_items, config);
        if let Some((earlier, _)) = earlier {
            initial.take_over(earlier, corpus.vocabulary());
        }
        let enough = n_items >= FEWEST_TO_SHARE;
        let kernel = &Prod2VecConfig {
            share_negatives: config.share_negatives && enough,
            ..config.clone()
        };
        let weights = span.in_scope(|| {
            let mut observe = |epoch, loss: f64| {
                if !loss.is_finite() {
                    return Err(Error::Diverged { model: KIND, epoch });
                }
                tracing::debug!(epoch, loss);
                let n_events = corpus.n_words() as u64;
                Ok(observer(&EpochReport {
                    epoch,
                    n_epochs: config.epochs,
                    loss,
                    n_events,
                }))
            };
            match &self.engine {
                Engine::Cpu { threads } => {
                    hogwild::fit(&corpus, kernel, *threads, initial, &mut observe)
                }
                #[cfg(feature = "burn")]
                Engine::Burn(device) => device::fit(&corpus, kernel, device, initial, &mut observe),
            }
        })?;
        let encoder = corpus.into_encoder();
        let data = Some(train.fingerprint());
        let model = Prod2Vec::new(encoder, weights.vectors, config.clone(), data);
        let model = model.map_err(|_| Error::Diverged {
            model: KIND,
            epoch: config.epochs,
        })?;
        Ok(if config.keep_outputs {
            model.with_outputs(weights.outputs)
        } else {
            model
        })
    }
}
