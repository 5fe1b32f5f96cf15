//! [`Page`]: a DAG and a run of it to look at.

mod layout;
mod model;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use reco_core::{Timestamp, nearest};

use super::{ColumnLineage, Dag, DagRun, Lineage, LineageKind, TableReport};
use crate::error::{Error, Result};
use crate::html::{Shell, escaped, grouped, shortened};
use layout::{HEIGHT, WIDTH, layout};
use model::{Model, Table};

/// A page in HTML that shows a DAG and what became of it in a run; made by [`Dag::page`](crate::Dag::page).
///
/// It shows how the tables hang together, which were made, of how many rows and how fast, what was
/// checked, and which column is made of which. It is one file that needs nothing else: no network, no
/// server, no library; its security policy lets a browser load nothing. It is light or dark as the
/// reader's system is, fits a phone, and can be used with the keyboard alone. The same DAG and run make
/// the same page.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use reco_transform::{Dag, Warehouse, not_null};
///
/// let dag = Dag::builder()
///     .sql("items", "select 'hat' as item_id")
///     .sql("hats", "select * from items where item_id = 'hat'")
///     .expect("hats", not_null("item_id"))
///     .build()?;
/// let run = dag.run(&Warehouse::in_memory()).await?;
/// let html = dag.page().await?.title("Hats").run(&run).to_html();
/// assert!(html.starts_with("<!doctype html>"));
/// # Ok(())
/// # }
/// ```
///
/// Of a run that failed, [`Error::Incomplete`](crate::Error::Incomplete) holds what there is to show.
#[derive(Debug, Clone)]
pub struct Page {
    title: String,
    lineage: Lineage,
    columns: ColumnLineage,
    reports: Vec<TableReport>,
    newest: BTreeMap<String, Timestamp>,
    as_of: Option<Timestamp>,
}

impl Page {
    pub(super) fn new(lineage: Lineage, columns: ColumnLineage) -> Self {
        Self {
            title: "DAG".to_owned(),
            lineage,
            columns,
            reports: Vec::new(),
            newest: BTreeMap::new(),
            as_of: None,
        }
    }

    /// The same page under another title. Default `DAG`.
    #[must_use]
    pub fn title(self, title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            ..self
        }
    }

    /// The same page with what became of the tables in a run: their rows, times, checks and errors.
    #[must_use]
    pub fn run(self, run: &DagRun) -> Self {
        Self {
            reports: run.reports().to_vec(),
            ..self
        }
    }

    /// The same page, where it says of when the newest rows of a table are.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownTable`] with the nearest name.
    pub fn newest(mut self, table: &str, newest: Timestamp) -> Result<Self> {
        let mut tables = self.lineage.tables.iter().map(|table| &table.table);
        if !tables.clone().any(|name| name == table) {
            return Err(Error::UnknownTable {
                what: "freshness".to_owned(),
                nearest: nearest(table, tables.by_ref()),
                table: table.to_owned(),
            });
        }
        self.newest.insert(table.to_owned(), newest);
        Ok(self)
    }

    /// The same page as of a time, from which it counts how old the [newest](Self::newest) rows are.
    #[must_use]
    pub fn as_of(self, now: Timestamp) -> Self {
        Self {
            as_of: Some(now),
            ..self
        }
    }

    /// The page.
    #[must_use]
    #[expect(
        clippy::missing_panics_doc,
        reason = "texts, numbers and lists of them are JSON"
    )]
    pub fn to_html(&self) -> String {
        let model = Model::of(self);
        let json =
            serde_json::to_string(&model).expect("texts, numbers and lists of them are JSON");
        let as_of = self
            .as_of
            .map_or_else(String::new, |now| format!("<span>as of {now}</span>"));
        let title = escaped(&self.title);
        let graph = drawing(&model.tables);
        let body = format!(
            r#"<header><h1>{title}</h1><p id="counts"></p>{as_of}
<input id="search" type="search" placeholder="Table, column or tag ( / )" aria-label="Search for a table, column or tag"></header>
<main><section id="graph" aria-label="Graph of the tables">{graph}</section>
<section id="panel" aria-label="Details"><noscript>The details need JavaScript.</noscript></section></main>"#
        );
        let shell = Shell {
            title: &self.title,
            css: CSS,
            body: &body,
            script: Some((&json, SCRIPT)),
        };
        shell.to_html()
    }
}

impl Dag {
    /// A page in HTML that shows the DAG, and a run of it if one is given; see [`Page`].
    ///
    /// # Errors
    ///
    /// As [`column_lineage`](Self::column_lineage).
    pub async fn page(&self) -> Result<Page> {
        Ok(Page::new(self.lineage(), self.column_lineage().await?))
    }
}

const CSS: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The graph, as SVG. Tables and edges carry positions and not names.
fn drawing(tables: &[Table<'_>]) -> String {
    let position: BTreeMap<&str, usize> = (0..)
        .zip(tables)
        .map(|(i, table)| (&*table.lineage.table, i))
        .collect();
    let mut edges = Vec::new();
    let mut classes = Vec::new();
    for (to, table) in tables.iter().enumerate() {
        let lineage = table.lineage;
        let audits = lineage.audited_with.iter();
        let audits = audits.filter(|table| !lineage.inputs.contains(table));
        let inputs = lineage.inputs.iter().map(|input| (input, "edge"));
        for (from, class) in inputs.chain(audits.map(|table| (table, "edge audit"))) {
            if let Some(&from) = position.get(from.as_str()) {
                edges.push((from, to));
                classes.push(class);
            }
        }
    }
    let drawn = layout(tables.len(), &edges);
    let (width, height) = (drawn.width, drawn.height);
    let mut svg = format!(
        r#"<svg width="{width:.0}" height="{height:.0}" viewBox="0 0 {width:.0} {height:.0}" role="group">"#
    );
    // Writing to a string does not fail.
    for (((from, to), class), path) in edges.iter().zip(&classes).zip(&drawn.paths) {
        _ = write!(
            svg,
            r#"<path class="{class}" data-from="{from}" data-to="{to}" d="{path}"/>"#
        );
    }
    for (i, (table, (x, y))) in tables.iter().zip(&drawn.tables).enumerate() {
        let top = y - HEIGHT / 2.0;
        let name = escaped(&table.lineage.table);
        let short = escaped(&shortened(&table.lineage.table, 21));
        let (status, sign) = (table.status.word(), table.status.sign());
        let kind = match table.lineage.kind {
            LineageKind::Source => "source",
            LineageKind::Sql => "sql",
            LineageKind::Step => "step",
        };
        let facts = escaped(&facts(table, kind));
        _ = write!(
            svg,
            r#"<g class="table {status} {kind}" data-i="{i}" transform="translate({x:.0} {top:.0})" role="button" tabindex="0" aria-label="{name}, {status}"><title>{name}</title><rect width="{WIDTH:.0}" height="{HEIGHT:.0}" rx="8"/><text class="name" x="12" y="21">{short}</text><text class="facts" x="12" y="39">{facts}</text><text class="sign" x="184" y="21">{sign}</text></g>"#
        );
    }
    svg += "</svg>";
    svg
}

/// The second line of a table on the graph.
fn facts(table: &Table<'_>, kind: &str) -> String {
    let kept = table.lineage.materialization;
    let mut facts = vec![kept.map_or_else(|| kind.to_owned(), |kept| kept.to_string())];
    if let Some(n_rows) = table.n_rows {
        facts.push(format!("{} rows", grouped(n_rows)));
    }
    facts.extend(table.seconds.map(|seconds| format!("{seconds:.1} s")));
    shortened(&facts.join(" · "), 29)
}
