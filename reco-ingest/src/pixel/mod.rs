//! [`Hit`]: what a pixel sends, in the keys of Google Analytics' Measurement Protocol v1.
//!
//! A hit is the query string of a `GET`, or a line of the body of a `POST`. Shops that have the snippet
//! of that protocol in their pages, or a tag manager that speaks it, change one URL and are collected.
//!
//! # From a hit to events
//!
//! | `t` | `pa` | kind |
//! | --- | --- | --- |
//! | any | `detail`, `click`, `add`, `remove`, `purchase` | the kind of that name |
//! | any | anything else: `checkout`, `refund`, … | [`Custom`](reco_core::EventKind::Custom) |
//! | `pageview` | – | [`Pageview`](reco_core::EventKind::Pageview) |
//! | anything else: `event`, … | – | [`Custom`](reco_core::EventKind::Custom) |
//!
//! A hit with `pa` and products is one event a product, in the order of their numbers: a purchase of
//! three products is three. Every other hit is one event; without a `pa`, products say nothing of what
//! was done with them.
//!
//! | column | from |
//! | --- | --- |
//! | `id` | `z` if it is a UUID; if it is none, `cid`, a dot and `z`, because snippets send a short random number that two clients may share; a new UUID without `z`. A hit's second event and those after it have `-N` appended, `N` being the product's number |
//! | `occurred_at` | `tm`, or when the hit was received |
//! | `tenant_id` | the shop whose key came with the request; `tid` where none is asked for |
//! | `client_id` | `cid` |
//! | `item_id`, `price`, `quantity` | `prNid`, `prNpr`, `prNqt` |
//! | `currency` | `cu` |
//! | `payload` | the hit's bytes, in the first of its events |
//!
//! A hit without `cid`, or without both `t` and `pa`, says of nobody or nothing and is no event; nor is
//! one whose number or time cannot be read, or that has too many products or repeats too much in them.
//! The collector makes it a dead letter.
//!
//! The collector keeps no headers: the address and the browser of a user are in the payload if the snippet
//! sends them, and nowhere else. A host that wants them has [`Hit::or_headers`].

mod events;
mod keys;
mod product;

use std::borrow::Cow;

use percent_encoding::{NON_ALPHANUMERIC, percent_decode, utf8_percent_encode};
use reco_core::Timestamp;

use self::keys::keyed;
use self::product::product_key;
use crate::error::{Error, Result};

pub use product::Product;

/// The most products that a hit may have, as the protocol says.
pub const MAX_PRODUCTS: usize = 200;
/// The most bytes that the events of one hit may repeat, each of them having the client and its like.
pub const MAX_REPEATED_BYTES: usize = 1 << 20;

keyed! {
    /// What a pixel sends, in the keys of Google Analytics' Measurement Protocol v1.
    ///
    /// A key that is sent without a value counts as not sent. Of a key that is sent twice, the first value
    /// counts and the second is in `other`.
    ///
    /// # Examples
    ///
    /// ```
    /// use reco_core::EventKind;
    /// use reco_ingest::pixel::Hit;
    ///
    /// let query = "z=7c1f&t=event&pa=add&cid=c1&pr1id=hat&pr1pr=9.5&pr1qt=2&cu=EUR";
    /// let hit = Hit::parse(query.as_bytes())?;
    /// assert_eq!(hit.products[0].price, Some(9.5));
    ///
    /// let events = hit.events(None, "2024-05-01T12:00Z".parse()?, query.into())?;
    /// assert_eq!((events[0].kind, events[0].client.as_str()), (EventKind::Add, "c1"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub struct Hit<'a> {
        /// `z`: names the request, a UUID that the client makes.
        "z" => request_id: Cow<'a, str>,
        /// `cid`: the browser or device, a pseudonym.
        "cid" => client_id: Cow<'a, str>,
        /// `t`: the type of the hit: `pageview`, `event`, …
        "t" => hit_type: Cow<'a, str>,
        /// `pa`: what was done with the products: `detail`, `click`, `add`, `remove`, `purchase`, …
        "pa" => product_action: Cow<'a, str>,
        /// `tid`: the property.
        "tid" => property_id: Cow<'a, str>,
        /// `uid`: the user, once logged in.
        "uid" => user_id: Cow<'a, str>,
        /// `uip`: the IP address of the user, where another one sends the hit.
        "uip" => user_ip: Cow<'a, str>,
        /// `ua`: the browser of the user, where another one sends the hit.
        "ua" => user_agent: Cow<'a, str>,
        /// `dl`: the document's URL.
        "dl" => document_location: Cow<'a, str>,
        /// `dr`: the URL that led to it.
        "dr" => document_referrer: Cow<'a, str>,
        /// `dt`: the document's title.
        "dt" => document_title: Cow<'a, str>,
        /// `de`: the document's encoding.
        "de" => document_encoding: Cow<'a, str>,
        /// `sr`: the resolution of the screen, as `1920x1080`.
        "sr" => screen_resolution: Cow<'a, str>,
        /// `sd`: the depth of its colours, as `24-bits`.
        "sd" => screen_colors: Cow<'a, str>,
        /// `ul`: the language of the browser.
        "ul" => user_language: Cow<'a, str>,
        /// `ec`: the category of a custom event.
        "ec" => event_category: Cow<'a, str>,
        /// `ea`: its action.
        "ea" => event_action: Cow<'a, str>,
        /// `el`: its label.
        "el" => event_label: Cow<'a, str>,
        /// `ev`: its value.
        "ev" => event_value: i64,
        /// `ti`: the transaction's number.
        "ti" => transaction_id: Cow<'a, str>,
        /// `ta`: the shop or affiliate of the transaction.
        "ta" => transaction_affiliation: Cow<'a, str>,
        /// `tr`: its revenue, with tax and shipping.
        "tr" => transaction_revenue: f64,
        /// `tt`: its tax.
        "tt" => transaction_tax: f64,
        /// `ts`: its shipping.
        "ts" => transaction_shipping: f64,
        /// `tcc`: its coupon.
        "tcc" => coupon_code: Cow<'a, str>,
        /// `cu`: its currency, an ISO 4217 code.
        "cu" => currency_code: Cow<'a, str>,
        /// `pal`: the list that the products were in.
        "pal" => product_action_list: Cow<'a, str>,
        /// `tm`: when the client sent it, in milliseconds since 1970 or as RFC 3339 says.
        "tm" => sent_at: Timestamp,
    }
    and {
        /// What the keys `prN…` say, by their numbers.
        products: Vec<Product<'a>>,
        /// What has another key: the key and the value, in their order.
        other: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    }
}

