//! STAN: neighbours that also know when a session was, and where in it an item stood.
//!
//! The algorithm is that of Garg, Gupta, Malhotra, Vig, Shroff: "Sequence and time aware neighborhood for
//! session-based recommendations" (SIGIR 2019), with the settings of session-rec's `STAN` and `VSKNN_STAN`
//! (V-STAN, Ludewig et al., UMUAI 2020). It is [`vmis_knn`](crate::vmis_knn) with three decays:
//!
//! * λ1, [`lambda_spw`](StanConfig::lambda_spw): an item of the session weighs
//!   `exp(-places from its end / λ1)`, and sessions are compared by the cosine of these weights.
//! * λ2, [`lambda_snh`](StanConfig::lambda_snh): a past session counts `exp(-days since it ended / λ2)`.
//! * λ3, [`lambda_inh`](StanConfig::lambda_inh): an item of a past session counts
//!   `exp(-places to its last shared item / λ3)`.
//!
//! V-STAN adds VS-kNN's two: less for a past session whose latest shared item is far back
//! ([`lambda_ipw`](StanConfig::lambda_ipw)), more for rare items ([`lambda_idf`](StanConfig::lambda_idf)).
//!
//! A session is not asked with the time of day. None is needed: it would multiply all of a query's scores by
//! one number. So days are counted back from the candidate that ended last, and scores of two sessions do not
//! compare.
//!
//! # When to prefer it
//!
//! To VMIS-kNN where the order of items or the season matters: on the four shops of session-rec's study V-STAN
//! is 0.7 to 2.5 points of recall@20 ahead of VS-kNN. By default it looks at ten times the candidates that
//! VMIS-kNN does.
//! To the neural models as VMIS-kNN: first, and until one of them is better by measurement.
//!
//! # Cost
//!
//! As [`vmis_knn`](crate::vmis_knn), with 4 bytes more for each distinct item of a session, and 8 a session.

mod model;

use std::ops::ControlFlow;

use reco_core::TrainSet;
use serde::{Deserialize, Serialize};

pub use self::model::{Stan, StanLoader};
use crate::error::Result;
use crate::neighbours::{Kept, SessionIndex};
use crate::rule::{self, MAX_DRAWS, Rule, holds, within};
use crate::trainer::{EpochReport, Trainer};

/// The kind of the model, its artifacts and its loader.
const KIND: &str = "stan";

/// The hyperparameters, under session-rec's names where it has one. `None` turns a decay off.
///
/// # Examples
///
/// ```
/// use reco_train::StanConfig;
///
/// let config = StanConfig { k: 500, lambda_snh: None, ..Default::default() };
/// let same = reco_core::config_from_json("stan", r#"{"k": 500, "lambda_snh": null}"#)?;
/// assert_eq!(config, same);
/// # Ok::<(), reco_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StanConfig {
    /// How many of the most recent sessions that share an item are candidates; session-rec's `sample_size`.
    /// Default 5000, session-rec's.
    pub m: usize,
    /// How many of the most similar candidates vote. Default 100, session-rec's.
    pub k: usize,
    /// How two sessions are compared. Default `cosine`, the paper's.
    pub similarity: Similarity,
    /// λ1, in places of the session. Default 1.02, session-rec's.
    pub lambda_spw: Option<f64>,
    /// λ2, in days. Default 5, session-rec's. A session that is older than the newest by 700 λ2 counts as if it
    /// were not older.
    pub lambda_snh: Option<f64>,
    /// λ3, in places of a past session. Default 2.05, session-rec's.
    pub lambda_inh: Option<f64>,
    /// V-STAN's decay by the places from the end of the session to its latest shared item. Default off;
    /// session-rec's V-STAN has 1.02.
    pub lambda_ipw: Option<f64>,
    /// V-STAN's weight of rarity: scores times `1 + lambda_idf · ln(sessions / interactions of the item)`.
    /// Default off; session-rec's V-STAN has 5.
    pub lambda_idf: Option<f64>,
    /// Whether items of the session may be in its own ranking. Default yes, session-rec's.
    pub remind: bool,
}

/// How two sessions are compared, as sets of items of which those of the session asked with have weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Similarity {
    /// The sum of the shared weights over the lengths of both: the root of the sum of the squared weights, and
    /// the root of the number of items of the other.
    Cosine,
    /// The sum of the shared weights over the number of items asked with; session-rec's `vec`.
    Dot,
}

impl Default for StanConfig {
    fn default() -> Self {
        Self {
            m: 5000,
            k: 100,
            similarity: Similarity::Cosine,
            lambda_spw: Some(1.02),
            lambda_snh: Some(5.0),
            lambda_inh: Some(2.05),
            lambda_ipw: None,
            lambda_idf: None,
            remind: true,
        }
    }
}

impl StanConfig {
    /// V-STAN with session-rec's defaults: STAN's, and `lambda_ipw` 1.02, `lambda_idf` 5.
    #[must_use]
    pub fn v_stan() -> Self {
        Self {
            lambda_ipw: Some(1.02),
            lambda_idf: Some(5.0),
            ..Self::default()
        }
    }

    /// Whether each value is one that the algorithm allows.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`](crate::Error::InvalidConfig) names the first that is not.
    pub fn check(&self) -> Result<()> {
        let decay = |key, lambda: Option<f64>| -> Rule {
            let lambda = lambda.unwrap_or(1.0);
            holds(
                key,
                lambda,
                (1e-3..=1e6).contains(&lambda),
                "from 0.001 to 1000000, or nothing",
            )
        };
        let idf = self.lambda_idf.unwrap_or(0.0);
        let rules = [
            within("m", self.m, 1..=MAX_DRAWS),
            within("k", self.k, 1..=MAX_DRAWS),
            decay("lambda_spw", self.lambda_spw),
            decay("lambda_snh", self.lambda_snh),
            decay("lambda_inh", self.lambda_inh),
            decay("lambda_ipw", self.lambda_ipw),
            holds(
                "lambda_idf",
                idf,
                (0.0..=1e3).contains(&idf),
                "from 0 to 1000, or nothing",
            ),
        ];
        rule::check(KIND, rules)
    }

    const fn kept(&self) -> Kept {
        Kept {
            m: self.m,
            places: true,
            max_session_items: 0,
        }
    }
}

/// Fits a [`Stan`]: builds its index, on the threads of the current rayon pool.
///
/// It is exact: the same data give the same model on any number of threads. There is one epoch, of the
/// interactions of the training set, and no loss: 0 is reported.
#[derive(Debug, Clone, Default)]
pub struct StanTrainer {
    config: StanConfig,
}

impl StanTrainer {
    /// Fits with these hyperparameters.
    #[must_use]
    pub const fn new(config: StanConfig) -> Self {
        Self { config }
    }
}

impl Trainer for StanTrainer {
    type Model = Stan;

    fn fit(
        &self,
        train: &TrainSet,
        observer: &mut dyn FnMut(&EpochReport) -> ControlFlow<()>,
    ) -> Result<Stan> {
        self.config.check()?;
        let index = SessionIndex::of(train, self.config.kept())?;
        // There is no second epoch to stop before.
        let _: ControlFlow<()> = observer(&EpochReport {
            epoch: 1,
            n_epochs: 1,
            loss: 0.0,
            n_events: train.n_interactions() as u64,
        });
        Ok(Stan::new(
            train.encoder().clone(),
            self.config.clone(),
            Some(train.fingerprint()),
            index,
        ))
    }
}
