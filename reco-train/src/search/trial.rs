//! [`Trial`]: a trial while it runs.

use std::ops::ControlFlow;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::budget::Demand;
use super::desk::Desk;
use super::params::Params;
use crate::error::Result;
use crate::track::Run;

/// A trial while it runs: its values, and the way to report.
#[derive(Debug)]
pub struct Trial<'a> {
    pub(super) number: u64,
    pub(super) params: Params,
    pub(super) demand: Demand,
    pub(super) seed: u64,
    pub(super) desk: &'a Desk<'a>,
    pub(super) run: Run,
    pub(super) n_steps: u32,
    pub(super) stopped: Option<Stopped>,
}

/// Why a trial was told to stop.
#[derive(Debug, Clone)]
pub(super) enum Stopped {
    /// Others were better at this step.
    Pruned(u32),
    /// It reported something that is no number.
    Diverged(String),
    /// The study cannot go on.
    Abandoned,
}

impl Trial<'_> {
    /// Its number in the study, from 0.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// Its values.
    #[must_use]
    pub const fn params(&self) -> &Params {
        &self.params
    }

    /// What it said that it needs.
    #[must_use]
    pub const fn demand(&self) -> Demand {
        self.demand
    }

    /// A seed of its own, which depends on the seed of the study and its number.
    #[must_use]
    pub const fn seed(&self) -> u64 {
        self.seed
    }

    /// Its run in the study's tracker; one that records nothing, if the study has none.
    #[must_use]
    pub const fn run(&self) -> &Run {
        &self.run
    }

    /// A configuration with its values put over those of `base`.
    ///
    /// # Errors
    ///
    /// As [`Params::apply_to`].
    pub fn config<C: Serialize + DeserializeOwned>(&self, of: &str, base: &C) -> Result<C> {
        self.params.apply_to(of, base)
    }

    /// Says how good it is after a step, and asks whether to go on. Returns when the report is on disk.
    ///
    /// Steps rise; a report of a step that is not above the last one is passed over.
    /// After a break the objective should return; what it returns then is not looked at.
    #[must_use = "a trial that is told to stop should stop"]
    pub fn report(&mut self, step: u32, value: f64) -> ControlFlow<()> {
        if self.stopped.is_none() {
            self.stopped = self.desk.report(self, step, value);
        }
        match self.stopped {
            Some(_) => ControlFlow::Break(()),
            None => ControlFlow::Continue(()),
        }
    }

    /// Says how many steps it has, so that it is not told to stop when it is done anyway.
    pub const fn ends_at(&mut self, n_steps: u32) {
        self.n_steps = n_steps;
    }

    /// The steps at which it may be told to stop: reports at others change nothing, which matters where a
    /// report is dear. They do not end before [`ends_at`](Self::ends_at) says where.
    pub fn rungs(&self) -> impl Iterator<Item = u32> + use<> {
        self.desk.config().pruner.rungs(self.n_steps)
    }

    /// A loss as a number of the study's direction: with it, less is worse where the study wants more.
    pub(super) fn as_value(&self, loss: f64) -> f64 {
        self.desk.config().direction.loss(loss)
    }

    /// Whether it was told to stop.
    #[must_use]
    pub const fn is_stopped(&self) -> bool {
        self.stopped.is_some()
    }
}
