//! [`DagPlan`]: what a run would do, and why.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use reco_core::{TimeWindow, Timestamp};

use super::fingerprint::{Fingerprint, Untold, fingerprints};
use super::report::DagEvent;
use super::run::{self, DagRun};
use super::select::Selection;
use super::{Dag, Node, Origin, check, evolution};
use crate::error::{Error, Result};
use crate::incremental::Interval;
use crate::materialize::Materialization;
use crate::warehouse::{Contents, PublishedTable, Warehouse};

/// What a run of a DAG would do, and why; made by [`Dag::plan`].
///
/// Written as text, it is a table: what is done, to which table, and why.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use reco_transform::{Dag, Materialization, Warehouse};
///
/// fn sales(discount: &str) -> reco_transform::Result<Dag> {
///     Dag::builder()
///         .sql("prices", "select * from (values ('hat', 10), ('scarf', 20)) as t (item, price)")
///         .sql("sales", format!("select item, price * {discount} as price from prices"))
///         .materialize_others(Materialization::Delta)
///         .build()
/// }
///
/// let warehouse = Warehouse::in_memory();
/// sales("0.9")?.run(&warehouse).await?;
/// let plan = sales("0.8 /* spring */")?.plan(&warehouse).await?;
/// assert_eq!(
///     plan.to_string(),
///     "reuse  prices  nothing changed\n\
///      build  sales   its step changed\n"
/// );
/// plan.apply().await?;
/// assert!(sales("0.8")?.plan(&warehouse).await?.is_done()); // A comment changes nothing.
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct DagPlan {
    pub(super) dag: Dag,
    pub(super) warehouse: Warehouse,
    request: Request,
    tables: Vec<PlannedTable>,
    pub(super) work: Vec<Work>,
}

/// What is asked of a run beyond what changed.
#[derive(Debug, Clone, Default)]
pub(super) struct Request {
    /// Which intervals have ended.
    pub(super) until: Option<Timestamp>,
    /// The tables that are built whether they changed or not.
    pub(super) rebuild: BTreeSet<String>,
    /// The intervals that are computed whether they are due or not, by table.
    pub(super) backfills: BTreeMap<String, TimeWindow>,
}

/// What a run would do about a table, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedTable {
    /// The table.
    pub table: String,
    /// What would be done.
    pub action: Action,
    /// Why.
    pub why: Why,
}

/// What a run does about a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// It is made, audited, and published as a new version.
    Build,
    /// Its published rows are audited.
    Audit,
    /// Its published rows are used as they are.
    Reuse,
    /// It is made and audited for this run: a source, a view or a table in memory.
    Compute,
    /// It is computed only if somebody asks the run for it.
    Defer,
}

/// Why a run does something about a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// The environment does not have it.
    New,
    /// Its step changed: the query, the plan, the version of the step or of a function that it calls.
    StepChanged,
    /// These inputs changed: what they are, or what is in them.
    InputsChanged(Vec<String>),
    /// This source, which it is made of, cannot tell whether it changed.
    Unversioned(String),
    /// The step that makes this table calls a function that depends on the time of day or on chance.
    Changing {
        /// The table.
        table: String,
        /// The function.
        function: String,
    },
    /// It was asked for.
    Requested,
    /// So many intervals of it are due.
    Intervals(usize),
    /// What is expected of it changed, or was not met or not looked at before.
    NotAudited,
    /// Nothing changed.
    Unchanged,
    /// It was built of the same data before: by a run that did not end, or in another environment.
    BuiltBefore,
    /// These tables read it.
    ReadBy(Vec<String>),
    /// No table reads it.
    Output,
    /// Nothing that is made reads it.
    Unneeded,
}

/// What a run needs to know to do it.
#[derive(Debug, Clone)]
pub(super) struct Work {
    pub(super) action: Action,
    pub(super) fingerprint: Fingerprint,
    /// What is there already, where it is reused or audited.
    pub(super) found: Option<PublishedTable>,
}

impl DagPlan {
    /// What would be done about each table, in the order of [`Dag::tables`].
    #[must_use]
    pub fn tables(&self) -> &[PlannedTable] {
        &self.tables
    }

