//! [`Desk`]: where the trials of a study meet: what each did, and the journal.

use std::sync::Mutex;

use super::journal::{Entry, Journal};
use super::outcome::{Outcome, TrialRecord};
use super::params::Params;
use super::sampler::{Seen, Standing};
use super::space::Space;
use super::study::StudyConfig;
use super::trial::{Stopped, Trial};
use crate::error::{Error, Result};

/// Where the trials of a study meet.
#[derive(Debug)]
pub(super) struct Desk<'a> {
    space: &'a Space,
    config: &'a StudyConfig,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    trials: Vec<TrialRecord>,
    journal: Option<Journal>,
    /// Why the study cannot go on: the journal takes no more.
    error: Option<Error>,
}

impl<'a> Desk<'a> {
    pub(super) fn new(
        space: &'a Space,
        config: &'a StudyConfig,
        trials: Vec<TrialRecord>,
        journal: Option<Journal>,
    ) -> Self {
        let error = None;
        Self {
            space,
            config,
            state: Mutex::new(State {
                trials,
                journal,
                error,
            }),
        }
    }

    pub(super) const fn config(&self) -> &StudyConfig {
        self.config
    }

    /// The trials that were running when the process ended.
    pub(super) fn interrupted(&self) -> Vec<u64> {
        let state = self.state.lock().unwrap();
        let running = state.trials.iter().filter(|trial| trial.outcome.is_none());
        running.map(|trial| trial.number).collect()
    }

    /// Begins an interrupted trial again, or the next one while there are fewer than `n`; none if there is
    /// nothing left to do.
    pub(super) fn start(&self, again: Option<u64>, n: u64) -> Option<(u64, Params)> {
        let mut state = self.state.lock().unwrap();
        if state.error.is_some() {
            return None;
        }
        let (number, params) = match again {
            Some(number) => {
                let trial = state
                    .trials
                    .iter_mut()
                    .find(|trial| trial.number == number)?;
                trial.reports.clear();
                (number, trial.params.clone())
            }
            None if state.trials.len() as u64 >= n => return None,
            None => {
                let number = state.trials.len() as u64;
                let seen: Vec<Seen<'_>> =
                    state.trials.iter().map(|trial| self.seen(trial)).collect();
                let seed = self.config.seed;
                let params = self.config.sampler.sample(self.space, &seen, seed, number);
                state.trials.push(TrialRecord {
                    number,
                    params: params.clone(),
                    reports: Vec::new(),
                    outcome: None,
                    seconds: 0.0,
                });
                (number, params)
            }
        };
        let is_written = state.write(&Entry::Started {
            trial: number,
            params: params.clone(),
        });
        is_written.then_some((number, params))
    }

    /// Takes a report; says whether the trial is to stop.
    pub(super) fn report(&self, trial: &Trial<'_>, step: u32, value: f64) -> Option<Stopped> {
        let mut state = self.state.lock().unwrap();
        let nth = usize::try_from(trial.number).unwrap_or(usize::MAX);
        let last = state.trials[nth].reports.last().map(|(step, _)| *step);
        if last.is_some_and(|last| step <= last) {
            tracing::warn!(
                trial = trial.number,
                step,
                ?last,
                "a report of an earlier step is passed over"
            );
            return None;
        }
        if !value.is_finite() {
            return Some(Stopped::Diverged(format!(
                "reported {value} at step {step}"
            )));
        }
        trial.run.metric("objective", value, step.into());
        tracing::debug!(trial = trial.number, step, value, "reported");
        let entry = Entry::Reported {
            trial: trial.number,
            step,
            value,
        };
        if !state.write(&entry) {
            return Some(Stopped::Abandoned);
        }
        state.trials[nth].reports.push((step, value));
        let losses: Vec<Vec<(u32, f64)>> = state
            .trials
            .iter()
            .map(|trial| self.losses(&trial.reports))
            .collect();
        let others = losses.iter().enumerate().filter(|(other, _)| *other != nth);
        let others = others.map(|(_, reports)| reports.as_slice());
        let reports = (losses[nth].as_slice(), trial.n_steps);
        let stops = self.config.pruner.stops(reports, &others);
        stops.then_some(Stopped::Pruned(step))
    }

    /// Takes how a trial ended.
    pub(super) fn end(&self, number: u64, seconds: f64, outcome: Outcome) {
        let mut state = self.state.lock().unwrap();
        let entry = Entry::Ended {
            trial: number,
            seconds,
            outcome: outcome.clone(),
        };
        if state.write(&entry)
            && let Some(trial) = state.trials.iter_mut().find(|trial| trial.number == number)
        {
            trial.outcome = Some(outcome);
            trial.seconds = seconds;
        }
        let direction = self.config.direction;
        let best = state.trials.iter().filter_map(TrialRecord::value);
        let best = best.min_by(|a, b| direction.loss(*a).total_cmp(&direction.loss(*b)));
        let n_ended = state
            .trials
            .iter()
            .filter(|trial| trial.outcome.is_some())
            .count();
        if let Some(trial) = state.trials.iter().find(|trial| trial.number == number) {
            tracing::info!(
                trial = number,
                state = trial.state(),
                value = trial.value(),
                best,
                n_ended,
                seconds,
                params = %trial.params,
                "trial ended"
            );
        }
    }

    pub(super) fn close(self) -> Result<Vec<TrialRecord>> {
        let state = self.state.into_inner().unwrap();
        match state.error {
            Some(error) => Err(error),
            None => Ok(state.trials),
        }
    }

    fn seen<'t>(&self, trial: &'t TrialRecord) -> Seen<'t> {
        let loss = |value| self.config.direction.loss(value);
        let standing = match (&trial.outcome, trial.reports.last()) {
            (Some(Outcome::Complete { value }), _) => Standing::Complete(loss(*value)),
            (Some(Outcome::Pruned { step }), Some((_, value))) => {
                Standing::Pruned(*step, loss(*value))
            }
            _ => Standing::Poor,
        };
        let params = &trial.params;
        Seen { params, standing }
    }

    fn losses(&self, reports: &[(u32, f64)]) -> Vec<(u32, f64)> {
        let direction = self.config.direction;
        let losses = reports
            .iter()
            .map(|(step, value)| (*step, direction.loss(*value)));
        losses.collect()
    }
}

impl State {
    /// Whether an entry is on disk; if not, the study ends.
    fn write(&mut self, entry: &Entry) -> bool {
        let Some(journal) = &mut self.journal else {
            return true;
        };
        if self.error.is_none()
            && let Err(error) = journal.append(entry)
        {
            self.error = Some(error);
        }
        self.error.is_none()
    }
}
