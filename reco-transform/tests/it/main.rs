//! The public API, end to end.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail as tests do"
)]

#[cfg(feature = "ballista")]
mod ballista;
mod build;
mod catalog;
mod change;
mod columns;
mod concurrency;
mod dashboard;
mod doomed;
mod drift;
mod expectations;
mod great_expectations;
mod incremental;
mod kill;
mod lineage;
mod page;
mod part;
#[cfg(feature = "pgwire")]
mod pgwire;
mod profile;
mod publish;
mod quality;
mod run;
mod select;
mod shop;
mod steps;
mod suites;
mod unit_test;
