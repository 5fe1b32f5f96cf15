//! # From shopper events to recommendations
//!
//! The whole line in one program: events land in a raw table, a DAG turns them into sessions, two
//! models learn from them and are judged beside popularity, the best is published and served.
//!
//! ```sh
//! cargo run --all-features --example quickstart
//! cargo run --all-features --example quickstart -- --data e-shop.csv --format eshop
//! ```
//!
//! Everything that it makes lies in one folder, which it prints: the tables (open them with any
//! engine that reads Delta Lake), the models, and `report.html`.

mod cli;
mod learn;
mod pipeline;
mod products;
mod report;
mod source;
mod summary;

use std::io::{Write, stdout};
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use clap::Parser;
use reco_core::object_store::local::LocalFileSystem;
use reco_core::{Event, ModelRegistry, Session};
use reco_ingest::{DeadLetter, DeltaTable};
use reco_serve::{ExcludeSession, Recommender};
use reco_train::{Gru4RecLoader, PopularityLoader, Prod2VecLoader};
use reco_transform::{DagEvent, Warehouse};

use crate::cli::{Args, progress};
use crate::products::Products;
use crate::report::{Report, Sample};
use crate::source::Source;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let started = Instant::now();
    let source = Source::new(args.data.clone(), args.format, args.seed)?;
    let out = args.out_folder()?;
    let mut say = stdout();
    writeln!(
        say,
        "reco quickstart: {}\neverything goes to {}\n",
        source.describe(),
        out.display()
    )?;

    // ## 1. Events land, immutable and replayable
    let raw = DeltaTable::<Event>::open_local(out.join("raw/events")).await?;
    let dead_letters = DeltaTable::<DeadLetter>::open_local(out.join("raw/dead_letters")).await?;
    let bar = progress("landing events")?;
    let landed = source.land(&raw, &dead_letters, &bar).await?;
    bar.finish_and_clear();
    writeln!(
        say,
        "1  {} events landed, {} dead letters",
        landed.events, landed.dead_letters
    )?;

    // ## 2. A DAG of SQL and Rust steps turns them into sessions
    let dag = pipeline::dag(raw.clone())?;
    let warehouse = Warehouse::at(out.join("tables").to_string_lossy())?;
    let bar = progress("transforming")?;
    let run = dag
        .run_observed(&warehouse, |event| match event {
            DagEvent::Started {
                table,
                n_done,
                n_tables,
            } => {
                bar.set_length(n_tables as u64);
                bar.set_position(n_done as u64);
                bar.set_message(format!("transforming: {table}"));
            }
            DagEvent::Finished(_) => bar.inc(1),
        })
        .await?;
    bar.finish_and_clear();
    for report in run.reports() {
        writeln!(say, "2  {report}")?;
        if !report.checks.results.is_empty() {
            writeln!(say, "      {}", report.checks)?;
        }
    }
    let dataset = run.dataset("interactions").await?;
    let split = pipeline::split(&dataset, args.test_days)?;
    writeln!(
        say,
        "   {} sessions to learn from, {} to be judged on, {} that straddle the cut left out",
        split.train.n_sessions(),
        split.test.n_sessions(),
        split.n_straddling
    )?;
    learn::write_tsv(&out.join("train.tsv"), &split.train)?;
    learn::write_tsv(&out.join("test.tsv"), &split.test)?;

    // ## 3. Models learn, and are ranked against the whole catalogue
    let bar = progress("learning")?;
    let fitted = learn::fit_all(&split, args.seed, &bar)?;
    bar.finish_and_clear();
    writeln!(say, "\n{}", learn::table(&fitted))?;

    // ## 4. Each is published; the best becomes the champion
    let registry = ModelRegistry::new(Arc::new(LocalFileSystem::new_with_prefix(&out)?));
    let mut rows = Vec::new();
    for model in &fitted {
        let version = registry.publish("next-item", &model.artifact).await?;
        rows.push(model.row(version));
    }
    let best = rows
        .iter_mut()
        .max_by(|a, b| a.recall().total_cmp(&b.recall()));
    let best = best.context("at least one model was fitted")?;
    best.champion = true;
    registry
        .promote("next-item", best.version, "champion")
        .await?;
    writeln!(say, "4  {best} is the champion")?;

    // ## 5. A handle serves it inside this process
    let recommender = Recommender::builder(registry, "next-item")
        .loader(PopularityLoader)
        .loader(Prod2VecLoader)
        .loader(Gru4RecLoader)
        .filter(ExcludeSession)
        .open()
        .await?;
    let products = Products::of(&source, &raw).await?;
    let mut samples = Vec::new();
    for (seen, next) in learn::sample_queries(&split.test, 3) {
        let answer = recommender.recommend(&Session::new(seen.clone()), 5)?;
        let by = rows.iter().find(|row| row.version == answer.version);
        samples.push(Sample {
            seen: seen.iter().map(|item| products.get(item)).collect(),
            next: products.get(&next),
            recommended: answer
                .ranking
                .iter()
                .map(|s| (products.get(&s.item), s.score))
                .collect(),
            by: by
                .context("the handle serves what was published")?
                .to_string(),
        });
    }
    for sample in &samples {
        writeln!(say, "\n{sample}")?;
    }

    // ## 6. The report
    let report = Report {
        source: source.describe(),
        out: out.display().to_string(),
        facts: summary::headline(&landed, &split, started.elapsed()),
        graph: summary::graph(&dag, &run, &rows),
        checks: run
            .reports()
            .iter()
            .map(|r| r.checks.clone())
            .filter(|c| !c.results.is_empty())
            .collect(),
        models: rows,
        samples,
    };
    std::fs::write(out.join("report.html"), report.to_html())?;
    let published = warehouse.state().await?;
    let published = published.map(|state| state.contents).unwrap_or_default();
    std::fs::write(
        out.join("summary.json"),
        summary::summary(&landed, &published, &report)?,
    )?;
    writeln!(
        say,
        "\ndone in {:.0} s; open {}",
        started.elapsed().as_secs_f64(),
        out.join("report.html").display()
    )?;
    Ok(())
}
