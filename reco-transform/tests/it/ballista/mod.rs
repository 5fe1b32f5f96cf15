//! DAGs on a Ballista cluster: a scheduler and two executors, as processes on the loopback.
//!
//! The processes are tests of this binary, which it runs as its children.

mod failures;
mod functions;
mod process;
mod refusals;
mod same_tables;
