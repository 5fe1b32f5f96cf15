//! Bodies of requests as events and dead letters.
//!
//! Everything in a body ends up in exactly one of two places: it becomes events, or it is a dead letter
//! with its bytes, its position and the reason. The payloads are slices of the body, in its order; what is
//! between them is only what separates them.
//!
//! [`json`] reads what shops send, [`pixel`] what snippets of Google Analytics do. Both are what the
//! [`Collector`](super::Collector)'s routes call, for hosts that receive bodies by other ways: a queue,
//! a function, a log to read again.

mod event;
mod json;
mod pixel;

use bytes::Bytes;
use reco_core::{Event, Record, Timestamp};
use uuid::Uuid;

use crate::sink::DeadLetter;

pub use event::MEMBERS;
pub use json::{Framing, json};
pub use pixel::pixel;

/// Where a body comes from, and how much may be in it.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// What dead letters name as their source, such as `/collect`.
    pub endpoint: &'a str,
    /// The shop that sent it, where that is known.
    pub tenant: Option<&'a str>,
    /// When it was received.
    pub received_at: Timestamp,
    /// What names the request, if something does: events that have no id of their own get one that is
    /// made of it and their position, so that the same request makes the same events.
    pub request: Option<Uuid>,
    /// The most events and dead letters that are made of it.
    pub max_events: usize,
}

impl Origin<'_> {
    /// The id of an event that has none, at a position in the body from 1.
    fn new_id(&self, position: usize) -> Uuid {
        self.request.map_or_else(Uuid::new_v4, |request| {
            Uuid::new_v5(&request, position.to_string().as_bytes())
        })
    }
}

/// What a body says.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Decoded {
    /// What could be read, in its order.
    pub events: Vec<Event>,
    /// What could not, in its order.
    pub dead_letters: Vec<DeadLetter>,
}

/// A body holds more than [`Origin::max_events`]; nothing is made of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the body holds more than {max_events} events")]
pub struct TooMany {
    /// How many are allowed.
    pub max_events: usize,
}

impl Decoded {
    /// How many events and dead letters there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.events.len() + self.dead_letters.len()
    }

    /// Whether there is neither an event nor a dead letter.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// About how many bytes the events and dead letters hold.
    #[must_use]
    pub fn n_bytes(&self) -> usize {
        let events = self.events.iter().map(Record::n_bytes);
        let dead_letters = self.dead_letters.iter().map(Record::n_bytes);
        events.chain(dead_letters).sum()
    }

    fn one(event: Event) -> Self {
        Self {
            events: vec![event],
            dead_letters: Vec::new(),
        }
    }

    // The body as one dead letter.
    fn unreadable(body: &Bytes, reason: &str, origin: &Origin<'_>) -> Self {
        let mut decoded = Self::default();
        decoded.bury(1, body.clone(), reason, origin);
        decoded
    }

    fn bury(&mut self, position: usize, payload: Bytes, reason: &str, origin: &Origin<'_>) {
        let source = match origin.tenant {
            Some(tenant) => format!("{}?tenant={tenant}", origin.endpoint),
            None => origin.endpoint.to_owned(),
        };
        self.dead_letters.push(DeadLetter {
            received_at: origin.received_at,
            source,
            position: i64::try_from(position).unwrap_or(i64::MAX),
            reason: shortened(reason),
            payload,
        });
    }

    fn check(&self, origin: &Origin<'_>) -> Result<(), TooMany> {
        let max_events = origin.max_events;
        if self.len() > max_events {
            return Err(TooMany { max_events });
        }
        Ok(())
    }
}

/// The lines of a body that are not blank, with their numbers from 1 and without what ends them.
fn lines(body: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    body.split(|byte| *byte == b'\n')
        .zip(1..)
        .map(|(line, number)| (number, line.trim_ascii()))
        .filter(|(_, line)| !line.is_empty())
}

// A reason may quote what it is about, which may be long.
fn shortened(reason: &str) -> String {
    const MAX_BYTES: usize = 300;
    if reason.len() <= MAX_BYTES {
        return reason.to_owned();
    }
    let end = reason.floor_char_boundary(MAX_BYTES);
    format!("{}…", &reason[..end])
}

fn not_utf8(error: std::str::Utf8Error) -> String {
    format!("not UTF-8 from byte {} on", error.valid_up_to() + 1)
}

#[cfg(test)]
mod tests;
