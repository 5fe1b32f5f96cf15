//! [`TenantConfig`]: who may send, and how much.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::refusal::Refusal;
use crate::error::{Error, Result};

/// A shop that may send events.
///
/// # Examples
///
/// ```
/// use reco_ingest::http::TenantConfig;
///
/// let file = r#"[{"id": "shop-1", "keys": ["k3y"], "rate": {"events_per_second": 500, "burst": 2000}}]"#;
/// let tenants: Vec<TenantConfig> = reco_core::config_from_json("tenants", file)?;
/// assert_eq!(tenants[0].id, "shop-1");
/// assert!(!format!("{tenants:?}").contains("k3y"));
/// # Ok::<(), reco_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TenantConfig {
    /// What its events have in the column `tenant_id`.
    pub id: String,
    /// The keys that it sends, one of them with every request. Several, so that one can be replaced.
    pub keys: Vec<ApiKey>,
    /// How many events it may send. Default: any number.
    pub rate: Option<RateConfig>,
}

/// A key that a tenant sends. It is not shown by `Debug`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ApiKey(pub String);

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(…)")
    }
}

/// How many events a tenant may send: those of a request count one by one, dead letters too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateConfig {
    /// How many a second, over time.
    pub events_per_second: NonZeroU32,
    /// How many at once, after a pause. A request of more is never accepted.
    pub burst: NonZeroU32,
}

/// The tenants by their keys.
#[derive(Debug)]
pub(super) struct Tenants {
    // Looking a digest up takes a time that says nothing about the key it is of.
    by_digest: HashMap<[u8; 32], Arc<Tenant>>,
}

#[derive(Debug)]
pub(super) struct Tenant {
    pub(super) id: Arc<str>,
    rate: Option<(NonZeroU32, DefaultDirectRateLimiter)>,
}

impl Tenants {
    pub(super) fn new(configs: &[TenantConfig]) -> Result<Self> {
        let invalid = |reason: String| Error::InvalidConfig {
            of: "collector",
            reason,
        };
        if configs.is_empty() {
            return Err(invalid("`tenants` is empty".to_owned()));
        }
        let mut ids = HashSet::new();
        let mut by_digest = HashMap::new();
        for TenantConfig { id, keys, rate } in configs {
            if id.is_empty() {
                return Err(invalid("a tenant has an empty id".to_owned()));
            }
            if !ids.insert(id) {
                return Err(invalid(format!("tenant `{id}` is there twice")));
            }
            if keys.is_empty() {
                return Err(invalid(format!("tenant `{id}` has no key")));
            }
            let rate = rate.map(|rate| {
                let quota = Quota::per_second(rate.events_per_second).allow_burst(rate.burst);
                (rate.burst, RateLimiter::direct(quota))
            });
            let tenant = Arc::new(Tenant {
                id: Arc::from(id.as_str()),
                rate,
            });
            for ApiKey(key) in keys {
                if key.is_empty() {
                    return Err(invalid(format!("tenant `{id}` has an empty key")));
                }
                let taken = by_digest.insert(digest(key.as_bytes()), Arc::clone(&tenant));
                if taken.is_some() {
                    return Err(invalid(format!("a key of tenant `{id}` is there twice")));
                }
            }
        }
        Ok(Self { by_digest })
    }

    pub(super) fn of_key(&self, key: &[u8]) -> Option<&Arc<Tenant>> {
        self.by_digest.get(&digest(key))
    }
}

fn digest(key: &[u8]) -> [u8; 32] {
    Sha256::digest(key).into()
}

impl Tenant {
    /// Takes some events off what the tenant may send now.
    pub(super) fn take(&self, n_events: usize) -> Result<(), Refusal> {
        let (Some((burst, limiter)), Some(n)) = (
            &self.rate,
            NonZeroU32::new(u32::try_from(n_events).unwrap_or(u32::MAX)),
        ) else {
            return Ok(());
        };
        match limiter.check_n(n) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(not_yet)) => Err(Refusal::TooFast {
                retry_after: not_yet.wait_time_from(DefaultClock::default().now()),
            }),
            Err(_) => Err(Refusal::TooManyEvents {
                max_events: burst.get() as usize,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn tenant(id: &str, keys: &[&str]) -> TenantConfig {
        TenantConfig {
            id: id.to_owned(),
            keys: keys.iter().map(|key| ApiKey((*key).to_owned())).collect(),
            rate: None,
        }
    }

    fn check_invalid(tenants: &[TenantConfig], expected: &str) {
        let error = Tenants::new(tenants).unwrap_err().to_string();
        assert_eq!(error, format!("the collector is invalid: {expected}"));
    }

    #[test]
    fn keys_name_one_tenant() {
        check_invalid(&[], "`tenants` is empty");
        check_invalid(&[tenant("", &["k"])], "a tenant has an empty id");
        check_invalid(&[tenant("a", &[])], "tenant `a` has no key");
        check_invalid(&[tenant("a", &[""])], "tenant `a` has an empty key");
        check_invalid(
            &[tenant("a", &["k"]), tenant("a", &["l"])],
            "tenant `a` is there twice",
        );
        check_invalid(
            &[tenant("a", &["k"]), tenant("b", &["l", "k"])],
            "a key of tenant `b` is there twice",
        );
        let tenants = Tenants::new(&[tenant("a", &["k", "l"]), tenant("b", &["m"])]).unwrap();
        let id = |key: &str| tenants.of_key(key.as_bytes()).map(|tenant| &*tenant.id);
        assert_eq!(
            [id("k"), id("l"), id("m"), id("n")],
            [Some("a"), Some("a"), Some("b"), None]
        );
    }

    #[test]
    fn a_rate_allows_a_burst_and_no_more() {
        let rate = RateConfig {
            events_per_second: NonZeroU32::MIN,
            burst: NonZeroU32::new(1000).unwrap(),
        };
        let config = TenantConfig {
            rate: Some(rate),
            ..tenant("a", &["k"])
        };
        let tenants = Tenants::new(&[config]).unwrap();
        let tenant = tenants.of_key(b"k").unwrap();
        assert!(tenant.take(0).is_ok());
        assert!(matches!(
            tenant.take(1001),
            Err(Refusal::TooManyEvents { max_events: 1000 })
        ));
        assert!(tenant.take(1000).is_ok());
        let Err(Refusal::TooFast { retry_after }) = tenant.take(1000) else {
            panic!("the burst is used up");
        };
        assert!(retry_after > Duration::from_secs(900), "{retry_after:?}");
    }
}
