//! [`Selection`]: some of the tables of a DAG.

mod parse;
mod pattern;
mod resolve;

use std::collections::BTreeSet;
use std::str::FromStr;

use pattern::Pattern;
use resolve::{part, resolve};

use super::Dag;
use crate::error::{Error, Result};

/// Some of the tables of a DAG, by their names, tags and files and by what they read.
///
/// Read from text in the grammar of dbt's `--select`, or put together in Rust; used by
/// [`Dag::select`](crate::Dag::select), for the names, and [`Dag::only`](crate::Dag::only), to run them.
///
/// | text | means |
/// | --- | --- |
/// | `items`, `stg_*` | a table, all tables whose names match; `*` is all |
/// | `source:events` | a source |
/// | `tag:nightly` | the tables with a [tag](crate::DagBuilder::tag) |
/// | `path:models/staging` | the tables of a [file](crate::DagBuilder::path) or folder; also without `path:` if there is a `/` |
/// | `file:items.sql` | the tables of a file of this name; also without `file:` if it ends in `.sql` |
/// | `state:modified` | the tables that [`with_changed`](Self::with_changed) names |
/// | `+items`, `1+items` | and what it is made of; only one step far |
/// | `items+`, `items+2` | and what is made of it; only two steps far |
/// | `@items` | and what is made of it, and all that these are made of |
/// | `a b` | these and those |
/// | `tag:nightly,stg_*` | what is both; closer than a space |
/// | `a+ --exclude b` | without `b` |
///
/// Tables that a table is only audited with count as read by it: it waits for them all the same.
/// What is selected by name, tag, path or file has to be there, since otherwise it is misspelt; that
/// nothing changed, or that nothing is both, is no error.
/// Other than in dbt, a name is not looked for among folders, and what is changed comes from the caller.
///
/// # Examples
///
/// ```
/// use reco_transform::{Dag, Selection};
///
/// let dag = Dag::builder()
///     .sql("items", "select 'hat' as item_id")
///     .sql("clicks", "select 'hat' as item_id")
///     .sql("popular", "select * from items join clicks using (item_id)")
///     .build()?;
/// let text = Selection::parse("+popular --exclude clicks")?;
/// let same = Selection::table("popular").upstream().except(Selection::table("clicks"));
/// assert_eq!(dag.select(text)?, ["items", "popular"]);
/// assert_eq!(dag.select(same)?, ["items", "popular"]);
///
/// let changed = Selection::parse("state:modified+")?.with_changed(["clicks"]);
/// assert_eq!(dag.select(changed)?, ["clicks", "popular"]);
/// # Ok::<(), reco_transform::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection(Expr);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Expr {
    Table(Pattern),
    Source(Pattern),
    Tagged(Pattern),
    Path(Pattern),
    File(Pattern),
    /// The tables that changed, once they are known.
    Changed(Option<BTreeSet<String>>),
    Upstream(Box<Self>, Option<usize>),
    Downstream(Box<Self>, Option<usize>),
    Any(Vec<Self>),
    All(Vec<Self>),
    Except(Box<Self>, Box<Self>),
}

impl Selection {
    /// A selection in text.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidSelection`]. Whether there are such tables shows when it meets a DAG.
    pub fn parse(text: &str) -> Result<Self> {
        parse::parse(text)
    }

    /// All tables.
    #[must_use]
    pub fn all() -> Self {
        Self::table("*")
    }

    /// The tables whose names match.
    #[must_use]
    pub fn table(pattern: impl Into<String>) -> Self {
        Self(Expr::Table(Pattern::new(pattern)))
    }

    /// The sources whose names match.
    #[must_use]
    pub fn source(pattern: impl Into<String>) -> Self {
        Self(Expr::Source(Pattern::new(pattern)))
    }

    /// The tables with a tag that matches.
    #[must_use]
    pub fn tag(pattern: impl Into<String>) -> Self {
        Self(Expr::Tagged(Pattern::new(pattern)))
    }

    /// The tables that were read from a file, or from the files of a folder.
    #[must_use]
    pub fn path(pattern: impl Into<String>) -> Self {
        Self(Expr::Path(Pattern::new(pattern)))
    }

    /// The tables that were read from a file whose name matches, in whichever folder.
    #[must_use]
    pub fn file(pattern: impl Into<String>) -> Self {
        Self(Expr::File(Pattern::new(pattern)))
    }

    /// These tables, as far as the DAG has them: one that is gone has changed, too.
    #[must_use]
    pub fn changed(tables: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self(Expr::Changed(None)).with_changed(tables)
    }

    /// The same selection, where `state:modified` means these tables.
    #[must_use]
    pub fn with_changed(mut self, tables: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let tables: BTreeSet<String> = tables.into_iter().map(Into::into).collect();
        self.0.fill(&tables);
        self
    }

    /// These tables and all that they are made of.
    #[must_use]
    pub fn upstream(self) -> Self {
        Self(Expr::Upstream(Box::new(self.0), None))
    }