    /// What would be done about a table, if it is in the DAG.
    #[must_use]
    pub fn table(&self, table: &str) -> Option<&PlannedTable> {
        self.tables.iter().find(|planned| planned.table == table)
    }

    /// Whether nothing would be built or audited and published.
    #[must_use]
    pub fn is_done(&self) -> bool {
        let is_done =
            |planned: &PlannedTable| !matches!(planned.action, Action::Build | Action::Audit);
        self.tables.iter().all(is_done)
    }

    /// The intervals of a table that would be computed, in the order of time; none if it is not made by
    /// intervals.
    #[must_use]
    pub fn intervals(&self, table: &str) -> Vec<Interval> {
        let mut nodes = self.dag.nodes.iter().zip(&self.work);
        let work = nodes.find(|(node, _)| node.table == table);
        let plan = work.and_then(|(_, work)| work.fingerprint.increment.as_ref());
        plan.map(|plan| plan.intervals().collect())
            .unwrap_or_default()
    }

    /// The same plan, which builds the selected tables whether they changed or not. Of a table that is made
    /// by intervals, all are computed.
    ///
    /// What reads them is not built again for that: the same data makes the same rows.
    ///
    /// # Errors
    ///
    /// As [`Dag::select`] and [`Dag::plan`].
    pub async fn rebuild<S>(self, selection: S) -> Result<Self>
    where
        S: TryInto<Selection>,
        Error: From<S::Error>,
    {
        let Self {
            dag,
            warehouse,
            mut request,
            ..
        } = self;
        let selected = dag.select(selection)?;
        request
            .rebuild
            .extend(selected.into_iter().map(ToOwned::to_owned));
        Box::pin(plan(&dag, &warehouse, request)).await
    }

    /// The same plan, which computes all intervals of a table of which some time is in the window: for rows
    /// that came later than its [lookback](crate::Incremental::lookback) reaches.
    ///
    /// # Errors
    ///
    /// [`Error::NotIncremental`] if the table is not made by intervals, [`Error::AppendedAlready`], and as
    /// [`Dag::plan`].
    pub async fn backfill(self, table: &str, window: TimeWindow) -> Result<Self> {
        let Self {
            dag,
            warehouse,
            mut request,
            ..
        } = self;
        let node = dag.nodes.iter().find(|node| node.table == table);
        if node.is_none_or(|node| node.incremental.is_none()) {
            return Err(Error::NotIncremental {
                table: table.to_owned(),
            });
        }
        request.backfills.insert(table.to_owned(), window);
        Box::pin(plan(&dag, &warehouse, request)).await
    }

    /// Does it.
    ///
    /// # Errors
    ///
    /// As [`Dag::run`].
    pub async fn apply(&self) -> Result<DagRun> {
        self.apply_observed(|_| ()).await
    }

    /// As [`apply`](Self::apply), and says when a table is started and done.
    ///
    /// # Errors
    ///
    /// As [`Dag::run`].
    pub async fn apply_observed(
        &self,
        observer: impl FnMut(DagEvent<'_>) + Send,
    ) -> Result<DagRun> {
        Box::pin(run::run(self, observer)).await
    }
}

impl fmt::Display for DagPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self
            .tables
            .iter()
            .map(|planned| planned.table.chars().count());
        let width = width.max().unwrap_or(0);
        let actions = self
            .tables
            .iter()
            .map(|planned| planned.action.name().len());
        let action_width = actions.max().unwrap_or(0);
        for PlannedTable { table, action, why } in &self.tables {
            let action = action.name();
            writeln!(f, "{action:action_width$}  {table:width$}  {why}")?;
        }
        Ok(())
    }
}

