//! prod2vec: item vectors by skip-gram or CBOW with negative sampling or hierarchical softmax, sessions taken for
//! sentences.
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
//! * The learning rate falls linearly with the words processed, in steps of about 1,000 words (gensim's are 10,000).
//! * The items of a skip-gram's window share their negatives unless
//!   [`share_negatives`](Prod2VecConfig::share_negatives) is off.
//! * Hierarchical softmax ([`hs`](Prod2VecConfig::hs)) learns beside or instead of the negatives.
//!
//! A trained model answers a session by the cosine between its query, the mean of the unit vectors of the
//! session's last items, and the vector of each item; see [`Prod2Vec`].
//!
//! Its worth is in vectors: look-alikes ([`Prod2Vec::similar`]), features, a space to find things in. As the
//! model of the next item, neighbourhood models and [`gru4rec`](crate::gru4rec) are clearly better.
//! Defaults made for text serve it badly: tune `window`, `epochs` (50 to 150), `sample` and `ns_exponent`
//! (often negative) first (Caselles-Dupré et al., arXiv 1804.04212).
//!
//! [`cold_start`] gives items without interactions a vector, [`Word2VecFormat`] is how vectors go to other tools and
//! come from them, and [`Prod2VecTrainer::continuing`] starts from an earlier model.
//!
//! # Determinism
//!
//! On [`Engine::cpu(1)`](crate::Engine::cpu) and on the Burn device `flex`, the same data, configuration and
//! seed give the same vectors.
//! On several threads the CPU kernel learns without locks (Hogwild, arXiv 1106.5730): what is drawn is
//! still the same for as many threads, but they meet in the rows that they write, and the vectors differ a little
//! from run to run.

pub mod cold_start;
mod corpus;
mod cosines;
#[cfg(feature = "burn")]
mod device;
#[cfg(test)]
mod gradients;
mod hogwild;
mod huffman;
mod learner;
mod logistic;
mod model;
mod plan;
mod table;
mod trainer;
mod weights;
mod word2vec;

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

pub use self::model::{Prod2Vec, Prod2VecLoader};
pub use self::trainer::{Prod2VecTrainer, Vanished};
pub use self::word2vec::Word2VecFormat;
use crate::error::Result;
use crate::rule::{self, MAX_DIM, MAX_DRAWS, MAX_EXPONENT, holds, within};

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
#[expect(
    clippy::struct_excessive_bools,
    reason = "gensim's switches, which are independent of each other"
)]
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
    /// How many negatives are drawn for each example; 0 only with [`hs`](Self::hs). Default 5.
    pub negative: usize,
    /// Whether to learn by hierarchical softmax, beside the negatives or, if there are none, instead of them.
    /// Default `false`, gensim's 0.
    pub hs: bool,
    /// Whether the items of a skip-gram's window share their negatives and are learnt at once (`true`), or each
    /// has its own and they are learnt in turn, as in gensim (`false`). Default `true`: each example still has as
    /// many, drawn as before, but a window needs fewer rows, which is about twice as fast (pWord2Vec, arXiv
    /// 1604.04661) and as good on the catalogues of shops. With fewer than 32 items, which would learn less from
    /// each other, none are shared. On several threads, each about 1,000 words then draw from a part of the items,
    /// and from another in the next epoch, which keeps threads out of each other's rows. It is not gensim's.
    pub share_negatives: bool,
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
    /// Whether the model keeps the outputs of the negatives, which training that
    /// [continues](Prod2VecTrainer::continuing) needs; its artifact is twice as large then. Default `false`. It is
    /// not gensim's, which always does.
    pub keep_outputs: bool,
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
            hs: false,
            share_negatives: true,
            ns_exponent: 0.75,
            sample: 1e-3,
            min_count: 5,
            alpha: 0.025,
            min_alpha: 0.0001,
            epochs: 5,
            cbow_mean: true,
            keep_outputs: false,
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
    /// [`Error::InvalidConfig`](crate::Error::InvalidConfig) names the first that is not.
    pub fn check(&self) -> Result<()> {
        let (alpha, min_alpha) = (f64::from(self.alpha), f64::from(self.min_alpha));
        let sample = self.sample;
        let rules = [
            within("vector_size", self.vector_size, 1..=MAX_DIM),
            within("window", self.window as usize, 1..=MAX_DRAWS),
            within("negative", self.negative, usize::from(!self.hs)..=MAX_DRAWS),
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
