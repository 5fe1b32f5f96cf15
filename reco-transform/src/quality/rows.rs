//! [`Rows`]: the rows that an expectation looks at, for what takes a pass of its own.

use datafusion::error::Result;
use datafusion::functions_aggregate::count::count_udaf;
use datafusion::functions_window::expr_fn::lag;
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::{
    Expr, ExprFunctionExt, JoinType, WindowFunctionDefinition, ident, lit,
};
use datafusion::prelude::{DataFrame, SessionContext};

use super::arguments::Monotonic;
use super::check::Check;
use super::config::ExpectationConfig;
use super::keys::N;
use super::pass::{both, known_columns};
use super::predicate::when;

/// The rows that an expectation looks at, and its columns.
#[derive(Clone)]
pub(super) struct Rows {
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
        let known = known_columns(&config.check);
        Ok(Self {
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
}
