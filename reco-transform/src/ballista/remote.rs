//! [`RemoteRows`]: the rows of a plan that a cluster computes.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ballista_core::JobId;
use ballista_core::execution_plans::DistributedQueryExec;
use ballista_core::extension::SessionConfigExt;
use ballista_core::serde::protobuf::scheduler_grpc_client::SchedulerGrpcClient;
use ballista_core::serde::protobuf::{CancelJobParams, CleanJobDataParams};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::datasource::provider_as_source;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, SessionState, TaskContext};
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use datafusion::prelude::DataFrame;
use datafusion_proto::protobuf::LogicalPlanNode;
use futures::{StreamExt, TryStreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use super::Cluster;
use super::files::Codec;
use super::staging::Staging;
use crate::error::Error;

/// How long to wait for an answer that is only a courtesy.
const COURTESY: Duration = Duration::from_secs(5);

impl Cluster {
    /// Waits for a scheduler that has an executor.
    pub(crate) async fn is_there(&self) -> crate::error::Result<()> {
        let mut last = String::from("no answer");
        let tries = async {
            loop {
                match self.readiness().await {
                    Ok(answer) if answer.starts_with("HTTP/1.1 200") => return,
                    Ok(answer) => {
                        // The last line says how many executors there are.
                        last = answer.lines().last().unwrap_or_default().to_owned();
                    }
                    Err(error) => last = error.to_string(),
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let waited = timeout(self.config.connect_timeout, tries).await;
        waited.map_err(|_| Error::NoCluster {
            address: self.address.to_string(),
            source: last.into(),
        })
    }

    /// What the scheduler says of itself. It is asked in HTTP, which it speaks on the same port.
    async fn readiness(&self) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(&*self.address).await?;
        let request = format!(
            "GET /readyz HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n",
            self.address
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(4096).read_to_end(&mut answer).await?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    /// A step's frame as one whose rows the cluster computes; as it is if it reads no table.
    pub(crate) async fn place(
        &self,
        step: &str,
        frame: DataFrame,
        staging: &Staging,
    ) -> Result<DataFrame> {
        let (session, plan) = frame.into_parts();
        let Some(portable) = self.portable(plan.clone(), &session, staging).await? else {
            return Ok(DataFrame::new(session, plan));
        };
        let planning = self.planning(session.clone());
        let portable = planning.optimize(&portable)?;
        let rows = RemoteRows {
            step: step.into(),
            cluster: self.clone(),
            schema: Arc::clone(portable.schema().inner()),
            plan: portable,
            session: planning,
        };
        let table = StreamingTable::try_new(Arc::clone(&rows.schema), vec![Arc::new(rows)])?;
        let plan = LogicalPlanBuilder::scan(step, provider_as_source(Arc::new(table)), None)?;
        Ok(DataFrame::new(session, plan.build()?))
    }
}

/// The rows of a plan that a cluster computes. Who stops reading them stops the cluster.
struct RemoteRows {
    step: Arc<str>,
    cluster: Cluster,
    schema: SchemaRef,
    plan: LogicalPlan,
    session: SessionState,
}

impl RemoteRows {
    fn start(&self) -> Result<(Job, SendableRecordBatchStream)> {
        let config = self
            .session
            .config()
            .clone()
            .with_ballista_job_name(&self.step);
        let query = DistributedQueryExec::<LogicalPlanNode>::with_extension(
            self.cluster.url(),
            config.ballista_config(),
            self.plan.clone(),
            Arc::new(Codec::default()),
            self.session.session_id().to_owned(),
        );
        let context = TaskContext::from(&self.session).with_session_config(config);
        let rows = query.execute(0, Arc::new(context))?;
        let job = Job {
            url: self.cluster.url(),
            query,
            is_done: false,
        };
        Ok((job, rows))
    }
}

impl fmt::Debug for RemoteRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteRows")
            .field("step", &self.step)
            .field("cluster", &self.cluster)
            .finish_non_exhaustive()
    }
}

impl PartitionStream for RemoteRows {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let schema = Arc::clone(&self.schema);
        let started = match self.start() {
            Ok(started) => started,
            Err(error) => {
                let error = futures::stream::iter([Err(error)]);
                return Box::pin(RecordBatchStreamAdapter::new(schema, error));
            }
        };
        let limit = self.cluster.config.step_timeout;
        let deadline = Instant::now() + limit;
        let (step, address) = (Arc::clone(&self.step), Arc::clone(&self.cluster.address));
        let failed = move |source| {
            let error = Error::OnCluster {
                step: step.to_string(),
                address: address.to_string(),
                source,
            };
            error.into_datafusion()
        };
        let rows = futures::stream::try_unfold(started, move |(mut job, mut rows)| {
            let failed = failed.clone();
            async move {
                let next = timeout_at(deadline, rows.next()).await;
                match next {
                    Err(_) => Err(failed(format!("it takes longer than {limit:?}").into())),
                    Ok(Some(Err(error))) => Err(failed(error.into())),
                    Ok(Some(Ok(batch))) => Ok(Some((batch, (job, rows)))),
                    Ok(None) => {
                        job.is_done = true;
                        drop(job);
                        Ok(None)
                    }
                }
            }
        });
        let of_schema = Arc::clone(&schema);
        let rows = rows.and_then(move |batch| {
            let batch = with_schema(&batch, &of_schema);
            async move { batch }
        });
        Box::pin(RecordBatchStreamAdapter::new(schema, rows))
    }
}

/// What comes back says of its columns what the executors know: that some are never NULL, say.
fn with_schema(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let columns = batch.columns().to_vec();
    let options =
        datafusion::arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
        .map_err(|error| DataFusionError::ArrowError(Box::new(error), None))
}

/// What the cluster does for a step. When this goes, the cluster is told to forget it.
struct Job {
    url: String,
    query: DistributedQueryExec<LogicalPlanNode>,
    is_done: bool,
}

impl Drop for Job {
    fn drop(&mut self) {
        let (Some(job), Ok(runtime)) = (self.query.job_id(), tokio::runtime::Handle::try_current())
        else {
            return;
        };
        let (url, is_done) = (self.url.clone(), self.is_done);
        runtime.spawn(async move {
            // The scheduler forgets it by itself after some hours.
            if timeout(COURTESY, forget(url, &job, is_done)).await.is_err() {
                tracing::debug!(%job, "the scheduler does not answer");
            }
        });
    }
}

async fn forget(url: String, job: &JobId, is_done: bool) {
    let Ok(mut scheduler) = SchedulerGrpcClient::connect(url).await else {
        return;
    };
    let job_id = job.to_string();
    let told = if is_done {
        let all = CleanJobDataParams {
            job_id,
            remove_stage_ids: Vec::new(),
        };
        scheduler.clean_job_data(all).await.map(drop)
    } else {
        scheduler
            .cancel_job(CancelJobParams { job_id })
            .await
            .map(drop)
    };
    if let Err(error) = told {
        tracing::debug!(%job, %error, "the scheduler does not forget a job");
    }
}
