//! [`OrderedLists`]: the lists of all groups.

use std::cmp::Ordering;
use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, DynComparator, ListArray,
    StructArray, UInt32Array, make_comparator,
};
use datafusion::arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use datafusion::arrow::compute::{SortOptions, and, concat, interleave, is_not_null, take};
use datafusion::arrow::datatypes::{
    DataType, Field, Fields, Int64Type, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};
use datafusion::common::internal_err;
use datafusion::error::Result;
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};

/// The values of all groups as they came, and what they are ordered by.
#[derive(Debug)]
pub(super) struct OrderedLists {
    data_type: DataType,
    /// What values are ordered by, as the fields of a struct.
    order_fields: Fields,
    options: Vec<SortOptions>,
    ignores_nulls: bool,
    batches: Vec<Batch>,
    n_groups: usize,
    n_bytes: usize,
}

/// Some values, each with the number of its group.
#[derive(Debug)]
struct Batch {
    groups: Vec<u32>,
    values: ArrayRef,
    order: Vec<ArrayRef>,
}

impl Batch {
    fn n_bytes(&self) -> usize {
        let arrays = self.order.iter().chain([&self.values]);
        // Part of an array counts as if it were all.
        let n_bytes = arrays.map(|array| {
            let data = array.to_data();
            data.get_slice_memory_size().unwrap_or_default()
        });
        n_bytes.sum::<usize>() + self.groups.capacity() * size_of::<u32>()
    }

    /// The rows at these places.
    fn taken(&self, rows: Vec<u32>) -> Result<Self> {
        let groups = rows.iter().map(|row| self.groups[*row as usize]).collect();
        let rows = UInt32Array::from(rows);
        let order = self.order.iter().map(|column| take(column, &rows, None));
        Ok(Self {
            groups,
            values: own(&take(&self.values, &rows, None)?),
            order: order.collect::<Result<_, _>>()?,
        })
    }
}

/// Where the values of each group are, group by group.
struct Places {
    /// One more than there are groups.
    offsets: Vec<i32>,
    /// Places among all values, one batch after the other.
    places: Vec<u32>,
}

impl OrderedLists {
    pub(super) fn new(args: &AccumulatorArgs<'_>) -> Result<Self> {
        let field = &args.expr_fields[0];
        let order_fields = args.order_bys.iter().map(|order| {
            // As the engine names them.
            let data_type = order.expr.data_type(args.schema)?;
            Ok(Field::new(order.expr.to_string(), data_type, true))
        });
        Ok(Self {
            data_type: field.data_type().clone(),
            order_fields: order_fields.collect::<Result<_>>()?,
            options: args.order_bys.iter().map(|order| order.options).collect(),
            ignores_nulls: args.ignore_nulls && field.is_nullable(),
            batches: Vec::new(),
            n_groups: 0,
            n_bytes: 0,
        })
    }

    fn push(&mut self, batch: Batch) {
        if !batch.groups.is_empty() {
            self.n_bytes += batch.n_bytes();
            self.batches.push(batch);
        }
    }

    /// The rows that count: that pass the filter and are not NULL where those are ignored.
    fn counted(
        &self,
        values: &ArrayRef,
        filter: Option<&BooleanArray>,
    ) -> Result<Option<BooleanArray>> {
        let valid = if self.ignores_nulls && values.logical_null_count() > 0 {
            Some(is_not_null(values)?)
        } else {
            None
        };
        Ok(match (valid, filter) {
            (Some(valid), Some(filter)) => Some(and(&valid, filter)?),
            (valid, filter) => valid.or_else(|| filter.cloned()),
        })
    }

    /// Puts the values of the first groups together, without an order.
    fn places(&self, n_groups: usize) -> Places {
        let mut offsets = vec![0_i32; n_groups + 1];
        for group in self.batches.iter().flat_map(|batch| &batch.groups) {
            if let Some(n) = offsets.get_mut(*group as usize + 1) {
                *n += 1;
            }
        }
        for group in 0..n_groups {
            offsets[group + 1] += offsets[group];
        }
        let mut next = offsets.clone();
        let n_places = usize::try_from(offsets[n_groups]).unwrap_or_default();
        let mut places = vec![0; n_places];
        let groups = self.batches.iter().flat_map(|batch| &batch.groups);
        for (place, group) in (0..).zip(groups) {
            let group = *group as usize;
            if group < n_groups {
                places[usize::try_from(next[group]).unwrap_or_default()] = place;
                next[group] += 1;
            }
        }
        Places { offsets, places }
    }

