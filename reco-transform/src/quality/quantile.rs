//! [`Digits`], [`Search`]: exact quantiles of a column, without sorting it.
//!
//! The bits of a floating-point number, with the sign turned, are an integer in the same order. It is read
//! as four digits of 16 bits. A pass over the column counts how often each first digit occurs, which tells
//! the first digit of the value at any rank; the next pass counts the second digits of the values that
//! begin with it, and after four passes the value is known. It is known earlier where all values that begin
//! like it are the same: small whole numbers are after one pass, prices after two. What is held is the
//! counts: 1.5 MiB for each value that is looked for, however many rows there are, and nothing is ever
//! written to disk.
//!
//! The first digits of all columns are counted in the pass that counts everything else, and each of the
//! other digits in one pass for all columns.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::datatypes::{DataType, Float64Type};
use datafusion::common::{ScalarValue, exec_err, internal_err};
use datafusion::error::Result;
use datafusion::logical_expr::{Accumulator, Expr, Volatility, create_udaf};

use super::guard::only_where;

const BITS: u32 = 16;
const N_VALUES: usize = 1 << BITS;

/// The numbers that begin with each of some beginnings and each digit after it.
pub(super) type DigitCounts = BTreeMap<(u64, u16), Alike>;

/// Numbers that begin with the same digits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Alike {
    n: u64,
    /// The least and the greatest, as integers.
    least: u64,
    greatest: u64,
}

impl Alike {
    const NONE: Self = Self {
        n: 0,
        least: u64::MAX,
        greatest: 0,
    };

    fn add(&mut self, others: Self) {
        self.n += others.n;
        self.least = self.least.min(others.least);
        self.greatest = self.greatest.max(others.greatest);
    }
}

/// The aggregate that counts the first digit of a number.
pub(super) fn first_digits(number: Expr) -> Expr {
    next_digits(number, &[0], 0)
}

/// The aggregate that counts the digit after some beginnings of so many digits.
fn next_digits(number: Expr, beginnings: &[u64], n_known: u32) -> Expr {
    let beginnings: Arc<[u64]> = beginnings.into();
    // Two functions are the same to the engine if their names are.
    let name = format!("digits_{n_known}_{beginnings:x?}");
    let digits = create_udaf(
        &name,
        vec![DataType::Float64],
        Arc::new(DataType::Binary),
        Volatility::Immutable,
        Arc::new(move |_| Ok(Box::new(Digits::new(Arc::clone(&beginnings), n_known)))),
        Arc::new(vec![DataType::Binary]),
    );
    digits.call(vec![number])
}

/// A number as an integer in the same order; NaN is above every other.
const fn key_of(number: f64) -> u64 {
    let bits = number.to_bits();
    if number.is_sign_negative() && !number.is_nan() {
        !bits
    } else {
        (bits & (u64::MAX >> 1)) | (1 << (u64::BITS - 1))
    }
}

const fn number_of(key: u64) -> f64 {
    if key >> (u64::BITS - 1) == 1 {
        f64::from_bits(key & (u64::MAX >> 1))
    } else {
        f64::from_bits(!key)
    }
}

/// Counts digits.
#[derive(Debug)]
struct Digits {
    beginnings: Arc<[u64]>,
    n_known: u32,
    /// For each beginning, the numbers that go on with each digit.
    counts: Vec<Alike>,
}

impl Digits {
    fn new(beginnings: Arc<[u64]>, n_known: u32) -> Self {
        Self {
            counts: vec![Alike::NONE; beginnings.len() * N_VALUES],
            beginnings,
            n_known,
        }
    }

    fn count(&mut self, key: u64) {
        let at = if self.n_known == 0 {
            0
        } else {
            let beginning = key >> (u64::BITS - BITS * self.n_known);
            let Some(at) = self.beginnings.iter().position(|one| *one == beginning) else {
                return;
            };
            at
        };
        self.counts[at * N_VALUES + usize::from(digit(key, self.n_known))].add(Alike {
            n: 1,
            least: key,
            greatest: key,
        });
    }
}

/// The digit after so many.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the digit is the last 16 bits"
)]
const fn digit(key: u64, n_known: u32) -> u16 {
    (key >> (u64::BITS - BITS * (n_known + 1))) as u16
}

