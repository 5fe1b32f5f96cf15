//! Sessions, from the row of a table to what a model is fitted on and asked with.
//!
//! * [`Interaction`]: one row of the table `interactions`.
//! * [`Session`]: the items of one shopper's visit so far, what a model is asked with.
//! * [`SessionEncoding`]: how the items of a session become positions in a vocabulary. The data set
//!   builder and every model use the same code, and its settings travel with the weights, so a model
//!   cannot be asked in another way than it was trained.
//! * [`SessionDataset`]: all sessions of a table as offsets and item positions.
//! * [`Split`]: a data set cut in time into [`TrainSet`], [`ValidationSet`] and [`TestSet`].

mod builder;
mod column;
mod dataset;
mod encoding;
mod fingerprint;
mod interaction;
mod numbers;
mod runs;
mod sorted;
mod split;

pub use builder::SessionDatasetBuilder;
pub use dataset::SessionDataset;
pub use encoding::{SessionEncoder, SessionEncoding};
pub use fingerprint::DataFingerprint;
pub use interaction::Interaction;
pub use sorted::SortedDatasetBuilder;
pub use split::{Split, TestSet, TrainSet, ValidationSet};

use crate::vocabulary::ItemId;

/// The items of one shopper's visit so far, the oldest first.
///
/// # Examples
///
/// ```
/// use reco_core::Session;
///
/// let mut session: Session = ["hat", "scarf"].into_iter().collect();
/// session.push("gloves");
/// assert_eq!(session.len(), 3);
/// assert_eq!(session.items()[2].as_str(), "gloves");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Session {
    items: Vec<ItemId>,
}

impl Session {
    /// A session of items, the oldest first.
    #[must_use]
    pub const fn new(items: Vec<ItemId>) -> Self {
        Self { items }
    }

    /// Adds the newest item.
    pub fn push(&mut self, item: impl Into<ItemId>) {
        self.items.push(item.into());
    }

    /// The items, the oldest first.
    #[must_use]
    pub fn items(&self) -> &[ItemId] {
        &self.items
    }

    /// How many items there are, repeats counted.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether nothing was seen yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}

impl<I: Into<ItemId>> FromIterator<I> for Session {
    fn from_iter<T: IntoIterator<Item = I>>(items: T) -> Self {
        Self {
            items: items.into_iter().map(Into::into).collect(),
        }
    }
}
