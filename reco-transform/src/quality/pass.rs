//! The single pass that counts all that can be counted at once.

use std::collections::{BTreeMap, HashMap};

use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::{DFSchema, ScalarValue, plan_err};
use datafusion::error::Result;
use datafusion::functions_aggregate::expr_fn::{avg, count, max, min, stddev, sum};
use datafusion::logical_expr::{Expr, cast, ident, lit};
use datafusion::prelude::{DataFrame, SessionContext};

use super::arguments::{ColumnNearEarlier, ColumnValues, IgnoreRowIf};
use super::check::Check;
use super::config::ExpectationConfig;
use super::functions::count_true;
use super::guard::{guarded, only_where};
use super::predicate::{considered, number, row_condition, when};
use super::quantile::{Search, digits_of, first_digits};
use super::range::ColumnRange;
use super::regex::quick;

/// The aggregates that one pass over a table computes, each once however many expectations want it.
///
/// Whatever else they have in common, such as a condition, a length or a cast, is computed once a row by
/// the engine, which takes common subexpressions out of aggregates.
#[derive(Debug)]
pub(super) struct Pass {
    aggregates: Vec<Expr>,
    slots: HashMap<Expr, Slot>,
    /// The columns whose digits are counted, each with the condition of the rows.
    digits: BTreeMap<Slot, (Expr, Option<Expr>)>,
}

/// What a pass found.
#[derive(Debug)]
pub(super) struct Totals {
    values: Vec<ScalarValue>,
    searches: BTreeMap<Slot, Search>,
}

/// The position of an aggregate among the results of a pass.
pub(super) type Slot = usize;

/// What an expectation wants of the pass.
#[derive(Debug)]
pub(super) enum Wanted {
    /// How many rows fail.
    Rows { n_failed: Slot, n_considered: Slot },
    /// How many rows are looked at; something else finds out which of them fail.
    Considered(Slot),
    /// A value.
    Value(Slot),
    /// How many of the rows that are looked at are NULL.
    Nulls { n_null: Slot, n_considered: Slot },
    /// The values of some ranks, by the counts of their first digits.
    Ranked(Slot),
    /// How often each of its values occurs, and how many rows have another, if that matters.
    Occurrences {
        of_each: Vec<Slot>,
        of_others: Option<Slot>,
    },
}

impl Pass {
    /// The slot of the number of all rows.
    pub(super) const N_ROWS: Slot = 0;

    pub(super) fn new() -> Self {
        let mut pass = Self {
            aggregates: Vec::new(),
            slots: HashMap::new(),
            digits: BTreeMap::new(),
        };
        pass.slot(count(lit(1_i64)));
        pass
    }

    /// Adds what an expectation wants.
    pub(super) fn want(
        &mut self,
        config: &ExpectationConfig,
        session: &SessionContext,
        schema: &DFSchema,
    ) -> Result<Wanted> {
        if let Some(condition) = row_condition(config, session, schema)? {
            return Ok(Wanted::Rows {
                n_failed: self.n_of(condition.fails),
                n_considered: self.n_of(condition.considered),
            });
        }
        let when = when(config, session, schema)?;
        let value = |value: Expr| only_where(when.clone(), value);
        let aggregate = match &config.check {
            Check::ColumnMin(range) => min(value(ident(&range.column))?),
            Check::ColumnMax(range) => max(value(ident(&range.column))?),
            Check::ColumnMean(range) => avg(value(number(&range.column, schema)?)?),
            Check::MeanNearEarlier(near) => avg(value(number(&near.column, schema)?)?),
            Check::ColumnStdev(range) => stddev(value(number(&range.column, schema)?)?),
            Check::ColumnSum(range) => sum(value(number(&range.column, schema)?)?),
            Check::Freshness { column, .. } => max(value(time(column, schema)?)?),
            Check::ColumnNotNullShare(ColumnRange { column, .. })
            | Check::NullShareNearEarlier(ColumnNearEarlier { column, .. }) => {
                let is_null = guarded(when.clone(), ident(column).is_null(), schema)?;
                return Ok(Wanted::Nulls {
                    n_null: self.n_of(is_null),
                    n_considered: self.n_of(when),
                });
            }
            Check::ColumnMedian(ColumnRange { column, .. })
            | Check::ColumnQuantile { column, .. }
            | Check::QuantileNearEarlier { column, .. } => {
                return self
                    .ranked(number(column, schema)?, when)
                    .map(Wanted::Ranked);
            }
            Check::DistinctValuesIn(list) => {
                return Ok(Wanted::Occurrences {
                    of_each: Vec::new(),
                    of_others: Some(self.others(list, when, schema)?),
                });
            }
            Check::DistinctValuesEqual(list) => {
                return Ok(Wanted::Occurrences {
                    of_each: self.each(list, when.as_ref(), schema)?,
                    of_others: Some(self.others(list, when, schema)?),
                });
            }
            Check::DistinctValuesContain(list) => {
                return Ok(Wanted::Occurrences {
                    of_each: self.each(list, when.as_ref(), schema)?,
                    of_others: None,
                });
            }
            other => {
                let known = known_columns(other);
                return Ok(Wanted::Considered(self.n_of(when.into_iter().chain(known))));
            }
        };
        Ok(Wanted::Value(self.slot(aggregate)))
    }

