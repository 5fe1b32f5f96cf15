//! What a run has to say, gathered for the report and for other programs.

use std::time::Duration;

use reco_core::Split;
use reco_transform::dag::LineageKind;
use reco_transform::{Contents, Dag, DagRun};
use serde_json::json;

use crate::report::{Graph, ModelRow, Node, Report};
use crate::source::Landed;

/// The headline numbers.
pub(crate) fn headline(
    landed: &Landed,
    split: &Split,
    took: Duration,
) -> Vec<(&'static str, String)> {
    let n_interactions = split.train.n_interactions() + split.test.n_interactions();
    let n_sessions = split.train.n_sessions() + split.test.n_sessions();
    vec![
        ("events", thousands(landed.events)),
        ("dead letters", thousands(landed.dead_letters)),
        ("interactions", thousands(n_interactions as u64)),
        ("sessions", thousands(n_sessions as u64)),
        ("items", thousands(split.train.vocabulary().len() as u64)),
        ("whole run", format!("{:.0} s", took.as_secs_f64())),
    ]
}

/// The picture of the pipeline: the tables of the DAG, then the models and what serves them.
pub(crate) fn graph(dag: &Dag, run: &DagRun, models: &[ModelRow]) -> Graph {
    let mut graph = Graph::default();
    for table in dag.lineage().tables {
        let report = run.report(&table.table);
        let rows = report.and_then(|report| report.n_rows);
        let seconds = report.map_or(0.0, |report| report.duration.as_secs_f64());
        let note = match rows {
            Some(rows) => format!("{} rows, {seconds:.1} s", thousands(rows)),
            None => "raw Delta table".to_owned(),
        };
        let kind = match table.kind {
            LineageKind::Source => "source",
            LineageKind::Sql => "sql",
            LineageKind::Step => "rust",
        };
        let node = Node {
            name: table.table.clone(),
            kind,
            note,
        };
        graph.add(node, &table.inputs);
    }
    for model in models {
        let note = format!("version {}, {:.1} s", model.version, model.fit_seconds);
        let node = Node {
            name: model.kind.clone(),
            kind: "model",
            note,
        };
        graph.add(node, &["interactions"]);
    }
    let names: Vec<&str> = models.iter().map(|model| model.kind.as_str()).collect();
    graph.add(
        Node {
            name: "registry".to_owned(),
            kind: "part",
            note: "versions, aliases".to_owned(),
        },
        &names,
    );
    graph.add(
        Node {
            name: "recommender".to_owned(),
            kind: "part",
            note: "in the host's process".to_owned(),
        },
        &["registry"],
    );
    graph
}

/// The numbers of the run as JSON: rows of each table by its folder, and the scores.
pub(crate) fn summary(
    landed: &Landed,
    published: &Contents,
    report: &Report,
) -> anyhow::Result<String> {
    let mut rows = json!({"raw/events": landed.events, "raw/dead_letters": landed.dead_letters});
    for table in published.tables.values() {
        rows[format!("tables/{}", table.location)] = json!(table.n_rows);
    }
    let models = report.models.iter().map(|model| {
        json!({
            "kind": model.kind,
            "version": model.version,
            "champion": model.champion,
            "fit_seconds": model.fit_seconds,
            "losses": model.losses,
            "scores": model.scores.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
        })
    });
    let summary =
        json!({"source": report.source, "rows": rows, "models": models.collect::<Vec<_>>()});
    Ok(serde_json::to_string_pretty(&summary)?)
}

fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
