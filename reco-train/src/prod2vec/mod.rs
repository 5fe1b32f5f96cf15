//! prod2vec: item vectors by skip-gram or CBOW with negative sampling, sessions taken for sentences.
//!
//! The algorithm is word2vec (Mikolov et al., arXiv 1301.3781 and 1310.4546) on products, as in Grbovic et
//! al., arXiv 1606.07154; the names, the defaults and the details that change results are gensim 4's:
//!
//! * Items that are rarer than [`min_count`](Prod2VecConfig::min_count) leave the vocabulary, and frequent
//!   ones some of their places ([`sample`](Prod2VecConfig::sample)), *before* windows are laid.
//! * Each place has a window of its own, drawn from `1..=window`.
//! * Skip-gram learns the vector of each item of the window against the item in its middle; CBOW learns the
//!   mean of the window against it.
//! * A negative that happens to be the item itself is skipped, not drawn again; an input and an output that
//!   agree or disagree by more than 6 do not learn.
//! * The learning rate falls linearly with the words processed, in steps of 10,000 words.
//!
//! A trained model answers a session by the cosine between its query, the mean of the unit vectors of the
//! session's last items, and the vector of each item; see [`Prod2Vec`].
//!
//! Its worth is in vectors: look-alikes ([`Prod2Vec::similar`]), features, a space to find things in. As the
//! model of the next item, neighbourhood models and [`gru4rec`](crate::gru4rec) are clearly better.
//! Defaults made for text serve it badly: tune `window`, `epochs` (50 to 150), `sample` and `ns_exponent`
//! (often negative) first (Caselles-Dupré et al., arXiv 1804.04212).
//!
//! # Determinism
//!
//! On [`Engine::cpu(1)`](crate::Engine::cpu) and on the Burn device `flex`, the same data, configuration and
//! seed give the same vectors.
//! On several threads the CPU kernel learns without locks (Hogwild, arXiv 1106.5730): what is drawn is
//! still the same, but threads meet in the rows that they write, and the vectors differ a little from run to
//! run.

mod corpus;
#[cfg(feature = "burn")]
mod device;
mod hogwild;
mod model;
mod table;

use std::ops::ControlFlow;

use reco_core::TrainSet;
use serde::{Deserialize, Serialize};

use self::corpus::Corpus;
pub use self::model::{Prod2Vec, Prod2VecLoader};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::rule::{self, MAX_DIM, MAX_DRAWS, MAX_EXPONENT, holds, within};
use crate::trainer::{EpochReport, Trainer};

/// The kind of the model, its artifacts and its loader.
const KIND: &str = "prod2vec";

/// The hyperparameters, under gensim's names.
///
/// The defaults are those of gensim 4.4, but for [`sg`](Self::sg).
///
/// # Examples
///
/// ```
/// use reco_train::Prod2VecConfig;
///
/// let config = Prod2VecConfig { window: 3, ns_exponent: -0.5, ..Default::default() };
/// let same = reco_core::config_from_json("prod2vec", r#"{"window": 3, "ns_exponent": -0.5}"#)?;
/// assert_eq!(config, same);
/// # Ok::<(), reco_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Prod2VecConfig {
    /// Whether to learn by skip-gram (`true`, gensim's 1) or CBOW (`false`, its 0). Default `true`, gensim's
    /// is 0: sessions are short, and skip-gram learns more from each.
    pub sg: bool,
    /// The number of dimensions. Default 100.
    pub vector_size: usize,
    /// The farthest distance between two items of a session that learn from each other. Default 5.
    pub window: u32,
    /// Whether the window of each place is drawn from `1..=window`, so that near items count more.
    /// Default `true`.
    pub shrink_windows: bool,
    /// How many negatives are drawn for each example. Default 5.
    pub negative: usize,
    /// Negatives are drawn in proportion to `count^ns_exponent`. Default 0.75, word2vec's.
    pub ns_exponent: f64,
    /// The share of all interactions above which an item's are thinned out; 0 thins out none. From 1 on it
    /// is a count instead of a share. Default 1e-3.
    pub sample: f64,
    /// Items with fewer interactions are not in the model. Default 5.
    pub min_count: u64,
    /// The learning rate at the start. Default 0.025.
    pub alpha: f32,
    /// The learning rate at the end. Default 0.0001.
    pub min_alpha: f32,
    /// How often the sessions are gone through. Default 5.
    pub epochs: u32,
    /// Whether CBOW takes the mean of the window (`true`, gensim's 1) or the sum. Default `true`. As in
    /// word2vec and gensim, the gradient of the mean goes to each item undivided, that of the sum divided by
    /// the number of items.
    pub cbow_mean: bool,
    /// Seeds all draws. Default 1.
    pub seed: u64,
    /// How many of a session's last items make the query; 0 takes them all. Default 0. It is a setting of the
    /// answers, not of the training, and not gensim's.
    pub last: usize,
}

impl Default for Prod2VecConfig {
    fn default() -> Self {
        Self {
            sg: true,
            vector_size: 100,
            window: 5,
            shrink_windows: true,
            negative: 5,
            ns_exponent: 0.75,
            sample: 1e-3,
            min_count: 5,
            alpha: 0.025,
            min_alpha: 0.0001,
            epochs: 5,
            cbow_mean: true,
            seed: 1,
            last: 0,
        }
    }
}

