//! The handlers, and what they answer.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::decode::Decoded;
use super::{Shared, accept};

/// The routes and what they take and answer, as an `OpenAPI` 3.1 document.
pub const OPENAPI: &str = include_str!("openapi.json");

/// The most reasons that an answer gives.
pub const MAX_REASONS: usize = 10;

// One transparent pixel.
const GIF: &[u8] = b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff\x21\xf9\x04\x01\x00\x00\x00\x00\x2c\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02\x44\x01\x00\x3b";

/// What became of a request to `/collect`: the answer's body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// How many events were accepted.
    pub accepted: usize,
    /// How much of the body could not be read and is kept as dead letters.
    pub dead_lettered: usize,
    /// Why, for the first [`MAX_REASONS`] of them.
    pub reasons: Vec<Reason>,
}

/// Why a part of a body could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// Which element or line it is, from 1.
    pub position: i64,
    /// Why it could not be read.
    pub reason: String,
}

impl Accepted {
    pub(super) fn of(decoded: &Decoded) -> Self {
        let letters = decoded.dead_letters.iter().take(MAX_REASONS);
        Self {
            accepted: decoded.events.len(),
            dead_lettered: decoded.dead_letters.len(),
            reasons: letters
                .map(|letter| Reason {
                    position: letter.position,
                    reason: letter.reason.clone(),
                })
                .collect(),
        }
    }
}

pub(super) async fn collect(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    readable(
        match shared.accept(request, "/collect", accept::collect).await {
            Ok(accepted) => (StatusCode::ACCEPTED, Json(accepted)).into_response(),
            Err(refusal) => refusal.into_response(),
        },
    )
}

pub(super) async fn pixel(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let request = match *request.method() {
        Method::POST => request,
        _ => accept::without_body(request),
    };
    readable(
        match shared.accept(request, "/pixel", accept::pixel).await {
            Ok(_) => {
                let headers = [
                    (header::CONTENT_TYPE, "image/gif"),
                    (header::CACHE_CONTROL, "no-store"),
                ];
                (headers, GIF).into_response()
            }
            Err(refusal) => refusal.into_response(),
        },
    )
}

pub(super) async fn openapi() -> Response {
    readable(([(header::CONTENT_TYPE, "application/json")], OPENAPI).into_response())
}

pub(super) async fn health() -> Response {
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    readable((headers, r#"{"status":"ok"}"#).into_response())
}

// Pages of any origin may read it, and when to come back.
fn readable(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_ORIGIN,
        HeaderValue::from_static("*"),
    );
    headers.insert(
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static("retry-after"),
    );
    response
}
