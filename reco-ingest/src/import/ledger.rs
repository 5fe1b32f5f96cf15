//! [`Ledger`]: which files were imported, so that each is once.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, LazyLock};

use arrow::array::{
    Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimestampMicrosecondType};
use futures::TryStreamExt;
use reco_core::{Error as CoreError, EventSink, Record, Timestamp, project, timestamp_type};
use tokio::sync::Mutex;

use super::ImportReport;
use crate::delta::DeltaTable;
use crate::error::Result;

/// A file whose import was begun or has ended, as a row of a [`Ledger`].
///
/// | column | type | null | meaning |
/// | --- | --- | --- | --- |
/// | `recorded_at` | Timestamp(µs, UTC) | no | when it was begun or ended; the table's partition |
/// | `path` | Utf8 | no | the file, within its folder |
/// | `size` | Int64 | no | its bytes, as it is stored |
/// | `sha256` | Utf8 | no | the digest of its bytes as it is stored, in hex |
/// | `settings` | Utf8 | no | the digest of the settings of the import, in hex |
/// | `rows` | Int64 | yes | its rows; null where the import was begun, as the next three |
/// | `events` | Int64 | yes | the records that became of them |
/// | `skipped` | Int64 | yes | the rows that say nothing |
/// | `dead_letters` | Int64 | yes | the rows that are dead letters |
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerEntry {
    /// When it was begun or ended, by the clock of the importer.
    pub recorded_at: Timestamp,
    /// The file, within its folder.
    pub path: String,
    /// Its bytes, as it is stored.
    pub size: u64,
    /// The digest of its bytes as it is stored, in hex.
    pub sha256: String,
    /// The digest of the settings of the import, in hex.
    pub settings: String,
    /// What the import did; none where it was begun.
    pub report: Option<ImportReport>,
}

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let count = |name: &str, null| Field::new(name, DataType::Int64, null);
    let text = |name: &str| Field::new(name, DataType::Utf8, false);
    Arc::new(Schema::new(vec![
        Field::new("recorded_at", timestamp_type(), false),
        text("path"),
        count("size", false),
        text("sha256"),
        text("settings"),
        count("rows", true),
        count("events", true),
        count("skipped", true),
        count("dead_letters", true),
    ]))
});

impl Record for LedgerEntry {
    const NAME: &'static str = "ledger_entry";
    const TIMESTAMP: &'static str = "recorded_at";

    fn schema() -> SchemaRef {
        Arc::clone(&SCHEMA)
    }

    fn to_batch(records: &[Self]) -> reco_core::Result<RecordBatch> {
        let times = records.iter().map(|r| r.recorded_at.as_microsecond());
        let text = |of: fn(&Self) -> &String| -> ArrayRef {
            Arc::new(StringArray::from_iter_values(records.iter().map(of)))
        };
        let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let count = |of: fn(&ImportReport) -> u64| -> ArrayRef {
            let counts = records
                .iter()
                .map(|r| r.report.as_ref().map(of).map(number));
            Arc::new(counts.collect::<Int64Array>())
        };
        RecordBatch::try_new(
            Self::schema(),
            vec![
                Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC")),
                text(|r| &r.path),
                Arc::new(Int64Array::from_iter_values(
                    records.iter().map(|r| number(r.size)),
                )),
                text(|r| &r.sha256),
                text(|r| &r.settings),
                count(|report| report.rows),
                count(|report| report.events),
                count(|report| report.skipped),
                count(|report| report.dead_letters),
            ],
        )
        .map_err(|source| CoreError::Arrow {
            table: Self::NAME.to_owned(),
            source,
        })
    }

    fn from_batch(batch: &RecordBatch) -> reco_core::Result<Vec<Self>> {
        let batch = project::<Self>(batch)?;
        let text = |column: usize, row| {
            batch
                .column(column)
                .as_string::<i32>()
                .value(row)
                .to_owned()
        };
        let recorded_at = batch.column(0).as_primitive::<TimestampMicrosecondType>();
        (0..batch.num_rows())
            .map(|row| {
                let odd = |column: usize, reason: String| CoreError::InvalidValue {
                    table: Self::NAME.to_owned(),
                    column: batch.schema().field(column).name().clone(),
                    row,
                    reason,
                };
                let count = |column: usize| {
                    let counts = batch.column(column).as_primitive::<Int64Type>();
                    let count = if counts.is_null(row) {
                        0
                    } else {
                        counts.value(row)
                    };
                    u64::try_from(count).map_err(|_| odd(column, format!("{count} is negative")))
                };
                let size = count(2)?;
                let report = ImportReport {
                    rows: count(5)?,
                    events: count(6)?,
                    skipped: count(7)?,
                    dead_letters: count(8)?,
                    bytes: size,
                };
                Ok(Self {
                    recorded_at: Timestamp::from_microsecond(recorded_at.value(row))
                        .map_err(|error| odd(0, error.to_string()))?,
                    path: text(1, row),
                    size,
                    sha256: text(3, row),
                    settings: text(4, row),
                    report: batch.column(5).is_valid(row).then_some(report),
                })
            })
            .collect()
    }

