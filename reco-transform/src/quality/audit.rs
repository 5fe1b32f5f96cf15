//! The evaluation of expectations on a table.

use std::ops::RangeBounds;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray};
use datafusion::arrow::datatypes::Int64Type;
use datafusion::catalog::TableProvider;
use datafusion::common::TableReference;
use datafusion::error::Result as EngineResult;
use datafusion::functions_aggregate::count::count_udaf;
use datafusion::functions_aggregate::expr_fn::{count, sum};
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::{
    Expr, ExprFunctionExt, JoinType, WindowFunctionDefinition, ident, lit,
};
use datafusion::prelude::{DataFrame, SessionContext};
use reco_core::{CheckReport, CheckResult};

use super::expectation::{Expectation, Rule};
use super::json;
use crate::error::{Error, Result};

/// What the audit of a table found.
#[derive(Debug)]
pub(crate) struct Audit {
    pub(crate) report: CheckReport,
    /// Known if anything was expected.
    pub(crate) n_rows: Option<u64>,
}

/// Evaluates all expectations on a table.
///
/// The session holds the tables that they name besides; the table itself is added under its name.
pub(crate) async fn audit(
    session: &SessionContext,
    table: &str,
    provider: &Arc<dyn TableProvider>,
    expectations: &[Expectation],
) -> Result<Audit> {
    if expectations.is_empty() {
        return Ok(Audit {
            report: CheckReport::new(table, Vec::new()),
            n_rows: None,
        });
    }
    let auditor = Auditor::new(session, table, provider).await;
    let auditor = auditor.map_err(|error| Error::of_step(table, error))?;
    auditor.audit(expectations).await
}

/// The plans by which expectations would be evaluated, for checking them without data.
pub(crate) async fn plans(
    session: &SessionContext,
    table: &str,
    provider: &Arc<dyn TableProvider>,
    expectations: &[Expectation],
) -> Result<Vec<DataFrame>> {
    let auditor = Auditor::new(session, table, provider).await;
    let auditor = auditor.map_err(|error| Error::of_step(table, error))?;
    let mut plans = Vec::new();
    for expectation in expectations {
        let plan = match auditor.row_predicate(expectation) {
            Ok(Some(fails)) => auditor.frame.clone().filter(fails),
            Ok(None) => auditor.failing(expectation).await,
            Err(error) => Err(error),
        };
        plans.push(plan.map_err(|error| Error::of_expectation(expectation.name(), table, error))?);
    }
    Ok(plans)
}

struct Auditor<'a> {
    session: &'a SessionContext,
    table: &'a str,
    frame: DataFrame,
}

impl<'a> Auditor<'a> {
    async fn new(
        session: &'a SessionContext,
        table: &'a str,
        provider: &Arc<dyn TableProvider>,
    ) -> EngineResult<Self> {
        let name = TableReference::bare(table);
        session.deregister_table(name.clone())?;
        session.register_table(name.clone(), Arc::clone(provider))?;
        Ok(Self {
            session,
            table,
            frame: session.table(name).await?,
        })
    }

    async fn audit(&self, expectations: &[Expectation]) -> Result<Audit> {
        let counts = self.count_rows(expectations).await?;
        let mut results = Vec::with_capacity(expectations.len());
        for (expectation, n_failed) in expectations.iter().zip(counts.failing) {
            let result = self.check(expectation, counts.all, n_failed).await;
            let result = result
                .map_err(|error| Error::of_expectation(expectation.name(), self.table, error))?;
            results.push(result.with_severity(expectation.severity));
        }
        Ok(Audit {
            report: CheckReport::new(self.table, results),
            n_rows: Some(counts.all),
        })
    }

    /// One pass: all rows, and for each expectation on single rows those that fail.
    async fn count_rows(&self, expectations: &[Expectation]) -> Result<RowCounts> {
        let mut aggregates = vec![count(lit(1_i64)).alias("n_rows")];
        let mut positions = Vec::with_capacity(expectations.len());
        for expectation in expectations {
            let fails = self
                .row_predicate(expectation)
                .and_then(|fails| {
                    fails
                        .map(|fails| count(lit(1_i64)).filter(fails).build())
                        .transpose()
                })
                .map_err(|error| Error::of_expectation(expectation.name(), self.table, error))?;
            positions.push(fails.map(|fails| {
                aggregates.push(fails.alias(format!("n_failed_{}", aggregates.len())));
                aggregates.len() - 1
            }));
        }
        let counts = match self.frame.clone().aggregate(Vec::new(), aggregates) {
            Ok(plan) => numbers(plan).await,
            Err(error) => Err(error),
        };
        let counts = counts.map_err(|error| {
            let names: Vec<&str> = expectations.iter().map(Expectation::name).collect();
            Error::of_expectation(&names.join(", "), self.table, error)
        })?;
        Ok(RowCounts {
            all: counts[0],
            failing: positions
                .into_iter()
                .map(|position| position.map(|p| counts[p]))
                .collect(),
        })
    }

