//! [`Source`]: where the rows of a DAG come from.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::ipc::writer::StreamWriter;
use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;
use datafusion::error::Result;
use reco_core::{BoxError, RawTable, Record, TimeWindow};

use crate::digest::Digest;
use crate::raw_scan::{Fingerprinted, RawScan};

/// Where the rows of a table come from that no step makes.
///
/// A source is read again by every step that names it, by the audit if something is expected of it, and
/// every time from the start. A run does not pin it: of a raw table that is being written to, two readers
/// may find different rows. So read a [`TimeWindow`] that has ended, or let one step copy what is needed
/// into a table in memory or in Delta, and let all others read that, and expect things of that.
///
/// # Versions
///
/// A run makes anew what the source has changed for, so it asks what the source holds: a raw table by its
/// [fingerprint](RawTable::fingerprint), rows in memory by a digest of them. What is read from
/// elsewhere cannot tell, and all that is made of it is made in every run, unless the host says what
/// [version](Self::with_version) it is.
#[derive(Clone)]
pub struct Source {
    provider: Arc<dyn TableProvider>,
    holds: Holds,
}

/// How to find out what a source holds.
#[derive(Clone)]
enum Holds {
    Unknown,
    Version(String),
    Rows(Arc<Vec<RecordBatch>>),
    Raw(Arc<dyn Fingerprinted>),
}

impl Source {
    /// The records of a raw table whose [`timestamp`](Record::timestamp) is in a window.
    ///
    /// Nothing is read before a step asks; then batches stream through. A query with bounds on the column of
    /// that timestamp, such as `received_at >= '2024-05-01'`, reads no more of the raw table than these.
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
    pub fn raw<E: Record>(table: Arc<dyn RawTable<E>>, window: TimeWindow) -> Self {
        let scan = Arc::new(RawScan::new(table, window));
        Self {
            provider: Arc::clone(&scan) as Arc<dyn TableProvider>,
            holds: Holds::Raw(scan),
        }
    }

    /// Rows in memory.
    ///
    /// # Errors
    ///
    /// A batch has other columns than `schema`.
    pub fn batches(schema: SchemaRef, batches: Vec<RecordBatch>) -> Result<Self> {
        let rows = Arc::new(batches.clone());
        let table = MemTable::try_new(schema, vec![batches])?;
        Ok(Self {
            provider: Arc::new(table),
            holds: Holds::Rows(rows),
        })
    }

    /// Anything that DataFusion reads.
    #[must_use]
    pub fn provider(provider: Arc<dyn TableProvider>) -> Self {
        Self {
            provider,
            holds: Holds::Unknown,
        }
    }

    /// The same source, which holds the same rows as long as the host gives the same version: the digest
    /// of a file, the time of an export.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::sync::Arc;
    /// use reco_transform::Source;
    /// use reco_transform::datafusion::catalog::TableProvider;
    ///
    /// fn catalogue(table: Arc<dyn TableProvider>, export: &str) -> Source {
    ///     Source::provider(table).with_version(export)
    /// }
    /// ```
    #[must_use]
    pub fn with_version(self, version: impl Into<String>) -> Self {
        Self {
            holds: Holds::Version(version.into()),
            ..self
        }
    }

    pub(crate) const fn table(&self) -> &Arc<dyn TableProvider> {
        &self.provider
    }

    /// What the source holds now; none if it cannot tell.
    pub(crate) async fn version(&self) -> std::result::Result<Option<String>, BoxError> {
        match &self.holds {
            Holds::Unknown => Ok(None),
            Holds::Version(version) => Ok(Some(format!("version {version}"))),
            Holds::Rows(batches) => Ok(Some(digest_of_rows(batches)?)),
            Holds::Raw(table) => Ok(table.fingerprint().await?),
        }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source")
            .field("provider", &self.provider)
            .finish_non_exhaustive()
    }
}

fn digest_of_rows(batches: &[RecordBatch]) -> std::result::Result<String, BoxError> {
    let mut digest = Digest::new("rows");
    for batch in batches {
        let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema())?;
        writer.write(batch)?;
        digest.bytes(&writer.into_inner()?);
    }
    Ok(digest.finish())
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
