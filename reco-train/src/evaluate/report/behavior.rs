//! The behavioural tests on the page.

use reco_core::Severity;

use super::ModelReport;
use super::html::{Text, grouped, number, put};
use super::plot::sign;
use crate::evaluate::behavior::BehaviorResult;

/// All tests of all models: a row each, a column a model.
pub(super) fn section(out: &mut String, models: &[ModelReport]) {
    let tested: Vec<(usize, &ModelReport)> = models
        .iter()
        .enumerate()
        .filter(|(_, model)| model.behavior.is_some())
        .collect();
    if tested.is_empty() {
        return;
    }
    out.push_str("<section><h2>Behaviour</h2><ul class=\"verdicts\">");
    for (series, model) in &tested {
        let Some(behavior) = &model.behavior else {
            continue;
        };
        let (class, text) = match behavior.failures().count() {
            0 => ("passed", "may be promoted".to_owned()),
            1 => (
                "failed",
                "1 failure keeps it from being promoted".to_owned(),
            ),
            n => (
                "failed",
                format!("{n} failures keep it from being promoted"),
            ),
        };
        out.push_str("<li>");
        sign(out, *series);
        put!(
            out,
            "<b>{}</b> <span class=\"{class}\">{text}</span> <span>{} cases, top {}</span></li>",
            Text(&model.name),
            grouped(behavior.n_cases),
            behavior.config.k
        );
    }
    out.push_str("</ul><div class=\"scroll\"><table><thead><tr><th>test</th>");
    for (series, model) in &tested {
        out.push_str("<th>");
        sign(out, *series);
        put!(out, "{}</th>", Text(&model.name));
    }
    out.push_str("</tr></thead><tbody>");
    let results = || {
        tested
            .iter()
            .filter_map(|(_, model)| model.behavior.as_ref())
    };
    let mut names: Vec<&str> = Vec::new();
    for result in results().flat_map(|behavior| &behavior.results) {
        if !names.contains(&result.name.as_str()) {
            names.push(&result.name);
            let of_test: Vec<Option<&BehaviorResult>> = results()
                .map(|behavior| behavior.get(&result.name))
                .collect();
            row(out, result, &of_test);
        }
    }
    out.push_str("</tbody></table></div></section>");
}

fn row(out: &mut String, test: &BehaviorResult, results: &[Option<&BehaviorResult>]) {
    put!(
        out,
        "<tr><td><b>{}</b><p>{}</p></td>",
        Text(&test.name),
        Text(&test.description)
    );
    for result in results {
        out.push_str("<td>");
        if let Some(result) = result {
            cell(out, result);
        }
        out.push_str("</td>");
    }
    out.push_str("</tr>");
}

fn cell(out: &mut String, result: &BehaviorResult) {
    let (class, verdict) = match (
        result.passed,
        result.severity,
        result.expectation.is_met(None, None),
    ) {
        // Nothing was expected.
        (_, _, true) => ("reported", ""),
        (true, ..) => ("passed", "✓ passed"),
        (false, Severity::Warn, _) => ("warned", "! warns"),
        (false, Severity::Error, _) => ("failed", "✗ failed"),
    };
    let value = result
        .measured
        .value
        .map_or_else(|| "none".to_owned(), number);
    put!(
        out,
        "<span class=\"value\">{value}</span> <span class=\"{class}\">{verdict}</span>"
    );
    put!(out, "<p>{}", Text(result.expectation));
    if let Some(champion) = result.champion {
        put!(out, ", champion {}", number(champion));
    }
    put!(out, "; {} cases</p>", grouped(result.measured.n_cases));
    parts(out, result);
    if !result.measured.samples.is_empty() {
        out.push_str("<details><summary>samples</summary><ul>");
        for sample in &result.measured.samples {
            put!(out, "<li>{}</li>", Text(sample));
        }
        out.push_str("</ul></details>");
    }
}

/// What a value is made of, as bars as long as the values are.
fn parts(out: &mut String, result: &BehaviorResult) {
    let parts = &result.measured.parts;
    if parts.is_empty() {
        return;
    }
    let most = parts
        .iter()
        .map(|part| part.value.abs())
        .fold(f64::MIN_POSITIVE, f64::max);
    let is_long = parts.len() > 4;
    if is_long {
        put!(out, "<details><summary>{} parts</summary>", parts.len());
    }
    out.push_str("<div class=\"parts\">");
    for part in parts {
        put!(
            out,
            "<span>{}</span><div><i style=\"width:{:.1}%\"></i></div><span class=\"n\">{} <small>n {}</small></span>",
            Text(&part.name),
            part.value.abs() / most * 100.0,
            number(part.value),
            grouped(part.n_cases)
        );
    }
    out.push_str(if is_long {
        "</div></details>"
    } else {
        "</div>"
    });
}
