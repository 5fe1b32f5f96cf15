//! [`DistinctPairs`]: which group has which value.

use std::collections::HashSet;
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int64Array, ListArray, UInt32Array,
};
use datafusion::arrow::buffer::OffsetBuffer;
use datafusion::arrow::compute::{and, filter, is_not_null, take};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::internal_err;
use datafusion::error::Result;
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};
use datafusion::physical_plan::aggregates::group_values::{GroupValues, new_group_values};
use datafusion::physical_plan::aggregates::order::GroupOrdering;

/// The different values of all groups.
pub(super) struct DistinctPairs {
    data_type: DataType,
    /// The number of each value.
    values: Box<dyn GroupValues>,
    /// The number of a group above that of a value.
    pairs: HashSet<u64, BuildHasherDefault<Mixed>>,
    /// How many values each group has.
    counts: Vec<i64>,
    numbers: Vec<usize>,
}

impl fmt::Debug for DistinctPairs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DistinctPairs")
            .field("n_values", &self.values.len())
            .field("n_pairs", &self.pairs.len())
            .finish_non_exhaustive()
    }
}

impl DistinctPairs {
    pub(super) fn new(data_type: &DataType) -> Result<Self> {
        Ok(Self {
            values: no_values(data_type)?,
            data_type: data_type.clone(),
            pairs: HashSet::default(),
            counts: Vec::new(),
            numbers: Vec::new(),
        })
    }

    /// Adds values, none of which is NULL, each of its group.
    fn insert(&mut self, values: &ArrayRef, groups: impl Iterator<Item = usize>) -> Result<()> {
        self.numbers.clear();
        self.values
            .intern(&[Arc::clone(values)], &mut self.numbers)?;
        for (group, number) in groups.zip(&self.numbers) {
            if self.pairs.insert(pair(group, *number)) {
                self.counts[group] += 1;
            }
        }
        Ok(())
    }

    /// Takes the pairs of the first groups out, in the order of their groups, with the values of all numbers.
    fn take(&mut self, emit_to: EmitTo) -> Result<(Vec<u64>, Option<ArrayRef>)> {
        let n = match emit_to {
            EmitTo::All => self.counts.len(),
            EmitTo::First(n) => n,
        };
        let pairs = std::mem::take(&mut self.pairs);
        let (mut taken, mut kept): (Vec<u64>, Vec<u64>) =
            pairs.into_iter().partition(|pair| group_of(*pair) < n);
        taken.sort_unstable();
        let values = if taken.is_empty() && kept.is_empty() {
            None
        } else {
            self.values.emit(EmitTo::All)?.pop()
        };
        self.values = no_values(&self.data_type)?;
        self.counts.drain(..n);
        self.counts.fill(0);
        if let Some(values) = &values {
            kept.sort_unstable();
            let rows = kept.iter().map(|pair| value_of(*pair));
            let rows = take(values, &UInt32Array::from_iter_values(rows), None)?;
            self.insert(&rows, kept.iter().map(|pair| group_of(*pair) - n))?;
        }
        Ok((taken, values))
    }
}