    /// Orders the values within their groups; those that compare equal stay as they came.
    fn sort(&self, places: &mut Places) -> Result<()> {
        let order = (0..self.options.len()).map(|column| self.all(|batch| &batch.order[column]));
        let order: Vec<ArrayRef> = order.collect::<Result<_>>()?;
        let comparators = order.iter().zip(&self.options);
        let comparators: Vec<DynComparator> = comparators
            .map(|(column, options)| make_comparator(column, column, *options))
            .collect::<Result<_, _>>()?;
        let compare = |comparators: &[DynComparator], a: u32, b: u32| {
            let (a, b) = (a as usize, b as usize);
            let mut orders = comparators.iter().map(|compare| compare(a, b));
            orders
                .find(|order| order.is_ne())
                .unwrap_or(Ordering::Equal)
        };
        // Most lists are ordered by a time first.
        let first = numbers_of(&order[0]).filter(|_| order[0].null_count() == 0);
        for group in places.offsets.windows(2) {
            let range = |end: i32| usize::try_from(end).unwrap_or_default();
            let places = &mut places.places[range(group[0])..range(group[1])];
            match &first {
                Some(first) if self.options[0].descending => places.sort_by(|a, b| {
                    let order = first[*b as usize].cmp(&first[*a as usize]);
                    order.then_with(|| compare(&comparators[1..], *a, *b))
                }),
                Some(first) => places.sort_by(|a, b| {
                    let order = first[*a as usize].cmp(&first[*b as usize]);
                    order.then_with(|| compare(&comparators[1..], *a, *b))
                }),
                None => places.sort_by(|a, b| compare(&comparators, *a, *b)),
            }
        }
        Ok(())
    }

    /// A column of all batches as one.
    fn all<'a>(&'a self, column: impl Fn(&'a Batch) -> &'a ArrayRef) -> Result<ArrayRef> {
        let columns: Vec<&dyn Array> = self.batches.iter().map(|batch| &**column(batch)).collect();
        Ok(concat(&columns)?)
    }

    /// The values of a column at places among all of them.
    fn gather<'a>(
        &'a self,
        places: &[u32],
        column: impl Fn(&'a Batch) -> &'a ArrayRef,
    ) -> Result<ArrayRef> {
        let mut starts = Vec::with_capacity(self.batches.len());
        let mut batch_of = Vec::new();
        for (number, batch) in self.batches.iter().enumerate() {
            starts.push(batch_of.len());
            batch_of.resize(batch_of.len() + batch.groups.len(), number);
        }
        let indices = places.iter().map(|place| {
            let batch = batch_of[*place as usize];
            (batch, *place as usize - starts[batch])
        });
        let indices: Vec<_> = indices.collect();
        let columns: Vec<&dyn Array> = self.batches.iter().map(|batch| &**column(batch)).collect();
        Ok(interleave(&columns, &indices)?)
    }

    fn list(&self, places: &Places) -> Result<ListArray> {
        let values = if places.places.is_empty() {
            datafusion::arrow::array::new_empty_array(&self.data_type)
        } else {
            self.gather(&places.places, |batch| &batch.values)?
        };
        let item = Arc::new(Field::new_list_field(self.data_type.clone(), true));
        Ok(ListArray::try_new(
            item,
            offsets(places),
            values,
            filled(places),
        )?)
    }

    /// Forgets the first groups.
    fn forget(&mut self, emit_to: EmitTo) -> Result<()> {
        let batches = std::mem::take(&mut self.batches);
        self.n_bytes = 0;
        let EmitTo::First(n) = emit_to else {
            self.n_groups = 0;
            return Ok(());
        };
        self.n_groups = self.n_groups.saturating_sub(n);
        for batch in batches {
            let rows = (0..).zip(&batch.groups);
            let rows = rows.filter(|(_, group)| **group as usize >= n);
            let rows: Vec<u32> = rows.map(|(row, _)| row).collect();
            if rows.is_empty() {
                continue;
            }
            let mut kept = if rows.len() == batch.groups.len() {
                batch
            } else {
                batch.taken(rows)?
            };
            let n = u32::try_from(n).unwrap_or(u32::MAX);
            kept.groups.iter_mut().for_each(|group| *group -= n);
            self.push(kept);
        }
        Ok(())
    }

    const fn n_emitted(&self, emit_to: EmitTo) -> usize {
        match emit_to {
            EmitTo::All => self.n_groups,
            EmitTo::First(n) => n,
        }
    }
}

