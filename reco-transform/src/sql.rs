//! [`SqlStep`]: a step that is a query.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use async_trait::async_trait;
use datafusion::common::TableReference;
use datafusion::prelude::DataFrame;
use datafusion::sql::parser::{DFParser, Statement};
use datafusion::sql::planner::object_name_to_table_reference;
use datafusion::sql::sqlparser::ast;

use crate::error::{Error, Result};
use crate::step::{Step, StepContext};

/// A step that is one SELECT; the tables that it names are its inputs.
///
/// Common table expressions, subqueries, joins and set operations are followed; the name of a common
/// table expression is no input where it is in scope, nor is a table function.
/// As everywhere in DataFusion, a name without quotes is read in lower case.
///
/// # Examples
///
/// ```
/// use reco_transform::{SqlStep, Step};
///
/// let step = SqlStep::new(
///     "popular",
///     "with counts as (select item_id, count(*) as n from interactions group by item_id)
///      select items.* from items join counts using (item_id) where n > 100",
/// )?;
/// assert_eq!(step.inputs(), ["interactions", "items"]);
/// # Ok::<(), reco_transform::Error>(())
/// ```
///
/// # JSON
///
/// A text that holds a JSON document is read with `->` and `->>`, by name or by place, and with the
/// functions of `datafusion-functions-json`: `json_get`, `json_get_str`, `json_get_int`, `json_get_float`,
/// `json_get_bool`, `json_get_json`, `json_get_array`, `json_as_text`, `json_contains`, `json_length`,
/// `json_object_keys`. What is not there, or is no JSON, is NULL. A document is parsed once for all that one
/// SELECT takes from it.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use reco_transform::{Dag, Warehouse};
///
/// let dag = Dag::builder()
///     .sql("raw", r#"select '{"id": "e1", "sku": "hat", "n": 2}' as payload"#)
///     .sql(
///         "events",
///         "select payload ->> 'id' as id, payload ->> 'sku' as item_id,
///            cast(payload ->> 'n' as bigint) as quantity
///          from raw",
///     )
///     .sql("hats", "select * from events where item_id = 'hat' and quantity = 2")
///     .build()?;
/// assert_eq!(dag.run(&Warehouse::in_memory()).await?.table("hats")?.count().await?, 1);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct SqlStep {
    name: String,
    query: String,
    /// The query without its comments and layout.
    canonical: String,
    inputs: Vec<String>,
}

impl SqlStep {
    /// A step that makes the table `name` with a query.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidSql`], or [`Error::NotASelect`] for anything but one SELECT.
    pub fn new(name: impl Into<String>, query: impl Into<String>) -> Result<Self> {
        let (name, query) = (name.into(), query.into());
        let select = parse(&name, &query)?;
        Ok(Self {
            inputs: tables_in(&name, &select)?,
            canonical: select.to_string(),
            name,
            query,
        })
    }

    pub(crate) fn canonical(&self) -> &str {
        &self.canonical
    }

    /// The query.
    #[must_use]
    pub fn query(&self) -> &str {
        &self.query
    }
}

#[async_trait]
impl Step for SqlStep {
    fn name(&self) -> &str {
        &self.name
    }

    fn inputs(&self) -> Vec<String> {
        self.inputs.clone()
    }

    async fn plan(&self, ctx: &StepContext<'_>) -> datafusion::error::Result<DataFrame> {
        ctx.sql(&self.query).await
    }
}

/// The tables that a query reads, in the order of their names.
pub(crate) fn tables_of(step: &str, query: &str) -> Result<Vec<String>> {
    tables_in(step, &parse(step, query)?)
}

fn parse(step: &str, query: &str) -> Result<ast::Query> {
    let mut statements = DFParser::parse_sql(query).map_err(|source| Error::InvalidSql {
        step: step.to_owned(),
        source,
    })?;
    if statements.len() != 1 {
        return Err(not_a_select(
            step,
            format!("{} statements", statements.len()),
        ));
    }
    match statements.pop_front() {
        Some(Statement::Statement(statement)) => match *statement {
            ast::Statement::Query(query) => Ok(*query),
            other => Err(not_a_select(step, verb(&other.to_string()))),
        },
        Some(other) => Err(not_a_select(step, verb(&other.to_string()))),
        None => Err(not_a_select(step, "nothing".to_owned())),
    }
}

fn tables_in(step: &str, query: &ast::Query) -> Result<Vec<String>> {
    let mut tables = Tables::default();
    match ast::Visit::visit(query, &mut tables) {
        ControlFlow::Continue(()) => Ok(tables.found.into_iter().collect()),
        ControlFlow::Break(found) => Err(not_a_select(step, found)),
    }
}

fn not_a_select(step: &str, found: String) -> Error {
    Error::NotASelect {
        step: step.to_owned(),
        found,
    }
}

