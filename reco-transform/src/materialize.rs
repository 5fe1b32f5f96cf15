//! [`Materialization`]: where the rows of a table are kept.

use std::fmt;
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;
use datafusion::error::Result as EngineResult;
use datafusion::physical_plan::collect_partitioned;
use datafusion::prelude::{DataFrame, SessionContext};
use reco_core::CheckReport;
use serde::{Deserialize, Serialize};

use crate::dag::Fingerprint;
use crate::error::{Error, Result};
use crate::incremental::Ledger;
use crate::quality::{Expectation, audit};
use crate::warehouse::{Made, PublishedTable, Target, Warehouse};

/// Where the rows of a table are kept, once a step has said how they are computed.
///
/// The default is memory: plans stay as shallow as their steps, and nothing is computed twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Materialization {
    /// Nowhere: whoever reads the table computes it, every time. For what is cheap or read once.
    ///
    /// An audit is a reader too. Over a raw table that is being written to, each reader may find other
    /// rows; see [`Source`](crate::Source).
    View,
    /// In memory, for as long as the run is held. Outside the warehouse's memory limit, so for what
    /// surely fits.
    #[default]
    Memory,
    /// In a Delta table of the warehouse, which is published once the expectations are met, and used as it
    /// is in later runs until something changes. The order of the rows is kept.
    Delta,
}

impl fmt::Display for Materialization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::View => "view",
            Self::Memory => "memory",
            Self::Delta => "delta",
        })
    }
}

/// A table that was made and passed its audit.
#[derive(Debug)]
pub(crate) struct Built {
    pub(crate) provider: Arc<dyn TableProvider>,
    /// None for a view that nothing was expected of: counting would compute it.
    pub(crate) n_rows: Option<u64>,
    pub(crate) kept: Kept,
    pub(crate) checks: CheckReport,
}

/// What is left of a table after the run.
#[derive(Debug)]
pub(crate) enum Kept {
    /// Nothing.
    No,
    /// That it met what was expected of it, made of this.
    Audited(Made),
    /// Its rows.
    Table(PublishedTable),
}

/// What a table is, and what it has to pass before it is published.
#[derive(Clone, Copy)]
pub(crate) struct Publication<'a> {
    pub(crate) table: &'a str,
    pub(crate) expectations: &'a [Expectation],
    pub(crate) fingerprint: &'a Fingerprint,
    /// Holds the other tables that the expectations name.
    pub(crate) session: &'a SessionContext,
    pub(crate) warehouse: &'a Warehouse,
}

