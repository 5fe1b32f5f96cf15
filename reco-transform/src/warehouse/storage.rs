//! The Delta tables of a warehouse.
//!
//! A table is written by one run at a time, on top of the version that the run knows: what others left
//! behind it, half an increment of a run that was killed, is taken back first, and a version that comes in
//! between is an error.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::catalog::TableProvider;
use datafusion::execution::{SendableRecordBatchStream, SessionState, SessionStateBuilder};
use datafusion::logical_expr::Expr;
use deltalake::delta_datafusion::planner::DeltaPlanner;
use deltalake::operations::write::{SchemaMode, WriteBuilder};
use deltalake::protocol::SaveMode;
use deltalake::{DeltaTable, DeltaTableBuilder, DeltaTableError};

use super::Warehouse;
use super::one_stream::OneStream;
use crate::error::{Error, Result};

/// A Delta table that is written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    /// The table of the DAG.
    pub(crate) table: &'a str,
    /// Its folder below the root of the warehouse.
    pub(crate) location: &'a str,
    /// The columns by which it is partitioned.
    pub(crate) partition_by: &'a [String],
}

/// A version of a Delta table that was written and that nobody is shown yet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Written {
    pub(crate) version: u64,
    pub(crate) n_rows: u64,
}

impl Warehouse {
    /// Writes rows, in their order, as the next version of a Delta table, in place of all that it held.
    pub(crate) async fn overwrite(
        &self,
        target: &Target<'_>,
        rows: SendableRecordBatchStream,
        session: &SessionState,
    ) -> Result<Written> {
        if let Some(folder) = &self.folder {
            tokio::fs::create_dir_all(folder.join(target.location))
                .await
                .map_err(|error| target.failed("write", error.into()))?;
        }
        let table = self.open(target.table, target.location, None).await?;
        let write = table
            .write([])
            .with_save_mode(SaveMode::Overwrite)
            .with_schema_mode(SchemaMode::Overwrite)
            .with_partition_columns(target.partition_by)
            // A version can be read as long as an environment shows it; `vacuum` knows when none does.
            .with_configuration([("delta.enableExpiredLogCleanup", Some("false"))]);
        let table = self.write(target, write, rows, session).await?;
        written(&table).map_err(|error| target.failed("write", error))
    }

    /// Adds rows to a version of a Delta table.
    pub(crate) async fn append(
        &self,
        target: &Target<'_>,
        base: u64,
        rows: SendableRecordBatchStream,
        session: &SessionState,
    ) -> Result<Written> {
        let table = self.at_version(target, base).await?;
        let before = table.version();
        let write = table.write([]).with_save_mode(SaveMode::Append);
        let table = self.write(target, write, rows, session).await?;
        next(target, before, &table)
    }

    /// Puts rows in the place of those of a version of a Delta table that fit a predicate on a column, which
    /// the new ones have to fit too.
    pub(crate) async fn replace(
        &self,
        target: &Target<'_>,
        base: u64,
        rows: SendableRecordBatchStream,
        (column, predicate): (&str, &(dyn Fn(&DataType) -> Expr + Sync)),
        session: &SessionState,
    ) -> Result<Written> {
        let table = self.at_version(target, base).await?;
        let before = table.version();
        // The table may keep the column as another type than the step makes it.
        let kept = table
            .snapshot()
            .map(|state| state.snapshot().arrow_schema());
        let kept = kept.map_err(|error| target.failed("open", error))?;
        let kept = kept
            .field_with_name(column)
            .map(|field| field.data_type().clone());
        let kept = kept.map_err(|error| target.failed("open", error.into()))?;
        let write = table
            .write([])
            .with_save_mode(SaveMode::Overwrite)
            .with_replace_where(predicate(&kept));
        let table = self.write(target, write, rows, session).await?;
        next(target, before, &table)
    }

    /// Computes rows and writes them, in their order.
    pub(super) async fn write(
        &self,
        target: &Target<'_>,
        write: WriteBuilder,
        rows: SendableRecordBatchStream,
        session: &SessionState,
    ) -> Result<DeltaTable> {
        let (rows, trouble) = OneStream::new(rows);
        let plan = rows
            .into_plan()
            .map_err(|error| Error::of_step(target.table, error))?;
        let write = write
            .with_input_plan(plan)
            .with_session_state(Arc::new(in_order(session)))
            .with_table_name(target.table);
        write.await.map_err(|error| match trouble.take() {
            Some(trouble) => Error::of_step(target.table, trouble),
            None => target.failed("write", error),
        })
    }

