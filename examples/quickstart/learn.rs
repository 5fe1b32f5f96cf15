//! The models of the run: fitted, judged, and told about.

use std::fmt::Write;
use std::io::BufWriter;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use indicatif::ProgressBar;
use reco_core::{ItemId, ModelArtifact, ModelVersion, SessionDataset, Split, TestSet};
use reco_train::evaluate::{Coverage, Mrr, Ndcg, PopularityBias, Recall};
use reco_train::{
    Engine, EpochReport, Evaluation, Gru4RecConfig, Gru4RecTrainer, PopularityTrainer,
    Prod2VecConfig, Prod2VecTrainer, Scorer, Trainer, evaluate,
};

use crate::report::ModelRow;

/// A model that was fitted and judged.
#[derive(Debug)]
pub(crate) struct Fitted {
    /// The model as files, with its scores.
    pub artifact: ModelArtifact,
    losses: Vec<f64>,
    fit_seconds: f64,
    scores: Evaluation,
}

impl Fitted {
    /// Its row in the report.
    pub(crate) fn row(&self, version: ModelVersion) -> ModelRow {
        ModelRow {
            kind: self.artifact.kind().to_owned(),
            version,
            losses: self.losses.clone(),
            fit_seconds: self.fit_seconds,
            scores: (&self.scores).into_iter().collect(),
            champion: false,
        }
    }
}

/// Fits popularity, prod2vec and the GRU, and ranks each next item of the test sessions.
pub(crate) fn fit_all(split: &Split, seed: u64, bar: &ProgressBar) -> anyhow::Result<Vec<Fitted>> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let engine = Engine::cpu(threads);
    let prod2vec = Prod2VecConfig {
        sg: true,
        min_count: 1,
        epochs: 10,
        seed,
        ..Prod2VecConfig::default()
    };
    let gru4rec = Gru4RecConfig {
        n_epochs: 10,
        seed,
        ..Gru4RecConfig::default()
    };
    Ok(vec![
        fit(&PopularityTrainer, split, "popularity", bar, |model| {
            model.to_artifact()
        })?,
        fit(
            &Prod2VecTrainer::new(prod2vec, engine.clone()),
            split,
            "prod2vec",
            bar,
            |model| model.to_artifact(),
        )?,
        fit(
            &Gru4RecTrainer::new(gru4rec, engine),
            split,
            "gru4rec",
            bar,
            |model| model.to_artifact(),
        )?,
    ])
}

fn fit<T: Trainer<Model: Scorer>>(
    trainer: &T,
    split: &Split,
    name: &'static str,
    bar: &ProgressBar,
    to_artifact: impl Fn(&T::Model) -> reco_train::Result<ModelArtifact>,
) -> anyhow::Result<Fitted> {
    bar.set_message(format!("{name}: epoch"));
    bar.reset();
    let mut losses = Vec::new();
    let started = Instant::now();
    let model = trainer.fit(&split.train, &mut |report: &EpochReport| {
        bar.set_length(u64::from(report.n_epochs));
        bar.set_position(u64::from(report.epoch));
        losses.push(report.loss);
        ControlFlow::Continue(())
    })?;
    let fit_seconds = started.elapsed().as_secs_f64();
    bar.set_message(format!("{name}: evaluating, epoch"));
    let metrics = [
        Recall::at(20),
        Mrr::at(20),
        Ndcg::at(20),
        Coverage::at(20),
        PopularityBias::at(20),
    ];
    let scores = evaluate(&model, &split.test, &metrics)?;
    let artifact = to_artifact(&model)?.with_scores(&scores);
    Ok(Fitted {
        artifact,
        losses,
        fit_seconds,
        scores,
    })
}

/// The scores of all models as text.
pub(crate) fn table(fitted: &[Fitted]) -> String {
    let mut text = String::new();
    let mut line = |cells: Vec<String>, seconds: &str| {
        let (name, values) = cells.split_first().expect("a line has a name");
        let values: String = values.iter().map(|value| format!("{value:>20}")).collect();
        writeln!(text, "3  {name:<12}{values}{seconds:>12}").expect("a string takes it");
    };
    for (index, model) in fitted.iter().enumerate() {
        if index == 0 {
            let names = model.scores.iter().map(|(metric, _)| metric.to_string());
            line(
                std::iter::once("model".to_owned()).chain(names).collect(),
                "fitted in",
            );
        }
        let values = model.scores.iter().map(|(_, value)| format!("{value:.4}"));
        let name = model.artifact.kind().to_owned();
        let seconds = format!("{:.1} s", model.fit_seconds);
        line(std::iter::once(name).chain(values).collect(), &seconds);
    }
    let n_queries = fitted.first().map_or(0, |model| model.scores.n_queries);
    writeln!(
        text,
        "   {n_queries} next items, each ranked against the whole catalogue"
    )
    .expect("a string takes it");
    text
}

/// Beginnings of test sessions and the item that came next, spread over the test set: sessions that
/// saw three to six items and went on to a new one.
pub(crate) fn sample_queries(test: &TestSet, n: usize) -> Vec<(Vec<ItemId>, ItemId)> {
    let suitable: Vec<usize> = (0..test.n_sessions())
        .filter(|&session| {
            let items = test.session(session);
            let (next, seen) = items.split_last().expect("no session is empty");
            (3..=6).contains(&seen.len()) && !seen.contains(next)
        })
        .collect();
    let step = (suitable.len() / n).max(1);
    let chosen = suitable.iter().step_by(step).take(n);
    let cut = |&session: &usize| {
        let items = test.decode(session).items().to_vec();
        let (next, seen) = items.split_last().expect("no session is empty");
        (seen.to_vec(), next.clone())
    };
    chosen.map(cut).collect()
}

/// Writes sessions in the form that the example `evaluate` and the peers' scripts read.
pub(crate) fn write_tsv(path: &Path, sessions: &SessionDataset) -> anyhow::Result<()> {
    let mut writer = csv::WriterBuilder::new()
        .delimiter(b'\t')
        .quote_style(csv::QuoteStyle::Never)
        .from_writer(BufWriter::new(std::fs::File::create(path)?));
    writer.write_record(["SessionId", "ItemId", "Time"])?;
    for session in 0..sessions.n_sessions() {
        for (item, time) in sessions
            .session(session)
            .iter()
            .zip(sessions.times(session))
        {
            let (seconds, micros) = (time.div_euclid(1_000_000), time.rem_euclid(1_000_000));
            let item = sessions.vocabulary().item(*item).as_str();
            // Numbered in their order, and padded so that the order of the texts is the same.
            writer.write_record([
                &format!("{session:09}"),
                item,
                &format!("{seconds}.{micros:06}"),
            ])?;
        }
    }
    writer.flush()?;
    Ok(())
}
