//! [`Doomed`]: a store whose owner dies after so many changes.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt as _, PutMultipartOptions, PutOptions, PutPayload, PutResult,
    Result,
};
use reco_core::async_trait;

/// A store that makes so many changes and then does nothing any more: what it holds is what a process
/// leaves that was killed there.
#[derive(Clone)]
pub(crate) struct Doomed {
    inner: Arc<dyn ObjectStore>,
    n_left: Arc<AtomicUsize>,
}

impl Doomed {
    pub(crate) fn after(n_changes: usize, inner: Arc<dyn ObjectStore>) -> Self {
        Self {
            inner,
            n_left: Arc::new(AtomicUsize::new(n_changes)),
        }
    }

    /// Whether it has died.
    pub(crate) fn is_dead(&self) -> bool {
        self.n_left.load(Ordering::SeqCst) == 0
    }

    fn alive(&self) -> Result<()> {
        if self.is_dead() { Err(dead()) } else { Ok(()) }
    }

    /// The last change that it makes is made, and nobody hears of it.
    fn change(&self) -> Result<()> {
        let one_less = |n: usize| n.checked_sub(1);
        let left = self
            .n_left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less);
        left.map(drop).map_err(|_| dead())
    }
}

fn dead() -> Error {
    Error::Generic {
        store: "doomed",
        source: "the process was killed".into(),
    }
}

impl fmt::Debug for Doomed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Doomed")
    }
}

impl fmt::Display for Doomed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Doomed")
    }
}

#[async_trait]
impl ObjectStore for Doomed {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        self.change()?;
        let put = self.inner.put_opts(location, payload, opts).await;
        self.alive()?;
        put
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.change()?;
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.alive()?;
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        let delete = move |location: Result<Path>| {
            let store = store.clone();
            async move {
                let location = location?;
                store.change()?;
                store.inner.delete(&location).await?;
                Ok(location)
            }
        };
        locations.then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.alive() {
            Ok(()) => self.inner.list(prefix),
            Err(error) => futures::stream::iter([Err(error)]).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.alive()?;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.change()?;
        self.inner.copy_opts(from, to, options).await
    }
}
