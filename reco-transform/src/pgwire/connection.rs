//! What serves one client.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::setup_pg_catalog;
use datafusion_postgres::hooks::QueryHook;
use datafusion_postgres::hooks::cursor::CursorStatementHook;
use datafusion_postgres::hooks::set_show::SetShowHook;
use datafusion_postgres::hooks::transactions::TransactionStatementHook;
use datafusion_postgres::pgwire::api::auth::StartupHandler;
use datafusion_postgres::pgwire::api::cancel::{CancelHandler, DefaultCancelHandler};
use datafusion_postgres::pgwire::api::portal::Portal;
use datafusion_postgres::pgwire::api::query::{ExtendedQueryHandler, SimpleQueryHandler};
use datafusion_postgres::pgwire::api::results::{QueryResponse, Response, SendableRowStream};
use datafusion_postgres::pgwire::api::store::PortalStore;
use datafusion_postgres::pgwire::api::{
    ClientInfo, ClientPortalStore, ConnectionHandle, ErrorHandler, PgWireServerHandlers,
};
use datafusion_postgres::pgwire::error::{PgWireError, PgWireResult};
use datafusion_postgres::pgwire::messages::PgWireBackendMessage;
use datafusion_postgres::pgwire::messages::data::DataRow;
use datafusion_postgres::{DfSessionService, Parser};
use futures::channel::oneshot;
use futures::{Sink, StreamExt, stream};
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::errors::{Errors, TIMED_OUT, refused};
use super::gate::Gate;
use super::startup::Startup;
use super::{Server, settings};
use crate::error::{Error, Result};

type Statement = <DfSessionService as ExtendedQueryHandler>::Statement;

/// What serves one client, and tells whether it is being served a statement.
pub(super) fn handlers(
    server: &Server,
    permit: Option<OwnedSemaphorePermit>,
) -> Result<(Handlers, Busy)> {
    let catalog = server.catalog.another()?;
    let environment = catalog.shown().warehouse().environment_name().to_owned();
    let session = catalog.session().clone();
    let failed = |source| Error::Query { source };
    setup_pg_catalog(&session, &environment, server.users.clone())
        .map_err(|error| failed(*error))?;
    settings::register(&session);
    let hooks: Vec<Arc<dyn QueryHook>> = vec![
        Arc::new(Gate::new(Arc::clone(catalog.shown()))),
        Arc::new(CursorStatementHook),
        Arc::new(SetShowHook),
        Arc::new(TransactionStatementHook),
    ];
    let (busy, watch) = Busy::new();
    let queries = Queries {
        service: DfSessionService::new_with_hooks(Arc::new(session), hooks),
        timeout: server.config.statement_timeout,
        busy,
    };
    let handlers = Handlers {
        startup: Arc::new(Startup::new(server, environment, permit)),
        queries: Arc::new(queries),
        cancel: Arc::new(DefaultCancelHandler::new(Arc::clone(&server.connections))),
    };
    Ok((handlers, watch))
}

pub(super) struct Handlers {
    startup: Arc<Startup>,
    queries: Arc<Queries>,
    cancel: Arc<DefaultCancelHandler>,
}

impl PgWireServerHandlers for Handlers {
    fn simple_query_handler(&self) -> Arc<impl SimpleQueryHandler> {
        Arc::clone(&self.queries)
    }

    fn extended_query_handler(&self) -> Arc<impl ExtendedQueryHandler> {
        Arc::clone(&self.queries)
    }

    fn startup_handler(&self) -> Arc<impl StartupHandler> {
        Arc::clone(&self.startup)
    }

    fn error_handler(&self) -> Arc<impl ErrorHandler> {
        Arc::new(Errors)
    }

    fn cancel_handler(&self) -> Arc<impl CancelHandler> {
        Arc::clone(&self.cancel)
    }
}

/// Statements, which end in time.
struct Queries {
    service: DfSessionService,
    timeout: Duration,
    busy: Arc<watch::Sender<usize>>,
}

impl Queries {
    /// When a statement that starts now has to be done.
    fn deadline(&self, settings: &HashMap<String, String>) -> Instant {
        let own = settings.get("statement_timeout_ms");
        let own = own
            .and_then(|own| own.parse().ok())
            .map(Duration::from_millis);
        Instant::now() + own.map_or(self.timeout, |own| own.min(self.timeout))
    }

    /// Rows until the deadline, or until the client cancels. It is served until the last one was taken.
    fn in_time(mut response: QueryResponse, limits: Limits) -> QueryResponse {
        let rows = Rows {
            rows: apart(response.data_rows),
            limits,
            cancelled: None,
        };
        let rows = stream::unfold(Some(rows), |rows| async {
            let mut rows = rows?;
            match rows.next().await {
                Ok(row) => Some((row?, Some(rows))),
                Err(error) => Some((Err(error), None)),
            }
        });
        response.data_rows = Box::pin(rows);
        response
    }

