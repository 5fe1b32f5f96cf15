//! The public API of `reco-serve`, from outside.

#![expect(clippy::unwrap_used, reason = "what fails a test may panic")]

mod filters;
mod opening;
mod polling;
mod support;
mod swapping;