impl GroupsAccumulator for OrderedLists {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        let [values, order @ ..] = values else {
            return internal_err!("lists are made of values");
        };
        self.n_groups = total_num_groups;
        let counted = self.counted(values, opt_filter)?;
        let batch = Batch {
            groups: group_indices.iter().map(|group| number(*group)).collect(),
            values: own(values),
            order: order.iter().map(own).collect(),
        };
        let batch = match counted {
            Some(counted) => batch.taken(rows_where(&counted))?,
            None => batch,
        };
        self.push(batch);
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let mut places = self.places(self.n_emitted(emit_to));
        if !places.places.is_empty() {
            self.sort(&mut places)?;
        }
        let list = self.list(&places)?;
        self.forget(emit_to)?;
        Ok(Arc::new(list))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        // Whoever merges the lists sorts them.
        let places = self.places(self.n_emitted(emit_to));
        let list = self.list(&places)?;
        let columns = self.order_fields.iter().enumerate().map(|(column, field)| {
            if places.places.is_empty() {
                return Ok(datafusion::arrow::array::new_empty_array(field.data_type()));
            }
            self.gather(&places.places, |batch| &batch.order[column])
        });
        let order = self.order_list(columns.collect::<Result<_>>()?, offsets(&places))?;
        self.forget(emit_to)?;
        Ok(vec![Arc::new(list), order])
    }

    fn merge_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        total_num_groups: usize,
    ) -> Result<()> {
        let [values, order] = values else {
            return internal_err!("lists are merged with their order");
        };
        self.n_groups = total_num_groups;
        let (values, order) = (values.as_list::<i32>(), order.as_list::<i32>());
        let same = |list: usize| values.value_length(list) == order.value_length(list);
        if !(0..values.len()).all(same) {
            return internal_err!("a list and its order differ in length");
        }
        let mut groups = Vec::new();
        for (list, group) in group_indices.iter().enumerate() {
            let n = usize::try_from(values.value_length(list)).unwrap_or_default();
            groups.resize(groups.len() + n, number(*group));
        }
        let items = |list: &ListArray| {
            let offsets = list.value_offsets().iter();
            let mut offsets = offsets.map(|offset| usize::try_from(*offset).unwrap_or_default());
            let start = offsets.next().unwrap_or_default();
            let end = offsets.next_back().unwrap_or(start);
            list.values().slice(start, end - start)
        };
        let order = items(order);
        self.push(Batch {
            groups,
            values: own(&items(values)),
            order: order.as_struct().columns().iter().map(own).collect(),
        });
        Ok(())
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        opt_filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let [values, order @ ..] = values else {
            return internal_err!("lists are made of values");
        };
        let n_rows = values.len();
        let counted = self.counted(values, opt_filter)?;
        let is_counted = |row| {
            let is_counted = |rows: &BooleanArray| rows.is_valid(row) && rows.value(row);
            counted.as_ref().is_none_or(is_counted)
        };
        let mut places = Places {
            offsets: Vec::with_capacity(n_rows + 1),
            places: Vec::with_capacity(n_rows),
        };
        places.offsets.push(0);
        for row in 0..n_rows {
            if is_counted(row) {
                places.places.push(number(row));
            }
            places
                .offsets
                .push(i32::try_from(places.places.len()).unwrap_or(i32::MAX));
        }
        let rows = UInt32Array::from(places.places.clone());
        let item = Arc::new(Field::new_list_field(self.data_type.clone(), true));
        let taken = take(values, &rows, None)?;
        let list = ListArray::try_new(item, offsets(&places), taken, filled(&places))?;
        let order = order.iter().map(|column| take(column, &rows, None));
        let order = self.order_list(order.collect::<Result<_, _>>()?, offsets(&places))?;
        Ok(vec![Arc::new(list), order])
    }

    fn size(&self) -> usize {
        self.n_bytes + size_of::<Self>()
    }
}

impl OrderedLists {
    fn order_list(&self, columns: Vec<ArrayRef>, offsets: OffsetBuffer<i32>) -> Result<ArrayRef> {
        let order = StructArray::try_new(self.order_fields.clone(), columns, None)?;
        let item = DataType::Struct(self.order_fields.clone());
        let item = Arc::new(Field::new_list_field(item, true));
        Ok(Arc::new(ListArray::try_new(
            item,
            offsets,
            Arc::new(order),
            None,
        )?))
    }
}

fn offsets(places: &Places) -> OffsetBuffer<i32> {
    OffsetBuffer::new(ScalarBuffer::from(places.offsets.clone()))
}

/// A list of nothing is NULL.
fn filled(places: &Places) -> Option<NullBuffer> {
    let filled = places.offsets.windows(2).map(|ends| ends[0] < ends[1]);
    let filled = NullBuffer::from_iter(filled);
    Some(filled).filter(|filled| filled.null_count() > 0)
}

fn rows_where(rows: &BooleanArray) -> Vec<u32> {
    let is_true = |(row, is_true): (u32, Option<bool>)| (is_true == Some(true)).then_some(row);
    (0..).zip(rows).filter_map(is_true).collect()
}

/// The same values, without what else is in the buffers that they view.
fn own(values: &ArrayRef) -> ArrayRef {
    match values.data_type() {
        DataType::Utf8View => Arc::new(values.as_string_view().gc()),
        DataType::BinaryView => Arc::new(values.as_binary_view().gc()),
        _ => Arc::clone(values),
    }
}

/// The values as numbers, if they are compared as such.
fn numbers_of(values: &ArrayRef) -> Option<ScalarBuffer<i64>> {
    fn natives<T: ArrowPrimitiveType<Native = i64>>(values: &ArrayRef) -> ScalarBuffer<i64> {
        values.as_primitive::<T>().values().clone()
    }
    Some(match values.data_type() {
        DataType::Int64 => natives::<Int64Type>(values),
        DataType::Timestamp(TimeUnit::Second, _) => natives::<TimestampSecondType>(values),
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            natives::<TimestampMillisecondType>(values)
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            natives::<TimestampMicrosecondType>(values)
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => natives::<TimestampNanosecondType>(values),
        _ => return None,
    })
}

fn number(place: usize) -> u32 {
    u32::try_from(place).expect("an aggregation has fewer groups and rows at once")
}
