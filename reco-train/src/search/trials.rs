//! [`Trials`]: what a study found.

use std::sync::Arc;

use reco_core::arrow::array::{
    ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, UInt32Array, UInt64Array,
};
use serde::Serialize;
use serde_json::Value;

use super::domain::Domain;
use super::importance::importances;
use super::outcome::{Outcome, TrialRecord};
use super::page;
use super::params::Params;
use super::space::Space;
use super::study::Direction;

/// What a study found: its trials, as data, as a table and as a page.
#[derive(Debug, Clone, PartialEq)]
pub struct Trials {
    space: Space,
    direction: Direction,
    records: Vec<TrialRecord>,
}

/// A row of the table.
#[derive(Debug, Serialize)]
struct Row<'a> {
    trial: u64,
    state: &'static str,
    value: Option<f64>,
    last_step: Option<u32>,
    last_value: Option<f64>,
    seconds: f64,
    reason: Option<&'a str>,
    params: &'a Params,
}

impl Trials {
    pub(super) const fn new(space: Space, direction: Direction, records: Vec<TrialRecord>) -> Self {
        Self {
            space,
            direction,
            records,
        }
    }

    /// All trials, by number.
    #[must_use]
    pub fn records(&self) -> &[TrialRecord] {
        &self.records
    }

    /// What was searched.
    #[must_use]
    pub const fn space(&self) -> &Space {
        &self.space
    }

    /// Whether more is better.
    #[must_use]
    pub const fn direction(&self) -> Direction {
        self.direction
    }

    /// The best of the complete trials, the first of equals; none if none is complete.
    #[must_use]
    pub fn best(&self) -> Option<&TrialRecord> {
        self.ranked().into_iter().next()
    }

    /// The complete trials, the best first.
    #[must_use]
    pub fn ranked(&self) -> Vec<&TrialRecord> {
        let mut complete: Vec<(f64, &TrialRecord)> = self
            .records
            .iter()
            .filter_map(|trial| Some((self.direction.loss(trial.value()?), trial)))
            .collect();
        complete.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        complete.into_iter().map(|(_, trial)| trial).collect()
    }

    /// How many trials are in a state: `complete`, `pruned`, `failed` or `running`.
    #[must_use]
    pub fn count(&self, state: &str) -> usize {
        self.records
            .iter()
            .filter(|trial| trial.state() == state)
            .count()
    }

    /// How much of the variance of the values each parameter explains by itself, from 0 to 1, the most
    /// important first.
    ///
    /// Complete trials are put into at most four groups of about the same size by the parameter, those
    /// without it into another; the number is ε² (Kelley 1935), the share of the variance that is between
    /// groups, less what chance would give, and 0 where that is less than nothing. It knows nothing of
    /// parameters that matter together, and a sampler that looks where it is good makes it less sure.
    /// Nothing below 8 complete trials.
    #[must_use]
    pub fn importances(&self) -> Vec<(&str, f64)> {
        importances(&self.space, &self.records)
    }

