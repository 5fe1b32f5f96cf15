//! The public API, end to end.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail as tests do"
)]

mod build;
mod expectations;
mod lineage;
mod publish;
mod quality;
mod run;
mod shop;
