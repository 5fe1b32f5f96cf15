//! Experiment tracking.

#[cfg(feature = "mlflow")]
mod mlflow;
#[cfg(feature = "mlflow")]
mod server;

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::sync::Arc;

use reco_core::Timestamp;
use reco_train::search::{Budget, StudyConfig, objective_fn};
use reco_train::track::{Delivery, Entry, JsonLines, Run, Status, Tracker, tracked};
use reco_train::{Engine, Gru4RecConfig, Gru4RecTrainer, Prod2VecConfig, Prod2VecTrainer, Trainer};

use crate::shop;

/// A clock that stands.
fn noon() -> Timestamp {
    "2024-05-01T12:00:00Z".parse().unwrap()
}

/// What stands in a folder, without the time.
fn lines(folder: &std::path::Path) -> Vec<String> {
    let text = fs::read_to_string(folder.join("runs.jsonl")).unwrap();
    let line = |line: &str| line.replacen("\"at\":\"2024-05-01T12:00:00Z\",", "", 1);
    text.lines().map(line).collect()
}

#[test]
fn a_run_is_a_line_an_entry_and_its_files_are_beside() {
    let folder = tempfile::tempdir().unwrap();
    let tracker: Arc<dyn Tracker> =
        Arc::new(JsonLines::open(folder.path().join("runs"), noon).unwrap());
    let run = Run::start(&tracker, "monday");
    run.params(&serde_json::json!({"layer": 8, "deep": {"loss": "bpr-max", "on": true}}));
    run.metric("loss", 0.5, 1);
    run.tag("host", "here");
    run.artifact("pages/report.html", "<p>");
    run.end(Status::Finished);
    run.end(Status::Failed);
    drop(run);
    let expected = [
        r#"{"run":"monday","start":null}"#,
        r#"{"run":"monday","param":{"key":"deep.loss","value":"bpr-max"}}"#,
        r#"{"run":"monday","param":{"key":"deep.on","value":"true"}}"#,
        r#"{"run":"monday","param":{"key":"layer","value":"8"}}"#,
        r#"{"run":"monday","metric":{"key":"loss","value":0.5,"step":1}}"#,
        r#"{"run":"monday","tag":{"key":"host","value":"here"}}"#,
        r#"{"run":"monday","artifact":{"path":"pages/report.html"}}"#,
        r#"{"run":"monday","end":{"status":"FINISHED"}}"#,
    ];
    let folder = folder.path().join("runs");
    assert_eq!(lines(&folder), expected);
    let file = fs::read_to_string(folder.join("artifacts/monday/pages/report.html")).unwrap();
    assert_eq!(file, "<p>");
    assert_eq!(tracker.flush().to_string(), "8 entries recorded");
}

#[test]
fn what_cannot_be_recorded_is_counted_and_fails_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let tracker: Arc<dyn Tracker> = Arc::new(JsonLines::open(folder.path(), noon).unwrap());
    let run = Run::start(&tracker, "tuesday");
    run.artifact("../outside", "no");
    run.artifact("/etc/outside", "no");
    run.metric("loss", f64::NAN, 1);
    let delivery = tracker.flush();
    assert_eq!((delivery.n_recorded, delivery.n_lost), (1, 3));
    assert_eq!(
        delivery.to_string(),
        "3 of 4 entries were lost: `artifacts/tuesday/../outside` is no path of an artifact: use names of a-z, A-Z, \
         0-9, `.`, `_`, `-` with `/` between"
    );
    assert!(!folder.path().join("outside").exists());
    // Nobody ends it.
    drop(run);
    assert_eq!(
        lines(folder.path()).last().unwrap(),
        r#"{"run":"tuesday","end":{"status":"FAILED"}}"#
    );
}

/// Fails in every way that it may.
#[derive(Debug)]
struct Broken;

impl Tracker for Broken {
    fn record(&self, _: &str, _: Entry) {}

    fn flush(&self) -> Delivery {
        Delivery::default()
    }
}

