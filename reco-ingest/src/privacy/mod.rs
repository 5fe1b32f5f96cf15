//! Privacy before write: what identifies a person is taken out before anything is stored.
//!
//! ```text
//! event ─▶ columns by rule ─▶ payload: keys by rule ─▶ is a treated value still somewhere? ─▶ sink
//!                                │ no JSON, no form            │ yes
//!                                └────────────▶ [`Unreadable`] ◀┘   dropped or refused, never passed on
//! ```
//!
//! A raw table keeps the bytes that the source sent, so it is not enough to treat columns: the payload
//! says the same again. [`Redaction`] therefore rewrites payloads that it can read, JSON and urlencoded
//! forms, also where one is a text within the other or the query of an address. It replaces the values
//! of the keys that are named and leaves every other byte as it is. What it cannot read it cannot vouch
//! for.
//!
//! [`EventSinkExt::redacted`](crate::EventSinkExt::redacted) puts it before a sink. Put it outermost:
//! what is before it, a spool for instance, has the original on disk.
//!
//! # What it does not do
//!
//! It treats what rules name. A name that a shopper types into the search box is found by no key. And a
//! pseudonym is still personal data where law says so: whoever has the secret can tell whose it is.

mod form;
mod json;
mod keyring;
mod payload;
mod redact;
mod treatment;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

pub use keyring::Keyring;
pub use redact::Redact;
pub use treatment::{IpPrefix, Treatment};

/// What is taken out of events and dead letters before they are written.
///
/// The default is what a shop's pixel in the manner of the Measurement Protocol sends: the client and
/// user are hashed, the address is truncated, the user agent is dropped, and so is every payload that
/// cannot be read, that of a dead letter included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RedactionConfig {
    /// What is done to columns. Default: `client` is hashed.
    pub columns: BTreeMap<Column, Treatment>,
    /// What is done to the values of keys of the payload, wherever they stand in it.
    ///
    /// Case, `-`, `_` and `.` do not count: `user_agent` is also `User-Agent` and `userAgent`. An
    /// object or array under such a key is dropped whole. Default: `cid`, `uid`, `client_id` and
    /// `user_id` are hashed, `uip`, `ip`, `ip_address`, `client_ip` and `user_ip` truncated, `ua`,
    /// `user_agent`, `x_forwarded_for`, `cookie` and `authorization` dropped.
    pub payload_keys: BTreeMap<String, Treatment>,
    /// What becomes of a payload that cannot be vouched for. Default: it is dropped.
    pub unreadable: Unreadable,
    /// What becomes of the bytes of dead letters, which nothing can read. Default: they are dropped.
    pub dead_letters: Opaque,
    /// How much of an address is kept. Default: 24 bits of IPv4, 48 of IPv6, as Google Analytics does.
    pub ip_prefix: IpPrefix,
}

impl Default for RedactionConfig {
    fn default() -> Self {
        let keys = |treatment, names: &[&str]| -> Vec<(String, Treatment)> {
            let named = names.iter().map(|name| ((*name).to_owned(), treatment));
            named.collect()
        };
        let hashed = keys(Treatment::Hash, &["cid", "uid", "client_id", "user_id"]);
        let addresses = ["uip", "ip", "ip_address", "client_ip", "user_ip"];
        let truncated = keys(Treatment::TruncateIp, &addresses);
        let headers = [
            "ua",
            "user_agent",
            "x_forwarded_for",
            "cookie",
            "authorization",
        ];
        let dropped = keys(Treatment::Drop, &headers);
        Self {
            columns: [(Column::Client, Treatment::Hash)].into(),
            payload_keys: [hashed, truncated, dropped].into_iter().flatten().collect(),
            unreadable: Unreadable::default(),
            dead_letters: Opaque::default(),
            ip_prefix: IpPrefix::default(),
        }
    }
}

/// A text column of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Column {
    /// [`Event::id`](reco_core::Event::id), which can be hashed only: a second event with the same id is a duplicate.
    Id,
    /// [`Event::tenant`](reco_core::Event::tenant).
    Tenant,
    /// [`Event::client`](reco_core::Event::client).
    Client,
    /// [`Event::session`](reco_core::Event::session).
    Session,
    /// [`Event::item`](reco_core::Event::item).
    Item,
    /// [`Event::query`](reco_core::Event::query).
    Query,
}

