//! The page: scores, differences and slices; behaviour is in its own file.

use super::html::{Text, grouped, number, put, signed};
use super::plot::{Scale, sign};
use super::{Comparison, ModelReport, Report, behavior};
use crate::evaluate::{Estimate, Metric, Protocol, Slice};

/// The style, light and dark.
const CSS: &str = include_str!("page.css");

pub(super) fn page(report: &Report) -> String {
    let mut body = String::new();
    head(&mut body, report);
    if !report.models.is_empty() {
        scores(&mut body, &report.models);
    }
    if !report.comparisons.is_empty() {
        body.push_str(
            "<section><h2>Differences</h2><p>Paired on the queries that both models were asked. A \
            difference whose interval leaves out 0 is coloured.</p><div class=\"cards wide\">",
        );
        report
            .comparisons
            .iter()
            .for_each(|comparison| differences(&mut body, comparison));
        body.push_str("</div></section>");
    }
    slices(&mut body, &report.models);
    behavior::section(&mut body, &report.models);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none';style-src 'unsafe-inline'\">\n\
         <title>{}</title>\n<style>{CSS}</style>\n{body}\n</html>\n",
        Text(&report.title)
    )
}

fn head(out: &mut String, report: &Report) {
    put!(
        out,
        "<header><h1>{}</h1><ul class=\"legend\">",
        Text(&report.title)
    );
    for (series, model) in report.models.iter().enumerate() {
        out.push_str("<li>");
        sign(out, series);
        put!(out, "<b>{}</b>", Text(&model.name));
        if model.kind != model.name {
            put!(out, " <span>{}</span>", Text(&model.kind));
        }
        put!(out, " <span>{} queries", grouped(model.n_queries));
        if model.n_unseen > 0 {
            put!(out, ", {} unseen targets", grouped(model.n_unseen));
        }
        out.push_str("</span></li>");
    }
    out.push_str("</ul>");
    if let Some(model) = report.models.first() {
        put!(out, "<p>{}</p>", Text(protocol(model)));
    }
    out.push_str("</header>");
}

/// How the models were asked, in a sentence or two.
fn protocol(model: &ModelReport) -> String {
    let Protocol {
        targets,
        ties,
        unseen,
        exclude,
    } = model.protocol;
    let name = |setting: String| setting.to_lowercase();
    let mut text = format!(
        "Every target is ranked against the whole catalogue. Targets: {}; ties: {}; unseen targets: {}; left out of answers: {}.",
        name(format!("{targets:?}")),
        name(format!("{ties:?}")),
        name(format!("{unseen:?}")),
        name(format!("{exclude:?}")),
    );
    if let Some(bootstrap) = model.bootstrap {
        put!(
            &mut text,
            " Bars are {}\u{a0}% intervals of {} bootstrap draws by {}.",
            (bootstrap.confidence * 1e4).round() / 1e2,
            bootstrap.n_resamples,
            name(format!("{:?}", bootstrap.cluster))
        );
    }
    text
}

fn scores(out: &mut String, models: &[ModelReport]) {
    out.push_str("<section><h2>Scores</h2><div class=\"cards\">");
    let mut metrics: Vec<Metric> = Vec::new();
    for estimate in models.iter().flat_map(|model| &model.estimates) {
        if !metrics.contains(&estimate.metric) {
            metrics.push(estimate.metric);
        }
    }
    for metric in metrics {
        let of =
            |model: &'_ ModelReport| model.estimates.iter().find(|e| e.metric == metric).copied();
        let found: Vec<(usize, Estimate)> = models
            .iter()
            .enumerate()
            .filter_map(|(series, model)| Some((series, of(model)?)))
            .collect();
        let scale = Scale::of(found.iter().map(|(_, estimate)| estimate));
        put!(out, "<article><h3>{metric}</h3><div class=\"rows\">");
        for (series, estimate) in &found {
            put!(
                out,
                "<span class=\"name\">{}</span>",
                Text(&models[*series].name)
            );
            scale.open_track(out);
            scale.mark(out, *series, estimate);
            out.push_str("</div>");
            value(out, estimate);
        }
        axis(out, scale);
        out.push_str("</div></article>");
    }
    out.push_str("</div></section>");
}

fn value(out: &mut String, estimate: &Estimate) {
    put!(out, "<span class=\"n\"><b>{}</b>", number(estimate.value));
    if let Some(interval) = estimate.interval {
        put!(
            out,
            " <small>{} to {}</small>",
            number(interval.lower),
            number(interval.upper)
        );
    }
    out.push_str("</span>");
}

fn axis(out: &mut String, scale: Scale) {
    let (from, to) = scale.ends();
    put!(
        out,
        "<span></span><div class=\"axis\"><span>{}</span><span>{}</span></div><span></span>",
        number(from),
        number(to)
    );
}

