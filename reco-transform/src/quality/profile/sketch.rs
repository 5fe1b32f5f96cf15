//! How many different values a column has, in bounded memory.
//!
//! The smallest hashes of its values are kept. While there are fewer than are kept at most, their number is
//! the number of values. Beyond that it follows from how close to 0 they lie: if k hashes of 64 bits are
//! below h, there are about k · 2⁶⁴ / h values (Bar-Yossef et al. 2002, "Counting distinct elements in a data
//! stream"). The order of rows and how they are split has no influence.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::hash_utils::{QualityRandomState, create_hashes};
use datafusion::common::{ScalarValue, internal_err};
use datafusion::error::Result;
use datafusion::logical_expr::{Accumulator, Expr, Volatility, create_udaf};

/// How many hashes are kept.
pub(super) const N_HASHES: usize = 1024;

/// The aggregate that keeps the smallest hashes of a column.
pub(super) fn hashes(column: Expr, data_type: &DataType) -> Expr {
    let sketch = create_udaf(
        &format!("smallest_hashes_{data_type}"),
        vec![data_type.clone()],
        Arc::new(DataType::Binary),
        Volatility::Immutable,
        Arc::new(|_| Ok(Box::new(Sketch::default()))),
        Arc::new(vec![DataType::Binary]),
    );
    sketch.call(vec![column])
}

/// How many different values there are, and whether that is exact.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an estimate is positive, and far below 2^64"
)]
pub(super) fn n_distinct(sketch: &ScalarValue) -> Result<(u64, bool)> {
    let ScalarValue::Binary(Some(bytes)) = sketch else {
        return internal_err!("{sketch} holds no hashes");
    };
    let hashes: Vec<u64> = decode(bytes).collect();
    match hashes.last() {
        Some(last) if hashes.len() >= N_HASHES => {
            let share = (*last as f64 + 1.0) / (u64::MAX as f64 + 1.0);
            Ok((((N_HASHES - 1) as f64 / share).round() as u64, false))
        }
        _ => Ok((hashes.len() as u64, true)),
    }
}

fn decode(bytes: &[u8]) -> impl Iterator<Item = u64> {
    let (hashes, _) = bytes.as_chunks::<8>();
    hashes.iter().map(|bytes| u64::from_le_bytes(*bytes))
}

#[derive(Debug, Default)]
struct Sketch {
    smallest: BTreeSet<u64>,
    hashes: Vec<u64>,
}

impl Sketch {
    fn add(&mut self, hash: u64) {
        if self.smallest.len() >= N_HASHES {
            if self.smallest.last().is_some_and(|last| hash >= *last) {
                return;
            }
            if self.smallest.insert(hash) {
                self.smallest.pop_last();
            }
        } else {
            self.smallest.insert(hash);
        }
    }
}

impl Accumulator for Sketch {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let values = &values[0];
        let mut hashes = std::mem::take(&mut self.hashes);
        hashes.clear();
        hashes.resize(values.len(), 0);
        create_hashes([values], &QualityRandomState::with_seed(0), &mut hashes)?;
        for (row, hash) in hashes.iter().enumerate() {
            if values.is_valid(row) {
                self.add(*hash);
            }
        }
        self.hashes = hashes;
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for state in states[0].as_binary::<i32>().iter().flatten() {
            decode(state).for_each(|hash| self.add(hash));
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let bytes = self.smallest.iter().flat_map(|hash| hash.to_le_bytes());
        Ok(ScalarValue::Binary(Some(bytes.collect())))
    }

    fn size(&self) -> usize {
        size_of_val(self) + (N_HASHES + self.hashes.capacity()) * size_of::<u64>()
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::Int64Array;

    use super::*;

    fn count(values: impl Iterator<Item = Option<i64>>) -> (u64, bool) {
        let mut sketch = Sketch::default();
        let values: ArrayRef = Arc::new(values.collect::<Int64Array>());
        sketch.update_batch(&[values]).unwrap();
        n_distinct(&sketch.evaluate().unwrap()).unwrap()
    }

    #[test]
    fn few_values_are_counted_and_many_estimated() {
        assert_eq!(count(std::iter::empty()), (0, true));
        assert_eq!(
            count((0..5000).map(|i| (i % 7 > 0).then_some(i % 1000))),
            (1000, true)
        );
        for n in [2_000, 50_000, 200_000] {
            let (found, is_exact) = count((0..n).map(Some));
            let error = (found as f64 / n as f64 - 1.0).abs();
            assert!(!is_exact && error < 0.1, "{found} of {n}");
        }
    }

    #[test]
    fn parts_are_merged_to_the_same() {
        let of = |values: std::ops::Range<i64>| {
            let mut sketch = Sketch::default();
            let values: ArrayRef = Arc::new(Int64Array::from_iter_values(values));
            sketch.update_batch(&[values]).unwrap();
            sketch
        };
        let mut merged = of(0..3000);
        let state = of(2000..9000).state().unwrap()[0].to_array().unwrap();
        merged.merge_batch(&[state]).unwrap();
        assert_eq!(merged.smallest, of(0..9000).smallest);
    }
}
