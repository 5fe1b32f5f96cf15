//! [`Synced`]: a local folder as an object store that has synced what it says it stored.

use std::fmt;
use std::fs::File;
use std::io::{Error as IoError, ErrorKind, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path as StorePath;
use object_store::{
    CopyMode, CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions,
    Result, UploadPart,
};
use uuid::Uuid;

use super::folders::{Disk, Folders};

/// A local folder as an object store that has synced what it says it stored.
///
/// [`LocalFileSystem`] leaves the writing to the operating system, so a power loss may take a file
/// whose `put` has returned, or leave an empty one under its name. Here an object is written to a file
/// that no listing shows, synced, and only then linked or renamed to its name; then the folder is
/// synced, and once for each folder, the one that it is in. So:
///
/// * an object that can be seen is whole, after a power loss too;
/// * an object whose `put` has returned is there after a power loss;
/// * of several writers that create one name, one wins, and the others are told.
///
/// Deletions are not synced: what comes back after a power loss is a file that nothing names.
#[derive(Debug, Clone)]
pub(super) struct Synced {
    inner: Arc<LocalFileSystem>,
    folders: Arc<Folders>,
}

impl Synced {
    /// The store of a folder that exists.
    pub(super) fn new(root: &Path, disk: Arc<dyn Disk>) -> Result<Self> {
        let folders = Folders::new(root, disk).map_err(|error| failed(root, &error))?;
        Ok(Self {
            inner: Arc::new(LocalFileSystem::new_with_prefix(root)?),
            folders: Arc::new(folders),
        })
    }

    /// The folder.
    pub(super) fn root(&self) -> &Path {
        self.folders.root()
    }

    /// Syncs a folder, so that every name in it that could be seen before is there for good, whoever
    /// made it.
    pub(super) async fn sync_folder(&self, folder: &StorePath) -> Result<()> {
        let path = self.inner.path_to_filesystem(folder)?;
        let folders = Arc::clone(&self.folders);
        blocking(move || folders.sync(&path).map_err(|error| failed(&path, &error))).await
    }

    async fn sync_object(&self, location: &StorePath) -> Result<()> {
        let path = self.inner.path_to_filesystem(location)?;
        let folders = Arc::clone(&self.folders);
        blocking(move || {
            let synced = File::open(&path).and_then(|file| folders.sync_file(&file, &path));
            synced
                .and_then(|()| folders.sync_parent(&path))
                .map_err(|error| failed(&path, &error))
        })
        .await
    }
}

impl fmt::Display for Synced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Synced({})", self.inner)
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl ObjectStore for Synced {
    async fn put_opts(
        &self,
        location: &StorePath,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        if !opts.attributes.is_empty() || matches!(opts.mode, PutMode::Update(_)) {
            // Refused there, with the reason.
            return self.inner.put_opts(location, payload, opts).await;
        }
        let path = self.inner.path_to_filesystem(location)?;
        let folders = Arc::clone(&self.folders);
        blocking(move || {
            let mut staged = Staged::create(path, folders)?;
            staged.write(0, &payload)?;
            staged.publish(opts.mode == PutMode::Create)
        })
        .await
    }

    async fn put_multipart_opts(
        &self,
        location: &StorePath,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        if !opts.attributes.is_empty() {
            return self.inner.put_multipart_opts(location, opts).await;
        }
        let path = self.inner.path_to_filesystem(location)?;
        let folders = Arc::clone(&self.folders);
        let staged = blocking(move || Staged::create(path, folders)).await?;
        Ok(Box::new(Upload {
            staged: Arc::new(Mutex::new(Some(staged))),
            offset: 0,
        }))
    }

    async fn get_opts(&self, location: &StorePath, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &StorePath, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<StorePath>>,
    ) -> BoxStream<'static, Result<StorePath>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&StorePath>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&StorePath>,
        offset: &StorePath,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&StorePath>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(
        &self,
        from: &StorePath,
        to: &StorePath,
        options: CopyOptions,
    ) -> Result<()> {
        // Both names are of one file then, so what another program left unsynced has to be synced
        // before the second can be seen.
        if options.mode == CopyMode::Create {
            self.sync_object(from).await?;
        }
        self.inner.copy_opts(from, to, options).await?;
        self.sync_object(to).await
    }

    async fn rename_opts(
        &self,
        from: &StorePath,
        to: &StorePath,
        options: RenameOptions,
    ) -> Result<()> {
        self.sync_object(from).await?;
        self.inner.rename_opts(from, to, options).await?;
        self.sync_object(to).await
    }
}

/// A file that no listing shows, under way to its name; removed if it does not get there.
#[derive(Debug)]
struct Staged {
    file: File,
    path: PathBuf,
    target: PathBuf,
    folders: Arc<Folders>,
    published: bool,
}

impl Staged {
    fn create(target: PathBuf, folders: Arc<Folders>) -> Result<Self> {
        let mut path = target.clone().into_os_string();
        // Names that end so are passed over by the listings of `LocalFileSystem`.
        path.push(format!("#{}", Uuid::new_v4().as_u128()));
        let path = PathBuf::from(path);
        let open = || File::create_new(&path);
        let file = open().or_else(|error| match (error.kind(), target.parent()) {
            (ErrorKind::NotFound, Some(parent)) => {
                std::fs::create_dir_all(parent).and_then(|()| open())
            }
            _ => Err(error),
        });
        Ok(Self {
            file: file.map_err(|error| failed(&target, &error))?,
            path,
            target,
            folders,
            published: false,
        })
    }

    fn write(&mut self, offset: u64, payload: &PutPayload) -> Result<()> {
        let mut write = || {
            self.file.seek(SeekFrom::Start(offset))?;
            payload
                .iter()
                .try_for_each(|part| self.file.write_all(part))
        };
        write().map_err(|error| failed(&self.target, &error))
    }

    fn publish(mut self, create: bool) -> Result<PutResult> {
        let target = self.target.clone();
        let failed = |error: IoError| failed(&target, &error);
        self.folders
            .sync_file(&self.file, &target)
            .map_err(failed)?;
        if create {
            std::fs::hard_link(&self.path, &target).map_err(|source| match source.kind() {
                ErrorKind::AlreadyExists => Error::AlreadyExists {
                    path: target.display().to_string(),
                    source: source.into(),
                },
                _ => failed(source),
            })?;
        } else {
            std::fs::rename(&self.path, &target).map_err(failed)?;
            self.published = true;
        }
        self.folders.sync_parent(&target).map_err(failed)?;
        Ok(PutResult {
            e_tag: None,
            version: None,
        })
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.published
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "a staged file stays behind");
        }
    }
}

