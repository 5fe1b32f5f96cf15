//! [`Gru4RecConfig`]: the hyperparameters.

use serde::{Deserialize, Serialize};

use super::KIND;
use super::loss::{Loss, Objective};
use super::weights::{Adagrad, InputMode, Shape};
use crate::error::Result;
use crate::rule::{self, MAX_DIM, MAX_DRAWS, MAX_EXPONENT, holds, within};

/// Hyperparameters of GRU4Rec, under the names of the authors' implementation.
///
/// The defaults are a setting for short sessions and tens of thousands of items; the paper's authors tune
/// each for each shop. Best first: `loss`, `layer`, `learning_rate`, `dropout_p_hidden`, `sample_alpha`.
///
/// # Examples
///
/// ```
/// use reco_train::Gru4RecConfig;
/// use reco_train::gru4rec::Loss;
///
/// let config: Gru4RecConfig = reco_core::config_from_json("gru4rec", r#"{"loss": "bpr-max"}"#)?;
/// assert_eq!(config, Gru4RecConfig { loss: Loss::BprMax, ..Default::default() });
/// # Ok::<(), reco_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Gru4RecConfig {
    /// What is minimised. Default cross-entropy, as in the authors' implementation.
    pub loss: Loss,
    /// Width of the state that is scored, and of the item embeddings. Default 100, as in the papers.
    pub layer: usize,
    /// Widths of the layers below it, from the input up: the authors' `layers` without the last. Default none.
    pub lower_layers: Vec<usize>,
    /// How many sessions are walked side by side. Default 128; the authors' settings range from 32 to 240.
    pub batch_size: usize,
    /// How many negatives are drawn for a batch, on top of the other lanes' targets. Default 2048, as in
    /// the CIKM paper; 0 leaves the targets.
    pub n_sample: usize,
    /// Negatives are drawn in proportion to `count^sample_alpha`: 1 by popularity, 0 evenly. Default 0.5,
    /// as in the authors' implementation.
    pub sample_alpha: f64,
    /// Step size of Adagrad. Default 0.1; the authors' settings range from 0.03 to 0.2.
    pub learning_rate: f64,
    /// How much of the last move is repeated, below 1. Default 0.
    pub momentum: f64,
    /// Dropout of the input embedding, below 1. Default 0.
    pub dropout_p_embed: f64,
    /// Dropout of the state of each layer before it is given on or scored, below 1. Default 0.4, as the authors' setting for RSC15.
    pub dropout_p_hidden: f64,
    /// How much of the log-probability of a candidate is taken from its score, with cross-entropy only.
    /// Default 1, which makes it a sampled softmax.
    pub logq: f64,
    /// Weight of the regularisation of the negatives' scores, with BPR-max only. Default 1, as in the
    /// authors' implementation.
    pub bpreg: f64,
    /// α of the elu on the scores, with BPR-max only; 0 for none. Default 0.5, as in the authors'
    /// implementation.
    pub elu_param: f64,
    /// Whether the items are read through the embedding that scores them. Default true, as in most of the
    /// authors' settings.
    pub constrained_embedding: bool,
    /// Width of an embedding through which the items are read, if it is another than the one that scores them;
    /// 0 for none. Default 0.
    ///
    /// Without an embedding of either sort an item is read as a vector of zeros and its one: what it brings to
    /// the gates of the first layer is a row of its own, and there is nothing for `dropout_p_embed` to drop.
    pub embedding: usize,
    /// How often the training set is gone through. Default 5.
    pub n_epochs: u32,
    /// Seed of the initial weights, the negatives and the dropout. Default 1.
    pub seed: u64,
}

impl Default for Gru4RecConfig {
    fn default() -> Self {
        Self {
            loss: Loss::CrossEntropy,
            layer: 100,
            lower_layers: Vec::new(),
            batch_size: 128,
            n_sample: 2048,
            sample_alpha: 0.5,
            learning_rate: 0.1,
            momentum: 0.0,
            dropout_p_embed: 0.0,
            dropout_p_hidden: 0.4,
            logq: 1.0,
            bpreg: 1.0,
            elu_param: 0.5,
            constrained_embedding: true,
            embedding: 0,
            n_epochs: 5,
            seed: 1,
        }
    }
}

