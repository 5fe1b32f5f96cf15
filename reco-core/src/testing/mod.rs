//! The contracts of this crate as suites that any implementation can be put through, and a shop to
//! put it through with.
//!
//! * [`event_sink`], [`raw_table`] and [`model`] check an implementation against the `# Contract` of
//!   its trait. They panic with the clause that is broken and what was found instead, so a test of an
//!   implementation is one line.
//! * [`SyntheticShop`] makes a catalogue and a click stream of any length from a seed. Each event
//!   comes with the [`Truth`] behind it, so tests of sessions, duplicates and bots can be exact.
//!
//! # Examples
//!
//! A model of one item, put through its suite:
//!
//! ```
//! use reco_core::{Model, Ranking, Result, Scored, Session, testing};
//!
//! #[derive(Debug)]
//! struct Always(&'static str);
//!
//! impl Model for Always {
//!     fn kind(&self) -> &str {
//!         "always"
//!     }
//!
//!     fn recommend_batch(&self, sessions: &[Session], k: usize) -> Result<Vec<Ranking>> {
//!         let item = Scored { item: self.0.into(), score: 1.0 };
//!         Ok(sessions.iter().map(|_| [item.clone()].into_iter().take(k).collect()).collect())
//!     }
//! }
//!
//! let sessions = [["hat"].into_iter().collect(), ["scarf", "hat"].into_iter().collect()];
//! testing::model(&Always("hat"), &sessions);
//! ```

mod clickstream;
mod models;
mod sinks;
mod tables;

pub use clickstream::{
    Clickstream, Delay, Labelled, Product, SyntheticShop, SyntheticShopConfig, Truth,
};
pub use models::model;
pub use sinks::event_sink;
pub use tables::raw_table;

use std::fmt::Display;

use bytes::Bytes;
use jiff::Timestamp;

use crate::event::{Event, EventKind};
use crate::vocabulary::ItemId;

/// Says which clause of which contract is broken, the way an assertion does.
#[track_caller]
#[expect(
    clippy::panic,
    reason = "a suite reports like an assertion: by panicking"
)]
fn broken(contract: &str, clause: &str, found: impl Display) -> ! {
    panic!("the contract of `{contract}` is broken: {clause}: {found}")
}

/// An error with its causes, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let causes: Vec<String> = causes.map(ToString::to_string).collect();
    causes.join(": ")
}

/// A plain event to write.
fn detail(id: String, received_at: Timestamp) -> Event {
    Event {
        received_at,
        occurred_at: received_at,
        tenant: String::new(),
        client: "client".to_owned(),
        session: None,
        kind: EventKind::Detail,
        item: Some(ItemId::from("hat")),
        query: None,
        price: Some(19.95),
        quantity: Some(1),
        currency: Some("EUR".to_owned()),
        payload: Bytes::from(format!(r#"{{"id":"{id}"}}"#)),
        id,
    }
}
