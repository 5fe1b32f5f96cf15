//! A run of a DAG, and what it made.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use datafusion::prelude::{DataFrame, SessionContext};
use reco_core::{SessionDataset, SessionEncoding, did_you_mean, nearest};

use super::check::Tables;
use super::plan::DagPlan;
use super::report::{DagEvent, TableReport, TableStatus};
use super::scheduler::Scheduler;
use crate::dataset::session_dataset;
use crate::error::{Error, Result};
use crate::step::scan;

/// The tables that a run has made, and a report on each of the DAG.
///
/// Tables in memory are kept for as long as this is.
pub struct DagRun {
    pub(super) reports: Vec<TableReport>,
    pub(super) tables: Tables,
    pub(super) session: SessionContext,
}

impl DagRun {
    /// A report on each table, in the order of [`Dag::tables`](super::Dag::tables).
    #[must_use]
    pub fn reports(&self) -> &[TableReport] {
        &self.reports
    }

    /// The report on a table, if it is in the DAG.
    #[must_use]
    pub fn report(&self, table: &str) -> Option<&TableReport> {
        self.reports.iter().find(|report| report.table == table)
    }

    /// A session that holds the tables that were made, for queries.
    #[must_use]
    pub const fn session(&self) -> &SessionContext {
        &self.session
    }

    /// A table that was made.
    ///
    /// # Errors
    ///
    /// [`Error::NotInRun`] says whether it failed, was skipped or is not in the DAG.
    pub fn table(&self, name: &str) -> Result<DataFrame> {
        let Some(provider) = self.tables.get(name) else {
            let reason = match self.report(name) {
                Some(report) => report.status.to_string(),
                None => {
                    let nearest = nearest(name, self.reports.iter().map(|report| &report.table));
                    format!("it is not in the DAG{}", did_you_mean(nearest.as_deref()))
                }
            };
            return Err(Error::NotInRun {
                table: name.to_owned(),
                reason,
            });
        };
        scan(&self.session, name, provider).map_err(|source| Error::Read {
            table: name.to_owned(),
            source,
        })
    }

    /// A table of interactions as sessions, in the default encoding.
    ///
    /// # Errors
    ///
    /// As [`table`](Self::table) and [`session_dataset`].
    pub async fn dataset(&self, name: &str) -> Result<SessionDataset> {
        self.dataset_encoded(name, SessionEncoding::default()).await
    }

    /// As [`dataset`](Self::dataset), in another encoding.
    ///
    /// # Errors
    ///
    /// As [`dataset`](Self::dataset).
    pub async fn dataset_encoded(
        &self,
        name: &str,
        encoding: SessionEncoding,
    ) -> Result<SessionDataset> {
        session_dataset(name, self.table(name)?, encoding).await
    }

    pub(crate) fn n_missing(&self) -> usize {
        self.reports.len() - self.tables.len()
    }

    /// Each table that was not made, and why, as one line.
    pub(crate) fn missing(&self) -> String {
        let missing = self
            .reports
            .iter()
            .filter(|report| !report.status.is_there())
            .map(|report| format!("`{}` {}", report.table, report.status));
        missing.collect::<Vec<_>>().join(", ")
    }
}

impl fmt::Debug for DagRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DagRun")
            .field("reports", &self.reports)
            .finish_non_exhaustive()
    }
}

/// Reports, one a line.
impl fmt::Display for DagRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (line, report) in self.reports.iter().enumerate() {
            let newline = if line > 0 { "\n" } else { "" };
            write!(f, "{newline}{report}")?;
        }
        Ok(())
    }
}

pub(super) async fn run(
    plan: &DagPlan,
    observer: impl FnMut(DagEvent<'_>) + Send,
) -> Result<DagRun> {
    let since = Instant::now();
    let (run, made) = Scheduler::new(plan, observer).run().await;
    let published = if made.is_empty() {
        Ok(None)
    } else {
        let publish = plan.warehouse.publish(|contents| {
            contents.tables.extend(made.tables.clone());
            contents.audited.extend(made.audited.clone());
        });
        publish.await.map(|state| Some(state.number))
    };
    let (warehouse, outcome) = (&plan.warehouse, published.as_ref().copied());
    warehouse
        .record_run(&plan.dag, plan, &run, since.elapsed(), outcome)
        .await;
    published?;
    let first_failure = run.reports.iter().find_map(|report| match &report.status {
        TableStatus::Failed { error } => Some(Arc::clone(error)),
        _ => None,
    });
    match first_failure {
        None => Ok(run),
        Some(source) => Err(Error::Incomplete {
            run: Box::new(run),
            source,
        }),
    }
}
