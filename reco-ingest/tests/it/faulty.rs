//! [`Faulty`]: a store that fails at a chosen operation.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

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

/// What happens at the chosen operation of those that it can happen to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A read or a listing is not answered.
    Unread,
    /// A change is not made, and the answer is an error.
    Refused,
    /// A change is made, and the answer is an error.
    AnswerLost,
    /// An object is made, and the store's own second try finds it there.
    Retried,
    /// From here on nothing is stored, until the disk is given room again.
    DiskFull,
    /// From here on others have their turn before anything is done.
    Slow,
}

impl Fault {
    /// All that change how a change ends.
    pub(crate) const OF_CHANGES: [Self; 5] = [
        Self::Refused,
        Self::AnswerLost,
        Self::Retried,
        Self::DiskFull,
        Self::Slow,
    ];

    fn can_happen_to(self, operation: Operation) -> bool {
        match self {
            Self::Unread => operation == Operation::Read,
            Self::Refused | Self::AnswerLost => operation != Operation::Read,
            Self::Retried => operation == Operation::Create,
            Self::DiskFull => matches!(operation, Operation::Create | Operation::Put),
            Self::Slow => true,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Read,
    Create,
    Put,
    Delete,
}

/// A store that numbers the operations that a fault can happen to, from 1 on, and has it happen to a
/// chosen one.
#[derive(Clone)]
pub(crate) struct Faulty {
    inner: Arc<dyn ObjectStore>,
    plan: Arc<Plan>,
}

#[derive(Default)]
struct Plan {
    /// How long every object takes to be stored.
    delay: Duration,
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

    /// A store without faults that is far away: every object takes so long to be stored.
    pub(crate) fn distant(inner: Arc<dyn ObjectStore>, delay: Duration) -> Self {
        let plan = Plan {
            delay,
            ..Plan::default()
        };
        Self {
            inner,
            plan: Arc::new(plan),
        }
    }

    /// Counts from 0 again, and has a fault happen to the operation of a number.
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
    async fn begin(&self, operation: Operation) -> Result<Option<Fault>> {
        if matches!(operation, Operation::Create | Operation::Put) && !self.plan.delay.is_zero() {
            tokio::time::sleep(self.plan.delay).await;
        }
        let planned = *self.plan.fault.lock().unwrap();
        let Some((at, fault)) = planned.filter(|(_, fault)| fault.can_happen_to(operation)) else {
            return Ok(None);
        };
        let number = self.plan.n_operations.fetch_add(1, Ordering::SeqCst) + 1;
        match fault {
            Fault::Unread if at == number => Err(failed("the connection was lost")),
            Fault::Refused if at == number => Err(failed("the connection was refused")),
            Fault::DiskFull if at <= number => Err(failed("no space left on device")),
            Fault::AnswerLost | Fault::Retried if at == number => Ok(Some(fault)),
            Fault::Slow if at <= number => {
                for _ in 0..16 {
                    tokio::task::yield_now().await;
                }
                Ok(None)
            }
            _ => Ok(None),
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
        let operation = match opts.mode {
            PutMode::Create => Operation::Create,
            PutMode::Overwrite | PutMode::Update(_) => Operation::Put,
        };
        let fault = self.begin(operation).await?;
        let stored = self.inner.put_opts(location, payload, opts).await?;
        if fault == Some(Fault::Retried) {
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
        let fault = self.begin(Operation::Put).await?;
        answered(fault, self.inner.put_multipart_opts(location, opts).await?)
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let fault = self.begin(Operation::Read).await?;
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
                    let fault = store.begin(Operation::Delete).await?;
                    store.inner.delete(&location).await?;
                    answered(fault, location)
                }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let store = self.clone();
        let listed = self.inner.list(prefix);
        stream::once(async move { answered(store.begin(Operation::Read).await?, listed) })
            .map(|listed| listed.unwrap_or_else(|error| stream::once(async { Err(error) }).boxed()))
            .flatten()
            .boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let fault = self.begin(Operation::Read).await?;
        answered(fault, self.inner.list_with_delimiter(prefix).await?)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let fault = self.begin(Operation::Put).await?;
        answered(fault, self.inner.copy_opts(from, to, options).await?)
    }
}
