//! [`ColumnLineage`]: which column is made of which.

mod expr;
mod plan;

use std::collections::BTreeSet;
use std::fmt;

use reco_core::nearest;
use serde::{Deserialize, Serialize};

use super::{Dag, check};
use crate::error::{Error, Result};

/// Which column of a DAG is made of which, read from the plans of the steps, of SQL and of Rust alike.
///
/// A column has the *values* of others if what stands in its cells is computed from what stands in
/// theirs: by a projection, an aggregate, a window, a union, a subquery. It is *influenced* by those that
/// decide which values are taken: the condition of a `case`, the order and the partition of a window, the
/// filter of an aggregate. What decides which rows there are, in which order, influences all columns of
/// the table and is listed once: filters, the keys of joins and groups, `distinct`, `order by`.
/// These are the direct and the indirect lineage of the `OpenLineage` standard.
///
/// A count of rows has no values of any column, and nor has a constant. Where a plan holds an operator
/// that is not DataFusion's own, each of its columns is said to be made of all that it reads. What a
/// function does inside is not seen, and what a step reads past its context neither.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use reco_transform::Dag;
///
/// let dag = Dag::builder()
///     .sql("clicks", "select * from (values ('hat', 9.5, true)) as t (item, price, seen)")
///     .sql("items", "select item as item_id, price * 100 as cents from clicks where seen")
///     .sql("dearest", "select max(cents) as cents from items")
///     .build()?;
/// let lineage = dag.column_lineage().await?;
/// let upstream = lineage.upstream("dearest", "cents")?;
/// assert_eq!(upstream.iter().map(ToString::to_string).collect::<Vec<_>>(), ["clicks.price", "items.cents"]);
/// let influences = lineage.influences("dearest", "cents")?;
/// assert_eq!(influences[0].to_string(), "clicks.seen");
/// assert_eq!(
///     lineage.to_string(),
///     "\
/// table    column   type     values from   influenced by
/// clicks   item     Utf8     -             -
///          price    Float64  -             -
///          seen     Boolean  -             -
/// items    item_id  Utf8     clicks.item   -
///          cents    Float64  clicks.price  -
///          (rows)            -             clicks.seen
/// dearest  cents    Float64  items.cents   -
/// "
/// );
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnLineage {
    /// The tables, each after those that it reads.
    pub tables: Vec<TableColumns>,
}

/// The columns of a table in a [`ColumnLineage`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableColumns {
    /// The table.
    pub table: String,
    /// Its columns, in order.
    pub columns: Vec<ColumnOrigins>,
    /// What decides which rows it has and in which order, and so influences all of its columns; in order.
    pub rows_influenced_by: Vec<ColumnRef>,
}

/// What a column is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnOrigins {
    /// The column.
    pub column: String,
    /// Its type, in the words of Arrow.
    pub data_type: String,
    /// The columns of inputs whose values its values are computed from, in order.
    pub values_from: Vec<ColumnRef>,
    /// The columns of inputs that decide, for this column only, which values are taken; in order.
    pub influenced_by: Vec<ColumnRef>,
}

/// A column of a table; written `table.column`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnRef {
    /// The table.
    pub table: String,
    /// The column.
    pub column: String,
}

impl ColumnRef {
    fn new(table: &str, column: &str) -> Self {
        Self {
            table: table.to_owned(),
            column: column.to_owned(),
        }
    }
}

impl Dag {
    /// Which column is made of which, read from the plans of the steps.
    ///
    /// # Errors
    ///
    /// As [`DagBuilder::build`](crate::DagBuilder::build): every step is planned once more on empty tables.
    pub async fn column_lineage(&self) -> Result<ColumnLineage> {
        of(self).await
    }
}

/// Plans every step on empty tables and reads the plans.
async fn of(dag: &Dag) -> Result<ColumnLineage> {
    let mut tables = Vec::new();
    check::plan_each(dag, &mut |node, schema, plan| {
        let origins = plan.map(|plan| plan::origins(plan, &node.inputs));
        let (columns, rows) = origins.map_or_else(Default::default, |o| (o.columns, o.rows));
        // A source has columns of its own, which are made of nothing.
        let columns = columns.into_iter().map(Some).chain(std::iter::repeat(None));
        let columns = schema.fields().iter().zip(columns).map(|(field, origin)| {
            let origin = origin.unwrap_or_default();
            ColumnOrigins {
                column: field.name().clone(),
                data_type: field.data_type().to_string(),
                influenced_by: origin
                    .influences
                    .difference(&origin.values)
                    .cloned()
                    .collect(),
                values_from: origin.values.into_iter().collect(),
            }
        });
        tables.push(TableColumns {
            table: node.table.clone(),
            columns: columns.collect(),
            rows_influenced_by: rows.into_iter().collect(),
        });
    })
    .await?;
    Ok(ColumnLineage { tables })
}

impl ColumnLineage {
    /// The columns whose values a column's values are computed from, through others too, in the order of
    /// the tables.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchColumn`] or, if the table is not there either, [`Error::UnknownTable`], each with
    /// the nearest name.
    pub fn upstream(&self, table: &str, column: &str) -> Result<Vec<ColumnRef>> {
        let of = self.find(table, column)?;
        let values = |_: &TableColumns, column: &ColumnOrigins| column.values_from.clone();
        Ok(self.reach_up(&of, values))
    }

