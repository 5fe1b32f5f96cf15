//! Behavioural tests: what a model must do besides finding the next item.
//!
//! A model with a good recall may still answer nothing but bestsellers, leave a group of shoppers behind, or
//! change its mind when a session is looked at twice. Each [`BehaviorTest`] measures one such thing on some
//! [`Cases`] of the test set; a [`Suite`] says what each value must be, in itself or beside the champion's;
//! and the [`BehaviorReport`] gates the model's promotion: its
//! [`checks`](BehaviorReport::checks) go into the artifact, and a registry promotes no version with
//! a failed one. The idea and many of the tests are those of `RecList` (Chia et al. 2022), which reports; the
//! gate is ours.
//!
//! | test | what it measures | from |
//! | --- | --- | --- |
//! | [`Accuracy`] | any metric about the target, on the cases | |
//! | [`HitsByPopularity`] | the hit rate of the worst bin of the target's popularity | `RecList` |
//! | [`CohortGap`] | how unequally cohorts are missed | `RecList`, `EvalRS` |
//! | [`BeingLessWrong`] | how far a wrong answer is from the target | `RecList` |
//! | [`DistanceToQuery`] | whether answers are nearer to the query than what came next | `RecList` |
//! | [`PriceHomogeneity`] | how far prices are from the query's | `RecList` |
//! | [`Perturbation`] | how much of the answer survives a change of the session | `RecList` |
//! | [`CatalogueCoverage`] | how much of the catalogue is ever answered | `RecList` |
//! | [`Freshness`] | how old the answers are | |
//! | [`Diversity`] | how unlike the answers of a list are | |
//! | [`Serendipity`] | the hits that a plainer model does not have | |
//! | [`Asymmetry`] | that the cable follows the television, not the reverse | `RecList` |
//! | [`Consistency`] | that a session gets the same answer again, alone and in a batch | |
//! | [`Robustness`] | that odd sessions get an answer at all | |
//! | [`behavior_fn`] | anything else | |
//!
//! [`Named`] lets a suite hold one of them twice. Tests ask any [`Model`](reco_core::Model), not only a [`Scorer`](super::Scorer).
//!
//! # Examples
//!
//! ```
//! # use std::ops::ControlFlow;
//! # use reco_core::{SessionDataset, SessionEncoding};
//! # use reco_train::{PopularityTrainer, Trainer};
//! use reco_train::evaluate::behavior::{
//!     CaseConfig, Cases, CatalogueCoverage, Expectation, Measured, Perturb, Perturbation, Suite, behavior_fn,
//! };
//!
//! # let mut builder = SessionDataset::builder(SessionEncoding::default());
//! # for (session, item, day) in [("a", "hat", 1), ("a", "scarf", 1), ("b", "hat", 1), ("c", "scarf", 2), ("c", "hat", 2)] {
//! #     builder.push(session, item, format!("2024-05-0{day}T10:00Z").parse()?)?;
//! # }
//! # let split = builder.build()?.split_last_days(1)?;
//! # let model = PopularityTrainer.fit(&split.train, &mut |_| ControlFlow::Continue(()))?;
//! let suite = Suite::default()
//!     .require(Perturbation::new(Perturb::RepeatLast), Expectation::AtLeast(0.8))
//!     .warn(CatalogueCoverage, Expectation::AtLeast(0.1))
//!     .report(behavior_fn("long_names", "the share of answers with a long name", |subject| {
//!         let names: Vec<usize> = subject.answers().flat_map(|(_, answer)| answer.items().map(|i| i.as_str().len())).collect();
//!         Ok(Measured::share(names.iter().filter(|&&len| len > 30).count(), names.len()))
//!     }));
//!
//! let cases = Cases::new(&split.train, &split.test, CaseConfig { k: 2, ..Default::default() })?;
//! let report = suite.run(&model, &cases, None)?;
//! assert!(report.passed());
//! let artifact = model.to_artifact()?.with_scores(report.scores()).with_checks(report.checks("next-item"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod accuracy;
mod cases;
mod catalogue;
mod cohort;
mod custom;
mod distance;
mod expectation;
mod perturbation;
mod report;
mod robustness;
mod space;
mod suite;

