//! [`Study`]: the search itself.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use reco_core::BoxError;
use serde::{Deserialize, Serialize};

use super::budget::{Budget, Demand, Gate};
use super::desk::Desk;
use super::journal::{Head, Journal};
use super::objective::Objective;
use super::outcome::Outcome;
use super::params::Params;
use super::pruner::Pruner;
use super::sampler::{Sampler, seed_of};
use super::space::Space;
use super::trial::{Stopped, Trial};
use super::trials::Trials;
use crate::error::Result;
use crate::track::{Run, Status, Tracker};

/// How a study searches.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StudyConfig {
    /// Seeds all draws. Default 0.
    pub seed: u64,
    /// Whether more is better. Default it is.
    pub direction: Direction,
    /// How the values of the next trial are chosen. Default TPE.
    pub sampler: Sampler,
    /// Which trials are stopped before their end. Default none.
    pub pruner: Pruner,
}

/// Whether more is better.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// More is better, as of a metric.
    #[default]
    Maximize,
    /// Less is better, as of a loss.
    Minimize,
}

impl Direction {
    /// A number of which less is better.
    pub(super) fn loss(self, value: f64) -> f64 {
        match self {
            Self::Maximize => -value,
            Self::Minimize => value,
        }
    }
}

/// A search for the values of a [`Space`] that are best by an [`Objective`].
///
/// Trials run side by side, as many as [`workers`](Self::workers) and the [`Budget`] allow. A trial that
/// returns an error or panics has failed, and the study goes on.
///
/// With one worker the same study makes the same trials, whatever the machine; with more, what a trial knows
/// of others depends on which ended first. With a [`journal`](Self::journal) a study goes on where its process
/// ended, as if it had not; trials that were running begin again with their values.
#[derive(Debug, Clone)]
pub struct Study {
    space: Space,
    config: StudyConfig,
    budget: Budget,
    workers: usize,
    journal: Option<PathBuf>,
    tracker: Option<(Arc<dyn Tracker>, String)>,
}

impl Study {
    /// A study with one worker that is kept nowhere.
    #[must_use]
    pub const fn new(space: Space, config: StudyConfig, budget: Budget) -> Self {
        Self {
            space,
            config,
            budget,
            workers: 1,
            journal: None,
            tracker: None,
        }
    }

    /// The same with so many trials side by side at most; 0 counts as 1.
    #[must_use]
    pub fn workers(self, workers: usize) -> Self {
        Self { workers, ..self }
    }

    /// The same with a journal: a file of JSON Lines, each synced to disk when it happens. If it is there, the
    /// study goes on from it.
    #[must_use]
    pub fn journal(self, path: impl Into<PathBuf>) -> Self {
        let journal = Some(path.into());
        Self { journal, ..self }
    }

    /// The same with a run in a tracker for each trial, named `name-0000` and so on.
    ///
    /// The caller flushes the tracker, and learns there what was lost.
    #[must_use]
    pub fn tracker(self, tracker: Arc<dyn Tracker>, name: impl Into<String>) -> Self {
        let tracker = Some((tracker, name.into()));
        Self { tracker, ..self }
    }

    /// What is searched.
    #[must_use]
    pub const fn space(&self) -> &Space {
        &self.space
    }

    /// How it is searched.
    #[must_use]
    pub const fn config(&self) -> &StudyConfig {
        &self.config
    }

    /// Runs trials until there are `n_trials` in all, those of the journal included.
    ///
    /// Each trial runs on a thread of its own, in a span `trial`; its end is an event of level info.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`](crate::Error::InvalidConfig) if a setting is out of range; what
    /// [`Objective::check`] says of the space; [`Error::Journal`](crate::Error::Journal) and
    /// [`Error::File`](crate::Error::File) if the journal is of another study, in use, damaged, or cannot be
    /// written. That trials failed is no error.
    pub fn run(&self, objective: &dyn Objective, n_trials: u64) -> Result<Trials> {
        self.config.sampler.check()?;
        self.config.pruner.check()?;
        objective.check(&self.space)?;
        let context = objective.context();
        let head = Head::new(&self.space, &self.config, &context);
        let (journal, known) = match &self.journal {
            Some(path) => {
                let (journal, known) = Journal::open(path, &head)?;
                (Some(journal), known)
            }
            None => (None, Vec::new()),
        };
        if !known.is_empty() {
            tracing::info!(n_trials = known.len(), "the study goes on from its journal");
        }
        let desk = Desk::new(&self.space, &self.config, known, journal);
        let gate = Gate::new(self.budget, self.workers);
        let mut again: VecDeque<u64> = desk.interrupted().into();
        let span = tracing::info_span!("study", n_trials);
        std::thread::scope(|scope| {
            loop {
                // First a worker, then the values: the sampler is to know all that is known by then.
                gate.wait_for_worker();
                let Some((number, params)) = desk.start(again.pop_front(), n_trials) else {
                    break;
                };
                let demand = match self.demand(objective, &params) {
                    Ok(demand) => demand,
                    Err(reason) => {
                        let run = self.run_of(number, &params);
                        settle(&desk, number, &run, 0.0, Outcome::Failed { reason });
                        continue;
                    }
                };
                let room = gate.enter(demand);
                let (desk, span) = (&desk, &span);
                scope.spawn(move || {
                    let _room = room;
                    let span = tracing::info_span!(parent: span, "trial", number);
                    span.in_scope(|| self.run_trial(desk, objective, number, params, demand));
                });
            }
        });
        Ok(Trials::new(
            self.space.clone(),
            self.config.direction,
            desk.close()?,
        ))
    }

