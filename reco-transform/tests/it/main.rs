//! The public API, end to end.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail as tests do"
)]

mod build;
mod columns;
mod expectations;
mod lineage;
mod page;
mod part;
mod publish;
mod quality;
mod run;
mod select;
mod shop;
mod steps;
mod unit_test;
