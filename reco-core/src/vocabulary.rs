//! [`Vocabulary`]: the items that a model knows, and the numbers it knows them by.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::{AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use bytemuck::{Pod, Zeroable};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::record::project_to;

/// An item of the shop, as the shop names it. Cloning is cheap and shares.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct ItemId(Arc<str>);

impl ItemId {
    /// The shop's name of the item.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for ItemId {
    fn from(id: &str) -> Self {
        Self(id.into())
    }
}

impl From<String> for ItemId {
    fn from(id: String) -> Self {
        Self(id.into())
    }
}

impl From<ItemId> for String {
    fn from(id: ItemId) -> Self {
        id.as_str().to_owned()
    }
}

impl Borrow<str> for ItemId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ItemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The position of an item in a [`Vocabulary`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Pod, Zeroable)]
#[repr(transparent)]
pub struct ItemIdx(pub u32);

impl ItemIdx {
    /// The position as an index of a slice.
    #[must_use]
    pub const fn get(self) -> usize {
        self.0 as usize
    }
}

/// The items that a model knows, in the order of their ids, and how often each was seen.
///
/// The order makes the position of an item a function of the set alone, and lets a tie between two
/// items be broken by id by comparing positions. Cloning copies; share it in an `Arc`.
///
/// # Examples
///
/// ```
/// use reco_core::{ItemIdx, Vocabulary};
///
/// let vocabulary = Vocabulary::from_counts([("shirt", 2), ("hat", 5)])?;
/// assert_eq!(vocabulary.idx("hat"), Some(ItemIdx(0)));
/// assert_eq!(vocabulary.item(ItemIdx(1)).as_str(), "shirt");
/// assert_eq!(vocabulary.count(ItemIdx(1)), 2);
/// assert_eq!(vocabulary.idx("shoe"), None);
/// # Ok::<(), reco_core::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Vocabulary {
    items: Vec<ItemId>,
    counts: Vec<u64>,
    idx: HashMap<ItemId, ItemIdx>,
}

impl Vocabulary {
    /// A vocabulary of items with their counts, in any order; counts of the same item are added.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] if there are 2³² items or more.
    pub fn from_counts<I>(counts: I) -> Result<Self>
    where
        I: IntoIterator,
        I::Item: Into<ItemCount>,
    {
        let mut sorted: Vec<ItemCount> = counts.into_iter().map(Into::into).collect();
        sorted.sort_by(|a, b| a.item.cmp(&b.item));
        sorted.dedup_by(|later, earlier| {
            let same = later.item == earlier.item;
            if same {
                earlier.count += later.count;
            }
            same
        });
        let mut vocabulary = Self {
            items: Vec::with_capacity(sorted.len()),
            counts: Vec::with_capacity(sorted.len()),
            idx: HashMap::with_capacity(sorted.len()),
        };
        for (position, ItemCount { item, count }) in sorted.into_iter().enumerate() {
            let idx = u32::try_from(position).map_err(|_| Error::InvalidConfig {
                of: "vocabulary".to_owned(),
                reason: "more items than a 32-bit index can name".to_owned(),
            })?;
            vocabulary.idx.insert(item.clone(), ItemIdx(idx));
            vocabulary.items.push(item);
            vocabulary.counts.push(count);
        }
        Ok(vocabulary)
    }

    /// How many items there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there is no item.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The position of an item, if it is known.
    #[must_use]
    pub fn idx(&self, item: &str) -> Option<ItemIdx> {
        self.idx.get(item).copied()
    }

    /// The item at a position.
    ///
    /// # Panics
    ///
    /// If the position is not of this vocabulary.
    #[must_use]
    pub fn item(&self, idx: ItemIdx) -> &ItemId {
        &self.items[idx.get()]
    }

    /// How often the item at a position was seen in training.
    ///
    /// # Panics
    ///
    /// If the position is not of this vocabulary.
    #[must_use]
    pub fn count(&self, idx: ItemIdx) -> u64 {
        self.counts[idx.get()]
    }

    /// All items, by position.
    #[must_use]
    pub fn items(&self) -> &[ItemId] {
        &self.items
    }

