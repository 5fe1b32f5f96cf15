//! Tests of steps: some rows given, some rows expected, and no warehouse.
//!
//! ```text
//! given rows ──typed by the schema of each input──▶ step ──▶ rows ◀──compared──▶ expected rows
//! ```
//!
//! * [`StepTest`]: one test, of a step on its own or of a step of a [`Dag`].
//! * [`Rows`]: rows as maps, as CSV, as a query or as records.
//! * [`TestSuite`]: tests as data, in JSON, YAML or any format of serde.
//! * [`RowDifference`]: what is missing, unexpected or changed.
//!
//! A test says what matters to it. A column that the given rows do not name is NULL, or where the schema
//! has no NULL the default of its type: 0, false, an empty text, 1970. Of the rows that the step makes only
//! the columns are compared that the expected rows name, in any order of rows. Types come from schemas,
//! never from a row, so that a NULL in the first row is as good as one in the last.
//!
//! What a step makes depends on its inputs alone; one that asks for the time is given one with
//! [`at`](StepTest::at), and a test of it that gives none is refused.

mod clock;
mod difference;
mod rows;
mod suite;
mod typed;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::common::TableReference;
use datafusion::datasource::MemTable;
use datafusion::logical_expr::ScalarUDF;
use datafusion::prelude::{SessionConfig, SessionContext};
use reco_core::{Timestamp, did_you_mean, nearest};

pub use difference::RowDifference;
pub use rows::Rows;
pub use suite::{TestCase, TestSuite};

use self::typed::Fill;
use crate::dag::{Dag, Node, Origin};
use crate::engine;
use crate::error::{Error, Result};
use crate::step::{Step, StepContext};

/// A test of a step: rows given, rows expected.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use reco_core::{Event, Record};
/// use reco_transform::{Deduplicate, StepTest};
/// use serde_json::json;
///
/// StepTest::new("the first received is kept", Deduplicate::default())
///     .input("events", Event::schema())
///     .given("events", json!([
///         {"id": "a", "received_at": "2024-05-01T10:00:01Z", "client_id": "second"},
///         {"id": "a", "received_at": "2024-05-01T10:00:00Z", "client_id": "first"},
///     ]))
///     .expect_rows(json!([{"id": "a", "client_id": "first"}]))
///     .run()
///     .await?;
/// # Ok(())
/// # }
/// ```
///
/// A step of a [`Dag`] knows the columns of its inputs already:
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use reco_transform::{Dag, Error, Rows};
/// use serde_json::json;
///
/// let dag = Dag::builder()
///     .sql("sales", "select * from (values ('hat', 9.5)) as t (item, price)")
///     .sql("dear", "select item from sales where price >= 100")
///     .build()?;
/// let test = dag
///     .test("a hundred is dear", "dear")?
///     .given("sales", Rows::csv("item,price\nhat,99.5\nfur,100\n"))
///     .expect_rows(json!([{"item": "hat"}]));
/// let error = test.run().await.unwrap_err();
/// assert_eq!(error.to_string(), "\
/// test `a hundred is dear`: step `dear` makes other rows: 1 missing, 1 unexpected, 0 changed
/// | row        | item |
/// |------------|------|
/// | missing    | hat  |
/// | unexpected | fur  |");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct StepTest {
    name: String,
    subject: Subject,
    /// The DAG that the step is of, which knows the columns of its inputs.
    dag: Option<Dag>,
    /// What the DAG knows of them, if it was asked already.
    declared: Option<Schemas>,
    schemas: BTreeMap<String, SchemaRef>,
    functions: Vec<ScalarUDF>,
    given: BTreeMap<String, Rows>,
    expected: Option<Rows>,
    in_order: bool,
    now: Option<Timestamp>,
}

/// The columns of tables by name, shared.
type Schemas = Arc<BTreeMap<String, SchemaRef>>;

/// What is tested.
#[derive(Debug, Clone)]
enum Subject {
    Step(Arc<dyn Step>),
    /// A node of a DAG that is no source.
    Node(Arc<Node>),
}

