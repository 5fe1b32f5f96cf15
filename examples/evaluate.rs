//! # Train and evaluate a model on your own files
//!
//! Reads two files of sessions, fits a model on the first and ranks each next item of the second
//! against the whole catalogue.
//! The files are TSV with the header `SessionId`, `ItemId`, `Time` (seconds), plain or gzipped: the
//! form in which session data sets are published.
//!
//! ```sh
//! cargo run --all-features --example evaluate -- --train train.tsv --test test.tsv --model gru4rec
//! ```
//!
//! Without `--config` the hyperparameters are those of the scripts in `benches/peers`, so that the
//! numbers stand side by side. A configuration names the hyperparameters that differ:
//! `{"layer": 224, "loss": "bpr-max"}`.
//! The models of past sessions (`vmis-knn`, `stan`, `rules`) start from the defaults of their papers' code;
//! `blend` fuses VMIS-kNN and the GRU, and its configuration is that of the fusion.
//!
//! `--report report.html` writes a page to look at: how sure the numbers are, where the model is good and
//! where it is not, how it behaves, and whether it may be promoted.

mod evaluate_report;
mod tsv;

use std::io::Write;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, bail};
use clap::{Parser, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use reco_core::{Model, Split, TrainSet, config_from_value};
use reco_train::evaluate::{Mrr, Recall};
use reco_train::{
    Blend, BlendConfig, Engine, EpochReport, Gru4RecConfig, Gru4RecTrainer, PopularityTrainer,
    Prod2VecConfig, Prod2VecTrainer, RulesConfig, RulesTrainer, Scorer, StanConfig, StanTrainer,
    Trainer, VmisKnnConfig, VmisKnnTrainer, evaluate,
};
use serde::{Serialize, de::DeserializeOwned};

#[derive(Debug, Parser)]
#[command(about = "Trains a model on one file of sessions and evaluates it on another.")]
struct Args {
    /// Training sessions: TSV with the columns `SessionId`, `ItemId`, `Time`.
    #[arg(long)]
    train: PathBuf,
    /// Test sessions, later than the training sessions.
    #[arg(long)]
    test: PathBuf,
    /// What to fit.
    #[arg(long)]
    model: ModelKind,
    /// Hyperparameters as a JSON object; those it does not name keep their defaults.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Where to fit it: our own kernels, Burn's CPU device, or a GPU.
    #[arg(long, default_value = "cpu")]
    device: DeviceKind,
    /// Threads of the kernels and of the evaluation.
    #[arg(long, default_value_t = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN))]
    threads: NonZeroUsize,
    /// Seed of every draw.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Write a page with intervals, slices, behavioural tests, and the bestsellers beside.
    #[arg(long)]
    report: Option<PathBuf>,
    /// Print one line of JSON instead of a table.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
enum ModelKind {
    Popularity,
    Prod2vec,
    Gru4rec,
    VmisKnn,
    Stan,
    Rules,
    Blend,
}

#[derive(Debug, Clone, Copy, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum DeviceKind {
    Cpu,
    Flex,
    Wgpu,
}

/// What is printed. Seconds are wall time; events are what the trainer goes through in an epoch.
#[derive(Debug, Serialize)]
struct Outcome {
    model: ModelKind,
    device: DeviceKind,
    threads: usize,
    seed: u64,
    sessions: usize,
    events: usize,
    items: usize,
    epochs: u32,
    loss: f64,
    train_seconds: f64,
    events_per_second: f64,
    queries: u64,
    #[serde(rename = "recall@20")]
    recall_at_20: f64,
    #[serde(rename = "mrr@20")]
    mrr_at_20: f64,
    eval_seconds: f64,
    peak_rss_bytes: u64,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    rayon::ThreadPoolBuilder::new()
        .num_threads(args.threads.get())
        .build_global()?;
    let split = Split::from_parts(tsv::read(&args.train)?, tsv::read(&args.test)?);
    let engine = engine(args.device, args.threads.get())?;
    let outcome = match args.model {
        ModelKind::Popularity => {
            anyhow::ensure!(args.config.is_none(), "popularity has no hyperparameters");
            fit_and_evaluate(&args, &split, &PopularityTrainer)?
        }
        ModelKind::Prod2vec => {
            let defaults = Prod2VecConfig {
                sg: true,
                epochs: 10,
                sample: 0.0,
                min_count: 1,
                seed: args.seed,
                ..Prod2VecConfig::default()
            };
            let config = configured("prod2vec", defaults, args.config.as_deref())?;
            fit_and_evaluate(&args, &split, &Prod2VecTrainer::new(config, engine))?
        }
        ModelKind::Gru4rec => {
            let defaults = Gru4RecConfig {
                seed: args.seed,
                ..Gru4RecConfig::default()
            };
            let config = configured("gru4rec", defaults, args.config.as_deref())?;
            fit_and_evaluate(&args, &split, &Gru4RecTrainer::new(config, engine))?
        }
        ModelKind::VmisKnn => {
            let defaults = VmisKnnConfig::default();
            let config = configured("vmis-knn", defaults, args.config.as_deref())?;
            fit_and_evaluate(&args, &split, &VmisKnnTrainer::new(config))?
        }
        ModelKind::Stan => {
            let config = configured("stan", StanConfig::default(), args.config.as_deref())?;
            fit_and_evaluate(&args, &split, &StanTrainer::new(config))?
        }
        ModelKind::Rules => {
            let config = configured("rules", RulesConfig::default(), args.config.as_deref())?;
            fit_and_evaluate(&args, &split, &RulesTrainer::new(config))?
        }
        ModelKind::Blend => {
            let config = configured("blend", BlendConfig::default(), args.config.as_deref())?;
            let seed = args.seed;
            let trainer = BlendTrainer {
                config,
                engine,
                seed,
            };
            fit_and_evaluate(&args, &split, &trainer)?
        }
    };
    let text = if args.json {
        serde_json::to_string(&outcome)?
    } else {
        serde_json::to_string_pretty(&outcome)?
    };
    writeln!(std::io::stdout(), "{text}")?;
    Ok(())
}

fn engine(device: DeviceKind, threads: usize) -> anyhow::Result<Engine> {
    Ok(match device {
        DeviceKind::Cpu => Engine::cpu(threads),
        DeviceKind::Flex => Engine::flex(),
        #[cfg(feature = "wgpu")]
        DeviceKind::Wgpu => Engine::wgpu()?,
        #[cfg(not(feature = "wgpu"))]
        DeviceKind::Wgpu => bail!("this build has no GPU support: build with --features wgpu"),
    })
}

/// Fits VMIS-kNN and the GRU, and blends them: how a host makes one trainer of several.
#[derive(Debug)]
struct BlendTrainer {
    config: BlendConfig,
    engine: Engine,
    seed: u64,
}

impl Trainer for BlendTrainer {
    type Model = Blend;

    fn fit(
        &self,
        train: &TrainSet,
        observer: &mut dyn FnMut(&EpochReport) -> ControlFlow<()>,
    ) -> reco_train::Result<Blend> {
        let neighbours = VmisKnnTrainer::new(VmisKnnConfig::vs_knn())
            .fit(train, &mut |_| ControlFlow::Continue(()))?;
        let config = Gru4RecConfig {
            seed: self.seed,
            ..Gru4RecConfig::default()
        };
        let network = Gru4RecTrainer::new(config, self.engine.clone()).fit(train, observer)?;
        Blend::new(
            train.encoder().clone(),
            vec![Arc::new(neighbours), Arc::new(network)],
            self.config.clone(),
        )
    }
}

fn fit_and_evaluate<T>(args: &Args, split: &Split, trainer: &T) -> anyhow::Result<Outcome>
where
    T: Trainer<Model: Scorer>,
{
    let bar = ProgressBar::new(0).with_style(ProgressStyle::with_template(
        "{elapsed_precise} [{bar:30}] epoch {pos}/{len} {msg}",
    )?);
    let mut last = None;
    let mut n_events = 0;
    let started = Instant::now();
    let model = trainer.fit(&split.train, &mut |report: &EpochReport| {
        bar.set_length(u64::from(report.n_epochs));
        bar.set_position(u64::from(report.epoch));
        bar.set_message(format!("loss {:.4}", report.loss));
        n_events += report.n_events;
        last = Some(*report);
        ControlFlow::Continue(())
    })?;
    let train_seconds = started.elapsed().as_secs_f64();
    bar.finish_and_clear();
    let last = last.context("the trainer reported no epoch")?;

    let started = Instant::now();
    let metrics = [Recall::at(20), Mrr::at(20)];
    let scores = evaluate(&model, &split.test, &metrics)?;
    let eval_seconds = started.elapsed().as_secs_f64();
    if let Some(file) = &args.report {
        let name = model.kind();
        let said = evaluate_report::write(file, name, &model, split, args.seed)?;
        writeln!(std::io::stderr(), "{said}")?;
    }
    Ok(Outcome {
        model: args.model,
        device: args.device,
        threads: args.threads.get(),
        seed: args.seed,
        sessions: split.train.n_sessions(),
        events: split.train.n_interactions(),
        items: model.encoder().vocabulary().len(),
        epochs: last.epoch,
        loss: last.loss,
        train_seconds,
        events_per_second: to_f64(n_events) / train_seconds,
        queries: scores.n_queries,
        recall_at_20: scores.get(metrics[0]).unwrap_or_default(),
        mrr_at_20: scores.get(metrics[1]).unwrap_or_default(),
        eval_seconds,
        peak_rss_bytes: peak_rss_bytes().unwrap_or_default(),
    })
}

/// The defaults with the keys of a file put over them.
fn configured<C: Serialize + DeserializeOwned>(
    of: &str,
    defaults: C,
    file: Option<&Path>,
) -> anyhow::Result<C> {
    let Some(file) = file else {
        return Ok(defaults);
    };
    let text =
        std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let mut settings = serde_json::to_value(defaults)?;
    let serde_json::Value::Object(changes) = serde_json::from_str(&text)? else {
        bail!("{} is not a JSON object", file.display());
    };
    for (key, value) in changes {
        settings[key] = value;
    }
    Ok(config_from_value(of, settings)?)
}

/// The most memory that the process has held, where the system says so (Linux).
fn peak_rss_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace()
        .next()?
        .parse::<u64>()
        .ok()
        .map(|kib| kib * 1024)
}

#[expect(clippy::cast_precision_loss, reason = "a count of events for a rate")]
fn to_f64(count: u64) -> f64 {
    count as f64
}
