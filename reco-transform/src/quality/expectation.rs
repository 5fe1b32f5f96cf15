//! [`Expectation`]: what is expected of the rows of a table.

use std::fmt;
use std::ops::{Bound, RangeBounds};

use datafusion::logical_expr::{Expr, Literal, ident};
use reco_core::Severity;

use crate::error::Result;
use crate::sql::tables_of;

/// What is expected of the rows of a table, and what it means if they are otherwise.
///
/// Written with its arguments as in reports: `between(price, 0, 1000)`.
#[derive(Debug, Clone)]
pub struct Expectation {
    name: String,
    pub(crate) rule: Rule,
    pub(crate) severity: Severity,
    defect: Option<&'static str>,
}

#[derive(Debug, Clone)]
pub(crate) enum Rule {
    /// No row makes it true.
    Row(Expr),
    /// No row makes it false, in SQL.
    Sql(String),
    Unique(Vec<String>),
    References {
        column: String,
        to_table: String,
        to_column: String,
    },
    RowCount(Bound<u64>, Bound<u64>),
    NoRows(String),
}

impl Expectation {
    fn new(name: String, rule: Rule) -> Self {
        Self {
            name,
            rule,
            severity: Severity::Error,
            defect: None,
        }
    }

    /// The same expectation, which reports a failure and holds nothing up.
    #[must_use]
    pub fn warn(self) -> Self {
        Self {
            severity: Severity::Warn,
            ..self
        }
    }

    /// The expectation with its arguments.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Why it could not fail, or not as meant, if it is put together wrongly.
    pub(crate) const fn defect(&self) -> Option<&'static str> {
        self.defect
    }

    fn with_defect(self, defect: Option<&'static str>) -> Self {
        Self { defect, ..self }
    }

    /// The tables that it reads besides its own.
    pub(crate) fn inputs(&self, table: &str) -> Result<Vec<String>> {
        let mut inputs = match &self.rule {
            Rule::References { to_table, .. } => vec![to_table.clone()],
            Rule::NoRows(query) => tables_of(&self.name, query)?,
            Rule::Row(_) | Rule::Sql(_) | Rule::Unique(_) | Rule::RowCount(..) => Vec::new(),
        };
        inputs.retain(|input| input != table);
        Ok(inputs)
    }
}

impl fmt::Display for Expectation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// No row has NULL in the column.
#[must_use]
pub fn not_null(column: impl Into<String>) -> Expectation {
    let column = column.into();
    let name = format!("not_null({column})");
    Expectation::new(name, Rule::Row(ident(column).is_null()))
}

/// No two rows have the same value in the column, or the same combination in several.
///
/// All rows that share one are failures, the first included. Rows with a NULL in any of the columns are
/// passed over. Without columns, the DAG is refused.
///
/// # Examples
///
/// ```
/// use reco_transform::unique;
///
/// assert_eq!(unique(["id"]).name(), "unique(id)");
/// assert_eq!(unique(["tenant_id", "id"]).name(), "unique(tenant_id, id)");
/// ```
#[must_use]
pub fn unique(columns: impl IntoIterator<Item = impl Into<String>>) -> Expectation {
    let columns: Vec<String> = columns.into_iter().map(Into::into).collect();
    let name = format!("unique({})", columns.join(", "));
    let defect = columns.is_empty().then_some("it names no column");
    Expectation::new(name, Rule::Unique(columns)).with_defect(defect)
}

/// Each value of the column is one of these. NULL is passed over. Without values, the DAG is refused.
#[must_use]
pub fn accepted_values<V: Literal + fmt::Display>(
    column: impl Into<String>,
    values: impl IntoIterator<Item = V>,
) -> Expectation {
    let column = column.into();
    let values: Vec<V> = values.into_iter().collect();
    let names: Vec<String> = values.iter().map(ToString::to_string).collect();
    let name = format!("accepted_values({column}, [{}])", names.join(", "));
    let defect = values.is_empty().then_some("it accepts no value");
    let values = values.iter().map(Literal::lit).collect();
    Expectation::new(name, Rule::Row(ident(column).in_list(values, true))).with_defect(defect)
}

