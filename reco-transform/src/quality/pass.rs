//! The single pass that counts all that can be counted at once.

use std::collections::HashMap;

use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::{DFSchema, ScalarValue, plan_err};
use datafusion::error::Result;
use datafusion::functions_aggregate::expr_fn::{avg, count, max, min, stddev, sum};
use datafusion::logical_expr::{Expr, ExprFunctionExt, cast, ident, lit};
use datafusion::prelude::{DataFrame, SessionContext};

use super::check::{Check, ColumnValues, IgnoreRowIf};
use super::config::ExpectationConfig;
use super::functions::count_true;
use super::predicate::{considered, number, row_condition, when};

/// The aggregates that one pass over a table computes, each once however many expectations want it.
///
/// Whatever else they have in common, such as a condition, a length or a cast, is computed once a row by
/// the engine, which takes common subexpressions out of aggregates.
#[derive(Debug)]
pub(super) struct Pass {
    aggregates: Vec<Expr>,
    slots: HashMap<Expr, Slot>,
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
                n_failed: self.slot(count_true(condition.fails)),
                n_considered: self.n_of(condition.considered),
            });
        }
        let when = when(config, session, schema)?;
        let aggregate = match &config.check {
            Check::ColumnMin(range) => min(ident(&range.column)),
            Check::ColumnMax(range) => max(ident(&range.column)),
            Check::ColumnMean(range) => avg(number(&range.column, schema)?),
            Check::ColumnStdev(range) => stddev(number(&range.column, schema)?),
            Check::ColumnSum(range) => sum(number(&range.column, schema)?),
            Check::Freshness { column, .. } => max(time(column, schema)?),
            Check::DistinctValuesIn(list) => {
                return Ok(Wanted::Occurrences {
                    of_each: Vec::new(),
                    of_others: Some(self.others(list, when)),
                });
            }
            Check::DistinctValuesEqual(list) => {
                return Ok(Wanted::Occurrences {
                    of_each: self.each(list, when.as_ref()),
                    of_others: Some(self.others(list, when)),
                });
            }
            Check::DistinctValuesContain(list) => {
                return Ok(Wanted::Occurrences {
                    of_each: self.each(list, when.as_ref()),
                    of_others: None,
                });
            }
            other => {
                let known = known_columns(other, schema)?;
                return Ok(Wanted::Considered(self.n_of(both(when, known))));
            }
        };
        let aggregate = match when {
            Some(when) => aggregate.filter(when).build()?,
            None => aggregate,
        };
        Ok(Wanted::Value(self.slot(aggregate)))
    }

    fn each(&mut self, list: &ColumnValues, when: Option<&Expr>) -> Vec<Slot> {
        let is = |value| ident(&list.column).eq(value);
        let values = list.values.iter();
        let conditions = values.map(|value| both(when.cloned(), Some(is(value.lit()))));
        conditions.map(|condition| self.n_of(condition)).collect()
    }

    fn others(&mut self, list: &ColumnValues, when: Option<Expr>) -> Slot {
        let values = list.values.iter().map(|value| value.lit()).collect();
        let others = ident(&list.column).in_list(values, true);
        self.n_of(both(when, Some(others)))
    }

    fn n_of(&mut self, condition: Option<Expr>) -> Slot {
        condition.map_or(Self::N_ROWS, |condition| self.slot(count_true(condition)))
    }

    fn slot(&mut self, aggregate: Expr) -> Slot {
        if let Some(&slot) = self.slots.get(&aggregate) {
            return slot;
        }
        let slot = self.aggregates.len();
        self.slots.insert(aggregate.clone(), slot);
        self.aggregates.push(aggregate.alias(format!("__{slot}")));
        slot
    }

    pub(super) fn plan(self, frame: DataFrame) -> Result<DataFrame> {
        frame.aggregate(Vec::new(), self.aggregates)
    }
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
pub(super) fn known_columns(check: &Check, schema: &DFSchema) -> Result<Option<Expr>> {
    let of = |column: &str| considered(&[column], IgnoreRowIf::AnyMissing);
    Ok(match check {
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
        Check::ColumnMedian(ranged) => {
            number(&ranged.column, schema)?;
            of(&ranged.column)
        }
        Check::ColumnQuantile { column, .. } => {
            number(column, schema)?;
            of(column)
        }
        _ => None,
    })
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
