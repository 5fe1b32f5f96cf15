//! What a study found, as tables and as a page.

use reco_core::arrow::array::{Array, AsArray};
use reco_core::arrow::datatypes::{Float64Type, Int64Type, UInt64Type};
use reco_train::search::{Budget, Parameter, Space, Study, StudyConfig, Trials, objective_fn};

use super::{study, walk};

/// Complete, pruned and failed trials.
fn trials() -> Trials {
    let objective = objective_fn("walk", |trial| match trial.number() {
        2 => Err("a, \"quoted\"\nreason".into()),
        _ => walk(trial),
    });
    study().run(&objective, 25).unwrap()
}

#[test]
fn the_table_is_the_same_in_each_form() {
    let trials = trials();
    let lines: Vec<serde_json::Value> = trials
        .to_json_lines()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 25);
    let batch = trials.to_batch();
    let names: Vec<String> = batch
        .schema()
        .fields()
        .iter()
        .map(|field| field.name().clone())
        .collect();
    assert_eq!(
        names,
        [
            "trial",
            "state",
            "value",
            "last_step",
            "last_value",
            "seconds",
            "reason",
            "param.kind",
            "param.rate",
            "param.n",
            "param.share"
        ]
    );
    let csv = trials.to_csv();
    assert!(csv.starts_with(
        "trial,state,value,last_step,last_value,seconds,reason,kind,rate,n,share\r\n"
    ));
    assert!(csv.contains(",\"a, \"\"quoted\"\"\nreason\","), "{csv}");

    let column = |name: &str| batch.column_by_name(name).unwrap();
    for (row, (trial, line)) in trials.records().iter().zip(&lines).enumerate() {
        assert_eq!(line["trial"], trial.number);
        assert_eq!(
            column("trial").as_primitive::<UInt64Type>().value(row),
            trial.number
        );
        assert_eq!(line["state"], trial.state());
        assert_eq!(column("state").as_string::<i32>().value(row), trial.state());
        assert_eq!(column("value").is_null(row), trial.value().is_none());
        let rate = column("param.rate")
            .as_primitive::<Float64Type>()
            .value(row);
        assert_eq!(
            Some(rate.to_bits()),
            trial.params.number("rate").map(f64::to_bits)
        );
        let n = column("param.n").as_primitive::<Int64Type>().value(row);
        assert_eq!(line["params"]["n"], n);
        assert_eq!(
            column("param.share").is_null(row),
            trial.params.get("share").is_none()
        );
        let kind = column("param.kind").as_string::<i32>().value(row);
        assert_eq!(line["params"]["kind"], kind);
    }
}

#[test]
fn the_page_shows_what_was_found() {
    let trials = trials();
    let html = trials.to_html("A walk");
    for shown in [
        "<h1>A walk</h1>",
        "<h2>History</h2>",
        "<h2>Values together</h2>",
        "<h2>Parameters</h2>",
        "<h2>On the way</h2>",
        "<h2>Trials</h2>",
        "<span>complete</span>",
        "<span>pruned</span>",
        "<span>failed</span>",
        "5 more",
    ] {
        assert!(html.contains(shown), "{shown}");
    }
    let best = trials.best().unwrap();
    assert!(html.contains(&format!("The best is trial {} with", best.number)));
    // A dot a trial in the history, of three kinds.
    let history = html.split("<h2>").nth(1).unwrap();
    assert_eq!(history.matches("<circle").count(), 25);
    let n_pruned = trials.count("pruned");
    assert_eq!(history.matches("class=\"pruned\"").count(), n_pruned);
}

#[test]
fn the_page_needs_nothing_else_and_text_stays_text() {
    let hostile = "</style><script>alert(1)</script><img src=x onerror='alert(\"2\")'>&amp;";
    let space = Space::new([
        Parameter::choice(hostile, [hostile, "other"]),
        Parameter::uniform("x", 0.0, 1.0),
    ])
    .unwrap();
    let objective = objective_fn("hostile", |trial| match trial.number() {
        1 => Err(hostile.into()),
        _ => Ok(trial.params().number("x").ok_or("no x")?),
    });
    let study = Study::new(space, StudyConfig::default(), Budget::threads(1));
    let html = study.run(&objective, 12).unwrap().to_html(hostile);
    for markup in [
        "<script", "<img", "src=", "href", "http://", "https://", "url(", "@import", "NaN", "inf\"",
    ] {
        // What was escaped may still hold the words.
        let text = html.replace("&lt;img src=x", "").replace("&lt;script", "");
        assert!(!text.contains(markup), "{markup}");
    }
    assert_eq!(html.matches("</style>").count(), 1);
    assert!(html.contains("default-src 'none'"));
    for tag in [
        "div", "article", "section", "details", "span", "td", "tr", "table", "svg", "circle",
        "text", "p",
    ] {
        let opened =
            html.matches(&format!("<{tag} ")).count() + html.matches(&format!("<{tag}>")).count();
        assert_eq!(
            opened,
            html.matches(&format!("</{tag}>")).count(),
            "each <{tag}> is closed"
        );
    }
}

#[test]
fn a_page_of_little_is_a_page() {
    let none = study().run(&objective_fn("none", walk), 0).unwrap();
    let html = none.to_html("nothing");
    assert!(
        html.contains("No trial is complete") && !html.contains("<section>"),
        "{html}"
    );
    let failed = study()
        .run(&objective_fn("no", |_| Err("no".into())), 3)
        .unwrap();
    assert!(failed.to_html("failures").contains("<h2>History</h2>"));
    let one = study().run(&objective_fn("one", |_| Ok(0.0)), 1).unwrap();
    let html = one.to_html("one");
    assert!(!html.contains("NaN") && html.contains("<h2>Parameters</h2>"));
}
