//! The report of an evaluation, as data and as a page.

use reco_train::evaluate::behavior::{
    Accuracy, CaseConfig, Cases, CatalogueCoverage, Expectation, Measured, Suite, behavior_fn,
};
use reco_train::evaluate::{
    Bootstrap, Comparison, Coverage, ModelReport, Mrr, Protocol, Recall, Report, Slicing,
};

use crate::evaluate::Markov;
use crate::shop;

/// Two models, one of which fails a test; names as a user may give them.
fn report(name: &str) -> Report {
    let test = shop::dataset(&["a b c a", "a b", "b c a", "c a"]);
    let metrics = [Mrr::at(3), Recall::at(1), Coverage::at(1)];
    let bootstrap = Bootstrap {
        n_resamples: 100,
        ..Default::default()
    };
    let label = name.to_owned();
    let slicings = [
        Slicing::by_query_length(&[1, 2]),
        Slicing::new(name, move |_| Some(label.clone())),
    ];
    let note = name.to_owned();
    let suite = Suite::default()
        .require(Accuracy(Mrr::at(3)), Expectation::AtLeast(0.6))
        .warn(CatalogueCoverage, Expectation::AtLeast(2.0))
        .report(behavior_fn(name, name, move |_| {
            Ok(Measured::share(1, 2).with_samples(vec![note.clone()]))
        }));
    let cases = Cases::new(
        &test,
        &test,
        CaseConfig {
            k: 3,
            ..Default::default()
        },
    )
    .unwrap();

    let counts = [("a", 10), ("b", 4), ("c", 2)];
    let good = Markov::new(&counts, &[0.1, 0.9, 0.5, 0.3, 0.2, 0.9, 1.0, 0.0, 0.0]);
    let bad = Markov::new(&counts, &[0.9, 0.1, 0.2, 0.3, 0.2, 0.1, 0.0, 0.1, 0.2]);
    let rank = |model: &Markov| Protocol::default().rank(model, &test, &metrics).unwrap();
    let (of_good, of_bad) = (rank(&good), rank(&bad));
    let mut report = Report::new(name);
    for (name, model, ranks) in [("good", &good, &of_good), (name, &bad, &of_bad)] {
        let of_model = ModelReport::new(name, ranks, &slicings, Some(&bootstrap)).unwrap();
        report
            .models
            .push(of_model.with_behavior(suite.run(model, &cases, None).unwrap()));
    }
    let comparison = Comparison::new(("good", &of_good), (name, &of_bad), &bootstrap);
    report.comparisons.push(comparison.unwrap());
    report
}

#[test]
fn a_report_comes_back_from_its_json() {
    let report = report("bad");
    let json = report.to_json();
    let back = Report::from_json(&json).unwrap();
    // The last digit of a number may differ, which no reader sees.
    assert_eq!(back.to_html(), report.to_html());
    assert_eq!(back.models[0].behavior, report.models[0].behavior);
    assert_eq!(back.models[1].slices[0].slices.len(), 2);
    let later = json.replacen("\"format_version\": 1", "\"format_version\": 2", 1);
    let error = Report::from_json(&later).unwrap_err().to_string();
    assert_eq!(
        error,
        "the evaluation report has version 2; this build reads 1"
    );
    let error = Report::from_json("{}").unwrap_err().to_string();
    assert_eq!(error, "the report of an evaluation cannot be read");
}

#[test]
fn the_page_shows_what_was_found() {
    let html = report("bad").to_html();
    for shown in [
        "<h2>Scores</h2>",
        "<h3>mrr@3</h3>",
        "<h2>Differences</h2>",
        "<h3>by query length</h3>",
        "<h2>Behaviour</h2>",
        "may be promoted",
        "1 failure keeps it from being promoted",
        "✗ failed",
        "! warns",
    ] {
        assert!(html.contains(shown), "{shown}");
    }
    // All six targets of the good model are first; of the bad one none is.
    assert!(
        html.contains("<b>1.0000</b> <small>1.0000 to 1.0000</small>"),
        "{html}"
    );
}

#[test]
fn the_page_needs_nothing_else_and_text_stays_text() {
    let hostile = "</style><script>alert(1)</script><img src=x onerror='alert(\"2\")'>&amp;";
    let html = report(hostile).to_html();
    for markup in [
        "<script", "<img", "src=", "href", "http://", "https://", "url(", "@import",
    ] {
        // What was escaped may still hold the words.
        let text = html.replace("&lt;img src=x", "").replace("&lt;script", "");
        assert!(!text.contains(markup), "{markup}");
    }
    assert_eq!(html.matches("</style>").count(), 1);
    assert!(html.contains("default-src 'none'"));
    let count = |tag: &str| {
        html.matches(&format!("<{tag}")).count() == html.matches(&format!("</{tag}>")).count()
    };
    for tag in [
        "div", "article", "section", "details", "span", "td", "tr", "table", "ul", "li", "small",
    ] {
        assert!(count(tag), "each <{tag}> is closed");
    }
}

#[test]
fn a_report_of_nothing_is_a_page() {
    let html = Report::new("nothing").to_html();
    assert!(html.contains("<h1>nothing</h1>") && !html.contains("<section>"));
}
