//! A run of a DAG: steps in parallel, each after its inputs.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion::common::TableReference;
use datafusion::logical_expr::ScalarUDF;
use datafusion::prelude::{DataFrame, SessionContext};
use reco_core::{CheckReport, SessionDataset, SessionEncoding, did_you_mean, nearest};
use tokio::task::{Id, JoinSet};
use tracing::Instrument;

use super::check::{Tables, message_of, register};
use super::increment::Increment;
use super::plan::{Action, DagPlan, Work};
use super::report::{DagEvent, TableReport, TableStatus};
use super::{Dag, Node, Origin};
use crate::dataset::session_dataset;
use crate::error::{Error, Result};
use crate::materialize::{Built, Kept, Materialization, Publication};
use crate::step::{Step, StepContext, scan};
use crate::warehouse::{Made, PublishedTable, Warehouse};

/// The tables that a run has made, and a report on each of the DAG.
///
/// Tables in memory are kept for as long as this is.
pub struct DagRun {
    reports: Vec<TableReport>,
    tables: Tables,
    session: SessionContext,
}

impl DagRun {
    /// A report on each table, in the order of [`Dag::tables`].
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

/// What a run has made, to be published at once when all is done.
#[derive(Debug, Default)]
struct ToPublish {
    tables: Vec<(String, PublishedTable)>,
    audited: Vec<(String, Made)>,
}

impl ToPublish {
    const fn is_empty(&self) -> bool {
        self.tables.is_empty() && self.audited.is_empty()
    }
}

/// Starts what is ready, waits for what is running, and keeps the books.
struct Scheduler<'a, O> {
    dag: &'a Dag,
    work: &'a [Work],
    warehouse: &'a Warehouse,
    observer: O,
    to_publish: ToPublish,
    reports: Vec<Option<TableReport>>,
    tables: Tables,
    ready: VecDeque<usize>,
    running: JoinSet<(Result<Built>, Duration)>,
    node_of_task: HashMap<Id, usize>,
}

impl<'a, O: FnMut(DagEvent<'_>) + Send> Scheduler<'a, O> {
    fn new(plan: &'a DagPlan, observer: O) -> Self {
        let dag = &plan.dag;
        Self {
            dag,
            work: &plan.work,
            warehouse: &plan.warehouse,
            observer,
            to_publish: ToPublish::default(),
            reports: vec![None; dag.nodes.len()],
            tables: Tables::new(),
            ready: VecDeque::new(),
            running: JoinSet::new(),
            node_of_task: HashMap::new(),
        }
    }

    async fn run(mut self) -> (DagRun, ToPublish) {
        self.make_ready();
        loop {
            while self.running.len() < self.warehouse.config().n_concurrent_steps.get() {
                let Some(node) = self.ready.pop_front() else {
                    break;
                };
                self.start(node);
            }
            let Some(done) = self.running.join_next_with_id().await else {
                break;
            };
            let (id, outcome) = match done {
                Ok((id, outcome)) => (id, Ok(outcome)),
                Err(error) => (error.id(), Err(error)),
            };
            let node = self
                .node_of_task
                .remove(&id)
                .expect("every task was entered when it started");
            let (result, duration) = match outcome {
                Ok(outcome) => outcome,
                Err(error) => (
                    Err(panicked(&self.dag.nodes[node].table, error)),
                    Duration::ZERO,
                ),
            };
            self.finish(node, result, duration);
            self.make_ready();
        }
        self.into_run()
    }

    /// Queues the tables whose inputs are all there, and gives up those that miss one for good.
    ///
    /// Nodes are in order, so one pass sees what a table that is skipped means for those after it.
    fn make_ready(&mut self) {
        let dag = self.dag;
        for (position, node) in dag.nodes.iter().enumerate() {
            let started = self
                .node_of_task
                .values()
                .any(|&running| running == position);
            if self.reports[position].is_some() || started || self.ready.contains(&position) {
                continue;
            }
            if let Some(because_of) = self.missing_input(node) {
                let status = TableStatus::Skipped { because_of };
                self.report(position, report(node, status, Duration::ZERO));
            } else if node
                .dependencies()
                .all(|input| self.tables.contains_key(input))
            {
                self.ready.push_back(position);
            }
        }
    }

    /// The failure for which a table cannot be made: of an input, or what that was skipped for.
    fn missing_input(&self, node: &Node) -> Option<String> {
        let reports = self.reports.iter().flatten();
        let mut inputs = reports.filter(|report| node.dependencies().any(|i| *i == report.table));
        inputs.find_map(|report| match &report.status {
            TableStatus::Built | TableStatus::Reused | TableStatus::Deferred => None,
            TableStatus::Failed { .. } => Some(report.table.clone()),
            TableStatus::Skipped { because_of } => Some(because_of.clone()),
        })
    }

    fn start(&mut self, position: usize) {
        let node = Arc::clone(&self.dag.nodes[position]);
        (self.observer)(DagEvent::Started {
            table: &node.table,
            n_done: self.reports.iter().flatten().count(),
            n_tables: self.reports.len(),
        });
        let span = tracing::info_span!("step", table = %node.table);
        let inputs = node.dependencies().filter_map(|name| {
            let table = self.tables.get(name)?;
            Some((name.clone(), Arc::clone(table)))
        });
        let inputs = inputs.collect();
        let functions = Arc::clone(&self.dag.functions);
        let work = self.work[position].clone();
        let warehouse = self.warehouse.clone();
        let make = async move {
            let since = Instant::now();
            let result = Box::pin(make(&node, &work, inputs, &functions, &warehouse)).await;
            (result, since.elapsed())
        };
        let task = self.running.spawn(make.instrument(span));
        self.node_of_task.insert(task.id(), position);
    }

    fn finish(&mut self, position: usize, result: Result<Built>, duration: Duration) {
        let node = &self.dag.nodes[position];
        let finished = match result {
            Ok(built) => {
                self.tables.insert(node.table.clone(), built.provider);
                let mut version = None;
                match built.kept {
                    Kept::No => {}
                    Kept::Audited(made) => self.to_publish.audited.push((node.table.clone(), made)),
                    Kept::Table(published) => {
                        version = Some(published.version);
                        let published = (node.table.clone(), published);
                        self.to_publish.tables.push(published);
                    }
                }
                let status = match self.work[position].action {
                    Action::Build | Action::Audit | Action::Compute => TableStatus::Built,
                    Action::Reuse => TableStatus::Reused,
                    Action::Defer => TableStatus::Deferred,
                };
                TableReport {
                    n_rows: built.n_rows,
                    version,
                    checks: built.checks,
                    ..report(node, status, duration)
                }
            }
            Err(error) => {
                tracing::error!(table = %node.table, %error, "step failed");
                let checks = match &error {
                    Error::ChecksFailed { report } => CheckReport::clone(report),
                    _ => CheckReport::new(node.table.as_str(), Vec::new()),
                };
                let status = TableStatus::Failed {
                    error: Arc::new(error),
                };
                TableReport {
                    checks,
                    ..report(node, status, duration)
                }
            }
        };
        self.report(position, finished);
    }

    fn report(&mut self, position: usize, report: TableReport) {
        tracing::info!(%report, "table done");
        (self.observer)(DagEvent::Finished(&report));
        self.reports[position] = Some(report);
    }

    fn into_run(self) -> (DagRun, ToPublish) {
        let session = self.warehouse.session();
        for (name, table) in &self.tables {
            let name = TableReference::bare(name.as_str());
            session
                .register_table(name, Arc::clone(table))
                .expect("a new session accepts any table");
        }
        for function in &*self.dag.functions {
            session.register_udf(function.clone());
        }
        let reports = self.reports.into_iter();
        let reports = reports.map(|r| r.expect("without a cycle, every table is made or skipped"));
        let run = DagRun {
            reports: reports.collect(),
            tables: self.tables,
            session,
        };
        (run, self.to_publish)
    }
}

