//! [`Digest`]: SHA-256 of parts, each told from the next.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

/// SHA-256 of parts, each with its length, so that `ab` and `c` are not `a` and `bc`.
#[derive(Debug)]
pub(crate) struct Digest(Sha256);

impl Digest {
    /// Begins with what the digest is of, so that digests of different things differ.
    pub(crate) fn new(kind: &str) -> Self {
        let mut digest = Self(Sha256::new());
        digest.text(kind);
        digest
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    /// In hex, 32 digits: half of SHA-256 tells apart more than a warehouse will ever hold.
    pub(crate) fn finish(self) -> String {
        let mut hex = String::new();
        for byte in &self.0.finalize()[..16] {
            // Writing to a string does not fail.
            _ = write!(hex, "{byte:02x}");
        }
        hex
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_told_apart() {
        let of = |kind: &str, parts: &[&str]| {
            let mut digest = Digest::new(kind);
            for part in parts {
                digest.text(part);
            }
            digest.finish()
        };
        assert_eq!(of("x", &["ab", "c"]).len(), 32);
        assert_eq!(of("x", &["ab", "c"]), of("x", &["ab", "c"]));
        let all = [
            of("x", &["ab", "c"]),
            of("x", &["a", "bc"]),
            of("x", &["abc"]),
            of("x", &["abc", ""]),
            of("xabc", &[]),
        ];
        for (i, one) in all.iter().enumerate() {
            assert!(!all[i + 1..].contains(one), "{i}");
        }
    }
}
