//! [`Clickstream`]: what the collector receives, in its order.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt::Write;

use rand::RngExt;

use super::visit::{Action, Visit};
use super::{SyntheticShop, catalogue, time};
use crate::event::Event;

/// The events of a synthetic shop in the order received; see [`SyntheticShop::clickstream`].
///
/// Holds the visits under way and the events that are on their way, whatever the length of the stream.
#[derive(Debug, Clone)]
pub struct Clickstream {
    shop: SyntheticShop,
    /// The number of the next visit that has not begun.
    next: u64,
    /// When it begins; none after the last.
    begins: Option<i64>,
    on_the_way: BinaryHeap<Reverse<Delivery>>,
}

/// An event and the truth about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Labelled {
    /// What the collector received.
    pub event: Event,
    /// What it cannot know.
    pub truth: Truth,
}

/// What is true of an event, whatever it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Truth {
    /// The visit that it is part of; visits are numbered by the time they begin.
    pub session: u64,
    /// Whether a bot did it.
    pub bot: bool,
    /// Whether it is a second delivery of an event that was received before.
    pub duplicate: bool,
    /// How long it was on its way.
    pub delay: Delay,
}

/// How long an event was on its way to the collector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Delay {
    /// Milliseconds: none of its visit overtook it that was not slower itself.
    Prompt,
    /// Seconds to minutes: others of its visit may have overtaken it.
    OutOfOrder,
    /// One hour to a day and a half.
    Late,
}

/// An event on its way. It is ordered by the time it arrives, then as it was sent.
#[derive(Debug, Clone)]
struct Delivery {
    arrives: i64,
    /// The place of the action within its visit.
    place: u32,
    truth: Truth,
    client: u64,
    action: Action,
}

impl Clickstream {
    pub(super) fn new(shop: SyntheticShop) -> Self {
        let mut stream = Self {
            shop,
            next: 0,
            begins: None,
            on_the_way: BinaryHeap::new(),
        };
        stream.look_ahead();
        stream
    }

    /// How many events are on their way to the collector: what the stream holds in memory.
    #[must_use]
    pub fn n_on_the_way(&self) -> usize {
        self.on_the_way.len()
    }

    /// Looks when the next visit begins.
    fn look_ahead(&mut self) {
        let shop = &self.shop.0;
        self.begins =
            (self.next < shop.config.n_sessions()).then(|| shop.behavior.begins(self.next));
    }

    /// Sends what happens in the next visit on its way.
    fn begin_visit(&mut self) {
        let Visit {
            number,
            client,
            bot,
            actions,
            mut rng,
        } = self.shop.0.behavior.visit(self.next);
        self.next += 1;
        self.look_ahead();
        let config = &self.shop.0.config;
        // Closer together than any two actions, so prompt events of a visit keep their order.
        let distance = rng.random_range(20_000..80_000);
        for (place, action) in (0..).zip(actions) {
            let chance = rng.random::<f64>();
            let (delay, more) = if chance < config.late_rate {
                (Delay::Late, rng.random_range(HOUR..36 * HOUR))
            } else if chance < config.late_rate + config.out_of_order_rate {
                (
                    Delay::OutOfOrder,
                    rng.random_range(5 * SECOND..180 * SECOND),
                )
            } else {
                (Delay::Prompt, rng.random_range(0..40_000))
            };
            let mut delivery = Delivery {
                arrives: action.at + distance + more,
                place,
                truth: Truth {
                    session: number,
                    bot,
                    duplicate: false,
                    delay,
                },
                client,
                action,
            };
            self.on_the_way.push(Reverse(delivery.clone()));
            if rng.random_bool(config.duplicate_rate) {
                delivery.truth.duplicate = true;
                delivery.arrives += rng.random_range(50_000..60 * SECOND);
                self.on_the_way.push(Reverse(delivery));
            }
        }
    }

    fn labelled(&self, delivery: &Delivery) -> Labelled {
        let Delivery {
            arrives,
            place,
            truth,
            client,
            action,
        } = *delivery;
        let product = action.item.map(|item| &self.shop.0.products[item as usize]);
        let mut event = Event {
            id: format!("{:x}-{place}", truth.session),
            received_at: time(arrives),
            occurred_at: time(action.at),
            tenant: String::new(),
            client: format!("{client:016x}"),
            session: None,
            kind: action.kind,
            item: product.map(|product| product.item.clone()),
            query: action
                .query
                .map(|category| catalogue::query(category).to_owned()),
            price: product.map(|product| product.price),
            quantity: action.quantity,
            currency: product.map(|product| product.currency.clone()),
            payload: Vec::new().into(),
        };
        event.payload = payload(&event).into_bytes().into();
        Labelled { event, truth }
    }
}

/// What the shop's page sends, as JSON. No text in it needs an escape.
fn payload(event: &Event) -> String {
    let mut json = String::with_capacity(160);
    let at = event.occurred_at.as_microsecond();
    let mut write = |part: std::fmt::Arguments<'_>| {
        json.write_fmt(part)
            .expect("a string takes what is written to it");
    };
    let Event {
        id, client, kind, ..
    } = event;
    write(format_args!(
        r#"{{"id":"{id}","client":"{client}","t":"{kind}","ts":{at}"#
    ));
    if let Some(item) = &event.item {
        write(format_args!(r#","sku":"{item}""#));
    }
    if let Some(query) = &event.query {
        write(format_args!(r#","q":"{query}""#));
    }
    if let (Some(price), Some(currency)) = (event.price, &event.currency) {
        write(format_args!(r#","price":{price},"currency":"{currency}""#));
    }
    if let Some(quantity) = event.quantity {
        write(format_args!(r#","n":{quantity}"#));
    }
    json.push('}');
    json
}

impl Iterator for Clickstream {
    type Item = Labelled;

    fn next(&mut self) -> Option<Labelled> {
        loop {
            let first = self.on_the_way.peek().map(|Reverse(first)| first.arrives);
            match (first, self.begins) {
                (None, None) => return None,
                // What happens in a visit arrives after it begins.
                (None, Some(_)) => self.begin_visit(),
                (Some(first), Some(begins)) if begins < first => self.begin_visit(),
                (Some(_), _) => {
                    let Reverse(delivery) = self.on_the_way.pop()?;
                    return Some(self.labelled(&delivery));
                }
            }
        }
    }
}

impl Delivery {
    const fn key(&self) -> (i64, u64, u32, bool) {
        let Self {
            arrives,
            place,
            truth,
            ..
        } = self;
        (*arrives, truth.session, *place, truth.duplicate)
    }
}

impl PartialEq for Delivery {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Delivery {}

impl PartialOrd for Delivery {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Delivery {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

const SECOND: i64 = 1_000_000;
const HOUR: i64 = 3600 * SECOND;
