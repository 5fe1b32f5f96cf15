//! What can go wrong while records are landed or read back.

use deltalake::DeltaTableError;
use reco_core::{BoxError, did_you_mean};

/// A result whose error is this crate's [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong while records are landed or read back.
///
/// The cause is in [`source`](std::error::Error::source) and nowhere else: print the chain to see it.
/// At the traits of `reco-core` these become [`reco_core::Error::Table`], whose source they are.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A record or a sink failed at a joint.
    #[error(transparent)]
    Core(#[from] reco_core::Error),
    /// The location of a table cannot be understood or made.
    #[error("`{location}` is not the location of a table")]
    Location {
        /// The path or URL as given.
        location: String,
        /// What is wrong with it.
        source: BoxError,
    },
    /// The table's log could not be read or written.
    #[error("the log of table `{table}` failed to {operation}")]
    Log {
        /// The table.
        table: String,
        /// What was tried, as a verb: `load`, `commit`.
        operation: &'static str,
        /// What the log says.
        source: Box<DeltaTableError>,
    },
    /// The table that is there has other columns than the record.
    #[error("table `{table}`, column `{column}`: expected {expected}, found {found}")]
    SchemaMismatch {
        /// The table.
        table: String,
        /// The column that differs.
        column: String,
        /// What the record declares.
        expected: String,
        /// What the table has.
        found: String,
    },
    /// A record's time has no date that a table can be partitioned by.
    #[error("record {row} of the batch has time {time}, which is outside of the years 1 to 9999")]
    Date {
        /// The record within the batch, from 0.
        row: usize,
        /// Its time.
        time: reco_core::Timestamp,
    },
    /// Every try to commit lost against other writers.
    #[error("table `{table}`: {attempts} tries to commit lost against other writers")]
    Contended {
        /// The table.
        table: String,
        /// How many tries were made.
        attempts: u32,
    },
    /// Another commit of the same writer came in between: what it had is in the table now.
    #[error("table `{table}`: another commit of writer `{writer}` came in between")]
    Overtaken {
        /// The table.
        table: String,
        /// The writer.
        writer: String,
    },
    /// A version was asked for that the table does not have.
    #[error("table `{table}` has no {asked}: {has}")]
    NoVersion {
        /// The table.
        table: String,
        /// What was asked for: a version or a time.
        asked: String,
        /// What the table has.
        has: String,
    },
    /// Something of a person is still there after an erasure.
    #[error("table `{table}` is not rid of the subject: `{path}` {reason}")]
    NotErased {
        /// The table.
        table: String,
        /// The file that holds it.
        path: String,
        /// What was found there.
        reason: String,
    },
    /// A batch id that cannot name a batch.
    #[error("invalid batch id: {reason}")]
    BatchId {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A data file of a table or an import could not be stored or fetched.
    #[error("object store failed on `{path}`")]
    Store {
        /// The file.
        path: String,
        /// What the store says.
        source: object_store::Error,
    },
    /// A Parquet file could not be written or read: it is damaged, cut short or of another format.
    #[error("parquet file `{path}` failed")]
    Parquet {
        /// The file.
        path: String,
        /// What Parquet says.
        source: parquet::errors::ParquetError,
    },
    /// A data file holds something that this crate never writes.
    #[error("data file `{path}`: {reason}")]
    DataFile {
        /// The file.
        path: String,
        /// What is odd about it.
        reason: String,
    },
    /// Arrow could not compute on a batch.
    #[error("arrow failed on `{path}`")]
    Arrow {
        /// The file or table.
        path: String,
        /// What Arrow says.
        source: arrow::error::ArrowError,
    },
    /// A file to import could not be opened or read.
    #[error("`{path}` cannot be read")]
    Read {
        /// The file.
        path: String,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// A mapping names a column that the file does not have.
    #[error("`{path}` has no column `{column}`{}", did_you_mean(.nearest.as_deref()))]
    UnknownColumn {
        /// The file.
        path: String,
        /// The column that the mapping names.
        column: String,
        /// The nearest name that the file has.
        nearest: Option<String>,
    },
    /// A hit of a pixel cannot be read, or is no event.
    #[error("key `{key}` of the hit: {reason}")]
    Hit {
        /// The key that it is about.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A mapping or a setting cannot be used.
    #[error("the {of} is invalid: {reason}")]
    InvalidConfig {
        /// What is configured: `mapping`, `buffer`.
        of: &'static str,
        /// Which setting, and what is wrong with it.
        reason: String,
    },
    /// A spool could not be opened, written or read; nothing that it has acknowledged is lost.
    #[error("the spool in `{dir}` failed to {operation}")]
    Spool {
        /// The folder of the spool.
        dir: String,
        /// What was tried, as a verb: `open`, `append`, `trim`.
        operation: &'static str,
        /// What the storage says.
        source: BoxError,
    },
    /// A spool is open already, in this process or another.
    #[error("the spool in `{dir}` is in use")]
    SpoolInUse {
        /// The folder of the spool.
        dir: String,
    },
    /// A spool holds records that were acknowledged for another table.
    #[error("the spool in `{dir}` belongs to table `{owner}`, not to `{table}`")]
    SpoolOfOther {
        /// The folder of the spool.
        dir: String,
        /// The table that it was made for, and its id.
        owner: String,
        /// The table that it was opened for, and its id.
        table: String,
    },
    /// A file was begun to be imported with other settings, so its batches cannot be told from those.
    #[error("the import of `{path}` was begun with other settings: finish it with those")]
    BegunOtherwise {
        /// The file.
        path: String,
    },
    /// A file was changed while it was imported.
    #[error("`{path}` was changed while it was imported")]
    Changed {
        /// The file.
        path: String,
    },
    /// A background task ended without an answer, because it panicked or its runtime was shut down.
    #[error("the background task of `{of}` ended without an answer")]
    TaskEnded {
        /// Whose task.
        of: &'static str,
    },
}

impl Error {
    /// The error as one of a table at a trait of `reco-core`.
    pub(crate) fn at(self, table: &str, operation: &'static str) -> reco_core::Error {
        match self {
            Self::Core(error) => error,
            other => reco_core::Error::Table {
                table: table.to_owned(),
                operation,
                source: Box::new(other),
            },
        }
    }
}