    /// How often each was seen, by position.
    #[must_use]
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// The vocabulary as a table with the columns `item_id` (Utf8) and `count` (Int64).
    ///
    /// # Errors
    ///
    /// [`Error::Arrow`] if the batch cannot be built.
    pub fn to_batch(&self) -> Result<RecordBatch> {
        let items = StringArray::from_iter_values(self.items.iter().map(ItemId::as_str));
        let counts: Int64Array = self
            .counts
            .iter()
            .map(|&count| i64::try_from(count).unwrap_or(i64::MAX))
            .collect();
        RecordBatch::try_new(schema(), vec![Arc::new(items), Arc::new(counts)]).map_err(|source| {
            Error::Arrow {
                table: "vocabulary".to_owned(),
                source,
            }
        })
    }

    /// The vocabulary of a table that [`to_batch`](Self::to_batch) made.
    ///
    /// # Errors
    ///
    /// [`Error::MissingColumn`], and [`Error::InvalidValue`] for an item that is out of order or a
    /// count that is negative.
    pub fn from_batch(batch: &RecordBatch) -> Result<Self> {
        let batch = project_to("vocabulary", &schema(), batch)?;
        let items = batch.column(0).as_string::<i32>();
        let counts = batch.column(1).as_primitive::<Int64Type>();
        let invalid = |column: &str, row, reason: &str| Error::InvalidValue {
            table: "vocabulary".to_owned(),
            column: column.to_owned(),
            row,
            reason: reason.to_owned(),
        };
        let mut pairs: Vec<(&str, u64)> = Vec::with_capacity(batch.num_rows());
        for row in 0..batch.num_rows() {
            let item = items.value(row);
            if pairs.last().is_some_and(|(previous, _)| *previous >= item) {
                return Err(invalid("item_id", row, "not in ascending order"));
            }
            let count =
                u64::try_from(counts.value(row)).map_err(|_| invalid("count", row, "negative"))?;
            pairs.push((item, count));
        }
        Self::from_counts(pairs)
    }
}

impl fmt::Debug for Vocabulary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vocabulary")
            .field("n_items", &self.len())
            .finish_non_exhaustive()
    }
}

/// An item and how often it was seen: what [`Vocabulary::from_counts`] takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemCount {
    /// The item.
    pub item: ItemId,
    /// How often it was seen.
    pub count: u64,
}

impl<I: Into<ItemId>> From<(I, u64)> for ItemCount {
    fn from((item, count): (I, u64)) -> Self {
        Self {
            item: item.into(),
            count,
        }
    }
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("item_id", DataType::Utf8, false),
        Field::new("count", DataType::Int64, false),
    ]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn encode_then_decode_is_identity(counts in prop::collection::hash_map(".{0,8}", 0..9_u64, 0..40)) {
            let vocabulary = Vocabulary::from_counts(counts.clone()).unwrap();
            prop_assert_eq!(vocabulary.len(), counts.len());
            for (item, count) in counts {
                let idx = vocabulary.idx(&item).unwrap();
                prop_assert_eq!(vocabulary.item(idx).as_str(), &item);
                prop_assert_eq!(vocabulary.count(idx), count);
            }
            let back = Vocabulary::from_batch(&vocabulary.to_batch().unwrap()).unwrap();
            prop_assert_eq!(back, vocabulary);
        }
    }

    #[test]
    fn counts_of_one_item_are_added() {
        let vocabulary = Vocabulary::from_counts([("a", 1), ("b", 2), ("a", 3)]).unwrap();
        assert_eq!(vocabulary.counts(), [4, 2]);
    }

    #[test]
    fn a_shuffled_table_is_refused() {
        let vocabulary = Vocabulary::from_counts([("a", 1), ("b", 2)]).unwrap();
        let batch = vocabulary.to_batch().unwrap();
        let swapped = arrow::compute::concat_batches(
            &batch.schema(),
            [&batch.slice(1, 1), &batch.slice(0, 1)],
        );
        let error = Vocabulary::from_batch(&swapped.unwrap()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "table `vocabulary`, column `item_id`, row 1: not in ascending order"
        );
    }
}
