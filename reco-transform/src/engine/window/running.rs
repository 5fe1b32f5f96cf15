//! The functions themselves, each a pass over a column.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, Int64Array, PrimitiveArray, RecordBatch,
    UInt32Array, UInt64Array,
};
use datafusion::arrow::buffer::NullBuffer;
use datafusion::arrow::compute::{concat, take};
use datafusion::arrow::datatypes::{
    ArrowNativeTypeOp, DataType, Date32Type, Date64Type, Decimal128Type, Float64Type, Int8Type,
    Int16Type, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use datafusion::common::{ScalarValue, internal_err};
use datafusion::error::Result;
use datafusion::physical_expr::PhysicalExpr;

use super::exec::Parts;
use super::function::Running;

/// The place of a row in its partition, from 1.
#[derive(Debug, Default)]
pub(super) struct RowNumber {
    last: u64,
}

impl Running for RowNumber {
    fn evaluate(&mut self, batch: &RecordBatch, parts: &Parts) -> Result<ArrayRef> {
        let mut numbers = Vec::with_capacity(batch.num_rows());
        for (goes_on, range) in parts.iter() {
            let before = if goes_on { self.last } else { 0 };
            self.last = before + range.len() as u64;
            numbers.extend(before + 1..=self.last);
        }
        Ok(Arc::new(UInt64Array::from(numbers)))
    }
}

/// The value so many rows before.
#[derive(Debug)]
pub(super) struct Lag {
    of: Arc<dyn PhysicalExpr>,
    offset: usize,
    default: ArrayRef,
    /// The last values of the partition, at most so many.
    before: ArrayRef,
}

impl Lag {
    pub(super) fn new(
        of: Arc<dyn PhysicalExpr>,
        offset: usize,
        default: &ScalarValue,
    ) -> Result<Self> {
        let default = default.to_array()?;
        Ok(Self {
            of,
            offset,
            before: default.slice(0, 0),
            default,
        })
    }
}

impl Running for Lag {
    fn evaluate(&mut self, batch: &RecordBatch, parts: &Parts) -> Result<ArrayRef> {
        let values = values_of(&self.of, batch)?;
        // The default stands first, then what is remembered, then the batch.
        let first = 1 + self.before.len();
        let all = concat(&[&*self.default, &*self.before, &*values])?;
        let mut indices = Vec::with_capacity(values.len());
        for (goes_on, range) in parts.iter() {
            let start = if goes_on { 1 } else { first + range.start };
            let rows = range.map(|row| first + row);
            indices.extend(rows.map(|row| match row.checked_sub(self.offset) {
                Some(source) if source >= start => index(source),
                _ => 0,
            }));
        }
        let is_one = parts.goes_on && parts.ranges.len() == 1;
        let n_before = if is_one { self.before.len() } else { 0 };
        let n_kept = self.offset.min(n_before + parts.n_in_last());
        // A copy, since a slice would keep all of the batch.
        let kept = (all.len() - n_kept..all.len()).map(index);
        self.before = take(&all, &UInt32Array::from_iter_values(kept), None)?;
        Ok(take(&all, &UInt32Array::from(indices), None)?)
    }
}

/// The value at the start of the partition.
#[derive(Debug)]
pub(super) struct FirstValue {
    of: Arc<dyn PhysicalExpr>,
    first: Option<ArrayRef>,
}

impl FirstValue {
    pub(super) const fn new(of: Arc<dyn PhysicalExpr>) -> Self {
        Self { of, first: None }
    }
}

impl Running for FirstValue {
    fn evaluate(&mut self, batch: &RecordBatch, parts: &Parts) -> Result<ArrayRef> {
        let values = values_of(&self.of, batch)?;
        let first = self.first.take().unwrap_or_else(|| values.slice(0, 1));
        let all = concat(&[&*first, &*values])?;
        let mut indices = Vec::with_capacity(values.len());
        let mut source = 0;
        for (goes_on, range) in parts.iter() {
            source = if goes_on { 0 } else { index(1 + range.start) };
            indices.extend(range.map(|_| source));
        }
        self.first = Some(take(&all, &UInt32Array::from(vec![source]), None)?);
        Ok(take(&all, &UInt32Array::from(indices), None)?)
    }
}

/// How many rows so far have all of the values.
#[derive(Debug)]
pub(super) struct Count {
    of: Vec<Arc<dyn PhysicalExpr>>,
    last: i64,
}

impl Count {
    pub(super) const fn new(of: Vec<Arc<dyn PhysicalExpr>>) -> Self {
        Self { of, last: 0 }
    }
}

impl Running for Count {
    fn evaluate(&mut self, batch: &RecordBatch, parts: &Parts) -> Result<ArrayRef> {
        let mut nulls = None;
        for of in &self.of {
            let values = values_of(of, batch)?;
            nulls = NullBuffer::union(nulls.as_ref(), values.logical_nulls().as_ref());
        }
        let mut counts = Vec::with_capacity(batch.num_rows());
        for (goes_on, range) in parts.iter() {
            if !goes_on {
                self.last = 0;
            }
            counts.extend(range.map(|row| {
                let counts = nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row));
                self.last += i64::from(counts);
                self.last
            }));
        }
        Ok(Arc::new(Int64Array::from(counts)))
    }
}