impl Subject {
    fn step(&self) -> &dyn Step {
        match self {
            Self::Step(step) => step.as_ref(),
            Self::Node(node) => match &node.origin {
                Origin::Step(step) => step.as_ref(),
                Origin::Sql(step) => step,
                Origin::Source(_) | Origin::Published => {
                    unreachable!("`Dag::test` refuses what no step makes")
                }
            },
        }
    }
}

impl StepTest {
    /// A test of a step on its own.
    #[must_use]
    pub fn new(name: impl Into<String>, step: impl Step) -> Self {
        Self::of(name.into(), Subject::Step(Arc::new(step)))
    }

    const fn of(name: String, subject: Subject) -> Self {
        Self {
            name,
            subject,
            dag: None,
            declared: None,
            schemas: BTreeMap::new(),
            functions: Vec::new(),
            given: BTreeMap::new(),
            expected: None,
            in_order: false,
            now: None,
        }
    }

    /// Declares the columns of an input.
    ///
    /// Not needed for an input of a step of a [`Dag`], nor where the rows have types of their own, as
    /// [`Rows::records`] and [`Rows::sql`] do.
    #[must_use]
    pub fn input(mut self, table: impl Into<String>, schema: SchemaRef) -> Self {
        self.schemas.insert(table.into(), schema);
        self
    }

    /// Gives the rows of an input; each input has to be given, with [`Rows::none`] if it has none.
    #[must_use]
    pub fn given(mut self, table: impl Into<String>, rows: impl Into<Rows>) -> Self {
        self.given.insert(table.into(), rows.into());
        self
    }

    /// Expects these rows, in any order, of which the columns that they name are compared.
    ///
    /// A row that leaves out a column that another names expects NULL there. Numbers with a fraction are
    /// the same if they agree to nine digits. No rows at all are compared in all columns.
    #[must_use]
    pub fn expect_rows(mut self, rows: impl Into<Rows>) -> Self {
        self.expected = Some(rows.into());
        self
    }

    /// Expects the rows in the order in which they are written.
    #[must_use]
    pub const fn in_order(mut self) -> Self {
        self.in_order = true;
        self
    }

    /// Sets the time that `now()`, `current_date` and the like give.
    #[must_use]
    pub const fn at(mut self, now: Timestamp) -> Self {
        self.now = Some(now);
        self
    }

