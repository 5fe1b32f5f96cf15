//! What a table is and what is in it, as digests. What has equal ones need not be made again.

use std::collections::BTreeMap;

use datafusion::arrow::util::display::array_value_to_string;
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::Result as EngineResult;
use datafusion::logical_expr::{Expr, LogicalPlan, Volatility};

use super::intervals::{self, IntervalPlan};
use super::plan::Request;
use super::{Dag, Node, Origin, check};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::warehouse::{Contents, Made, Warehouse};

/// What a table is, before it is made.
#[derive(Debug, Clone)]
pub(crate) struct Fingerprint {
    /// What it will be made by, and of what; it has not passed any checks yet.
    pub(crate) made: Made,
    /// Why its rows cannot be told beforehand, if they cannot.
    pub(super) untold: Option<Untold>,
    /// What is expected of it; none if that depends on rows that cannot be told.
    pub(crate) checks: Option<String>,
    /// Which intervals of it are to be made, if it is made by intervals.
    pub(crate) increment: Option<IntervalPlan>,
}

/// Why the rows of a table cannot be told before it is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Untold {
    /// A source cannot tell what it holds.
    Source(String),
    /// The step calls a function that depends on the time of day or on chance.
    Function {
        /// The table that the step makes.
        table: String,
        /// The function.
        function: String,
    },
}

/// What a step is, whatever it reads.
struct StepDigest {
    digest: String,
    changing_function: Option<String>,
}

/// The fingerprint of each table of a DAG. What is not made anew is as it was published.
pub(super) async fn fingerprints(
    dag: &Dag,
    published: &Contents,
    warehouse: &Warehouse,
    request: &Request,
) -> Result<BTreeMap<String, Fingerprint>> {
    let steps = step_digests(dag).await?;
    let mut known: BTreeMap<String, Fingerprint> = BTreeMap::new();
    for node in &*dag.nodes {
        let fingerprint = match &node.origin {
            Origin::Published => as_published(published, &node.table),
            Origin::Source(source) => {
                let version = source.version().await;
                let version = version.map_err(|source| Error::SourceVersion {
                    table: node.table.clone(),
                    source,
                })?;
                let mut digest = Digest::new("source");
                digest.text(&format!("{:?}", source.table().schema()));
                of_source(&node.table, digest.finish(), version.as_deref())
            }
            Origin::Sql(_) | Origin::Step(_) => of_step(node, &steps[&node.table], &known),
        };
        let fingerprint = match (&node.origin, &node.incremental) {
            (Origin::Sql(_) | Origin::Step(_), Some(incremental)) => {
                let known = (&known, published);
                intervals::plan(node, incremental, fingerprint, known, warehouse, request).await?
            }
            _ => fingerprint,
        };
        let fingerprint = with_checks(node, fingerprint, &known);
        known.insert(node.table.clone(), fingerprint);
    }
    Ok(known)
}

fn as_published(published: &Contents, table: &str) -> Fingerprint {
    let published = published.tables.get(table);
    let made = match published {
        Some(published) => published.made.clone(),
        None => Made {
            step: String::new(),
            definition: String::new(),
            data: None,
            inputs: BTreeMap::new(),
            checks: None,
        },
    };
    let untold = made.data.is_none();
    let by_intervals = published.filter(|published| !published.ledger.is_empty());
    Fingerprint {
        made,
        untold: untold.then(|| Untold::Source(table.to_owned())),
        checks: None,
        increment: by_intervals.map(|published| IntervalPlan {
            base: Some(published.clone()),
            due: Vec::new(),
            ledger: published.ledger.clone(),
        }),
    }
}

fn of_source(table: &str, step: String, version: Option<&str>) -> Fingerprint {
    let data = version.map(|version| {
        let mut digest = Digest::new("source data");
        digest.text(&step);
        digest.text(version);
        digest.finish()
    });
    Fingerprint {
        untold: data.is_none().then(|| Untold::Source(table.to_owned())),
        made: Made {
            definition: step.clone(),
            step,
            data,
            inputs: BTreeMap::new(),
            checks: None,
        },
        checks: None,
        increment: None,
    }
}

