//! The crate through its public API.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests may panic, as tests may"
)]

mod bounds;
mod conformance;
mod delta;
mod faults;
mod folder;
mod identity;
mod import;
mod metrics;
mod presets;
mod privacy;
#[cfg(feature = "prometheus")]
mod prometheus;
mod replay;
mod shop;
mod sinks;