impl Accumulator for Digits {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let numbers = values[0].as_primitive::<Float64Type>();
        match numbers.nulls() {
            None => numbers
                .values()
                .iter()
                .for_each(|number| self.count(key_of(*number))),
            Some(_) => numbers
                .iter()
                .flatten()
                .for_each(|number| self.count(key_of(number))),
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for state in states[0].as_binary::<i32>().iter().flatten() {
            for ((beginning, digit), alike) in decode(state)? {
                let at = self.beginnings.iter().position(|one| *one == beginning);
                let Some(at) = at else {
                    return internal_err!("a digit after a beginning that was not looked for");
                };
                self.counts[at * N_VALUES + usize::from(digit)].add(alike);
            }
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    /// Those that occur: the beginning, the digit, how many, the least and the greatest, in 34 bytes.
    fn evaluate(&mut self) -> Result<ScalarValue> {
        let mut bytes = Vec::new();
        for (beginning, counts) in self.beginnings.iter().zip(self.counts.chunks(N_VALUES)) {
            for (digit, alike) in (0..=u16::MAX).zip(counts) {
                if alike.n > 0 {
                    bytes.extend(beginning.to_le_bytes());
                    bytes.extend(digit.to_le_bytes());
                    for part in [alike.n, alike.least, alike.greatest] {
                        bytes.extend(part.to_le_bytes());
                    }
                }
            }
        }
        Ok(ScalarValue::Binary(Some(bytes)))
    }

    fn size(&self) -> usize {
        size_of_val(self) + size_of_val(self.counts.as_slice())
    }
}

fn decode(mut bytes: &[u8]) -> Result<DigitCounts> {
    let mut counts = DigitCounts::new();
    while !bytes.is_empty() {
        let (Some(beginning), Some(digit)) = (take(&mut bytes), take(&mut bytes)) else {
            return internal_err!("a count of digits is cut off");
        };
        let mut number = || take(&mut bytes).map(u64::from_le_bytes);
        let (Some(n), Some(least), Some(greatest)) = (number(), number(), number()) else {
            return internal_err!("a count of digits is cut off");
        };
        let key = (u64::from_le_bytes(beginning), u16::from_le_bytes(digit));
        counts.insert(key, Alike { n, least, greatest });
    }
    Ok(counts)
}

// The first bytes, which are taken away.
fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*first)
}

/// The counts that an aggregate of digits made.
pub(super) fn digits_of(value: &ScalarValue) -> Result<DigitCounts> {
    match value {
        ScalarValue::Binary(Some(bytes)) => decode(bytes),
        other => internal_err!("{other} is no count of digits"),
    }
}

/// The search for the values at some ranks.
#[derive(Debug)]
pub(super) struct Search {
    number: Expr,
    condition: Option<Expr>,
    n_values: u64,
    n_known: u32,
    /// Each rank that is looked for, and what is known of its value.
    ranks: BTreeMap<u64, Known>,
}

/// What is known of a value.
#[derive(Debug, Clone, Copy)]
enum Known {
    /// Its first digits, and its rank among the values that begin with them.
    Beginning(u64, u64),
    All(u64),
}

impl Search {
    /// A search among numbers that meet a condition, whose first digits are counted.
    pub(super) fn new(number: Expr, condition: Option<Expr>, first: &DigitCounts) -> Self {
        Self {
            number,
            condition,
            n_values: first.values().map(|alike| alike.n).sum(),
            n_known: 0,
            ranks: BTreeMap::new(),
        }
    }

    pub(super) const fn n_values(&self) -> u64 {
        self.n_values
    }

    /// Looks for the value of a rank, from 1 to the number of values.
    pub(super) fn want(&mut self, rank: u64) {
        self.ranks.entry(rank).or_insert(Known::Beginning(0, rank));
    }

    // Those whose next digits are not known, in order.
    fn beginnings(&self) -> Vec<u64> {
        let beginnings = self.ranks.values().filter_map(|known| match known {
            Known::Beginning(beginning, _) => Some(*beginning),
            Known::All(_) => None,
        });
        let mut beginnings: Vec<u64> = beginnings.collect();
        beginnings.sort_unstable();
        beginnings.dedup();
        beginnings
    }

    /// The aggregate that counts the next digits; none if all are known.
    pub(super) fn next(&self) -> Result<Option<Expr>> {
        let beginnings = self.beginnings();
        if beginnings.is_empty() {
            return Ok(None);
        }
        let number = only_where(self.condition.clone(), self.number.clone())?;
        Ok(Some(next_digits(number, &beginnings, self.n_known)))
    }

