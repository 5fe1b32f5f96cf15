//! [`Import`]: files of a shop or a public data set as events.
//!
//! ```text
//! file ─▶ rows ─▶ mapping ─▶ events ─▶ EventSink
//!          │         └─ a row that says nothing of the kind ─┐
//!          └─ a row that cannot be read ─────────────────────┴─▶ dead letters
//! ```
//!
//! Every row of the file ends up in exactly one of three places: it becomes events, it is a dead letter
//! with its bytes, its line and the reason, or it is skipped because it says nothing (an empty line, an
//! object whose list of events is empty). [`ImportReport`] counts all three.
//!
//! An import is deterministic: the same file and settings give the same events, with the same ids, in
//! the same batches. Import a file again after a crash, through [`DeltaTable::numbered`] and nothing is
//! written twice, or plainly and steps remove the duplicates by id. Every file needs a writer name of its
//! own: under a name that is taken its batches are passed over, which [`Numbered::n_passed_over`] counts
//! and [`ImportReport`] cannot know. [`Import::run_folder`] sees to both: it names the files of a folder
//! by their content and keeps a [`Ledger`] of them.
//!
//! [`DeltaTable::numbered`]: crate::DeltaTable::numbered
//! [`Numbered::n_passed_over`]: crate::Numbered::n_passed_over

mod coveo;
mod csv;
mod dialect;
mod drive;
mod folder;
mod json;
mod ledger;
mod lines;
mod mapper;
mod mapping;
mod parquet;
mod presets;
mod reading;
mod record;
mod records;
mod rows;
mod target;
mod time;

use std::path::Path;

use bytes::Bytes;
use reco_core::{Event, EventSink, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::error::{Error, Result};
use crate::sink::DeadLetter;
use drive::{Decode, Job, RowIds};
use mapper::Mapper;
use reading::Reading;
use records::Records;
use rows::Fields;
use target::{Gather, Sink, Target};

pub use coveo::{CoveoContent, CoveoContentImport};
pub use folder::{FileOutcome, FileReport, FolderProgress, FolderReport, Landing};
pub use ledger::{Ledger, LedgerEntry};
pub use mapping::{KindMapping, Mapping, Otherwise, TimeMapping, Value};
pub use time::TimeFormat;

/// Files of a shop or a public data set as events.
///
/// Files may be gzipped, whatever their name. There are ready-made imports of well-known sets:
/// [`eshop`](Self::eshop), [`rees46`](Self::rees46), [`taobao`](Self::taobao), [`otto`](Self::otto),
/// [`tsv`](Self::tsv), [`coveo_browsing`](Self::coveo_browsing), [`coveo_search`](Self::coveo_search).
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use reco_core::{EventKind, Timestamp};
/// use reco_ingest::import::{Format, Import, KindMapping, Mapping, TimeFormat, TimeMapping, Value};
/// use reco_ingest::MemoryTable;
///
/// let folder = tempfile::tempdir()?;
/// let file = folder.path().join("views.csv");
/// std::fs::write(&file, "visitor,sku,at\nv1,hat,2024-05-01T12:00:00Z\nv1,shoe,noon\n")?;
///
/// let time = TimeMapping::Column { name: "at".to_owned(), format: TimeFormat::Rfc3339 };
/// let import = Import::new(Format::csv(','), Mapping {
///     client: Some(Value::column("visitor")),
///     item: Some(Value::column("sku")),
///     ..Mapping::new(time, KindMapping::Constant(EventKind::Detail))
/// });
/// let (events, dead_letters) = (MemoryTable::new(), MemoryTable::new());
/// let now: Timestamp = "2024-06-01T00:00Z".parse()?;
/// let report = import.run(&file, now, &events, &dead_letters, |_| {}).await?;
///
/// assert_eq!((report.rows, report.events, report.dead_letters), (2, 1, 1));
/// assert_eq!(events.records()[0].payload, "v1,hat,2024-05-01T12:00:00Z");
/// assert_eq!(dead_letters.records()[0].position, 3);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Import {
    /// How the file is written.
    pub format: Format,
    /// Which column says what.
    pub mapping: Mapping,
    /// When the events count as received. Default: when they happened.
    #[serde(default)]
    pub received_at: ReceivedAt,
    /// What the file is called in event ids and dead letters. Default: its name without folders.
    ///
    /// The ids of events are made of this name and the row, unless the [mapping](Mapping::id) has its
    /// own, and events of one id count as one later on. **Two files that are given the same name here
    /// lose events.** Left out, the first 64 KiB of the file as it is stored go into the ids as well:
    /// files of one name in two folders then differ, and so do a short file and the same file after more
    /// was appended, or one that was compressed again. Give a file that grows a name of its own.
    #[serde(default)]
    pub source: Option<String>,
    /// Write once so many events and dead letters are there. Default: 200 000, some 128 MiB in memory.
    #[serde(default = "default_batch_rows")]
    pub batch_rows: usize,
    /// The longest row in bytes; a longer one is a dead letter with its first so many bytes. Default:
    /// 1 MiB.
    ///
    /// A row of Parquet counts as the JSON object that it is kept as. The records of one row may take
    /// four times as much, and 64 MiB in any case; a row that needs more is a dead letter.
    #[serde(default = "default_max_row_bytes")]
    pub max_row_bytes: usize,
}

const fn default_batch_rows() -> usize {
    200_000
}

const fn default_max_row_bytes() -> usize {
    1 << 20
}

