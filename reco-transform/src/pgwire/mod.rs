//! [`PgServer`]: a warehouse over the wire protocol of PostgreSQL, for reading.
//!
//! Whatever speaks to PostgreSQL reads the tables of an environment: `psql`, Grafana, Metabase, JDBC,
//! JDBC, ODBC, a notebook. The protocol is `datafusion-postgres`'s, on the `pgwire` crate; here is what
//! makes a server of it: users, limits, an end, versions of tables, and nothing but reading.
//!
//! ```text
//! listener ──accept──▶ connection: TLS? ▶ SCRAM ▶ a session of its own over the catalogue
//!                        each statement: shows what is published now ▶ only reads? ▶ plan ▶ rows, in time
//! ```
//!
//! **Databases.** The environment is the database, of the same name: connect to `prod`. Its tables are in
//! the schema `public`, what tells about them in `reco` and `information_schema`: see
//! [`Catalog`].
//!
//! **Versions.** Each statement sees the tables as they are published when it starts, all at one moment; so
//! does a prepared statement each time that it is executed. If the columns of a table have changed since it
//! was prepared, it fails with `0A000`, as in PostgreSQL, and drivers prepare it again.
//!
//! **Writing.** Statements that write are refused with `25006`, settings of the engine with `42501`.
//!
//! **Transactions** are accepted and isolate nothing: see *Versions*.

mod connection;
mod errors;
mod gate;
mod settings;
mod startup;

use std::fmt;
use std::future::Future;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use datafusion_postgres::pgwire::api::ConnectionManager;
use datafusion_postgres::pgwire::tokio::TlsAcceptor;
use datafusion_postgres::pgwire::tokio::tokio_rustls::rustls::ServerConfig;
use datafusion_postgres::pgwire::tokio::tokio_rustls::rustls::crypto::ring;
use datafusion_postgres::pgwire::tokio::tokio_rustls::rustls::pki_types::pem::PemObject;
use datafusion_postgres::pgwire::tokio::tokio_rustls::rustls::pki_types::{
    CertificateDer, PrivateKeyDer,
};
use reco_core::BoxError;
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

use self::startup::Users;
use crate::error::{Error, Result};
use crate::warehouse::{Catalog, Warehouse};

/// The version of PostgreSQL that clients are told, so that they ask for what there is.
const VERSION: &str = concat!("16.6 (reco ", env!("CARGO_PKG_VERSION"), ")");
/// How many sockets there may be that are not logged in.
const N_LOGGING_IN: usize = 16;
/// How long to wait when the system has no more sockets.
const RETRY_ACCEPT: Duration = Duration::from_secs(1);

/// A warehouse over the wire protocol of PostgreSQL, for reading.
///
/// Users log in with SCRAM-SHA-256, over TLS if there is a [certificate](Self::tls). The host binds the
/// listener.
///
/// # Examples
///
/// ```no_run
/// # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
/// use reco_transform::{PgServer, Warehouse};
///
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:5433").await?;
/// PgServer::new(Warehouse::at("data/warehouse")?)
///     .user("ana", "correct horse battery staple")
///     .serve(listener, async { /* until the host is told to stop */ })
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct PgServer {
    warehouse: Warehouse,
    config: PgConfig,
    users: Users,
    tls: Option<TlsAcceptor>,
}

/// What a [`PgServer`] lets its clients do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PgConfig {
    /// How many clients are connected at once; what comes on top is refused with `53300`. Default 32.
    pub max_connections: NonZeroUsize,
    /// How long a statement may take, from its start to its last row; then it fails with `57014`. A client
    /// may `set statement_timeout` to less. Default a minute.
    pub statement_timeout: Duration,
    /// Whether clients without TLS are refused. Default false: a password is not sent in the clear, but
    /// rows are.
    pub require_tls: bool,
}

impl Default for PgConfig {
    fn default() -> Self {
        Self {
            max_connections: const { NonZeroUsize::new(32).expect("32 is not 0") },
            statement_timeout: Duration::from_secs(60),
            require_tls: false,
        }
    }
}

impl PgServer {
    /// Serves the environment that a warehouse shows.
    #[must_use]
    pub fn new(warehouse: Warehouse) -> Self {
        Self {
            warehouse,
            config: PgConfig::default(),
            users: Users::default(),
            tls: None,
        }
    }

    /// Lets a user log in. Given twice, the last password counts.
    #[must_use]
    pub fn user(mut self, name: impl Into<String>, password: &str) -> Self {
        self.users.add(name.into(), password);
        self
    }

    /// The same server with other limits.
    #[must_use]
    pub fn config(self, config: PgConfig) -> Self {
        Self { config, ..self }
    }

