//! [`CollectorBuilder`]: the limits and the tenants of a collector.

use std::sync::Arc;
use std::time::Duration;

use reco_core::Event;
use tokio::sync::Semaphore;

use super::landing::Landing;
use super::read::MIN_REQUEST_BYTES;
use super::tenants::{TenantConfig, Tenants};
use super::{Clock, Collector, Limits, Shared, units};
use crate::error::{Error, Result};
use crate::sink::DeadLetter;

/// Makes a [`Collector`].
#[derive(Debug)]
#[must_use = "a builder does nothing until `build`"]
pub struct CollectorBuilder {
    events: Arc<dyn Landing<Event>>,
    dead_letters: Arc<dyn Landing<DeadLetter>>,
    clock: Clock,
    tenants: Option<Vec<TenantConfig>>,
    limits: Limits,
}

impl CollectorBuilder {
    pub(super) fn new(
        events: Arc<dyn Landing<Event>>,
        dead_letters: Arc<dyn Landing<DeadLetter>>,
        clock: Clock,
    ) -> Self {
        Self {
            events,
            dead_letters,
            clock,
            tenants: None,
            limits: Limits {
                body_bytes: 1 << 20,
                body_timeout: Duration::from_secs(10),
                max_events: 10_000,
                in_flight_bytes: 64 << 20,
            },
        }
    }

    /// The longest body in bytes. Default: 1 MiB.
    pub const fn body_limit(mut self, n_bytes: usize) -> Self {
        self.limits.body_bytes = n_bytes;
        self
    }

    /// The longest time that a body may take to arrive. Default: 10 s.
    pub const fn body_timeout(mut self, timeout: Duration) -> Self {
        self.limits.body_timeout = timeout;
        self
    }

    /// The most events and dead letters that one body may hold. Default: 10 000.
    pub const fn batch_limit(mut self, n_events: usize) -> Self {
        self.limits.max_events = n_events;
        self
    }

    /// The most bytes of bodies that are being read, and of what they hold while it is written; a request
    /// beyond it is refused at once. Default: 64 MiB.
    ///
    /// At least [`body_limit`](Self::body_limit). A request counts with 4 KiB at least, so the default lets
    /// 16 384 be served at a time. An event takes some 250 bytes more than its texts.
    pub const fn in_flight_limit(mut self, n_bytes: usize) -> Self {
        self.limits.in_flight_bytes = n_bytes;
        self
    }

    /// Who may send, each with its keys and its rate. Default: anyone.
    pub fn tenants(mut self, tenants: impl IntoIterator<Item = TenantConfig>) -> Self {
        self.tenants = Some(tenants.into_iter().collect());
        self
    }

    /// The collector.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] if a limit is 0 or there is no room for one body, or if tenants share an id
    /// or a key or have none.
    pub fn build(self) -> Result<Collector> {
        let invalid = |reason: &str| Error::InvalidConfig {
            of: "collector",
            reason: reason.to_owned(),
        };
        let limits = &self.limits;
        if limits.body_bytes == 0 {
            return Err(invalid("`body_limit` is 0"));
        }
        if limits.max_events == 0 {
            return Err(invalid("`batch_limit` is 0"));
        }
        if limits.body_timeout.is_zero() {
            return Err(invalid("`body_timeout` is 0"));
        }
        if limits.in_flight_bytes < limits.body_bytes.max(MIN_REQUEST_BYTES) {
            return Err(invalid(
                "`in_flight_limit` is less than `body_limit` or 4 KiB",
            ));
        }
        let tenants = self.tenants.as_deref().map(Tenants::new).transpose()?;
        let mut collector = self.into_shared();
        collector.tenants = tenants;
        Ok(Collector {
            shared: Arc::new(collector),
        })
    }

    // Nothing of the defaults is invalid.
    pub(super) fn into_collector(self) -> Collector {
        Collector {
            shared: Arc::new(self.into_shared()),
        }
    }

    fn into_shared(self) -> Shared {
        let n_units = units(self.limits.in_flight_bytes) as usize;
        Shared {
            events: self.events,
            dead_letters: self.dead_letters,
            clock: self.clock,
            tenants: None,
            room: Arc::new(Semaphore::new(n_units.min(Semaphore::MAX_PERMITS))),
            limits: self.limits,
        }
    }
}