    async fn check(
        &self,
        expectation: &Expectation,
        n_rows: u64,
        n_failed: Option<u64>,
    ) -> EngineResult<CheckResult> {
        let name = expectation.name();
        if let Rule::RowCount(from, to) = &expectation.rule {
            let passed = (from.as_ref(), to.as_ref()).contains(&n_rows);
            return Ok(CheckResult {
                passed,
                note: (!passed).then(|| format!("row_count is {n_rows}")),
                ..CheckResult::passed(name, n_rows)
            });
        }
        let n_failed = match n_failed {
            Some(n_failed) => n_failed,
            None => self.count_failing(expectation).await?,
        };
        if n_failed == 0 {
            return Ok(CheckResult::passed(name, n_rows));
        }
        let failing = match self.row_predicate(expectation)? {
            Some(fails) => self.frame.clone().filter(fails)?,
            None => self.failing(expectation).await?,
        };
        let samples = sample(failing).await?;
        // A query may find more than the table has rows.
        Ok(CheckResult::failed(name, n_rows.max(n_failed), n_failed).with_samples(samples))
    }

    /// What is true of a row that fails, where a row can tell on its own.
    fn row_predicate(&self, expectation: &Expectation) -> EngineResult<Option<Expr>> {
        match &expectation.rule {
            Rule::Row(fails) => Ok(Some(fails.clone())),
            Rule::Sql(predicate) => {
                let holds = self
                    .session
                    .parse_sql_expr(predicate, self.frame.schema())?;
                Ok(Some(holds.is_false()))
            }
            _ => Ok(None),
        }
    }

    /// How many rows fail, where one has to look further than a row.
    async fn count_failing(&self, expectation: &Expectation) -> EngineResult<u64> {
        let Rule::Unique(columns) = &expectation.rule else {
            return Ok(self.failing(expectation).await?.count().await? as u64);
        };
        // Groups spill, and need no second look at the rows as long as none of them fails.
        let shared = self
            .known(columns)?
            .aggregate(
                columns.iter().map(ident).collect(),
                vec![count(lit(1_i64)).alias("__n")],
            )?
            .filter(ident("__n").gt(lit(1_i64)))?
            .aggregate(Vec::new(), vec![sum(ident("__n"))])?;
        Ok(numbers(shared).await?[0])
    }

    /// The rows that are not NULL in any of these columns.
    fn known(&self, columns: &[String]) -> EngineResult<DataFrame> {
        let known = columns.iter().map(|column| ident(column).is_not_null());
        let known = known.reduce(Expr::and).unwrap_or_else(|| lit(true));
        self.frame.clone().filter(known)
    }

    /// The rows that fail, where one has to look further than a row.
    async fn failing(&self, expectation: &Expectation) -> EngineResult<DataFrame> {
        let frame = self.frame.clone();
        match &expectation.rule {
            Rule::Unique(columns) => {
                // A window and no join: its sort spills, and a join does not.
                let all = self.frame.schema().columns();
                let count = WindowFunctionDefinition::AggregateUDF(count_udaf());
                let in_group = Expr::from(WindowFunction::new(count, vec![lit(1_i64)]))
                    .partition_by(columns.iter().map(ident).collect())
                    .build()?
                    .alias("__n");
                self.known(columns)?
                    .window(vec![in_group])?
                    .filter(ident("__n").gt(lit(1_i64)))?
                    .select(all.into_iter().map(Expr::Column).collect::<Vec<_>>())
            }
            Rule::References {
                column,
                to_table,
                to_column,
            } => {
                let known = self
                    .session
                    .table(TableReference::bare(to_table.as_str()))
                    .await?
                    .filter(ident(to_column).is_not_null())?
                    .select([ident(to_column).alias("__known")])?
                    .distinct()?;
                // The left side of a join is held in memory: that of the values, not of the rows.
                known.join_on(
                    frame.filter(ident(column).is_not_null())?,
                    JoinType::RightAnti,
                    [ident(column).eq(ident("__known"))],
                )
            }
            Rule::NoRows(query) => self.session.sql(query).await,
            Rule::Row(_) | Rule::Sql(_) | Rule::RowCount(..) => frame.filter(lit(false)),
        }
    }
}

struct RowCounts {
    all: u64,
    /// None for an expectation that a row cannot fail on its own.
    failing: Vec<Option<u64>>,
}

/// The single row of a query of counts.
async fn numbers(counts: DataFrame) -> EngineResult<Vec<u64>> {
    let batches = counts.collect().await?;
    let row = batches.iter().find(|batch| batch.num_rows() == 1);
    let row = row.expect("an aggregate without groups makes one row");
    let number = |column: &ArrayRef| {
        let column = column.as_primitive::<Int64Type>();
        // A sum of nothing is NULL.
        let count = column.iter().flatten().next().unwrap_or(0);
        u64::try_from(count).expect("a count is not negative")
    };
    Ok(row.columns().iter().map(number).collect())
}

/// The first few rows in the order of their columns.
async fn sample(failing: DataFrame) -> EngineResult<Vec<String>> {
    let order = failing
        .schema()
        .columns()
        .into_iter()
        .zip(failing.schema().fields())
        .filter(|(_, field)| !field.data_type().is_nested())
        .map(|(column, _)| Expr::Column(column).sort(true, true))
        .collect();
    let batches = failing
        .sort(order)?
        .limit(0, Some(CheckResult::MAX_SAMPLES))?
        .collect()
        .await?;
    let mut samples = Vec::new();
    for batch in &batches {
        samples.extend(json::rows(batch)?);
    }
    Ok(samples)
}
