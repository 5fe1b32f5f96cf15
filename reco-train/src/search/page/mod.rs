//! The page of a study: how the best value came about, where good values are, and all trials.

mod chart;

use self::chart::{Plot, Range, labels, said, short};
use super::outcome::{Outcome, TrialRecord};
use super::space::Parameter;
use super::study::Direction;
use super::trials::Trials;
use crate::evaluate::report::html::{Text, grouped, put};

/// The style, light and dark: that of the report of an evaluation, and what only plots need.
const CSS: &str = concat!(
    include_str!("../../evaluate/report/page.css"),
    include_str!("page.css")
);

/// How many trials are in the table, not folded away.
const N_SHOWN: usize = 20;

/// Which part of the complete trials counts as good where they are told apart.
const GOOD: usize = 10;

pub(super) fn page(trials: &Trials, title: &str) -> String {
    let mut body = String::new();
    head(&mut body, trials, title);
    if !trials.records().is_empty() {
        history(&mut body, trials);
        if trials.best().is_some() {
            parallel(&mut body, trials);
            slices(&mut body, trials);
        }
        curves(&mut body, trials);
        table(&mut body, trials);
    }
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none';style-src 'unsafe-inline'\">\n\
         <title>{}</title>\n<style>{CSS}</style>\n{body}\n</html>\n",
        Text(title)
    )
}

fn head(out: &mut String, trials: &Trials, title: &str) {
    put!(out, "<header><h1>{}</h1><ul class=\"legend\">", Text(title));
    for state in ["complete", "pruned", "failed", "running"] {
        let n = trials.count(state);
        if n > 0 {
            put!(
                out,
                "<li><i class=\"mark {state}\"></i><b>{}</b> <span>{state}</span></li>",
                grouped(n as u64)
            );
        }
    }
    out.push_str("</ul>");
    let wanted = match trials.direction() {
        Direction::Maximize => "More is better.",
        Direction::Minimize => "Less is better.",
    };
    match trials.best() {
        Some(best) => put!(
            out,
            "<p>{wanted} The best is trial {} with <b>{}</b>: {}.</p>",
            best.number,
            best.value().map(short).unwrap_or_default(),
            Text(brief(best))
        ),
        None => put!(out, "<p>{wanted} No trial is complete.</p>"),
    }
    out.push_str("</header>");
}

/// The values that the plots show: the worst tenth may be far off, and is drawn at the edge.
fn shown(trials: &Trials) -> Range {
    let ranked = trials.ranked();
    let n = ranked.len() - ranked.len() / 10;
    Range::of(ranked[..n].iter().filter_map(|trial| trial.value()))
}

fn history(out: &mut String, trials: &Trials) {
    out.push_str("<section><h2>History</h2><article>");
    let range = shown(trials);
    let n = trials.records().len();
    let x = |number: u64| (number as f64 + 0.5) / n as f64;
    let mut plot = Plot::open(
        out,
        (1000.0, 300.0),
        "the value of each trial, and the best so far",
    );
    plot.y_axis(range);
    let ends = [0, (n as u64 - 1) / 2, n as u64 - 1];
    let marks = if n > 2 { &ends[..] } else { &ends[..1] };
    let marks: Vec<_> = marks
        .iter()
        .map(|number| (x(*number), format!("trial {number}")))
        .collect();
    plot.x_axis(&marks);
    let mut best: Vec<(f64, f64)> = Vec::new();
    let mut most: Option<f64> = None;
    for trial in trials.records() {
        let at = x(trial.number);
        let says = says(trial);
        let Some(value) = trial.value() else {
            plot.dot(trial.state(), (at, 0.0), 3.0, &says);
            continue;
        };
        let is_best =
            most.is_none_or(|most| trials.direction().loss(value) < trials.direction().loss(most));
        if is_best {
            if let Some(most) = most {
                best.push((at, range.place(most)));
            }
            best.push((at, range.place(value)));
            most = Some(value);
        }
        let radius = if is_best { 5.0 } else { 3.5 };
        plot.dot("complete", (at, range.place(value)), radius, &says);
    }
    if let Some(most) = most {
        best.push((1.0, range.place(most)));
    }
    plot.line("best-line", &best, "the best so far");
    plot.close();
    out.push_str(
        "<p class=\"note\">The line is the best so far. Trials without a value are at the foot; values of the worst \
        tenth may be off the plot, and are at its edge.</p></article></section>",
    );
}