impl Gru4RecConfig {
    /// Whether each value is one that the algorithm allows.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`](crate::Error::InvalidConfig) names the first that is not.
    pub fn check(&self) -> Result<()> {
        let share = |key, x: f64| holds(key, x, (0.0..1.0).contains(&x), "at least 0 and below 1");
        let not_negative =
            |key, x: f64| holds(key, x, x >= 0.0 && x.is_finite(), "finite and at least 0");
        let rate = self.learning_rate;
        let rules = [
            within("layer", self.layer, 1..=MAX_DIM),
            within(
                "lower_layers",
                self.lower_layers.iter().copied().min().unwrap_or(1),
                1..=MAX_DIM,
            ),
            within(
                "lower_layers",
                self.lower_layers.iter().copied().max().unwrap_or(1),
                1..=MAX_DIM,
            ),
            within("embedding", self.embedding, 0..=MAX_DIM),
            within("batch_size", self.batch_size, 1..=MAX_DRAWS),
            within("n_sample", self.n_sample, 0..=MAX_DRAWS),
            within("n_epochs", self.n_epochs, 1..=u32::MAX),
            within(
                "sample_alpha",
                self.sample_alpha,
                -MAX_EXPONENT..=MAX_EXPONENT,
            ),
            holds(
                "learning_rate",
                rate,
                rate > 0.0 && rate.is_finite(),
                "finite and above 0",
            ),
            share("momentum", self.momentum),
            share("dropout_p_embed", self.dropout_p_embed),
            share("dropout_p_hidden", self.dropout_p_hidden),
            not_negative("logq", self.logq),
            not_negative("bpreg", self.bpreg),
            not_negative("elu_param", self.elu_param),
            (
                "embedding",
                self.embedding == 0 || !self.constrained_embedding,
                "must be 0 with a `constrained_embedding`: the items are read through that"
                    .to_owned(),
            ),
            (
                "dropout_p_embed",
                self.dropout_p_embed == 0.0 || self.shape().input != InputMode::OneHot,
                "must be 0 without an embedding to drop out".to_owned(),
            ),
        ];
        rule::check(KIND, rules)
    }

    /// The widths of the network.
    pub(super) fn shape(&self) -> Shape {
        let layers: Vec<usize> = self
            .lower_layers
            .iter()
            .copied()
            .chain([self.layer])
            .collect();
        let (input, input_dim) = if self.constrained_embedding {
            (InputMode::Constrained, self.layer)
        } else if self.embedding > 0 {
            (InputMode::Embedding, self.embedding)
        } else {
            (InputMode::OneHot, 3 * layers[0])
        };
        Shape {
            input,
            input_dim,
            layers,
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "kernels compute in 32 bits"
    )]
    pub(super) const fn objective(&self) -> Objective {
        Objective {
            loss: self.loss,
            bpreg: self.bpreg as f32,
            elu_param: self.elu_param as f32,
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "kernels compute in 32 bits"
    )]
    pub(super) const fn adagrad(&self) -> Adagrad {
        Adagrad {
            learning_rate: self.learning_rate as f32,
            momentum: self.momentum as f32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_out_of_range_is_named() {
        let check = |change: fn(&mut Gru4RecConfig), expected: &str| {
            let mut config = Gru4RecConfig::default();
            change(&mut config);
            assert_eq!(
                config.check().unwrap_err().to_string(),
                format!("gru4rec: {expected}")
            );
        };
        check(|c| c.layer = 0, "`layer` must be from 1 to 16384, is 0");
        check(
            |c| c.layer = usize::MAX,
            "`layer` must be from 1 to 16384, is 18446744073709551615",
        );
        check(
            |c| c.sample_alpha = 500.0,
            "`sample_alpha` must be from -16 to 16, is 500",
        );
        check(
            |c| c.batch_size = 0,
            "`batch_size` must be from 1 to 1048576, is 0",
        );
        check(
            |c| c.n_epochs = 0,
            "`n_epochs` must be from 1 to 4294967295, is 0",
        );
        check(
            |c| c.sample_alpha = f64::NAN,
            "`sample_alpha` must be from -16 to 16, is NaN",
        );
        check(
            |c| c.learning_rate = 0.0,
            "`learning_rate` must be finite and above 0, is 0",
        );
        check(
            |c| c.momentum = 1.0,
            "`momentum` must be at least 0 and below 1, is 1",
        );
        check(
            |c| c.dropout_p_embed = -0.1,
            "`dropout_p_embed` must be at least 0 and below 1, is -0.1",
        );
        check(
            |c| c.dropout_p_hidden = 1.0,
            "`dropout_p_hidden` must be at least 0 and below 1, is 1",
        );
        check(
            |c| c.logq = f64::INFINITY,
            "`logq` must be finite and at least 0, is inf",
        );
        check(
            |c| c.bpreg = -1.0,
            "`bpreg` must be finite and at least 0, is -1",
        );
        check(
            |c| c.elu_param = -1.0,
            "`elu_param` must be finite and at least 0, is -1",
        );
        check(
            |c| c.lower_layers = vec![8, 0],
            "`lower_layers` must be from 1 to 16384, is 0",
        );
        check(
            |c| c.lower_layers = vec![20_000, 8],
            "`lower_layers` must be from 1 to 16384, is 20000",
        );
        check(
            |c| c.embedding = 8,
            "`embedding` must be 0 with a `constrained_embedding`: the items are read through that",
        );
        check(
            |c| {
                c.constrained_embedding = false;
                c.dropout_p_embed = 0.1;
            },
            "`dropout_p_embed` must be 0 without an embedding to drop out",
        );
        assert!(Gru4RecConfig::default().check().is_ok());
    }
}
