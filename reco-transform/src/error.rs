//! What can go wrong when a DAG is built, run and read.

use std::convert::Infallible;
use std::sync::Arc;

use datafusion::error::DataFusionError;
use reco_core::{BoxError, CheckReport, did_you_mean, nearest};

use crate::dag::DagRun;
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
    #[error("suite `{suite}`{} is invalid", position_of(*.position))]
    InvalidSuite {
        /// The suite; nothing if it has no name.
        suite: String,
        /// Which of its expectations, from 0; none if it is the suite itself.
        position: Option<usize>,
        /// Which key or kind, and what is wrong with it.
        source: Box<reco_core::Error>,
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
    /// A table was published, and could not be opened afterwards for the steps that read it. Readers of
    /// the warehouse see the new version.
    #[error("version {version} of table `{table}` was published and cannot be read back")]
    PublishedUnread {
        /// The table.
        table: String,
        /// The version that was published.
        version: u64,
        /// What went wrong afterwards.
        source: Box<Self>,
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
    #[error("the tests cannot be read")]
    InvalidTestSuite {
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

impl Error {
    /// What an engine's error means when it comes out of a step: an error of ours that went through
    /// the engine is taken out again, and a column that is not there is named with the nearest.
    pub(crate) fn of_step(step: &str, error: DataFusionError) -> Self {
        match unwrap_ours(error) {
            Ok(ours) => ours,
            Err(error) => match missing_column(&error) {
                Some((column, valid)) => Self::UnknownColumn {
                    by: format!("step `{step}`"),
                    nearest: nearest(&column, valid),
                    column,
                },
                None => Self::Step {
                    step: step.to_owned(),
                    source: error,
                },
            },
        }
    }

    /// As [`of_step`](Self::of_step), for an expectation on a table.
    pub(crate) fn of_expectation(expectation: &str, table: &str, error: DataFusionError) -> Self {
        match Self::of_step(table, error) {
            Self::Step { source, .. } => Self::Audit {
                table: table.to_owned(),
                expectation: expectation.to_owned(),
                source,
            },
            Self::UnknownColumn {
                column, nearest, ..
            } => Self::UnknownColumn {
                by: format!("expectation `{expectation}` on table `{table}`"),
                column,
                nearest,
            },
            other => other,
        }
    }

    /// An error on its way through the engine, to be taken out by [`of_step`](Self::of_step).
    pub(crate) fn into_datafusion(self) -> DataFusionError {
        DataFusionError::External(Box::new(self))
    }
}

/// Errors with their causes, each after a line of its own: there is no single source that could tell.
fn one_a_line(errors: &[Error]) -> String {
    let mut text = String::new();
    for error in errors {
        text.push('\n');
        let mut cause: Option<&dyn std::error::Error> = Some(error);
        let mut separator = "";
        while let Some(error) = cause {
            text.push_str(separator);
            text.push_str(&error.to_string());
            separator = ": ";
            cause = error.source();
        }
    }
    text
}

fn position_of(position: Option<usize>) -> String {
    position.map_or_else(String::new, |position| format!(", expectation {position},"))
}

fn unwrap_ours(error: DataFusionError) -> Result<Error, DataFusionError> {
    match error {
        DataFusionError::External(inner) => match inner.downcast::<Error>() {
            Ok(ours) => Ok(*ours),
            Err(inner) => Err(DataFusionError::External(inner)),
        },
        DataFusionError::Context(text, inner) => {
            unwrap_ours(*inner).map_err(|inner| DataFusionError::Context(text, Box::new(inner)))
        }
        DataFusionError::Diagnostic(diagnostic, inner) => unwrap_ours(*inner)
            .map_err(|inner| DataFusionError::Diagnostic(diagnostic, Box::new(inner))),
        other => Err(other),
    }
}

fn missing_column(error: &DataFusionError) -> Option<(String, Vec<String>)> {
    use datafusion::common::SchemaError;

    // A query with several mistakes comes as a collection; the first is reported.
    let first = error.iter().next().unwrap_or(error);
    let DataFusionError::SchemaError(error, _) = first.find_root() else {
        return None;
    };
    let SchemaError::FieldNotFound {
        field,
        valid_fields,
    } = error.as_ref()
    else {
        return None;
    };
    let valid = valid_fields.iter().map(|field| field.name.clone());
    Some((field.name.clone(), valid.collect()))
}
