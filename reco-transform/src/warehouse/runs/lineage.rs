//! [`RecordedLineage`]: which table and column was made of which, as a run left it.

use serde::{Deserialize, Serialize};

use crate::dag::{ColumnLineage, Lineage};
use crate::digest::Digest;

/// Which table and column was made of which.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RecordedLineage {
    pub(super) format: u32,
    pub(crate) tables: Lineage,
    pub(crate) columns: ColumnLineage,
}

impl RecordedLineage {
    pub(super) const FORMAT: u32 = 1;

    pub(super) const fn new(tables: Lineage, columns: ColumnLineage) -> Self {
        Self {
            format: Self::FORMAT,
            tables,
            columns,
        }
    }

    pub(super) fn digest(json: &[u8]) -> String {
        let mut digest = Digest::new("lineage");
        digest.bytes(json);
        digest.finish()
    }
}