impl Action {
    const fn name(self) -> &'static str {
        match self {
            Self::Build => "build",
            Self::Audit => "audit",
            Self::Reuse => "reuse",
            Self::Compute => "compute",
            Self::Defer => "defer",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::New => f.write_str("it is new"),
            Self::StepChanged => f.write_str("its step changed"),
            Self::InputsChanged(inputs) => write!(f, "changed: {}", inputs.join(", ")),
            Self::Unversioned(source) => write!(f, "source {source} may have changed"),
            Self::Changing { table, function } => write!(f, "{table} calls {function}()"),
            Self::Requested => f.write_str("it was asked for"),
            Self::Intervals(1) => f.write_str("1 interval is due"),
            Self::Intervals(n) => write!(f, "{n} intervals are due"),
            Self::NotAudited => f.write_str("its expectations are to be checked"),
            Self::Unchanged => f.write_str("nothing changed"),
            Self::BuiltBefore => f.write_str("it was built of the same data before"),
            Self::ReadBy(tables) => write!(f, "read by {}", tables.join(", ")),
            Self::Output => f.write_str("no table reads it"),
            Self::Unneeded => f.write_str("nothing that is made reads it"),
        }
    }
}

/// What is done about a table that is kept in the warehouse.
#[derive(Debug)]
struct Decision {
    action: Action,
    why: Why,
    found: Option<PublishedTable>,
}

impl Decision {
    const fn build(why: Why) -> Self {
        Self {
            action: Action::Build,
            why,
            found: None,
        }
    }
}

pub(super) async fn plan(dag: &Dag, warehouse: &Warehouse, request: Request) -> Result<DagPlan> {
    if !dag.is_checked {
        check::check(dag).await?;
    }
    #[cfg(feature = "ballista")]
    if warehouse.is_on_cluster() {
        let steps = check::plans(dag).await?;
        warehouse
            .check_placement(dag.sources().collect(), steps)
            .await?;
    }
    let published = warehouse.state().await?;
    let published = published.map(|state| state.contents).unwrap_or_default();
    evolution::check(dag, &published, warehouse).await?;
    let fingerprints = fingerprints(dag, &published, warehouse, &request).await?;
    let mut decisions = BTreeMap::new();
    for node in dag.nodes.iter().filter(|node| is_kept(node)) {
        let fingerprint = &fingerprints[&node.table];
        let decision = if request.rebuild.contains(&node.table) {
            Decision::build(Why::Requested)
        } else {
            decide(node, fingerprint, &published, warehouse).await?
        };
        decisions.insert(node.table.clone(), decision);
    }
    let (tables, work) = arrange(dag, &published, fingerprints, decisions);
    Ok(DagPlan {
        dag: dag.clone(),
        warehouse: warehouse.clone(),
        request,
        tables,
        work,
    })
}

/// Whether the rows of a table are in the warehouse.
fn is_kept(node: &Node) -> bool {
    match node.origin {
        Origin::Source(_) => false,
        Origin::Published => true,
        Origin::Sql(_) | Origin::Step(_) => node.materialization == Materialization::Delta,
    }
}

async fn decide(
    node: &Node,
    fingerprint: &Fingerprint,
    published: &Contents,
    warehouse: &Warehouse,
) -> Result<Decision> {
    let shown = published.tables.get(&node.table);
    if matches!(node.origin, Origin::Published) {
        return Ok(Decision {
            action: Action::Reuse,
            why: Why::Unchanged,
            found: shown.cloned(),
        });
    }
    if let Some(plan) = &fingerprint.increment {
        let n_due = plan.intervals().count();
        if let (0, Some(base)) = (n_due, &plan.base) {
            let is_shown = shown.is_some_and(|shown| shown.version == base.version);
            let why = if is_shown {
                Why::Unchanged
            } else {
                Why::BuiltBefore
            };
            return Ok(use_as_it_is(node, fingerprint, base.clone(), why));
        }
        let is_same =
            shown.is_some_and(|shown| shown.made.definition == fingerprint.made.definition);
        return Ok(Decision::build(match shown {
            Some(_) if is_same => Why::Intervals(n_due),
            _ => why_build(shown, fingerprint),
        }));
    }
    let Some(data) = &fingerprint.made.data else {
        return Ok(Decision::build(why_build(shown, fingerprint)));
    };
    let (found, why) = match shown {
        Some(shown) if shown.made.data.as_ref() == Some(data) => (shown.clone(), Why::Unchanged),
        _ => match warehouse.noted(&node.table, data).await? {
            Some(noted) => (noted, Why::BuiltBefore),
            None => return Ok(Decision::build(why_build(shown, fingerprint))),
        },
    };
    Ok(use_as_it_is(node, fingerprint, found, why))
}

