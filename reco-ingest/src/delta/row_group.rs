//! A row group of a Parquet file, whose columns are encoded side by side.

use std::num::NonZeroUsize;
use std::panic::resume_unwind;
use std::sync::Mutex;
use std::thread::{available_parallelism, scope};

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::Schema;
use parquet::arrow::arrow_writer::{ArrowColumnChunk, ArrowColumnWriter, compute_leaves};
use parquet::errors::Result;

// Less is not worth a second thread.
const BYTES_PER_THREAD: usize = 1 << 20;

/// The columns of batches, in the order of the schema, each of whose fields is one Parquet column.
///
/// Threads take the largest column that is left, one after the other.
pub(super) fn encode_columns(
    schema: &Schema,
    batches: &[RecordBatch],
    writers: Vec<ArrowColumnWriter>,
) -> Result<Vec<ArrowColumnChunk>> {
    let n_bytes = |column: usize| -> usize {
        let arrays = batches.iter().map(|batch| batch.column(column));
        arrays.map(|array| array.get_array_memory_size()).sum()
    };
    let mut columns: Vec<_> = writers
        .into_iter()
        .enumerate()
        .map(|(column, writer)| (n_bytes(column), column, writer))
        .collect();
    let n_columns = columns.len();
    let n_bytes: usize = columns.iter().map(|(n_bytes, ..)| n_bytes).sum();
    let n_threads = available_parallelism().map_or(1, NonZeroUsize::get);
    let n_threads = n_threads.min(1 + n_bytes / BYTES_PER_THREAD);
    // The last is taken first.
    columns.sort_by_key(|(n_bytes, ..)| *n_bytes);
    let columns = Mutex::new(columns);
    let work = || -> Result<Vec<(usize, ArrowColumnChunk)>> {
        let mut chunks = Vec::with_capacity(n_columns);
        loop {
            let next = columns.lock().unwrap().pop();
            let Some((_, column, mut writer)) = next else {
                return Ok(chunks);
            };
            for batch in batches {
                for leaf in compute_leaves(schema.field(column), batch.column(column))? {
                    writer.write(&leaf)?;
                }
            }
            chunks.push((column, writer.close()?));
        }
    };
    let mut chunks = scope(|scope| -> Result<_> {
        let others: Vec<_> = (1..n_threads).map(|_| scope.spawn(work)).collect();
        let mut chunks = work()?;
        for other in others {
            chunks.extend(other.join().unwrap_or_else(|panic| resume_unwind(panic))?);
        }
        Ok(chunks)
    })?;
    chunks.sort_by_key(|(column, _)| *column);
    Ok(chunks.into_iter().map(|(_, chunk)| chunk).collect())
}
