//! [`Dag`]: steps put together.
//!
//! A DAG is sources, steps and what is expected of their tables. Each step declares the tables that it
//! reads, and so the order follows; nobody writes it down.
//!
//! ```text
//! builder ──build──▶ Dag ──run──▶ DagRun
//!    names, cycles    │             what was made, what was not and why, how long it took
//!    columns, types   ├─lineage──▶ text, JSON, Mermaid, column by column
//!                     ├─select───▶ names of tables; `only` makes a DAG of them
//!                     └─page─────▶ HTML
//! ```
//!
//! **Built.** [`DagBuilder::build`] refuses what cannot run before anything is read: tables that nothing
//! makes or two steps make, cycles, and, by planning every step on empty tables, columns that are not
//! there, types that do not fit, and schemas that a step declares and does not keep.
//!
//! **Planned.** [`Dag::plan`] says what has to be made: what changed since it was published, and what is
//! made of that. The rest is used as it is.
//!
//! **Run.** [`Dag::run`] starts a step as soon as its inputs are there, several at once. Each step sees
//! its declared inputs in a session of its own, so that it cannot read anything else. What a step makes
//! is materialized, audited and published (see [`materialize`](crate::materialize) and
//! [`quality`](crate::quality)). If one fails, what depends on it is skipped and the rest goes on; the
//! run then ends with an error that holds all that was made.
//!
//! A DAG holds no state: it can be run again, and several times at once on different warehouses.

mod check;
mod columns;
mod evolution;
mod fingerprint;
mod graph;
mod increment;
mod intervals;
mod lineage;
mod page;
mod plan;
mod report;
mod run;
mod scheduler;
mod select;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::logical_expr::ScalarUDF;
use reco_core::Timestamp;

pub use columns::{ColumnLineage, ColumnOrigins, ColumnRef, TableColumns};
pub use evolution::Evolution;
pub(crate) use fingerprint::Fingerprint;
pub use lineage::{Lineage, LineageKind, LineageTable};
pub use page::Page;
pub use plan::{Action, DagPlan, PlannedTable, Why};
pub use report::{DagEvent, TableReport, TableStatus};
pub use run::DagRun;
pub use select::Selection;

use self::plan::Request;
use crate::error::Result;
use crate::incremental::Incremental;
use crate::materialize::Materialization;
use crate::quality::Expectation;
use crate::source::{IntoSource, Source};
use crate::sql::SqlStep;
use crate::step::Step;
use crate::warehouse::Warehouse;

/// Steps put together, checked and ready to run.
///
/// Cloning is cheap and shares.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use reco_transform::{Dag, Warehouse, step_fn, unique};
///
/// let dag = Dag::builder()
///     .sql("numbers", "select * from (values (1), (2), (2)) as t (n)")
///     .step(step_fn("distinct_numbers", ["numbers"], |ctx| ctx.table("numbers")?.distinct()))
///     .expect("distinct_numbers", unique(["n"]))
///     .build()?;
/// let run = dag.run(&Warehouse::in_memory()).await?;
/// assert_eq!(run.table("distinct_numbers")?.count().await?, 2);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Dag {
    /// In an order in which every table comes after those that it reads.
    nodes: Arc<[Arc<Node>]>,
    /// The nodes of the DAG that this is a part of; of a whole one, its own.
    whole: Arc<[Arc<Node>]>,
    functions: Arc<[ScalarUDF]>,
    /// The functions that have one, by their names.
    function_versions: Arc<BTreeMap<String, String>>,
    /// Whether every step could be planned on empty tables without waiting for anything.
    is_checked: bool,
}

/// A table of a DAG and how it comes about.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) table: String,
    pub(crate) origin: Origin,
    /// What the step reads, each table once.
    pub(crate) inputs: Vec<String>,
    /// What the audit reads besides the table itself, each table once; the step does not see it.
    pub(crate) audit_inputs: Vec<String>,
    pub(crate) materialization: Materialization,
    /// How it is made interval by interval, if it is.
    pub(crate) incremental: Option<Incremental>,
    /// How its columns may change.
    pub(crate) evolution: Evolution,
    pub(crate) expectations: Vec<Expectation>,
    pub(crate) tags: BTreeSet<String>,
    /// The file that it was read from, with `/` between folders.
    pub(crate) path: Option<String>,
}

#[derive(Debug, Clone)]
pub(crate) enum Origin {
    Source(Source),
    Sql(SqlStep),
    Step(Arc<dyn Step>),
    /// What the warehouse holds: in a part of a DAG, where the step that makes it is not selected.
    Published,
}