/// Rows that are there are used, and audited if they have not passed what is expected of them now.
fn use_as_it_is(
    node: &Node,
    fingerprint: &Fingerprint,
    found: PublishedTable,
    why: Why,
) -> Decision {
    let passed = found.made.checks.is_some() && found.made.checks == fingerprint.checks;
    let (action, why) = if passed || node.expectations.is_empty() {
        (Action::Reuse, why)
    } else {
        (Action::Audit, Why::NotAudited)
    };
    Decision {
        action,
        why,
        found: Some(found),
    }
}

fn why_build(shown: Option<&PublishedTable>, fingerprint: &Fingerprint) -> Why {
    let Some(shown) = shown else {
        return Why::New;
    };
    let made = &fingerprint.made;
    if shown.made.step != made.step {
        return Why::StepChanged;
    }
    let changed = made
        .inputs
        .iter()
        .filter(|(name, data)| data.is_some() && shown.made.inputs.get(*name) != Some(data));
    let changed: Vec<String> = changed.map(|(name, _)| name.clone()).collect();
    if !changed.is_empty() {
        return Why::InputsChanged(changed);
    }
    match &fingerprint.untold {
        Some(Untold::Source(source)) => Why::Unversioned(source.clone()),
        Some(Untold::Function { table, function }) => Why::Changing {
            table: table.clone(),
            function: function.clone(),
        },
        // The definition holds what is not in the step: an input that is no longer there.
        None => Why::StepChanged,
    }
}

/// Adds what is to be done about sources, views and tables in memory, for the sake of the others.
fn arrange(
    dag: &Dag,
    published: &Contents,
    mut fingerprints: BTreeMap<String, Fingerprint>,
    mut decisions: BTreeMap<String, Decision>,
) -> (Vec<PlannedTable>, Vec<Work>) {
    let read: BTreeSet<&String> = dag
        .nodes
        .iter()
        .flat_map(|node| node.dependencies())
        .collect();
    let mut readers: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    // From readers to what they read.
    for node in dag.nodes.iter().rev() {
        if !decisions.contains_key(&node.table) {
            let readers = readers.remove(node.table.as_str()).unwrap_or_default();
            let is_output = !read.contains(&node.table);
            let passed = has_passed(node, &fingerprints[&node.table], published);
            let (action, why) = match () {
                () if !readers.is_empty() => (Action::Compute, Why::ReadBy(readers)),
                () if is_output => (Action::Compute, Why::Output),
                () if !passed => (Action::Compute, Why::NotAudited),
                () => (Action::Defer, Why::Unneeded),
            };
            let decision = Decision {
                action,
                why,
                found: None,
            };
            decisions.insert(node.table.clone(), decision);
        }
        let reads: Vec<&String> = match decisions[&node.table].action {
            Action::Build | Action::Compute => node.dependencies().collect(),
            Action::Audit => node.audit_inputs.iter().collect(),
            Action::Reuse | Action::Defer => Vec::new(),
        };
        for input in reads {
            let readers = readers.entry(input).or_default();
            readers.insert(0, node.table.clone());
        }
    }
    let mut tables = Vec::new();
    let mut work = Vec::new();
    for node in &*dag.nodes {
        let (Some(fingerprint), Some(decision)) = (
            fingerprints.remove(&node.table),
            decisions.remove(&node.table),
        ) else {
            unreachable!("each table has a fingerprint and a decision");
        };
        tables.push(PlannedTable {
            table: node.table.clone(),
            action: decision.action,
            why: decision.why,
        });
        work.push(Work {
            action: decision.action,
            fingerprint,
            found: decision.found,
        });
    }
    (tables, work)
}

/// Whether a table that is not kept met what is expected of it when it last had these rows.
fn has_passed(node: &Node, fingerprint: &Fingerprint, published: &Contents) -> bool {
    node.expectations.is_empty()
        || published.audited.get(&node.table).is_some_and(|audited| {
            audited.data.is_some()
                && audited.data == fingerprint.made.data
                && audited.checks.is_some()
                && audited.checks == fingerprint.checks
        })
}
