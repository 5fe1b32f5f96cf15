//! # Import a folder of CSV files, each once
//!
//! A shop that changes its platform has years of events in files. This lesson lands them in the raw table:
//! a mapping says which column is what, a ledger knows which files are there already, and what identifies
//! a client is taken out on the way.
//!
//! ```sh
//! cargo run --all-features --example import -- <folder of CSV files> <folder for the tables>
//! ```
//!
//! You will see which files were imported and what became of their rows. The files have the columns
//! `event_id`, `occurred_at`, `client`, `session`, `kind`, `item`, `query`, `price`, `quantity` and
//! `currency`. Run it twice: the second time there is nothing left to do. Stop it in the middle and run it
//! again: it goes on where it was.

use std::io::{Write, stderr, stdout};
use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context;
use clap::Parser;
use reco_core::{EventKind, Timestamp};
use reco_ingest::DeltaTable;
use reco_ingest::import::{
    FileOutcome, FileReport, Format, Import, KindMapping, Landing, Ledger, Mapping, Otherwise,
    TimeFormat, TimeMapping, Value,
};
use reco_ingest::privacy::{Keyring, Redaction, RedactionConfig};

#[derive(Parser)]
#[command(about = "Imports a folder of CSV files, each once")]
struct Args {
    /// The folder of the files.
    folder: PathBuf,
    /// The folder of the tables, made if it is not there.
    tables: PathBuf,
    /// A secret to hash clients with, of 16 bytes or more; without one, clients are kept.
    #[arg(long)]
    secret: Option<String>,
    /// Make the ids of the events, instead of taking those of the files.
    #[arg(long)]
    without_ids: bool,
    /// How many threads to run on.
    #[arg(long, default_value_t = 2)]
    threads: usize,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(args.threads)
        .enable_all()
        .build()?;
    runtime.block_on(run(args))
}

async fn run(args: Args) -> anyhow::Result<()> {
    // ## Three tables: events, what cannot be read, and which files were imported
    let open = |name: &str| args.tables.join(name);
    let landing = Landing {
        events: DeltaTable::open_local(open("events")).await?,
        dead_letters: DeltaTable::open_local(open("dead_letters")).await?,
        ledger: Ledger::new(DeltaTable::open_local(open("ledger")).await?),
        redaction: args.secret.as_deref().map(redaction).transpose()?,
    };

    // ## Import what is new
    let (begun, now) = (Instant::now(), Timestamp::now());
    let import = import(args.without_ids);
    let report = import
        .run_folder(&args.folder, now, &landing, |progress| {
            let share = 100 * progress.file.bytes_read / progress.file.bytes_total.max(1);
            // Nobody may be looking.
            drop(write!(stderr(), "\r{}: {share} %", progress.path));
        })
        .await
        .with_context(|| format!("the import of {} stopped", args.folder.display()))?;

    // ## What became of each file
    let mut out = stdout().lock();
    for FileReport { path, outcome, .. } in &report.files {
        match outcome {
            FileOutcome::Imported { report, .. } => {
                let (events, letters) = (report.events, report.dead_letters);
                writeln!(out, "\r{path}: {events} events, {letters} dead letters")?;
            }
            FileOutcome::AlreadyThere { path: there } => writeln!(out, "{path}: there as {there}")?,
        }
    }
    writeln!(
        out,
        "{} events in {:.1?}",
        report.n_events(),
        begun.elapsed()
    )?;
    Ok(())
}

/// Which column says what.
fn import(without_ids: bool) -> Import {
    let column = |name: &str| Some(Value::column(name));
    let time = TimeMapping::Column {
        name: "occurred_at".to_owned(),
        format: TimeFormat::Rfc3339,
    };
    let kind = KindMapping::Column {
        name: "kind".to_owned(),
        values: EventKind::ALL
            .map(|kind| (kind.as_str().to_owned(), kind))
            .into(),
        otherwise: Otherwise::Reject,
    };
    let mapping = Mapping {
        id: column("event_id").filter(|_| !without_ids),
        client: column("client"),
        session: column("session"),
        item: column("item"),
        query: column("query"),
        price: column("price"),
        quantity: column("quantity"),
        currency: column("currency"),
        ..Mapping::new(time, kind)
    };
    Import::new(Format::csv(','), mapping)
}

/// Clients become pseudonyms. A line of CSV cannot be redacted, so it is not kept.
fn redaction(secret: &str) -> anyhow::Result<Redaction> {
    let keys = Keyring::new("import", secret.as_bytes())?;
    Ok(Redaction::new(RedactionConfig::default(), keys)?)
}