/// What becomes of a payload that cannot be vouched for: it is no JSON and no form, or a value that was
/// treated still stands in it at a place that no rule names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unreadable {
    /// The event is written with an empty payload, which is counted.
    #[default]
    Drop,
    /// The batch is refused with an error.
    Refuse,
}

/// What becomes of bytes that nothing can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Opaque {
    /// They are dropped, and what the reason quotes of them is blanked.
    #[default]
    Drop,
    /// They are kept as they are.
    Keep,
}

/// A set of rules and the keys to hash with, checked and ready to be put before sinks.
///
/// Cloning is cheap and shares.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use reco_core::{Event, EventKind, EventSink};
/// use reco_ingest::privacy::{Keyring, Redaction, RedactionConfig};
/// use reco_ingest::{EventSinkExt, MemoryTable};
///
/// let keys = Keyring::new("2024", b"a secret of the shop, 32 bytes..")?;
/// let redaction = Redaction::new(RedactionConfig::default(), keys.clone())?;
/// let table = MemoryTable::<Event>::new();
/// let sink = table.clone().redacted(redaction);
///
/// # let time = "2024-05-01T12:00Z".parse()?;
/// let mut event = Event::new("e1", EventKind::Pageview, "55.1234", time);
/// event.payload = "v=1&cid=55.1234&uip=192.0.2.17&ua=Mozilla%2F5.0&t=pageview".into();
/// sink.write(vec![event]).await?;
///
/// let written = &table.records()[0];
/// let pseudonym = keys.pseudonym("55.1234");
/// assert_eq!(written.client, pseudonym);
/// let expected = format!("v=1&cid={pseudonym}&uip=192.0.2.0&ua=&t=pageview");
/// assert_eq!(written.payload, expected);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Redaction {
    config: Arc<RedactionConfig>,
    /// The rules of payload keys by what counts of their names.
    by_key: Arc<BTreeMap<String, Treatment>>,
    keys: Keyring,
}

impl Redaction {
    /// The rules of a configuration, with the keys to hash with.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] if a rule cannot be followed: an id that is not hashed, two treatments
    /// of one key, a key without a name, a prefix longer than an address.
    pub fn new(config: RedactionConfig, keys: Keyring) -> Result<Self> {
        let treated = config.columns.get(&Column::Id);
        if treated.is_some_and(|treatment| *treatment != Treatment::Hash) {
            return Err(invalid("`id` can be hashed only".to_owned()));
        }
        config.ip_prefix.check()?;
        let mut by_key = BTreeMap::new();
        for (name, treatment) in &config.payload_keys {
            let key = normal(name);
            if key.is_empty() {
                return Err(invalid(format!("payload key `{name}` names nothing")));
            }
            let before = by_key.insert(key, *treatment);
            if before.is_some_and(|before| before != *treatment) {
                let reason = format!("payload key `{name}` has two treatments");
                return Err(invalid(reason));
            }
        }
        Ok(Self {
            config: Arc::new(config),
            by_key: Arc::new(by_key),
            keys,
        })
    }

    /// The rules.
    #[must_use]
    pub fn config(&self) -> &RedactionConfig {
        &self.config
    }

    fn treatment_of(&self, key: &str) -> Option<Treatment> {
        self.by_key.get(&normal(key)).copied()
    }

    // The text as it may be written; empty if nothing of it may be.
    fn treat(&self, treatment: Treatment, text: &str) -> String {
        match treatment {
            // What is not known is the same for everybody.
            _ if text.is_empty() => String::new(),
            Treatment::Drop => String::new(),
            Treatment::Hash => self.keys.pseudonym(text),
            Treatment::TruncateIp => self.config.ip_prefix.truncate(text).unwrap_or_default(),
        }
    }
}

// What counts of the name of a key.
fn normal(key: &str) -> String {
    let counts = key.chars().filter(|char| !matches!(char, '-' | '_' | '.'));
    counts.flat_map(char::to_lowercase).collect()
}

fn invalid(reason: String) -> Error {
    Error::InvalidConfig {
        of: "redaction",
        reason,
    }
}
