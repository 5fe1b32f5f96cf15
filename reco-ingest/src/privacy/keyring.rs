//! [`Keyring`]: the secrets that pseudonyms are made with.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::invalid;
use crate::error::Result;
use crate::hex::hex;

// NIST SP 800-107 asks for at least 112 bits; a key is machine-made, so ask for the usual 128.
const MIN_SECRET_BYTES: usize = 16;
const MAX_ID_BYTES: usize = 16;
// 128 bits: among 10¹⁵ clients two would share a pseudonym with a probability of 10⁻⁹.
const PSEUDONYM_BYTES: usize = 16;

/// The secrets that pseudonyms are made with: one in use, and those before it.
///
/// A pseudonym is `<key id>_<hex>`, where the hex digits are the first 128 bits of the HMAC-SHA-256
/// (RFC 2104) of the text under the secret. The same text has the same pseudonym as long as the same
/// key is in use, so sessions and joins survive; without the secret nobody can go back, nor try out
/// whether a pseudonym is a given client's.
///
/// Rotate the key to cut the thread: from then on everybody has a new pseudonym. Keep the former
/// secrets as long as a client's events have to be found, to be forgotten for instance; then give up
/// the secret, and they cannot be told apart from anybody's.
///
/// Cloning is cheap and shares: a rotation is seen by every sink that has the keyring.
///
/// # Examples
///
/// ```
/// use reco_ingest::privacy::Keyring;
///
/// let keys = Keyring::new("2024q1", b"the secret of spring, 32 bytes..")?;
/// let spring = keys.pseudonym("client 7");
/// assert!(spring.starts_with("2024q1_"));
/// assert_eq!(spring, keys.pseudonym("client 7"));
///
/// keys.rotate("2024q2", b"the secret of summer, 32 bytes..")?;
/// assert_ne!(keys.pseudonym("client 7"), spring);
/// assert_eq!(keys.pseudonyms("client 7")[1], spring);
/// # Ok::<(), reco_ingest::Error>(())
/// ```
#[derive(Clone)]
pub struct Keyring {
    /// The one in use is the last; there is always one.
    keys: Arc<RwLock<Vec<Key>>>,
}

#[derive(Clone)]
struct Key {
    id: String,
    mac: Hmac<Sha256>,
}

impl Keyring {
    /// A keyring of one key.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`](crate::Error::InvalidConfig) if the id is not 1 to 16 of a-z, A-Z, 0-9,
    /// `-`, or the secret has less than 16 bytes.
    pub fn new(id: impl Into<String>, secret: &[u8]) -> Result<Self> {
        let key = Key::new(id.into(), secret)?;
        Ok(Self {
            keys: Arc::new(RwLock::new(vec![key])),
        })
    }

    /// Takes a new key into use. Those before it are kept for [`pseudonyms`](Self::pseudonyms).
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new), and if a key has the same id.
    pub fn rotate(&self, id: impl Into<String>, secret: &[u8]) -> Result<()> {
        let key = Key::new(id.into(), secret)?;
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        if keys.iter().any(|other| other.id == key.id) {
            return Err(invalid(format!("key id `{}` is taken", key.id)));
        }
        keys.push(key);
        drop(keys);
        Ok(())
    }

    /// The id of the key in use.
    #[must_use]
    pub fn key_id(&self) -> String {
        let keys = self.read();
        keys.last().map_or_else(String::new, |key| key.id.clone())
    }

    /// What a text is called under the key in use.
    #[must_use]
    pub fn pseudonym(&self, text: &str) -> String {
        let keys = self.read();
        keys.last()
            .map_or_else(String::new, |key| key.pseudonym(text))
    }

    /// What a text is and was called, by the latest key first.
    #[must_use]
    pub fn pseudonyms(&self, text: &str) -> Vec<String> {
        let keys = self.read();
        keys.iter().rev().map(|key| key.pseudonym(text)).collect()
    }

    // Keys are only ever added, so what a panic left behind is whole.
    fn read(&self) -> RwLockReadGuard<'_, Vec<Key>> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = self.read();
        let ids: Vec<&str> = keys.iter().map(|key| key.id.as_str()).collect();
        f.debug_struct("Keyring")
            .field("ids", &ids)
            .finish_non_exhaustive()
    }
}

impl Key {
    fn new(id: String, secret: &[u8]) -> Result<Self> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if id.is_empty() || id.len() > MAX_ID_BYTES || !id.bytes().all(allowed) {
            let reason = format!("key id `{id}` is not 1 to {MAX_ID_BYTES} of a-z, A-Z, 0-9, `-`");
            return Err(invalid(reason));
        }
        if secret.len() < MIN_SECRET_BYTES {
            let reason = format!("the secret of key `{id}` has less than {MIN_SECRET_BYTES} bytes");
            return Err(invalid(reason));
        }
        // HMAC takes keys of any length.
        let mac = Hmac::new_from_slice(secret)
            .map_err(|error| invalid(format!("the secret of key `{id}`: {error}")))?;
        Ok(Self { id, mac })
    }

    fn pseudonym(&self, text: &str) -> String {
        let digest = self.mac.clone().chain_update(text).finalize().into_bytes();
        format!("{}_{}", self.id, hex(&digest[..PSEUDONYM_BYTES]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pseudonyms_are_those_of_the_standard() {
        // RFC 4231, test case 6 has a secret that is longer than a block.
        let keys = Keyring::new("k", &[0xaa; 131]).unwrap();
        assert_eq!(
            keys.pseudonym("Test Using Larger Than Block-Size Key - Hash Key First"),
            "k_60e431591ee0b67f0d8a26aacbf5b77f"
        );
    }

    #[test]
    fn keys_that_cannot_be_used_are_refused() {
        let check = |id: &str, secret: &[u8], expected: &str| {
            let error = Keyring::new(id, secret).unwrap_err();
            assert_eq!(error.to_string(), expected);
        };
        check(
            "a b",
            &[0; 32],
            "the redaction is invalid: key id `a b` is not 1 to 16 of a-z, A-Z, 0-9, `-`",
        );
        check(
            "a",
            b"short",
            "the redaction is invalid: the secret of key `a` has less than 16 bytes",
        );
        let keys = Keyring::new("a", &[0; 32]).unwrap();
        assert!(keys.rotate("a", &[1; 32]).is_err());
        assert_eq!(keys.key_id(), "a");
    }

    #[test]
    fn secrets_are_not_shown() {
        let keys = Keyring::new("a", b"do not print this secret").unwrap();
        assert_eq!(format!("{keys:?}"), r#"Keyring { ids: ["a"], .. }"#);
    }
}
