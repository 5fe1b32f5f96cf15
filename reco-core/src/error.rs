//! What can go wrong at the joints, and the hint that comes with a misspelt name.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::check::CheckReport;
use crate::model::ModelVersion;

/// An error of any kind that user code hands to us; the caller of the user code adds the name.
pub type BoxError = Box<dyn std::error::Error + Send + Sync + 'static>;

/// A result whose error is this crate's [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong at a joint of the pipeline.
///
/// Each variant names the table, column, item or key that it is about.
/// The cause is in [`source`](std::error::Error::source) and nowhere else: print the chain to see it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A table or a batch lacks a column that its record declares.
    #[error("table `{table}` has no column `{column}`{}", did_you_mean(.nearest.as_deref()))]
    MissingColumn {
        /// The table, or the record's name where the table is not known.
        table: String,
        /// The column that is declared and not there.
        column: String,
        /// The nearest name that is there.
        nearest: Option<String>,
    },
    /// A column has a type that cannot be read as the declared one without changing values.
    #[error("table `{table}`, column `{column}` is {found}, expected {expected}")]
    ColumnType {
        /// The table, or the record's name where the table is not known.
        table: String,
        /// The column.
        column: String,
        /// The type that it has.
        found: String,
        /// The type that is declared.
        expected: String,
    },
    /// A value of a column cannot be read as its record declares.
    #[error("table `{table}`, column `{column}`, row {row}: {reason}")]
    InvalidValue {
        /// The table, or the record's name where the table is not known.
        table: String,
        /// The column that holds the value.
        column: String,
        /// The row within the batch, from 0.
        row: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// Arrow could not build, cast or read a batch.
    #[error("arrow failed on table `{table}`")]
    Arrow {
        /// The table, or the record's name where the table is not known.
        table: String,
        /// What Arrow says.
        source: arrow::error::ArrowError,
    },
    /// A sink or a table failed in its own engine.
    #[error("table `{table}` failed to {operation}")]
    Table {
        /// The table.
        table: String,
        /// What was tried, as a verb: `write`, `scan`.
        operation: &'static str,
        /// What the engine says.
        source: BoxError,
    },
    /// A sink was used after it had been closed or had failed for good.
    #[error("sink `{sink}` is closed")]
    SinkClosed {
        /// The sink.
        sink: String,
    },
    /// A sink has no room, and got none while it waited; nothing was accepted.
    #[error("sink `{sink}` is full: try again in {retry_after:?}")]
    Full {
        /// The sink.
        sink: String,
        /// When to try again, from now.
        retry_after: Duration,
    },
    /// A data set, or a part of a split, holds no session.
    #[error("the {part} set holds no session")]
    EmptyDataset {
        /// Which one: `data`, `train`, `validation` or `test`.
        part: &'static str,
    },
    /// A session came that is before the one read last, where sessions must come in the order of their ids.
    #[error(
        "session `{session}` came after session `{last}`: they must come in the order of their ids"
    )]
    UnsortedSessions {
        /// The session that came.
        session: String,
        /// The one before it.
        last: String,
    },
    /// A data set that is kept in files cannot be.
    #[error("a file of the session data set in `{folder}` cannot be written or mapped")]
    DatasetFile {
        /// The folder of the files.
        folder: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A setting is not one that the configuration knows.
    #[error("unknown key `{key}` in the configuration of `{of}`{}", did_you_mean(.nearest.as_deref()))]
    UnknownKey {
        /// What is configured.
        of: String,
        /// The key as written.
        key: String,
        /// The nearest key that is known.
        nearest: Option<String>,
    },
    /// A setting has a value that its configuration does not allow.
    #[error("the configuration of `{of}` is invalid: {reason}")]
    InvalidConfig {
        /// What is configured.
        of: String,
        /// Which key, and what is wrong with it.
        reason: String,
    },
    /// A name cannot be used as a folder of the registry.
    #[error(
        "invalid {what} name `{name}`: use 1 to 128 of a-z, A-Z, 0-9, `.`, `_`, `-`, not starting with `.`"
    )]
    InvalidName {
        /// `model` or `alias`.
        what: &'static str,
        /// The name as given.
        name: String,
    },
    /// The registry has no such model, version or alias.
    #[error("the registry has no {what} `{name}`{}", did_you_mean(.nearest.as_deref()))]
    NotInRegistry {
        /// `model`, `version` or `alias`.
        what: &'static str,
        /// The name as given.
        name: String,
        /// The nearest name that is there.
        nearest: Option<String>,
    },
    /// The alias has no earlier version to go back to.
    #[error("alias `{alias}` of model `{model}` has no earlier version to go back to")]
    NoPreviousVersion {
        /// The model.
        model: String,
        /// The alias.
        alias: String,
    },
    /// A file of an artifact does not have the digest that its manifest states.
    #[error("file `{file}` of the artifact has digest {found}, its manifest states {expected}")]
    DigestMismatch {
        /// The file within the artifact.
        file: String,
        /// The SHA-256 that the manifest states, in hex.
        expected: String,
        /// The SHA-256 of the bytes that were read, in hex.
        found: String,
    },
    /// A file of an artifact is missing, cut short or not of its format.
    #[error("file `{file}` of the artifact cannot be read")]
    MalformedArtifact {
        /// The file within the artifact.
        file: String,
        /// What is wrong with it.
        source: BoxError,
    },
    /// The artifact was written in a format that this version does not read.
    #[error("the {what} has version {found}; this build reads {supported}")]
    UnsupportedFormat {
        /// `artifact format` or `session encoding`.
        what: &'static str,
        /// The version that was found.
        found: u32,
        /// The version that is understood.
        supported: u32,
    },
    /// No loader is registered for the kind of model that the artifact holds.
    #[error("no loader for models of kind `{kind}`{}", did_you_mean(.nearest.as_deref()))]
    UnknownKind {
        /// The kind that the manifest states.
        kind: String,
        /// The nearest kind that has a loader.
        nearest: Option<String>,
    },
    /// A model failed while it was loaded or asked.
    #[error("model `{kind}` failed")]
    Model {
        /// The kind of the model.
        kind: String,
        /// What the model says.
        source: BoxError,
    },
    /// Reading or writing a version of a model failed in the object store.
    #[error("object store failed on `{path}`")]
    Store {
        /// The object.
        path: String,
        /// What the store says.
        source: object_store::Error,
    },
    /// The version cannot be promoted because checks on the model failed.
    #[error("version {version} of model `{model}` is not promoted: {checks}")]
    ChecksFailed {
        /// The model.
        model: String,
        /// The version.
        version: ModelVersion,
        /// All checks on it.
        checks: Box<CheckReport>,
    },
    /// The version could not be published because every number that was tried was taken.
    #[error(
        "model `{model}`: version {last} and the {tries} before it were taken by other publishers"
    )]
    PublishContended {
        /// The model.
        model: String,
        /// The last number that was tried.
        last: ModelVersion,
        /// How many were tried.
        tries: u32,
    },
    /// The alias could not be moved because others moved it each time that it was tried.
    #[error("model `{model}`: alias `{alias}` was moved by others each of {tries} times")]
    AliasContended {
        /// The model.
        model: String,
        /// The alias.
        alias: String,
        /// How often it was tried.
        tries: u32,
    },
}

