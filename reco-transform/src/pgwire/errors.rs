//! [`Errors`]: which code of PostgreSQL an error has.

use std::error::Error as StdError;

use datafusion::arrow::error::ArrowError;
use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;
use datafusion::sql::sqlparser::parser::ParserError;
use datafusion_postgres::pgwire::api::{ClientInfo, ErrorHandler, METADATA_USER};
use datafusion_postgres::pgwire::error::{ErrorInfo, PgWireError};

use crate::error::Error;

pub(super) const FEATURE_NOT_SUPPORTED: &str = "0A000";
pub(super) const INVALID_AUTHORIZATION: &str = "28000";
pub(super) const INVALID_CATALOG_NAME: &str = "3D000";
pub(super) const READ_ONLY_TRANSACTION: &str = "25006";
pub(super) const INSUFFICIENT_PRIVILEGE: &str = "42501";
pub(super) const TOO_MANY_CONNECTIONS: &str = "53300";
pub(super) const TIMED_OUT: &str = "57014";
const NUMBER_OUT_OF_RANGE: &str = "22003";
const DIVISION_BY_ZERO: &str = "22012";
const INVALID_TEXT: &str = "22P02";
const INVALID_STATEMENT: &str = "42000";
const SYNTAX_ERROR: &str = "42601";
const UNDEFINED_COLUMN: &str = "42703";
const AMBIGUOUS_COLUMN: &str = "42702";
const DUPLICATE_COLUMN: &str = "42701";
const UNDEFINED_TABLE: &str = "42P01";
const UNDEFINED_FUNCTION: &str = "42883";
const OUT_OF_MEMORY: &str = "53200";
const IO_ERROR: &str = "58030";
const INTERNAL_ERROR: &str = "XX000";

/// An error that ends the statement.
pub(super) fn refused(code: &str, text: impl Into<String>) -> PgWireError {
    error("ERROR", code, text.into())
}

/// An error that ends the connection.
pub(super) fn refused_for_good(code: &str, text: impl Into<String>) -> PgWireError {
    error("FATAL", code, text.into())
}

fn error(severity: &str, code: &str, text: String) -> PgWireError {
    let info = ErrorInfo::new(severity.to_owned(), code.to_owned(), text);
    PgWireError::UserError(Box::new(info))
}

/// Gives the errors of the engine their codes.
pub(super) struct Errors;

impl ErrorHandler for Errors {
    fn on_error<C>(&self, client: &C, error: &mut PgWireError)
    where
        C: ClientInfo,
    {
        match error {
            PgWireError::ApiError(cause) => *error = told(cause.as_ref()),
            PgWireError::InvalidPassword(name) if name.is_empty() => {
                let user = client.metadata().get(METADATA_USER);
                *name = user.cloned().unwrap_or_default();
            }
            _ => {}
        }
        tracing::debug!(%error, "a statement failed");
    }
}

/// An error of the engine as a client is told.
pub(super) fn told(cause: &(dyn StdError + Send + Sync + 'static)) -> PgWireError {
    let text = cause.to_string();
    if let Some(error) = cause.downcast_ref::<DataFusionError>() {
        let root = error.find_root();
        return refused(code(root), root.strip_backtrace());
    }
    if let Some(error) = cause.downcast_ref::<Error>() {
        return refused(code_of_ours(error), with_cause(error));
    }
    if cause.is::<ParserError>() {
        return refused(SYNTAX_ERROR, text);
    }
    refused(INTERNAL_ERROR, text)
}

fn code(error: &DataFusionError) -> &'static str {
    match error {
        DataFusionError::SQL(..) => SYNTAX_ERROR,
        DataFusionError::NotImplemented(_) => FEATURE_NOT_SUPPORTED,
        DataFusionError::ResourcesExhausted(_) => OUT_OF_MEMORY,
        DataFusionError::SchemaError(error, _) => match **error {
            SchemaError::FieldNotFound { .. } => UNDEFINED_COLUMN,
            SchemaError::AmbiguousReference { .. } => AMBIGUOUS_COLUMN,
            SchemaError::DuplicateQualifiedField { .. }
            | SchemaError::DuplicateUnqualifiedField { .. } => DUPLICATE_COLUMN,
        },
        // The engine says what is missing in words alone.
        DataFusionError::Plan(text) if text.starts_with("table '") => UNDEFINED_TABLE,
        DataFusionError::Plan(text) if text.starts_with("Invalid function '") => UNDEFINED_FUNCTION,
        DataFusionError::Plan(_) => INVALID_STATEMENT,
        DataFusionError::ArrowError(error, _) => match **error {
            ArrowError::DivideByZero => DIVISION_BY_ZERO,
            ArrowError::ArithmeticOverflow(_) => NUMBER_OUT_OF_RANGE,
            ArrowError::CastError(_) | ArrowError::ParseError(_) => INVALID_TEXT,
            _ => INTERNAL_ERROR,
        },
        DataFusionError::IoError(_) | DataFusionError::ObjectStore(_) => IO_ERROR,
        DataFusionError::External(error) => match error.downcast_ref::<Error>() {
            Some(error) => code_of_ours(error),
            None => INTERNAL_ERROR,
        },
        _ => INTERNAL_ERROR,
    }
}

fn code_of_ours(error: &Error) -> &'static str {
    match error {
        Error::NotPublished { .. } => UNDEFINED_TABLE,
        Error::ColumnsChanged { .. } => FEATURE_NOT_SUPPORTED,
        Error::ReadOnly { .. } => READ_ONLY_TRANSACTION,
        Error::Environment { .. } | Error::Table { .. } | Error::RunRecord { .. } => IO_ERROR,
        Error::Query { source } => code(source.find_root()),
        _ => INTERNAL_ERROR,
    }
}

fn with_cause(error: &Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_the_codes_that_drivers_look_for() {
        let check = |error: DataFusionError, expected: &str| {
            let PgWireError::UserError(told) = told(&error) else {
                panic!("{error} has no code");
            };
            assert_eq!(
                (told.severity.as_str(), told.code.as_str()),
                ("ERROR", expected)
            );
        };
        let arrow = |error| DataFusionError::ArrowError(Box::new(error), None);
        check(arrow(ArrowError::DivideByZero), "22012");
        check(
            arrow(ArrowError::CastError("x".to_owned())).context("a row"),
            "22P02",
        );
        check(DataFusionError::NotImplemented("x".to_owned()), "0A000");
        check(DataFusionError::ResourcesExhausted("x".to_owned()), "53200");
        let table = "clicks".to_owned();
        check(
            DataFusionError::External(Box::new(Error::NotPublished { table })),
            "42P01",
        );
        check(DataFusionError::Internal("x".to_owned()), "XX000");
    }
}
