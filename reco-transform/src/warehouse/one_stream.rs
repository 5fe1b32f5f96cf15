//! [`OneStream`]: rows that are being computed, as a plan that is read once.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::datasource::provider_as_source;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use futures::StreamExt;

/// Rows that are being computed, as a plan that is read once.
///
/// They are computed on as many threads as the step uses, whatever session writes them.
pub(super) struct OneStream {
    schema: SchemaRef,
    rows: Mutex<Option<SendableRecordBatchStream>>,
    trouble: Trouble,
}

/// The error that ended the rows. It is kept here whole, whatever whoever read them makes of it.
#[derive(Debug, Clone, Default)]
pub(super) struct Trouble(Arc<Mutex<Option<DataFusionError>>>);

impl Trouble {
    pub(super) fn take(&self) -> Option<DataFusionError> {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        slot.take()
    }

    fn put(&self, error: DataFusionError) -> DataFusionError {
        let text = error.to_string();
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *slot = Some(error);
        DataFusionError::Execution(text)
    }
}

impl OneStream {
    pub(super) fn new(rows: SendableRecordBatchStream) -> (Self, Trouble) {
        let trouble = Trouble::default();
        let stream = Self {
            schema: rows.schema(),
            rows: Mutex::new(Some(rows)),
            trouble: trouble.clone(),
        };
        (stream, trouble)
    }

    pub(super) fn into_plan(self) -> Result<LogicalPlan> {
        let schema = Arc::clone(&self.schema);
        let table = StreamingTable::try_new(schema, vec![Arc::new(self)])?;
        LogicalPlanBuilder::scan("rows", provider_as_source(Arc::new(table)), None)?.build()
    }
}

impl fmt::Debug for OneStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OneStream")
            .field("schema", &self.schema)
            .finish_non_exhaustive()
    }
}

impl PartitionStream for OneStream {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let schema = Arc::clone(&self.schema);
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(rows) = rows.take() else {
            let error = DataFusionError::Internal("the rows of a step were read twice".to_owned());
            let error = futures::stream::iter([Err(error)]);
            return Box::pin(RecordBatchStreamAdapter::new(schema, error));
        };
        let trouble = self.trouble.clone();
        let rows = rows.map(move |batch| batch.map_err(|error| trouble.put(error)));
        Box::pin(RecordBatchStreamAdapter::new(schema, rows))
    }
}
