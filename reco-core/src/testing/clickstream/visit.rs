//! [`Behavior`]: what a shopper, or a bot, does in one visit.

use rand::{RngExt, SeedableRng};
use rand_distr::weighted::WeightedAliasIndex;
use rand_xoshiro::Xoshiro256PlusPlus;

use super::config::DAY;
use super::{Cycle, SyntheticShopConfig, hash};
use crate::error::{Error, Result};
use crate::event::EventKind;

/// What visits are drawn from.
#[derive(Debug)]
pub(super) struct Behavior {
    config: SyntheticShopConfig,
    start: i64,
    shoppers: Cycle,
    categories: WeightedAliasIndex<f64>,
    /// By place in the category; drawn again where the category has one item less.
    places: WeightedAliasIndex<f64>,
}

/// One visit: what is true before anything goes wrong on the way to the collector.
#[derive(Debug)]
pub(super) struct Visit {
    pub(super) number: u64,
    /// Names the browser or device.
    pub(super) client: u64,
    pub(super) bot: bool,
    /// In the order of their times; there is one at least.
    pub(super) actions: Vec<Action>,
    /// For what is drawn later, so that it changes nothing of the above.
    pub(super) rng: Xoshiro256PlusPlus,
}

/// One thing done.
#[derive(Debug, Clone, Copy)]
pub(super) struct Action {
    /// When, in microseconds since 1970.
    pub(super) at: i64,
    pub(super) kind: EventKind,
    /// The number of the item.
    pub(super) item: Option<u32>,
    /// The category that is searched for.
    pub(super) query: Option<u32>,
    pub(super) quantity: Option<i64>,
}

/// Visits by the hour, relative to one another: quiet nights, busy evenings.
const HOURLY: [f64; 24] = [
    2.0, 1.0, 0.6, 0.5, 0.5, 0.8, 1.5, 2.5, 3.5, 4.0, 4.5, 5.0, 5.5, 5.0, 4.5, 4.5, 5.0, 5.5, 6.5,
    8.0, 9.0, 8.5, 6.0, 3.5,
];

/// Deciles of the time between two actions, in seconds: short glances, long reads. The longest is
/// shorter than the gap that ends a session.
const PAUSES: [f64; 11] = [
    2.0, 5.0, 8.0, 12.0, 17.0, 24.0, 34.0, 50.0, 80.0, 180.0, 900.0,
];

/// After this, a visit ends: the next of the same shopper must be a session of its own.
const LONGEST: i64 = DAY / 4;

/// How likely a shopper goes to the first, second and third successor of an item, to a popular item
/// of the same category, and to another category.
const MOVES: [f64; 5] = [0.45, 0.2, 0.1, 0.2, 0.05];

impl Behavior {
    pub(super) fn new(config: &SyntheticShopConfig) -> Result<Self> {
        let places = config.n_items.div_ceil(config.n_categories);
        Ok(Self {
            start: config.start_micros()?,
            shoppers: Cycle::new(config.n_shoppers, config.seed),
            categories: zipf(config.n_categories, config.zipf_exponent)?,
            places: zipf(places, config.zipf_exponent)?,
            config: config.clone(),
        })
    }

    /// Where a shopper goes from an item, the likeliest first.
    pub(super) fn successors(&self, item: u32) -> [u32; 3] {
        [0, 1, 2].map(|nth| self.successor(item, nth))
    }

    fn successor(&self, item: u32, nth: u32) -> u32 {
        let Self { config, .. } = self;
        let category = item % config.n_categories;
        let n_places = u64::from(self.n_places(category));
        let key = u64::from(item) * 4 + u64::from(nth);
        // Never the item itself: any of the places after its own.
        let ahead = 1 + hash(config.seed, 2, key) % (n_places - 1);
        let place = (u64::from(item / config.n_categories) + ahead) % n_places;
        let place = u32::try_from(place).expect("a place of a category");
        place * config.n_categories + category
    }

    /// How many items a category has.
    const fn n_places(&self, category: u32) -> u32 {
        (self.config.n_items - category).div_ceil(self.config.n_categories)
    }

    /// When a visit begins, and what the rest of it is drawn from.
    fn begin(&self, number: u64) -> (i64, Xoshiro256PlusPlus) {
        let Self { config, .. } = self;
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(hash(config.seed, 3, number));
        let per_day = u64::from(config.sessions_per_day);
        let day = i64::try_from(number / per_day).expect("days are 32 bits");
        let turn = u32::try_from(number % per_day).expect("sessions of a day are 32 bits");
        let share = (f64::from(turn) + rng.random::<f64>()) / f64::from(config.sessions_per_day);
        (self.start + day * DAY + time_of_day(share), rng)
    }

    /// When a visit begins, in microseconds since 1970.
    pub(super) fn begins(&self, number: u64) -> i64 {
        self.begin(number).0
    }

    /// The visit of a number; those of higher numbers start later, or at the same time.
    pub(super) fn visit(&self, number: u64) -> Visit {
        let Self { config, .. } = self;
        let (at, mut rng) = self.begin(number);
        let bot = rng.random_bool(config.bot_rate);
        let mut visit = Visiting {
            behavior: self,
            rng,
            at,
            actions: Vec::new(),
        };
        if bot {
            visit.crawl();
        } else {
            visit.shop();
        }
        // Each bot comes once, from an address of its own.
        let client = if bot {
            config.n_shoppers + number
        } else {
            self.shoppers.at(number)
        };
        Visit {
            number,
            client: hash(config.seed, 4, client),
            bot,
            actions: visit.actions,
            rng: visit.rng,
        }
    }
}