    /// Adds a function that the step calls. A DAG's step has those of the DAG.
    #[must_use]
    pub fn function(mut self, function: ScalarUDF) -> Self {
        self.functions.push(function);
        self
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs the step on the given rows and compares.
    ///
    /// # Errors
    ///
    /// [`Error::OtherRows`] with the difference, [`Error::InvalidTest`] if the test cannot be run as it is
    /// written, [`Error::InTest`] if the step fails.
    pub async fn run(&self) -> Result<()> {
        let step = self.subject.step();
        let made = self.make(step).await?;
        let Some(expected) = &self.expected else {
            return Err(self.invalid("it expects nothing: say what with `expect_rows`"));
        };
        let session = self.session();
        let expected = expected
            .typed(&session, Some(&made.schema()), Fill::Null)
            .await
            .map_err(|reason| self.invalid(format!("expected rows, {reason}")))?;
        let compared = difference::compare(&made, &expected, self.in_order);
        match compared.map_err(|source| self.failed(step, source.into()))? {
            None => Ok(()),
            Some(difference) => Err(Error::OtherRows {
                test: self.name.clone(),
                step: step.name().to_owned(),
                difference: Box::new(difference),
            }),
        }
    }

    /// The rows that the step makes of those given.
    async fn make(&self, step: &dyn Step) -> Result<RecordBatch> {
        let mut inputs = step.inputs();
        inputs.sort();
        inputs.dedup();
        for table in self.given.keys().chain(self.schemas.keys()) {
            if !inputs.contains(table) {
                let hint = did_you_mean(nearest(table, &inputs).as_deref());
                let reason = format!("step `{}` does not read table `{table}`{hint}", step.name());
                return Err(self.invalid(reason));
            }
        }
        let declared = match (&self.declared, &self.dag) {
            (Some(declared), _) => Arc::clone(declared),
            (None, Some(dag)) => dag.schemas().await?,
            (None, None) => Schemas::default(),
        };
        let session = self.session();
        let mut tables: BTreeMap<String, Arc<dyn TableProvider>> = BTreeMap::new();
        for input in inputs {
            let Some(rows) = self.given.get(&input) else {
                return Err(self.invalid(format!(
                    "no rows are given for table `{input}`, which step `{}` reads",
                    step.name()
                )));
            };
            let schema = self.schemas.get(&input).or_else(|| declared.get(&input));
            let rows = rows
                .typed(&session, schema, Fill::Default)
                .await
                .map_err(|reason| self.invalid(format!("table `{input}`, {reason}")))?;
            let table = MemTable::try_new(rows.schema(), vec![vec![rows]]);
            let table = table.map_err(|source| self.failed(step, source))?;
            tables.insert(input, Arc::new(table));
        }
        for (name, table) in &tables {
            session
                .register_table(TableReference::bare(name.as_str()), Arc::clone(table))
                .map_err(|source| self.failed(step, source))?;
        }
        let ctx = StepContext::new(step.name(), &tables, session, false);
        let frame = step.plan(&ctx).await;
        let frame = frame.map_err(|source| self.failed(step, source))?;
        let frame = match (self.now, clock::asked(frame.logical_plan())) {
            (_, Err(source)) => return Err(self.failed(step, source)),
            (None, Ok(Some(function))) => {
                return Err(self.invalid(format!(
                    "step `{}` asks for the time with `{function}`: set one with `at`",
                    step.name()
                )));
            }
            (None, Ok(None)) => frame,
            (Some(now), Ok(_)) => clock::set(frame, now),
        };
        let schema = Arc::clone(frame.schema().inner());
        let batches = frame.collect().await;
        let batches = batches.map_err(|source| self.failed(step, source))?;
        // The executed plan may know more about what is never NULL than the schema says.
        let schema = batches.first().map_or(schema, RecordBatch::schema);
        datafusion::arrow::compute::concat_batches(&schema, &batches)
            .map_err(|source| self.failed(step, source.into()))
    }

    /// A session with the functions of the step, whose rows stay in one order.
    fn session(&self) -> SessionContext {
        let config = SessionConfig::new().with_target_partitions(1);
        let session = engine::session_with(config, Arc::default());
        let of_dag = self.dag.iter().flat_map(|dag| dag.functions().iter());
        for function in of_dag.chain(&self.functions) {
            session.register_udf(function.clone());
        }
        session
    }

    fn invalid(&self, reason: impl Into<String>) -> Error {
        Error::InvalidTest {
            test: self.name.clone(),
            reason: reason.into(),
        }
    }

    fn failed(&self, step: &dyn Step, source: datafusion::error::DataFusionError) -> Error {
        Error::InTest {
            test: self.name.clone(),
            source: Box::new(Error::of_step(step.name(), source)),
        }
    }
}

impl fmt::Debug for StepTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StepTest")
            .field("name", &self.name)
            .field("step", &self.subject.step().name())
            .field("given", &self.given.keys())
            .finish_non_exhaustive()
    }
}

impl Dag {
    /// A test of one of its steps, whose inputs are given instead of made.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidTest`] if the DAG has no such step, with the nearest that it has.
    pub fn test(&self, name: impl Into<String>, step: &str) -> Result<StepTest> {
        let name = name.into();
        let reason = match self.node(step) {
            Some(node) if !matches!(node.origin, Origin::Source(_)) => {
                let test = StepTest::of(name, Subject::Node(Arc::clone(node)));
                let dag = Some(self.clone());
                return Ok(StepTest { dag, ..test });
            }
            Some(_) => format!("table `{step}` is a source, which no step makes"),
            None => {
                let hint = did_you_mean(nearest(step, self.tables()).as_deref());
                format!("the DAG has no step `{step}`{hint}")
            }
        };
        Err(Error::InvalidTest { test: name, reason })
    }
}