    /// The table as JSON Lines: a trial a line.
    #[must_use]
    #[expect(
        clippy::missing_panics_doc,
        reason = "plain data with strings as keys is always JSON"
    )]
    pub fn to_json_lines(&self) -> String {
        let mut text = String::new();
        for row in self.rows() {
            text.push_str(&serde_json::to_string(&row).expect("a row is plain data"));
            text.push('\n');
        }
        text
    }

    /// The table as CSV with a header: a trial a row, a column for each parameter, quoted as RFC 4180 has it.
    #[must_use]
    pub fn to_csv(&self) -> String {
        let names = self
            .space
            .parameters()
            .iter()
            .map(|parameter| parameter.name.clone());
        let fixed = [
            "trial",
            "state",
            "value",
            "last_step",
            "last_value",
            "seconds",
            "reason",
        ];
        let mut text = String::new();
        csv_line(&mut text, fixed.map(str::to_owned).into_iter().chain(names));
        for row in self.rows() {
            let fixed = [
                row.trial.to_string(),
                row.state.to_owned(),
                optional(row.value),
                optional(row.last_step),
                optional(row.last_value),
                row.seconds.to_string(),
                row.reason.unwrap_or_default().to_owned(),
            ];
            let params = self.space.parameters().iter();
            let params = params.map(|parameter| match row.params.get(&parameter.name) {
                None => String::new(),
                Some(Value::String(text)) => text.clone(),
                Some(value) => value.to_string(),
            });
            csv_line(&mut text, fixed.into_iter().chain(params));
        }
        text
    }

    /// The table as a batch of Arrow: the columns of the CSV; numbers as such, choices as texts, nulls where
    /// there is nothing. A parameter's column is named `param.` and its name.
    #[must_use]
    #[expect(
        clippy::missing_panics_doc,
        reason = "all columns have a row for each trial"
    )]
    pub fn to_batch(&self) -> RecordBatch {
        let rows: Vec<Row<'_>> = self.rows().collect();
        let mut columns: Vec<(String, ArrayRef)> = Vec::new();
        let mut add = |name: &str, column: ArrayRef| columns.push((name.to_owned(), column));
        let trials = rows.iter().map(|row| row.trial);
        add("trial", Arc::new(UInt64Array::from_iter_values(trials)));
        let states = rows.iter().map(|row| row.state);
        add("state", Arc::new(StringArray::from_iter_values(states)));
        let values = rows.iter().map(|row| row.value);
        add("value", Arc::new(values.collect::<Float64Array>()));
        let steps = rows.iter().map(|row| row.last_step);
        add("last_step", Arc::new(steps.collect::<UInt32Array>()));
        let values = rows.iter().map(|row| row.last_value);
        add("last_value", Arc::new(values.collect::<Float64Array>()));
        let seconds = rows.iter().map(|row| row.seconds);
        add("seconds", Arc::new(Float64Array::from_iter_values(seconds)));
        let reasons = rows.iter().map(|row| row.reason);
        add("reason", Arc::new(reasons.collect::<StringArray>()));
        for parameter in self.space.parameters() {
            let values = rows.iter().map(|row| row.params.get(&parameter.name));
            let column: ArrayRef = match &parameter.domain {
                Domain::Integer { .. } => {
                    Arc::new(values.map(|value| value?.as_i64()).collect::<Int64Array>())
                }
                Domain::Uniform { .. } | Domain::LogUniform { .. } => Arc::new(
                    values
                        .map(|value| value?.as_f64())
                        .collect::<Float64Array>(),
                ),
                Domain::Choice(_) => {
                    let text = |value: &Value| {
                        value
                            .as_str()
                            .map_or_else(|| value.to_string(), str::to_owned)
                    };
                    Arc::new(values.map(|value| value.map(text)).collect::<StringArray>())
                }
            };
            add(&format!("param.{}", parameter.name), column);
        }
        // What is never null in one study may be in the next: a file takes both.
        let columns = columns
            .into_iter()
            .map(|(name, column)| (name, column, true));
        RecordBatch::try_from_iter_with_nullable(columns)
            .expect("all columns have a row for each trial")
    }

    /// The study as a page in HTML that needs nothing else: no network, no server, no script. It is light or
    /// dark as the reader's system is.
    #[must_use]
    pub fn to_html(&self, title: &str) -> String {
        page::page(self, title)
    }

    fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.records.iter().map(|trial| Row {
            trial: trial.number,
            state: trial.state(),
            value: trial.value(),
            last_step: trial.reports.last().map(|(step, _)| *step),
            last_value: trial.reports.last().map(|(_, value)| *value),
            seconds: trial.seconds,
            reason: match &trial.outcome {
                Some(Outcome::Failed { reason }) => Some(reason),
                _ => None,
            },
            params: &trial.params,
        })
    }
}

fn optional(value: Option<impl ToString>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

fn csv_line(out: &mut String, cells: impl Iterator<Item = String>) {
    for (i, cell) in cells.enumerate() {
        if i > 0 {
            out.push(',');
        }
        if cell.contains([',', '"', '\n', '\r']) {
            out.push('"');
            out.push_str(&cell.replace('"', "\"\""));
            out.push('"');
        } else {
            out.push_str(&cell);
        }
    }
    out.push_str("\r\n");
}
