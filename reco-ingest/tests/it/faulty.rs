//! [`Faulty`]: a store that fails at a chosen operation.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt as _, PutMode, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, Result,
};
use reco_core::object_store;

/// What happens at the chosen operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is not done, and the answer is an error.
    Refused,
    /// It is done, and the answer is an error.
    AnswerLost,
    /// It is done, and if it made an object, the store's own second try finds it there.
    Retried,
    /// It is done after others had their turn.
    Slow,
    /// From here on nothing is stored, until the disk is given room again.
    DiskFull,
}

impl Fault {
    pub(crate) const ALL: [Self; 5] = [
        Self::Refused,
        Self::AnswerLost,
        Self::Retried,
        Self::Slow,
        Self::DiskFull,
    ];
}

/// A store that numbers the operations on it from 1 on and fails at a chosen one.
#[derive(Clone)]
pub(crate) struct Faulty {
    inner: Arc<dyn ObjectStore>,
    plan: Arc<Plan>,
}

#[derive(Default)]
struct Plan {
    n_operations: AtomicUsize,
    fault: Mutex<Option<(usize, Fault)>>,
    before_entry: Mutex<Option<BoxFuture<'static, ()>>>,
}

impl Faulty {
    pub(crate) fn new(inner: Arc<dyn ObjectStore>) -> Self {
        Self {
            inner,
            plan: Arc::default(),
        }
    }

    /// Counts from 0 again, and fails at the operation of a number.
    pub(crate) fn fail_at(&self, operation: usize, fault: Fault) {
        self.plan.n_operations.store(0, Ordering::SeqCst);
        *self.plan.fault.lock().unwrap() = Some((operation, fault));
    }

    /// Fails no more, and says whether the chosen operation was reached.
    pub(crate) fn heal(&self) -> bool {
        let fault = self.plan.fault.lock().unwrap().take();
        let n_operations = self.plan.n_operations.load(Ordering::SeqCst);
        fault.is_some_and(|(operation, _)| operation <= n_operations)
    }

    /// Has something happen just before the next entry of a log is stored.
    pub(crate) fn before_entry(&self, happens: impl Future<Output = ()> + Send + 'static) {
        *self.plan.before_entry.lock().unwrap() = Some(Box::pin(happens));
    }

    // What happens to this operation.
    async fn begin(&self, stores: bool) -> Result<Option<Fault>> {
        let operation = self.plan.n_operations.fetch_add(1, Ordering::SeqCst) + 1;
        let planned = *self.plan.fault.lock().unwrap();
        let fault = match planned {
            Some((at, Fault::DiskFull)) => (stores && at <= operation).then_some(Fault::DiskFull),
            Some((at, fault)) => (at == operation).then_some(fault),
            None => None,
        };
        match fault {
            Some(Fault::Refused) => Err(failed("the connection was refused")),
            Some(Fault::DiskFull) => Err(failed("no space left on device")),
            Some(Fault::Slow) => {
                for _ in 0..16 {
                    tokio::task::yield_now().await;
                }
                Ok(None)
            }
            other => Ok(other),
        }
    }
}

impl fmt::Debug for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faulty").finish_non_exhaustive()
    }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Faulty")
    }
}

fn failed(reason: &'static str) -> Error {
    Error::Generic {
        store: "faulty",
        source: reason.into(),
    }
}

fn answered<T>(fault: Option<Fault>, answer: T) -> Result<T> {
    match fault {
        Some(Fault::AnswerLost) => Err(failed("the connection was lost")),
        _ => Ok(answer),
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        let is_entry = location.extension() == Some("json");
        let happens = is_entry
            .then(|| self.plan.before_entry.lock().unwrap().take())
            .flatten();
        if let Some(happens) = happens {
            happens.await;
        }
        let creates = opts.mode == PutMode::Create;
        let fault = self.begin(true).await?;
        let stored = self.inner.put_opts(location, payload, opts).await?;
        if creates && fault == Some(Fault::Retried) {
            return Err(Error::AlreadyExists {
                path: location.to_string(),
                source: "it is there".into(),
            });
        }
        answered(fault, stored)
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let fault = self.begin(true).await?;
        answered(fault, self.inner.put_multipart_opts(location, opts).await?)
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let fault = self.begin(false).await?;
        answered(fault, self.inner.get_opts(location, options).await?)
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        locations
            .then(move |location| {
                let store = store.clone();
                async move {
                    let location = location?;
                    let fault = store.begin(false).await?;
                    store.inner.delete(&location).await?;
                    answered(fault, location)
                }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let store = self.clone();
        let listed = self.inner.list(prefix);
        stream::once(async move { answered(store.begin(false).await?, listed) })
            .map(|listed| listed.unwrap_or_else(|error| stream::once(async { Err(error) }).boxed()))
            .flatten()
            .boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let fault = self.begin(false).await?;
        answered(fault, self.inner.list_with_delimiter(prefix).await?)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let fault = self.begin(true).await?;
        answered(fault, self.inner.copy_opts(from, to, options).await?)
    }
}
