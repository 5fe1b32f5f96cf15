//! The crate through its public API.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests may panic, as tests may"
)]

mod bounds;
mod conformance;
mod delta;
mod faults;
#[cfg(feature = "http")]
mod fuzz;
#[cfg(feature = "http")]
mod http;
mod identity;
mod import;
#[cfg(feature = "lambda")]
mod lambda;
mod presets;
mod shop;
mod sinks;
