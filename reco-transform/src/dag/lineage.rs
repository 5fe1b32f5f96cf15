//! [`Lineage`]: which table is made of which.

use std::collections::BTreeSet;
use std::fmt;
use std::fmt::Write as _;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Node, Origin};
use crate::materialize::Materialization;

/// Which table is made of which, and how.
///
/// Written as text, it is a tree for each table that no other reads, with what it is made of below it;
/// a table that was written already is written again without what is below it, marked `…`.
///
/// # Examples
///
/// ```
/// use reco_transform::{Dag, not_null};
///
/// let dag = Dag::builder()
///     .sql("items", "select * from (values ('hat')) as t (item_id)")
///     .sql("hats", "select * from items where item_id = 'hat'")
///     .expect("hats", not_null("item_id"))
///     .build()?;
/// assert_eq!(
///     dag.lineage().to_string(),
///     "hats (sql, memory, 1 check)\n└─ items (sql, memory)\n"
/// );
/// # Ok::<(), reco_transform::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lineage {
    /// The tables, each after those that it reads.
    pub tables: Vec<LineageTable>,
}

/// A table of a [`Lineage`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineageTable {
    /// The table.
    pub table: String,
    /// What makes it.
    pub kind: LineageKind,
    /// The tables that it reads.
    pub inputs: Vec<String>,
    /// Where its rows are kept; nothing for a source.
    pub materialization: Option<Materialization>,
    /// What is expected of it.
    pub expectations: Vec<String>,
    /// The other tables that the expectations read: it waits for them, and is not made of them.
    #[serde(default)]
    pub audited_with: Vec<String>,
    /// By what it can be selected, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// The file that it was read from, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

/// What makes a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LineageKind {
    /// It is read from elsewhere.
    Source,
    /// A query.
    Sql,
    /// A step in Rust.
    Step,
}

impl Lineage {
    pub(super) fn of(nodes: &[Arc<Node>]) -> Self {
        let table = |node: &Arc<Node>| {
            let kind = match node.origin {
                Origin::Source(_) | Origin::Published => LineageKind::Source,
                Origin::Sql(_) => LineageKind::Sql,
                Origin::Step(_) => LineageKind::Step,
            };
            LineageTable {
                table: node.table.clone(),
                kind,
                inputs: node.inputs.clone(),
                materialization: (kind != LineageKind::Source).then_some(node.materialization),
                expectations: node.expectations.iter().map(ToString::to_string).collect(),
                audited_with: node.audit_inputs.clone(),
                tags: node.tags.iter().cloned().collect(),
                path: node.path.clone(),
            }
        };
        Self {
            tables: nodes.iter().map(table).collect(),
        }
    }

    /// The tables that a table is made of, through others too, in order.
    #[must_use]
    pub fn upstream(&self, table: &str) -> Vec<&str> {
        let mut wanted = BTreeSet::from([table]);
        let mut found = Vec::new();
        for node in self.tables.iter().rev() {
            if wanted.contains(node.table.as_str()) {
                wanted.extend(node.inputs.iter().map(String::as_str));
                found.push(node.table.as_str());
            }
        }
        found.retain(|found| *found != table);
        found.reverse();
        found
    }

    /// The tables that are made of a table, through others too, in order: what a change of it reaches.
    #[must_use]
    pub fn downstream(&self, table: &str) -> Vec<&str> {
        let mut reached = BTreeSet::from([table]);
        let mut found = Vec::new();
        for node in &self.tables {
            if node
                .inputs
                .iter()
                .any(|input| reached.contains(input.as_str()))
            {
                reached.insert(&node.table);
                found.push(node.table.as_str());
            }
        }
        found
    }

    /// As indented JSON.
    #[must_use]
    #[expect(
        clippy::missing_panics_doc,
        reason = "texts and lists of texts are JSON"
    )]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("texts and lists of texts are JSON")
    }

    /// As a flowchart of Mermaid, which GitHub and many editors draw. Dotted arrows come from tables that
    /// a table is audited with.
    #[must_use]
    pub fn to_mermaid(&self) -> String {
        let mut chart = "flowchart LR\n".to_owned();
        let number = |table: &str| self.tables.iter().position(|node| node.table == table);
        for (i, node) in self.tables.iter().enumerate() {
            let (open, close) = match node.kind {
                LineageKind::Source => ("[(", ")]"),
                LineageKind::Sql => ("[", "]"),
                LineageKind::Step => ("[[", "]]"),
            };
            // Writing to a string does not fail.
            _ = writeln!(chart, "    t{i}{open}\"{}\"{close}", node.table);
        }
        for (i, node) in self.tables.iter().enumerate() {
            for input in node.inputs.iter().filter_map(|input| number(input)) {
                _ = writeln!(chart, "    t{input} --> t{i}");
            }
            for other in node.audited_with.iter().filter_map(|other| number(other)) {
                _ = writeln!(chart, "    t{other} -.-> t{i}");
            }
        }
        chart
    }

    fn write_tree<'a>(
        &'a self,
        f: &mut fmt::Formatter<'_>,
        node: &'a LineageTable,
        indent: &str,
        written: &mut BTreeSet<&'a str>,
    ) -> fmt::Result {
        write!(f, "{node}")?;
        if !written.insert(&node.table) && !node.inputs.is_empty() {
            return f.write_str(" …\n");
        }
        f.write_str("\n")?;
        let mut inputs = node.inputs.iter().peekable();
        while let Some(input) = inputs.next() {
            let (branch, below) = if inputs.peek().is_some() {
                ("├─ ", "│  ")
            } else {
                ("└─ ", "   ")
            };
            let Some(input) = self.tables.iter().find(|node| node.table == *input) else {
                continue;
            };
            write!(f, "{indent}{branch}")?;
            self.write_tree(f, input, &format!("{indent}{below}"), written)?;
        }
        Ok(())
    }
}

impl fmt::Display for Lineage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut written = BTreeSet::new();
        let is_read = |table: &String| self.tables.iter().any(|node| node.inputs.contains(table));
        for node in self.tables.iter().filter(|node| !is_read(&node.table)) {
            self.write_tree(f, node, "", &mut written)?;
        }
        Ok(())
    }
}

impl fmt::Display for LineageTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            LineageKind::Source => "source",
            LineageKind::Sql => "sql",
            LineageKind::Step => "step",
        };
        write!(f, "{} ({kind}", self.table)?;
        if let Some(materialization) = self.materialization {
            write!(f, ", {materialization}")?;
        }
        match self.expectations.len() {
            0 => {}
            1 => f.write_str(", 1 check")?,
            n => write!(f, ", {n} checks")?,
        }
        f.write_str(")")
    }
}
