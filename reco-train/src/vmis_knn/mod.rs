//! VMIS-kNN: what came along in the past sessions that are nearest to this one.
//!
//! The algorithm is Serenade's (Kersbergen, Sprangers, Schelter: "Serenade, low-latency session-based
//! recommendation in e-commerce at scale", SIGMOD 2022). With recent sampling it computes what VS-kNN does
//! (Ludewig and Jannach, "Evaluation of session-based recommendation algorithms", UMUAI 2018; session-rec's
//! `VMContextKNN`), but from lists that are cut at `m`, so that the time of a query does not grow with the
//! history.
//!
//! 1. Of the past sessions that share an item with the session, the `m` that ended last are candidates.
//! 2. Their similarity is the sum of the weights of the items that they share: the later in the session, the
//!    heavier ([`weighting`](VmisKnnConfig::weighting)).
//! 3. The `k` most similar vote for their items. A vote is the similarity, less if the latest shared item is
//!    far back ([`weighting_score`](VmisKnnConfig::weighting_score)), and more for rare items
//!    ([`idf`](VmisKnnConfig::idf)).
//!
//! # When to prefer it
//!
//! To the neural models: at first, always. It is fitted in one pass over the data, has few settings, takes in a
//! new day without a fit ([`VmisKnn::update`]), and studies with equal tuning found no network that is clearly
//! better on every shop (Ludewig et al., "Empirical analysis of session-based recommendation algorithms", UMUAI
//! 2020). A network that does not beat it on your data has not earned its keep.
//!
//! Where it knows no session it has no answer: [`blend`](crate::blend) it with another model for those.
//! [`stan`](crate::stan) also looks at when a session was, and where in it an item stood.
//!
//! # Two presets
//!
//! [`VmisKnnConfig::default`] is Serenade but for [`remind`](VmisKnnConfig::remind). [`VmisKnnConfig::vs_knn`] is session-rec's VS-kNN. What is
//! done in another way than there:
//!
//! * The order is total: of sessions that end at the same time the order is that of what they hold, and a
//!   tie of similarities goes to the more recent session.
//! * Where session-rec looks only at the last items, it still draws candidates by all items of the session;
//!   here, as in Serenade, the earlier items are not there at all.
//! * The weights do not fall below 0: see [`Weighting`] and [`Idf`].
//!
//! # Cost
//!
//! A query of `n` distinct items takes O(`m` `n`) steps over sorted lists, which are read from their beginning,
//! and O(`k`) session reads; memory for it is used again.
//! The index takes 4 bytes for each distinct item of a session and 4 for each place in a list, at most `m` a
//! list; 16 bytes a session; sessions that are in no list are let go of.
//! Each thread that asks holds 9 bytes an item of the catalogue.

mod model;

use std::ops::ControlFlow;

use reco_core::TrainSet;
use serde::{Deserialize, Serialize};

pub use self::model::{VmisKnn, VmisKnnLoader};
use crate::error::{Error, Result};
use crate::neighbours::{Kept, SessionIndex};
use crate::rule::{self, MAX_DRAWS, holds, within};
use crate::trainer::{EpochReport, Trainer};
use crate::weighting::Weighting;

/// The kind of the model, its artifacts and its loader.
const KIND: &str = "vmis-knn";

/// The hyperparameters, under session-rec's names where it has one.
///
/// # Examples
///
/// ```
/// use reco_train::VmisKnnConfig;
///
/// let config = VmisKnnConfig { m: 1502, k: 288, last_items: 4, ..Default::default() };
/// let same = reco_core::config_from_json("vmis-knn", r#"{"m": 1502, "k": 288, "last_items": 4}"#)?;
/// assert_eq!(config, same);
/// # Ok::<(), reco_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VmisKnnConfig {
    /// How many of the most recent sessions that share an item are candidates; session-rec's `sample_size`.
    /// Default 500, Serenade's.
    pub m: usize,
    /// How many of the most similar candidates vote. Default 500, Serenade's.
    pub k: usize,
    /// How many of the session's last items are looked at, session-rec's `last_n_clicks`; 0 takes them all.
    /// Default 2, Serenade's.
    pub last_items: usize,
    /// How much an item of the session adds to the similarity of a session that has it, by its place.
    /// Default `div`, Serenade's and session-rec's.
    pub weighting: Weighting,
    /// How much a vote counts, by the steps from the end of the session to the latest shared item.
    /// Default `linear`, Serenade's.
    pub weighting_score: Weighting,
    /// How the rarity of an item enters its score. Default `multiplied`, Serenade's.
    pub idf: Idf,
    /// How much it does; 0 leaves it out. Default 1, Serenade's.
    pub idf_weighting: f64,
    /// Which items of the session may be in its own ranking. Default `all`, session-rec's: filtering is left to
    /// who serves. Serenade's is `earlier`, which suits shops whose visitors do not come back to an item.
    pub remind: Remind,
    /// Sessions of more distinct items are not learnt from, since they are robots more often than shoppers; 0
    /// learns from all. Default 0; Serenade takes the 99.5th percentile of the data.
    pub max_session_items: usize,
}