    fn each(
        &mut self,
        list: &ColumnValues,
        when: Option<&Expr>,
        schema: &DFSchema,
    ) -> Result<Vec<Slot>> {
        let each = list.values.iter().map(|value| {
            let is = ident(&list.column).eq(value.lit());
            Ok(self.n_of(guarded(when.cloned(), is, schema)?))
        });
        each.collect()
    }

    fn others(
        &mut self,
        list: &ColumnValues,
        when: Option<Expr>,
        schema: &DFSchema,
    ) -> Result<Slot> {
        let values = list.values.iter().map(|value| value.lit()).collect();
        let others = ident(&list.column).in_list(values, true);
        Ok(self.n_of(guarded(when, others, schema)?))
    }

    // How many rows meet all of some conditions.
    fn n_of(&mut self, conditions: impl IntoIterator<Item = Expr>) -> Slot {
        let conditions: Vec<Expr> = conditions.into_iter().collect();
        if conditions.is_empty() {
            return Self::N_ROWS;
        }
        self.slot(count_true(conditions))
    }

    /// The slot of the first digits of a column, among the rows that meet a condition.
    pub(super) fn ranked(&mut self, number: Expr, when: Option<Expr>) -> Result<Slot> {
        let same = self
            .digits
            .iter()
            .find(|(_, known)| known.0 == number && known.1 == when);
        if let Some((slot, _)) = same {
            return Ok(*slot);
        }
        let digits = first_digits(only_where(when.clone(), number.clone())?);
        let slot = self.slot(digits);
        self.digits.insert(slot, (number, when));
        Ok(slot)
    }

    pub(super) fn slot(&mut self, aggregate: Expr) -> Slot {
        if let Some(&slot) = self.slots.get(&aggregate) {
            return slot;
        }
        let slot = self.aggregates.len();
        self.slots.insert(aggregate.clone(), slot);
        self.aggregates.push(aggregate.alias(format!("__{slot}")));
        slot
    }

    pub(super) fn plan(self, frame: DataFrame) -> Result<DataFrame> {
        aggregate(frame, self.aggregates)
    }

    /// Passes over a table.
    pub(super) async fn compute(mut self, frame: DataFrame) -> Result<Totals> {
        let digits = std::mem::take(&mut self.digits);
        let values = single_row(self.plan(frame)?).await?;
        let searches = digits.into_iter().map(|(slot, (number, when))| {
            let counts = digits_of(&values[slot])?;
            Ok((slot, Search::new(number, when, &counts)))
        });
        Ok(Totals {
            searches: searches.collect::<Result<_>>()?,
            values,
        })
    }
}

impl Totals {
    pub(super) fn value(&self, slot: Slot) -> &ScalarValue {
        &self.values[slot]
    }

    pub(super) fn count(&self, slot: Slot) -> u64 {
        count_of(&self.values[slot])
    }

    /// How many values there are in a column whose digits are counted.
    pub(super) fn n_ranked(&self, slot: Slot) -> u64 {
        self.searches.get(&slot).map_or(0, Search::n_values)
    }

    /// Looks for the value of a rank in a column whose digits are counted.
    pub(super) fn want_rank(&mut self, slot: Slot, rank: u64) {
        if let Some(search) = self.searches.get_mut(&slot) {
            search.want(rank);
        }
    }

