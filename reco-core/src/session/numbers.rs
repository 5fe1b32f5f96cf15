//! [`Numbers`]: ids by the order in which they were first seen.

use std::collections::HashMap;

use crate::error::{Error, Result};

/// Ids, and the number of each: how many others were seen before it.
#[derive(Debug, Clone)]
pub(super) struct Numbers {
    /// What is numbered, for errors.
    what: &'static str,
    numbers: HashMap<Box<str>, u32>,
}

impl Numbers {
    pub(super) fn new(what: &'static str) -> Self {
        Self {
            what,
            numbers: HashMap::new(),
        }
    }

    /// # Errors
    ///
    /// [`Error::InvalidConfig`] if there are 2³² others.
    pub(super) fn number(&mut self, id: &str) -> Result<u32> {
        if let Some(&number) = self.numbers.get(id) {
            return Ok(number);
        }
        let number = u32::try_from(self.len()).map_err(|_| Error::InvalidConfig {
            of: "session data set".to_owned(),
            reason: format!("more {} than a 32-bit index can name", self.what),
        })?;
        self.numbers.insert(id.into(), number);
        Ok(number)
    }

    pub(super) fn len(&self) -> usize {
        self.numbers.len()
    }

    /// The ids in order, and their numbers.
    pub(super) fn sorted(&self) -> Vec<(&str, u32)> {
        let ids = self.numbers.iter();
        let mut sorted: Vec<_> = ids.map(|(id, &number)| (&**id, number)).collect();
        sorted.sort_unstable();
        sorted
    }
}
