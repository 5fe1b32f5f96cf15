//! Session recommenders: they learn from a [`TrainSet`](reco_core::TrainSet), answer in plain Rust, and
//! are judged on a [`TestSet`](reco_core::TestSet).
//!
//! * [`trainer`]: what fits a model, and what it reports on the way.
//! * [`engine`]: where a model is fitted: the CPU kernels, or any Burn device.
//! * [`popularity`]: the most frequent items; the floor that every model must beat.
//! * [`prod2vec`]: item vectors by skip-gram or CBOW with negative sampling.
//! * [`gru4rec`]: a recurrent network over the session, trained in session-parallel mini-batches.
//! * [`vmis_knn`]: what came along in the past sessions that are nearest; a bar for the models above.
//! * [`stan`]: the same with the age of a session and the places of items in it.
//! * [`rules`]: what follows an item, or comes along with it, by count.
//! * [`blend`]: rankings of several models fused into one.
//! * [`weighting`]: how much less an item counts the farther it is.
//! * [`sampling`]: seeded draws of negative items by popularity.
//! * [`mod@evaluate`]: ranks each next item of the test sessions against the whole catalogue; slices, intervals,
//!   comparisons, behavioural tests, reports.
//! * [`search`]: which hyperparameters are best on the validation set.
//! * [`track`]: what was tried and what came of it, in a folder or on an `MLflow` server.
//!
//! Trained models answer without Burn. The feature `burn` (default) adds the engine for Burn devices,
//! with the CPU device `flex`; `wgpu` adds GPUs.

pub mod blend;
pub mod engine;
pub mod error;
pub mod evaluate;
pub mod gru4rec;
mod neighbours;
pub mod popularity;
pub mod prod2vec;
#[cfg(feature = "burn")]
mod rows;
mod rule;
pub mod rules;
pub mod sampling;
pub mod search;
pub mod stan;
pub mod track;
pub mod trainer;
pub mod vmis_knn;
pub mod weighting;

#[cfg(feature = "burn")]
pub use burn;

pub use blend::{Blend, BlendConfig};
pub use engine::Engine;
pub use error::{Error, Result};
pub use evaluate::{Evaluation, Metric, Scorer, evaluate};
pub use gru4rec::{Gru4Rec, Gru4RecConfig, Gru4RecLoader, Gru4RecTrainer};
pub use popularity::{Popularity, PopularityLoader, PopularityTrainer};
pub use prod2vec::{Prod2Vec, Prod2VecConfig, Prod2VecLoader, Prod2VecTrainer};
pub use rules::{Rules, RulesConfig, RulesLoader, RulesTrainer};
pub use stan::{Stan, StanConfig, StanLoader, StanTrainer};
pub use trainer::{EpochReport, Trainer};
pub use vmis_knn::{VmisKnn, VmisKnnConfig, VmisKnnLoader, VmisKnnTrainer};
pub use weighting::Weighting;
