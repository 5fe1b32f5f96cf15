//! [`json`]: JSON bodies.

use std::fmt;

use bytes::Bytes;
use serde::de::{Deserialize, DeserializeSeed, IgnoredAny, SeqAccess, Visitor};
use serde_json::Deserializer;
use serde_json::value::RawValue;

use super::event::EventObject;
use super::{Decoded, Origin, TooMany, lines, not_utf8};

/// How the events of a JSON body are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Framing {
    /// By the body: one object, an array of objects, or an object a line.
    #[default]
    Detect,
    /// An object a line.
    Lines,
}

/// Reads a JSON body: one event, an array of events, or an event a line (NDJSON).
///
/// A body that is one JSON value is an event or an array of them, whatever lines it is written in. What is
/// not is read by lines, if there are several and one of them is an object; otherwise the body is one dead
/// letter, and so is a body without any event.
///
/// # Errors
///
/// [`TooMany`] if it holds more events than allowed.
///
/// # Examples
///
/// ```
/// use reco_ingest::http::decode::{Framing, Origin, json};
///
/// let origin = Origin {
///     endpoint: "queue",
///     tenant: Some("shop-1"),
///     received_at: "2024-05-01T12:00Z".parse()?,
///     request: None,
///     max_events: 100,
/// };
/// let body = r#"[{"kind":"detail","client":7,"item":"hat","colour":"red"},{"kind":"detail"}]"#;
/// let decoded = json(&body.into(), Framing::Detect, &origin)?;
/// assert_eq!(decoded.events[0].client, "7");
/// assert_eq!(decoded.events[0].payload, r#"{"kind":"detail","client":7,"item":"hat","colour":"red"}"#);
/// assert_eq!(decoded.dead_letters[0].position, 2);
/// assert_eq!(decoded.dead_letters[0].reason, "`client` has no value");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn json(body: &Bytes, framing: Framing, origin: &Origin<'_>) -> Result<Decoded, TooMany> {
    if framing == Framing::Lines {
        return by_line(body, origin);
    }
    let whole = std::str::from_utf8(body)
        .map_err(not_utf8)
        .and_then(|text| match text.trim_ascii_start().as_bytes().first() {
            None => Err("the body is empty".to_owned()),
            Some(b'[') => array(body, text, origin),
            Some(_) => one(
                1,
                text,
                body.slice_ref(text.trim_ascii().as_bytes()),
                origin,
            )
            .map(|event| Ok(Decoded::one(event))),
        });
    match whole {
        Ok(decoded) => decoded,
        Err(_) if is_lines(body) => by_line(body, origin),
        Err(reason) => Ok(Decoded::unreadable(body, &reason, origin)),
    }
}

// One pass over the text.
fn one(
    position: usize,
    text: &str,
    payload: Bytes,
    origin: &Origin<'_>,
) -> Result<reco_core::Event, String> {
    let mut deserializer = Deserializer::from_str(text);
    let object = EventObject::deserialize(&mut deserializer)
        .and_then(|object| deserializer.end().map(|()| object))
        .map_err(|error| error.to_string())?;
    object.into_event(position, payload, origin)
}

// Whether a body that is no event and no array holds events by lines. One that is a JSON value after all
// does not: a line of it may be an object that is part of another.
fn is_lines(body: &[u8]) -> bool {
    let is_object =
        |line: &[u8]| line.starts_with(b"{") && serde_json::from_slice::<IgnoredAny>(line).is_ok();
    lines(body).nth(1).is_some()
        && serde_json::from_slice::<IgnoredAny>(body).is_err()
        && lines(body).any(|(_, line)| is_object(line))
}

fn by_line(body: &Bytes, origin: &Origin<'_>) -> Result<Decoded, TooMany> {
    let mut decoded = Decoded::default();
    for (number, line) in lines(body) {
        let payload = body.slice_ref(line);
        let event = std::str::from_utf8(line)
            .map_err(not_utf8)
            .and_then(|text| one(number, text, payload.clone(), origin));
        decoded.take(number, payload, event, origin);
        decoded.check(origin)?;
    }
    if decoded.is_empty() {
        return Ok(Decoded::unreadable(body, "the body is empty", origin));
    }
    Ok(decoded)
}

// An error if the array cannot be read to its end.
fn array(
    body: &Bytes,
    text: &str,
    origin: &Origin<'_>,
) -> Result<Result<Decoded, TooMany>, String> {
    let mut elements = Elements {
        body,
        origin,
        decoded: Decoded::default(),
        too_many: None,
    };
    let mut deserializer = Deserializer::from_str(text);
    let read = (&mut elements)
        .deserialize(&mut deserializer)
        .and_then(|()| deserializer.end());
    if let Some(too_many) = elements.too_many {
        return Ok(Err(too_many));
    }
    read.map_err(|error| error.to_string())?;
    if elements.decoded.is_empty() {
        return Err("the array holds no event".to_owned());
    }
    Ok(Ok(elements.decoded))
}

struct Elements<'a> {
    body: &'a Bytes,
    origin: &'a Origin<'a>,
    decoded: Decoded,
    too_many: Option<TooMany>,
}

impl<'de> DeserializeSeed<'de> for &mut Elements<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for &mut Elements<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        for position in 1.. {
            let Some(element) = elements.next_element::<&'de RawValue>()? else {
                break;
            };
            let payload = self.body.slice_ref(element.get().as_bytes());
            let event = one(position, element.get(), payload.clone(), self.origin);
            self.decoded.take(position, payload, event, self.origin);
            if let Err(too_many) = self.decoded.check(self.origin) {
                self.too_many = Some(too_many);
                return Err(serde::de::Error::custom("too many elements"));
            }
        }
        Ok(())
    }
}

impl Decoded {
    fn take(
        &mut self,
        position: usize,
        payload: Bytes,
        event: Result<reco_core::Event, String>,
        origin: &Origin<'_>,
    ) {
        match event {
            Ok(event) => self.events.push(event),
            Err(reason) => self.bury(position, payload, &reason, origin),
        }
    }
}