/// The candidate that is most like `name`, if one is near enough to be a likely misspelling.
///
/// Near enough is an edit distance (optimal string alignment) of at most a third of the longer name.
/// Ties go to the first candidate.
///
/// # Examples
///
/// ```
/// assert_eq!(reco_core::nearest("evnts", ["events", "items"]), Some("events".to_owned()));
/// assert_eq!(reco_core::nearest("x", ["events", "items"]), None);
/// ```
#[must_use]
pub fn nearest<S: AsRef<str>>(
    name: &str,
    candidates: impl IntoIterator<Item = S>,
) -> Option<String> {
    let mut best: Option<(usize, String)> = None;
    for candidate in candidates {
        let candidate = candidate.as_ref();
        let distance = strsim::osa_distance(name, candidate);
        let longer = name.chars().count().max(candidate.chars().count());
        let near = distance * 3 <= longer;
        if near && best.as_ref().is_none_or(|(least, _)| distance < *least) {
            best = Some((distance, candidate.to_owned()));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// The tail of a message about an unknown name: `; did you mean …?`, or nothing.
///
/// # Examples
///
/// ```
/// assert_eq!(reco_core::did_you_mean(Some("events")), "; did you mean `events`?");
/// assert_eq!(reco_core::did_you_mean(None), "");
/// ```
#[must_use]
pub fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}
