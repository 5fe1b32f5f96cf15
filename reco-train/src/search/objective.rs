//! [`Objective`]: what a trial does.

use std::fmt;

use reco_core::BoxError;
use serde_json::Value;

use super::budget::Demand;
use super::params::Params;
use super::space::Space;
use super::trial::Trial;
use crate::error::Result;

/// What a study makes better: a number for the values of a trial.
///
/// [`Fitting`](super::Fitting) is the one for trainers; [`objective_fn`] makes one of a closure.
///
/// # Contract
///
/// * The number depends on the values of the trial and on what [`context`](Self::context) tells, and on
///   nothing else: no trial sees another, and a study that goes on in another process gets the same.
/// * It is taken of data that no model was fitted on and that no model will be judged on: the validation set.
/// * A trial holds no more threads and bytes than its [`demand`](Self::demand).
pub trait Objective: fmt::Debug + Sync {
    /// What the number depends on besides the values of a trial: data, metric, fixed hyperparameters. It is
    /// in the journal, and a journal with another one is refused.
    fn context(&self) -> Value;

    /// Whether it can take the values of a space.
    ///
    /// # Errors
    ///
    /// It names the parameter that it does not know, or whose values it does not take.
    fn check(&self, space: &Space) -> Result<()>;

    /// The threads and the memory that a trial will hold.
    ///
    /// # Errors
    ///
    /// The values are none that it takes: then the trial has failed.
    fn demand(&self, params: &Params) -> Result<Demand, BoxError>;

    /// The number. It may report on the way, and should return soon once it is told to stop.
    ///
    /// # Errors
    ///
    /// Any: the trial has failed then, and the study goes on.
    fn evaluate(&self, trial: &mut Trial<'_>) -> Result<f64, BoxError>;
}

/// An objective that is a closure.
///
/// `context` says what its number depends on besides the values; each trial holds one thread, and as much
/// memory as it likes, unless [`ObjectiveFn::demanding`] says more.
///
/// # Examples
///
/// ```
/// use reco_train::search::{Budget, Parameter, Space, Study, StudyConfig, objective_fn};
///
/// let space = Space::new([Parameter::uniform("x", -5.0, 5.0)])?;
/// let bowl = objective_fn("a bowl", |trial| {
///     let x = trial.params().number("x").ok_or("no x")?;
///     Ok(-(x - 2.0).powi(2))
/// });
/// let study = Study::new(space, StudyConfig::default(), Budget::threads(1));
/// let trials = study.run(&bowl, 50)?;
/// let best = trials.best().ok_or("no trial is complete")?;
/// assert!((best.params.number("x").ok_or("no x")? - 2.0).abs() < 0.2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn objective_fn<F>(context: impl Into<Value>, evaluate: F) -> ObjectiveFn<F>
where
    F: Fn(&mut Trial<'_>) -> Result<f64, BoxError> + Sync,
{
    ObjectiveFn {
        context: context.into(),
        demand: Demand::threads(1),
        evaluate,
    }
}

/// What [`objective_fn`] makes.
#[derive(Clone)]
pub struct ObjectiveFn<F> {
    context: Value,
    demand: Demand,
    evaluate: F,
}

impl<F> ObjectiveFn<F> {
    /// The same, each trial of which holds this much.
    #[must_use]
    pub fn demanding(self, demand: Demand) -> Self {
        Self { demand, ..self }
    }
}

impl<F> fmt::Debug for ObjectiveFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectiveFn")
            .field("context", &self.context)
            .field("demand", &self.demand)
            .finish_non_exhaustive()
    }
}

impl<F> Objective for ObjectiveFn<F>
where
    F: Fn(&mut Trial<'_>) -> Result<f64, BoxError> + Sync,
{
    fn context(&self) -> Value {
        self.context.clone()
    }

    fn check(&self, _: &Space) -> Result<()> {
        Ok(())
    }

    fn demand(&self, _: &Params) -> Result<Demand, BoxError> {
        Ok(self.demand)
    }

    fn evaluate(&self, trial: &mut Trial<'_>) -> Result<f64, BoxError> {
        (self.evaluate)(trial)
    }
}