    fn timestamp(&self) -> Timestamp {
        self.recorded_at
    }

    fn n_bytes(&self) -> usize {
        size_of::<Self>() + self.path.len() + self.sha256.len() + self.settings.len()
    }
}

/// Which files were imported, by their content: what `COPY INTO`'s load history is in Snowflake.
///
/// It is a table like any other, so a host can query it. A file is known by the digest of its bytes: one
/// that was moved or copied is not imported again, one that was changed is a new one.
///
/// Every raw table needs a ledger of its own. Cloning is cheap and shares.
#[derive(Debug, Clone)]
pub struct Ledger {
    table: DeltaTable<LedgerEntry>,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Debug, Default)]
struct Seen {
    /// The version of the table up to which this is what it says.
    version: u64,
    /// The last entry of each digest.
    by_digest: HashMap<String, LedgerEntry>,
    /// The last digest that was imported under each path.
    by_path: HashMap<String, String>,
    /// Those of all files.
    sizes: HashSet<u64>,
}

/// What a ledger knows of a file.
#[derive(Debug)]
pub(super) struct Known {
    /// The last entry of the same content.
    pub(super) content: Option<LedgerEntry>,
    /// The digest of other content that was imported under the same path.
    pub(super) other: Option<String>,
}

impl Ledger {
    /// The ledger that a table holds.
    #[must_use]
    pub fn new(table: DeltaTable<LedgerEntry>) -> Self {
        Self {
            table,
            seen: Arc::default(),
        }
    }

    /// The table that it is.
    #[must_use]
    pub const fn table(&self) -> &DeltaTable<LedgerEntry> {
        &self.table
    }

    /// Reads what was recorded since the last time, by other processes too.
    pub(super) async fn refresh(&self) -> Result<()> {
        let mut seen = self.seen.lock().await;
        let replay = self.table.scan_from(seen.version).await?;
        let batches: Vec<_> = replay.batches.try_collect().await?;
        for batch in batches {
            for entry in LedgerEntry::from_batch(&batch)? {
                seen.take(entry);
            }
        }
        seen.version = replay.version;
        Ok(())
    }

    pub(super) async fn look_up(&self, path: &str, sha256: &str) -> Known {
        let seen = self.seen.lock().await;
        let other = seen.by_path.get(path).filter(|digest| *digest != sha256);
        Known {
            content: seen.by_digest.get(sha256).cloned(),
            other: other.cloned(),
        }
    }

    /// Whether it knows a file of that size.
    pub(super) async fn has_size(&self, size: u64) -> bool {
        self.seen.lock().await.sizes.contains(&size)
    }

    pub(super) async fn record(&self, entry: LedgerEntry) -> Result<()> {
        self.table.write(vec![entry.clone()]).await?;
        self.seen.lock().await.take(entry);
        Ok(())
    }
}

impl Seen {
    fn take(&mut self, entry: LedgerEntry) {
        self.sizes.insert(entry.size);
        if entry.report.is_some() {
            let (path, sha256) = (entry.path.clone(), entry.sha256.clone());
            self.by_path.insert(path, sha256);
        } else if self
            .by_digest
            .get(&entry.sha256)
            .is_some_and(|there| there.report.is_some())
        {
            // Another process was done before this one began.
            return;
        }
        self.by_digest.insert(entry.sha256.clone(), entry);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    prop_compose! {
        fn entries()(
            time in -2_000_000_000_000_000_i64..4_000_000_000_000_000,
            texts in prop::array::uniform3(".{0,12}"),
            size in 0..u64::MAX / 2,
            counts in prop::option::of(prop::array::uniform4(0..u64::MAX / 2)),
        ) -> LedgerEntry {
            let [path, sha256, settings] = texts;
            LedgerEntry {
                recorded_at: Timestamp::from_microsecond(time).unwrap(),
                path, size, sha256, settings,
                report: counts.map(|[rows, events, skipped, dead_letters]| ImportReport {
                    rows, events, skipped, dead_letters, bytes: size,
                }),
            }
        }
    }

    proptest! {
        #[test]
        fn a_batch_gives_back_what_went_in(entries in prop::collection::vec(entries(), 0..20)) {
            let batch = LedgerEntry::to_batch(&entries).unwrap();
            prop_assert_eq!(LedgerEntry::from_batch(&batch).unwrap(), entries);
        }
    }
}
