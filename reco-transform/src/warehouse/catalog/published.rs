//! [`PublishedSchema`]: the tables that an environment shows, opened when they are named.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{SchemaProvider, Session, TableProvider};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;

use super::Shown;
use crate::error::Error;

/// The tables that an environment shows, opened when they are named.
#[derive(Debug)]
pub(super) struct PublishedSchema {
    shown: Arc<Shown>,
}

impl PublishedSchema {
    pub(super) const fn new(shown: Arc<Shown>) -> Self {
        Self { shown }
    }
}

#[async_trait]
impl SchemaProvider for PublishedSchema {
    fn table_names(&self) -> Vec<String> {
        let state = self.shown.state();
        let names = state.iter().flat_map(|state| state.contents.tables.keys());
        names.cloned().collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let Some(published) = self.shown.published(name) else {
            return Ok(None);
        };
        let opened = self.shown.open(name, &published).await.map_err(external)?;
        Ok(Some(Arc::new(Published {
            name: name.to_owned(),
            planned: opened,
            shown: Arc::clone(&self.shown),
        })))
    }

    async fn table_type(&self, name: &str) -> Result<Option<TableType>> {
        Ok(self.table_exist(name).then_some(TableType::Base))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.shown.published(name).is_some()
    }
}

/// A published table, at the version that is shown when it is read.
///
/// A prepared query may be executed long after it was planned, so the version is not part of its plan. It
/// has no way to be written to.
struct Published {
    name: String,
    /// As it was when the query was planned.
    planned: Arc<dyn TableProvider>,
    shown: Arc<Shown>,
}

impl fmt::Debug for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Published")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl TableProvider for Published {
    fn schema(&self) -> SchemaRef {
        self.planned.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Some(published) = self.shown.published(&self.name) else {
            let table = self.name.clone();
            return Err(external(Error::NotPublished { table }));
        };
        let table = self
            .shown
            .open(&self.name, &published)
            .await
            .map_err(external)?;
        if table.schema() != self.schema() {
            let table = self.name.clone();
            return Err(external(Error::ColumnsChanged { table }));
        }
        table.scan(session, projection, filters, limit).await
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        self.planned.supports_filters_pushdown(filters)
    }
}

pub(super) fn external(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
