//! How often each key of a table occurs: one pass that groups by it and spills.

use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::functions_aggregate::expr_fn::{count, sum};
use datafusion::logical_expr::{ExprFunctionExt, ident, lit};
use datafusion::prelude::DataFrame;
use serde_json::Value;

use super::check::Check;
use super::json;
use super::pass::{count_of, single_row};
use super::rows::Rows;
use super::scalar::Scalar;
use super::verdict::Verdict;

/// The column that holds how often a key occurs.
pub(super) const N: &str = "__n";

/// What all checks on the same key want to know.
#[derive(Debug, Clone, Copy)]
pub(super) struct KeyCounts {
    n_rows: u64,
    n_keys: u64,
    /// The rows whose key another row has, too.
    n_shared: u64,
}

impl KeyCounts {
    pub(super) fn verdict(self, check: &Check, n_rows: u64) -> Verdict {
        match check {
            Check::ColumnDistinctCount(range) => Verdict::new(
                range.includes(&ScalarValue::from(self.n_keys)),
                n_rows,
                Value::from(self.n_keys),
            ),
            Check::ColumnDistinctShare(range) => {
                let share = (self.n_rows > 0).then(|| self.n_keys as f64 / self.n_rows as f64);
                Verdict::new(
                    range.includes(&ScalarValue::from(share)),
                    n_rows,
                    Value::from(share),
                )
            }
            _ => Verdict::of_rows(self.n_rows, self.n_shared),
        }
    }
}

impl Rows {
    /// Each key and how often it occurs.
    pub(super) fn keys(&self) -> Result<DataFrame> {
        let by = self.columns.iter().map(ident).collect();
        self.known()?
            .aggregate(by, vec![count(lit(1_i64)).alias(N)])
    }

    pub(super) async fn count_keys(&self) -> Result<KeyCounts> {
        let shared = sum(ident(N)).filter(ident(N).gt(lit(1_i64))).build()?;
        let counts = self.keys()?.aggregate(
            Vec::new(),
            vec![
                sum(ident(N)).alias("__rows"),
                count(lit(1_i64)).alias("__keys"),
                shared.alias("__shared"),
            ],
        )?;
        let counts = single_row(counts).await?;
        Ok(KeyCounts {
            n_rows: count_of(&counts[0]),
            n_keys: count_of(&counts[1]),
            n_shared: count_of(&counts[2]),
        })
    }

    /// Whether the value that occurs most often is one of those of a check.
    pub(super) async fn most_common(&self, check: &Check, n_rows: u64) -> Result<Verdict> {
        let Check::MostCommonValue {
            column,
            values,
            ties_okay,
        } = check
        else {
            return Ok(Verdict::of_rows(n_rows, 0));
        };
        let values = values.iter().map(Scalar::lit).collect();
        let is_expected = ident(column).in_list(values, false);
        // Of those that occur most often, the expected ones come first: two rows tell it all.
        let top = self
            .keys()?
            .select([
                ident(column).alias("__value"),
                ident(N),
                is_expected.alias("__expected"),
            ])?
            .sort(vec![
                ident(N).sort(false, false),
                ident("__expected").sort(false, false),
                ident("__value").sort(true, false),
            ])?
            .limit(0, Some(2))?
            .collect()
            .await?;
        let mut found = Vec::new();
        for batch in &top {
            for row in 0..batch.num_rows() {
                let at = |column: usize| ScalarValue::try_from_array(batch.column(column), row);
                let is_expected = at(2)? == ScalarValue::from(true);
                found.push((at(0)?, count_of(&at(1)?), is_expected));
            }
        }
        let Some((value, n, is_expected)) = found.first() else {
            return Ok(Verdict::new(false, n_rows, Value::Null));
        };
        let is_tied = found.get(1).is_some_and(|(_, n_second, _)| n_second == n);
        let passed = *is_expected && (*ties_okay || !is_tied);
        let tied = if is_tied { ", and so do others" } else { "" };
        Ok(Verdict::new(passed, n_rows, json::value(value)?)
            .with_note(format!("it occurs {n} times{tied}")))
    }
}
