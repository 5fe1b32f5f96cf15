//! [`SpoolConfig`]: where a spool is, how much it holds, and when it drains.

use std::path::PathBuf;
use std::time::Duration;

use reco_core::Durability;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Where a spool is, how much it holds, and when it drains.
///
/// # Examples
///
/// ```
/// use reco_ingest::SpoolConfig;
///
/// let config = SpoolConfig { max_bytes: 4 << 30, ..SpoolConfig::at("shop/spool") };
/// assert_eq!(config.drain.max_rows, 100_000);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SpoolConfig {
    /// The folder of the spool, on a local disk; made if it is not there. It has to be given.
    pub dir: PathBuf,
    /// What a record survives once it is acknowledged. Default: [`Durability::Durable`].
    ///
    /// Receipts say no more than what the table does, since that is where records end: see
    /// [`DeltaTable::with_durability`](crate::DeltaTable::with_durability).
    ///
    /// With [`Durability::OsCache`] nothing waits for the disk: what was acknowledged survives the end
    /// of the process, and a power loss may take the whole spool. Nothing less can be asked.
    pub durability: Durability,
    /// The most bytes that the spool takes on disk, give or take a group of writes. Default: 1 GiB.
    ///
    /// It is how long the table may be away: at 600 bytes an event, 1 GiB holds some 1.5 million.
    pub max_bytes: u64,
    /// How long a write waits for room before it is refused. Default: 1 s.
    pub max_wait: Duration,
    /// How much goes into the table at a time, and when.
    pub drain: DrainConfig,
}

/// How much of a spool goes into the table at a time, and when: the buffer hints of Amazon Data Firehose.
///
/// A commit to the table costs some requests and makes a file for each date, so fewer and larger ones
/// are better, and how far a scan is behind is the price.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DrainConfig {
    /// Drain once so many records are there, and about so many at a time. Default: 100 000.
    pub max_rows: usize,
    /// Drain once the records take so many bytes, and about so many at a time. Default: 64 MiB.
    pub max_bytes: usize,
    /// Drain once the oldest record has waited so long. Default: 60 s.
    ///
    /// It is how far a scan is behind. One that is too long for the clock, such as [`Duration::MAX`],
    /// is no limit.
    pub max_age: Duration,
}

impl Default for DrainConfig {
    fn default() -> Self {
        Self {
            max_rows: 100_000,
            max_bytes: 64 << 20,
            max_age: Duration::from_secs(60),
        }
    }
}

impl Default for SpoolConfig {
    fn default() -> Self {
        Self {
            dir: PathBuf::new(),
            durability: Durability::Durable,
            max_bytes: 1 << 30,
            max_wait: Duration::from_secs(1),
            drain: DrainConfig::default(),
        }
    }
}

impl SpoolConfig {
    /// The defaults, in a folder.
    #[must_use]
    pub fn at(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            ..Self::default()
        }
    }

    pub(super) fn validate(&self) -> Result<()> {
        let invalid = |reason: &str| {
            Err(Error::InvalidConfig {
                of: "spool",
                reason: reason.to_owned(),
            })
        };
        if self.dir.as_os_str().is_empty() {
            return invalid("`dir` is not given");
        }
        if self.durability == Durability::Memory {
            return invalid("`durability` is `memory`: a spool is on disk");
        }
        if self.max_bytes < MIN_BYTES {
            return invalid("`max_bytes` is less than 1 MiB");
        }
        if self.drain.max_rows == 0 {
            return invalid("`drain.max_rows` is 0");
        }
        if self.drain.max_bytes == 0 {
            return invalid("`drain.max_bytes` is 0");
        }
        Ok(())
    }
}

// Less than that holds too few pages to work with.
const MIN_BYTES: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spool_that_cannot_work_is_refused() {
        let refused = |config: SpoolConfig| config.validate().unwrap_err().to_string();
        let at = || SpoolConfig::at("spool");
        let cases = [
            (SpoolConfig::default(), "`dir` is not given"),
            (
                SpoolConfig {
                    durability: Durability::Memory,
                    ..at()
                },
                "`durability` is `memory`: a spool is on disk",
            ),
            (
                SpoolConfig {
                    max_bytes: 1,
                    ..at()
                },
                "`max_bytes` is less than 1 MiB",
            ),
        ];
        for (config, reason) in cases {
            assert_eq!(refused(config), format!("the spool is invalid: {reason}"));
        }
        assert!(at().validate().is_ok());
    }

    #[test]
    fn it_is_read_from_json() {
        let json = r#"{"dir":"spool","durability":"os_cache","drain":{"max_rows":7}}"#;
        let config: SpoolConfig = serde_json::from_str(json).unwrap();
        assert_eq!(config.durability, Durability::OsCache);
        assert_eq!((config.drain.max_rows, config.max_bytes), (7, 1 << 30));
        assert!(serde_json::from_str::<SpoolConfig>(r#"{"directory":"spool"}"#).is_err());
    }
}
