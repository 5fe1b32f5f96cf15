//! [`RecoSchema`]: the tables that tell about the warehouse.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{SchemaProvider, Session, TableProvider};
use datafusion::datasource::MemTable;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;

use super::Shown;
use super::rows::RecoTable;

/// The tables that tell about the warehouse.
#[derive(Debug)]
pub(super) struct RecoSchema {
    shown: Arc<Shown>,
}

impl RecoSchema {
    pub(super) const fn new(shown: Arc<Shown>) -> Self {
        Self { shown }
    }
}

#[async_trait]
impl SchemaProvider for RecoSchema {
    fn table_names(&self) -> Vec<String> {
        RecoTable::ALL
            .iter()
            .map(|table| table.name().to_owned())
            .collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let found = RecoTable::ALL
            .into_iter()
            .find(|table| table.name() == name);
        Ok(found.map(|table| -> Arc<dyn TableProvider> {
            Arc::new(About {
                schema: table.schema(),
                table,
                shown: Arc::clone(&self.shown),
            })
        }))
    }

    async fn table_type(&self, name: &str) -> Result<Option<TableType>> {
        Ok(self.table_exist(name).then_some(TableType::View))
    }

    fn table_exist(&self, name: &str) -> bool {
        RecoTable::ALL.iter().any(|table| table.name() == name)
    }
}

/// A table whose rows are gathered when it is read.
#[derive(Debug)]
struct About {
    table: RecoTable,
    schema: SchemaRef,
    shown: Arc<Shown>,
}

#[async_trait]
impl TableProvider for About {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let rows = self.table.rows(&self.shown, &self.schema).await?;
        let table = MemTable::try_new(self.schema(), vec![vec![rows]])?;
        table.scan(session, projection, filters, limit).await
    }
}
