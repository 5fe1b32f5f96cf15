//! What can go wrong when a DAG is built, run and read.

mod engine;
mod text;

use std::convert::Infallible;
use std::sync::Arc;

use datafusion::error::DataFusionError;
use reco_core::{BoxError, CheckReport, did_you_mean};

use self::text::{lines, one_a_line, position_of};
use crate::dag::{DagRun, Evolution};
use crate::document::Place;
use crate::quality::LeftOut;
use crate::unit_test::RowDifference;

/// A result whose error is this crate's [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong when a DAG is built, run and read.
///
/// Each variant names the step, table or column that it is about.
/// The cause is in [`source`](std::error::Error::source) and nowhere else: print the chain to see it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A step reads a table that nothing in the DAG makes.
    #[error("step `{step}` reads table `{table}`, which the DAG does not have{}", did_you_mean(.nearest.as_deref()))]
    UnknownInput {
        /// The step.
        step: String,
        /// The table as the step names it.
        table: String,
        /// The nearest table that the DAG has.
        nearest: Option<String>,
    },
    /// Something was declared for a table that the DAG does not have.
    #[error("{what} on table `{table}`, which the DAG does not have{}", did_you_mean(.nearest.as_deref()))]
    UnknownTable {
        /// What was declared: an expectation with its arguments, or `materialization`.
        what: String,
        /// The table as named.
        table: String,
        /// The nearest table that the DAG has.
        nearest: Option<String>,
    },
    /// Two sources or steps make the same table.
    #[error("table `{table}` is made twice")]
    DuplicateTable {
        /// The table.
        table: String,
    },
    /// A table's name cannot be a name in SQL and a folder of the warehouse at once.
    #[error(
        "invalid table name `{table}`: use letters, digits, `_` and `-`, not starting with `_`"
    )]
    InvalidName {
        /// The name as given.
        table: String,
    },
    /// An environment's name cannot be a folder.
    #[error("invalid environment name `{environment}`: use letters, digits, `_` and `-`")]
    InvalidEnvironment {
        /// The name as given.
        environment: String,
    },
    /// The states of an environment cannot be read or added to.
    #[error("cannot {operation} environment `{environment}`")]
    Environment {
        /// The environment.
        environment: String,
        /// What was done: `list`, `read`, `publish` or `drop`.
        operation: &'static str,
        /// What the store or the file says.
        source: BoxError,
    },
    /// An environment was never published to, or has no state of that number or time.
    #[error("environment `{environment}` has no {what}")]
    UnknownEnvironment {
        /// The environment.
        environment: String,
        /// What was looked for: `state`, `state 7`, `state before 2024-05-01T00:00:00Z`.
        what: String,
    },
    /// An environment is to be created that is there already.
    #[error("environment `{environment}` exists")]
    EnvironmentExists {
        /// The environment.
        environment: String,
    },
    /// Other publishers were always first.
    #[error("environment `{environment}` was published to by others {tries} times in a row")]
    EnvironmentContended {
        /// The environment.
        environment: String,
        /// How often it was tried.
        tries: u32,
    },
    /// A warehouse that shows an earlier state is published to.
    #[error("environment `{environment}` is shown as of state {number}, which is only for reading")]
    Pinned {
        /// The environment.
        environment: String,
        /// The state.
        number: u64,
    },
    /// What the warehouse notes of a build cannot be read or written.
    #[error("cannot {operation} the note of a build of table `{table}`")]
    Note {
        /// The table.
        table: String,
        /// What was tried: `read` or `write`.
        operation: &'static str,
        /// What the store or the file says.
        source: BoxError,
    },
    /// What a warehouse does not need any more cannot be found or removed.
    #[error("cannot vacuum the warehouse")]
    Vacuum {
        /// What the store says.
        source: BoxError,
    },
    /// The records of runs cannot be read or added to.
    #[error("cannot {operation} `{path}`, a record of the runs of environment `{environment}`")]
    RunRecord {
        /// The environment.
        environment: String,
        /// What was tried: `list`, `read`, `write` or `remove`.
        operation: &'static str,
        /// The file or folder.
        path: String,
        /// What the store or the file says.
        source: BoxError,
    },
    /// Something was to be changed through what is only for reading.
    #[error("the warehouse is only for reading here: {statement} is refused")]
    ReadOnly {
        /// What was to be done.
        statement: String,
    },
    /// A query cannot be planned.
    #[error("the query cannot be planned")]
    Query {
        /// What the engine says.
        source: DataFusionError,
    },
    /// A query was planned when a table had other columns.
    #[error("table `{table}` has other columns than when the query was planned")]
    ColumnsChanged {
        /// The table.
        table: String,
    },
    /// The server of the PostgreSQL protocol cannot be what it is to be.
    #[error("the PostgreSQL server cannot {operation}")]
    Serve {
        /// What was tried: `start`, `use its certificate`.
        operation: &'static str,
        /// What is wrong.
        source: BoxError,
    },
    /// A source cannot tell what it holds.
    #[error("source `{table}` cannot tell its version")]
    SourceVersion {
        /// The source.
        table: String,
        /// What it says.
        source: BoxError,
    },
    /// The columns of a published table would change in a way that was promised not to happen.
    #[error("the columns of table `{table}` are promised to others ({evolution}): {}", .violations.join("; "))]
    BrokenContract {
        /// The table.
        table: String,
        /// The promise.
        evolution: Evolution,
        /// What would break it, column by column.
        violations: Vec<String>,
    },
    /// A table cannot be made interval by interval like this.
    #[error("table `{table}` cannot be made by intervals: {reason}")]
    InvalidIncremental {
        /// The table.
        table: String,
        /// Why.
        reason: String,
    },
    /// A table is asked for intervals that is not made by intervals.
    #[error("table `{table}` is not made by intervals")]
    NotIncremental {
        /// The table.
        table: String,
    },
    /// Nobody said which intervals of a table have ended.
    #[error(
        "table `{table}` is made by intervals: say until when, with `run_until` or `plan_until`"
    )]
    NoUntil {
        /// The table.
        table: String,
    },
    /// An interval is asked for again whose rows were appended.
    #[error(
        "the interval {interval} of table `{table}` was appended already; rebuild the table instead"
    )]
    AppendedAlready {
        /// The table.
        table: String,
        /// The interval.
        interval: String,
    },
    /// A row of a table has no time, and so is in no interval.
    #[error("table `{table}` has rows without a time in `{column}`")]
    NoTime {
        /// The table.
        table: String,
        /// The column.
        column: String,
    },
    /// Rows have a key with nulls.
    #[error("{n_rows} rows of table `{table}` have a null in the key ({})", .key.join(", "))]
    NullKey {
        /// The table.
        table: String,
        /// The columns of the key.
        key: Vec<String>,
        /// How many rows.
        n_rows: usize,
    },
    /// Rows have the same key.
    #[error("{n_keys} keys ({}) of table `{table}` are there more than once, such as {example}", .key.join(", "))]
    DuplicateKey {
        /// The table.
        table: String,
        /// The columns of the key.
        key: Vec<String>,
        /// How many keys.
        n_keys: usize,
        /// One of them.
        example: String,
    },
    /// Intervals of a table could not be made. The others were, and will not be made again.
    #[error("{} of {n_due} intervals of table `{table}` failed, the first is {}", .failed.len(), .failed[0])]
    IntervalsFailed {
        /// The table.
        table: String,
        /// The intervals.
        failed: Vec<String>,
        /// How many were to be made.
        n_due: usize,
        /// What went wrong with the first.
        source: Box<Self>,
    },
    /// Two runs write the same table at once.
    #[error("another run is writing table `{table}`")]
    Contended {
        /// The table.
        table: String,
    },
    /// Steps wait for one another.
    #[error("the steps form a cycle: {}", .path.join(" -> "))]
    Cycle {
        /// The tables of the cycle, each read by the next, the first repeated at the end.
        path: Vec<String>,
    },
    /// A source was given a materialization, which only what a step makes can have.
    #[error("table `{table}` is a source: only tables that a step makes can be materialized")]
    MaterializedSource {
        /// The source.
        table: String,
    },
    /// A query cannot be parsed.
    #[error("the query of `{step}` cannot be parsed")]
    InvalidSql {
        /// The step or expectation.
        step: String,
        /// What the parser says.
        source: DataFusionError,
    },
    /// A query is something else than one SELECT.
    #[error("the query of `{step}` must be one SELECT; found {found}")]
    NotASelect {
        /// The step or expectation.
        step: String,
        /// What stands there instead.
        found: String,
    },
    /// A step reads a table that it does not declare.
    #[error("step `{step}` reads table `{table}` without declaring it as an input{}", did_you_mean(.nearest.as_deref()))]
    UndeclaredInput {
        /// The step.
        step: String,
        /// The table as the step names it.
        table: String,
        /// The nearest input that is declared.
        nearest: Option<String>,
    },
    /// A step or an expectation names a column that is not there.
    #[error("{by} names column `{column}`, which is not there{}", did_you_mean(.nearest.as_deref()))]
    UnknownColumn {
        /// Who names it: a step, or an expectation and its table.
        by: String,
        /// The column as named.
        column: String,
        /// The nearest column that is there.
        nearest: Option<String>,
    },
    /// A step reads a column of another type than it has.
    #[error("step `{step}` reads column `{column}` as {expected}; it is {found}")]
    WrongType {
        /// The step that reads it.
        step: String,
        /// The column.
        column: String,
        /// What it has to be.
        expected: &'static str,
        /// The type that it has.
        found: String,
    },
    /// A step is configured in a way that means nothing.
    #[error("step `{step}` is configured wrongly: {reason}")]
    InvalidStep {
        /// The step.
        step: String,
        /// Which setting, and what is wrong with it.
        reason: String,
    },
    /// An expectation is put together in a way that no row could fail, or none could pass.
    #[error("expectation `{expectation}` on table `{table}` means nothing: {reason}")]
    InvalidExpectation {
        /// The table.
        table: String,
        /// The expectation with its arguments.
        expectation: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A suite of expectations cannot be read or written.
    #[error("suite `{suite}`{} is invalid", position_of(*.position, *.place))]
    InvalidSuite {
        /// The suite; nothing if it has no name.
        suite: String,
        /// Which of its expectations, from 0; none if it is the suite itself.
        position: Option<usize>,
        /// Where in the text that is, if it was read from one.
        place: Option<Place>,
        /// Which key or kind, and what is wrong with it.
        source: Box<reco_core::Error>,
    },
    /// A suite of Great Expectations holds what cannot be translated.
    #[error("suite `{suite}` cannot be translated: {}", lines(left_out))]
    Untranslated {
        /// The suite; nothing if it has no name.
        suite: String,
        /// What cannot be, and why.
        left_out: Vec<LeftOut>,
    },
    /// A table cannot be looked through for its profile.
    #[error("the table cannot be profiled")]
    NotProfiled {
        /// Why.
        source: DataFusionError,
    },
    /// A step does not make the columns that it declares.
    #[error("step `{step}` breaks its schema: {}", .violations.join("; "))]
    BrokenSchema {
        /// The step.
        step: String,
        /// What differs, a column each.
        violations: Vec<String>,
    },
    /// A step could not be planned or executed.
    #[error("step `{step}` failed")]
    Step {
        /// The step.
        step: String,
        /// What the step or the engine says.
        source: DataFusionError,
    },
    /// The code of a step panicked.
    #[error("step `{step}` panicked: {message}")]
    Panicked {
        /// The step.
        step: String,
        /// What the panic says.
        message: String,
    },
    /// A table does not meet its expectations and was not published.
    #[error("{report}")]
    ChecksFailed {
        /// All results, with samples of the rows that fail.
        report: Box<CheckReport>,
    },
    /// An expectation could not be evaluated.
    #[error("expectation `{expectation}` on table `{table}` cannot be evaluated")]
    Audit {
        /// The table.
        table: String,
        /// The expectation with its arguments; several where one pass evaluates them.
        expectation: String,
        /// What the engine says.
        source: DataFusionError,
    },
    /// A published table could not be read or written.
    #[error("table `{table}` failed to {operation}")]
    Table {
        /// The table.
        table: String,
        /// What was tried, as a verb: `open`, `write`.
        operation: &'static str,
        /// What the table format says.
        source: BoxError,
    },
    /// A warehouse cannot be kept at a location.
    #[error("no warehouse can be kept at `{location}`")]
    InvalidWarehouse {
        /// The location as given.
        location: String,
        /// What is wrong with it.
        source: BoxError,
    },
    /// The warehouse holds no published version of a table.
    #[error("the warehouse has no table `{table}`")]
    NotPublished {
        /// The table.
        table: String,
    },
    /// A selection of tables cannot be read.
    #[error("invalid selection `{selection}`: {reason}")]
    InvalidSelection {
        /// The part that is wrong.
        selection: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A part of a selection is about nothing in the DAG.
    #[error("selection `{selection}`: the DAG has no such {what}{}", did_you_mean(.nearest.as_deref()))]
    NothingSelected {
        /// The part, as in text.
        selection: String,
        /// What it names: a `table`, `source`, `tag`, `path` or `file`.
        what: &'static str,
        /// The nearest that the DAG has.
        nearest: Option<String>,
    },
    /// A selected table reads one that is not selected, and there is none to read.
    #[error(
        "table `{table}` is not selected, and the warehouse has no version of it to read; select it too"
    )]
    NotSelected {
        /// The table that is not selected.
        table: String,
    },
    /// The lineage of a column was asked for that a table does not have.
    #[error("table `{table}` has no column `{column}`{}", did_you_mean(.nearest.as_deref()))]
    NoSuchColumn {
        /// The table.
        table: String,
        /// The column as named.
        column: String,
        /// The nearest column that the table has.
        nearest: Option<String>,
    },
    /// A run did not make all of its tables.
    #[error("{} of {} tables were not made: {}", .run.n_missing(), .run.reports().len(), .run.missing())]
    Incomplete {
        /// The run: what was made can be read from it, and why the rest was not.
        run: Box<DagRun>,
        /// The first failure.
        source: Arc<Self>,
    },
    /// A run has no such table, because it is not in the DAG or was not made.
    #[error("the run has no table `{table}`: {reason}")]
    NotInRun {
        /// The table as named.
        table: String,
        /// Whether it is unknown, failed or was skipped.
        reason: String,
    },
    /// The rows of a table cannot be read as sessions.
    #[error("table `{table}` makes no data set")]
    Dataset {
        /// The table.
        table: String,
        /// Which column or row is wrong.
        source: Box<reco_core::Error>,
    },
    /// A test cannot be run as it is written.
    #[error("test `{test}` is invalid: {reason}")]
    InvalidTest {
        /// The test.
        test: String,
        /// Which table, row and column it is about, and what is wrong.
        reason: String,
    },
    /// Tests cannot be read.
    #[error("the tests{} cannot be read", position_of(None, *.place))]
    InvalidTestSuite {
        /// Where in the text the mistake is, if it is known.
        place: Option<Place>,
        /// Which key or value is wrong.
        source: Box<reco_core::Error>,
    },
    /// A step failed on the rows of a test.
    #[error("test `{test}` could not be run")]
    InTest {
        /// The test.
        test: String,
        /// Why the step failed.
        source: Box<Self>,
    },
    /// A step makes other rows than a test expects.
    #[error("test `{test}`: step `{step}` makes other rows: {difference}")]
    OtherRows {
        /// The test.
        test: String,
        /// The step.
        step: String,
        /// Which rows are missing, unexpected or changed.
        difference: Box<RowDifference>,
    },
    /// Some tests of a suite did not pass.
    #[error("{} of {n_tests} tests failed{}", .failures.len(), one_a_line(.failures))]
    TestsFailed {
        /// How many tests were run.
        n_tests: usize,
        /// What each that did not pass has to say.
        failures: Vec<Self>,
    },
    /// A source or the plan of a step cannot be sent to a cluster.
    #[cfg(feature = "ballista")]
    #[error("table `{table}` cannot be made on the cluster: {reason}")]
    CannotTravel {
        /// The source, or the table that the step makes.
        table: String,
        /// The operator, function or type that is in the way.
        reason: String,
    },
    /// A cluster does not answer, or has no executor.
    #[cfg(feature = "ballista")]
    #[error("there is no cluster at `{address}`")]
    NoCluster {
        /// The address of the scheduler.
        address: String,
        /// What was found there instead.
        source: BoxError,
    },
    /// A cluster failed to compute a step, or did not in time.
    #[cfg(feature = "ballista")]
    #[error("step `{step}` failed on the cluster at `{address}`")]
    OnCluster {
        /// The step.
        step: String,
        /// The address of the scheduler.
        address: String,
        /// What the cluster says.
        source: BoxError,
    },
    /// A process of a cluster ended.
    #[cfg(feature = "ballista")]
    #[error("the {role} failed")]
    ClusterProcess {
        /// Which: `scheduler` or `executor`.
        role: &'static str,
        /// Why.
        source: BoxError,
    },
    /// A result could not be computed.
    #[error("table `{table}` cannot be read")]
    Read {
        /// The table.
        table: String,
        /// What the engine says.
        source: DataFusionError,
    },
}

/// What cannot fail fails with nothing, for functions that take what can be converted.
impl From<Infallible> for Error {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}