impl GroupsAccumulator for DistinctPairs {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.counts.resize(total_num_groups, 0);
        let values = &values[0];
        match counted(values, opt_filter)? {
            None => self.insert(values, group_indices.iter().copied()),
            Some(counted) => {
                let groups = group_indices.iter().zip(&counted);
                let groups = groups.filter(|(_, counts)| *counts == Some(true));
                let groups = groups.map(|(group, _)| *group);
                self.insert(&filter(values, &counted)?, groups)
            }
        }
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        if matches!(emit_to, EmitTo::All) {
            self.pairs = HashSet::default();
            self.values = no_values(&self.data_type)?;
            return Ok(Arc::new(Int64Array::from(std::mem::take(&mut self.counts))));
        }
        let mut counts = self.counts.clone();
        if let EmitTo::First(n) = emit_to {
            counts.truncate(n);
        }
        self.take(emit_to)?;
        Ok(Arc::new(Int64Array::from(counts)))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let mut counts = self.counts.clone();
        if let EmitTo::First(n) = emit_to {
            counts.truncate(n);
        }
        let (pairs, values) = self.take(emit_to)?;
        let values = match values {
            None => datafusion::arrow::array::new_empty_array(&self.data_type),
            Some(values) => {
                let rows = pairs.iter().map(|pair| value_of(*pair));
                take(&values, &UInt32Array::from_iter_values(rows), None)?
            }
        };
        let lengths = counts
            .iter()
            .map(|n| usize::try_from(*n).unwrap_or_default());
        Ok(vec![lists(values, OffsetBuffer::from_lengths(lengths))?])
    }

    fn merge_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        total_num_groups: usize,
    ) -> Result<()> {
        self.counts.resize(total_num_groups, 0);
        let Some(lists) = values[0].as_list_opt::<i32>() else {
            return internal_err!(
                "values are merged as lists, not as {}",
                values[0].data_type()
            );
        };
        let offsets = lists.value_offsets().iter();
        let mut ends = offsets.map(|offset| usize::try_from(*offset).unwrap_or_default());
        let start = ends.next().unwrap_or_default();
        let lengths: Vec<usize> = {
            let mut last = start;
            ends.map(|end| end - std::mem::replace(&mut last, end))
                .collect()
        };
        let values = lists.values().slice(start, lengths.iter().sum());
        let groups = group_indices.iter().zip(lengths);
        let groups = groups.flat_map(|(group, length)| std::iter::repeat_n(*group, length));
        self.insert(&values, groups)
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        opt_filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let values = &values[0];
        Ok(vec![match counted(values, opt_filter)? {
            None => lists(
                Arc::clone(values),
                OffsetBuffer::from_lengths(std::iter::repeat_n(1, values.len())),
            )?,
            Some(counted) => {
                let lengths = counted
                    .iter()
                    .map(|counts| usize::from(counts == Some(true)));
                lists(
                    filter(values, &counted)?,
                    OffsetBuffer::from_lengths(lengths),
                )?
            }
        }])
    }

    fn size(&self) -> usize {
        self.values.size()
            + self.pairs.capacity() * (size_of::<u64>() + 1)
            + self.counts.capacity() * size_of::<i64>()
            + self.numbers.capacity() * size_of::<usize>()
    }
}

/// The rows that count, unless all do: that pass the filter and are not NULL.
fn counted(values: &ArrayRef, filter: Option<&BooleanArray>) -> Result<Option<BooleanArray>> {
    let valid = (values.null_count() > 0).then(|| is_not_null(values));
    Ok(match (valid.transpose()?, filter) {
        (Some(valid), Some(filter)) => Some(and(&valid, filter)?),
        (valid, filter) => valid.or_else(|| filter.cloned()),
    })
}

fn lists(values: ArrayRef, offsets: OffsetBuffer<i32>) -> Result<ArrayRef> {
    let item = Arc::new(Field::new_list_field(values.data_type().clone(), true));
    Ok(Arc::new(ListArray::try_new(item, offsets, values, None)?))
}

fn no_values(data_type: &DataType) -> Result<Box<dyn GroupValues>> {
    let field = Field::new("value", data_type.clone(), true);
    new_group_values(Arc::new(Schema::new(vec![field])), &GroupOrdering::None)
}

fn pair(group: usize, value: usize) -> u64 {
    (group as u64) << 32 | value as u64
}

fn group_of(pair: u64) -> usize {
    usize::try_from(pair >> 32).expect("it was one")
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half")]
const fn value_of(pair: u64) -> u32 {
    pair as u32
}

/// Mixes the bits of one number.
#[derive(Debug, Default)]
struct Mixed(u64);

impl Hasher for Mixed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        let mixed = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ (mixed >> 32);
    }
}
