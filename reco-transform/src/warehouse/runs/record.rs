//! What a run leaves.

use std::error::Error as _;
use std::time::Duration;

use super::lineage::RecordedLineage;
use super::{RunCheck, RunStatus, RunTable};
use crate::dag::{Dag, DagPlan, DagRun, TableReport, TableStatus};
use crate::error::Error;
use crate::warehouse::Warehouse;

/// What is to be recorded of a run that has ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(super) duration: Duration,
    pub(super) error: Option<String>,
    pub(super) state: Option<u64>,
    pub(super) tables: Vec<RunTable>,
    pub(super) lineage: Option<RecordedLineage>,
}

impl Outcome {
    pub(super) const fn status(&self) -> RunStatus {
        if self.error.is_some() {
            RunStatus::Failed
        } else {
            RunStatus::Succeeded
        }
    }
}

impl Warehouse {
    /// Records a run that has ended: `published` is the state that it left, or why there is none.
    ///
    /// A run that cannot be recorded is as it is: it is said in the log, and the next one is tried anew.
    pub(crate) async fn record_run(
        &self,
        dag: &Dag,
        plan: &DagPlan,
        run: &DagRun,
        duration: Duration,
        published: Result<Option<u64>, &Error>,
    ) {
        if self.pinned.is_some() {
            return;
        }
        let outcome = outcome(dag, plan, run, duration, published).await;
        if let Err(error) = self.run_store().record(outcome).await {
            let cause = error.source().map(ToString::to_string).unwrap_or_default();
            tracing::warn!(%error, cause, "a run was not recorded");
        }
    }
}

async fn outcome(
    dag: &Dag,
    plan: &DagPlan,
    run: &DagRun,
    duration: Duration,
    published: Result<Option<u64>, &Error>,
) -> Outcome {
    let tables = dag.lineage();
    let of = |table: &str| tables.tables.iter().find(|lineage| lineage.table == table);
    let table = |report: &TableReport| {
        let lineage = of(&report.table)?;
        let planned = plan.table(&report.table)?;
        Some(RunTable {
            table: report.table.clone(),
            kind: lineage.kind,
            materialization: lineage.materialization,
            action: planned.action.to_string(),
            why: planned.why.to_string(),
            status: word(&report.status).to_owned(),
            n_rows: report.n_rows,
            version: report.version,
            duration: report.duration,
            error: reason(&report.status),
            checks: checks(report),
        })
    };
    let recorded: Vec<RunTable> = run.reports().iter().filter_map(table).collect();
    let missing = (run.n_missing() > 0).then(|| run.missing());
    let error = match &published {
        Ok(_) => missing,
        Err(error) => Some(with_causes(error)),
    };
    // What can be planned for a run can be planned again; if not, the record goes without.
    let columns = dag.column_lineage().await;
    let lineage = columns.map(|columns| RecordedLineage::new(tables, columns));
    Outcome {
        duration,
        error,
        state: published.ok().flatten(),
        tables: recorded,
        lineage: lineage.ok(),
    }
}

const fn word(status: &TableStatus) -> &'static str {
    match status {
        TableStatus::Built => "built",
        TableStatus::Reused => "reused",
        TableStatus::Deferred => "deferred",
        TableStatus::Failed { .. } => "failed",
        TableStatus::Skipped { .. } => "skipped",
    }
}

fn reason(status: &TableStatus) -> Option<String> {
    match status {
        TableStatus::Failed { error } => Some(with_causes(error)),
        TableStatus::Skipped { because_of } => Some(format!("skipped because of {because_of}")),
        TableStatus::Built | TableStatus::Reused | TableStatus::Deferred => None,
    }
}

/// An error with its causes. Of checks that failed only their names: the report has samples of rows.
fn with_causes(error: &Error) -> String {
    if let Error::ChecksFailed { report } = error {
        let failed: Vec<&str> = report
            .failures()
            .map(|check| check.check.as_str())
            .collect();
        return format!("expectations not met: {}", failed.join(", "));
    }
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        // An engine's error says its cause too.
        if !text.contains(&said) {
            text += &format!(": {said}");
        }
        cause = error.source();
    }
    text
}

fn checks(report: &TableReport) -> Vec<RunCheck> {
    let results = report.checks.results.iter();
    let check = results.map(|result| RunCheck {
        check: result.check.clone(),
        severity: result.severity,
        passed: result.passed,
        n_checked: result.n_checked,
        n_failed: result.n_failed,
        observed: result.observed.clone(),
        note: result.note.clone(),
    });
    check.collect()
}
