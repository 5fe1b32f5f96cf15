//! The `MLflow` tracker, on servers that fail and on a real one.

use std::net::TcpListener;
use std::ops::ControlFlow;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reco_core::Timestamp;
use reco_train::search::{Budget, StudyConfig, objective_fn};
use reco_train::track::mlflow::{Mlflow, MlflowConfig};
use reco_train::track::{Run, Status, Tracker, tracked};
use reco_train::{Engine, Prod2VecConfig, Prod2VecTrainer, Trainer};
use serde_json::{Value, json};

use super::server::{Real, Told, python};
use crate::shop;

fn config(url: &str) -> MlflowConfig {
    MlflowConfig {
        url: url.to_owned(),
        experiment: "shop".to_owned(),
        ..Default::default()
    }
}

fn start(config: MlflowConfig) -> Arc<dyn Tracker> {
    Arc::new(Mlflow::start(config, Timestamp::now).unwrap())
}

/// What a server answers that takes everything.
fn takes_all(path: &str) -> Option<(u16, String)> {
    let answer = if path.contains("experiments/create") {
        json!({"experiment_id": "7"})
    } else if path.contains("runs/create") {
        json!({"run": {"info": {"run_id": "r1", "artifact_uri": "mlflow-artifacts:/7/r1/artifacts"}}})
    } else {
        json!({})
    };
    Some((200, answer.to_string()))
}

#[test]
fn entries_come_in_batches_and_in_order() {
    let server = Told::start(|path, _| takes_all(path));
    let tracker = start(MlflowConfig {
        authorization: Some("Bearer secret".to_owned()),
        ..config(&server.url)
    });
    let run = Run::start(&tracker, "monday");
    for i in 0..250 {
        run.param(&format!("p{i:03}"), i);
    }
    for step in 0..2500 {
        run.metric(
            "loss",
            1.0 / (1.0 + f64::from(step)),
            u64::try_from(step).unwrap(),
        );
    }
    run.artifact("pages/a.html", "<p>");
    run.end(Status::Finished);
    let delivery = tracker.flush();
    assert_eq!(delivery.to_string(), "2753 entries recorded");

    let batches: Vec<Value> = server
        .bodies("runs/log-batch")
        .iter()
        .map(|body| serde_json::from_str(body).unwrap())
        .collect();
    // Within what the API takes, and far fewer requests than entries.
    assert!(batches.len() < 20, "{}", batches.len());
    let of = |kind: &'static str| {
        batches
            .iter()
            .map(move |batch| batch[kind].as_array().unwrap())
    };
    assert!(of("metrics").all(|metrics| metrics.len() <= 1000));
    assert!(of("params").all(|params| params.len() <= 100));
    let steps: Vec<u64> = of("metrics")
        .flatten()
        .map(|metric| metric["step"].as_u64().unwrap())
        .collect();
    assert_eq!(steps, (0..2500).collect::<Vec<_>>());
    let asked = server.asked.lock().unwrap();
    let (put, content) = &asked[asked.len() - 2];
    assert_eq!(
        put,
        "PUT /api/2.0/mlflow-artifacts/artifacts/7/r1/artifacts/pages/a.html"
    );
    assert_eq!(content, "<p>");
    let (update, body) = asked.last().unwrap();
    assert!(
        update.contains("runs/update") && body.contains("FINISHED"),
        "{update} {body}"
    );
    assert!(!format!("{tracker:?} {:?}", config("x")).contains("secret"));
}