    /// Passes over the table until the values of all ranks are known.
    pub(super) async fn find_ranks(&mut self, frame: &DataFrame) -> Result<()> {
        // The first digits are counted already.
        for (slot, search) in &mut self.searches {
            search.narrow(&digits_of(&self.values[*slot])?)?;
        }
        loop {
            let mut digits = Vec::new();
            let mut slots = Vec::new();
            for (slot, search) in &self.searches {
                if let Some(next) = search.next()? {
                    digits.push(next.alias(format!("__{slot}")));
                    slots.push(*slot);
                }
            }
            if slots.is_empty() {
                return Ok(());
            }
            let counts = single_row(aggregate(frame.clone(), digits)?).await?;
            for (slot, counts) in slots.iter().zip(&counts) {
                if let Some(search) = self.searches.get_mut(slot) {
                    search.narrow(&digits_of(counts)?)?;
                }
            }
        }
    }

    /// The value of a rank that was looked for.
    pub(super) fn ranked(&self, slot: Slot, rank: u64) -> Option<f64> {
        self.searches.get(&slot)?.value(rank)
    }
}

/// Aggregates of a whole table.
///
/// What aggregates have in common is taken out of them, and then the engine finds that a condition such as
/// `… is not true` can be NULL in one of its schemas and not in the other, and gives up. The check that it
/// trips over is left out; nothing else depends on it.
fn aggregate(frame: DataFrame, aggregates: Vec<Expr>) -> Result<DataFrame> {
    let schema = frame.schema();
    let aggregates = aggregates.into_iter().map(|one| quick(one, schema));
    let aggregates = aggregates.collect::<Result<Vec<_>>>()?;
    let (mut state, plan) = frame.into_parts();
    let options = state.config_mut().options_mut();
    options.execution.skip_physical_aggregate_schema_check = true;
    DataFrame::new(state, plan).aggregate(Vec::new(), aggregates)
}

/// The single row of a query of aggregates.
pub(super) async fn single_row(aggregates: DataFrame) -> Result<Vec<ScalarValue>> {
    let batches = aggregates.collect().await?;
    let row = batches.iter().find(|batch| batch.num_rows() == 1);
    let row = row.expect("an aggregate without groups makes one row");
    let value = |column: &ArrayRef| ScalarValue::try_from_array(column, 0);
    row.columns().iter().map(value).collect()
}

/// A count as a number; a sum of nothing is NULL, and 0.
pub(super) fn count_of(value: &ScalarValue) -> u64 {
    match value {
        ScalarValue::Int64(Some(count)) => u64::try_from(*count).unwrap_or(0),
        ScalarValue::UInt64(Some(count)) => *count,
        _ => 0,
    }
}

pub(super) fn both(one: Option<Expr>, other: Option<Expr>) -> Option<Expr> {
    one.into_iter().chain(other).reduce(Expr::and)
}

/// The rows that a check of many rows does not pass over; none for all.
pub(super) fn known_columns(check: &Check) -> Option<Expr> {
    let of = |column: &str| considered(&[column], IgnoreRowIf::AnyMissing);
    match check {
        Check::Unique {
            columns,
            ignore_row_if,
        } => {
            let columns: Vec<_> = columns.iter().map(String::as_str).collect();
            considered(&columns, *ignore_row_if)
        }
        Check::Increasing(monotonic) | Check::Decreasing(monotonic) => of(&monotonic.column),
        Check::Relationships { column, .. } | Check::MostCommonValue { column, .. } => of(column),
        Check::ColumnDistinctCount(range) | Check::ColumnDistinctShare(range) => of(&range.column),
        _ => None,
    }
}

/// A column of times, in any of the types that hold them.
fn time(column: &str, schema: &DFSchema) -> Result<Expr> {
    let data_type = schema.field_with_unqualified_name(column)?.data_type();
    match data_type {
        DataType::Timestamp(..)
        | DataType::Date32
        | DataType::Date64
        | DataType::Utf8
        | DataType::LargeUtf8
        | DataType::Utf8View => Ok(cast(
            ident(column),
            DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        )),
        _ => plan_err!("column `{column}` is {data_type}, not a time"),
    }
}
