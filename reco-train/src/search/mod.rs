//! Hyperparameter search: which settings of a model are best on the validation set.
//!
//! ```text
//! Space ──Sampler──▶ Params ──Objective::evaluate──▶ a number ──▶ Trials ──▶ best(), table, page
//!                      ▲            │ report(step)
//!                      │            ▼
//!                   journal ◀──── Pruner: go on or stop
//! ```
//!
//! * A [`Space`] is data: names of fields of a configuration, and the values that each may have.
//! * A [`Sampler`] draws the values of the next trial, at random or where good trials are dense (TPE).
//! * An [`Objective`] says how good values are. [`Fitting`] fits a trainer's model on the training set and
//!   judges it on the validation set; the test set is out of its reach. [`objective_fn`] takes a closure.
//! * A [`Pruner`] stops trials that are not among the best so far (ASHA).
//! * A [`Study`] runs trials side by side within a [`Budget`] of threads and memory, and writes all that
//!   happens to a journal, from which it goes on after its process has ended, however it did.
//! * [`Trials`] are what was found: the best, a table as JSON Lines, CSV or Arrow, a page to look at.
//!
//! What is searched for each model, and from where to where, is for its users to say; those of the papers are
//! in `examples/hyperparameter_search.rs`.
//!
//! # Format of the journal
//!
//! JSON Lines, version 1. The first line is `{"study": {…}}`: format version, space, configuration, and the
//! context of the objective; a study goes on only from a journal whose first line is its own. Then
//! `{"started": {"trial": 0, "params": {…}}}`, `{"reported": {"trial": 0, "step": 1, "value": 0.1}}`,
//! `{"ended": {"trial": 0, "seconds": 2.5, "outcome": {"complete": {"value": 0.2}}}}`, with the outcomes
//! `complete`, `pruned` and `failed`. A trial that is started again begins anew; one that has been started
//! three times without an end has failed. One process writes a journal at a time.

mod budget;
mod desk;
mod domain;
mod fitting;
mod importance;
mod journal;
mod objective;
mod outcome;
mod page;
mod params;
mod pruner;
mod sampler;
mod space;
mod study;
mod trial;
mod trials;
mod tunable;
mod unit;

pub use budget::{Budget, Demand};
pub use domain::Domain;
pub use fitting::{Fitting, Judge};
pub use objective::{Objective, ObjectiveFn, objective_fn};
pub use outcome::{Outcome, TrialRecord};
pub use params::Params;
pub use pruner::{AshaConfig, Pruner};
pub use sampler::{Sampler, TpeConfig};
pub use space::{Parameter, Space, When};
pub use study::{Direction, Study, StudyConfig};
pub use trial::Trial;
pub use trials::Trials;
pub use tunable::Tunable;
