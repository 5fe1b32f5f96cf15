//! [`Unsorted`]: the rows of a file in the order of their sequence numbers, whatever theirs.

use arrow::array::RecordBatch;
use arrow::compute::interleave_record_batch;

use super::merge::size_of_rows;
use super::scan::seq_of;
use crate::error::{Error, Result};

const BATCH_ROWS: usize = 4096;
const BATCH_BYTES: usize = 16 << 20;

/// The rows of a file in the order of their sequence numbers, whatever theirs.
///
/// All of the file is in memory, and one batch of it twice.
#[derive(Debug)]
pub(super) struct Unsorted {
    batches: Vec<RecordBatch>,
    /// The mean bytes of a row of each batch.
    row_bytes: Vec<usize>,
    /// Each row as its batch and where it is in there, in order.
    order: Vec<(usize, usize)>,
    /// The first row that was not given out.
    row: usize,
}

impl Unsorted {
    pub(super) fn new(path: &str, batches: Vec<RecordBatch>) -> Result<Self> {
        let mut numbered = Vec::new();
        let mut row_bytes = Vec::with_capacity(batches.len());
        for (at, batch) in batches.iter().enumerate() {
            let seq = seq_of(path, batch)?.iter().enumerate();
            numbered.extend(seq.map(|(row, seq)| (*seq, (at, row))));
            row_bytes.push(size_of_rows(batch)?.div_ceil(batch.num_rows().max(1)));
        }
        numbered.sort_unstable();
        Ok(Self {
            batches,
            row_bytes,
            order: numbered.into_iter().map(|(_, place)| place).collect(),
            row: 0,
        })
    }

    /// The next rows; none at the end.
    pub(super) fn next(&mut self, path: &str) -> Result<Option<RecordBatch>> {
        let rest = &self.order[self.row..];
        let mut n_bytes = 0_usize;
        let n_rows = rest
            .iter()
            .take(BATCH_ROWS)
            .take_while(|(batch, _)| {
                n_bytes = n_bytes.saturating_add(self.row_bytes[*batch]);
                n_bytes <= BATCH_BYTES
            })
            .count();
        let n_rows = n_rows.max(1).min(rest.len());
        if n_rows == 0 {
            return Ok(None);
        }
        self.row += n_rows;
        let batches: Vec<&RecordBatch> = self.batches.iter().collect();
        interleave_record_batch(&batches, &rest[..n_rows])
            .map(Some)
            .map_err(|source| Error::Arrow {
                path: path.to_owned(),
                source,
            })
    }
}
