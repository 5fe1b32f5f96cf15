//! [`Treatment`]: what is done to a value that identifies a person.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use super::invalid;
use crate::error::Result;

/// What is done to a value that identifies a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Treatment {
    /// It is replaced by its pseudonym: see [`Keyring`](super::Keyring).
    Hash,
    /// It is an address, of which the [prefix](IpPrefix) is kept. A text that is none is dropped.
    TruncateIp,
    /// It is emptied: `null` in JSON, no text in a form.
    Drop,
}

/// How many bits of an address are kept; the others become 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IpPrefix {
    /// Of 32 bits. Default: 24.
    pub ipv4: u32,
    /// Of 128 bits. Default: 48.
    pub ipv6: u32,
}

impl Default for IpPrefix {
    fn default() -> Self {
        Self { ipv4: 24, ipv6: 48 }
    }
}

impl IpPrefix {
    pub(super) fn check(self) -> Result<()> {
        if self.ipv4 > Ipv4Addr::BITS || self.ipv6 > Ipv6Addr::BITS {
            let Self { ipv4, ipv6 } = self;
            let reason = format!("`ip_prefix` is {ipv4} and {ipv6} bits, of 32 and 128");
            return Err(invalid(reason));
        }
        Ok(())
    }

    /// The address without what identifies a household; none if the text is no address.
    pub(super) fn truncate(self, text: &str) -> Option<String> {
        let address: IpAddr = text.trim().parse().ok()?;
        // An IPv4 address that is written as one of IPv6 would be kept whole, or lost whole.
        let truncated = match address.to_canonical() {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(Ipv4Addr::BITS - self.ipv4);
                Ipv4Addr::from_bits(address.to_bits() & mask.unwrap_or(0)).to_string()
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(Ipv6Addr::BITS - self.ipv6);
                Ipv6Addr::from_bits(address.to_bits() & mask.unwrap_or(0)).to_string()
            }
        };
        Some(truncated)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(ipv4: u32, ipv6: u32, text: &str, expected: Option<&str>) {
        let prefix = IpPrefix { ipv4, ipv6 };
        assert_eq!(prefix.truncate(text).as_deref(), expected, "{text}");
    }

    #[test]
    fn addresses_keep_their_prefix() {
        check(24, 48, "192.0.2.17", Some("192.0.2.0"));
        check(24, 48, " 192.0.2.17 ", Some("192.0.2.0"));
        check(16, 48, "192.0.2.17", Some("192.0.0.0"));
        check(0, 0, "192.0.2.17", Some("0.0.0.0"));
        check(32, 128, "192.0.2.17", Some("192.0.2.17"));
        check(24, 48, "2001:db8:1:2:3:4:5:6", Some("2001:db8:1::"));
        check(24, 0, "2001:db8::1", Some("::"));
        check(24, 48, "::ffff:192.0.2.17", Some("192.0.2.0"));
        check(24, 48, "192.0.2.17, 10.0.0.1", None);
        check(24, 48, "localhost", None);
    }

    #[test]
    fn a_prefix_is_no_longer_than_an_address() {
        assert!(IpPrefix { ipv4: 33, ipv6: 0 }.check().is_err());
        assert!(IpPrefix { ipv4: 0, ipv6: 129 }.check().is_err());
        assert!(
            IpPrefix {
                ipv4: 32,
                ipv6: 128
            }
            .check()
            .is_ok()
        );
    }
}
