//! One event as a JSON object.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use reco_core::{Event, EventKind, ItemId, Timestamp};
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, Visitor};

use super::Origin;

// A text that is longer is no misspelt kind.
const MAX_KIND_BYTES: usize = 32;

/// What an event says, borrowed from the body where it is written without escapes.
#[derive(Debug, Default)]
pub(super) struct EventObject<'a> {
    id: Option<Text<'a>>,
    kind: Option<EventKind>,
    client: Option<Text<'a>>,
    item: Option<Text<'a>>,
    occurred_at: Option<Time>,
    session: Option<Text<'a>>,
    query: Option<Text<'a>>,
    price: Option<f64>,
    quantity: Option<i64>,
    currency: Option<Text<'a>>,
}

/// The members of an event that have a column; others live on in its payload.
pub const MEMBERS: [&str; 10] = [
    "id",
    "kind",
    "client",
    "item",
    "occurred_at",
    "session",
    "query",
    "price",
    "quantity",
    "currency",
];

impl EventObject<'_> {
    /// The event, or why it is none.
    pub(super) fn into_event(
        self,
        position: usize,
        payload: Bytes,
        origin: &Origin<'_>,
    ) -> Result<Event, String> {
        let missing = |member: &str| format!("`{member}` has no value");
        let client = self.client.and_then(Text::non_empty);
        Ok(Event {
            id: match self.id.and_then(Text::non_empty) {
                Some(id) => id.into(),
                None => origin.new_id(position).to_string(),
            },
            received_at: origin.received_at,
            occurred_at: self.occurred_at.map_or(origin.received_at, |time| time.0),
            tenant: origin.tenant.unwrap_or_default().to_owned(),
            client: client.ok_or_else(|| missing("client"))?.into(),
            session: owned(self.session),
            kind: self.kind.ok_or_else(|| missing("kind"))?,
            item: self
                .item
                .and_then(Text::non_empty)
                .map(|item| ItemId::from(item.as_ref())),
            query: owned(self.query),
            price: self.price,
            quantity: self.quantity,
            currency: owned(self.currency),
            payload,
        })
    }
}

fn owned(text: Option<Text<'_>>) -> Option<String> {
    text.and_then(Text::non_empty).map(Cow::into_owned)
}

impl<'de> Deserialize<'de> for EventObject<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor)
    }
}

// By hand and not derived: the errors of a derived one do not name the member, and it takes an array
// for an object.
struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = EventObject<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut event = EventObject::default();
        while let Some(Text(member)) = map.next_key()? {
            match member.as_ref() {
                "id" => put(&mut event.id, "id", &mut map)?,
                "kind" => {
                    let mut text: Option<Text<'_>> = None;
                    put(&mut text, "kind", &mut map)?;
                    let text = text.and_then(Text::non_empty);
                    put_kind(&mut event.kind, text.as_deref())?;
                }
                "client" => put(&mut event.client, "client", &mut map)?,
                "item" => put(&mut event.item, "item", &mut map)?,
                "occurred_at" => put(&mut event.occurred_at, "occurred_at", &mut map)?,
                "session" => put(&mut event.session, "session", &mut map)?,
                "query" => put(&mut event.query, "query", &mut map)?,
                "price" => put(&mut event.price, "price", &mut map)?,
                "quantity" => put(&mut event.quantity, "quantity", &mut map)?,
                "currency" => put(&mut event.currency, "currency", &mut map)?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(event)
    }
}

fn put<'de, T: Deserialize<'de>, A: MapAccess<'de>>(
    slot: &mut Option<T>,
    member: &str,
    map: &mut A,
) -> Result<(), A::Error> {
    let value = map.next_value::<Option<T>>();
    let value = value.map_err(|error| A::Error::custom(format_args!("`{member}`: {error}")))?;
    replace(slot, member, value)
}

fn put_kind<E: Error>(slot: &mut Option<EventKind>, text: Option<&str>) -> Result<(), E> {
    let kind = match text {
        Some(text) if text.len() > MAX_KIND_BYTES => {
            return Err(E::custom("`kind`: unknown event kind"));
        }
        Some(text) => Some(
            text.parse()
                .map_err(|error| E::custom(format_args!("`kind`: {error}")))?,
        ),
        None => None,
    };
    replace(slot, "kind", kind)
}

fn replace<T, E: Error>(slot: &mut Option<T>, member: &str, value: Option<T>) -> Result<(), E> {
    if slot.is_some() && value.is_some() {
        return Err(E::custom(format_args!("`{member}` is there twice")));
    }
    if value.is_some() {
        *slot = value;
    }
    Ok(())
}

/// A text, which may be written as a whole number.
#[derive(Debug)]
struct Text<'a>(Cow<'a, str>);

impl<'a> Text<'a> {
    fn non_empty(self) -> Option<Cow<'a, str>> {
        (!self.0.is_empty()).then_some(self.0)
    }
}

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or a whole number of 64 bits")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Text(Cow::Owned(text.to_owned())))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Text(Cow::Owned(number.to_string())))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Text(Cow::Owned(number.to_string())))
    }
}

/// A time as RFC 3339 says, or in milliseconds since 1970.
#[derive(Debug)]
struct Time(Timestamp);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TimeVisitor)
    }
}

struct TimeVisitor;

impl Visitor<'_> for TimeVisitor {
    type Value = Time;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a time of RFC 3339 or in whole milliseconds since 1970")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        text.parse().map(Time).map_err(E::custom)
    }

    fn visit_i64<E: Error>(self, millis: i64) -> Result<Self::Value, E> {
        Timestamp::from_millisecond(millis)
            .map(Time)
            .map_err(E::custom)
    }

    fn visit_u64<E: Error>(self, millis: u64) -> Result<Self::Value, E> {
        self.visit_i64(i64::try_from(millis).unwrap_or(i64::MAX))
    }
}
