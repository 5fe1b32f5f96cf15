//! What a request brings: whose it is, and its body.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use axum::http::{HeaderMap, HeaderName, header, request};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::sync::OwnedSemaphorePermit;

use super::refusal::Refusal;
use super::tenants::Tenant;
use super::{Shared, units};
use crate::pixel;

/// The header of a tenant's key.
pub(super) const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// What a request takes besides its body, about.
pub(super) const MIN_REQUEST_BYTES: usize = 4 << 10;

// Half of what a connection reads at once.
const SHORT_BODY: usize = 4 << 10;
// A client that is told to come back finds room soon: requests take milliseconds.
const BUSY: Duration = Duration::from_secs(1);

impl Shared {
    /// The tenant whose key the request brings; none if the collector is open.
    pub(super) fn tenant(&self, parts: &request::Parts) -> Result<Option<&Arc<Tenant>>, Refusal> {
        let Some(tenants) = &self.tenants else {
            return Ok(None);
        };
        let tenant = key(&parts.headers, parts.uri.query()).and_then(|key| tenants.of_key(&key));
        tenant.map(Some).ok_or(Refusal::Unauthorized)
    }

    /// Room for a body, which is taken until what it holds is written.
    pub(super) fn room(&self, body: &Body) -> Result<OwnedSemaphorePermit, Refusal> {
        let max_bytes = self.limits.body_bytes;
        let hint = body.size_hint();
        if hint.lower() > max_bytes as u64 {
            return Err(Refusal::TooLong { max_bytes });
        }
        let n_bytes = hint.upper().and_then(|upper| usize::try_from(upper).ok());
        let n_bytes = n_bytes
            .unwrap_or(max_bytes)
            .clamp(MIN_REQUEST_BYTES, max_bytes.max(MIN_REQUEST_BYTES));
        Arc::clone(&self.room)
            .try_acquire_many_owned(units(n_bytes))
            .map_err(|_| Refusal::Busy { retry_after: BUSY })
    }

    /// More room, once it is known what the body holds.
    pub(super) fn more_room(
        &self,
        room: &mut OwnedSemaphorePermit,
        n_bytes: usize,
    ) -> Result<(), Refusal> {
        let max_bytes = self.limits.in_flight_bytes;
        if n_bytes > max_bytes {
            return Err(Refusal::TooLong { max_bytes });
        }
        let n_taken = u32::try_from(room.num_permits()).unwrap_or(u32::MAX);
        let n_more = units(n_bytes).saturating_sub(n_taken);
        if n_more > 0 {
            let more = Arc::clone(&self.room).try_acquire_many_owned(n_more);
            room.merge(more.map_err(|_| Refusal::Busy { retry_after: BUSY })?);
        }
        Ok(())
    }

    /// The whole body. A long one that came in one piece is not copied; a short one is, since it lies in the
    /// buffer that its connection reads into, and the connection would need another while this one is held.
    pub(super) async fn body(&self, body: Body) -> Result<Bytes, Refusal> {
        let max_bytes = self.limits.body_bytes;
        let collected = Limited::new(body, max_bytes).collect();
        match tokio::time::timeout(self.limits.body_timeout, collected).await {
            Ok(Ok(collected)) => {
                let body = collected.to_bytes();
                Ok(if body.len() <= SHORT_BODY {
                    Bytes::copy_from_slice(&body)
                } else {
                    body
                })
            }
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Refusal::TooLong { max_bytes }),
            Ok(Err(_)) => Err(Refusal::CutShort),
            Err(_) => Err(Refusal::TooSlow),
        }
    }
}

fn key<'a>(headers: &'a HeaderMap, query: Option<&'a str>) -> Option<Cow<'a, [u8]>> {
    if let Some(key) = headers.get(API_KEY) {
        return Some(Cow::Borrowed(key.as_bytes()));
    }
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| {
        let (scheme, key) = value.as_bytes().split_at_checked(7)?;
        scheme
            .eq_ignore_ascii_case(b"bearer ")
            .then(|| key.trim_ascii())
    });
    if let Some(key) = bearer {
        return Some(Cow::Borrowed(key));
    }
    let mut pairs = query?.split('&').filter_map(|pair| pair.split_once('='));
    let (_, key) = pairs.find(|(name, _)| *name == "key")?;
    Some(match pixel::decode(key.as_bytes())? {
        Cow::Borrowed(key) => Cow::Borrowed(key.as_bytes()),
        Cow::Owned(key) => Cow::Owned(key.into_bytes()),
    })
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn check(headers: &[(HeaderName, &'static str)], query: Option<&str>, expected: Option<&str>) {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.clone(), HeaderValue::from_static(value)))
            .collect();
        let found = key(&headers, query);
        assert_eq!(found.as_deref(), expected.map(str::as_bytes));
    }

    #[test]
    fn a_key_is_in_a_header_or_the_query() {
        check(&[], None, None);
        check(&[], Some("cid=1&key=a%2Bb"), Some("a+b"));
        check(&[], Some("monkey=a"), None);
        check(&[], Some("key"), None);
        check(
            &[(header::AUTHORIZATION, "bearer a")],
            Some("key=b"),
            Some("a"),
        );
        check(
            &[(header::AUTHORIZATION, "Basic a")],
            Some("key=b"),
            Some("b"),
        );
        check(&[(header::AUTHORIZATION, "Bearer")], None, None);
        check(
            &[(API_KEY, "a"), (header::AUTHORIZATION, "Bearer b")],
            Some("key=c"),
            Some("a"),
        );
    }
}