/// A multipart upload into a staged file.
#[derive(Debug)]
struct Upload {
    /// None once it is completed or aborted.
    staged: Arc<Mutex<Option<Staged>>>,
    offset: u64,
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let offset = self.offset;
        self.offset += u64::try_from(data.content_length()).unwrap_or(u64::MAX);
        let staged = Arc::clone(&self.staged);
        blocking(move || {
            let mut staged = staged.lock().unwrap();
            staged.as_mut().ok_or_else(ended)?.write(offset, &data)
        })
        .boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let staged = self.staged.lock().unwrap().take().ok_or_else(ended)?;
        blocking(move || staged.publish(false)).await
    }

    async fn abort(&mut self) -> Result<()> {
        drop(self.staged.lock().unwrap().take().ok_or_else(ended)?);
        Ok(())
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await?
}

fn failed(path: &Path, source: &IoError) -> Error {
    let found = source.kind();
    let source = format!("`{}`: {source}", path.display()).into();
    match found {
        ErrorKind::NotFound => Error::NotFound {
            path: path.display().to_string(),
            source,
        },
        _ => Error::Generic {
            store: "Synced",
            source,
        },
    }
}

fn ended() -> Error {
    Error::Generic {
        store: "Synced",
        source: "the upload was completed or aborted before".into(),
    }
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt;
    use futures::future::join_all;
    use object_store::ObjectStoreExt as _;

    use super::super::folders::SystemDisk;
    use super::super::sorted::Sorted;
    use super::*;

    fn store() -> (tempfile::TempDir, Synced) {
        let folder = tempfile::tempdir().unwrap();
        let store = Synced::new(folder.path(), Arc::new(SystemDisk)).unwrap();
        (folder, store)
    }

    async fn names(store: &Synced) -> Vec<String> {
        let listing = Sorted(Arc::new(store.clone())).list(None);
        let listing: Vec<_> = listing.try_collect().await.unwrap();
        listing
            .into_iter()
            .map(|meta| meta.location.to_string())
            .collect()
    }

    async fn create(store: &Synced, path: &str, bytes: &'static [u8]) -> Result<PutResult> {
        let options = PutOptions::from(PutMode::Create);
        store.put_opts(&path.into(), bytes.into(), options).await
    }

    #[tokio::test]
    async fn one_of_many_creators_wins() {
        let (_folder, store) = store();
        let creators = (0..16).map(|_| create(&store, "log/1.json", b"entry"));
        let results = join_all(creators).await;
        let is_loss =
            |result: &&Result<PutResult>| matches!(result, Err(Error::AlreadyExists { .. }));
        assert_eq!(results.iter().filter(is_loss).count(), 15);
        assert_eq!(names(&store).await, ["log/1.json"]);
    }

    #[tokio::test]
    async fn nothing_is_left_of_what_was_staged() {
        let (folder, store) = store();
        create(&store, "a/b/c", b"1").await.unwrap();
        create(&store, "a/b/c", b"2").await.unwrap_err();
        store.put(&"a/b/d".into(), "3".into()).await.unwrap();
        store.put(&"a/b/d".into(), "4".into()).await.unwrap();
        let mut upload = store.put_multipart(&"a/b/e".into()).await.unwrap();
        let parts = [
            upload.put_part("part 1, ".into()),
            upload.put_part("part 2".into()),
        ];
        for part in join_all(parts).await {
            part.unwrap();
        }
        upload.complete().await.unwrap();
        assert!(upload.complete().await.is_err());
        let mut aborted = store.put_multipart(&"a/b/f".into()).await.unwrap();
        aborted.put_part("5".into()).await.unwrap();
        aborted.abort().await.unwrap();
        store.rename(&"a/b/d".into(), &"g/h".into()).await.unwrap();
        store.copy(&"a/b/c".into(), &"g/i".into()).await.unwrap();

        let read = async |path: &str| {
            store
                .get(&path.into())
                .await
                .unwrap()
                .bytes()
                .await
                .unwrap()
        };
        assert_eq!(read("a/b/c").await, "1");
        assert_eq!(read("a/b/e").await, "part 1, part 2");
        assert_eq!(read("g/h").await, "4");
        assert_eq!(read("g/i").await, "1");
        assert_eq!(names(&store).await, ["a/b/c", "a/b/e", "g/h", "g/i"]);
        assert_eq!(
            std::fs::read_dir(folder.path().join("a/b"))
                .unwrap()
                .count(),
            2
        );
    }

    #[tokio::test]
    async fn a_staged_file_is_not_listed() {
        let (_folder, store) = store();
        let mut upload = store.put_multipart(&"a".into()).await.unwrap();
        upload.put_part("1".into()).await.unwrap();
        assert_eq!(names(&store).await, Vec::<String>::new());
        upload.complete().await.unwrap();
        assert_eq!(names(&store).await, ["a"]);
    }
}