    fn limits<C: ClientInfo>(&self, client: &C) -> Limits {
        let handle = client.session_extensions().get::<Arc<ConnectionHandle>>();
        Limits {
            deadline: self.deadline(client.metadata()),
            connection: handle.map(|handle| Arc::clone(handle.as_ref())),
            served: Served::new(&self.busy),
        }
    }
}

/// What ends a statement before its last row.
#[derive(Clone)]
struct Limits {
    deadline: Instant,
    connection: Option<Arc<ConnectionHandle>>,
    #[expect(dead_code, reason = "held for as long as the statement")]
    served: Served,
}

/// The rows of a statement.
struct Rows {
    rows: SendableRowStream,
    limits: Limits,
    /// Ready when the client cancels; none before the first row is asked for. Until then `pgwire` listens
    /// to the client, and there can be only one that does.
    cancelled: Option<oneshot::Receiver<()>>,
}

impl Rows {
    async fn next(&mut self) -> PgWireResult<Option<PgWireResult<DataRow>>> {
        if self.cancelled.is_none()
            && let Some(connection) = &self.limits.connection
        {
            self.cancelled = Some(connection.start_query().await);
        }
        let next = tokio::time::timeout_at(self.limits.deadline, self.rows.next());
        let Some(cancelled) = &mut self.cancelled else {
            return next.await.map_err(|_| timed_out());
        };
        tokio::select! {
            biased;
            // An error means that somebody else listens now, as for the next part of a portal's rows.
            Ok(()) = cancelled => Err(PgWireError::QueryCanceled),
            row = next => row.map_err(|_| timed_out()),
        }
    }
}

/// The same rows, computed by a task of their own: one that computes for long without waiting can still be
/// given up.
fn apart(rows: SendableRowStream) -> SendableRowStream {
    let (sender, receiver) = mpsc::channel(4);
    let mut task = JoinSet::new();
    task.spawn(async move {
        let mut chunks = rows.ready_chunks(256);
        while let Some(chunk) = chunks.next().await {
            if sender.send(chunk).await.is_err() {
                break;
            }
        }
    });
    let chunks = stream::unfold((receiver, task), |(mut receiver, mut task)| async move {
        let chunk: Vec<PgWireResult<DataRow>> = match receiver.recv().await {
            Some(chunk) => chunk,
            // All is there, unless the task came to its end in another way.
            None => match task.join_next().await? {
                Ok(()) => return None,
                Err(error) => vec![Err(PgWireError::ApiError(error.into()))],
            },
        };
        Some((stream::iter(chunk), (receiver, task)))
    });
    Box::pin(chunks.flatten())
}

fn timed_out() -> PgWireError {
    refused(TIMED_OUT, "canceling statement due to statement timeout")
}

#[async_trait]
impl SimpleQueryHandler for Queries {
    async fn do_query<C>(&self, client: &mut C, query: &str) -> PgWireResult<Vec<Response>>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let limits = self.limits(client);
        let made = SimpleQueryHandler::do_query(&self.service, client, query);
        let made = tokio::time::timeout_at(limits.deadline, made).await;
        let responses = made.map_err(|_| timed_out())??.into_iter();
        let in_time = |response| match response {
            Response::Query(rows) => Response::Query(Self::in_time(rows, limits.clone())),
            other => other,
        };
        Ok(responses.map(in_time).collect())
    }
}

#[async_trait]
impl ExtendedQueryHandler for Queries {
    type Statement = Statement;
    type QueryParser = Parser;

    fn query_parser(&self) -> Arc<Parser> {
        self.service.query_parser()
    }

    async fn do_query<C>(
        &self,
        client: &mut C,
        portal: &Portal<Statement>,
        max_rows: usize,
    ) -> PgWireResult<Response>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Statement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let limits = self.limits(client);
        let made = ExtendedQueryHandler::do_query(&self.service, client, portal, max_rows);
        let made = tokio::time::timeout_at(limits.deadline, made).await;
        match made.map_err(|_| timed_out())?? {
            Response::Query(rows) => Ok(Response::Query(Self::in_time(rows, limits))),
            other => Ok(other),
        }
    }
}

/// Whether a client is being served a statement.
pub(super) struct Busy(watch::Receiver<usize>);

impl Busy {
    fn new() -> (Arc<watch::Sender<usize>>, Self) {
        let (sender, receiver) = watch::channel(0);
        (Arc::new(sender), Self(receiver))
    }

    /// Until it is served nothing.
    pub(super) async fn wait(mut self) {
        // An error means that the client is gone.
        drop(self.0.wait_for(|n| *n == 0).await);
    }
}

/// A statement that a client is being served.
struct Served(Arc<watch::Sender<usize>>);

impl Served {
    fn new(busy: &Arc<watch::Sender<usize>>) -> Self {
        busy.send_modify(|n| *n += 1);
        Self(Arc::clone(busy))
    }
}

impl Clone for Served {
    fn clone(&self) -> Self {
        Self::new(&self.0)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.0.send_modify(|n| *n -= 1);
    }
}
