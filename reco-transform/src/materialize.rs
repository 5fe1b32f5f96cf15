//! [`Materialization`]: where the rows of a table are kept.

use std::fmt;
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::common::config::TableParquetOptions;
use datafusion::dataframe::DataFrameWriteOptions;
use datafusion::datasource::MemTable;
use datafusion::error::Result as EngineResult;
use datafusion::physical_plan::collect_partitioned;
use datafusion::prelude::{DataFrame, ParquetReadOptions, SessionContext};
use reco_core::CheckReport;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::quality::{Expectation, audit};
use crate::warehouse::Warehouse;

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
    /// In a Delta table of the warehouse, as its next version, once the expectations are met. The order
    /// of the rows is kept.
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
    /// The published version, of a Delta table.
    pub(crate) version: Option<u64>,
    pub(crate) checks: CheckReport,
}

/// What a table is, and what it has to pass before it is published.
#[derive(Clone, Copy)]
pub(crate) struct Publication<'a> {
    pub(crate) table: &'a str,
    pub(crate) expectations: &'a [Expectation],
    /// Holds the other tables that the expectations name.
    pub(crate) session: &'a SessionContext,
    pub(crate) warehouse: &'a Warehouse,
}

impl Publication<'_> {
    /// Computes a table, audits it, and publishes it if it passes.
    pub(crate) async fn publish(
        &self,
        frame: DataFrame,
        materialization: Materialization,
    ) -> Result<Built> {
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
        Ok(Built {
            n_rows: n_rows.or(checks.n_rows),
            provider,
            version: None,
            checks: checks.report,
        })
    }

    /// Write, audit, publish: rows are computed once, into a file that only this run knows, and
    /// committed from there, in their order, when they have passed.
    ///
    /// What can fail comes before the commit.
    async fn publish_delta(&self, frame: DataFrame) -> Result<Built> {
        let disk = &self.session.runtime_env().disk_manager;
        let spool = self.step(disk.create_tmp_file("auditing a table before publication"))?;
        let path = spool
            .path()
            .expect("the warehouse spills to local files")
            .to_string_lossy()
            .into_owned();
        let to_one_file = DataFrameWriteOptions::new().with_single_file_output(true);
        self.step(
            frame
                .write_parquet(&path, to_one_file, Some(spool_format()))
                .await,
        )?;
        let of_any_name = ParquetReadOptions {
            file_extension: "",
            ..ParquetReadOptions::default()
        };
        let staged = self.step(self.session.read_parquet(path, of_any_name).await)?;
        let checks = self.audit(&staged.clone().into_view()).await?;
        let n_rows = match checks.n_rows {
            Some(n_rows) => n_rows,
            None => self.step(staged.clone().count().await)? as u64,
        };
        let plan = staged.into_unoptimized_plan();
        let table = self
            .warehouse
            .overwrite(self.table, plan, &self.session.state())
            .await?;
        let provider = self.warehouse.provider(self.table, &table).await;
        let provider = provider.map_err(|error| match table.version() {
            Some(version) => Error::PublishedUnread {
                table: self.table.to_owned(),
                version,
                source: Box::new(error),
            },
            None => error,
        })?;
        Ok(Built {
            provider,
            n_rows: Some(n_rows),
            version: table.version(),
            checks: checks.report,
        })
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

/// What is read once or twice and thrown away is not worth compressing, nor holding a million rows in
/// memory for.
fn spool_format() -> TableParquetOptions {
    let mut options = TableParquetOptions::default();
    options.global.max_row_group_size = 8192;
    options.global.compression = Some("uncompressed".to_owned());
    options.global.dictionary_enabled = Some(false);
    options.global.statistics_enabled = Some("none".to_owned());
    options
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