    /// What a trial needs, if it can have it.
    fn demand(&self, objective: &dyn Objective, params: &Params) -> Result<Demand, String> {
        let demand = match catch_unwind(AssertUnwindSafe(|| objective.demand(params))) {
            Ok(demand) => demand.map_err(|error| with_causes(&*error))?,
            Err(panic) => return Err(said(&*panic)),
        };
        match self.budget.refusal(&demand) {
            Some(reason) => Err(reason),
            None => Ok(demand),
        }
    }

    fn run_trial(
        &self,
        desk: &Desk<'_>,
        objective: &dyn Objective,
        number: u64,
        params: Params,
        demand: Demand,
    ) {
        let since = Instant::now();
        let mut trial = Trial {
            number,
            run: self.run_of(number, &params),
            params,
            demand,
            seed: seed_of(self.config.seed, number),
            desk,
            n_steps: u32::MAX,
            stopped: None,
        };
        tracing::debug!(params = %trial.params, %demand, "trial begins");
        // What a panic leaves behind is dropped with the trial.
        let result = catch_unwind(AssertUnwindSafe(|| objective.evaluate(&mut trial)));
        let outcome = outcome(trial.stopped.as_ref(), result);
        if let Some(outcome) = outcome {
            let seconds = since.elapsed().as_secs_f64();
            settle(desk, number, &trial.run, seconds, outcome);
        }
    }

    fn run_of(&self, number: u64, params: &Params) -> Run {
        let Some((tracker, name)) = &self.tracker else {
            return Run::untracked();
        };
        let run = Run::start(tracker, format!("{name}-{number:04}"));
        run.tag("study", name);
        for (name, value) in params.iter() {
            // A text as it is, without the quotes of JSON.
            match value.as_str() {
                Some(text) => run.param(name, text),
                None => run.param(name, value),
            }
        }
        run
    }
}

/// What a trial came to; nothing if the study was given up.
fn outcome(
    stopped: Option<&Stopped>,
    result: std::thread::Result<Result<f64, BoxError>>,
) -> Option<Outcome> {
    let failed = |reason| Outcome::Failed { reason };
    Some(match (stopped, result) {
        (_, Err(panic)) => failed(said(&*panic)),
        (Some(Stopped::Abandoned), _) => return None,
        (Some(Stopped::Diverged(reason)), _) => failed(reason.clone()),
        (Some(Stopped::Pruned(step)), _) => Outcome::Pruned { step: *step },
        (None, Ok(Err(error))) => failed(with_causes(&*error)),
        (None, Ok(Ok(value))) if !value.is_finite() => failed(format!("its value is {value}")),
        (None, Ok(Ok(value))) => Outcome::Complete { value },
    })
}

/// Writes down how a trial ended, to the journal first.
fn settle(desk: &Desk<'_>, number: u64, run: &Run, seconds: f64, outcome: Outcome) {
    run.tag("state", outcome.name());
    let status = match &outcome {
        Outcome::Complete { value } => {
            run.metric("value", *value, 0);
            Status::Finished
        }
        Outcome::Pruned { .. } => Status::Killed,
        Outcome::Failed { reason } => {
            run.tag("reason", reason);
            Status::Failed
        }
    };
    desk.end(number, seconds, outcome);
    run.end(status);
}

/// An error and its causes in a line.
fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// What a panic said.
fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    format!(
        "panicked: {}",
        text.unwrap_or_else(|| "without a text".to_owned())
    )
}