fn report(node: &Node, status: TableStatus, duration: Duration) -> TableReport {
    TableReport {
        table: node.table.clone(),
        status,
        n_rows: None,
        duration,
        version: None,
        checks: CheckReport::new(node.table.as_str(), Vec::new()),
    }
}

/// Does what is planned for one table.
async fn make(
    node: &Node,
    work: &Work,
    tables: Tables,
    functions: &[ScalarUDF],
    warehouse: &Warehouse,
) -> Result<Built> {
    let failed = |error| Error::of_step(&node.table, error);
    // Two sessions, so that a step cannot read what is there for the audit only.
    let audit_session = warehouse.session();
    register(&audit_session, &tables, node.dependencies(), functions).map_err(failed)?;
    let is_deferred = work.action == Action::Defer;
    let publication = Publication {
        table: &node.table,
        expectations: if is_deferred { &[] } else { &node.expectations },
        fingerprint: &work.fingerprint,
        session: &audit_session,
        warehouse,
    };
    if let Some(found) = &work.found {
        return match work.action {
            Action::Audit => publication.audit_again(found).await,
            _ => publication.reuse(found).await,
        };
    }
    let step: &dyn Step = match &node.origin {
        Origin::Source(source) => {
            return publication.audited(Arc::clone(source.table()), None).await;
        }
        Origin::Sql(step) => step,
        Origin::Step(step) => step.as_ref(),
        Origin::Published => {
            return Err(Error::NotSelected {
                table: node.table.clone(),
            });
        }
    };
    if let (Some(incremental), Some(plan)) = (&node.incremental, &work.fingerprint.increment) {
        let increment = Increment {
            node,
            incremental,
            step,
            tables: &tables,
            functions,
            publication,
        };
        return Box::pin(increment.build(plan)).await;
    }
    let session = warehouse.session();
    let inputs = register(&session, &tables, &node.inputs, functions).map_err(failed)?;
    let ctx = StepContext::new(&node.table, &inputs, session, false);
    let frame = step.plan(&ctx).await.map_err(failed)?;
    let materialization = if is_deferred {
        Materialization::View
    } else {
        node.materialization
    };
    publication.publish(frame, materialization).await
}

fn panicked(step: &str, error: tokio::task::JoinError) -> Error {
    let message = match error.try_into_panic() {
        Ok(panic) => message_of(panic.as_ref()),
        Err(_) => "the runtime was shut down".to_owned(),
    };
    Error::Panicked {
        step: step.to_owned(),
        message,
    }
}