/// A line a trial, across all parameters; the good ones over the others.
fn parallel(out: &mut String, trials: &Trials) {
    let parameters = trials.space().parameters();
    if parameters.len() < 2 {
        return;
    }
    out.push_str("<section><h2>Values together</h2><article class=\"scroll-x\">");
    let range = shown(trials);
    let n_axes = parameters.len() + 1;
    let width = (n_axes as f64 * 130.0).max(1000.0);
    let mut plot = Plot::open(out, (width, 340.0), "the values of each trial, a line each");
    let x = |axis: usize| axis as f64 / (n_axes - 1) as f64;
    // Above and below the lines is room for names and ends.
    let y = |place: f64| 0.02 + place * 0.9;
    let ranked = trials.ranked();
    let n_good = ranked.len().div_ceil(GOOD);
    for (rank, trial) in ranked.iter().enumerate().rev() {
        let mut places: Vec<(f64, f64)> = parameters
            .iter()
            .enumerate()
            .filter_map(|(axis, parameter)| Some((x(axis), y(place(parameter, trial)?))))
            .collect();
        let value = trial.value().unwrap_or_default();
        places.push((x(n_axes - 1), y(range.place(value))));
        plot.line(
            if rank < n_good {
                "good-line"
            } else {
                "other-line"
            },
            &places,
            &says(trial),
        );
    }
    for axis in 0..n_axes {
        plot.upright(x(axis), (y(0.0), y(1.0)));
        let (name, ends) = match parameters.get(axis) {
            Some(parameter) => (parameter.name.as_str(), labels(&parameter.domain)),
            None => {
                let ticks = range.ticks().into_iter();
                (
                    "value",
                    ticks.map(|tick| (range.place(tick), short(tick))).collect(),
                )
            }
        };
        let (anchor, dx) = match axis {
            0 => ("start", -LABEL),
            axis if axis == n_axes - 1 => ("end", LABEL),
            _ => ("middle", 0.0),
        };
        plot.text((x(axis), 1.0), (dx, 5.0), anchor, name);
        for (place, label) in ends {
            let (anchor, dx) = if axis == n_axes - 1 {
                ("end", -LABEL)
            } else {
                ("start", LABEL)
            };
            plot.text((x(axis), y(place)), (dx, 3.5), anchor, &label);
        }
    }
    plot.close();
    put!(
        out,
        "<p class=\"note\">A line is a complete trial; the best {} are coloured.</p></article></section>",
        grouped(n_good as u64)
    );
}

/// How far a label is from its axis.
const LABEL: f64 = 5.0;

/// The value over each parameter.
fn slices(out: &mut String, trials: &Trials) {
    let importances = trials.importances();
    out.push_str("<section><h2>Parameters</h2>");
    if !importances.is_empty() {
        out.push_str(
            "<p>The share is how much of the variance of the values a parameter explains by itself; a parameter that \
            matters only together with another has less than it deserves.</p>",
        );
    }
    out.push_str("<div class=\"cards\">");
    let range = shown(trials);
    let ranked = trials.ranked();
    let n_good = ranked.len().div_ceil(GOOD);
    let mut parameters: Vec<(&Parameter, Option<f64>)> = Vec::new();
    for parameter in trials.space().parameters() {
        let share = importances.iter().find(|(name, _)| *name == parameter.name);
        parameters.push((parameter, share.map(|(_, share)| *share)));
    }
    parameters.sort_by(|(_, a), (_, b)| b.unwrap_or_default().total_cmp(&a.unwrap_or_default()));
    for (parameter, share) in parameters {
        put!(out, "<article><h3>{}", Text(&parameter.name));
        if let Some(share) = share {
            put!(out, " <span>explains {:.0}\u{a0}%</span>", share * 100.0);
        }
        out.push_str("</h3>");
        let label = format!("the value over {}", parameter.name);
        let mut plot = Plot::open(out, (480.0, 220.0), &label);
        plot.y_axis(range);
        plot.x_axis(&labels(&parameter.domain));
        for (rank, trial) in ranked.iter().enumerate().rev() {
            if let (Some(place), Some(value)) = (place(parameter, trial), trial.value()) {
                let class = if rank < n_good { "good" } else { "complete" };
                plot.dot(class, (place, range.place(value)), 3.5, &says(trial));
            }
        }
        plot.close();
        out.push_str("</article>");
    }
    out.push_str("</div></section>");
}

