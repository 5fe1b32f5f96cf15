//! Rules: what follows an item within a few steps, or comes along with it, by count.
//!
//! Sequential rules are session-rec's `SequentialRules` (Kamehkhosh, Jannach, Ludewig: "A comparison of frequent
//! pattern techniques and a deep learning method for session-based recommendation", `TempRec` 2017); with
//! [`both_ways`](RulesConfig::both_ways) they are its association rules. A session is answered by its last
//! known item: what came after it, each time counted less the more steps lay between.
//!
//! # When to prefer it
//!
//! As a floor above popularity, and where an answer must cost next to nothing: it is one row of a table, at
//! most [`pruning`](RulesConfig::pruning) long. What the session held before its last item is lost, so
//! [`vmis_knn`](crate::vmis_knn) is better where sessions are longer than a few items. Sequential rules keep what
//! many models lose, that one buys the case after the phone and not before.
//!
//! # Cost
//!
//! A fit goes through [`steps`](RulesConfig::steps) pairs an interaction. The model takes 8 bytes a rule; a thread
//! that asks holds 9 bytes an item of the catalogue.

mod mine;
mod model;

use std::ops::ControlFlow;

use reco_core::TrainSet;
use serde::{Deserialize, Serialize};

pub use self::model::{Rules, RulesLoader};
use crate::error::{Error, Result};
use crate::rule::{self, holds};
use crate::trainer::{EpochReport, Trainer};
use crate::weighting::Weighting;

/// The kind of the model, its artifacts and its loader.
const KIND: &str = "rules";

/// The hyperparameters, under session-rec's names.
///
/// # Examples
///
/// ```
/// use reco_train::{RulesConfig, Weighting};
///
/// let config = RulesConfig { steps: 15, weighting: Weighting::Quadratic, ..Default::default() };
/// let same = reco_core::config_from_json("rules", r#"{"steps": 15, "weighting": "quadratic"}"#)?;
/// assert_eq!(config, same);
/// # Ok::<(), reco_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RulesConfig {
    /// The most steps between two items of a rule; 0 sets no limit. Default 10, session-rec's.
    pub steps: usize,
    /// What a pair of items counts by the steps between them. Default `div`, session-rec's.
    pub weighting: Weighting,
    /// How many rules an item keeps, the heaviest, ties by item id; below 1 the share of them that it loses,
    /// rounded down; 0 prunes nothing. Default 20, session-rec's.
    pub pruning: f64,
    /// Whether a pair counts for both of its items, so that the order is lost: association rules. Default no.
    pub both_ways: bool,
}

impl Default for RulesConfig {
    fn default() -> Self {
        Self {
            steps: 10,
            weighting: Weighting::Div,
            pruning: 20.0,
            both_ways: false,
        }
    }
}

impl RulesConfig {
    /// Association rules, as session-rec's `AssociationRules`: pairs of a whole session, counted alike and both
    /// ways.
    #[must_use]
    pub const fn association() -> Self {
        Self {
            steps: 0,
            weighting: Weighting::Same,
            pruning: 20.0,
            both_ways: true,
        }
    }

    /// Whether each value is one that the algorithm allows.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] names the first that is not.
    pub fn check(&self) -> Result<()> {
        let pruning = self.pruning;
        let allowed = (0.0..1.0).contains(&pruning)
            || ((1.0..=1e9).contains(&pruning) && pruning.fract() <= 0.0);
        let range = "a share below 1, or a whole number up to 10⁹";
        rule::check(KIND, [holds("pruning", pruning, allowed, range)])
    }
}

/// Fits [`Rules`], on the threads of the current rayon pool.
///
/// It is exact: the same data give the same model on any number of threads. There is one epoch, of the
/// interactions of the training set, and no loss: 0 is reported.
#[derive(Debug, Clone, Default)]
pub struct RulesTrainer {
    config: RulesConfig,
}

impl RulesTrainer {
    /// Fits with these hyperparameters.
    #[must_use]
    pub const fn new(config: RulesConfig) -> Self {
        Self { config }
    }
}

impl Trainer for RulesTrainer {
    type Model = Rules;

    fn fit(
        &self,
        train: &TrainSet,
        observer: &mut dyn FnMut(&EpochReport) -> ControlFlow<()>,
    ) -> Result<Rules> {
        self.config.check()?;
        let table = mine::mine(train, &self.config);
        if table.is_empty() {
            return Err(Error::NothingToLearn {
                model: KIND,
                reason: "no session has two items".to_owned(),
            });
        }
        // There is no second epoch to stop before.
        let _: ControlFlow<()> = observer(&EpochReport {
            epoch: 1,
            n_epochs: 1,
            loss: 0.0,
            n_events: train.n_interactions() as u64,
        });
        Ok(Rules::new(
            train.encoder().clone(),
            self.config.clone(),
            Some(train.fingerprint()),
            table,
        ))
    }
}
