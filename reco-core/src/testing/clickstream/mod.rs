//! [`SyntheticShop`]: a shop made from a seed, with everything that it knows to be true.
//!
//! ```text
//! SyntheticShopConfig ─▶ SyntheticShop ─▶ catalogue()      products with readable facts
//!                                      ─▶ clickstream()    events as received, each with its Truth
//!                                      ─▶ interactions()   what cleaning them should give
//! ```
//!
//! Shoppers come with something in mind, a category. They open one of its popular items and move on,
//! mostly to one of three items that [`SyntheticShop::successors`] knows, so that a model of sequences
//! has something to learn that a model of popularity cannot. Around that stands what real click
//! streams have: searches, repeated views, carts, bots, events that are delivered twice, out of order
//! or hours late.
//!
//! A visit is a function of the seed and its number alone, so that the stream can be of any length:
//! only the visits under way and the late events are in memory.

mod catalogue;
mod config;
mod stream;
mod visit;

pub use catalogue::Product;
pub use config::SyntheticShopConfig;
pub use stream::{Clickstream, Delay, Labelled, Truth};

use std::collections::HashMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::error::Result;
use crate::event::{Event, EventKind};
use crate::session::Interaction;
use crate::vocabulary::ItemId;

use visit::Behavior;

/// A shop made from a seed: its catalogue, and what its shoppers do. Cloning is cheap and shares.
///
/// # Examples
///
/// ```
/// use reco_core::testing::{SyntheticShop, SyntheticShopConfig};
///
/// let shop = SyntheticShop::new(SyntheticShopConfig { days: 1, ..Default::default() })?;
/// let product = &shop.catalogue()[0];
/// assert_eq!((product.name.as_str(), product.category.as_str()), ("Cotton shirt, white", "Women/Shirts"));
///
/// // In the order received, each with the truth about it.
/// let first = shop.clickstream().next().unwrap();
/// assert!(!first.truth.duplicate);
/// assert_eq!(shop.events().next(), Some(first.event));
/// # Ok::<(), reco_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct SyntheticShop(Arc<Shop>);

/// What a shop shares with its streams.
#[derive(Debug)]
struct Shop {
    config: SyntheticShopConfig,
    products: Vec<Product>,
    numbers: HashMap<ItemId, u32>,
    behavior: Behavior,
}

impl SyntheticShop {
    /// A pause of this length ends a visit: those of one shopper are further apart, and within one
    /// no two events are.
    pub const SESSION_GAP: SignedDuration = SignedDuration::from_mins(30);

    /// Opens the shop.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`](crate::Error::InvalidConfig) names the setting that cannot be.
    pub fn new(config: SyntheticShopConfig) -> Result<Self> {
        config.check()?;
        let products = catalogue::products(&config);
        let numbers = (0..).zip(&products).map(|(n, p)| (p.item.clone(), n));
        Ok(Self(Arc::new(Shop {
            numbers: numbers.collect(),
            behavior: Behavior::new(&config)?,
            products,
            config,
        })))
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &SyntheticShopConfig {
        &self.0.config
    }

    /// What the shop sells.
    #[must_use]
    pub fn catalogue(&self) -> &[Product] {
        &self.0.products
    }

    /// Where a shopper who views an item most likely goes next, the likeliest first; nowhere for an
    /// item that is not in the catalogue. The same item may stand there twice.
    #[must_use]
    pub fn successors(&self, item: &ItemId) -> Vec<ItemId> {
        let Some(&number) = self.0.numbers.get(item) else {
            return Vec::new();
        };
        let next = self.0.behavior.successors(number);
        next.map(|n| self.0.products[n as usize].item.clone())
            .to_vec()
    }

    /// What happened, in the order received, with the truth about each event.
    #[must_use]
    pub fn clickstream(&self) -> Clickstream {
        Clickstream::new(self.clone())
    }

    /// What happened, in the order received.
    pub fn events(&self) -> impl Iterator<Item = Event> + Send + use<> {
        self.clickstream().map(|labelled| labelled.event)
    }

    /// What remains of the item views once they are cleaned: those of shoppers, not of bots, each
    /// once, with the true session, visit by visit.
    pub fn interactions(&self) -> impl Iterator<Item = Interaction> + Send + use<> {
        let shop = self.clone();
        let visits = (0..shop.0.config.n_sessions()).filter_map(move |number| {
            let visit = shop.0.behavior.visit(number);
            (!visit.bot).then(|| {
                let views = visit.actions.iter().filter(|a| a.kind == EventKind::Detail);
                let interaction = |(item, at)| Interaction {
                    session: number.to_string(),
                    item: shop.0.products[item as usize].item.clone(),
                    occurred_at: time(at),
                };
                let views = views.filter_map(|a| Some((a.item?, a.at)));
                views.map(interaction).collect::<Vec<_>>()
            })
        });
        visits.flatten()
    }
}

/// A time of the stream; its configuration was checked to stay within the years that there are.
fn time(micros: i64) -> Timestamp {
    Timestamp::from_microsecond(micros).expect("the configuration was checked")
}

/// The last step of `SplitMix64`: a bijection that looks random.
const fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// A number for a key, of a seed and for one purpose.
const fn hash(seed: u64, purpose: u64, key: u64) -> u64 {
    mix(mix(seed ^ mix(purpose)) ^ key)
}

/// A walk through all of `0..n` that looks shuffled and comes back to a number after `n` steps.
#[derive(Debug, Clone, Copy)]
struct Cycle {
    n: u64,
    step: u64,
    offset: u64,
}

impl Cycle {
    /// A cycle through the first `n` numbers, of which there is at least one.
    fn new(n: u64, seed: u64) -> Self {
        const fn gcd(a: u64, b: u64) -> u64 {
            if b == 0 { a } else { gcd(b, a % b) }
        }
        // Steps of about the golden section spread best.
        let golden = n / 8 * 5 + 1;
        let step = (golden..).find(|step| gcd(*step, n) == 1).unwrap_or(1);
        Self {
            n,
            step,
            offset: mix(seed) % n,
        }
    }

    fn at(&self, i: u64) -> u64 {
        let place = u128::from(i % self.n) * u128::from(self.step) + u128::from(self.offset);
        u64::try_from(place % u128::from(self.n)).expect("it is below n")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_cycle_meets_each_number_once() {
        for n in 1..200 {
            let cycle = Cycle::new(n, 7);
            let met: HashSet<u64> = (0..n).map(|i| cycle.at(i)).collect();
            assert_eq!(met, (0..n).collect());
            assert_eq!(cycle.at(n), cycle.at(0));
        }
    }
}