/// Each value of the column is in a range, whose sides may be open. NULL is passed over; NaN is above
/// every number.
///
/// # Examples
///
/// ```
/// use reco_transform::between;
///
/// assert_eq!(between("price", 0.0..=999.5).name(), "between(price, 0..=999.5)");
/// assert_eq!(between("quantity", 1..).name(), "between(quantity, 1..)");
/// ```
#[must_use]
pub fn between<V: Literal + fmt::Display>(
    column: impl Into<String>,
    range: impl RangeBounds<V>,
) -> Expectation {
    let column = column.into();
    let (from, to) = (range.start_bound(), range.end_bound());
    let name = format!("between({column}, {})", Range(from, to));
    let below = match from {
        Bound::Included(from) => Some(ident(&column).lt(from.lit())),
        Bound::Excluded(from) => Some(ident(&column).lt_eq(from.lit())),
        Bound::Unbounded => None,
    };
    let above = match to {
        Bound::Included(to) => Some(ident(&column).gt(to.lit())),
        Bound::Excluded(to) => Some(ident(&column).gt_eq(to.lit())),
        Bound::Unbounded => None,
    };
    // A range without bounds still needs the column to be there.
    let outside = below.into_iter().chain(above).reduce(Expr::or);
    let outside = outside.unwrap_or_else(|| ident(&column).is_null().and(false.lit()));
    Expectation::new(name, Rule::Row(outside))
}

/// Each value of the column is a value of a column of another table. NULL is passed over.
#[must_use]
pub fn relationships(
    column: impl Into<String>,
    to_table: impl Into<String>,
    to_column: impl Into<String>,
) -> Expectation {
    let (column, to_table, to_column) = (column.into(), to_table.into(), to_column.into());
    let name = format!("relationships({column}, {to_table}.{to_column})");
    Expectation::new(
        name,
        Rule::References {
            column,
            to_table,
            to_column,
        },
    )
}

/// The table has so many rows.
///
/// # Examples
///
/// ```
/// assert_eq!(reco_transform::row_count(1..=1000).name(), "row_count(1..=1000)");
/// ```
#[must_use]
pub fn row_count(range: impl RangeBounds<u64>) -> Expectation {
    let (from, to) = (range.start_bound(), range.end_bound());
    let name = format!("row_count({})", Range(from, to));
    Expectation::new(name, Rule::RowCount(from.cloned(), to.cloned()))
}

/// No row makes a condition in SQL false; where it is NULL, the row passes.
///
/// # Examples
///
/// ```
/// use reco_transform::expect_sql;
///
/// let paid = expect_sql("purchases have a price", "kind <> 'purchase' or price is not null");
/// assert_eq!(paid.name(), "purchases have a price");
/// ```
#[must_use]
pub fn expect_sql(name: impl Into<String>, predicate: impl Into<String>) -> Expectation {
    Expectation::new(name.into(), Rule::Sql(predicate.into()))
}

/// A query finds nothing: for what no single row can tell. It may name the table and any other of the
/// DAG; what it finds are the samples.
///
/// # Examples
///
/// ```
/// use reco_transform::expect_no_rows;
///
/// let sane = expect_no_rows(
///     "sessions have 2 to 10 interactions on average",
///     "select avg(n) as average
///      from (select count(*) as n from interactions group by session_id)
///      having avg(n) not between 2 and 10",
/// );
/// ```
#[must_use]
pub fn expect_no_rows(name: impl Into<String>, query: impl Into<String>) -> Expectation {
    Expectation::new(name.into(), Rule::NoRows(query.into()))
}

/// A range as it is written in Rust.
struct Range<'a, V>(Bound<&'a V>, Bound<&'a V>);

impl<V: fmt::Display> fmt::Display for Range<'_, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Bound::Included(from) => write!(f, "{from}")?,
            Bound::Excluded(from) => write!(f, "above {from}, ")?,
            Bound::Unbounded => {}
        }
        match self.1 {
            Bound::Included(to) => write!(f, "..={to}"),
            Bound::Excluded(to) => write!(f, "..{to}"),
            Bound::Unbounded => f.write_str(".."),
        }
    }
}
