//! [`batch_rows`]: how many rows of a Parquet file to read at a time.

use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};

/// How many rows of a Parquet file to read at a time: as many as fit into `max_bytes`, at least one
/// and at most `max_rows`.
///
/// The size of a row is the mean of the row group in which it is largest.
pub(crate) fn batch_rows(metadata: &ParquetMetaData, max_rows: usize, max_bytes: u64) -> usize {
    let groups = metadata.row_groups().iter();
    let row_bytes = groups.map(row_bytes).max().unwrap_or_default().max(1);
    let n_rows = usize::try_from(max_bytes / row_bytes).unwrap_or(usize::MAX);
    n_rows.clamp(1, max_rows)
}

fn row_bytes(group: &RowGroupMetaData) -> u64 {
    // A dictionary stores a value once that many rows have, but each has it once it is read.
    let unencoded = group.columns().iter().fold(0_i64, |sum, column| {
        sum.saturating_add(column.unencoded_byte_array_data_bytes().unwrap_or_default())
    });
    let n_bytes = u64::try_from(group.total_byte_size().max(unencoded)).unwrap_or_default();
    let n_rows = u64::try_from(group.num_rows()).unwrap_or_default();
    n_bytes.div_ceil(n_rows.max(1))
}
