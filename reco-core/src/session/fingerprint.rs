//! [`DataFingerprint`]: what a data set is, in a few numbers and a digest.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::SessionDataset;
use crate::artifact::hex;

/// What a data set is, in a few numbers and a digest: it travels with the model that learnt from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataFingerprint {
    /// Number of sessions.
    pub n_sessions: u64,
    /// Number of interactions.
    pub n_interactions: u64,
    /// Number of distinct items.
    pub n_items: u64,
    /// The first interaction.
    pub from: Option<Timestamp>,
    /// The last interaction.
    pub until: Option<Timestamp>,
    /// SHA-256 of the vocabulary, the offsets and the items, in hex.
    pub sha256: String,
}

impl SessionDataset {
    /// What the data is, in a few numbers and a digest.
    #[must_use]
    pub fn fingerprint(&self) -> DataFingerprint {
        let mut digest = Sha256::new();
        for item in self.vocabulary().items() {
            digest.update((item.as_str().len() as u64).to_le_bytes());
            digest.update(item.as_str());
        }
        let mut bytes = Vec::with_capacity(1 << 16);
        let mut write = |value: u64, digest: &mut Sha256| {
            bytes.extend_from_slice(&value.to_le_bytes());
            if bytes.len() >= 1 << 16 {
                digest.update(&bytes);
                bytes.clear();
            }
        };
        self.offsets
            .iter()
            .for_each(|&offset| write(offset, &mut digest));
        self.items
            .iter()
            .for_each(|item| write(u64::from(*item), &mut digest));
        digest.update(&bytes);
        DataFingerprint {
            n_sessions: self.n_sessions() as u64,
            n_interactions: self.n_interactions() as u64,
            n_items: self.vocabulary().len() as u64,
            from: self
                .times
                .iter()
                .min()
                .and_then(|&t| Timestamp::from_microsecond(t).ok()),
            until: self
                .times
                .iter()
                .max()
                .and_then(|&t| Timestamp::from_microsecond(t).ok()),
            sha256: hex(&digest.finalize()),
        }
    }
}
