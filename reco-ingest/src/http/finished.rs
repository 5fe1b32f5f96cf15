//! [`Finished`]: a future that goes on when nobody waits for it any more.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::runtime::Handle;

/// A future that goes on when nobody waits for it any more, and that a panic does not leave.
///
/// It is polled where it is awaited, which saves a task for each request. Only if it is dropped halfway
/// does the rest of it become a task.
pub(super) struct Finished<T: Send + 'static> {
    rest: Option<BoxFuture<'static, Result<T, Box<dyn Any + Send>>>>,
}

impl<T: Send + 'static> Finished<T> {
    pub(super) fn new(future: impl Future<Output = T> + Send + 'static) -> Self {
        // Nothing of what the future holds is seen after a panic.
        let caught = AssertUnwindSafe(future).catch_unwind();
        Self {
            rest: Some(caught.boxed()),
        }
    }
}

impl<T: Send + 'static> Future for Finished<T> {
    type Output = Result<T, Box<dyn Any + Send>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(rest) = &mut self.rest else {
            return Poll::Pending;
        };
        let output = std::task::ready!(rest.as_mut().poll(context));
        self.rest = None;
        Poll::Ready(output)
    }
}

impl<T: Send + 'static> Drop for Finished<T> {
    fn drop(&mut self) {
        let Some(rest) = self.rest.take() else {
            return;
        };
        // Without a runtime the process is ending, and nobody has been told anything.
        if let Ok(runtime) = Handle::try_current() {
            drop(runtime.spawn(rest));
        }
    }
}
