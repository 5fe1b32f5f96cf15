//! The crate through its public API.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests may panic, as tests may"
)]

mod bounds;
mod conformance;
mod delta;
mod every_fault;
mod faults;
mod faulty;
mod folder;
mod forget;
#[cfg(feature = "http")]
mod fuzz;
#[cfg(feature = "http")]
mod http;
mod identity;
mod import;
#[cfg(feature = "http")]
mod kill;
#[cfg(feature = "lambda")]
mod lambda;
mod maintenance;
mod metrics;
#[cfg(all(feature = "http", target_os = "linux"))]
mod overload;
#[cfg(feature = "http")]
mod posting;
mod presets;
mod privacy;
#[cfg(feature = "prometheus")]
mod prometheus;
mod replay;
#[cfg(feature = "s3")]
mod s3;
mod shop;
mod sinks;
mod spool;