impl<'a> Hit<'a> {
    /// Reads a query string, without the `?`.
    ///
    /// # Errors
    ///
    /// [`Error::Hit`] names the key whose value is no UTF-8 or not of its type, or says that there are
    /// more than [`MAX_PRODUCTS`] products.
    pub fn parse(query: &'a [u8]) -> Result<Self> {
        let mut hit = Self::default();
        for pair in query.split(|byte| *byte == b'&') {
            let at = pair.iter().position(|byte| *byte == b'=');
            let (key, value) = match at {
                Some(at) => (&pair[..at], &pair[at + 1..]),
                None => (pair, &b""[..]),
            };
            let not_utf8 = || Error::Hit {
                key: keys::excerpt(&String::from_utf8_lossy(key)).into_owned(),
                reason: "it is not UTF-8".to_owned(),
            };
            let name = decode(key).ok_or_else(not_utf8)?;
            let value = decode(value).ok_or_else(not_utf8)?;
            if !value.is_empty() {
                hit.insert(name, value)?;
            }
        }
        Ok(hit)
    }

    fn insert(&mut self, key: Cow<'a, str>, value: Cow<'a, str>) -> Result<()> {
        if let Some((number, suffix)) = product_key(&key) {
            return self.product(number)?.insert(suffix, value);
        }
        if let Some(value) = self.set("", &key, value)? {
            self.other.push((key, value));
        }
        Ok(())
    }

    fn product(&mut self, number: u32) -> Result<&mut Product<'a>> {
        let at = match self.products.binary_search_by_key(&number, |p| p.number) {
            Ok(at) => at,
            Err(_) if self.products.len() == MAX_PRODUCTS => {
                return Err(Error::Hit {
                    key: format!("pr{number}"),
                    reason: format!("a hit has at most {MAX_PRODUCTS} products"),
                });
            }
            Err(at) => {
                self.products.insert(at, Product::new(number));
                at
            }
        };
        Ok(&mut self.products[at])
    }

    /// The same with the address and the browser of whoever sent the request, where the hit says
    /// nothing of its own in `uip` and `ua`.
    #[must_use]
    pub fn or_headers(mut self, user_ip: Option<&'a str>, user_agent: Option<&'a str>) -> Self {
        self.user_ip = self.user_ip.or_else(|| user_ip.map(Cow::Borrowed));
        self.user_agent = self.user_agent.or_else(|| user_agent.map(Cow::Borrowed));
        self
    }

    /// The hit as a query string that [`parse`](Self::parse) reads as the same.
    #[must_use]
    pub fn to_query(&self) -> String {
        let mut query = String::new();
        let mut put = |key: &str, value: &str| {
            if !query.is_empty() {
                query.push('&');
            }
            query.extend(utf8_percent_encode(key, NON_ALPHANUMERIC));
            query.push('=');
            query.extend(utf8_percent_encode(value, NON_ALPHANUMERIC));
        };
        self.each(&mut put);
        for product in &self.products {
            product.each_key(&mut put);
        }
        for (key, value) in &self.other {
            put(key, value);
        }
        query
    }
}

/// What a part of a query string stands for; none if that is not UTF-8.
pub(crate) fn decode(part: &[u8]) -> Option<Cow<'_, str>> {
    if !part.iter().any(|byte| matches!(byte, b'+' | b'%')) {
        return std::str::from_utf8(part).ok().map(Cow::Borrowed);
    }
    // Browsers write a space as `+`.
    let spaced = part
        .iter()
        .map(|byte| if *byte == b'+' { b' ' } else { *byte });
    let spaced: Vec<u8> = spaced.collect();
    let decoded = percent_decode(&spaced).collect();
    String::from_utf8(decoded).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests;
