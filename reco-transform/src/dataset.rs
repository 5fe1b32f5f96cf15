//! [`session_dataset`]: a table as the sessions that models are fitted on.

use std::path::{Path, PathBuf};

use datafusion::arrow::datatypes::{DataType, Schema};
use datafusion::error::{DataFusionError, Result as EngineResult};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryLimit};
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::logical_expr::{Expr, ident};
use datafusion::prelude::DataFrame;
use futures::TryStreamExt;
use reco_core::{Interaction, Record, SessionDataset, SessionEncoding, nearest, timestamp_type};

use crate::error::{Error, Result};

/// Reads the rows of a frame as [`Interaction`]s into a data set.
///
/// Rows are sorted by session and time, then by `id` if there is such a column, then by item, and
/// streamed: interactions at the same time come in the same order in every run. `table` names the rows
/// in errors.
///
/// A data set whose building takes more than half of the engine's memory limit, or more than the engine has left, is
/// kept in files in the folder that the engine spills to, and [mapped](SessionDataset::is_mapped): see
/// [`SortedDatasetBuilder::spill_to`](reco_core::SortedDatasetBuilder::spill_to) for what stays in memory then, and
/// how long the folder must be there. Each data set that is read at the same time may take half; leave the engine
/// room, or read one after the other.
///
/// # Errors
///
/// [`Error::Dataset`] if a column is missing, holds NULL or another type, or if there is no row;
/// [`Error::Read`] if the rows cannot be computed.
pub async fn session_dataset(
    table: &str,
    frame: DataFrame,
    encoding: SessionEncoding,
) -> Result<SessionDataset> {
    let invalid = |error| Error::Dataset {
        table: table.to_owned(),
        source: Box::new(error),
    };
    let failed = |source: DataFusionError| Error::Read {
        table: table.to_owned(),
        source,
    };
    let names: Vec<String> = frame
        .schema()
        .fields()
        .iter()
        .map(|field| field.name().clone())
        .collect();
    let wanted = Interaction::schema();
    for field in wanted.fields() {
        if !names.contains(field.name()) {
            return Err(invalid(reco_core::Error::MissingColumn {
                table: table.to_owned(),
                column: field.name().clone(),
                nearest: nearest(field.name(), &names),
            }));
        }
    }
    if let Some(found) = not_a_time(frame.schema().as_arrow()) {
        return Err(invalid(reco_core::Error::ColumnType {
            table: table.to_owned(),
            column: "occurred_at".to_owned(),
            found: found.to_string(),
            expected: timestamp_type().to_string(),
        }));
    }
    let runtime = frame.task_ctx().runtime_env();
    // What the engine has no room for goes to files. It needs some itself, to merge what it has sorted.
    let most = match runtime.memory_pool.memory_limit() {
        MemoryLimit::Finite(bytes) => bytes / 2,
        MemoryLimit::Infinite | MemoryLimit::Unknown => usize::MAX,
    };
    let memory = MemoryConsumer::new("session data set").register(&runtime.memory_pool);
    let mut in_memory = true;
    let sorted = in_order(frame, &names).map_err(failed)?;
    let mut batches = sorted.execute_stream().await.map_err(failed)?;
    let mut builder = SessionDataset::sorted_builder(encoding);
    while let Some(batch) = batches.try_next().await.map_err(failed)? {
        builder.push_batch(&batch).map_err(invalid)?;
        // Twice, because what was read is put in order in the end.
        let size = 2 * builder.memory_size();
        if in_memory && (size > most || memory.try_resize(size).is_err()) {
            in_memory = false;
            memory.free();
            if let Some(folder) = spill_folder(&runtime).map_err(failed)? {
                tracing::info!(table, folder = %folder.display(), "the data set is kept in files");
                builder.spill_to(&folder).map_err(invalid)?;
            } else {
                tracing::warn!(
                    table,
                    size,
                    "no folder to keep the data set in: it stays in memory"
                );
            }
        }
    }
    // To merge and to write it takes a while, and the runtime has other things to do.
    let built = tokio::task::spawn_blocking(|| builder.build());
    let built = built
        .await
        .map_err(|error| failed(DataFusionError::ExecutionJoin(Box::new(error))))?;
    built.map_err(invalid)
}

/// The folder that the engine spills to, if it does. Not the one that it makes there for itself, which is gone when
/// it is.
fn spill_folder(runtime: &RuntimeEnv) -> EngineResult<Option<PathBuf>> {
    if !runtime.disk_manager.tmp_files_enabled() {
        return Ok(None);
    }
    let file = runtime.disk_manager.create_tmp_file("session data set")?;
    let folder = file.path().and_then(|file| file.parent()?.parent());
    Ok(folder.map(Path::to_path_buf))
}

/// The type of `occurred_at`, if it is there and no timestamp: a number would be taken for microseconds,
/// whatever it counts.
pub(crate) fn not_a_time(schema: &Schema) -> Option<&DataType> {
    let (_, field) = schema.column_with_name("occurred_at")?;
    let found = field.data_type();
    (!matches!(found, DataType::Timestamp(..))).then_some(found)
}

fn in_order(frame: DataFrame, names: &[String]) -> EngineResult<DataFrame> {
    let columns = |names: &[&str]| names.iter().map(|name| ident(*name)).collect::<Vec<Expr>>();
    let order: &[&str] = if names.iter().any(|name| name == "id") {
        &["session_id", "occurred_at", "id", "item_id"]
    } else {
        &["session_id", "occurred_at", "item_id"]
    };
    let order = columns(order)
        .into_iter()
        .map(|column| column.sort(true, true));
    frame
        .sort(order.collect())?
        .select(columns(&["session_id", "item_id", "occurred_at"]))
}
