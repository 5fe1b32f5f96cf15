//! [`Rows`]: the rows that an expectation looks at, for what takes a pass of its own.

use datafusion::arrow::array::AsArray;
use datafusion::arrow::datatypes::Float64Type;
use datafusion::common::ScalarValue;
use datafusion::common::{Column, TableReference};
use datafusion::error::Result;
use datafusion::functions_aggregate::count::count_udaf;
use datafusion::functions_aggregate::expr_fn::avg;
use datafusion::functions_window::expr_fn::{lag, row_number};
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::{
    Expr, ExprFunctionExt, JoinType, WindowFunctionDefinition, ident, lit,
};
use datafusion::prelude::{DataFrame, SessionContext};
use serde_json::Value;

use super::check::{Check, Monotonic};
use super::config::ExpectationConfig;
use super::keys::N;
use super::pass::{both, known_columns};
use super::predicate::{number, when};
use super::verdict::Verdict;

/// The rows that an expectation looks at, and its columns.
#[derive(Clone)]
pub(super) struct Rows {
    session: SessionContext,
    frame: DataFrame,
    condition: Option<Expr>,
    pub(super) columns: Vec<String>,
}

impl Rows {
    pub(super) fn of(
        config: &ExpectationConfig,
        session: &SessionContext,
        frame: &DataFrame,
    ) -> Result<Self> {
        let when = when(config, session, frame.schema())?;
        let known = known_columns(&config.check, frame.schema())?;
        Ok(Self {
            session: session.clone(),
            frame: frame.clone(),
            condition: both(when, known),
            columns: config.check.columns(),
        })
    }

    /// Whether the keys of other rows are the keys of these.
    pub(super) fn has_keys_of(&self, other: &Self) -> bool {
        self.columns == other.columns && self.condition == other.condition
    }

    pub(super) fn known(&self) -> Result<DataFrame> {
        match &self.condition {
            Some(condition) => self.frame.clone().filter(condition.clone()),
            None => Ok(self.frame.clone()),
        }
    }

    /// The columns that samples show; all if none are named.
    pub(super) fn shown(&self, key: &[String]) -> Vec<String> {
        if key.is_empty() {
            return Vec::new();
        }
        key.iter().chain(&self.columns).cloned().collect()
    }

    /// The rows that fail a check for which one has to look further than a row.
    pub(super) fn failing(
        &self,
        check: &Check,
        other: Option<DataFrame>,
    ) -> Result<Option<DataFrame>> {
        match (check, other) {
            (Check::Unique { columns, .. }, _) => self.shared(columns).map(Some),
            (Check::Increasing(monotonic), _) => self.out_of_order(monotonic, true).map(Some),
            (Check::Decreasing(monotonic), _) => self.out_of_order(monotonic, false).map(Some),
            (
                Check::Relationships {
                    column, to_column, ..
                },
                Some(other),
            ) => self.orphans(column, other, to_column).map(Some),
            _ => Ok(None),
        }
    }

    /// A window and no join: its sort spills, and a join does not.
    fn shared(&self, columns: &[String]) -> Result<DataFrame> {
        let count = WindowFunctionDefinition::AggregateUDF(count_udaf());
        let in_group = Expr::from(WindowFunction::new(count, vec![lit(1_i64)]))
            .partition_by(columns.iter().map(ident).collect())
            .build()?
            .alias(N);
        let shared = self.known()?.window(vec![in_group])?;
        self.all_columns(shared.filter(ident(N).gt(lit(1_i64)))?)
    }

    fn out_of_order(&self, monotonic: &Monotonic, is_rising: bool) -> Result<DataFrame> {
        let Monotonic {
            column,
            order_by,
            partition_by,
            strictly,
        } = monotonic;
        // Rows at the same place come in the order that is expected.
        let order = order_by
            .iter()
            .map(|column| ident(column).sort(true, false));
        let order = order.chain([ident(column).sort(is_rising, false)]);
        let previous = lag(ident(column), Some(1), None)
            .order_by(order.collect())
            .partition_by(partition_by.iter().map(ident).collect())
            .build()?
            .alias("__previous");
        let (value, before) = (ident(column), ident("__previous"));
        let fails = match (is_rising, strictly) {
            (true, true) => value.lt_eq(before),
            (true, false) => value.lt(before),
            (false, true) => value.gt_eq(before),
            (false, false) => value.gt(before),
        };
        let fails = self.known()?.window(vec![previous])?.filter(fails)?;
        self.all_columns(fails)
    }

