//! A commit whose answer is lost: nobody knows whether it landed, and still the rows are there once.

use std::fmt;
use std::sync::Arc;
use std::sync::Mutex;

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use reco_core::{TimeWindow, object_store};
use reco_ingest::{BatchId, DeltaTable, Written};

use crate::shop::{events, ids};

/// What happens to the next entry of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// It is not stored, and the answer is an error.
    Refused,
    /// It is stored, and the answer is an error.
    AnswerLost,
    /// It is stored, and the store's own second try finds it there.
    Retried,
}

#[derive(Debug)]
struct Flaky {
    inner: InMemory,
    next: Mutex<Option<Fault>>,
}

impl fmt::Display for Flaky {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Flaky")
    }
}

fn lost() -> Error {
    Error::Generic {
        store: "flaky",
        source: "the connection was lost".into(),
    }
}

#[async_trait]
impl ObjectStore for Flaky {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        let is_entry = location.as_ref().contains("_delta_log");
        let fault = is_entry.then(|| self.next.lock().unwrap().take()).flatten();
        if fault == Some(Fault::Refused) {
            return Err(lost());
        }
        let stored = self.inner.put_opts(location, payload, opts).await?;
        match fault {
            Some(Fault::AnswerLost) => Err(lost()),
            Some(Fault::Retried) => Err(Error::AlreadyExists {
                path: location.to_string(),
                source: "it is there".into(),
            }),
            _ => Ok(stored),
        }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

async fn check(fault: Fault, first: Option<Written>, second: Written) {
    let store = Arc::new(Flaky {
        inner: InMemory::new(),
        next: Mutex::new(None),
    });
    let table = DeltaTable::open(Arc::clone(&store) as Arc<dyn ObjectStore>, "raw")
        .await
        .unwrap();
    let id = BatchId::new("collector-1", 1).unwrap();
    *store.next.lock().unwrap() = Some(fault);
    let answer = table.write_batch(&id, events("a", 2)).await;
    assert_eq!(answer.ok(), first, "{fault:?}");
    let answer = table.write_batch(&id, events("a", 2)).await.unwrap();
    assert_eq!(answer, second, "{fault:?}");
    assert_eq!(ids(&table, TimeWindow::ALL).await, ["a-0", "a-1"]);
}

#[tokio::test]
async fn a_batch_is_there_once_whatever_became_of_the_answer() {
    let committed = Written::Committed { version: 1 };
    check(Fault::Refused, None, committed).await;
    check(Fault::AnswerLost, None, Written::AlreadyThere).await;
    check(Fault::Retried, Some(committed), Written::AlreadyThere).await;
}
