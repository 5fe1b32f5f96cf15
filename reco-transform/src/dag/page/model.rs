//! What the script of a page knows of the tables.

use std::error::Error as _;

use reco_core::{CheckResult, Severity, Timestamp};
use serde::Serialize;

use super::Page;
use crate::dag::{ColumnOrigins, ColumnRef, LineageTable, TableColumns, TableReport, TableStatus};

#[derive(Serialize)]
pub(super) struct Model<'a> {
    pub(super) tables: Vec<Table<'a>>,
}

#[derive(Serialize)]
pub(super) struct Table<'a> {
    #[serde(flatten)]
    pub(super) lineage: &'a LineageTable,
    pub(super) status: Status,
    /// Why it was not made.
    reason: Option<String>,
    pub(super) n_rows: Option<u64>,
    pub(super) seconds: Option<f64>,
    version: Option<u64>,
    checks: Vec<Check<'a>>,
    /// How old its newest rows are.
    newest: Option<String>,
    age: Option<String>,
    columns: &'a [ColumnOrigins],
    rows_influenced_by: &'a [ColumnRef],
}

/// What became of a table, in one word.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    /// The page shows no run.
    Declared,
    Built,
    /// Made, though not all that was expected was found.
    Warned,
    Failed,
    Skipped,
}

#[derive(Serialize)]
struct Check<'a> {
    /// What was found, in one word.
    verdict: &'static str,
    #[serde(flatten)]
    result: &'a CheckResult,
}

impl Status {
    /// For those who do not see colours.
    pub(super) const fn sign(self) -> &'static str {
        match self {
            Self::Declared => "",
            Self::Built => "✓",
            Self::Warned => "!",
            Self::Failed => "✗",
            Self::Skipped => "–",
        }
    }

    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Declared => "declared",
            Self::Built => "built",
            Self::Warned => "warned",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

impl<'a> Model<'a> {
    pub(super) fn of(page: &'a Page) -> Self {
        let table = |lineage: &'a LineageTable| {
            let name = &lineage.table;
            let report = page.reports.iter().find(|report| report.table == *name);
            let columns = page
                .columns
                .tables
                .iter()
                .find(|table| table.table == *name);
            let newest = page.newest.get(name).copied();
            Table::of(lineage, report, columns, newest, page.as_of)
        };
        Self {
            tables: page.lineage.tables.iter().map(table).collect(),
        }
    }
}

impl<'a> Table<'a> {
    fn of(
        lineage: &'a LineageTable,
        report: Option<&'a TableReport>,
        columns: Option<&'a TableColumns>,
        newest: Option<Timestamp>,
        as_of: Option<Timestamp>,
    ) -> Self {
        let was_tried =
            |report: &&TableReport| !matches!(report.status, TableStatus::Skipped { .. });
        let checks = report.iter().flat_map(|report| &report.checks.results);
        Self {
            lineage,
            status: report.map_or(Status::Declared, status),
            reason: report.and_then(reason),
            n_rows: report.and_then(|report| report.n_rows),
            seconds: report
                .filter(was_tried)
                .map(|report| report.duration.as_secs_f64()),
            version: report.and_then(|report| report.version),
            checks: checks.map(Check::of).collect(),
            newest: newest.map(|newest| newest.to_string()),
            age: newest.zip(as_of).map(|(newest, as_of)| age(newest, as_of)),
            columns: columns.map_or(&[], |table| &table.columns),
            rows_influenced_by: columns.map_or(&[], |table| &table.rows_influenced_by),
        }
    }
}

impl<'a> Check<'a> {
    fn of(result: &'a CheckResult) -> Self {
        let verdict = match (result.passed, result.severity) {
            (true, _) => "passed",
            (false, Severity::Warn) => "warned",
            (false, Severity::Error) => "failed",
        };
        Self { verdict, result }
    }
}

fn status(report: &TableReport) -> Status {
    match &report.status {
        TableStatus::Built if report.checks.warnings().next().is_some() => Status::Warned,
        TableStatus::Built => Status::Built,
        TableStatus::Failed { .. } => Status::Failed,
        TableStatus::Skipped { .. } => Status::Skipped,
    }
}

/// The error with its causes, or the table for which this one was skipped.
fn reason(report: &TableReport) -> Option<String> {
    match &report.status {
        TableStatus::Built => None,
        TableStatus::Skipped { because_of } => Some(format!("skipped because of {because_of}")),
        TableStatus::Failed { error } => {
            let mut text = error.to_string();
            let mut cause = error.source();
            while let Some(error) = cause {
                text += &format!("\n{error}");
                cause = error.source();
            }
            Some(text)
        }
    }
}

/// The time between, in its largest unit.
pub(super) fn age(newest: Timestamp, as_of: Timestamp) -> String {
    let seconds = as_of.as_second() - newest.as_second();
    let (n, unit) = match seconds {
        ..0 => return "in the future".to_owned(),
        0..120 => (seconds, "s"),
        120..7200 => (seconds / 60, "min"),
        7200..172_800 => (seconds / 3600, "h"),
        _ => (seconds / 86400, "days"),
    };
    format!("{n} {unit} old")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_told_in_their_largest_unit() {
        let check = |seconds: i64, expected: &str| {
            let newest = Timestamp::from_second(1_000_000).unwrap();
            let as_of = Timestamp::from_second(1_000_000 + seconds).unwrap();
            assert_eq!(age(newest, as_of), expected);
        };
        check(-1, "in the future");
        check(0, "0 s old");
        check(119, "119 s old");
        check(120, "2 min old");
        check(7199, "119 min old");
        check(7200, "2 h old");
        check(172_799, "47 h old");
        check(172_800, "2 days old");
    }
}
