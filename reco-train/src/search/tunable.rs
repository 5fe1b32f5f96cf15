//! [`Tunable`]: a configuration whose fields can be searched.

use std::fmt;

use reco_core::TrainSet;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::Result;
use crate::gru4rec::Gru4RecConfig;
use crate::prod2vec::Prod2VecConfig;
use crate::rules::RulesConfig;
use crate::stan::StanConfig;
use crate::vmis_knn::VmisKnnConfig;

/// A configuration whose fields can be searched: those of this crate's trainers, or a host's own.
pub trait Tunable: Clone + fmt::Debug + Serialize + DeserializeOwned + Send + Sync {
    /// What is configured, in errors.
    const KIND: &'static str;

    /// Whether each value is one that the algorithm allows.
    ///
    /// # Errors
    ///
    /// It names the first that is not.
    fn check(&self) -> Result<()>;

    /// How many epochs a fit has.
    fn n_steps(&self) -> u32;

    /// About how many bytes a fit holds besides the training set, which all trials share: the tables that it
    /// learns, what its optimiser remembers of them, its copy of the sessions, the buffers of a step.
    fn bytes(&self, train: &TrainSet) -> u64;
}

const F32: u64 = 4;

impl Tunable for Prod2VecConfig {
    const KIND: &'static str = "prod2vec";

    fn check(&self) -> Result<()> {
        self.check()
    }

    fn n_steps(&self) -> u32 {
        self.epochs
    }

    fn bytes(&self, train: &TrainSet) -> u64 {
        // Inputs, outputs, and the rows and unit vectors that the model is made of.
        let tables = 4 * product(&[train.vocabulary().len(), self.vector_size]) * F32;
        tables + train.n_interactions() as u64 * F32
    }
}

impl Tunable for Gru4RecConfig {
    const KIND: &'static str = "gru4rec";

    fn check(&self) -> Result<()> {
        self.check()
    }

    fn n_steps(&self) -> u32 {
        self.n_epochs
    }

    fn bytes(&self, train: &TrainSet) -> u64 {
        // Values, squares of their gradients and, with momentum, velocities; and the model's copy.
        let copies = if self.momentum > 0.0 { 4 } else { 3 };
        let learnt = product(&[train.vocabulary().len(), self.layer + 1])
            + product(&[6, self.layer, self.layer + 1]);
        // Scores and their gradients, and the rows of the candidates and theirs.
        let n_candidates = self.batch_size + self.n_sample;
        let step = 2 * product(&[self.batch_size, n_candidates])
            + 2 * product(&[n_candidates, self.layer]);
        (copies * learnt + step) * F32 + train.n_interactions() as u64 * F32
    }
}

/// An index names each interaction twice: by session and by item.
fn index_bytes(train: &TrainSet) -> u64 {
    2 * F32 * train.n_interactions() as u64 + 16 * train.n_sessions() as u64
}

impl Tunable for VmisKnnConfig {
    const KIND: &'static str = "vmis-knn";

    fn check(&self) -> Result<()> {
        self.check()
    }

    fn n_steps(&self) -> u32 {
        1
    }

    fn bytes(&self, train: &TrainSet) -> u64 {
        index_bytes(train)
    }
}

impl Tunable for StanConfig {
    const KIND: &'static str = "stan";

    fn check(&self) -> Result<()> {
        self.check()
    }

    fn n_steps(&self) -> u32 {
        1
    }

    fn bytes(&self, train: &TrainSet) -> u64 {
        index_bytes(train)
    }
}

impl Tunable for RulesConfig {
    const KIND: &'static str = "rules";

    fn check(&self) -> Result<()> {
        self.check()
    }

    fn n_steps(&self) -> u32 {
        1
    }

    fn bytes(&self, train: &TrainSet) -> u64 {
        // A pair of neighbours of a session is a rule, at most: an item and a weight.
        2 * F32 * train.n_interactions() as u64
    }
}

fn product(factors: &[usize]) -> u64 {
    factors
        .iter()
        .fold(1, |product, factor| product.saturating_mul(*factor as u64))
}
