//! [`Gate`]: what each statement passes first.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::common::{DFSchema, ParamValues};
use datafusion::logical_expr::{EmptyRelation, LogicalPlan};
use datafusion::prelude::SessionContext;
use datafusion::sql::sqlparser::ast::{Select, Set, Statement, Visit, Visitor};
use datafusion_postgres::hooks::{HookClient, QueryHook};
use datafusion_postgres::pgwire::api::results::{
    DataRowEncoder, FieldFormat, FieldInfo, QueryResponse, Response, Tag,
};
use datafusion_postgres::pgwire::api::{ClientInfo, Type};
use datafusion_postgres::pgwire::error::{PgWireError, PgWireResult};
use futures::stream;

use super::errors::{
    FEATURE_NOT_SUPPORTED, INSUFFICIENT_PRIVILEGE, READ_ONLY_TRANSACTION, refused, told,
};
use super::settings::setting;
use crate::sql::verb;
use crate::warehouse::Shown;

/// What each statement passes first: it sees what is published now, and it only reads.
pub(super) struct Gate {
    shown: Arc<Shown>,
}

impl Gate {
    pub(super) const fn new(shown: Arc<Shown>) -> Self {
        Self { shown }
    }

    async fn pass(&self, statement: &Statement) -> PgWireResult<()> {
        check(statement)?;
        self.shown.refresh().await.map_err(|error| told(&error))
    }

    /// The answer to a statement that the engine does not know.
    fn answer(statement: &Statement) -> Option<PgWireResult<Response>> {
        match statement {
            Statement::Discard { .. } => Some(Ok(Response::Execution(Tag::new("DISCARD")))),
            Statement::ShowVariable { variable } => {
                let name = variable.iter().map(|part| part.value.to_lowercase());
                let name = name.collect::<Vec<_>>().join("_");
                let value = setting(&name)?;
                Some(one_value(&name, value).map(Response::Query))
            }
            _ => None,
        }
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").finish_non_exhaustive()
    }
}

#[async_trait]
impl QueryHook for Gate {
    async fn handle_simple_query(
        &self,
        statement: &Statement,
        _: &SessionContext,
        _: &mut dyn HookClient,
    ) -> Option<PgWireResult<Response>> {
        match self.pass(statement).await {
            Ok(()) => Self::answer(statement),
            Err(error) => Some(Err(error)),
        }
    }

    async fn handle_extended_parse_query(
        &self,
        statement: &Statement,
        _: &SessionContext,
        _: &(dyn ClientInfo + Send + Sync),
    ) -> Option<PgWireResult<LogicalPlan>> {
        if let Err(error) = self.pass(statement).await {
            return Some(Err(error));
        }
        // What a client asks for is described by the plan, so `show` is left to the engine.
        matches!(statement, Statement::Discard { .. }).then(|| {
            Ok(LogicalPlan::EmptyRelation(EmptyRelation {
                produce_one_row: false,
                schema: Arc::new(DFSchema::empty()),
            }))
        })
    }

    async fn handle_extended_query(
        &self,
        statement: &Statement,
        _: &LogicalPlan,
        _: &ParamValues,
        session: &SessionContext,
        client: &mut dyn HookClient,
    ) -> Option<PgWireResult<Response>> {
        self.handle_simple_query(statement, session, client).await
    }
}

fn one_value(name: &str, value: &str) -> PgWireResult<QueryResponse> {
    let field = FieldInfo::new(name.to_owned(), None, None, Type::TEXT, FieldFormat::Text);
    let fields = Arc::new(vec![field]);
    let mut row = DataRowEncoder::new(Arc::clone(&fields));
    row.encode_field(&Some(value))?;
    let row = row.take_row();
    Ok(QueryResponse::new(fields, stream::iter([Ok(row)])))
}