impl Node {
    /// The tables that have to be made before, each once.
    pub(crate) fn dependencies(&self) -> impl Iterator<Item = &String> {
        let audit_only = self
            .audit_inputs
            .iter()
            .filter(|table| !self.inputs.contains(table));
        self.inputs.iter().chain(audit_only)
    }
}

impl Dag {
    /// Puts a DAG together.
    #[must_use]
    pub fn builder() -> DagBuilder {
        DagBuilder::default()
    }

    /// The tables, each after those that it reads; sources first where nothing else decides.
    #[must_use]
    pub fn tables(&self) -> impl ExactSizeIterator<Item = &str> {
        self.nodes.iter().map(|node| node.table.as_str())
    }

    pub(crate) fn node(&self, table: &str) -> Option<&Arc<Node>> {
        self.whole.iter().find(|node| node.table == table)
    }

    /// What is read from elsewhere.
    #[cfg(feature = "ballista")]
    pub(crate) fn sources(&self) -> impl Iterator<Item = (&str, &Source)> {
        self.nodes.iter().filter_map(|node| match &node.origin {
            Origin::Source(source) => Some((node.table.as_str(), source)),
            Origin::Sql(_) | Origin::Step(_) | Origin::Published => None,
        })
    }

    pub(crate) fn functions(&self) -> &[ScalarUDF] {
        &self.functions
    }

    /// The columns of all tables, found by planning every step on empty ones.
    pub(crate) async fn schemas(&self) -> Result<Arc<BTreeMap<String, SchemaRef>>> {
        let tables = Box::pin(check::check(self)).await?;
        let schema = |(name, table): (String, Arc<dyn TableProvider>)| (name, table.schema());
        Ok(Arc::new(tables.into_iter().map(schema).collect()))
    }

    /// Which table is made of which, as text, JSON or a drawing.
    #[must_use]
    pub fn lineage(&self) -> Lineage {
        Lineage::of(&self.nodes)
    }

    /// What a run would do, and why. Reads no rows, but for sources in memory.
    ///
    /// # Errors
    ///
    /// [`Error::SourceVersion`](crate::Error::SourceVersion) if a source cannot be asked,
    /// [`Error::Environment`](crate::Error::Environment) or [`Error::Note`](crate::Error::Note) if the
    /// warehouse cannot be read.
    pub async fn plan(&self, warehouse: &Warehouse) -> Result<DagPlan> {
        Box::pin(plan::plan(self, warehouse, Request::default())).await
    }

    /// As [`plan`](Self::plan), for a DAG with tables that are made interval by interval: those intervals
    /// are made that have ended by `until`.
    ///
    /// # Errors
    ///
    /// As [`plan`](Self::plan).
    pub async fn plan_until(&self, warehouse: &Warehouse, until: Timestamp) -> Result<DagPlan> {
        let request = Request {
            until: Some(until),
            ..Request::default()
        };
        Box::pin(plan::plan(self, warehouse, request)).await
    }

    /// Makes all tables that are not made of the same data already, and publishes them at once.
    ///
    /// A table is made again if its step changed, or what is in its inputs: see [`plan`](Self::plan). Rows
    /// of other tables are used as they are. A run that was interrupted goes on where it was: what it
    /// finished is found.
    ///
    /// # Errors
    ///
    /// As [`plan`](Self::plan), and [`Error::Pinned`](crate::Error::Pinned) if the warehouse shows an
    /// earlier state.
    /// [`Error::Incomplete`](crate::Error::Incomplete) if a step failed: it holds the run, with the
    /// tables that were made all the same.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops the steps that are running. Readers of the warehouse see what they saw
    /// before.
    pub async fn run(&self, warehouse: &Warehouse) -> Result<DagRun> {
        self.run_observed(warehouse, |_| ()).await
    }

    /// As [`run`](Self::run), for a DAG with tables that are made interval by interval: those intervals are
    /// made that have ended by `until`.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub async fn run_until(&self, warehouse: &Warehouse, until: Timestamp) -> Result<DagRun> {
        self.plan_until(warehouse, until).await?.apply().await
    }

    /// As [`run`](Self::run), and says when a step starts and ends.
    ///
    /// The observer is called by the task that awaits this, between steps; it cannot change the run.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use reco_transform::{Dag, DagEvent, Warehouse};
    ///
    /// let dag = Dag::builder().sql("one", "select 1 as n").build()?;
    /// let mut done = Vec::new();
    /// dag.run_observed(&Warehouse::in_memory(), |event| {
    ///     if let DagEvent::Finished(report) = event {
    ///         done.push(report.to_string());
    ///     }
    /// })
    /// .await?;
    /// assert!(done[0].starts_with("one: built, 1 rows"));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn run_observed(
        &self,
        warehouse: &Warehouse,
        observer: impl FnMut(DagEvent<'_>) + Send,
    ) -> Result<DagRun> {
        self.plan(warehouse).await?.apply_observed(observer).await
    }
}

