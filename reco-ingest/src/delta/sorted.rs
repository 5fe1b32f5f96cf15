//! [`Sorted`]: a store whose listings are in the order of names.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
};

/// A store whose listings are in the order of names.
///
/// Those of remote stores are, and readers of a Delta log count on it; the listings of
/// [`LocalFileSystem`](object_store::local::LocalFileSystem) come as the disk has them, and the log then
/// seems to have gaps.
#[derive(Debug)]
pub(super) struct Sorted(pub(super) Arc<dyn ObjectStore>);

impl fmt::Display for Sorted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl ObjectStore for Sorted {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        self.0.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.0.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.0.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.0.get_ranges(location, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.0.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        sorted(self.0.list(prefix))
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        sorted(self.0.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.0.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.0.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.0.rename_opts(from, to, options).await
    }
}

fn sorted(
    listing: BoxStream<'static, Result<ObjectMeta>>,
) -> BoxStream<'static, Result<ObjectMeta>> {
    let all = async move {
        let mut all: Vec<_> = listing.try_collect().await?;
        all.sort_by(|a: &ObjectMeta, b| a.location.cmp(&b.location));
        Ok::<_, Error>(stream::iter(all).map(Ok))
    };
    stream::once(all).try_flatten().boxed()
}

#[cfg(test)]
mod tests {
    use object_store::ObjectStoreExt as _;
    use object_store::local::LocalFileSystem;

    use super::*;

    async fn names(listing: BoxStream<'static, Result<ObjectMeta>>) -> Vec<String> {
        let names = listing.map_ok(|meta| meta.location.to_string());
        names.try_collect().await.unwrap()
    }

    #[tokio::test]
    async fn listings_are_sorted() {
        let folder = tempfile::tempdir().unwrap();
        let store = Sorted(Arc::new(
            LocalFileSystem::new_with_prefix(folder.path()).unwrap(),
        ));
        let mut expected: Vec<_> = (0..40).map(|i| format!("log/{i:020}.json")).collect();
        for path in expected.iter().rev() {
            store.put(&path.as_str().into(), "1".into()).await.unwrap();
        }
        assert_eq!(names(store.list(None)).await, expected);
        let offset = Path::from(expected[9].as_str());
        let rest = names(store.list_with_offset(None, &offset)).await;
        assert_eq!(rest, expected.split_off(10));
    }
}
