//! The crate through its public API.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests may panic, as tests may"
)]

mod bounds;
mod conformance;
mod delta;
mod faults;
mod identity;
mod import;
mod kill;
mod presets;
mod shop;
mod sinks;
mod spool;