#[test]
fn a_server_that_never_answers_slows_nothing_down() {
    let server = Told::start(|_, _| None);
    let tracker = start(MlflowConfig {
        capacity: 500,
        timeout_seconds: 1,
        patience_seconds: 1,
        ..config(&server.url)
    });
    let since = Instant::now();
    let run = Run::start(&tracker, "monday");
    for step in 0..100_000 {
        run.metric("loss", 0.5, step);
    }
    let took = since.elapsed();
    assert!(took < Duration::from_secs(1), "{took:?}");
    let delivery = tracker.flush();
    assert_eq!((delivery.n_recorded, delivery.n_lost), (0, 100_001));
    assert!(
        delivery.to_string().contains("the queue is full"),
        "{delivery}"
    );
    assert!(since.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_server_that_is_not_there_fails_no_training() {
    let address = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let tracker = start(MlflowConfig {
        patience_seconds: 1,
        ..config(&format!("http://{address}"))
    });
    let run = Run::start(&tracker, "monday");
    let config = Prod2VecConfig {
        vector_size: 8,
        epochs: 2,
        ..Default::default()
    };
    let trainer = Prod2VecTrainer::new(config, Engine::cpu(1));
    let split = shop::split();
    let mut go_on = |_: &_| ControlFlow::Continue(());
    let model = tracked(&trainer, &run)
        .fit(&split.train, &mut go_on)
        .unwrap();
    let plain = trainer.fit(&split.train, &mut go_on).unwrap();
    assert_eq!(
        model.to_artifact().unwrap().to_files().unwrap(),
        plain.to_artifact().unwrap().to_files().unwrap()
    );
    run.end(Status::Finished);
    let delivery = tracker.flush();
    assert_eq!(
        delivery.to_string(),
        "6 of 6 entries were lost: the server did not take them in 1 s"
    );
}

#[test]
fn a_server_that_is_busy_is_asked_again() {
    let server = Told::start(|path, n| match n {
        0..3 => Some((503, "busy".to_owned())),
        _ => takes_all(path),
    });
    let tracker = start(config(&server.url));
    let run = Run::start(&tracker, "monday");
    run.metric("loss", 0.5, 1);
    run.end(Status::Finished);
    assert_eq!(tracker.flush().to_string(), "3 entries recorded");
}

#[test]
fn what_a_server_refuses_is_lost_alone() {
    let refused =
        json!({"error_code": "INVALID_PARAMETER_VALUE", "message": "no such name"}).to_string();
    let server = Told::start(move |asked, _| {
        let is_bad = asked.contains("log-batch") && asked.contains("bad");
        if is_bad {
            Some((400, refused.clone()))
        } else {
            takes_all(asked)
        }
    });
    let tracker = start(config(&server.url));
    let run = Run::start(&tracker, "monday");
    for (key, value) in [("a", 1), ("bad", 2), ("c", 3)] {
        run.param(key, value);
    }
    run.metric("loss", 0.5, 1);
    let delivery = tracker.flush();
    assert_eq!(
        delivery.to_string(),
        "1 of 5 entries were lost: the server answered 400 Bad Request: no such name"
    );
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let error = Mlflow::start(config("127.0.0.1:5000"), Timestamp::now).unwrap_err();
    assert_eq!(
        error.to_string(),
        "mlflow: `url` must begin with http:// or https://, is 127.0.0.1:5000"
    );
}

/// Reads everything back with `MLflow`'s own client.
const READ: &str = r#"
import json, sys
from mlflow import MlflowClient
client = MlflowClient(sys.argv[1])
experiment = client.get_experiment_by_name("shop")
runs = {}
for run in client.search_runs([experiment.experiment_id]):
    files = [file.path for file in client.list_artifacts(run.info.run_id)]
    text = open(client.download_artifacts(run.info.run_id, files[0])).read() if files else None
    history = {key: [[m.step, m.value] for m in client.get_metric_history(run.info.run_id, key)] for key in run.data.metrics}
    tags = {key: value for key, value in run.data.tags.items() if not key.startswith("mlflow.")}
    runs[run.info.run_name] = {"status": run.info.status, "params": run.data.params, "tags": tags, "history": history,
        "files": files, "text": text, "took": run.info.end_time - run.info.start_time}
print(json.dumps(runs))
"#;

#[test]
fn a_real_server_has_what_was_recorded() {
    let Some(python) = python() else {
        eprintln!("no Python with MLflow's server: this test looks at nothing");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let server = Real::start(&python, folder.path());
    let tracker = start(config(&server.url));
    let run = Run::start(&tracker, "prod2vec");
    let config = Prod2VecConfig {
        vector_size: 8,
        epochs: 3,
        ..Default::default()
    };
    run.params(&config);
    let n_params = serde_json::to_value(&config)
        .unwrap()
        .as_object()
        .unwrap()
        .len();
    let mut losses = Vec::new();
    let trainer = Prod2VecTrainer::new(config, Engine::cpu(1));
    let fitted = tracked(&trainer, &run).fit(&shop::split().train, &mut |report| {
        losses.push(json!([report.epoch, report.loss]));
        ControlFlow::Continue(())
    });
    fitted.unwrap();
    run.tag("shop", "the synthetic one");
    // A name that MLflow does not take: it is lost, and nothing else is.
    run.param("what?", 1);
    run.artifact("report.html", "<p>fine</p>");
    run.end(Status::Finished);
    let delivery = tracker.flush();
    assert_eq!(delivery.n_lost, 1, "{delivery}");
    assert!(delivery.to_string().contains("what?"), "{delivery}");

    // The second experiment of that name is the first.
    let again = start(self::config(&server.url));
    let objective = objective_fn("walk", |trial| match trial.number() {
        1 => Err("no luck".into()),
        _ => crate::search::walk(trial),
    });
    let space = crate::search::space();
    reco_train::search::Study::new(space, StudyConfig::default(), Budget::threads(2))
        .workers(2)
        .tracker(Arc::clone(&again), "tune")
        .run(&objective, 4)
        .unwrap();
    let delivery = again.flush();
    assert_eq!(delivery.n_lost, 0, "{delivery}");

    let read = Command::new(&python)
        .args(["-c", READ, &server.url])
        .output()
        .unwrap();
    assert!(
        read.status.success(),
        "{}",
        String::from_utf8_lossy(&read.stderr)
    );
    let runs: Value = serde_json::from_slice(&read.stdout).unwrap();
    let names: Vec<&String> = runs.as_object().unwrap().keys().collect();
    assert_eq!(
        names,
        [
            "prod2vec",
            "tune-0000",
            "tune-0001",
            "tune-0002",
            "tune-0003"
        ]
    );
    let run = &runs["prod2vec"];
    assert_eq!(run["status"], "FINISHED");
    assert_eq!(run["params"]["vector_size"], "8");
    assert_eq!(run["params"]["ns_exponent"], "0.75");
    assert_eq!(run["params"].as_object().unwrap().len(), n_params);
    assert_eq!(run["tags"], json!({"shop": "the synthetic one"}));
    assert_eq!(run["files"], json!(["report.html"]));
    assert_eq!(run["text"], "<p>fine</p>");
    assert!(run["took"].as_i64().unwrap() >= 0);
    let of_server = run["history"]["loss"].as_array().unwrap();
    for (found, expected) in of_server.iter().zip(&losses) {
        assert_eq!(found[0], expected[0]);
        let (found, expected) = (found[1].as_f64().unwrap(), expected[1].as_f64().unwrap());
        assert!((found - expected).abs() < 1e-12);
    }
    assert_eq!(of_server.len(), 3);
    assert_eq!(runs["tune-0001"]["status"], "FAILED");
    assert_eq!(runs["tune-0001"]["tags"]["reason"], "no luck");
    assert_eq!(runs["tune-0002"]["tags"]["state"], "complete");
    assert_eq!(
        runs["tune-0002"]["history"]["objective"]
            .as_array()
            .unwrap()
            .len(),
        9
    );
}
