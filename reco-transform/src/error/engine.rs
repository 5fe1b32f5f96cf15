//! Errors on their way through the engine, and what the engine's own mean.

use datafusion::error::DataFusionError;
use reco_core::nearest;

use super::{Error, Result};

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

    /// Whether the engine asked for more memory than there was, wherever it says so.
    pub(crate) fn is_out_of_memory(&self) -> bool {
        let this: &(dyn std::error::Error + 'static) = self;
        let causes = std::iter::successors(Some(this), |error| error.source());
        causes
            .filter_map(|error| error.downcast_ref::<DataFusionError>())
            .any(|error| matches!(error.find_root(), DataFusionError::ResourcesExhausted(_)))
    }

    /// An error on its way through the engine, to be taken out by [`of_step`](Self::of_step).
    pub(crate) fn into_datafusion(self) -> DataFusionError {
        DataFusionError::External(Box::new(self))
    }
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
