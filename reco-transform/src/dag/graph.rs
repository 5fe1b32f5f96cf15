//! From declarations to nodes in order: names, duplicates and cycles.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use reco_core::nearest;

use super::{DagBuilder, Evolution, Node, Origin};
use crate::error::{Error, Result};
use crate::materialize::Materialization;
use crate::step::Step;
use crate::warehouse::check_name;

/// The nodes in an order in which every table comes after those that it reads, otherwise as declared.
pub(super) fn arrange(builder: DagBuilder) -> Result<Arc<[Arc<Node>]>> {
    let mut nodes: Vec<Node> = Vec::with_capacity(builder.tables.len());
    for declared in builder.tables {
        check_name(&declared.table)?;
        if nodes.iter().any(|node| node.table == declared.table) {
            return Err(Error::DuplicateTable {
                table: declared.table,
            });
        }
        let origin = declared.origin?;
        let inputs = match &origin {
            Origin::Source(_) | Origin::Published => Vec::new(),
            Origin::Sql(step) => each_once(step.inputs()),
            Origin::Step(step) => each_once(step.inputs()),
        };
        nodes.push(Node {
            table: declared.table,
            origin,
            inputs,
            audit_inputs: Vec::new(),
            materialization: builder.default_materialization,
            incremental: None,
            evolution: Evolution::default(),
            expectations: Vec::new(),
            tags: BTreeSet::new(),
            path: None,
        });
    }
    for (table, expectation) in builder.expectations {
        let node = find(&mut nodes, &table, || {
            format!("expectation `{expectation}`")
        })?;
        if let Some(reason) = expectation.defect() {
            return Err(Error::InvalidExpectation {
                table,
                expectation: expectation.name().to_owned(),
                reason: reason.to_owned(),
            });
        }
        node.audit_inputs.extend(expectation.inputs(&table)?);
        node.expectations.push(expectation);
    }
    for node in &mut nodes {
        node.audit_inputs = each_once(std::mem::take(&mut node.audit_inputs));
    }
    for (table, materialization) in builder.materializations {
        let node = find(&mut nodes, &table, || "materialization".to_owned())?;
        if matches!(node.origin, Origin::Source(_)) {
            return Err(Error::MaterializedSource { table });
        }
        node.materialization = materialization;
    }
    for (table, incremental) in builder.incrementals {
        let node = find(&mut nodes, &table, || "incremental table".to_owned())?;
        if matches!(node.origin, Origin::Source(_)) {
            return Err(Error::MaterializedSource { table });
        }
        if let Some(reason) = incremental.defect(&node.inputs) {
            return Err(Error::InvalidIncremental { table, reason });
        }
        node.materialization = Materialization::Delta;
        node.incremental = Some(incremental);
    }
    for (table, evolution) in builder.evolutions {
        find(&mut nodes, &table, || format!("evolution `{evolution}`"))?.evolution = evolution;
    }
    for (table, tag) in builder.tags {
        find(&mut nodes, &table, || format!("tag `{tag}`"))?
            .tags
            .insert(tag);
    }
    for (table, path) in builder.paths {
        let node = find(&mut nodes, &table, || format!("path `{path}`"))?;
        node.path = Some(path);
    }
    sort(nodes)
}

/// The tables in the order in which they are first named.
fn each_once(tables: Vec<String>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let first = |table: &String| seen.insert(table.clone());
    tables.into_iter().filter(first).collect()
}

fn find<'a>(nodes: &'a mut [Node], table: &str, what: impl Fn() -> String) -> Result<&'a mut Node> {
    match nodes.iter().position(|node| node.table == table) {
        Some(position) => Ok(&mut nodes[position]),
        None => Err(Error::UnknownTable {
            what: what(),
            nearest: nearest(table, nodes.iter().map(|node| &node.table)),
            table: table.to_owned(),
        }),
    }
}

/// Depth first, so that the path to a table that is being visited already is the cycle.
fn sort(nodes: Vec<Node>) -> Result<Arc<[Arc<Node>]>> {
    let position: BTreeMap<&str, usize> = (0..).zip(&nodes).map(|(i, n)| (&*n.table, i)).collect();
    let mut dependencies: Vec<Vec<usize>> = Vec::with_capacity(nodes.len());
    for node in &nodes {
        let known = node
            .dependencies()
            .map(|input| match position.get(input.as_str()) {
                Some(&position) => Ok(position),
                None => Err(Error::UnknownInput {
                    step: node.table.clone(),
                    nearest: nearest(input, position.keys()),
                    table: input.clone(),
                }),
            });
        dependencies.push(known.collect::<Result<_>>()?);
    }

    let mut order = Vec::with_capacity(nodes.len());
    let mut visited = vec![false; nodes.len()];
    for start in 0..nodes.len() {
        // The path from the start, and how many dependencies of each table on it were followed.
        let mut path: Vec<(usize, usize)> = Vec::new();
        if !visited[start] {
            path.push((start, 0));
        }
        while let Some((node, followed)) = path.last_mut() {
            let node = *node;
            let Some(&next) = dependencies[node].get(*followed) else {
                visited[node] = true;
                order.push(node);
                path.pop();
                continue;
            };
            *followed += 1;
            if let Some(since) = path.iter().position(|&(on_path, _)| on_path == next) {
                let on_cycle = path[since..].iter().map(|&(node, _)| node);
                let mut cycle: Vec<String> =
                    on_cycle.map(|node| nodes[node].table.clone()).collect();
                cycle.push(nodes[next].table.clone());
                // Followed from reader to read; told from read to reader.
                cycle.reverse();
                return Err(Error::Cycle { path: cycle });
            }
            if !visited[next] {
                path.push((next, 0));
            }
        }
    }
    let mut nodes: Vec<Option<Arc<Node>>> = nodes.into_iter().map(|n| Some(Arc::new(n))).collect();
    Ok(order
        .into_iter()
        .filter_map(|position| nodes[position].take())
        .collect())
}
