//! Where a collector puts what it has read: into a sink, or into a commit of its own.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use reco_core::{EventSink, Record, Result};
use uuid::Uuid;

use crate::delta::{BatchId, DeltaTable};

/// Takes the records of a request.
#[async_trait]
pub(super) trait Landing<E: Record>: Debug + Send + Sync {
    /// Accepts them whole, or not at all.
    async fn land(&self, request: Option<Uuid>, records: Vec<E>) -> Result<()>;
}

/// A sink, which does not know of requests.
#[derive(Debug)]
pub(super) struct Sink<E: Record>(pub(super) Arc<dyn EventSink<E>>);

#[async_trait]
impl<E: Record> Landing<E> for Sink<E> {
    async fn land(&self, _request: Option<Uuid>, records: Vec<E>) -> Result<()> {
        self.0.write(records).await.map(|_| ())
    }
}

/// A table that takes every request as a commit of its own, once by its id.
#[derive(Debug)]
pub(super) struct PerRequest<E: Record>(pub(super) DeltaTable<E>);

#[async_trait]
impl<E: Record> Landing<E> for PerRequest<E> {
    async fn land(&self, request: Option<Uuid>, records: Vec<E>) -> Result<()> {
        let request = request.unwrap_or_else(Uuid::new_v4);
        let written = async {
            let id = BatchId::new(format!("request-{request}"), 0)?;
            self.0.write_batch(&id, records).await
        };
        written
            .await
            .map(|_| ())
            .map_err(|error| error.at(self.0.name(), "write"))
    }
}
