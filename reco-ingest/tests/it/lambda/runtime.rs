//! The Lambda runtime API, as far as a function needs it, and a function in a process of its own.

use std::collections::HashMap;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use bytes::Bytes;
use reco_ingest::axum;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot};

/// Hands out invocations, and takes what a function answers.
#[derive(Debug, Clone)]
pub(super) struct RuntimeApi {
    address: String,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    queue: mpsc::UnboundedSender<Invocation>,
    next: tokio::sync::Mutex<mpsc::UnboundedReceiver<Invocation>>,
    waiting: Mutex<HashMap<String, oneshot::Sender<Value>>>,
}

#[derive(Debug)]
struct Invocation {
    id: String,
    payload: String,
}

impl RuntimeApi {
    pub(super) async fn start() -> Self {
        let (queue, next) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            queue,
            next: tokio::sync::Mutex::new(next),
            waiting: Mutex::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let router = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next_invocation))
            .route(
                "/2018-06-01/runtime/invocation/{id}/response",
                post(answered),
            )
            .route("/2018-06-01/runtime/invocation/{id}/error", post(failed))
            .route("/2018-06-01/runtime/init/error", post(failed))
            .with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, shared }
    }

    /// A function that takes invocations from here, over the tables of a folder.
    pub(super) fn function(&self, folder: &Path) -> Child {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "lambda::function", "--ignored", "--nocapture"])
            .env("RECO_LAMBDA_TABLES", folder)
            .env("AWS_LAMBDA_RUNTIME_API", &self.address)
            .env("AWS_LAMBDA_FUNCTION_NAME", "collect")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env("AWS_LAMBDA_HTTP_IGNORE_STAGE_IN_PATH", "true")
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap()
    }

    /// Invokes the function, and waits for its answer.
    pub(super) async fn invoke(&self, id: &str, payload: &Value) -> Value {
        let (sender, answer) = oneshot::channel();
        let id = id.to_owned();
        self.shared
            .waiting
            .lock()
            .unwrap()
            .insert(id.clone(), sender);
        let payload = payload.to_string();
        self.shared.queue.send(Invocation { id, payload }).unwrap();
        answer.await.unwrap()
    }
}

async fn next_invocation(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    let invocation = shared.next.lock().await.recv().await.unwrap();
    let mut headers = HeaderMap::new();
    let mut set = |name, value: &str| headers.insert(name, HeaderValue::from_str(value).unwrap());
    set("lambda-runtime-aws-request-id", &invocation.id);
    set("lambda-runtime-deadline-ms", "9999999999999");
    set(
        "lambda-runtime-invoked-function-arn",
        "arn:aws:lambda:eu-central-1:1:function:collect",
    );
    (headers, invocation.payload)
}

async fn answered(
    State(shared): State<Arc<Shared>>,
    axum::extract::Path(id): axum::extract::Path<String>,
    body: Bytes,
) -> StatusCode {
    let waiting = shared.waiting.lock().unwrap().remove(&id).unwrap();
    waiting
        .send(serde_json::from_slice(&body).unwrap())
        .unwrap();
    StatusCode::ACCEPTED
}

// Whoever waits gets no answer, and fails.
#[expect(clippy::print_stderr, reason = "why the test that waits has failed")]
async fn failed(State(shared): State<Arc<Shared>>, body: String) -> StatusCode {
    eprintln!("the function failed: {body}");
    shared.waiting.lock().unwrap().clear();
    StatusCode::ACCEPTED
}
