//! The panels that are about the data: what was checked, what ran, and how old it is.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use reco_core::Timestamp;

use super::figures::{count, percent, seconds};
use super::model::{Check, Outcome, Run, Table, Verdict};
use super::shop::card;
use crate::html::{age, escaped, grouped};

/// What was found of each table in the last runs.
pub(super) fn history(runs: &[Run], as_of: Option<Timestamp>) -> String {
    let title = "Data quality";
    let Some(last) = runs.last() else {
        return card(
            "wide",
            title,
            "",
            "<p class=\"empty\">No run is recorded yet.</p>",
        );
    };
    let n_good = runs.iter().filter(|run| run.succeeded).count();
    let when = as_of.map_or_else(
        || format!("{:.0}", last.ended_at),
        |now| age(last.ended_at, now),
    );
    let note = format!(
        "Run {} {}, {when}, {}; {n_good} of the last {} succeeded",
        last.number,
        if last.succeeded {
            "succeeded"
        } else {
            "failed"
        },
        seconds(last.seconds),
        runs.len(),
    );
    // In the order of the newest run; what only earlier ones knew comes after.
    let mut names: Vec<&str> = Vec::new();
    for verdict in runs.iter().rev().flat_map(|run| &run.tables) {
        if !names.contains(&verdict.table.as_str()) && has_something(runs, &verdict.table) {
            names.push(&verdict.table);
        }
    }
    let mut content = error(last);
    if !names.is_empty() {
        content += &matrix(runs, &names);
    }
    content += &not_met(runs);
    card("wide", title, &note, &content)
}

/// Whether a table was ever checked, or not made: the others would be rows of dots.
fn has_something(runs: &[Run], table: &str) -> bool {
    let mut verdicts = runs.iter().flat_map(|run| &run.tables);
    verdicts.any(|verdict| {
        verdict.table == table && (verdict.outcome != Outcome::Reused || !verdict.checks.is_empty())
    })
}

fn error(run: &Run) -> String {
    let error = run.error.iter().filter(|_| !run.succeeded);
    error
        .map(|error| format!("<pre>{}</pre>", escaped(error)))
        .collect()
}

/// The newest run first, so that it is in sight where there is little room.
fn matrix(runs: &[Run], names: &[&str]) -> String {
    let heads = runs.iter().rev().map(|run| {
        let mark = if run.succeeded {
            Outcome::Passed
        } else {
            Outcome::Failed
        };
        format!(
            "<th scope=\"col\" class=\"{}\" title=\"run {}, {:.0}, {}\">{}</th>",
            mark.word(),
            run.number,
            run.ended_at,
            seconds(run.seconds),
            run.number
        )
    });
    let heads: String = heads.collect();
    let mut rows = String::new();
    for name in names {
        _ = write!(rows, "<tr><th scope=\"row\">{}</th>", escaped(name));
        for run in runs.iter().rev() {
            let Some(verdict) = run.tables.iter().find(|verdict| verdict.table == *name) else {
                rows += "<td></td>";
                continue;
            };
            let (word, sign) = (verdict.outcome.word(), verdict.outcome.sign());
            let said = escaped(&said(run, verdict));
            _ = write!(
                rows,
                "<td class=\"{word}\" title=\"{said}\">{sign}<span>{word}</span></td>"
            );
        }
        rows += "</tr>";
    }
    format!(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Verdicts by table and run\"><table class=\"matrix\"><thead><tr><th scope=\"col\">Run</th>{heads}</tr></thead><tbody>{rows}</tbody></table></div>"
    )
}

fn said(run: &Run, verdict: &Verdict) -> String {
    let mut text = format!(
        "{} in run {}: {}",
        verdict.table,
        run.number,
        verdict.outcome.word()
    );
    let not_met: Vec<&Check> = verdict
        .checks
        .iter()
        .filter(|check| check.outcome != Outcome::Passed)
        .collect();
    if verdict.checks.is_empty() {
        return text;
    }
    _ = write!(
        text,
        ", {} of {} checks met",
        verdict.checks.len() - not_met.len(),
        verdict.checks.len()
    );
    for check in not_met {
        _ = write!(
            text,
            "\n{}: {} of {} rows",
            check.expectation, check.n_failed, check.n_checked
        );
    }
    text
}