#[test]
fn training_gives_the_same_bytes_with_and_without_a_tracker() {
    let split = shop::split();
    let folder = tempfile::tempdir().unwrap();
    let tracker: Arc<dyn Tracker> = Arc::new(JsonLines::open(folder.path(), noon).unwrap());
    let broken: Arc<dyn Tracker> = Arc::new(Broken);
    let runs = [
        Run::untracked(),
        Run::start(&tracker, "fit"),
        Run::start(&broken, "fit"),
    ];
    let mut go_on = |_: &_| ControlFlow::Continue(());
    let prod2vec = Prod2VecConfig {
        vector_size: 16,
        epochs: 2,
        ..Default::default()
    };
    let prod2vec = Prod2VecTrainer::new(prod2vec, Engine::cpu(1));
    let plain = prod2vec
        .fit(&split.train, &mut go_on)
        .unwrap()
        .to_artifact()
        .unwrap();
    for run in &runs {
        let model = tracked(&prod2vec, run)
            .fit(&split.train, &mut go_on)
            .unwrap();
        assert_eq!(
            model.to_artifact().unwrap().to_files().unwrap(),
            plain.to_files().unwrap()
        );
    }
    let gru4rec = Gru4RecConfig {
        layer: 16,
        n_sample: 64,
        n_epochs: 2,
        ..Default::default()
    };
    let gru4rec = Gru4RecTrainer::new(gru4rec, Engine::cpu(1));
    let plain = gru4rec
        .fit(&split.train, &mut go_on)
        .unwrap()
        .to_artifact()
        .unwrap();
    for run in &runs {
        let model = tracked(&gru4rec, run)
            .fit(&split.train, &mut go_on)
            .unwrap();
        assert_eq!(
            model.to_artifact().unwrap().to_files().unwrap(),
            plain.to_files().unwrap()
        );
    }
    // One start, then two metrics for each of two epochs of two fits.
    assert_eq!(tracker.flush().n_recorded, 1 + 8);
}

#[test]
fn the_observer_still_decides_and_an_error_is_a_tag() {
    let split = shop::split();
    let folder = tempfile::tempdir().unwrap();
    let tracker: Arc<dyn Tracker> = Arc::new(JsonLines::open(folder.path(), noon).unwrap());
    let run = Run::start(&tracker, "fit");
    let config = Gru4RecConfig {
        layer: 4,
        n_epochs: 3,
        ..Default::default()
    };
    let trainer = Gru4RecTrainer::new(config, Engine::cpu(1));
    tracked(&trainer, &run)
        .fit(&split.train, &mut |_| ControlFlow::Break(()))
        .unwrap();
    assert_eq!(tracker.flush().n_recorded, 3);
    let config = Gru4RecConfig {
        layer: 0,
        ..Default::default()
    };
    let trainer = Gru4RecTrainer::new(config, Engine::cpu(1));
    let error = tracked(&trainer, &run).fit(&split.train, &mut |_| ControlFlow::Break(()));
    assert!(error.is_err());
    let last = lines(folder.path()).pop().unwrap();
    assert!(
        last.contains(r#""tag":{"key":"error","value":"gru4rec: `layer` must be"#),
        "{last}"
    );
}

#[test]
fn a_study_has_a_run_for_each_trial() {
    let folder = tempfile::tempdir().unwrap();
    let tracker: Arc<dyn Tracker> = Arc::new(JsonLines::open(folder.path(), noon).unwrap());
    let objective = objective_fn("runs", |trial| {
        if trial.number() == 1 {
            return Err("no luck".into());
        }
        let _ = trial.report(1, 0.25);
        trial.run().tag("note", "from within");
        Ok(0.5)
    });
    let space = crate::search::space();
    let study = reco_train::search::Study::new(space, StudyConfig::default(), Budget::threads(1));
    study
        .tracker(Arc::clone(&tracker), "tune")
        .run(&objective, 2)
        .unwrap();
    assert_eq!(tracker.flush().n_lost, 0);
    let mut by_run: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in lines(folder.path()) {
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        by_run
            .entry(value["run"].as_str().unwrap().to_owned())
            .or_default()
            .push(line);
    }
    assert_eq!(
        by_run.keys().collect::<Vec<_>>(),
        ["tune-0000", "tune-0001"]
    );
    let has = |run: &str, text: &str| by_run[run].iter().any(|line| line.contains(text));
    for text in [
        r#""param":{"key":"n","value":""#,
        r#""metric":{"key":"objective","value":0.25,"step":1}"#,
        r#""metric":{"key":"value","value":0.5,"step":0}"#,
        r#""tag":{"key":"note","value":"from within"}"#,
        r#""tag":{"key":"state","value":"complete"}"#,
        r#""end":{"status":"FINISHED"}"#,
    ] {
        assert!(has("tune-0000", text), "{text}: {by_run:?}");
    }
    assert!(has(
        "tune-0001",
        r#""tag":{"key":"reason","value":"no luck"}"#
    ));
    assert!(has("tune-0001", r#""end":{"status":"FAILED"}"#));
}