/// What trials reported on the way.
fn curves(out: &mut String, trials: &Trials) {
    let reports = || trials.records().iter().flat_map(|trial| &trial.reports);
    let Some(last) = reports().map(|(step, _)| *step).max() else {
        return;
    };
    out.push_str("<section><h2>On the way</h2><article>");
    let mut losses: Vec<f64> = reports()
        .map(|(_, value)| trials.direction().loss(*value))
        .collect();
    losses.sort_by(f64::total_cmp);
    let n = losses.len() - losses.len() / 10;
    let range = Range::of(
        losses[..n]
            .iter()
            .map(|loss| trials.direction().loss(*loss)),
    );
    let x = |step: u32| f64::from(step) / f64::from(last);
    let mut plot = Plot::open(
        out,
        (1000.0, 300.0),
        "what each trial reported, step by step",
    );
    plot.y_axis(range);
    plot.x_axis(&[(0.0, "step 0".to_owned()), (1.0, format!("step {last}"))]);
    for trial in trials.records() {
        let places = trial
            .reports
            .iter()
            .map(|(step, value)| (x(*step), range.place(*value)));
        let places: Vec<(f64, f64)> = places.collect();
        if places.len() > 1 {
            plot.line(&format!("{}-line", trial.state()), &places, &says(trial));
        }
        if let Some(end) = places.last() {
            plot.dot(trial.state(), *end, 2.5, &says(trial));
        }
    }
    plot.close();
    out.push_str("</article></section>");
}

fn table(out: &mut String, trials: &Trials) {
    out.push_str("<section><h2>Trials</h2>");
    let ranked = trials.ranked();
    let rest = trials
        .records()
        .iter()
        .filter(|trial| trial.value().is_none());
    let all: Vec<&TrialRecord> = ranked.into_iter().chain(rest).collect();
    let (first, folded) = all.split_at(all.len().min(N_SHOWN));
    rows(out, trials, first);
    if !folded.is_empty() {
        put!(
            out,
            "<details><summary>{} more</summary>",
            grouped(folded.len() as u64)
        );
        rows(out, trials, folded);
        out.push_str("</details>");
    }
    out.push_str("</section>");
}

fn rows(out: &mut String, trials: &Trials, records: &[&TrialRecord]) {
    out.push_str(
        "<div class=\"scroll\"><table class=\"trials\"><thead><tr><th>trial</th><th>value</th>",
    );
    for parameter in trials.space().parameters() {
        put!(out, "<th>{}</th>", Text(&parameter.name));
    }
    out.push_str("<th>seconds</th></tr></thead><tbody>");
    for trial in records {
        put!(out, "<tr><td>{}</td><td>", trial.number);
        match &trial.outcome {
            Some(Outcome::Complete { value }) => put!(out, "<b>{}</b>", short(*value)),
            Some(Outcome::Pruned { step }) => {
                put!(out, "<span class=\"warned\">pruned</span> at {step}");
            }
            Some(Outcome::Failed { reason }) => {
                put!(
                    out,
                    "<span class=\"failed\">failed</span><p>{}</p>",
                    Text(reason)
                );
            }
            None => out.push_str("running"),
        }
        out.push_str("</td>");
        for parameter in trials.space().parameters() {
            let value = trial.params.get(&parameter.name).map(said);
            put!(out, "<td>{}</td>", Text(value.unwrap_or_default()));
        }
        put!(out, "<td>{}</td></tr>", short(trial.seconds));
    }
    out.push_str("</tbody></table></div>");
}

/// The values of a trial, as short as they are on the axes.
fn brief(trial: &TrialRecord) -> String {
    let values = trial
        .params
        .iter()
        .map(|(name, value)| format!("{name}\u{a0}{}", said(value)));
    values.collect::<Vec<_>>().join(", ")
}

/// A trial in a line.
fn says(trial: &TrialRecord) -> String {
    let value = trial
        .value()
        .map_or_else(|| trial.state().to_owned(), short);
    format!("trial {}: {value}; {}", trial.number, brief(trial))
}

fn place(parameter: &Parameter, trial: &TrialRecord) -> Option<f64> {
    parameter.domain.place(trial.params.get(&parameter.name)?)
}
