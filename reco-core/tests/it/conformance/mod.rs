//! The suites of `reco_core::testing`: each passes a right implementation, and for each clause of a
//! contract fails one that breaks it.

mod models;
mod tables;

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs a suite that must fail, and gives its message.
fn failure(suite: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(suite)).expect_err("the suite must fail");
    *panic.downcast::<String>().expect("a message")
}
