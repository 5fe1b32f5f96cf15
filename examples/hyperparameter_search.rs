//! # Tune a model
//!
//! Searches the hyperparameters of prod2vec, the GRU or VMIS-kNN on a synthetic shop, or on a file of your own:
//! TSV with the header `SessionId`, `ItemId`, `Time` (seconds), plain or gzipped.
//! The last days are the test set, which is looked at once, at the end; the days before are the validation set,
//! on which settings are chosen.
//!
//! ```sh
//! cargo run --all-features --example hyperparameter_search -- --model prod2vec --trials 30 --page search.html
//! ```
//!
//! You will see a line for each trial, the best settings, and how they do on the test set beside the defaults.
//! With `--journal` you may end it at any time, by `kill -9` even: the next call goes on where it was. With
//! `--runs` each trial is a run in a folder, with `--mlflow` on a server.

mod tsv;

use std::io::Write;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use clap::{Parser, ValueEnum};
use reco_core::testing::{SyntheticShop, SyntheticShopConfig};
use reco_core::{SessionDataset, SessionEncoding, Timestamp};
use reco_train::evaluate::{Mrr, Recall};
use reco_train::search::{
    AshaConfig, Budget, Fitting, Parameter, Pruner, Space, Study, StudyConfig, Tunable,
};
use reco_train::track::mlflow::{Mlflow, MlflowConfig};
use reco_train::track::{JsonLines, Tracker};
use reco_train::{
    Engine, Gru4RecConfig, Gru4RecTrainer, Prod2VecConfig, Prod2VecTrainer, Scorer, Trainer,
    VmisKnnConfig, VmisKnnTrainer, evaluate,
};
use tracing_subscriber::EnvFilter;

