//! The order of a run: steps in parallel, each after its inputs.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion::common::TableReference;
use datafusion::logical_expr::ScalarUDF;
use reco_core::CheckReport;
use tokio::task::{Id, JoinSet};
use tracing::Instrument;

use super::check::{Tables, message_of, register};
use super::increment::Increment;
use super::plan::{Action, DagPlan, Work};
use super::report::{DagEvent, TableReport, TableStatus};
use super::run::DagRun;
use super::{Dag, Node, Origin};
use crate::error::{Error, Result};
use crate::materialize::{Built, Kept, Materialization, Publication};
use crate::step::{Step, StepContext};
use crate::warehouse::{Made, PublishedTable, Warehouse};

/// What a row takes of the memory of a sort or an aggregation, about: a key, its hash, and a few values.
const BYTES_PER_ROW: u64 = 256;

/// What a run has made, to be published at once when all is done.
#[derive(Debug, Default)]
pub(super) struct ToPublish {
    pub(super) tables: Vec<(String, PublishedTable)>,
    pub(super) audited: Vec<(String, Made)>,
}

impl ToPublish {
    pub(super) const fn is_empty(&self) -> bool {
        self.tables.is_empty() && self.audited.is_empty()
    }
}

/// Starts what is ready, waits for what is running, and keeps the books.
///
/// Steps that run at a time share the memory of the warehouse. So one that reads more rows than fit is made by
/// itself: two that spill are slower at a time than in turn. And one that ran out of memory beside others is made
/// once more by itself: how many run at a time decides how long a run takes, not whether it ends well.
pub(super) struct Scheduler<'a, O> {
    dag: &'a Dag,
    work: &'a [Work],
    warehouse: &'a Warehouse,
    observer: O,
    to_publish: ToPublish,
    reports: Vec<Option<TableReport>>,
    tables: Tables,
    /// How many rows a table has, as far as that is known.
    n_rows: HashMap<String, u64>,
    ready: VecDeque<usize>,
    /// Those that nothing runs beside.
    alone: HashSet<usize>,
    /// Those running that had others beside them at some time.
    crowded: HashSet<usize>,
    running: JoinSet<(Result<Built>, Duration)>,
    node_of_task: HashMap<Id, usize>,
}

impl<'a, O: FnMut(DagEvent<'_>) + Send> Scheduler<'a, O> {
    pub(super) fn new(plan: &'a DagPlan, observer: O) -> Self {
        let dag = &plan.dag;
        Self {
            dag,
            work: &plan.work,
            warehouse: &plan.warehouse,
            observer,
            to_publish: ToPublish::default(),
            reports: vec![None; dag.nodes.len()],
            tables: Tables::new(),
            n_rows: HashMap::new(),
            ready: VecDeque::new(),
            alone: HashSet::new(),
            crowded: HashSet::new(),
            running: JoinSet::new(),
            node_of_task: HashMap::new(),
        }
    }

    pub(super) async fn run(mut self) -> (DagRun, ToPublish) {
        self.make_ready();
        loop {
            self.start_next();
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
            match result {
                Err(error) if error.is_out_of_memory() && self.crowded.contains(&node) => {
                    let table = &self.dag.nodes[node].table;
                    tracing::warn!(%table, %error, "out of memory beside other steps: will be made alone");
                    self.alone.insert(node);
                    self.ready.push_front(node);
                }
                result => self.finish(node, result, duration),
            }
            self.crowded.remove(&node);
            self.make_ready();
        }
        self.into_run()
    }

    fn start_next(&mut self) {
        while self.running.len() < self.warehouse.config().n_concurrent_steps.get() {
            let Some(&next) = self.ready.front() else {
                return;
            };
            let mut beside = self.node_of_task.values();
            let is_alone = |node: &usize| self.alone.contains(node);
            if !self.running.is_empty() && (is_alone(&next) || beside.any(is_alone)) {
                return;
            }
            self.ready.pop_front();
            self.start(next);
        }
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
                if self.reads_much(position) {
                    self.alone.insert(position);
                }
            }
        }
    }

    /// Whether a step has to read more rows than memory holds, about.
    fn reads_much(&self, position: usize) -> bool {
        let (node, work) = (&self.dag.nodes[position], &self.work[position]);
        // Of its inputs, an increment reads what is new.
        let reads_all = work.found.is_none() && work.fingerprint.increment.is_none();
        let most = self.warehouse.config().memory_limit as u64 / BYTES_PER_ROW;
        reads_all && self.n_rows_read(node) > most
    }

    fn n_rows_read(&self, node: &Node) -> u64 {
        let known = node
            .inputs
            .iter()
            .filter_map(|input| self.n_rows.get(input));
        known.sum()
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
        if self.running.len() > 1 {
            self.crowded.extend(self.node_of_task.values());
        }
    }

    fn finish(&mut self, position: usize, result: Result<Built>, duration: Duration) {
        let node = &self.dag.nodes[position];
        let finished = match result {
            Ok(built) => {
                let of_source = || Some(*built.provider.statistics()?.num_rows.get_value()? as u64);
                let n_rows = built.n_rows.or_else(of_source);
                // A view is computed by what reads it.
                let n_rows = n_rows.unwrap_or_else(|| self.n_rows_read(node));
                self.n_rows.insert(node.table.clone(), n_rows);
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