use std::fmt::Debug;

use serde::{Deserialize, Serialize};

pub use accuracy::{Accuracy, HitsByPopularity, Serendipity};
pub use cases::{Case, CaseConfig, Cases, Subject};
pub use catalogue::{CatalogueCoverage, Freshness};
pub use cohort::CohortGap;
pub use custom::{BehaviorFn, Named, behavior_fn};
pub use distance::{BeingLessWrong, DistanceToQuery, Diversity, PriceHomogeneity};
pub use expectation::{Expectation, Tolerance};
pub use perturbation::{Asymmetry, Neighbour, Perturb, Perturbation};
pub use report::{BehaviorReport, BehaviorResult};
pub use robustness::{Consistency, Robustness};
pub use space::{CosineSpace, Distance, TreeSpace};
pub use suite::Suite;

use crate::error::Result;

/// Measures one thing about how a model behaves.
///
/// # Contract
///
/// * The same subject gives the same value.
/// * Without a case to look at the value is none, and it is no error.
///
/// [`behavior_fn`] makes one of a closure.
pub trait BehaviorTest: Debug + Send + Sync + 'static {
    /// What it is called in reports, among the scores of an artifact, and by whoever compares two models. Tests
    /// of different settings have different names.
    fn name(&self) -> String;

    /// What its value means, in a sentence.
    fn description(&self) -> String;

    /// Measures it.
    ///
    /// # Errors
    ///
    /// The model cannot answer, or the test cannot be made.
    fn measure(&self, subject: &Subject<'_>) -> Result<Measured>;
}

/// What a [`BehaviorTest`] has found.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Measured {
    /// The value; none if there was nothing to look at.
    pub value: Option<f64>,
    /// How many cases it is about.
    pub n_cases: u64,
    /// What it is made of: bins, cohorts, both of two means.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Part>,
    /// Some cases to look at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub samples: Vec<String>,
}

/// A part of a measured value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// Which.
    pub name: String,
    /// Its value.
    pub value: f64,
    /// How many cases it is about.
    pub n_cases: u64,
}

impl Measured {
    /// A value about so many cases; none about none.
    #[must_use]
    pub fn new(value: f64, n_cases: usize) -> Self {
        Self {
            value: (n_cases > 0).then_some(value),
            n_cases: n_cases as u64,
            ..Self::default()
        }
    }

    /// The share of so many cases.
    #[must_use]
    pub fn share(n: usize, of: usize) -> Self {
        Self::new(ratio(n, of), of)
    }

    /// The mean of values; none of none.
    #[must_use]
    pub fn mean(values: &[f64]) -> Self {
        Self::new(mean(values), values.len())
    }

    /// The same with what it is made of.
    #[must_use]
    pub fn with_parts(self, parts: Vec<Part>) -> Self {
        Self { parts, ..self }
    }

    /// The same with some cases to look at.
    #[must_use]
    pub fn with_samples(self, samples: Vec<String>) -> Self {
        Self { samples, ..self }
    }
}

impl Part {
    fn of(name: impl Into<String>, values: &[f64]) -> Self {
        Self {
            name: name.into(),
            value: mean(values),
            n_cases: values.len() as u64,
        }
    }
}

/// 0 of nothing.
fn mean(values: &[f64]) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a count of cases")]
    let n = values.len().max(1) as f64;
    values.iter().sum::<f64>() / n
}

/// 0 of nothing.
#[expect(clippy::cast_precision_loss, reason = "counts of cases")]
fn ratio(n: usize, of: usize) -> f64 {
    n as f64 / of.max(1) as f64
}