    /// Adds a digit to what is known, told by how often each occurs.
    pub(super) fn narrow(&mut self, counts: &DigitCounts) -> Result<()> {
        for known in self.ranks.values_mut() {
            let Known::Beginning(beginning, mut rank) = *known else {
                continue;
            };
            let range = (beginning, 0)..=(beginning, u16::MAX);
            let found = counts.range(range).find_map(|((_, digit), alike)| {
                if rank <= alike.n {
                    return Some((*digit, alike));
                }
                rank -= alike.n;
                None
            });
            let Some((digit, alike)) = found else {
                return exec_err!("the table lost rows while it was audited");
            };
            *known = if alike.least == alike.greatest {
                Known::All(alike.least)
            } else {
                Known::Beginning((beginning << BITS) | u64::from(digit), rank)
            };
        }
        self.n_known += 1;
        Ok(())
    }

    /// The value of a rank, once there is nothing left to look for.
    pub(super) fn value(&self, rank: u64) -> Option<f64> {
        match self.ranks.get(&rank)? {
            Known::All(key) => Some(number_of(*key)),
            Known::Beginning(..) => None,
        }
    }
}

/// The least rank whose share of values is at least the quantile.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of a count is between 0 and the count"
)]
pub(super) fn rank_of(quantile: f64, n_values: u64) -> u64 {
    ((quantile * n_values as f64).ceil() as u64).clamp(1, n_values)
}

/// The ranks of the two values in the middle, which are one if the number of values is odd.
pub(super) fn middle_of(n_values: u64) -> [u64; 2] {
    [n_values.div_ceil(2), n_values / 2 + 1]
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::Float64Array;
    use datafusion::logical_expr::ident;
    use proptest::prelude::*;

    use super::*;

    const N_DIGITS: u32 = u64::BITS / BITS;

    #[test]
    fn a_quantile_is_one_of_the_values() {
        let check = |quantile, n_values, expected| {
            assert_eq!(rank_of(quantile, n_values), expected);
        };
        check(0.0, 4, 1);
        check(0.25, 4, 1);
        check(0.26, 4, 2);
        check(0.5, 4, 2);
        check(1.0, 4, 4);
        check(0.9, 1, 1);
    }

    /// What a pass over some values counts, in two parts.
    fn count(values: &[f64], beginnings: &[u64], n_known: u32) -> DigitCounts {
        let mut whole = Digits::new(beginnings.into(), n_known);
        for part in values.chunks(values.len().div_ceil(2).max(1)) {
            let mut digits = Digits::new(beginnings.into(), n_known);
            let part: ArrayRef = Arc::new(Float64Array::from(part.to_vec()));
            digits.update_batch(&[part]).unwrap();
            let state = digits.state().unwrap()[0].to_array().unwrap();
            whole.merge_batch(&[state]).unwrap();
        }
        digits_of(&whole.evaluate().unwrap()).unwrap()
    }

    #[test]
    fn values_that_begin_like_no_other_are_known_early() {
        let check = |values: &[f64], n_passes: u32| {
            let mut search = Search::new(ident("x"), None, &count(values, &[0], 0));
            (1..=values.len() as u64).for_each(|rank| search.want(rank));
            let mut n_known = 0;
            while search.next().unwrap().is_some() {
                let beginnings = search.beginnings();
                search.narrow(&count(values, &beginnings, n_known)).unwrap();
                n_known += 1;
            }
            assert_eq!(n_known, n_passes, "{values:?}");
        };
        check(&[], 0);
        check(&[1.0, 2.0, 3.0, 3.0], 1);
        check(&[19.98, 19.99, 20.0], 2);
        check(&[1.0, 1.0_f64.next_up()], 4);
    }

    proptest! {
        // Each value takes more than a megabyte.
        #![proptest_config(ProptestConfig::with_cases(8))]

        #[test]
        fn the_value_of_a_rank_is_the_one_of_sorted_values(
            mut values in proptest::collection::vec(prop_oneof![any::<f64>(), (-3..3).prop_map(f64::from)], 1..9),
        ) {
            let mut search = Search::new(ident("x"), None, &count(&values, &[0], 0));
            prop_assert_eq!(search.n_values(), values.len() as u64);
            for rank in 1..=values.len() as u64 {
                search.want(rank);
            }
            for n_known in 0..N_DIGITS {
                let beginnings = search.beginnings();
                prop_assert_eq!(search.next().unwrap().is_some(), !beginnings.is_empty());
                search.narrow(&count(&values, &beginnings, n_known)).unwrap();
            }
            prop_assert!(search.next().unwrap().is_none());
            values.sort_by(f64::total_cmp);
            for (rank, value) in (1..).zip(values) {
                let found = search.value(rank).unwrap();
                prop_assert!(found.total_cmp(&value).is_eq(), "{} {}", found, value);
            }
        }
    }
}