/// Refuses what does not only read.
fn check(statement: &Statement) -> PgWireResult<()> {
    match statement.visit(&mut Writes) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

/// Finds what writes, in a statement and in what it is about.
struct Writes;

impl Visitor for Writes {
    type Break = PgWireError;

    fn pre_visit_statement(&mut self, statement: &Statement) -> ControlFlow<PgWireError> {
        match statement {
            Statement::Query(_)
            | Statement::Explain { .. }
            | Statement::ExplainTable { .. }
            | Statement::ShowVariable { .. }
            | Statement::ShowVariables { .. }
            | Statement::ShowStatus { .. }
            | Statement::ShowCatalogs { .. }
            | Statement::ShowTables { .. }
            | Statement::ShowColumns { .. }
            | Statement::ShowDatabases { .. }
            | Statement::ShowSchemas { .. }
            | Statement::ShowFunctions { .. }
            | Statement::StartTransaction { .. }
            | Statement::Commit { .. }
            | Statement::Rollback { .. }
            | Statement::Savepoint { .. }
            | Statement::ReleaseSavepoint { .. }
            | Statement::Declare { .. }
            | Statement::Fetch { .. }
            | Statement::Close { .. }
            | Statement::Prepare { .. }
            | Statement::Execute { .. }
            | Statement::Deallocate { .. }
            | Statement::Discard { .. } => ControlFlow::Continue(()),
            Statement::Set(set) => check_set(set),
            Statement::Insert(_)
            | Statement::Update { .. }
            | Statement::Delete(_)
            | Statement::Merge { .. }
            | Statement::Truncate { .. }
            | Statement::Copy { .. }
            | Statement::Drop { .. }
            | Statement::CreateTable { .. }
            | Statement::CreateView { .. }
            | Statement::CreateSchema { .. }
            | Statement::CreateIndex { .. }
            | Statement::CreateFunction { .. }
            | Statement::CreateDatabase { .. }
            | Statement::CreateRole { .. }
            | Statement::AlterTable { .. }
            | Statement::AlterView { .. }
            | Statement::Grant { .. }
            | Statement::Revoke { .. } => {
                let verb = verb(&statement.to_string());
                let text = format!("cannot execute {verb} in a read-only transaction");
                ControlFlow::Break(refused(READ_ONLY_TRANSACTION, text))
            }
            other => {
                let text = format!("{} is not supported", verb(&other.to_string()));
                ControlFlow::Break(refused(FEATURE_NOT_SUPPORTED, text))
            }
        }
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<PgWireError> {
        if select.into.is_none() {
            return ControlFlow::Continue(());
        }
        let text = "cannot execute SELECT INTO in a read-only transaction";
        ControlFlow::Break(refused(READ_ONLY_TRANSACTION, text))
    }
}

/// Settings of the engine hold for all who share its memory.
fn check_set(set: &Set) -> ControlFlow<PgWireError> {
    let text = set.to_string().to_lowercase();
    if !text.contains("datafusion.") {
        return ControlFlow::Continue(());
    }
    let text = "permission denied to set parameters of the engine";
    ControlFlow::Break(refused(INSUFFICIENT_PRIVILEGE, text))
}

#[cfg(test)]
mod tests {
    use datafusion_postgres::datafusion_pg_catalog::sql::PostgresCompatibilityParser;

    use super::*;

    #[test]
    fn what_does_not_only_read_is_refused() {
        let check = |sql: &str, expected: Option<(&str, &str)>| {
            let statements = PostgresCompatibilityParser::new().parse(sql).unwrap();
            let refusal = statements
                .iter()
                .find_map(|statement| check(statement).err());
            let refusal = refusal.map(|error| match error {
                PgWireError::UserError(info) => (info.code, info.message),
                other => panic!("{other}"),
            });
            let refusal = refusal
                .as_ref()
                .map(|(code, text)| (code.as_str(), text.as_str()));
            assert_eq!(refusal, expected, "{sql}");
        };
        for sql in [
            "select 1; show server_version",
            "with t as (select 1) select * from t",
            "explain analyze select 1",
            "set statement_timeout = 100",
            "begin; commit; discard all",
        ] {
            check(sql, None);
        }
        let written = |sql: &str, verb: &str| {
            let text = format!("cannot execute {verb} in a read-only transaction");
            check(sql, Some(("25006", &text)));
        };
        written("insert into t values (1)", "INSERT INTO");
        written("update t set a = 1", "UPDATE");
        written("delete from t", "DELETE FROM");
        written("drop table t", "DROP TABLE");
        written("create table t (a int)", "CREATE TABLE");
        written("create table t as select 1", "CREATE TABLE");
        written("create view v as select 1", "CREATE VIEW");
        written("select * into t from u", "SELECT INTO");
        written("explain insert into t values (1)", "INSERT INTO");
        written("copy t to '/tmp/x.csv'", "COPY");
        written("prepare p as insert into t values (1)", "INSERT INTO");
        let text = "permission denied to set parameters of the engine";
        check(
            "set datafusion.execution.batch_size = 1",
            Some(("42501", text)),
        );
        check("listen x", Some(("0A000", "LISTEN is not supported")));
    }
}