/// The values so far put together; NULL before the first value that is none.
struct Fold<T: ArrowPrimitiveType, F> {
    of: Arc<dyn PhysicalExpr>,
    data_type: DataType,
    so_far: Option<T::Native>,
    add: F,
}

impl<T, F> Running for Fold<T, F>
where
    T: ArrowPrimitiveType,
    F: Fn(T::Native, T::Native) -> T::Native + Send,
{
    fn evaluate(&mut self, batch: &RecordBatch, parts: &Parts) -> Result<ArrayRef> {
        let values = values_of(&self.of, batch)?;
        let Some(values) = values.as_primitive_opt::<T>() else {
            return internal_err!("a window reads {}", values.data_type());
        };
        let mut so_far = Vec::with_capacity(values.len());
        let mut is_there = Vec::with_capacity(values.len());
        for (goes_on, range) in parts.iter() {
            if !goes_on {
                self.so_far = None;
            }
            for row in range {
                if values.is_valid(row) {
                    let value = values.value(row);
                    self.so_far = Some(match self.so_far {
                        Some(before) => (self.add)(before, value),
                        None => value,
                    });
                }
                so_far.push(self.so_far.unwrap_or_default());
                is_there.push(self.so_far.is_some());
            }
        }
        let nulls = NullBuffer::from(is_there);
        let folded =
            PrimitiveArray::<T>::new(so_far.into(), Some(nulls).filter(|n| n.null_count() > 0));
        Ok(Arc::new(folded.with_data_type(self.data_type.clone())))
    }
}

/// Calls a function for the type of values that are compared by their natives.
macro_rules! with_native {
    ($data_type:expr, $f:ident, $($arg:expr),*) => {
        match $data_type {
            DataType::Int8 => $f::<Int8Type>($($arg),*),
            DataType::Int16 => $f::<Int16Type>($($arg),*),
            DataType::Int32 => $f::<Int32Type>($($arg),*),
            DataType::Int64 => $f::<Int64Type>($($arg),*),
            DataType::UInt8 => $f::<UInt8Type>($($arg),*),
            DataType::UInt16 => $f::<UInt16Type>($($arg),*),
            DataType::UInt32 => $f::<UInt32Type>($($arg),*),
            DataType::UInt64 => $f::<UInt64Type>($($arg),*),
            DataType::Date32 => $f::<Date32Type>($($arg),*),
            DataType::Date64 => $f::<Date64Type>($($arg),*),
            DataType::Timestamp(TimeUnit::Second, _) => $f::<TimestampSecondType>($($arg),*),
            DataType::Timestamp(TimeUnit::Millisecond, _) => $f::<TimestampMillisecondType>($($arg),*),
            DataType::Timestamp(TimeUnit::Microsecond, _) => $f::<TimestampMicrosecondType>($($arg),*),
            DataType::Timestamp(TimeUnit::Nanosecond, _) => $f::<TimestampNanosecondType>($($arg),*),
            DataType::Decimal128(_, _) => $f::<Decimal128Type>($($arg),*),
            other => internal_err!("a window compares {other}"),
        }
    };
}