    fn orphans(&self, column: &str, other: DataFrame, to_column: &str) -> Result<DataFrame> {
        let known = other
            .filter(ident(to_column).is_not_null())?
            .select([ident(to_column).alias("__known")])?
            .distinct()?;
        // The left side of a join is held in memory: that of the values, not of the rows.
        known.join_on(
            self.known()?,
            JoinType::RightAnti,
            [ident(column).eq(ident("__known"))],
        )
    }

    /// Without the columns that were added.
    fn all_columns(&self, frame: DataFrame) -> Result<DataFrame> {
        let all = self.frame.schema().columns();
        frame.select(all.into_iter().map(Expr::Column).collect::<Vec<_>>())
    }

    /// The mean number of rows of earlier runs, as the table of their results says.
    pub(super) async fn earlier(&self, check: &Check, table: &str) -> Result<DataFrame> {
        let Check::RowCountNearEarlier {
            history, n_runs, ..
        } = check
        else {
            return Ok(self.frame.clone());
        };
        let n_runs = usize::try_from(*n_runs).unwrap_or(usize::MAX);
        let history = self.session.table(TableReference::bare(history.as_str()));
        let is_known = ident("subject")
            .eq(lit(table))
            .and(ident("n_rows").is_not_null());
        history
            .await?
            .filter(is_known)?
            .select([ident("run_at"), ident("n_rows")])?
            .distinct()?
            .sort(vec![ident("run_at").sort(false, false)])?
            .limit(0, Some(n_runs))?
            .aggregate(Vec::new(), vec![avg(ident("n_rows")).alias("__mean")])
    }

    /// A median or a quantile. The values are sorted, which spills, and no more than two are held.
    pub(super) async fn quantile(
        &self,
        check: &Check,
        n_rows: u64,
        n_values: u64,
    ) -> Result<Verdict> {
        if n_values == 0 {
            return Ok(Verdict::new(false, n_rows, Value::Null));
        }
        match check {
            Check::ColumnMedian(range) => {
                let middle = [n_values.div_ceil(2), n_values / 2 + 1];
                let middle = self.ranked(&range.column, &middle).await?;
                let median = middle.iter().sum::<f64>() / middle.len() as f64;
                let passed = range.includes(&ScalarValue::from(median));
                Ok(Verdict::new(passed, n_rows, Value::from(median)))
            }
            Check::ColumnQuantile {
                column,
                quantile,
                min,
                max,
            } => {
                let rank = rank_of(*quantile, n_values);
                let value = self.ranked(column, &[rank]).await?[0];
                let passed =
                    min.is_none_or(|min| value >= min) && max.is_none_or(|max| value <= max);
                Ok(Verdict::new(passed, n_rows, Value::from(value)))
            }
            _ => Ok(Verdict::of_rows(n_rows, 0)),
        }
    }

    /// The values of some ranks, from 1, in order.
    async fn ranked(&self, column: &str, ranks: &[u64]) -> Result<Vec<f64>> {
        let value = number(column, self.frame.schema())?;
        let rank = row_number()
            .order_by(vec![ident("__value").sort(true, false)])
            .build()?
            .alias("__rank");
        let ranks = ranks.iter().map(|rank| lit(*rank)).collect();
        let batches = self
            .known()?
            .select([value.alias("__value")])?
            .window(vec![rank])?
            .filter(ident("__rank").in_list(ranks, false))?
            .select([Expr::Column(Column::from_name("__value"))])?
            .collect()
            .await?;
        let values = batches
            .iter()
            .flat_map(|batch| batch.column(0).as_primitive::<Float64Type>().values());
        Ok(values.copied().collect())
    }
}

/// The least rank whose share of values is at least the quantile.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of a count is between 0 and the count"
)]
fn rank_of(quantile: f64, n_values: u64) -> u64 {
    ((quantile * n_values as f64).ceil() as u64).clamp(1, n_values)
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