fn differences(out: &mut String, comparison: &Comparison) {
    put!(
        out,
        "<article><h3>{} <span>less</span> {}</h3><div class=\"rows\">",
        Text(&comparison.model),
        Text(&comparison.baseline)
    );
    for difference in &comparison.differences {
        let interval = difference.interval;
        let scale = Scale::around_zero(interval.lower.abs().max(interval.upper.abs()));
        let better = if difference.metric.lower_is_better() {
            -1.0
        } else {
            1.0
        };
        let sure = interval.lower > 0.0 || interval.upper < 0.0;
        let verdict = match (
            sure && !difference.metric.is_about_answers(),
            difference.difference * better > 0.0,
        ) {
            (false, _) => "unsure",
            (true, true) => "better",
            (true, false) => "worse",
        };
        put!(
            out,
            "<span class=\"name\">{}</span><div class=\"{verdict}\">",
            difference.metric
        );
        scale.open_track(out);
        let estimate = Estimate {
            metric: difference.metric,
            value: difference.difference,
            interval: Some(interval),
        };
        scale.mark(out, 0, &estimate);
        put!(
            out,
            "</div></div><span class=\"n {verdict}\"><b>{}</b> <small>{} to {}, p {:.3}</small></span>",
            signed(difference.difference),
            signed(interval.lower),
            signed(interval.upper),
            difference.p_value
        );
    }
    if let Some(difference) = comparison.differences.first() {
        put!(
            out,
            "<p class=\"note\">{} queries</p>",
            grouped(difference.n_queries)
        );
    }
    out.push_str("</div></article>");
}

fn slices(out: &mut String, models: &[ModelReport]) {
    let mut names: Vec<&str> = Vec::new();
    for slices in models.iter().flat_map(|model| &model.slices) {
        if !names.contains(&slices.by.as_str()) {
            names.push(&slices.by);
        }
    }
    if names.is_empty() {
        return;
    }
    out.push_str("<section><h2>Slices</h2><div class=\"cards wide\">");
    for by in names {
        put!(out, "<article><h3>by {}</h3>", Text(by));
        let metrics: Vec<Metric> = models
            .first()
            .map(|model| {
                model
                    .estimates
                    .iter()
                    .map(|estimate| estimate.metric)
                    .collect()
            })
            .unwrap_or_default();
        for (nth, metric) in metrics.into_iter().enumerate() {
            if nth == 1 {
                out.push_str("<details><summary>other metrics</summary>");
            }
            slices_by(out, models, by, metric);
            if nth > 0 && nth + 1 == models[0].estimates.len() {
                out.push_str("</details>");
            }
        }
        out.push_str("</article>");
    }
    out.push_str("</div></section>");
}

/// A model, how many queries it was asked in a slice, and the value of the metric over them.
type Cell = (usize, u64, Estimate);

/// One metric in the slices of one kind: a track each, all models on it.
fn slices_by(out: &mut String, models: &[ModelReport], by: &str, metric: Metric) {
    let mut rows: Vec<(&str, Vec<Cell>)> = Vec::new();
    for (series, model) in models.iter().enumerate() {
        let slices: Vec<&Slice> = model
            .slices
            .iter()
            .filter(|slices| slices.by == by)
            .flat_map(|slices| &slices.slices)
            .collect();
        for slice in slices {
            let Some(estimate) = slice
                .estimates
                .iter()
                .find(|estimate| estimate.metric == metric)
            else {
                continue;
            };
            let cell = (series, slice.n_queries, *estimate);
            match rows.iter_mut().find(|(name, _)| *name == slice.name) {
                Some((_, cells)) => cells.push(cell),
                None => rows.push((&slice.name, vec![cell])),
            }
        }
    }
    let scale = Scale::of(
        rows.iter()
            .flat_map(|(_, cells)| cells)
            .map(|(.., estimate)| estimate),
    );
    put!(out, "<h4>{metric}</h4><div class=\"rows slices\">");
    for (name, cells) in rows {
        put!(out, "<span class=\"name\">{}</span>", Text(name));
        scale.open_track(out);
        cells
            .iter()
            .for_each(|(series, _, estimate)| scale.mark(out, *series, estimate));
        out.push_str("</div><span class=\"n\">");
        for (place, (series, _, estimate)) in cells.iter().enumerate() {
            out.push_str(if place > 0 { " " } else { "" });
            sign(out, *series);
            out.push_str(&number(estimate.value));
        }
        let n_queries = cells.iter().map(|(_, n, _)| *n).max().unwrap_or_default();
        put!(out, " <small>n {}</small></span>", grouped(n_queries));
    }
    axis(out, scale);
    out.push_str("</div>");
}
