//! [`Startup`]: who may connect, and to what.

use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::sync::Arc;

use async_trait::async_trait;
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::context::{
    PgCatalogContextProvider, Role,
};
use datafusion_postgres::pgwire::api::ClientInfo;
use datafusion_postgres::pgwire::api::auth::sasl::SASLAuthStartupHandler;
use datafusion_postgres::pgwire::api::auth::sasl::scram::{
    SCRAM_ITERATIONS, ScramAuth, gen_salted_password, random_nonce,
};
use datafusion_postgres::pgwire::api::auth::{
    AuthSource, DefaultServerParameterProvider, LoginInfo, Password, StartupHandler,
};
use datafusion_postgres::pgwire::error::{PgWireError, PgWireResult};
use datafusion_postgres::pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};
use futures::Sink;
use tokio::sync::OwnedSemaphorePermit;

use super::errors::{
    INVALID_AUTHORIZATION, INVALID_CATALOG_NAME, TOO_MANY_CONNECTIONS, refused_for_good,
};
use super::{Server, VERSION};
use crate::digest::Digest;

/// Users and their passwords, as SCRAM salts them.
#[derive(Clone)]
pub(super) struct Users {
    passwords: Arc<BTreeMap<String, Password>>,
    /// Makes the salts of names that nobody has, so that they look like those of users.
    secret: Arc<str>,
}

impl Default for Users {
    fn default() -> Self {
        Self {
            passwords: Arc::default(),
            secret: random_nonce().into(),
        }
    }
}

impl Users {
    pub(super) fn add(&mut self, name: String, password: &str) {
        let salted = salted(password, random_nonce().into_bytes());
        Arc::make_mut(&mut self.passwords).insert(name, salted);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.passwords.is_empty()
    }
}

fn salted(password: &str, salt: Vec<u8>) -> Password {
    let hash = gen_salted_password(password, &salt, SCRAM_ITERATIONS);
    Password::new(Some(salt), hash)
}

/// Names alone.
impl Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.passwords.keys()).finish()
    }
}

#[expect(
    elided_lifetimes_in_paths,
    reason = "the trait hides it, and `async_trait` would name it"
)]
#[async_trait]
impl AuthSource for Users {
    async fn get_password(&self, login: &LoginInfo) -> PgWireResult<Password> {
        let name = login.user().ok_or(PgWireError::UserNameRequired)?;
        if let Some(password) = self.passwords.get(name) {
            return Ok(password.clone());
        }
        // Whoever asks for a name that nobody has is asked for a password that nobody knows, and is
        // refused no sooner.
        let mut salt = Digest::new("salt");
        salt.text(&self.secret);
        salt.text(name);
        let mut salt = salt.finish();
        salt.truncate(random_nonce().len());
        Ok(salted(&random_nonce(), salt.into_bytes()))
    }
}

#[async_trait]
impl PgCatalogContextProvider for Users {
    async fn roles(&self) -> Vec<String> {
        self.passwords.keys().cloned().collect()
    }

    async fn role(&self, name: &str) -> Option<Role> {
        self.passwords.contains_key(name).then(|| Role {
            name: name.to_owned(),
            is_superuser: false,
            can_login: true,
            can_create_db: false,
            can_create_role: false,
            can_create_user: false,
            can_replication: false,
            grants: Vec::new(),
            inherited_roles: Vec::new(),
        })
    }
}

/// Who may connect, and to what.
pub(super) struct Startup {
    sasl: SASLAuthStartupHandler<DefaultServerParameterProvider>,
    environment: String,
    requires_tls: bool,
    /// None if there are too many clients.
    permit: Option<OwnedSemaphorePermit>,
}

impl Startup {
    pub(super) fn new(
        server: &Server,
        environment: String,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Self {
        let mut parameters = DefaultServerParameterProvider::default();
        VERSION.clone_into(&mut parameters.server_version);
        parameters.is_superuser = false;
        parameters.default_transaction_read_only = true;
        let sasl = SASLAuthStartupHandler::new(Arc::new(parameters))
            .with_scram(ScramAuth::new(Arc::new(server.users.clone())))
            .with_connection_manager(Arc::clone(&server.connections));
        Self {
            sasl,
            environment,
            requires_tls: server.config.require_tls,
            permit,
        }
    }
}

#[async_trait]
impl StartupHandler for Startup {
    async fn on_startup<C>(
        &self,
        client: &mut C,
        message: PgWireFrontendMessage,
    ) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        if let PgWireFrontendMessage::Startup(startup) = &message {
            if self.permit.is_none() {
                return Err(refused_for_good(
                    TOO_MANY_CONNECTIONS,
                    "sorry, too many clients already",
                ));
            }
            if self.requires_tls && !client.is_secure() {
                return Err(refused_for_good(
                    INVALID_AUTHORIZATION,
                    "connections must use TLS",
                ));
            }
            // As in PostgreSQL, who names no database means the one of his own name.
            let parameters = &startup.parameters;
            let database = parameters
                .get("database")
                .or_else(|| parameters.get("user"));
            let database = database.map_or("", String::as_str);
            if database != self.environment {
                let text = format!(
                    "database \"{database}\" does not exist; there is \"{}\"",
                    self.environment
                );
                return Err(refused_for_good(INVALID_CATALOG_NAME, text));
            }
        }
        self.sasl.on_startup(client, message).await
    }
}