/// How a file is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Format {
    /// Text with separated fields, perhaps quoted.
    Csv {
        /// What separates fields: one ASCII character.
        delimiter: char,
        /// What a field may be put in, and is doubled within: one ASCII character. Default: `"`.
        ///
        /// None for a source that quotes nothing: there a field that begins with `"` is not open until
        /// the next one.
        #[serde(default = "default_quote")]
        quote: Option<char>,
        /// The names of the columns, where the first row does not hold them.
        #[serde(default)]
        columns: Option<Vec<String>>,
    },
    /// A JSON object a line. There is no header: a member that an object lacks has no value.
    ///
    /// A member that names something (client, session, item, …) is a string or a whole number of 64 bits;
    /// other numbers would be rounded, so such a row is a dead letter.
    JsonLines {
        /// The member that holds an array of records, where an object nests several.
        #[serde(default)]
        nested: Option<String>,
    },
    /// Apache Parquet.
    Parquet,
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "serde wants the type of the field"
)]
const fn default_quote() -> Option<char> {
    Some('"')
}

impl Format {
    /// Text whose fields are separated by a character and perhaps in double quotes, with the names of
    /// the columns in the first row.
    #[must_use]
    pub const fn csv(delimiter: char) -> Self {
        Self::Csv {
            delimiter,
            quote: Some('"'),
            columns: None,
        }
    }
}

/// When imported events count as received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReceivedAt {
    /// When they happened: a backfill, which lands in the partitions that live events would have.
    #[default]
    Occurred,
    /// When they were imported.
    Imported,
}

/// How far an import is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// How many bytes of the file were read, as it is stored.
    pub bytes_read: u64,
    /// How many it has.
    pub bytes_total: u64,
    /// How many rows were read.
    pub rows: u64,
}

/// What an import did.
///
/// `rows` is the number of rows that became events, plus `skipped`, plus `dead_letters`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ImportReport {
    /// How many rows the file has, without a header.
    pub rows: u64,
    /// How many records were handed to the sink, and accepted.
    pub events: u64,
    /// How many rows say nothing: empty lines, and objects without a nested record.
    pub skipped: u64,
    /// How many rows are dead letters.
    pub dead_letters: u64,
    /// How many bytes were read, as the file is stored.
    pub bytes: u64,
}

impl Import {
    /// An import of a format by a mapping, with the defaults for the rest.
    #[must_use]
    pub const fn new(format: Format, mapping: Mapping) -> Self {
        Self {
            format,
            mapping,
            received_at: ReceivedAt::Occurred,
            source: None,
            batch_rows: default_batch_rows(),
            max_row_bytes: default_max_row_bytes(),
        }
    }

    /// Imports a file: writes its events to a sink and what cannot be read to another, flushes both,
    /// and says what it did. `progress` is called after every batch.
    ///
    /// `imported_at` is when dead letters are received, and events too if
    /// [`received_at`](Self::received_at) says so.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownColumn`] if the mapping names a column that the file's header lacks, and
    /// [`Error::InvalidConfig`] for settings that cannot be used, before anything is written.
    /// [`Error::Read`] or [`Error::Parquet`] if the file cannot be read to its end, [`Error::Arrow`] if
    /// a Parquet column cannot be written as text, and what the sinks say: some batches are then
    /// written.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, some batches are written; import the file again.
    #[tracing::instrument(level = "info", skip_all, fields(path = %path.as_ref().display()))]
    pub async fn run<S, D>(
        &self,
        path: impl AsRef<Path>,
        imported_at: Timestamp,
        sink: &S,
        dead_letters: &D,
        progress: impl FnMut(Progress) + Send,
    ) -> Result<ImportReport>
    where
        S: EventSink + ?Sized,
        D: EventSink<DeadLetter> + ?Sized,
    {
        let target = Sink(sink);
        let gathered = Target::<Event>::gather(&target);
        // One batch is read while another is written.
        let reading = self.begin(path.as_ref(), None, imported_at, gathered, 1)?;
        reading.land(target, dead_letters, progress).await
    }

    // Begins to read a file, whose ids follow from an identity of its content if one is given.
    fn begin<G: Gather<Event>>(
        &self,
        path: &Path,
        identity: Option<oneshot::Receiver<String>>,
        imported_at: Timestamp,
        gathered: G,
        n_ahead: usize,
    ) -> Result<Reading<G>> {
        let job = Job {
            path: path.to_owned(),
            source: self.source.clone(),
            identity,
            format: self.format.clone(),
            batch_rows: self.batch_rows,
            max_row_bytes: self.max_row_bytes,
            imported_at,
            n_ahead,
        };
        let decode = EventDecoder {
            mapper: Mapper::new(self.mapping.clone(), self.max_row_bytes),
            received_at: match self.received_at {
                ReceivedAt::Occurred => None,
                ReceivedAt::Imported => Some(imported_at),
            },
        };
        Reading::begin(job, decode, gathered)
    }
}

#[derive(Debug)]
struct EventDecoder {
    mapper: Mapper,
    received_at: Option<Timestamp>,
}

impl Decode<Event> for EventDecoder {
    fn columns(&self) -> &[String] {
        self.mapper.columns()
    }

    fn is_name(&self, column: &str) -> bool {
        self.mapper.is_name(column)
    }

    fn makes_ids(&self) -> bool {
        self.mapper.makes_ids()
    }

    fn decode(
        &self,
        fields: &Fields<'_>,
        ids: &mut RowIds<'_>,
        out: &mut Records<Event>,
    ) -> Result<(), String> {
        self.mapper
            .events(fields, self.received_at, &mut || ids.next(), out)
    }

    fn keep(&self, first: &mut Event, bytes: Bytes) {
        first.payload = bytes;
    }
}

fn invalid(reason: &str) -> Error {
    Error::InvalidConfig {
        of: "import",
        reason: reason.to_owned(),
    }
}