/// A visit under way.
#[derive(Debug)]
struct Visiting<'a> {
    behavior: &'a Behavior,
    rng: Xoshiro256PlusPlus,
    at: i64,
    actions: Vec<Action>,
}

impl Visiting<'_> {
    /// A bot opens item after item, faster than anybody reads.
    fn crawl(&mut self) {
        let n_views = self.rng.random_range(100..400);
        for _ in 0..n_views {
            let item = self.rng.random_range(0..self.behavior.config.n_items);
            self.act(EventKind::Detail, Some(item));
            self.at += self.rng.random_range(200_000..1_000_000);
        }
    }

    fn shop(&mut self) {
        let config = &self.behavior.config;
        let until = self.at + LONGEST;
        self.act(EventKind::Pageview, None);
        self.pause();
        let mut category = self.category();
        if self.rng.random_bool(config.search_rate) {
            self.act(EventKind::Search, None);
            if let Some(search) = self.actions.last_mut() {
                search.query = Some(category);
            }
            self.pause();
        }
        let mut item = self.popular(category);
        let mut cart: Vec<u32> = Vec::new();
        // One view, and then each next one with the same chance: views on average as asked.
        let goes_on = 1.0 - 1.0 / config.mean_views;
        loop {
            self.view(item, &mut cart);
            if self.at >= until || !self.rng.random_bool(goes_on) {
                break;
            }
            (item, category) = self.next(item, category);
        }
        if self.rng.random_bool(config.purchase_rate) {
            if cart.is_empty() {
                self.put(EventKind::Add, item);
                self.pause();
                cart.push(item);
            }
            for item in cart {
                self.put(EventKind::Purchase, item);
                self.at += 250_000;
            }
        }
    }

    /// A view, perhaps from a list, perhaps repeated, perhaps into the cart and out again.
    fn view(&mut self, item: u32, cart: &mut Vec<u32>) {
        if self.rng.random_bool(0.3) {
            self.act(EventKind::Click, Some(item));
            self.at += 500_000;
        }
        self.act(EventKind::Detail, Some(item));
        self.pause();
        if self.rng.random_bool(self.behavior.config.repeat_rate) {
            self.act(EventKind::Detail, Some(item));
            self.pause();
        }
        if self.rng.random_bool(0.06) {
            self.put(EventKind::Add, item);
            self.pause();
            if self.rng.random_bool(0.2) {
                self.put(EventKind::Remove, item);
                self.pause();
            } else {
                cart.push(item);
            }
        }
    }

    /// Where the shopper goes from an item.
    fn next(&mut self, item: u32, category: u32) -> (u32, u32) {
        let mut chance = self.rng.random::<f64>();
        for (nth, share) in (0..3).zip(MOVES) {
            if chance < share {
                return (self.behavior.successor(item, nth), category);
            }
            chance -= share;
        }
        let category = if chance < MOVES[3] {
            category
        } else {
            self.category()
        };
        (self.popular(category), category)
    }

    fn category(&mut self) -> u32 {
        let category = self.rng.sample(&self.behavior.categories);
        u32::try_from(category).expect("categories are 32 bits")
    }

    /// An item of a category, the popular ones more often.
    fn popular(&mut self, category: u32) -> u32 {
        let n_places = self.behavior.n_places(category);
        loop {
            let place = self.rng.sample(&self.behavior.places);
            let place = u32::try_from(place).expect("places are 32 bits");
            if place < n_places {
                return place * self.behavior.config.n_categories + category;
            }
        }
    }

    fn put(&mut self, kind: EventKind, item: u32) {
        self.act(kind, Some(item));
        if let Some(action) = self.actions.last_mut() {
            action.quantity = Some(1);
        }
    }

    fn act(&mut self, kind: EventKind, item: Option<u32>) {
        self.actions.push(Action {
            at: self.at,
            kind,
            item,
            query: None,
            quantity: None,
        });
    }

    fn pause(&mut self) {
        let seconds = quantile(&PAUSES, self.rng.random());
        self.at += micros(seconds);
    }
}

/// Zipf's law on the first `n` places.
fn zipf(n: u32, exponent: f64) -> Result<WeightedAliasIndex<f64>> {
    let weights = (1..=n).map(|rank| f64::from(rank).powf(-exponent));
    WeightedAliasIndex::new(weights.collect()).map_err(|error| Error::InvalidConfig {
        of: "synthetic shop".to_owned(),
        reason: format!("`zipf_exponent` is {exponent}: {error}"),
    })
}

/// When a share of the day's visits has come, in microseconds after midnight.
fn time_of_day(share: f64) -> i64 {
    let mut left = share * HOURLY.iter().sum::<f64>();
    for (hour, n) in (0_u8..).zip(HOURLY) {
        if left < n {
            return micros((f64::from(hour) + left / n) * 3600.0);
        }
        left -= n;
    }
    DAY - 1
}

/// The value below which a share of them are, between quantiles of equal distance.
fn quantile<const N: usize>(quantiles: &[f64; N], share: f64) -> f64 {
    let mut left = share * f64::from(u32::try_from(N - 1).expect("a short table"));
    for ends in quantiles.windows(2) {
        if left < 1.0 {
            return ends[0] + (ends[1] - ends[0]) * left;
        }
        left -= 1.0;
    }
    quantiles[N - 1]
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "seconds of a day, in microseconds"
)]
fn micros(seconds: f64) -> i64 {
    (seconds * 1e6) as i64
}
