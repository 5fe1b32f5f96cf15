//! Routes over HTTP, as axum routers that a host merges into its own.

#[cfg(feature = "prometheus")]
mod prometheus;

#[cfg(feature = "prometheus")]
pub use prometheus::metrics;
