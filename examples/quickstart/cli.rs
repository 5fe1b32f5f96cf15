//! The command line of the quickstart.

use std::path::PathBuf;

use anyhow::{Context, ensure};
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use reco_core::Timestamp;

use crate::source::Format;

/// What can be asked for.
#[derive(Debug, Parser)]
#[command(about = "Events to recommendations, end to end, on a synthetic shop or on real data.")]
pub(crate) struct Args {
    /// Events to read instead of making a shop; may be gzipped.
    #[arg(long)]
    pub(crate) data: Option<PathBuf>,
    /// What the rows of the file are.
    #[arg(long)]
    pub(crate) format: Option<Format>,
    /// Where everything goes: a folder that is empty or not there. Default: a new one under `out`.
    #[arg(long)]
    pub(crate) out: Option<PathBuf>,
    /// How many days to hold out for the evaluation. Default: a tenth of them.
    #[arg(long)]
    pub(crate) test_days: Option<u32>,
    /// Seed of the shop and of the models.
    #[arg(long, default_value_t = 42)]
    pub(crate) seed: u64,
}

/// A bar for long work.
pub(crate) fn progress(message: &'static str) -> anyhow::Result<ProgressBar> {
    let style = ProgressStyle::with_template("{elapsed_precise} [{bar:30}] {msg} {pos}/{len}")?;
    Ok(ProgressBar::new(0).with_style(style).with_message(message))
}

impl Args {
    /// The folder that everything goes to, made and empty.
    pub(crate) fn out_folder(&self) -> anyhow::Result<PathBuf> {
        let folder = self.out.clone().unwrap_or_else(|| {
            let now = Timestamp::now().strftime("%Y%m%d-%H%M%S").to_string();
            PathBuf::from("out").join(format!("quickstart-{now}"))
        });
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
        let folder = folder.canonicalize()?;
        ensure!(
            std::fs::read_dir(&folder)?.next().is_none(),
            "{} is not empty",
            folder.display()
        );
        Ok(folder)
    }
}
