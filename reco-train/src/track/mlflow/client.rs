//! [`Client`]: requests to a server, again where that may help.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use ureq::Agent;
use ureq::http::{Request, StatusCode};
use ureq::tls::{RootCerts, TlsConfig};

use super::MlflowConfig;
use super::queue::Queue;

/// How often a request is sent that the server says it cannot answer now.
const ATTEMPTS: u32 = 5;
/// The first pause before a request is sent again; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LAST_PAUSE: Duration = Duration::from_secs(5);

/// Sends requests. A server that is not reached is tried until whoever waits for it has lost patience; one
/// that answers with an error of its own a few times.
#[derive(Debug)]
pub(super) struct Client {
    agent: Agent,
    url: String,
    authorization: Option<String>,
    queue: Arc<Queue>,
}

/// Why a request came to nothing.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) reason: String,
    /// What `MLflow` calls it: `RESOURCE_ALREADY_EXISTS`.
    pub(super) code: String,
    /// Whether the server was heard and said no to this very request.
    pub(super) is_final: bool,
}

impl Client {
    pub(super) fn new(config: &MlflowConfig, queue: Arc<Queue>) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::PlatformVerifier)
            .unversioned_rustls_crypto_provider(provider);
        let agent = Agent::config_builder()
            .timeout_global(Some(Duration::from_secs(config.timeout_seconds.max(1))))
            .http_status_as_error(false)
            // Else it reads the environment.
            .proxy(None)
            .tls_config(tls.build())
            .build();
        Self {
            agent: agent.into(),
            url: config.url.trim_end_matches('/').to_owned(),
            authorization: config.authorization.clone(),
            queue,
        }
    }

    /// Calls the REST API with a body of JSON.
    pub(super) fn post(&self, path: &str, body: &Value) -> Result<Value, Refused> {
        let body = body.to_string().into_bytes();
        self.send(
            "POST",
            &format!("/api/2.0/mlflow/{path}"),
            "application/json",
            &body,
        )
    }

    /// Asks the REST API.
    pub(super) fn get(&self, path: &str) -> Result<Value, Refused> {
        self.send(
            "GET",
            &format!("/api/2.0/mlflow/{path}"),
            "application/json",
            &[],
        )
    }

    /// Sends a file; the path is the one below the server's artifacts.
    pub(super) fn put(&self, path: &str, content: &[u8]) -> Result<Value, Refused> {
        let path = format!("/api/2.0/mlflow-artifacts/artifacts/{path}");
        self.send("PUT", &path, "application/octet-stream", content)
    }

    fn send(&self, method: &str, path: &str, kind: &str, body: &[u8]) -> Result<Value, Refused> {
        let mut pause = FIRST_PAUSE;
        let mut n_answers = 0;
        loop {
            if self.queue.pause(Duration::ZERO) {
                return Err(Refused {
                    reason: "the server did not take it in time".to_owned(),
                    code: String::new(),
                    is_final: false,
                });
            }
            let refused = match self.try_send(method, path, kind, body) {
                Ok((status, answer)) if status.is_success() => {
                    return Ok(serde_json::from_str(&answer).unwrap_or(Value::Null));
                }
                Ok((status, answer)) => {
                    let refused = refused(status, &answer);
                    n_answers += 1;
                    if refused.is_final || n_answers >= ATTEMPTS {
                        return Err(refused);
                    }
                    refused
                }
                Err(error) => Refused {
                    reason: error.to_string(),
                    code: String::new(),
                    is_final: false,
                },
            };
            tracing::debug!(path, reason = refused.reason, "the server is asked again");
            if self.queue.pause(pause) {
                return Err(refused);
            }
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }

    fn try_send(
        &self,
        method: &str,
        path: &str,
        kind: &str,
        body: &[u8],
    ) -> Result<(StatusCode, String), ureq::Error> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header("content-type", kind);
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        let mut answer = if method == "GET" {
            self.agent.run(request.body(())?)?
        } else {
            self.agent.run(request.body(body)?)?
        };
        let text = answer.body_mut().read_to_string()?;
        Ok((answer.status(), text))
    }
}

/// What an answer that is no success says.
fn refused(status: StatusCode, answer: &str) -> Refused {
    let said: Value = serde_json::from_str(answer).unwrap_or(Value::Null);
    let text = said["message"].as_str().unwrap_or(answer);
    let again = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS];
    Refused {
        // A page of HTML says no more in its later lines.
        reason: format!(
            "the server answered {status}: {}",
            text.chars().take(300).collect::<String>()
        ),
        code: said["error_code"].as_str().unwrap_or_default().to_owned(),
        is_final: !status.is_server_error() && !again.contains(&status),
    }
}