/// How the rarity of an item enters its score.
///
/// A logarithm below 0, of an item with more interactions than there are sessions, counts as 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Idf {
    /// The score times `1 + idf_weighting · ln(sessions / interactions of the item)`, as in session-rec.
    Added,
    /// The score times `idf_weighting · ln(n / sessions with the item)`, as in Serenade, where `n` is the sum of
    /// the latter over all items.
    Multiplied,
}

/// Which items of a session may be in its own ranking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Remind {
    /// All: session-rec's `remind=True`.
    All,
    /// All but the last: Serenade's.
    Earlier,
    /// None: session-rec's `remind=False`.
    Never,
}

impl Default for VmisKnnConfig {
    fn default() -> Self {
        Self {
            m: 500,
            k: 500,
            last_items: 2,
            weighting: Weighting::Div,
            weighting_score: Weighting::Linear,
            idf: Idf::Multiplied,
            idf_weighting: 1.0,
            remind: Remind::All,
            max_session_items: 0,
        }
    }
}

impl VmisKnnConfig {
    /// VS-kNN with session-rec's defaults: `k` 100, `m` 1000, all items of the session, `div` for both
    /// weightings, no idf, reminders.
    #[must_use]
    pub const fn vs_knn() -> Self {
        Self {
            m: 1000,
            k: 100,
            last_items: 0,
            weighting: Weighting::Div,
            weighting_score: Weighting::Div,
            idf: Idf::Added,
            idf_weighting: 0.0,
            remind: Remind::All,
            max_session_items: 0,
        }
    }

    /// Whether each value is one that the algorithm allows.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] names the first that is not.
    pub fn check(&self) -> Result<()> {
        let idf = self.idf_weighting;
        let rules = [
            within("m", self.m, 1..=MAX_DRAWS),
            within("k", self.k, 1..=MAX_DRAWS),
            holds(
                "idf_weighting",
                idf,
                (0.0..=1e3).contains(&idf),
                "from 0 to 1000",
            ),
        ];
        rule::check(KIND, rules)
    }

    const fn kept(&self) -> Kept {
        Kept {
            m: self.m,
            places: false,
            max_session_items: self.max_session_items,
        }
    }
}

/// Fits a [`VmisKnn`]: builds its index, on the threads of the current rayon pool.
///
/// It is exact: the same data give the same model on any number of threads. There is one epoch, of the
/// interactions of the training set, and no loss: 0 is reported.
#[derive(Debug, Clone, Default)]
pub struct VmisKnnTrainer {
    config: VmisKnnConfig,
}

impl VmisKnnTrainer {
    /// Fits with these hyperparameters.
    #[must_use]
    pub const fn new(config: VmisKnnConfig) -> Self {
        Self { config }
    }
}

impl Trainer for VmisKnnTrainer {
    type Model = VmisKnn;

    fn fit(
        &self,
        train: &TrainSet,
        observer: &mut dyn FnMut(&EpochReport) -> ControlFlow<()>,
    ) -> Result<VmisKnn> {
        self.config.check()?;
        let index = SessionIndex::of(train, self.config.kept())?;
        if index.n_kept() == 0 {
            return Err(Error::NothingToLearn {
                model: KIND,
                reason: "every session is longer than `max_session_items`".to_owned(),
            });
        }
        // There is no second epoch to stop before.
        let _: ControlFlow<()> = observer(&EpochReport {
            epoch: 1,
            n_epochs: 1,
            loss: 0.0,
            n_events: train.n_interactions() as u64,
        });
        Ok(VmisKnn::new(
            train.encoder().clone(),
            self.config.clone(),
            Some(train.fingerprint()),
            index,
        ))
    }
}