#[derive(Debug, Parser)]
#[command(about = "Searches the hyperparameters of a model on a validation set.")]
struct Args {
    /// What to tune.
    #[arg(long, default_value = "prod2vec")]
    model: ModelKind,
    /// Sessions: TSV with the columns `SessionId`, `ItemId`, `Time`. Default: a synthetic shop.
    #[arg(long)]
    train: Option<PathBuf>,
    /// How many days the test set has, and the validation set before it.
    #[arg(long, default_value_t = 2)]
    days: u32,
    /// How many trials there are in all, those of the journal included.
    #[arg(long, default_value_t = 30)]
    trials: u64,
    /// Seed of every draw.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many trials run side by side, each on one thread. With one the same seed gives the same trials.
    #[arg(long, default_value_t = 1)]
    workers: usize,
    /// How many MiB all trials that run may hold together, by what they say that they need.
    #[arg(long)]
    memory: Option<u64>,
    /// Write all that happens to this file, and go on from it.
    #[arg(long)]
    journal: Option<PathBuf>,
    /// Write a page to look at.
    #[arg(long)]
    page: Option<PathBuf>,
    /// Write the table of trials as CSV.
    #[arg(long)]
    csv: Option<PathBuf>,
    /// Record each trial as a run in this folder.
    #[arg(long)]
    runs: Option<PathBuf>,
    /// Record each trial as a run on this `MLflow` server: `http://127.0.0.1:5000`.
    #[arg(long, conflicts_with = "runs")]
    mlflow: Option<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ModelKind {
    Prod2vec,
    Gru4rec,
    VmisKnn,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let filter = EnvFilter::try_from_default_env();
    tracing_subscriber::fmt()
        .with_env_filter(filter.unwrap_or_else(|_| EnvFilter::new("warn,reco_train::search=info")))
        .with_writer(std::io::stderr)
        .with_target(false)
        .init();

    // ## Spaces: names are fields of the configuration; what is not named keeps its value.
    match args.model {
        ModelKind::Prod2vec => {
            let base = Prod2VecConfig {
                vector_size: 64,
                min_count: 1,
                epochs: 20,
                seed: args.seed,
                ..Prod2VecConfig::default()
            };
            // What matters most for items, by Caselles-Dupré et al. (arXiv 1804.04212).
            let space = Space::new([
                Parameter::integer("window", 1, 10),
                Parameter::uniform("ns_exponent", -1.0, 1.0),
                Parameter::log_uniform("sample", 1e-5, 1e-1),
                Parameter::log_integer("negative", 2, 30),
                Parameter::log_uniform("alpha", 0.005, 0.2),
            ])?;
            tune(&args, base, space, Prod2VecTrainer::new)
        }
        ModelKind::Gru4rec => {
            let base = Gru4RecConfig {
                n_sample: 512,
                n_epochs: 5,
                seed: args.seed,
                ..Gru4RecConfig::default()
            };
            // The space in which the authors of GRU4Rec tune theirs, for smaller data.
            let space = Space::new([
                Parameter::choice("loss", ["cross-entropy", "bpr-max"]),
                Parameter::integer("layer", 32, 160).step(32),
                Parameter::integer("batch_size", 32, 256).step(16),
                Parameter::log_uniform("learning_rate", 0.01, 0.25),
                Parameter::uniform("dropout_p_embed", 0.0, 0.5),
                Parameter::uniform("dropout_p_hidden", 0.0, 0.7),
                Parameter::uniform("momentum", 0.0, 0.9),
                Parameter::uniform("sample_alpha", 0.0, 1.0),
                Parameter::uniform("bpreg", 0.0, 2.0).when("loss", ["bpr-max"]),
                Parameter::choice("elu_param", [0.0, 0.5, 1.0]).when("loss", ["bpr-max"]),
            ])?;
            tune(&args, base, space, Gru4RecTrainer::new)
        }
        ModelKind::VmisKnn => {
            let space = Space::new([
                Parameter::log_integer("k", 50, 1500),
                Parameter::log_integer("m", 100, 5000),
            ])?;
            tune(&args, VmisKnnConfig::default(), space, |config, _| {
                VmisKnnTrainer::new(config)
            })
        }
    }
}

fn tune<C, T>(
    args: &Args,
    base: C,
    space: Space,
    trainer: impl Fn(C, Engine) -> T + Sync,
) -> anyhow::Result<()>
where
    C: Tunable,
    T: Trainer<Model: Scorer>,
{
    // ## Data: the search sees the training set and the validation set, and has no way to the test set.
    let whole = sessions(args)?.split_last_days(args.days)?;
    let split = whole.clone().hold_out_days(args.days)?;

    // ## The study: who is not among the best third after a quarter of the epochs is stopped there.
    let fitting = Fitting::new(base.clone(), &split, Mrr::at(20), &trainer)?;
    let config = StudyConfig {
        seed: args.seed,
        pruner: Pruner::Asha(AshaConfig {
            // Not earlier: a learning rate that falls with the epochs makes the first ones look alike.
            min_resource: base.n_steps().div_ceil(4),
            ..AshaConfig::default()
        }),
        ..StudyConfig::default()
    };
    let budget = Budget {
        threads: args.workers.max(1),
        bytes: args.memory.map_or(u64::MAX, |mib| mib << 20),
    };
    let mut study = Study::new(space, config, budget).workers(args.workers);
    if let Some(journal) = &args.journal {
        study = study.journal(journal);
    }
    let tracker = tracker(args)?;
    if let Some(tracker) = &tracker {
        study = study.tracker(Arc::clone(tracker), C::KIND);
    }
    let trials = study.run(&fitting, args.trials)?;

    // ## What was found.
    let title = format!("{} on validation, by MRR@20", C::KIND);
    if let Some(page) = &args.page {
        std::fs::write(page, trials.to_html(&title)).with_context(|| page.display().to_string())?;
    }
    if let Some(csv) = &args.csv {
        std::fs::write(csv, trials.to_csv()).with_context(|| csv.display().to_string())?;
    }
    let best = trials.best().context("no trial is complete")?;
    let mut out = std::io::stdout();
    writeln!(
        out,
        "{} complete, {} pruned, {} failed",
        trials.count("complete"),
        trials.count("pruned"),
        trials.count("failed")
    )?;
    writeln!(out, "best: trial {} with {}", best.number, best.params)?;
    for (name, share) in trials.importances() {
        writeln!(out, "  {name} explains {:.0} %", share * 100.0)?;
    }
    if let Some(tracker) = tracker {
        writeln!(out, "tracker: {}", tracker.flush())?;
    }

    // ## The end: the best settings and the defaults, fitted on all before the test set, judged once.
    let tuned = best.params.apply_to(C::KIND, &base)?;
    for (name, config) in [("defaults", base), ("tuned", tuned)] {
        let model = trainer(config, Engine::cpu(1))
            .fit(&whole.train, &mut |_| ControlFlow::Continue(()))?;
        let scores = evaluate(&model, &whole.test, &[Mrr::at(20), Recall::at(20)])?;
        writeln!(out, "{name:<9} on test: {scores}")?;
    }
    Ok(())
}

fn sessions(args: &Args) -> anyhow::Result<SessionDataset> {
    if let Some(file) = &args.train {
        return tsv::read(file);
    }
    let shop = SyntheticShop::new(SyntheticShopConfig::default())?;
    let mut builder = SessionDataset::builder(SessionEncoding::default());
    for view in shop.interactions() {
        builder.push(&view.session, view.item.as_str(), view.occurred_at)?;
    }
    Ok(builder.build()?)
}

fn tracker(args: &Args) -> anyhow::Result<Option<Arc<dyn Tracker>>> {
    Ok(match (&args.runs, &args.mlflow) {
        (Some(folder), _) => Some(Arc::new(JsonLines::open(folder, Timestamp::now)?)),
        (None, Some(url)) => {
            let config = MlflowConfig {
                url: url.clone(),
                experiment: "reco".to_owned(),
                ..MlflowConfig::default()
            };
            Some(Arc::new(Mlflow::start(config, Timestamp::now)?))
        }
        (None, None) => None,
    })
}