/// Puts a [`Dag`] together; made by [`Dag::builder`].
///
/// Nothing is refused before [`build`](Self::build), so the order of the calls does not matter.
#[derive(Default)]
pub struct DagBuilder {
    tables: Vec<Declared>,
    expectations: Vec<(String, Expectation)>,
    materializations: Vec<(String, Materialization)>,
    incrementals: Vec<(String, Incremental)>,
    evolutions: Vec<(String, Evolution)>,
    default_materialization: Materialization,
    functions: Vec<ScalarUDF>,
    function_versions: BTreeMap<String, String>,
    tags: Vec<(String, String)>,
    paths: Vec<(String, String)>,
}

/// A table as declared; a query that cannot be read is reported when the DAG is built.
struct Declared {
    table: String,
    origin: Result<Origin>,
}

impl DagBuilder {
    /// Adds a table that is read from elsewhere: a raw table, alone or shared, or a [`Source`].
    #[must_use]
    pub fn source<Kind>(self, name: impl Into<String>, source: impl IntoSource<Kind>) -> Self {
        self.declare(name.into(), Ok(Origin::Source(source.into_source())))
    }

    /// Adds a table that a query makes; the tables that it names are its inputs.
    #[must_use]
    pub fn sql(self, name: impl Into<String>, query: impl Into<String>) -> Self {
        let name = name.into();
        let step = SqlStep::new(name.clone(), query);
        self.declare(name, step.map(Origin::Sql))
    }

    /// Adds a table that a step makes.
    #[must_use]
    pub fn step(self, step: impl Step) -> Self {
        self.declare(step.name().to_owned(), Ok(Origin::Step(Arc::new(step))))
    }

    fn declare(mut self, table: String, origin: Result<Origin>) -> Self {
        self.tables.push(Declared { table, origin });
        self
    }

    /// Expects something of a table before it is published; see [`quality`](crate::quality).
    ///
    /// Of a source, too: then nothing that reads it runs if it fails. But a source and a
    /// [`View`](Materialization::View) keep no rows: they are read for the audit and read again by each
    /// step, so what is added to a raw table in between is used and was not audited. Where that matters,
    /// expect it of the first table in memory or in Delta that is made of them.
    #[must_use]
    pub fn expect(mut self, table: impl Into<String>, expectation: Expectation) -> Self {
        self.expectations.push((table.into(), expectation));
        self
    }

    /// Expects several things of a table: those of a [`Suite`](crate::Suite), or any others.
    #[must_use]
    pub fn expect_all(
        self,
        table: impl Into<String>,
        expectations: impl IntoIterator<Item = impl Into<Expectation>>,
    ) -> Self {
        let table = table.into();
        let expectations = expectations.into_iter();
        expectations.fold(self, |dag, expectation| {
            dag.expect(table.as_str(), expectation.into())
        })
    }

    /// Says where the rows of a table are kept. Said twice, the last counts.
    #[must_use]
    pub fn materialize(
        mut self,
        table: impl Into<String>,
        materialization: Materialization,
    ) -> Self {
        self.materializations.push((table.into(), materialization));
        self
    }

    /// Says where the rows of all other tables are kept. Default [`Materialization::Memory`].
    #[must_use]
    pub fn materialize_others(self, materialization: Materialization) -> Self {
        Self {
            default_materialization: materialization,
            ..self
        }
    }

    /// Gives a table a tag, by which it can be [selected](Selection).
    #[must_use]
    pub fn tag(mut self, table: impl Into<String>, tag: impl Into<String>) -> Self {
        self.tags.push((table.into(), tag.into()));
        self
    }

    /// Says which file a table was read from, with `/` between folders, so that it can be
    /// [selected](Selection) by it. Nothing is read from there.
    #[must_use]
    pub fn path(mut self, table: impl Into<String>, path: impl Into<String>) -> Self {
        self.paths.push((table.into(), path.into()));
        self
    }

    /// Makes a table interval by interval, and keeps it in the warehouse. Such a DAG is run with
    /// [`Dag::run_until`].
    #[must_use]
    pub fn incremental(mut self, table: impl Into<String>, incremental: Incremental) -> Self {
        self.incrementals.push((table.into(), incremental));
        self
    }

