//! [`CustomExpectation`]: what a host expects of a table, where no kind of check says it.

use std::collections::BTreeMap;
use std::fmt;

use datafusion::arrow::array::RecordBatch;
use datafusion::common::{ScalarValue, exec_err, plan_datafusion_err};
use datafusion::error::Result;
use datafusion::prelude::DataFrame;
use serde_json::Value;

use super::expectation::Expectation;
use super::scalar;

/// An expectation of a host's own: what is computed of a table, and whether that is as expected.
///
/// It becomes an [`Expectation`] by [`expect_custom`], and goes wherever one of ours does: a DAG, a suite,
/// an audit. Its row of metrics is computed by the engine, which streams and spills; `judge` sees the
/// numbers alone. [`when`](Expectation::when) and [`warn`](Expectation::warn) work as with any other.
///
/// For a condition on single rows there is [`expect_sql`](super::expect_sql), and for a query whose rows
/// are the failures [`expect_no_rows`](super::expect_no_rows): these show the rows that fail.
/// [`expect_fn`] makes an expectation of two closures.
///
/// # Contract
///
/// * `name` depends on the arguments alone, and tells apart any two that judge differently.
/// * `metrics` makes a plan of exactly one row and computes nothing: it is called to check the DAG, too,
///   with tables that have columns and no rows. It reads the table and those of `inputs` only.
/// * `judge` depends on the metrics alone. What an empty table means is its decision: aggregates of no rows
///   are NULL.
///
/// # Examples
///
/// The mean number of rows of a session:
///
/// ```
/// use reco_transform::datafusion::error::Result;
/// use reco_transform::datafusion::functions_aggregate::expr_fn::{avg, count};
/// use reco_transform::datafusion::prelude::{DataFrame, ident, lit};
/// use reco_transform::{CheckedTables, CustomExpectation, Dag, Finding, Metrics, Warehouse, expect_custom};
///
/// #[derive(Debug)]
/// struct MeanSessionLength {
///     session: String,
///     min: f64,
///     max: f64,
/// }
///
/// impl CustomExpectation for MeanSessionLength {
///     fn name(&self) -> String {
///         format!("mean_session_length({}, {}..={})", self.session, self.min, self.max)
///     }
///
///     fn inputs(&self) -> Vec<String> {
///         Vec::new()
///     }
///
///     fn metrics(&self, tables: &CheckedTables) -> Result<DataFrame> {
///         let lengths = vec![count(lit(1_i64)).alias("n")];
///         let sessions = tables.table().aggregate(vec![ident(&self.session)], lengths)?;
///         sessions.aggregate(Vec::new(), vec![avg(ident("n")).alias("mean")])
///     }
///
///     fn judge(&self, metrics: &Metrics) -> Result<Finding> {
///         let mean = metrics.number("mean")?;
///         let passed = mean.is_some_and(|mean| (self.min..=self.max).contains(&mean));
///         Ok(Finding::new(passed).observed(mean))
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
/// let expected = MeanSessionLength { session: "session_id".into(), min: 2.0, max: 10.0 };
/// let dag = Dag::builder()
///     .sql("clicks", "select * from (values ('a'), ('a'), ('b')) as t (session_id)")
///     .expect("clicks", expect_custom(expected).warn())
///     .build()?;
/// let run = dag.run(&Warehouse::in_memory()).await?;
/// let result = &run.report("clicks").unwrap().checks.results[0];
/// assert_eq!(result.to_string(), "mean_session_length(session_id, 2..=10) warns: 0 of 3 rows, observed 1.5");
/// # Ok(())
/// # }
/// ```
pub trait CustomExpectation: fmt::Debug + Send + Sync + 'static {
    /// What it is called in reports, with its arguments.
    fn name(&self) -> String;

    /// The other tables that it reads.
    fn inputs(&self) -> Vec<String>;

    /// The plan of what it is about: one row.
    ///
    /// # Errors
    ///
    /// What the engine says; the table may have other columns than expected.
    fn metrics(&self, tables: &CheckedTables) -> Result<DataFrame>;

    /// Whether that is as expected.
    ///
    /// # Errors
    ///
    /// A metric that is not there. That the expectation is not met is no error.
    fn judge(&self, metrics: &Metrics) -> Result<Finding>;
}

/// An expectation of a host's own as one of ours.
#[must_use]
pub fn expect_custom(expectation: impl CustomExpectation) -> Expectation {
    Expectation::of_custom(expectation)
}

