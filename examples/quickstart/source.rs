//! Where the events come from: a synthetic shop, or a file in one of the known formats.

use std::path::PathBuf;

use anyhow::bail;
use clap::ValueEnum;
use indicatif::ProgressBar;
use reco_core::testing::{SyntheticShop, SyntheticShopConfig};
use reco_core::{Event, EventSink, Timestamp};
use reco_ingest::import::{Import, Progress};
use reco_ingest::{BufferConfig, DeadLetter, DeltaTable, EventSinkExt};

/// Where the events come from.
#[derive(Debug)]
pub(crate) enum Source {
    /// A shop made from a seed.
    Shop(SyntheticShop),
    /// A file.
    File {
        /// The file, plain or gzipped.
        path: PathBuf,
        /// What its rows are.
        format: Format,
    },
}

/// A known format of event files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// The clothing shop of UCI data set 553.
    Eshop,
    /// `browsing_train.csv` of the SIGIR eCom 2021 data challenge.
    Coveo,
    /// A month of the REES46 multi-category shop.
    Rees46,
    /// Sessions with the columns `SessionId`, `ItemId`, `Time`.
    Tsv,
}

/// What landed.
#[derive(Debug)]
pub(crate) struct Landed {
    /// Rows in the raw table.
    pub events: u64,
    /// Rows that could not be read, in the dead-letter table.
    pub dead_letters: u64,
}

impl Source {
    /// The source that the arguments name.
    pub(crate) fn new(
        data: Option<PathBuf>,
        format: Option<Format>,
        seed: u64,
    ) -> anyhow::Result<Self> {
        match (data, format) {
            (Some(path), Some(format)) => Ok(Self::File { path, format }),
            (None, None) => {
                let config = SyntheticShopConfig {
                    seed,
                    ..SyntheticShopConfig::default()
                };
                Ok(Self::Shop(SyntheticShop::new(config)?))
            }
            (Some(_), None) => bail!("--data needs --format: eshop, coveo, rees46 or tsv"),
            (None, Some(_)) => bail!("--format needs --data: the file to read"),
        }
    }

    /// What it is, in a line.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Shop(shop) => format!(
                "a synthetic shop of {} items, seed {}",
                shop.config().n_items,
                shop.config().seed
            ),
            Self::File { path, format } => {
                let name = path
                    .file_name()
                    .unwrap_or(path.as_os_str())
                    .to_string_lossy();
                format!("{name}, {format:?} format")
            }
        }
    }

    /// Writes every event to the raw table; what cannot be read goes to the dead letters.
    pub(crate) async fn land(
        &self,
        raw: &DeltaTable<Event>,
        dead_letters: &DeltaTable<DeadLetter>,
        bar: &ProgressBar,
    ) -> anyhow::Result<Landed> {
        match self {
            Self::Shop(shop) => {
                // As a collector would: small writes, collected into large files on the way.
                let sink = raw.clone().buffered(BufferConfig::default())?;
                let mut events = 0;
                let mut stream = shop.events().peekable();
                while stream.peek().is_some() {
                    let batch: Vec<Event> = stream.by_ref().take(500).collect();
                    events += batch.len() as u64;
                    sink.write(batch).await?;
                    bar.set_position(events);
                }
                sink.close().await?;
                Ok(Landed {
                    events,
                    dead_letters: 0,
                })
            }
            Self::File { path, format } => {
                let import = match format {
                    Format::Eshop => Import::eshop(),
                    Format::Coveo => Import::coveo_browsing(),
                    Format::Rees46 => Import::rees46(),
                    Format::Tsv => Import::tsv(),
                };
                let show = |progress: Progress| {
                    bar.set_length(progress.bytes_total);
                    bar.set_position(progress.bytes_read);
                };
                let now = Timestamp::now();
                let report = import.run(path, now, raw, dead_letters, show).await?;
                Ok(Landed {
                    events: report.events,
                    dead_letters: report.dead_letters,
                })
            }
        }
    }
}