/// What was not met when it was last looked at.
fn not_met(runs: &[Run]) -> String {
    let mut last: BTreeMap<(&str, &str), (&Run, &Check)> = BTreeMap::new();
    for run in runs {
        for verdict in &run.tables {
            for check in &verdict.checks {
                last.insert((&verdict.table, &check.expectation), (run, check));
            }
        }
    }
    let mut items = String::new();
    for ((table, _), (run, check)) in last {
        if check.outcome == Outcome::Passed {
            continue;
        }
        let (word, sign) = (check.outcome.word(), check.outcome.sign());
        let found = match (&check.observed, check.n_checked) {
            (_, 1..) if check.n_failed > 0 => {
                let share = check.n_failed as f64 / check.n_checked as f64;
                format!(
                    "{} of {} rows, {}",
                    grouped(check.n_failed),
                    grouped(check.n_checked),
                    percent(share)
                )
            }
            (Some(observed), _) => format!("found {observed}"),
            (None, _) => String::new(),
        };
        _ = write!(
            items,
            "<li class=\"{word}\"><b>{sign} {word}</b> {} <code>{}</code> <span class=\"faint\">{}, run {}</span></li>",
            escaped(table),
            escaped(&check.expectation),
            escaped(&found),
            run.number
        );
    }
    if items.is_empty() {
        return String::new();
    }
    format!("<h3>Not met when last looked at</h3><ul class=\"findings\">{items}</ul>")
}

/// How old the tables are.
pub(super) fn freshness(tables: &[Table], as_of: Option<Timestamp>) -> String {
    if tables.is_empty() {
        return card(
            "wide",
            "Tables",
            "",
            "<p class=\"empty\">Nothing is published yet.</p>",
        );
    }
    let row = |table: &Table| {
        let published = format!("{:.0}", table.published_at);
        let age = as_of.map_or_else(String::new, |now| age(table.published_at, now));
        format!(
            "<tr><th scope=\"row\">{}</th><td class=\"n\">{}</td><td class=\"n version\">{}</td><td class=\"when\"><time datetime=\"{published}\">{}</time></td><td class=\"n\">{age}</td></tr>",
            escaped(&table.name),
            count(table.n_rows as f64),
            table.version,
            published.replace('T', " ").replace('Z', ""),
        )
    };
    let rows: String = tables.iter().map(row).collect();
    let age = if as_of.is_some() { "Age" } else { "" };
    let table = format!(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Published tables\"><table class=\"tables\"><thead><tr><th scope=\"col\">Table</th><th scope=\"col\" class=\"n\">Rows</th><th scope=\"col\" class=\"n version\">Version</th><th scope=\"col\">Published, UTC</th><th scope=\"col\" class=\"n\">{age}</th></tr></thead><tbody>{rows}</tbody></table></div>"
    );
    card(
        "wide",
        "Tables",
        "What the environment shows, and since when",
        &table,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(number: u64, outcome: Outcome) -> Run {
        let check = Check {
            expectation: "not_null(<id>)".to_owned(),
            outcome,
            n_checked: 200,
            n_failed: 3,
            observed: None,
        };
        Run {
            number,
            ended_at: Timestamp::UNIX_EPOCH,
            seconds: 1.5,
            succeeded: outcome == Outcome::Passed,
            error: Some("it <broke>".to_owned()),
            tables: vec![Verdict {
                table: "clicks".to_owned(),
                outcome,
                checks: vec![check],
            }],
        }
    }

    #[test]
    fn what_was_not_met_last_is_listed_with_its_run() {
        let html = history(&[run(1, Outcome::Passed), run(2, Outcome::Failed)], None);
        assert!(
            html.contains("1 of the last 2 succeeded") && html.contains("it &lt;broke&gt;"),
            "{html}"
        );
        assert!(html.contains("<code>not_null(&lt;id&gt;)</code> <span class=\"faint\">3 of 200 rows, 1.50\u{2009}%, run 2</span>"));
        assert!(html.contains("title=\"clicks in run 2: failed, 0 of 1 checks met\nnot_null(&lt;id&gt;): 3 of 200 rows\""));
        // What was met since is not.
        let html = history(&[run(1, Outcome::Failed), run(2, Outcome::Passed)], None);
        assert!(
            !html.contains("Not met") && !html.contains("broke"),
            "{html}"
        );
        assert!(history(&[], None).contains("No run is recorded yet"));
    }
}