impl Prod2VecConfig {
    /// Whether each value is one that the algorithm allows.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] names the first that is not.
    pub fn check(&self) -> Result<()> {
        let (alpha, min_alpha) = (f64::from(self.alpha), f64::from(self.min_alpha));
        let sample = self.sample;
        let rules = [
            within("vector_size", self.vector_size, 1..=MAX_DIM),
            within("window", self.window as usize, 1..=MAX_DRAWS),
            within("negative", self.negative, 1..=MAX_DRAWS),
            within("epochs", self.epochs, 1..=u32::MAX),
            within(
                "ns_exponent",
                self.ns_exponent,
                -MAX_EXPONENT..=MAX_EXPONENT,
            ),
            holds(
                "sample",
                sample,
                sample >= 0.0 && sample.is_finite(),
                "finite and at least 0",
            ),
            holds(
                "alpha",
                alpha,
                alpha > 0.0 && alpha.is_finite(),
                "finite and above 0",
            ),
            within("min_alpha", min_alpha, 0.0..=alpha),
        ];
        rule::check(KIND, rules)
    }

    /// What a word of a window weighs in the hidden layer, and what part of its gradient it gets.
    #[inline(always)]
    #[expect(clippy::cast_precision_loss, reason = "the width of a window")]
    fn window_weights(&self, width: usize) -> (f32, f32) {
        let share = 1.0 / width as f32;
        if self.cbow_mean {
            (share, 1.0)
        } else {
            (1.0, share)
        }
    }

    /// The learning rate when a share of all the work, in 0..=1, is done.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a learning rate between two f32"
    )]
    fn alpha_at(&self, progress: f64) -> f32 {
        let (start, end) = (f64::from(self.alpha), f64::from(self.min_alpha));
        (start + (end - start) * progress) as f32
    }
}

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
/// let config = Prod2VecConfig { vector_size: 8, sample: 0.0, alpha: 0.1, epochs: 20, ..Default::default() };
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
}

impl Prod2VecTrainer {
    /// A trainer with these hyperparameters, on this engine.
    #[must_use]
    pub const fn new(config: Prod2VecConfig, engine: Engine) -> Self {
        Self { config, engine }
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
        let corpus = Corpus::new(train, config)?;
        let n_items = corpus.n_items();
        let span = tracing::info_span!("fit", kind = KIND, n_items, n_words = corpus.n_words());
        let vectors = span.in_scope(|| {
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
                Engine::Cpu { threads } => hogwild::fit(&corpus, config, *threads, &mut observe),
                #[cfg(feature = "burn")]
                Engine::Burn(device) => device::fit(&corpus, config, device, &mut observe),
            }
        })?;
        let encoder = corpus.into_encoder();
        Prod2Vec::new(encoder, vectors, config.clone(), Some(train.fingerprint())).map_err(|_| {
            Error::Diverged {
                model: KIND,
                epoch: config.epochs,
            }
        })
    }
}

/// What both engines call after an epoch, from 1, with the mean loss of an example.
type Observe<'a> = dyn FnMut(u32, f64) -> Result<ControlFlow<()>> + 'a;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mistake_is_named() {
        let check = |json: &str, expected: &str| {
            let config: Prod2VecConfig = reco_core::config_from_json(KIND, json).unwrap();
            assert_eq!(config.check().unwrap_err().to_string(), expected);
        };
        check(
            r#"{"vector_size": 0}"#,
            "prod2vec: `vector_size` must be from 1 to 16384, is 0",
        );
        check(
            r#"{"window": 0}"#,
            "prod2vec: `window` must be from 1 to 1048576, is 0",
        );
        check(
            r#"{"negative": 0}"#,
            "prod2vec: `negative` must be from 1 to 1048576, is 0",
        );
        check(
            r#"{"epochs": 0}"#,
            "prod2vec: `epochs` must be from 1 to 4294967295, is 0",
        );
        check(
            r#"{"sample": -1}"#,
            "prod2vec: `sample` must be finite and at least 0, is -1",
        );
        check(
            r#"{"alpha": 0}"#,
            "prod2vec: `alpha` must be finite and above 0, is 0",
        );
        check(
            r#"{"alpha": 0.5, "min_alpha": 1}"#,
            "prod2vec: `min_alpha` must be from 0 to 0.5, is 1",
        );
        check(
            r#"{"ns_exponent": 17}"#,
            "prod2vec: `ns_exponent` must be from -16 to 16, is 17",
        );
        let error = reco_core::config_from_json::<Prod2VecConfig>(KIND, r#"{"vector_sise": 3}"#);
        assert_eq!(
            error.unwrap_err().to_string(),
            "unknown key `vector_sise` in the configuration of `prod2vec`; did you mean `vector_size`?"
        );
    }

    #[test]
    fn the_learning_rate_falls_linearly() {
        let config = Prod2VecConfig {
            alpha: 0.5,
            min_alpha: 0.1,
            ..Default::default()
        };
        let rates = [0.0, 0.5, 1.0].map(|progress| config.alpha_at(progress));
        assert!(
            rates
                .iter()
                .zip([0.5, 0.3, 0.1])
                .all(|(a, b)| (a - b).abs() < 1e-6),
            "{rates:?}"
        );
    }
}
