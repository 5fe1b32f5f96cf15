//! [`Source`]: where the rows of a DAG come from.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::datasource::MemTable;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use futures::TryStreamExt;
use reco_core::{RawTable, Record, TimeWindow};

/// Where the rows of a table come from that no step makes.
///
/// A source is read again by every step that names it, by the audit if something is expected of it, and
/// every time from the start. A run does not pin it: of a raw table that is being written to, two readers
/// may find different rows. So read a [`TimeWindow`] that has ended, or let one step copy what is needed
/// into a table in memory or in Delta, and let all others read that, and expect things of that.
#[derive(Debug, Clone)]
pub struct Source {
    provider: Arc<dyn TableProvider>,
}

impl Source {
    /// The records of a raw table whose [`timestamp`](Record::timestamp) is in a window.
    ///
    /// Nothing is read before a step asks; then batches stream through.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::sync::Arc;
    /// use reco_core::{Event, RawTable, TimeWindow};
    /// use reco_transform::Source;
    ///
    /// fn this_year(raw: Arc<dyn RawTable<Event>>) -> Result<Source, Box<dyn std::error::Error>> {
    ///     Ok(Source::raw(raw, TimeWindow::from("2024-01-01T00:00Z".parse()?)))
    /// }
    /// ```
    #[must_use]
    #[expect(
        clippy::missing_panics_doc,
        reason = "one schema is compared with itself"
    )]
    pub fn raw<E: Record>(table: Arc<dyn RawTable<E>>, window: TimeWindow) -> Self {
        let scan = RawScan {
            table,
            window,
            schema: E::schema(),
        };
        let schema = E::schema();
        let table = StreamingTable::try_new(schema, vec![Arc::new(scan)])
            .expect("the table and its only partition have the same schema");
        Self::provider(Arc::new(table))
    }

    /// Rows in memory.
    ///
    /// # Errors
    ///
    /// A batch has other columns than `schema`.
    pub fn batches(schema: SchemaRef, batches: Vec<RecordBatch>) -> Result<Self> {
        let table = MemTable::try_new(schema, vec![batches])?;
        Ok(Self::provider(Arc::new(table)))
    }

    /// Anything that DataFusion reads.
    #[must_use]
    pub fn provider(provider: Arc<dyn TableProvider>) -> Self {
        Self { provider }
    }

    pub(crate) const fn table(&self) -> &Arc<dyn TableProvider> {
        &self.provider
    }
}

/// What [`DagBuilder::source`](crate::DagBuilder::source) accepts: a raw table, alone or shared, a
/// [`Source`], or a table of DataFusion.
///
/// `Kind` only tells the compiler which of them it is; leave it to be inferred.
pub trait IntoSource<Kind> {
    /// The source.
    fn into_source(self) -> Source;
}

impl<E: Record, T: RawTable<E>> IntoSource<kind::Raw<E>> for T {
    fn into_source(self) -> Source {
        Source::raw::<E>(Arc::new(self), TimeWindow::ALL)
    }
}

impl<E: Record> IntoSource<kind::Shared<E>> for Arc<dyn RawTable<E>> {
    fn into_source(self) -> Source {
        Source::raw(self, TimeWindow::ALL)
    }
}

impl<E: Record, T: RawTable<E>> IntoSource<kind::SharedRaw<E>> for Arc<T> {
    fn into_source(self) -> Source {
        Source::raw::<E>(self, TimeWindow::ALL)
    }
}

impl IntoSource<kind::Ready> for Source {
    fn into_source(self) -> Source {
        self
    }
}

impl IntoSource<kind::Provider> for Arc<dyn TableProvider> {
    fn into_source(self) -> Source {
        Source::provider(self)
    }
}

/// The kinds of [`IntoSource`]: types without values.
pub mod kind {
    use std::marker::PhantomData;

    /// A raw table.
    #[derive(Debug)]
    pub struct Raw<E>(PhantomData<E>);

    /// A shared raw table of a known type.
    #[derive(Debug)]
    pub struct SharedRaw<E>(PhantomData<E>);

    /// A shared raw table of any type.
    #[derive(Debug)]
    pub struct Shared<E>(PhantomData<E>);

    /// A source already.
    #[derive(Debug)]
    pub enum Ready {}

    /// A table of DataFusion.
    #[derive(Debug)]
    pub enum Provider {}
}

/// A raw table as the only partition of a stream.
struct RawScan<E: Record> {
    table: Arc<dyn RawTable<E>>,
    window: TimeWindow,
    schema: SchemaRef,
}

impl<E: Record> fmt::Debug for RawScan<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawScan")
            .field("table", &self.table)
            .field("window", &self.window)
            .finish_non_exhaustive()
    }
}

impl<E: Record> PartitionStream for RawScan<E> {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (table, window) = (Arc::clone(&self.table), self.window);
        let batches = async move { table.scan(window).await };
        let batches = futures::stream::once(batches)
            .try_flatten()
            .map_err(|error| DataFusionError::External(Box::new(error)));
        let schema = Arc::clone(&self.schema);
        Box::pin(RecordBatchStreamAdapter::new(schema, batches))
    }
}
