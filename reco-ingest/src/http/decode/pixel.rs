//! [`pixel`]: hits in the keys of Google Analytics' Measurement Protocol v1.

use std::borrow::Cow;

use bytes::Bytes;

use super::{Decoded, Origin, TooMany, lines};
use crate::pixel::Hit;

/// Reads hits of [`crate::pixel`], one a line: a query string, or the body of a beacon or a batch.
///
/// A body without any hit is one dead letter.
///
/// # Errors
///
/// [`TooMany`] if it holds more events than allowed.
///
/// # Examples
///
/// ```
/// use reco_ingest::http::decode::{Origin, pixel};
///
/// let origin = Origin {
///     endpoint: "/pixel",
///     tenant: None,
///     received_at: "2024-05-01T12:00Z".parse()?,
///     request: None,
///     max_events: 100,
/// };
/// let decoded = pixel(&"cid=c1&t=pageview\nt=pageview".into(), &origin)?;
/// assert_eq!(decoded.events[0].client, "c1");
/// assert_eq!(decoded.dead_letters[0].reason, "key `cid` of the hit: it has no value");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn pixel(body: &Bytes, origin: &Origin<'_>) -> Result<Decoded, TooMany> {
    let mut decoded = Decoded::default();
    for (number, line) in lines(body) {
        let payload = body.slice_ref(line);
        let events = Hit::parse(line).and_then(|mut hit| {
            hit.request_id
                .get_or_insert_with(|| Cow::Owned(origin.new_id(number).to_string()));
            hit.events(origin.tenant, origin.received_at, payload.clone())
        });
        match events {
            Ok(events) => decoded.events.extend(events),
            Err(error) => decoded.bury(number, payload, &error.to_string(), origin),
        }
        decoded.check(origin)?;
    }
    if decoded.is_empty() {
        return Ok(Decoded::unreadable(body, "there is no hit", origin));
    }
    Ok(decoded)
}
