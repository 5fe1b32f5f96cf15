//! [`Shared`]: an error that several callers get.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// An error that several callers get.
#[derive(Debug)]
pub(super) struct Shared<E>(pub(super) Arc<E>);

impl<E: Error> fmt::Display for Shared<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<E: Error> Error for Shared<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}
