//! [`Fitting`]: an objective that fits a model and judges it on the validation set.

use std::fmt;
use std::ops::ControlFlow;

use reco_core::{BoxError, Split, TrainSet, ValidationSet};
use serde_json::{Value, json};

use super::budget::Demand;
use super::objective::Objective;
use super::params::Params;
use super::space::Space;
use super::trial::Trial;
use super::tunable::Tunable;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::evaluate::{Metric, Protocol, Scorer};
use crate::track::tracked;
use crate::trainer::Trainer;

/// Fits a model on the training set with the values of a trial, and judges it on the validation set.
///
/// There is no way to hand it a test set: the model is chosen on validation, and judged once, at the end, on
/// what nobody has looked at.
///
/// A study that prunes asks [`Judge`] how a trial is doing on the way.
///
/// # Examples
///
/// ```
/// use reco_core::{SessionDataset, SessionEncoding};
/// use reco_train::evaluate::Mrr;
/// use reco_train::search::{Budget, Fitting, Parameter, Space, Study, StudyConfig};
/// use reco_train::{Engine, Prod2VecConfig, Prod2VecTrainer};
///
/// # let mut builder = SessionDataset::builder(SessionEncoding::default());
/// # for session in 0..90 {
/// #     for item in [["hat", "scarf", "gloves"], ["racket", "ball", "net"]][session % 2] {
/// #         let time = format!("2024-05-0{}T10:00Z", 1 + session / 30).parse()?;
/// #         builder.push(&session.to_string(), item, time)?;
/// #     }
/// # }
/// # let data = builder.build()?;
/// // The last day is for the end, the day before for the search.
/// let split = data.split_last_days(1)?.hold_out_days(1)?;
/// let base = Prod2VecConfig { vector_size: 8, sample: 0.0, min_count: 1, ..Default::default() };
/// let fitting = Fitting::new(base.clone(), &split, Mrr::at(20), |config, engine| {
///     Prod2VecTrainer::new(config, engine)
/// })?;
/// let space = Space::new([
///     Parameter::integer("epochs", 5, 20),
///     Parameter::log_uniform("alpha", 0.01, 0.2),
/// ])?;
/// let trials = Study::new(space, StudyConfig::default(), Budget::threads(1)).run(&fitting, 4)?;
/// let best = trials.best().ok_or("no trial is complete")?;
/// let config = best.params.apply_to("prod2vec", &base)?;
/// assert!((5..=20).contains(&config.epochs));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Fitting<'a, C, F> {
    base: C,
    train: &'a TrainSet,
    validation: &'a ValidationSet,
    metric: Metric,
    trainer: F,
    threads: usize,
    judge: Judge,
}

/// How a trial that is being fitted is compared with others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Judge {
    /// By the metric on the validation set, which is what counts in the end. A trainer shows its model only
    /// when it is done, so the model is fitted anew up to each rung: with rungs at 1/9 and 1/3 of the epochs,
    /// a trial that comes to its end costs 1.44 fits, one that is stopped at the first rung a ninth of one.
    #[default]
    Validation,
    /// By the training loss of the epoch, which costs nothing. It is another number than the metric, and
    /// comparable only between trials that minimise the same thing on as many negatives: leave `loss`,
    /// `n_sample`, `batch_size`, `negative`, `logq` and their like out of the space. Less is taken for better,
    /// whatever the direction of the study: where more is better, a trial reports minus the loss.
    Loss,
}