fn of_step(node: &Node, step: &StepDigest, known: &BTreeMap<String, Fingerprint>) -> Fingerprint {
    let mut definition = Digest::new("definition");
    definition.text(&step.digest);
    let mut data = Digest::new("data");
    let mut inputs = BTreeMap::new();
    let mut untold = step
        .changing_function
        .as_ref()
        .map(|function| Untold::Function {
            table: node.table.clone(),
            function: function.clone(),
        });
    if let Some(incremental) = &node.incremental {
        definition.text(&incremental.definition());
    }
    for input in &node.inputs {
        let fingerprint = &known[input];
        definition.text(input);
        definition.text(&fingerprint.made.definition);
        data.text(fingerprint.made.data.as_deref().unwrap_or_default());
        inputs.insert(input.clone(), fingerprint.made.data.clone());
        untold = untold.or_else(|| fingerprint.untold.clone());
    }
    let definition = definition.finish();
    data.text(&definition);
    let data = data.finish();
    Fingerprint {
        made: Made {
            step: step.digest.clone(),
            definition,
            data: untold.is_none().then_some(data),
            inputs,
            checks: None,
        },
        untold,
        checks: None,
        increment: None,
    }
}

fn with_checks(
    node: &Node,
    fingerprint: Fingerprint,
    known: &BTreeMap<String, Fingerprint>,
) -> Fingerprint {
    let mut digest = Digest::new("checks");
    for expectation in &node.expectations {
        digest.text(&format!("{expectation:?}"));
    }
    let mut checks = Some(digest);
    for input in &node.audit_inputs {
        match (&mut checks, &known[input].made.data) {
            (Some(digest), Some(data)) => digest.text(data),
            _ => checks = None,
        }
    }
    Fingerprint {
        checks: checks.map(Digest::finish),
        ..fingerprint
    }
}

/// What each step of the whole DAG is, found by planning it on empty tables.
async fn step_digests(dag: &Dag) -> Result<BTreeMap<String, StepDigest>> {
    let mut digests = BTreeMap::new();
    let mut trouble = Ok(());
    let mut see = |node: &Node, plan: Option<&LogicalPlan>| {
        let Some(plan) = plan else { return };
        match digest_of(dag, node, plan) {
            Ok(digest) => {
                digests.insert(node.table.clone(), digest);
            }
            Err(error) => trouble = Err(Error::of_step(&node.table, error)),
        }
    };
    Box::pin(check::plan_each(dag, &mut |node, _, plan| see(node, plan))).await?;
    trouble.map(|()| digests)
}

fn digest_of(dag: &Dag, node: &Node, plan: &LogicalPlan) -> EngineResult<StepDigest> {
    let mut digest = Digest::new("step");
    let mut calls = Calls::default();
    let mut described = Vec::new();
    plan.apply_with_subqueries(|node| {
        described.push(node.inputs().len().to_string());
        described.push(node.display().to_string());
        for expr in node.expressions() {
            described.push(format!("{expr:?}"));
            calls.collect(&expr, &mut described)?;
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    match &node.origin {
        // The text of a query says all, and stays the same where a newer engine plans it in another way.
        Origin::Sql(step) => digest.text(step.canonical()),
        Origin::Step(step) => {
            digest.text(step.version());
            for text in &described {
                digest.text(text);
            }
        }
        Origin::Source(_) | Origin::Published => {}
    }
    for (function, version) in &*dag.function_versions {
        if calls.functions.contains_key(function) {
            digest.text(function);
            digest.text(version);
        }
    }
    let changing = calls.functions.into_iter();
    let mut changing = changing.filter(|(_, volatility)| *volatility != Volatility::Immutable);
    Ok(StepDigest {
        digest: digest.finish(),
        changing_function: changing.next().map(|(function, _)| function),
    })
}

/// The functions that a plan calls.
#[derive(Default)]
struct Calls {
    functions: BTreeMap<String, Volatility>,
}

impl Calls {
    /// Adds those of an expression, and spells out values that are shown in part only.
    fn collect(&mut self, expr: &Expr, described: &mut Vec<String>) -> EngineResult<()> {
        expr.apply(|expr| {
            match expr {
                Expr::ScalarFunction(call) => {
                    let volatility = call.func.signature().volatility;
                    self.functions.insert(call.name().to_owned(), volatility);
                }
                Expr::Literal(value, _) if is_shown_in_part(value) => {
                    described.push(array_value_to_string(&value.to_array()?, 0)?);
                }
                _ => {}
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(())
    }
}

fn is_shown_in_part(value: &ScalarValue) -> bool {
    let data_type = value.data_type();
    data_type.is_nested() || data_type.is_binary()
}