impl Publication<'_> {
    /// Computes a table and audits it. One that is kept may be published then.
    pub(crate) async fn publish(
        &self,
        frame: DataFrame,
        materialization: Materialization,
    ) -> Result<Built> {
        #[cfg(feature = "ballista")]
        let frame = match materialization {
            Materialization::View => frame,
            Materialization::Memory | Materialization::Delta => {
                self.step(self.warehouse.place(self.table, frame).await)?
            }
        };
        match materialization {
            Materialization::View => self.audited(frame.into_view(), None).await,
            Materialization::Memory => {
                let (table, n_rows) = self.step(collect(frame).await)?;
                self.audited(table, Some(n_rows)).await
            }
            Materialization::Delta => self.publish_delta(frame).await,
        }
    }

    /// Audits a table that is there already.
    pub(crate) async fn audited(
        &self,
        provider: Arc<dyn TableProvider>,
        n_rows: Option<u64>,
    ) -> Result<Built> {
        let checks = self.audit(&provider).await?;
        let is_told = self.fingerprint.made.data.is_some() && self.fingerprint.checks.is_some();
        let kept = if is_told && !self.expectations.is_empty() {
            Kept::Audited(self.passed())
        } else {
            Kept::No
        };
        Ok(Built {
            n_rows: n_rows.or(checks.n_rows),
            provider,
            kept,
            checks: checks.report,
        })
    }

    /// Takes rows that are there as they are.
    pub(crate) async fn reuse(&self, found: &PublishedTable) -> Result<Built> {
        let provider = self
            .warehouse
            .provider(self.table, &found.location, found.version)
            .await?;
        let mut found = found.clone();
        if self.expectations.is_empty() && found.made.checks.is_none() {
            // A run that was killed before it could say so: what nothing is expected of has passed.
            found.made.checks.clone_from(&self.fingerprint.checks);
        }
        Ok(Built {
            provider,
            n_rows: Some(found.n_rows),
            kept: Kept::Table(found),
            checks: CheckReport::new(self.table, Vec::new()),
        })
    }

    /// Audits rows that are there.
    pub(crate) async fn audit_again(&self, found: &PublishedTable) -> Result<Built> {
        let reused = self.reuse(found).await?;
        self.finish(reused.provider, found.clone()).await
    }

    /// Write, audit, publish: rows are computed once, into a version of a Delta table that readers are
    /// not shown before the run ends, and only if it passes.
    async fn publish_delta(&self, frame: DataFrame) -> Result<Built> {
        let made = self.fingerprint.made.clone();
        let location = format!("{}/{}", self.table, made.definition);
        let rows = self.step(frame.execute_stream().await)?;
        let state = self.session.state();
        let target = Target {
            table: self.table,
            location: &location,
            partition_by: &[],
        };
        let written = self.warehouse.overwrite(&target, rows, &state).await?;
        let table = PublishedTable {
            version: written.version,
            n_rows: written.n_rows,
            made,
            ledger: Ledger::default(),
            location,
        };
        self.publish_written(table).await
    }

    /// Audits rows that were written.
    pub(crate) async fn publish_written(&self, table: PublishedTable) -> Result<Built> {
        self.warehouse.note(self.table, &table).await?;
        let provider = self
            .warehouse
            .provider(self.table, &table.location, table.version)
            .await?;
        self.finish(provider, table).await
    }

    async fn finish(
        &self,
        provider: Arc<dyn TableProvider>,
        table: PublishedTable,
    ) -> Result<Built> {
        let checks = self.audit(&provider).await?;
        let table = PublishedTable {
            made: self.passed(),
            ..table
        };
        self.warehouse.note(self.table, &table).await?;
        Ok(Built {
            provider,
            n_rows: Some(table.n_rows),
            kept: Kept::Table(table),
            checks: checks.report,
        })
    }

    /// What the table was made of, and that it passed.
    fn passed(&self) -> Made {
        Made {
            checks: self.fingerprint.checks.clone(),
            ..self.fingerprint.made.clone()
        }
    }

    async fn audit(&self, provider: &Arc<dyn TableProvider>) -> Result<audit::Audit> {
        let audit = audit::audit(self.session, self.table, provider, self.expectations).await?;
        for warning in audit.report.warnings() {
            tracing::warn!(table = self.table, check = %warning.check, n_failed = warning.n_failed, "expectation not met");
        }
        if audit.report.passed() {
            return Ok(audit);
        }
        Err(Error::ChecksFailed {
            report: Box::new(audit.report),
        })
    }

    fn step<T>(&self, result: EngineResult<T>) -> Result<T> {
        result.map_err(|error| Error::of_step(self.table, error))
    }
}

async fn collect(frame: DataFrame) -> EngineResult<(Arc<dyn TableProvider>, u64)> {
    let task = Arc::new(frame.task_ctx());
    let plan = frame.create_physical_plan().await?;
    // The schema of the executed plan, since the optimizer may have narrowed what can be null.
    let schema = plan.schema();
    let partitions = collect_partitioned(plan, task).await?;
    let n_rows = partitions
        .iter()
        .flatten()
        .map(|batch| batch.num_rows() as u64);
    let n_rows = n_rows.sum();
    let table = MemTable::try_new(schema, partitions)?;
    Ok((Arc::new(table), n_rows))
}
