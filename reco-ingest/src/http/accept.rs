//! From a request to what the sinks have accepted.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::request;
use bytes::Bytes;
use metrics::{SharedString, counter};
use reco_core::Error;
use tokio::sync::OwnedSemaphorePermit;
use tracing::Instrument;
use uuid::Uuid;

use super::answer::Accepted;
use super::decode::{Decoded, Origin, TooMany};
use super::finished::Finished;
use super::refusal::Refusal;
use super::request_id::request_id;
use super::{Shared, decode};
use crate::metric;

// What a sink that failed is given to recover.
const FAILED: Duration = Duration::from_secs(5);

type Decode = fn(&request::Parts, &Bytes, &Origin<'_>) -> Result<Decoded, TooMany>;

impl Shared {
    /// Reads a request and puts what it holds into the sinks.
    pub(super) async fn accept(
        self: &Arc<Self>,
        request: Request,
        endpoint: &'static str,
        decode: Decode,
    ) -> Result<Accepted, Refusal> {
        let (parts, body) = request.into_parts();
        let tenant = match self.tenant(&parts) {
            Ok(tenant) => tenant,
            Err(refusal) => return Err(count_refused(refusal, 1, "")),
        };
        let label = tenant.map_or_else(
            || SharedString::const_str(""),
            |tenant| SharedString::from_shared(Arc::clone(&tenant.id)),
        );
        // What is refused before it is read counts as one.
        let refused = |refusal| count_refused(refusal, 1, label.clone());
        let mut room = self.room(&body).map_err(refused)?;
        let body = self.body(body).await.map_err(refused)?;
        let request = request_id(&parts, tenant.map_or("", |tenant| &*tenant.id));
        let origin = Origin {
            endpoint,
            tenant: tenant.map(|tenant| &*tenant.id),
            received_at: self.clock.now(),
            request,
            max_events: self.limits.max_events,
        };
        let decoded = decode(&parts, &body, &origin).map_err(|error| refused(error.into()))?;
        let n_offered = decoded.len();
        let refused = |refusal| count_refused(refusal, n_offered, label.clone());
        if let Some(tenant) = tenant {
            tenant.take(n_offered).map_err(refused)?;
        }
        // The payloads are the body, which is not held a second time.
        self.more_room(&mut room, decoded.n_bytes())
            .map_err(refused)?;
        // They lie in the buffer of the connection too.
        drop(parts);
        let write = Arc::clone(self).write(request, decoded, room, label.clone());
        match Finished::new(write.in_current_span()).await {
            Ok(written) => written.map_err(refused),
            Err(_) => {
                tracing::error!("a sink panicked");
                Err(refused(Refusal::Failed {
                    retry_after: FAILED,
                }))
            }
        }
    }

    // Dead letters first: if the events are then refused and the client tries again, there are two of a
    // dead letter and not of an event.
    async fn write(
        self: Arc<Self>,
        request: Option<Uuid>,
        decoded: Decoded,
        room: OwnedSemaphorePermit,
        tenant: SharedString,
    ) -> Result<Accepted, Refusal> {
        let accepted = Accepted::of(&decoded);
        let Decoded {
            events,
            dead_letters,
        } = decoded;
        if !dead_letters.is_empty() {
            let written = self.dead_letters.land(request, dead_letters).await;
            written.map_err(|error| sink_failed("dead letters", &error))?;
            count(
                metric::DEAD_LETTERED,
                accepted.dead_lettered,
                tenant.clone(),
            );
        }
        if !events.is_empty() {
            let written = self.events.land(request, events).await;
            written.map_err(|error| sink_failed("events", &error))?;
            count(metric::ACCEPTED, accepted.accepted, tenant);
        }
        drop(room);
        Ok(accepted)
    }
}

fn sink_failed(sink: &str, error: &Error) -> Refusal {
    if let Error::Full { retry_after, .. } = error {
        return Refusal::Busy {
            retry_after: *retry_after,
        };
    }
    let causes = std::iter::successors(error.source(), |&cause| cause.source());
    let causes: Vec<String> = causes.map(ToString::to_string).collect();
    let causes = causes.join(": ");
    tracing::error!(sink, %error, causes, "a sink refused what was collected");
    Refusal::Failed {
        retry_after: FAILED,
    }
}

fn count_refused(refusal: Refusal, n: usize, tenant: impl Into<SharedString>) -> Refusal {
    tracing::debug!(%refusal, "a request was refused");
    count(metric::REFUSED, n, tenant.into());
    refusal
}

// Only tenants of the configuration are labels, so that nobody can make up new ones.
fn count(name: &'static str, n: usize, tenant: SharedString) {
    counter!(name, metric::TABLE => "events", metric::TENANT => tenant).increment(n as u64);
}

/// The body of a `POST /collect`.
pub(super) fn collect(
    parts: &request::Parts,
    body: &Bytes,
    origin: &Origin<'_>,
) -> Result<Decoded, TooMany> {
    let content_type = parts.headers.get(axum::http::header::CONTENT_TYPE);
    let is_ndjson = content_type.is_some_and(|value| {
        let essence = value.as_bytes().split(|byte| *byte == b';').next();
        essence.is_some_and(|essence| {
            essence
                .trim_ascii()
                .eq_ignore_ascii_case(b"application/x-ndjson")
        })
    });
    let framing = if is_ndjson {
        decode::Framing::Lines
    } else {
        decode::Framing::Detect
    };
    decode::json(body, framing, origin)
}

/// The hits of a `/pixel`: a line of the body each, or the query.
pub(super) fn pixel(
    parts: &request::Parts,
    body: &Bytes,
    origin: &Origin<'_>,
) -> Result<Decoded, TooMany> {
    if !body.trim_ascii().is_empty() {
        return decode::pixel(body, origin);
    }
    let query = parts.uri.query().unwrap_or_default();
    decode::pixel(&Bytes::copy_from_slice(query.as_bytes()), origin)
}

/// A request without a body, whose query is what it says.
pub(super) fn without_body(request: Request) -> Request {
    request.map(|_| Body::empty())
}