impl<'a, C, F, T> Fitting<'a, C, F>
where
    C: Tunable,
    F: Fn(C, Engine) -> T + Sync,
    T: Trainer<Model: Scorer>,
{
    /// An objective that fits what `trainer` makes of a configuration, on one thread.
    ///
    /// `base` has the values of what is not in the space. The seed is one of them: all trials draw alike.
    /// The engine is the CPU kernels; a closure that takes another fits there.
    ///
    /// # Errors
    ///
    /// [`EmptyDataset`](reco_core::Error::EmptyDataset) if the split has no validation set: cut one from the
    /// training set with [`Split::hold_out_days`] first.
    pub fn new(base: C, split: &'a Split, metric: Metric, trainer: F) -> Result<Self> {
        let part = "validation";
        let validation = split
            .validation
            .as_ref()
            .ok_or(reco_core::Error::EmptyDataset { part })?;
        Ok(Self {
            base,
            train: &split.train,
            validation,
            metric,
            trainer,
            threads: 1,
            judge: Judge::default(),
        })
    }

    /// The same, each trial of which is fitted and judged on so many threads; 0 counts as 1.
    #[must_use]
    pub fn threads(self, threads: usize) -> Self {
        let threads = threads.max(1);
        Self { threads, ..self }
    }

    /// The same, whose trials are compared on the way by something else.
    #[must_use]
    pub fn judge(self, judge: Judge) -> Self {
        Self { judge, ..self }
    }

    fn config(&self, params: &Params) -> Result<C> {
        let config = params.apply_to(C::KIND, &self.base)?;
        config.check()?;
        Ok(config)
    }

    /// The value of the metric after so many epochs, or what the observer says before; none if it was told to
    /// stop.
    fn fit(&self, config: &C, trial: &mut Trial<'_>, n_epochs: Option<u32>) -> Result<Option<f64>> {
        let trainer = (self.trainer)(config.clone(), Engine::cpu(self.threads));
        // Losses are tracked once, in the last fit.
        let run = match n_epochs {
            Some(_) => crate::track::Run::untracked(),
            None => trial.run().clone(),
        };
        let model = tracked(&trainer, &run).fit(self.train, &mut |report| {
            if n_epochs.is_none() && self.judge == Judge::Loss {
                // The study makes losses of values: one sign for either direction.
                return trial.report(report.epoch, trial.as_value(report.loss));
            }
            match n_epochs {
                Some(n_epochs) if report.epoch >= n_epochs => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        })?;
        if trial.is_stopped() {
            return Ok(None);
        }
        let metrics = [self.metric];
        let ranks = Protocol::default().rank(&model, self.validation, &metrics)?;
        Ok(ranks.evaluation().get(self.metric))
    }
}

impl<C, F, T> Objective for Fitting<'_, C, F>
where
    C: Tunable,
    F: Fn(C, Engine) -> T + Sync,
    T: Trainer<Model: Scorer>,
{
    fn context(&self) -> Value {
        json!({
            "kind": C::KIND,
            "config": self.base,
            "metric": self.metric,
            "judge": format!("{:?}", self.judge),
            "train": self.train.fingerprint(),
            "validation": self.validation.fingerprint(),
        })
    }

    /// The ends of each domain, one by one, must be values that the configuration takes.
    fn check(&self, space: &Space) -> Result<()> {
        self.base.check()?;
        for (name, extreme) in space.extremes() {
            self.config(&extreme).map_err(|error| match error {
                Error::Core(reco_core::Error::UnknownKey { .. }) => error,
                error => Error::InvalidSpace {
                    parameter: name.to_owned(),
                    reason: format!("may be {extreme}, which is refused: {error}"),
                },
            })?;
        }
        Ok(())
    }

    fn demand(&self, params: &Params) -> Result<Demand, BoxError> {
        let config = self.config(params)?;
        Ok(Demand {
            threads: self.threads,
            bytes: config.bytes(self.train),
        })
    }

    fn evaluate(&self, trial: &mut Trial<'_>) -> Result<f64, BoxError> {
        let config = self.config(trial.params())?;
        trial.ends_at(config.n_steps());
        let threads = self.threads;
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let pool = pool.map_err(|source| Error::Threads { threads, source })?;
        pool.install(|| {
            let stopped = || -> Result<f64, BoxError> { Err("the trial was told to stop".into()) };
            let nothing = || BoxError::from("the metric has no value");
            if self.judge == Judge::Validation {
                for rung in trial.rungs() {
                    let value = self.fit(&config, trial, Some(rung))?.ok_or_else(nothing)?;
                    if trial.report(rung, value).is_break() {
                        return stopped();
                    }
                }
            }
            match self.fit(&config, trial, None)? {
                Some(value) => Ok(value),
                None if trial.is_stopped() => stopped(),
                None => Err(nothing()),
            }
        })
    }
}

impl<C: fmt::Debug, F> fmt::Debug for Fitting<'_, C, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fitting")
            .field("base", &self.base)
            .field("metric", &self.metric)
            .field("threads", &self.threads)
            .field("judge", &self.judge)
            .finish_non_exhaustive()
    }
}
