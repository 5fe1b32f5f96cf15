//! [`behavior_fn`]: a test from a closure; [`Named`]: a test under another name.

use std::fmt::{self, Debug};

use super::{BehaviorTest, Measured, Subject};
use crate::error::Result;

/// A test from a closure; see [`behavior_fn`].
pub struct BehaviorFn<F> {
    name: String,
    description: String,
    measure: F,
}

/// Makes a test of a closure.
///
/// # Examples
///
/// ```
/// use reco_train::evaluate::behavior::{BehaviorTest, Measured, behavior_fn};
///
/// let silent = behavior_fn("silent", "the share of cases without an answer", |subject| {
///     let n_silent = subject.answers().filter(|(_, answer)| answer.is_empty()).count();
///     Ok(Measured::share(n_silent, subject.answers().len()))
/// });
/// assert_eq!(silent.name(), "silent");
/// ```
pub fn behavior_fn<F>(
    name: impl Into<String>,
    description: impl Into<String>,
    measure: F,
) -> BehaviorFn<F>
where
    F: Fn(&Subject<'_>) -> Result<Measured> + Send + Sync + 'static,
{
    BehaviorFn {
        name: name.into(),
        description: description.into(),
        measure,
    }
}

impl<F> BehaviorTest for BehaviorFn<F>
where
    F: Fn(&Subject<'_>) -> Result<Measured> + Send + Sync + 'static,
{
    fn name(&self) -> String {
        self.name.clone()
    }

    fn description(&self) -> String {
        self.description.clone()
    }

    fn measure(&self, subject: &Subject<'_>) -> Result<Measured> {
        (self.measure)(subject)
    }
}

impl<F> Debug for BehaviorFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BehaviorFn")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// A test under another name, so that a suite can hold it twice: in two spaces, say.
#[derive(Debug, Clone)]
pub struct Named<T> {
    /// What it is called.
    pub name: String,
    /// What it measures.
    pub test: T,
}

#[deny(clippy::missing_trait_methods)]
impl<T: BehaviorTest> BehaviorTest for Named<T> {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn description(&self) -> String {
        self.test.description()
    }

    fn measure(&self, subject: &Subject<'_>) -> Result<Measured> {
        self.test.measure(subject)
    }
}
