//! [`SyntheticShopConfig`]: how large a synthetic shop is, and how it misbehaves.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// How large a synthetic shop is, and what is wrong with its click stream.
///
/// About `sessions_per_day × days × (mean_views + 2)` events come out, bots aside. Most defaults are
/// round numbers of the size that shops report; where one is from a source, it says so.
///
/// # Examples
///
/// ```
/// use reco_core::testing::SyntheticShopConfig;
///
/// let config: SyntheticShopConfig =
///     reco_core::config_from_json("shop", r#"{"seed": 7, "start": "2024-11-29"}"#)?;
/// assert_eq!(config.days, 14);
/// # Ok::<(), reco_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SyntheticShopConfig {
    /// What all is drawn from. Default 42.
    pub seed: u64,
    /// How many items the catalogue has. Default 1,000.
    pub n_items: u32,
    /// How many categories they are in. Default 20.
    pub n_categories: u32,
    /// How much the popular items, and the popular categories, stand out: the exponent of Zipf's
    /// law, 0 for not at all. Default 1, as Zipf found for words.
    pub zipf_exponent: f64,
    /// How many people come, in turns: at least two days' sessions. Default 5,000.
    pub n_shoppers: u64,
    /// How many visits there are on a day, bots included. Default 1,000.
    pub sessions_per_day: u32,
    /// The first day, in UTC. Default 2024-05-01.
    pub start: Date,
    /// How many days visits begin on; the last events are received after them. Default 14.
    pub days: u32,
    /// How many items a shopper views in a visit, on average: 1 to 30. Default 5.
    pub mean_views: f64,
    /// Share of visits that are a bot's. Default 0.005.
    pub bot_rate: f64,
    /// Share of events that are delivered twice. Default 0.01.
    pub duplicate_rate: f64,
    /// Share of events that are received hours after they happened. Default 0.002.
    pub late_rate: f64,
    /// Share of events that are received seconds to minutes after they happened, when others may
    /// have overtaken them. Default 0.01.
    pub out_of_order_rate: f64,
    /// Share of views that are made again at once. Default 0.08.
    pub repeat_rate: f64,
    /// Share of visits that begin with a search. Default 0.2.
    pub search_rate: f64,
    /// Share of visits that end with a purchase. Default 0.03.
    pub purchase_rate: f64,
}

impl Default for SyntheticShopConfig {
    fn default() -> Self {
        Self {
            seed: 42,
            n_items: 1000,
            n_categories: 20,
            zipf_exponent: 1.0,
            n_shoppers: 5000,
            sessions_per_day: 1000,
            start: Date::constant(2024, 5, 1),
            days: 14,
            mean_views: 5.0,
            bot_rate: 0.005,
            duplicate_rate: 0.01,
            late_rate: 0.002,
            out_of_order_rate: 0.01,
            repeat_rate: 0.08,
            search_rate: 0.2,
            purchase_rate: 0.03,
        }
    }
}

impl SyntheticShopConfig {
    /// How many visits there are in all, bots included.
    #[must_use]
    pub const fn n_sessions(&self) -> u64 {
        self.sessions_per_day as u64 * self.days as u64
    }

    /// The start of the first day, in microseconds since 1970.
    pub(super) fn start_micros(&self) -> Result<i64> {
        let start = TimeZone::UTC.to_timestamp(self.start.at(0, 0, 0, 0));
        let start = start.map_err(|error| invalid(format!("`start`: {error}")))?;
        Ok(start.as_microsecond())
    }

    /// Whether there can be such a shop.
    pub(super) fn check(&self) -> Result<()> {
        let bounded = [
            ("bot_rate", self.bot_rate, 0.0, 1.0),
            ("duplicate_rate", self.duplicate_rate, 0.0, 1.0),
            ("late_rate", self.late_rate, 0.0, 1.0),
            ("out_of_order_rate", self.out_of_order_rate, 0.0, 1.0),
            ("repeat_rate", self.repeat_rate, 0.0, 1.0),
            ("search_rate", self.search_rate, 0.0, 1.0),
            ("purchase_rate", self.purchase_rate, 0.0, 1.0),
            ("mean_views", self.mean_views, 1.0, 30.0),
            ("zipf_exponent", self.zipf_exponent, 0.0, 10.0),
        ];
        for (name, value, least, most) in bounded {
            // Not a number is in no range.
            if !(least..=most).contains(&value) {
                let reason = format!("`{name}` is {value}, not between {least} and {most}");
                return Err(invalid(reason));
            }
        }
        if self.late_rate + self.out_of_order_rate > 1.0 {
            let reason = "`late_rate` and `out_of_order_rate` are more than 1 together";
            return Err(invalid(reason.to_owned()));
        }
        if self.n_categories == 0 || self.n_items / 2 < self.n_categories {
            return Err(invalid(format!(
                "`n_items` is {} and `n_categories` {}: each category needs two items",
                self.n_items, self.n_categories
            )));
        }
        if self.n_shoppers < (2 * u64::from(self.sessions_per_day)).max(1) {
            return Err(invalid(format!(
                "`n_shoppers` is {}, less than the sessions of two days",
                self.n_shoppers
            )));
        }
        // Bots are numbered after the shoppers.
        if self.n_shoppers.checked_add(self.n_sessions()).is_none() {
            let found = self.n_shoppers;
            return Err(invalid(format!(
                "`n_shoppers` is {found}: numbers end before"
            )));
        }
        // Late events of the last day are received on one of the next.
        let start = self.start_micros()?;
        let end = DAY.checked_mul(i64::from(self.days) + 3);
        let end = end.and_then(|length| start.checked_add(length));
        let end = end.and_then(|end| Timestamp::from_microsecond(end).ok());
        if end.is_none() {
            return Err(invalid(format!(
                "`days` is {}: time ends before",
                self.days
            )));
        }
        Ok(())
    }
}

/// A day in microseconds.
pub(super) const DAY: i64 = 24 * 60 * 60 * 1_000_000;

fn invalid(reason: String) -> Error {
    Error::InvalidConfig {
        of: "synthetic shop".to_owned(),
        reason,
    }
}