/// An expectation of two closures: what is computed of the table, and whether that is as expected.
///
/// See [`CustomExpectation`] for what they have to keep to. A run that goes on with what an earlier one
/// found knows such an expectation by its name alone: another judgement needs another name.
///
/// # Examples
///
/// ```
/// use reco_transform::datafusion::functions_aggregate::expr_fn::{max, min};
/// use reco_transform::datafusion::prelude::ident;
/// use reco_transform::{Finding, expect_fn};
///
/// let spread = expect_fn(
///     "prices differ",
///     |tables| {
///         let metrics = vec![min(ident("price")).alias("min"), max(ident("price")).alias("max")];
///         tables.table().aggregate(Vec::new(), metrics)
///     },
///     |metrics| Ok(Finding::new(metrics.number("min")? < metrics.number("max")?)),
/// );
/// assert_eq!(spread.name(), "prices differ");
/// ```
#[must_use]
pub fn expect_fn<M, J>(name: impl Into<String>, metrics: M, judge: J) -> Expectation
where
    M: Fn(&CheckedTables) -> Result<DataFrame> + Send + Sync + 'static,
    J: Fn(&Metrics) -> Result<Finding> + Send + Sync + 'static,
{
    expect_custom(OfClosures {
        name: name.into(),
        metrics,
        judge,
    })
}

struct OfClosures<M, J> {
    name: String,
    metrics: M,
    judge: J,
}

impl<M, J> fmt::Debug for OfClosures<M, J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("expect_fn").field(&self.name).finish()
    }
}

impl<M, J> CustomExpectation for OfClosures<M, J>
where
    M: Fn(&CheckedTables) -> Result<DataFrame> + Send + Sync + 'static,
    J: Fn(&Metrics) -> Result<Finding> + Send + Sync + 'static,
{
    fn name(&self) -> String {
        self.name.clone()
    }

    fn inputs(&self) -> Vec<String> {
        Vec::new()
    }

    fn metrics(&self, tables: &CheckedTables) -> Result<DataFrame> {
        (self.metrics)(tables)
    }

    fn judge(&self, metrics: &Metrics) -> Result<Finding> {
        (self.judge)(metrics)
    }
}

/// The table that a [`CustomExpectation`] is about, and the others that it reads.
#[derive(Clone)]
pub struct CheckedTables {
    table: DataFrame,
    others: BTreeMap<String, DataFrame>,
}

impl CheckedTables {
    pub(super) const fn new(table: DataFrame, others: BTreeMap<String, DataFrame>) -> Self {
        Self { table, others }
    }

    /// The rows that are looked at: those of the table that meet the condition of
    /// [`when`](Expectation::when), if there is one.
    #[must_use]
    pub fn table(&self) -> DataFrame {
        self.table.clone()
    }

    /// Another table.
    ///
    /// # Errors
    ///
    /// [`CustomExpectation::inputs`] does not name it.
    pub fn other(&self, table: &str) -> Result<DataFrame> {
        let other = self.others.get(table).cloned();
        other.ok_or_else(|| plan_datafusion_err!("table `{table}` is not one of its inputs"))
    }
}

impl fmt::Debug for CheckedTables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckedTables")
            .field("others", &self.others.keys())
            .finish_non_exhaustive()
    }
}

/// What was computed for a [`CustomExpectation`]: a row of values by name.
#[derive(Debug, Clone)]
pub struct Metrics {
    row: RecordBatch,
}

impl Metrics {
    pub(super) async fn compute(plan: DataFrame) -> Result<Self> {
        let batches = plan.collect().await?;
        let n_rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
        match batches.into_iter().find(|batch| batch.num_rows() == 1) {
            Some(row) if n_rows == 1 => Ok(Self { row }),
            _ => exec_err!("its metrics are {n_rows} rows, not one"),
        }
    }

    /// A value.
    ///
    /// # Errors
    ///
    /// There is none of this name.
    pub fn value(&self, name: &str) -> Result<ScalarValue> {
        let position = self.row.schema().index_of(name)?;
        ScalarValue::try_from_array(self.row.column(position), 0)
    }

    /// A value as a number; none for NULL.
    ///
    /// # Errors
    ///
    /// There is none of this name, or it is no number.
    pub fn number(&self, name: &str) -> Result<Option<f64>> {
        let value = self.value(name)?;
        match scalar::number(&value) {
            None if !value.is_null() => exec_err!("metric `{name}` is {value}, not a number"),
            number => Ok(number),
        }
    }
}

/// What a [`CustomExpectation`] found.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// Whether it is met.
    pub passed: bool,
    /// The value that was found, if it is on one.
    pub observed: Option<Value>,
    /// What else there is to say.
    pub note: Option<String>,
}

impl Finding {
    /// Whether an expectation is met.
    #[must_use]
    pub const fn new(passed: bool) -> Self {
        Self {
            passed,
            observed: None,
            note: None,
        }
    }

    /// The same with the value that was found.
    #[must_use]
    pub fn observed(self, value: impl Into<Value>) -> Self {
        Self {
            observed: Some(value.into()),
            ..self
        }
    }

    /// The same with what else there is to say.
    #[must_use]
    pub fn with_note(self, note: impl Into<String>) -> Self {
        Self {
            note: Some(note.into()),
            ..self
        }
    }
}