/// The words that say what a statement is: those before the first that is not in capitals.
pub(crate) fn verb(statement: &str) -> String {
    let keyword = |word: &&str| word.chars().all(|c| c.is_ascii_uppercase());
    let words: Vec<_> = statement.split_whitespace().take_while(keyword).collect();
    words.join(" ")
}

/// Collects the tables of a query, with the common table expressions that hide them.
#[derive(Default)]
struct Tables {
    found: BTreeSet<String>,
    in_scope: Vec<String>,
}

impl Tables {
    fn read(&mut self, name: &ast::ObjectName) -> ControlFlow<String> {
        match object_name_to_table_reference(name.clone(), true) {
            Ok(TableReference::Bare { table }) => {
                if !self.in_scope.iter().any(|name| **name == *table) {
                    self.found.insert(table.to_string());
                }
                ControlFlow::Continue(())
            }
            _ => ControlFlow::Break(format!("a table with the qualified name `{name}`")),
        }
    }
}

impl ast::Visitor for Tables {
    type Break = String;

    fn pre_visit_query(&mut self, query: &ast::Query) -> ControlFlow<String> {
        let Some(with) = &query.with else {
            return ControlFlow::Continue(());
        };
        for cte in &with.cte_tables {
            // Unless recursive, the name is not in scope in the expression itself: there it means a
            // table. So that is visited before the name is there, and once more after, for nothing.
            if !with.recursive {
                ast::Visit::visit(cte, self)?;
            }
            let name = ast::ObjectName::from(vec![cte.alias.name.clone()]);
            if let Ok(name) = object_name_to_table_reference(name, true) {
                self.in_scope.push(name.table().to_owned());
            }
        }
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &ast::Query) -> ControlFlow<String> {
        if let Some(with) = &query.with {
            let outer = self.in_scope.len().saturating_sub(with.cte_tables.len());
            self.in_scope.truncate(outer);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &ast::TableFactor) -> ControlFlow<String> {
        match factor {
            ast::TableFactor::Table {
                name, args: None, ..
            } => self.read(name),
            _ => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_select(&mut self, select: &ast::Select) -> ControlFlow<String> {
        match &select.into {
            Some(_) => ControlFlow::Break("SELECT INTO".to_owned()),
            None => ControlFlow::Continue(()),
        }
    }

    // A query may hold `INSERT … RETURNING` and the like where a SELECT could stand.
    fn pre_visit_statement(&mut self, statement: &ast::Statement) -> ControlFlow<String> {
        match statement {
            ast::Statement::Query(_) => ControlFlow::Continue(()),
            other => ControlFlow::Break(verb(&other.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_are_the_tables_that_a_query_names() {
        let check = |query: &str, expected: &[&str]| {
            assert_eq!(tables_of("t", query).unwrap(), expected, "{query}");
        };
        check("select 1", &[]);
        check("select * from Events", &["events"]);
        check(
            "select * from \"Events\" e join items using (id)",
            &["Events", "items"],
        );
        check(
            "select * from a union all (select * from b except select * from c)",
            &["a", "b", "c"],
        );
        check(
            "select (select max(x) from a) from b where y in (select y from c)",
            &["a", "b", "c"],
        );
        check("with t as (select * from a) select * from t", &["a"]);
        check("with t as (select * from t) select * from t", &["t"]);
        check(
            "with t as (select 1), u as (select * from t) select * from u",
            &[],
        );
        check(
            "select * from (with t as (select 1) select * from t) x, t",
            &["t"],
        );
        check(
            "with recursive t as (select 1 union all select * from t) select * from t",
            &[],
        );
        check("select * from generate_series(1, 3), unnest([1, 2])", &[]);
        check(
            "select * from a cross join lateral (select * from b) x",
            &["a", "b"],
        );
        check("select * from a;", &["a"]);
    }

    #[test]
    fn anything_but_one_select_is_refused() {
        let check = |query: &str, expected: &str| {
            let error = tables_of("clean", query).unwrap_err();
            let expected = format!("the query of `clean` must be one SELECT; found {expected}");
            assert_eq!(error.to_string(), expected);
        };
        check("drop table events", "DROP TABLE");
        check("insert into events select * from other", "INSERT INTO");
        check("create table t as select 1", "CREATE TABLE");
        check("copy events to 'x.csv'", "COPY");
        check("explain select 1", "EXPLAIN SELECT");
        check("select 1; select 2", "2 statements");
        check("", "0 statements");
        check("select * into t from events", "SELECT INTO");
        check(
            "select * from other.events",
            "a table with the qualified name `other.events`",
        );
    }

    #[test]
    fn a_query_that_cannot_be_parsed_names_its_step() {
        let error = tables_of("clean", "select from").unwrap_err();
        assert_eq!(error.to_string(), "the query of `clean` cannot be parsed");
    }
}