    /// A Delta table whose newest version holds what `base` does.
    pub(super) async fn at_version(&self, target: &Target<'_>, base: u64) -> Result<DeltaTable> {
        let table = self.open(target.table, target.location, None).await?;
        if table.version() == Some(base) {
            return Ok(table);
        }
        tracing::info!(table = target.table, base, version = ?table.version(), "taken back");
        let restored = table.restore().with_version_to_restore(base).await;
        let (table, _) = restored.map_err(|error| target.failed("restore", error))?;
        Ok(table)
    }

    /// A version of a Delta table, for reading.
    pub(crate) async fn provider(
        &self,
        name: &str,
        location: &str,
        version: u64,
    ) -> Result<Arc<dyn TableProvider>> {
        let table = self.open(name, location, Some(version)).await?;
        #[cfg(feature = "ballista")]
        if let Some(files) = self
            .files_for_executors(&table)
            .map_err(|error| failed(name, "open", error))?
        {
            return Ok(files);
        }
        table
            .update_datafusion_session(&self.session().state())
            .map_err(|error| failed(name, "open", error))?;
        table.table_provider().await.map_err(|error| Error::Read {
            table: name.to_owned(),
            source: error,
        })
    }

    /// A Delta table as it is now or was in a version, without a version if nothing was ever written.
    pub(super) async fn open(
        &self,
        name: &str,
        location: &str,
        version: Option<u64>,
    ) -> Result<DeltaTable> {
        let failed = |error: DeltaTableError| failed(name, "open", error);
        let location = format!("{}/{location}/", self.root);
        let url = location
            .parse()
            .map_err(|_| failed(DeltaTableError::InvalidTableLocation(location)))?;
        let mut builder = DeltaTableBuilder::from_url(Clone::clone(&url)).map_err(failed)?;
        if let Some(store) = &self.store {
            builder = builder.with_storage_backend(Arc::clone(store), url);
        }
        let mut table = builder.build().map_err(failed)?;
        let loaded = match version {
            Some(version) => table.load_version(version).await,
            None => table.load().await,
        };
        match loaded {
            Ok(()) => Ok(table),
            Err(DeltaTableError::NotATable(_)) if version.is_none() => Ok(table),
            Err(error) => Err(failed(error)),
        }
    }
}

impl Target<'_> {
    pub(super) fn failed(&self, operation: &'static str, error: DeltaTableError) -> Error {
        failed(self.table, operation, error)
    }
}

/// The session for a write: its plan has nodes of Delta's own, and the rows come in one partition; several
/// would be written as they come, in any order.
pub(super) fn in_order(session: &SessionState) -> SessionState {
    // The two share a catalog, which must not be made anew.
    let in_order = session
        .config()
        .clone()
        .with_target_partitions(1)
        .with_create_default_catalog_and_schema(false);
    SessionStateBuilder::new_from_existing(session.clone())
        .with_config(in_order)
        .with_query_planner(DeltaPlanner::new())
        .build()
}

/// What was written, if nobody else wrote meanwhile. A write that changes nothing may add no version.
pub(super) fn next(
    target: &Target<'_>,
    before: Option<u64>,
    table: &DeltaTable,
) -> Result<Written> {
    let written = written(table).map_err(|error| target.failed("write", error))?;
    if before.is_some_and(|before| written.version > before + 1) {
        return Err(Error::Contended {
            table: target.table.to_owned(),
        });
    }
    Ok(written)
}

fn written(table: &DeltaTable) -> std::result::Result<Written, DeltaTableError> {
    let state = table.snapshot()?;
    let files = state.log_data();
    let n_rows = files.iter().map(|file| {
        let n_rows = file.num_records();
        n_rows.ok_or_else(|| DeltaTableError::generic("a file does not say how many rows it has"))
    });
    let n_rows = n_rows.sum::<std::result::Result<usize, _>>()?;
    Ok(Written {
        version: state.version(),
        n_rows: n_rows as u64,
    })
}

fn failed(table: &str, operation: &'static str, error: DeltaTableError) -> Error {
    Error::Table {
        table: table.to_owned(),
        operation,
        source: error.into(),
    }
}