    /// Promises how the columns of a published table will change, if at all.
    #[must_use]
    pub fn evolution(mut self, table: impl Into<String>, evolution: Evolution) -> Self {
        self.evolutions.push((table.into(), evolution));
        self
    }

    /// Adds a function of a row's values (a UDF), which all of the DAG can call by its name: queries, steps in
    /// Rust by `ctx.sql`, conditions of expectations, and queries of a [`DagRun`].
    ///
    /// It takes the place of a function of its name that the engine has. What it declares of its arguments
    /// holds when it is called: texts of any layout come as `Utf8` where it says so.
    ///
    /// A table is made again when its query changes, not when the code of a function does, which nobody
    /// can see; give that a [version](Self::versioned_function). One that is not
    /// [`Volatility::Immutable`](datafusion::logical_expr::Volatility) may answer otherwise the next time, so
    /// tables whose steps call it are made again by every run.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::sync::Arc;
    ///
    /// use reco_transform::datafusion::arrow::array::StringArray;
    /// use reco_transform::datafusion::arrow::datatypes::DataType::Utf8;
    /// use reco_transform::datafusion::common::cast::as_string_array;
    /// use reco_transform::datafusion::error::Result;
    /// use reco_transform::datafusion::logical_expr::{ColumnarValue, Volatility, create_udf};
    /// use reco_transform::{Dag, Warehouse};
    ///
    /// /// The brand of `acme:hat` is `acme`.
    /// fn brand(arguments: &[ColumnarValue]) -> Result<ColumnarValue> {
    ///     let items = ColumnarValue::values_to_arrays(arguments)?;
    ///     let items = as_string_array(&items[0])?;
    ///     let brands: StringArray = items.iter().map(|item| item?.split(':').next()).collect();
    ///     Ok(ColumnarValue::Array(Arc::new(brands)))
    /// }
    ///
    /// let dag = Dag::builder()
    ///     .function(create_udf("brand", vec![Utf8], Utf8, Volatility::Immutable, Arc::new(brand)))
    ///     .sql("brands", "select brand(item) as brand from (values ('acme:hat'), (null)) as t (item)")
    ///     .build()?;
    /// let run = dag.run(&Warehouse::in_memory()).await?;
    /// let acme = run.session().sql("select * from brands where brand = brand('acme:scarf')").await?;
    /// assert_eq!(acme.count().await?, 1);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn function(mut self, function: ScalarUDF) -> Self {
        self.functions.push(function);
        self
    }

    /// As [`function`](Self::function), with the version of its code: where that changes, the tables whose
    /// steps call it are made again, and those made of them.
    #[must_use]
    pub fn versioned_function(mut self, function: ScalarUDF, version: impl Into<String>) -> Self {
        let name = function.name().to_owned();
        self.function_versions.insert(name, version.into());
        self.function(function)
    }

    /// Checks it all.
    ///
    /// Every step is planned on empty tables. A step whose plan has to wait for something, against the
    /// advice of [`Step`], is checked at the start of each run instead, with all that follow.
    ///
    /// # Errors
    ///
    /// What cannot run, by name, with the nearest name that would do:
    /// [`UnknownInput`](crate::Error::UnknownInput), [`UnknownTable`](crate::Error::UnknownTable),
    /// [`UnknownColumn`](crate::Error::UnknownColumn),
    /// [`DuplicateTable`](crate::Error::DuplicateTable), [`InvalidName`](crate::Error::InvalidName),
    /// [`Cycle`](crate::Error::Cycle), [`MaterializedSource`](crate::Error::MaterializedSource),
    /// [`InvalidSql`](crate::Error::InvalidSql), [`NotASelect`](crate::Error::NotASelect),
    /// [`InvalidExpectation`](crate::Error::InvalidExpectation),
    /// [`WrongType`](crate::Error::WrongType),
    /// [`BrokenSchema`](crate::Error::BrokenSchema), and [`Step`](crate::Error::Step) for the rest of
    /// what can be wrong with a query.
    pub fn build(self) -> Result<Dag> {
        let functions = self.functions.clone().into();
        let function_versions = Arc::new(self.function_versions.clone());
        let nodes = graph::arrange(self)?;
        let mut dag = Dag {
            whole: Arc::clone(&nodes),
            nodes,
            functions,
            function_versions,
            is_checked: true,
        };
        dag.is_checked = check::check_now(&dag)?;
        Ok(dag)
    }
}

impl fmt::Debug for DagBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tables: Vec<&String> = self.tables.iter().map(|declared| &declared.table).collect();
        f.debug_struct("DagBuilder")
            .field("tables", &tables)
            .finish_non_exhaustive()
    }
}