/// Whether [`least`] and [`largest`] know a type.
pub(super) fn can_compare(data_type: &DataType) -> bool {
    data_type.is_integer()
        || matches!(
            data_type,
            DataType::Date32
                | DataType::Date64
                | DataType::Timestamp(_, _)
                | DataType::Decimal128(_, _)
        )
}

/// Whether [`sum`] knows how to make one type of another.
pub(super) fn can_add(from: &DataType, to: &DataType) -> bool {
    match (from, to) {
        (DataType::Int64, DataType::Int64)
        | (DataType::UInt64, DataType::UInt64)
        | (DataType::Float64, DataType::Float64) => true,
        (DataType::Decimal128(_, from), DataType::Decimal128(_, to)) => from == to,
        _ => false,
    }
}

/// The sum so far, which wraps as the engine's own.
pub(super) fn sum(of: Arc<dyn PhysicalExpr>, data_type: &DataType) -> Result<Box<dyn Running>> {
    fn add<T: ArrowPrimitiveType>(
        of: Arc<dyn PhysicalExpr>,
        data_type: &DataType,
    ) -> Box<dyn Running> {
        fold::<T, _>(of, data_type, |a: T::Native, b| a.add_wrapping(b))
    }
    Ok(match data_type {
        DataType::Int64 => add::<Int64Type>(of, data_type),
        DataType::UInt64 => add::<UInt64Type>(of, data_type),
        DataType::Float64 => add::<Float64Type>(of, data_type),
        DataType::Decimal128(_, _) => add::<Decimal128Type>(of, data_type),
        other => return internal_err!("a window adds {other}"),
    })
}

/// The least value so far.
pub(super) fn least(of: Arc<dyn PhysicalExpr>, data_type: &DataType) -> Result<Box<dyn Running>> {
    fn lesser<T: ArrowPrimitiveType>(
        of: Arc<dyn PhysicalExpr>,
        data_type: &DataType,
    ) -> Result<Box<dyn Running>> {
        Ok(fold::<T, _>(
            of,
            data_type,
            |a: T::Native, b| {
                if b.is_lt(a) { b } else { a }
            },
        ))
    }
    with_native!(data_type, lesser, of, data_type)
}

/// The largest value so far.
pub(super) fn largest(of: Arc<dyn PhysicalExpr>, data_type: &DataType) -> Result<Box<dyn Running>> {
    fn larger<T: ArrowPrimitiveType>(
        of: Arc<dyn PhysicalExpr>,
        data_type: &DataType,
    ) -> Result<Box<dyn Running>> {
        Ok(fold::<T, _>(
            of,
            data_type,
            |a: T::Native, b| {
                if b.is_gt(a) { b } else { a }
            },
        ))
    }
    with_native!(data_type, larger, of, data_type)
}

fn fold<T: ArrowPrimitiveType, F>(
    of: Arc<dyn PhysicalExpr>,
    data_type: &DataType,
    add: F,
) -> Box<dyn Running>
where
    F: Fn(T::Native, T::Native) -> T::Native + Send + 'static,
{
    Box::new(Fold::<T, F> {
        of,
        data_type: data_type.clone(),
        so_far: None,
        add,
    })
}

fn values_of(of: &Arc<dyn PhysicalExpr>, batch: &RecordBatch) -> Result<ArrayRef> {
    of.evaluate(batch)?.into_array(batch.num_rows())
}

fn index(place: usize) -> u32 {
    u32::try_from(place).expect("a batch has fewer rows")
}
