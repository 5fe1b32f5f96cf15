//! The public API of `reco-core`, from outside.

#![expect(clippy::unwrap_used, reason = "what fails a test may panic")]

mod artifact;
#[cfg(feature = "testing")]
mod clickstream;
#[cfg(feature = "testing")]
mod conformance;
mod registry;
mod stores;
