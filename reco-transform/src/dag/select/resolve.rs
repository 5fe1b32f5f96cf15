//! From a selection to the tables of a DAG.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use reco_core::nearest;

use super::{Expr, Pattern, Selection};
use crate::dag::{Node, Origin};
use crate::error::{Error, Result};
use crate::materialize::Materialization;

/// Whether each node is selected.
pub(super) fn resolve(selection: &Selection, nodes: &[Arc<Node>]) -> Result<Vec<bool>> {
    Graph::of(nodes).resolve(&selection.0)
}

/// The selected nodes, with what they read as sources.
pub(super) fn part(nodes: &[Arc<Node>], selected: &[bool]) -> Arc<[Arc<Node>]> {
    let mut wanted: BTreeSet<&str> = BTreeSet::new();
    let mut part: Vec<Arc<Node>> = Vec::new();
    // From readers to what they read.
    for (node, &is_selected) in nodes.iter().zip(selected).rev() {
        if is_selected {
            wanted.extend(node.dependencies().map(String::as_str));
            part.push(Arc::clone(node));
        } else if wanted.contains(node.table.as_str()) {
            let mut read = Node {
                expectations: Vec::new(),
                audit_inputs: Vec::new(),
                ..Node::clone(node)
            };
            match read.origin {
                Origin::Source(_) | Origin::Published => {}
                _ if node.materialization == Materialization::View => {
                    wanted.extend(node.inputs.iter().map(String::as_str));
                }
                Origin::Sql(_) | Origin::Step(_) => {
                    read.origin = Origin::Published;
                    read.inputs = Vec::new();
                }
            }
            part.push(Arc::new(read));
        }
    }
    part.reverse();
    part.into()
}

struct Graph<'a> {
    nodes: &'a [Arc<Node>],
    /// The positions of what each node waits for, and of what waits for it.
    reads: Vec<Vec<usize>>,
    read_by: Vec<Vec<usize>>,
}

impl<'a> Graph<'a> {
    fn of(nodes: &'a [Arc<Node>]) -> Self {
        let position: BTreeMap<&str, usize> = (0..)
            .zip(nodes)
            .map(|(i, node)| (&*node.table, i))
            .collect();
        let reads = nodes.iter().map(|node| {
            let known = node.dependencies().filter_map(|t| position.get(t.as_str()));
            known.copied().collect()
        });
        let reads: Vec<Vec<usize>> = reads.collect();
        let mut read_by = vec![Vec::new(); nodes.len()];
        for (reader, read) in reads.iter().enumerate() {
            for &read in read {
                read_by[read].push(reader);
            }
        }
        Self {
            nodes,
            reads,
            read_by,
        }
    }

    fn resolve(&self, expr: &Expr) -> Result<Vec<bool>> {
        match expr {
            Expr::Table(pattern) => self.named("", "table", pattern, |node| Some(&node.table)),
            Expr::Source(pattern) => self.named("source:", "source", pattern, |node| {
                matches!(node.origin, Origin::Source(_) | Origin::Published).then_some(&node.table)
            }),
            Expr::Tagged(pattern) => {
                let found = self.each(|node| node.tags.iter().any(|tag| pattern.matches(tag)));
                let tags = self.nodes.iter().flat_map(|node| &node.tags);
                some(found, "tag:", "tag", pattern, tags)
            }
            Expr::Path(pattern) => {
                let found = self.each(|node| {
                    let path = node.path.as_deref();
                    path.is_some_and(|path| pattern.matches_path(path))
                });
                let paths = self.nodes.iter().filter_map(|node| node.path.as_ref());
                some(found, "path:", "path", pattern, paths)
            }
            Expr::File(pattern) => {
                let file = |node: &'a Node| node.path.as_deref()?.rsplit('/').next();
                self.named("file:", "file", pattern, file)
            }
            Expr::Changed(None) => Err(Error::InvalidSelection {
                selection: "state:modified".to_owned(),
                reason: "nothing says which tables changed; give their names by `with_changed`"
                    .to_owned(),
            }),
            // A table that is gone has changed too, and cannot be selected.
            Expr::Changed(Some(tables)) => Ok(self.each(|node| tables.contains(&node.table))),
            Expr::Upstream(of, depth) => Ok(reach(self.resolve(of)?, *depth, &self.reads)),
            Expr::Downstream(of, depth) => Ok(reach(self.resolve(of)?, *depth, &self.read_by)),
            Expr::Any(parts) => self.combine(parts, false, |a, b| a || b),
            Expr::All(parts) => self.combine(parts, true, |a, b| a && b),
            Expr::Except(of, unwanted) => {
                let (of, unwanted) = (self.resolve(of)?, self.resolve(unwanted)?);
                Ok(of.into_iter().zip(unwanted).map(|(a, b)| a && !b).collect())
            }
        }
    }

    fn combine(
        &self,
        parts: &[Expr],
        start: bool,
        with: impl Fn(bool, bool) -> bool,
    ) -> Result<Vec<bool>> {
        let mut found = vec![start; self.nodes.len()];
        for part in parts {
            for (found, is_in) in found.iter_mut().zip(self.resolve(part)?) {
                *found = with(*found, is_in);
            }
        }
        Ok(found)
    }

    fn each(&self, is_in: impl Fn(&Node) -> bool) -> Vec<bool> {
        self.nodes.iter().map(|node| is_in(node)).collect()
    }

    /// The nodes that have a name, of whichever kind, that the pattern matches.
    fn named<S: AsRef<str> + ?Sized + 'a>(
        &self,
        method: &str,
        what: &'static str,
        pattern: &Pattern,
        name: impl Fn(&'a Node) -> Option<&'a S>,
    ) -> Result<Vec<bool>> {
        let names: Vec<Option<&str>> = self
            .nodes
            .iter()
            .map(|node| name(node).map(AsRef::as_ref))
            .collect();
        let found = names
            .iter()
            .map(|name| name.is_some_and(|name| pattern.matches(name)));
        some(
            found.collect(),
            method,
            what,
            pattern,
            names.iter().flatten(),
        )
    }
}

/// What was found, unless that is nothing: then a name is likely misspelt. A DAG without tables has
/// all tables nevertheless.
fn some<S: AsRef<str>>(
    found: Vec<bool>,
    method: &str,
    what: &'static str,
    pattern: &Pattern,
    names: impl Iterator<Item = S>,
) -> Result<Vec<bool>> {
    if found.contains(&true) || pattern.as_str() == "*" {
        return Ok(found);
    }
    Err(Error::NothingSelected {
        selection: format!("{method}{}", pattern.as_str()),
        what,
        nearest: nearest(pattern.as_str(), names),
    })
}

/// What can be reached in so many steps, each step from all that was reached before.
fn reach(mut reached: Vec<bool>, depth: Option<usize>, next: &[Vec<usize>]) -> Vec<bool> {
    let mut front: Vec<usize> = (0..reached.len()).filter(|&i| reached[i]).collect();
    let mut n_steps = 0;
    while !front.is_empty() && depth.is_none_or(|depth| n_steps < depth) {
        let mut new = Vec::new();
        for node in front {
            for &neighbour in &next[node] {
                if !std::mem::replace(&mut reached[neighbour], true) {
                    new.push(neighbour);
                }
            }
        }
        front = new;
        n_steps += 1;
    }
    reached
}
