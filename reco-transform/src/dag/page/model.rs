//! What the script of a page knows of the tables.

use std::error::Error as _;

use reco_core::{CheckResult, Severity, Timestamp};
use serde::Serialize;

use super::Page;
use crate::dag::{ColumnOrigins, ColumnRef, LineageTable, TableColumns, TableReport, TableStatus};
use crate::html::age;

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
    /// Its published rows were used.
    Reused,
    /// Nobody asked for it.
    Deferred,
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
            Self::Reused => "=",
            Self::Deferred => "·",
            Self::Failed => "✗",
            Self::Skipped => "–",
        }
    }

    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Declared => "declared",
            Self::Built => "built",
            Self::Warned => "warned",
            Self::Reused => "reused",
            Self::Deferred => "deferred",
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
        let was_tried = |report: &&TableReport| {
            matches!(
                report.status,
                TableStatus::Built | TableStatus::Failed { .. }
            )
        };
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
        TableStatus::Reused => Status::Reused,
        TableStatus::Deferred => Status::Deferred,
        TableStatus::Failed { .. } => Status::Failed,
        TableStatus::Skipped { .. } => Status::Skipped,
    }
}

/// The error with its causes, or the table for which this one was skipped.
fn reason(report: &TableReport) -> Option<String> {
    match &report.status {
        TableStatus::Built | TableStatus::Reused | TableStatus::Deferred => None,
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