    /// As [`upstream`](Self::upstream), of which only the columns that are made of no other: those of
    /// sources, mostly.
    ///
    /// # Errors
    ///
    /// As [`upstream`](Self::upstream).
    pub fn sources(&self, table: &str, column: &str) -> Result<Vec<ColumnRef>> {
        let mut sources = self.upstream(table, column)?;
        sources.retain(|source| {
            let origins = self.origins(source);
            origins.is_none_or(|(_, origins)| origins.values_from.is_empty())
        });
        Ok(sources)
    }

    /// The columns that influence a column and have no part in its values: what decides which values are
    /// taken and which rows there are, through others too, in the order of the tables.
    ///
    /// # Errors
    ///
    /// As [`upstream`](Self::upstream).
    pub fn influences(&self, table: &str, column: &str) -> Result<Vec<ColumnRef>> {
        let of = self.find(table, column)?;
        let all = |table: &TableColumns, column: &ColumnOrigins| {
            let parts = [
                &column.values_from,
                &column.influenced_by,
                &table.rows_influenced_by,
            ];
            parts.into_iter().flatten().cloned().collect()
        };
        let values = self.upstream(table, column)?;
        let mut found = self.reach_up(&of, all);
        found.retain(|found| !values.contains(found));
        Ok(found)
    }

    /// The columns whose values are computed from those of a column, through others too, in the order of
    /// the tables: what a change of it reaches.
    ///
    /// # Errors
    ///
    /// As [`upstream`](Self::upstream).
    pub fn downstream(&self, table: &str, column: &str) -> Result<Vec<ColumnRef>> {
        let mut reached = BTreeSet::from([self.find(table, column)?]);
        let mut found = Vec::new();
        for table in &self.tables {
            for column in &table.columns {
                if column.values_from.iter().any(|from| reached.contains(from)) {
                    let column = ColumnRef::new(&table.table, &column.column);
                    reached.insert(column.clone());
                    found.push(column);
                }
            }
        }
        Ok(found)
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

    fn find(&self, table: &str, column: &str) -> Result<ColumnRef> {
        let Some(found) = self.tables.iter().find(|found| found.table == table) else {
            return Err(Error::UnknownTable {
                what: format!("lineage of column `{column}`"),
                table: table.to_owned(),
                nearest: nearest(table, self.tables.iter().map(|table| &table.table)),
            });
        };
        let names = found.columns.iter().map(|column| &column.column);
        if names.clone().any(|name| name == column) {
            return Ok(ColumnRef::new(table, column));
        }
        Err(Error::NoSuchColumn {
            table: table.to_owned(),
            column: column.to_owned(),
            nearest: nearest(column, names),
        })
    }

    fn origins(&self, column: &ColumnRef) -> Option<(&TableColumns, &ColumnOrigins)> {
        let table = self
            .tables
            .iter()
            .find(|table| table.table == column.table)?;
        let mut columns = table.columns.iter();
        Some((
            table,
            columns.find(|origins| origins.column == column.column)?,
        ))
    }

    /// All that a column leads to, without itself. From readers to what they read, one pass is enough.
    fn reach_up(
        &self,
        of: &ColumnRef,
        next: impl Fn(&TableColumns, &ColumnOrigins) -> Vec<ColumnRef>,
    ) -> Vec<ColumnRef> {
        let mut reached = BTreeSet::from([of.clone()]);
        let mut found = Vec::new();
        for table in self.tables.iter().rev() {
            for column in table.columns.iter().rev() {
                let name = ColumnRef::new(&table.table, &column.column);
                if reached.contains(&name) {
                    reached.extend(next(table, column));
                    if name != *of {
                        found.push(name);
                    }
                }
            }
        }
        found.reverse();
        found
    }
}

/// A table of text, a line a column.
impl fmt::Display for ColumnLineage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines =
            vec![["table", "column", "type", "values from", "influenced by"].map(str::to_owned)];
        for table in &self.tables {
            let mut name = table.table.as_str();
            for column in &table.columns {
                lines.push([
                    std::mem::take(&mut name).to_owned(),
                    column.column.clone(),
                    column.data_type.clone(),
                    list(&column.values_from),
                    list(&column.influenced_by),
                ]);
            }
            if !table.rows_influenced_by.is_empty() {
                lines.push([
                    name.to_owned(),
                    "(rows)".to_owned(),
                    String::new(),
                    list(&[]),
                    list(&table.rows_influenced_by),
                ]);
            }
        }
        let mut widths = [0; 5];
        for line in &lines {
            for (width, cell) in widths.iter_mut().zip(line) {
                *width = cell.chars().count().max(*width);
            }
        }
        for line in &lines {
            let cells = line.iter().zip(widths);
            let cells = cells.map(|(cell, width)| format!("{cell:<width$}"));
            writeln!(f, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
        }
        Ok(())
    }
}

impl fmt::Display for ColumnRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.table, self.column)
    }
}

fn list(columns: &[ColumnRef]) -> String {
    if columns.is_empty() {
        return "-".to_owned();
    }
    let names: Vec<String> = columns.iter().map(ToString::to_string).collect();
    names.join(", ")
}