    /// Offers TLS, with a chain of certificates and the key of the first, both in PEM.
    ///
    /// # Errors
    ///
    /// [`Error::Serve`] if they cannot be read or do not fit.
    pub fn tls(self, certificates: &[u8], key: &[u8]) -> Result<Self> {
        let failed = |source: BoxError| Error::Serve {
            operation: "use its certificate",
            source,
        };
        let chain: Result<Vec<CertificateDer<'_>>, _> =
            CertificateDer::pem_slice_iter(certificates).collect();
        let chain = chain.map_err(|error| failed(error.into()))?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| failed(error.into()))?;
        let chain = chain.into_iter().map(CertificateDer::into_owned).collect();
        let provider = Arc::new(ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key));
        let mut config = config.map_err(|error| failed(error.into()))?;
        config.alpn_protocols = vec![b"postgresql".to_vec()];
        Ok(Self {
            tls: Some(TlsAcceptor::from(Arc::new(config))),
            ..self
        })
    }

    /// Serves until `shutdown` is ready, and then until all statements that are running have ended, or have
    /// run out of time; nobody else is waited for.
    ///
    /// # Errors
    ///
    /// [`Error::Serve`] without users, or if TLS is required and there is no certificate;
    /// [`Error::Environment`] if the environment cannot be read when this starts. What goes wrong later is
    /// told to the client that asked.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends all connections at once.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send,
    ) -> Result<()> {
        let failed = |reason: &str| Error::Serve {
            operation: "start",
            source: reason.into(),
        };
        if self.users.is_empty() {
            return Err(failed("it has no users"));
        }
        if self.config.require_tls && self.tls.is_none() {
            return Err(failed("TLS is required, and there is no certificate"));
        }
        let server = Arc::new(Server {
            catalog: self.warehouse.catalog().await?,
            config: self.config,
            users: self.users,
            tls: self.tls,
            connections: Arc::new(ConnectionManager::new()),
        });
        server.run(listener, shutdown).await;
        Ok(())
    }
}

impl fmt::Debug for PgServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PgServer")
            .field("warehouse", &self.warehouse)
            .field("config", &self.config)
            .field("users", &self.users)
            .field("tls", &self.tls.is_some())
            .finish()
    }
}

/// What all connections share.
struct Server {
    catalog: Catalog,
    config: PgConfig,
    users: Users,
    tls: Option<TlsAcceptor>,
    /// The running statements, so that another connection can cancel them.
    connections: Arc<ConnectionManager>,
}

impl Server {
    async fn run(
        self: Arc<Self>,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send,
    ) {
        let max = self.config.max_connections.get();
        let sessions = Arc::new(Semaphore::new(max));
        let sockets = Arc::new(Semaphore::new(max.saturating_add(N_LOGGING_IN)));
        let (stop, stopped) = watch::channel(false);
        let mut connections = JoinSet::new();
        tokio::pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                Some(_) = connections.join_next(), if !connections.is_empty() => {}
                (socket, slot) = accept(&listener, &sockets) => {
                    let session = Arc::clone(&sessions).try_acquire_owned().ok();
                    let serve = Arc::clone(&self).connection(socket, session, stopped.clone());
                    connections.spawn(async move {
                        serve.await;
                        drop(slot);
                    });
                }
            }
        }
        drop(listener);
        stop.send_replace(true);
        while connections.join_next().await.is_some() {}
    }

    /// Serves one client.
    async fn connection(
        self: Arc<Self>,
        socket: TcpStream,
        session: Option<OwnedSemaphorePermit>,
        mut stopped: watch::Receiver<bool>,
    ) {
        let (handlers, busy) = match connection::handlers(&self, session) {
            Ok(handlers) => handlers,
            Err(error) => {
                tracing::error!(%error, "a client could not be served");
                return;
            }
        };
        let serve =
            datafusion_postgres::pgwire::tokio::process_socket(socket, self.tls.clone(), handlers);
        let end = async {
            // An error means that the server is gone.
            drop(stopped.wait_for(|stopped| *stopped).await);
            drop(tokio::time::timeout(self.config.statement_timeout, busy.wait()).await);
        };
        tokio::select! {
            ended = serve => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection broke");
                }
            }
            () = end => {}
        }
    }
}

/// The next client, once there is room for it.
async fn accept(
    listener: &TcpListener,
    sockets: &Arc<Semaphore>,
) -> (TcpStream, Option<OwnedSemaphorePermit>) {
    // The semaphore is never closed.
    let slot = Arc::clone(sockets).acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((socket, _)) => return (socket, slot),
            Err(error) => {
                tracing::warn!(%error, "a client could not be accepted");
                tokio::time::sleep(RETRY_ACCEPT).await;
            }
        }
    }
}