    /// These tables and what they are made of in at most `n_steps` steps.
    #[must_use]
    pub fn upstream_within(self, n_steps: usize) -> Self {
        Self(Expr::Upstream(Box::new(self.0), Some(n_steps)))
    }

    /// These tables and all that is made of them.
    #[must_use]
    pub fn downstream(self) -> Self {
        Self(Expr::Downstream(Box::new(self.0), None))
    }

    /// These tables and what is made of them in at most `n_steps` steps.
    #[must_use]
    pub fn downstream_within(self, n_steps: usize) -> Self {
        Self(Expr::Downstream(Box::new(self.0), Some(n_steps)))
    }

    /// The tables that are in this selection or the other.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self(Expr::Any(vec![self.0, other.0]))
    }

    /// The tables that are in this selection and the other.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(Expr::All(vec![self.0, other.0]))
    }

    /// The tables that are in this selection and not in the other.
    #[must_use]
    pub fn except(self, other: Self) -> Self {
        Self(Expr::Except(Box::new(self.0), Box::new(other.0)))
    }
}

impl Dag {
    /// The names of the tables that a selection means, each after those that it reads.
    ///
    /// The selection is text in dbt's grammar or put together in Rust; see [`Selection`].
    ///
    /// # Errors
    ///
    /// [`Error::InvalidSelection`] if the text cannot be read, and [`Error::NothingSelected`] with the
    /// nearest name if a part of it is about nothing in the DAG.
    ///
    /// # Examples
    ///
    /// ```
    /// use reco_transform::Dag;
    ///
    /// let dag = Dag::builder()
    ///     .sql("stg_items", "select 'hat' as item_id")
    ///     .sql("items", "select distinct item_id from stg_items")
    ///     .sql("n_items", "select count(*) as n from items")
    ///     .tag("n_items", "nightly")
    ///     .build()?;
    /// assert_eq!(dag.select("stg_*")?, ["stg_items"]);
    /// assert_eq!(dag.select("1+tag:nightly")?, ["items", "n_items"]);
    /// assert_eq!(dag.select("items+ --exclude tag:nightly")?, ["items"]);
    /// # Ok::<(), reco_transform::Error>(())
    /// ```
    pub fn select<S>(&self, selection: S) -> Result<Vec<&str>>
    where
        S: TryInto<Selection>,
        Error: From<S::Error>,
    {
        let selected = resolve(&selection.try_into()?, &self.nodes)?;
        let tables = self.tables().zip(selected);
        Ok(tables
            .filter_map(|(table, is_in)| is_in.then_some(table))
            .collect())
    }

    /// The part of the DAG that makes the selected tables, and only those.
    ///
    /// What they read besides is a source of the part. A table that is not selected is read from the
    /// warehouse, in its latest published version; if there is none, what reads it is not made, and
    /// [`Error::NotSelected`] says so. A source is read from where it always is, and a
    /// [`View`](crate::Materialization::View), which holds no rows, is computed by its readers as always.
    /// Neither is audited unless it is selected.
    ///
    /// # Errors
    ///
    /// As [`select`](Self::select).
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use reco_transform::{Dag, Materialization, Warehouse};
    ///
    /// let dag = Dag::builder()
    ///     .sql("numbers", "select * from (values (1), (2)) as t (n)")
    ///     .sql("sum", "select sum(n) as n from numbers")
    ///     .materialize("numbers", Materialization::Delta)
    ///     .build()?;
    /// let warehouse = Warehouse::in_memory();
    /// dag.run(&warehouse).await?;
    ///
    /// let run = dag.only("sum")?.run(&warehouse).await?;
    /// assert_eq!(run.report("numbers").and_then(|report| report.version), Some(0));
    /// assert!(warehouse.published("numbers").await?.is_some());
    /// # Ok(())
    /// # }
    /// ```
    pub fn only<S>(&self, selection: S) -> Result<Self>
    where
        S: TryInto<Selection>,
        Error: From<S::Error>,
    {
        let selected = resolve(&selection.try_into()?, &self.nodes)?;
        Ok(Self {
            nodes: part(&self.nodes, &selected),
            ..self.clone()
        })
    }
}

impl Expr {
    fn fill(&mut self, changed: &BTreeSet<String>) {
        match self {
            Self::Changed(tables) => {
                tables.get_or_insert_with(|| changed.clone());
            }
            Self::Upstream(of, _) | Self::Downstream(of, _) => of.fill(changed),
            Self::Any(parts) | Self::All(parts) => {
                for part in parts {
                    part.fill(changed);
                }
            }
            Self::Except(of, unwanted) => {
                of.fill(changed);
                unwanted.fill(changed);
            }
            Self::Table(_) | Self::Source(_) | Self::Tagged(_) | Self::Path(_) | Self::File(_) => {}
        }
    }
}

impl FromStr for Selection {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

impl TryFrom<&str> for Selection {
    type Error = Error;

    fn try_from(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}
