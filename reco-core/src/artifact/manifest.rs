//! [`Manifest`]: what a model is, as the JSON file of its artifact.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::hex;
use crate::check::CheckReport;
use crate::session::{DataFingerprint, SessionEncoding};

/// What a model is: the JSON file of its artifact.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of the artifact's format; this build writes and reads [`Manifest::FORMAT`].
    pub format_version: u32,
    /// The kind of model, which names its loader.
    pub kind: String,
    /// The hyperparameters, as the trainer's configuration writes them.
    pub config: serde_json::Value,
    /// How sessions are encoded for it.
    pub encoding: SessionEncoding,
    /// What it was fitted on.
    pub data: Option<DataFingerprint>,
    /// What it has scored, by metric: `recall@20`.
    pub scores: BTreeMap<String, f64>,
    /// How it behaves, where that was checked; a version with a failed check is not promoted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checks: Option<CheckReport>,
    /// SHA-256 and length of the other files, by name.
    pub files: BTreeMap<String, FileDigest>,
}

impl Manifest {
    /// The format that this build writes and reads.
    pub const FORMAT: u32 = 1;
}

/// SHA-256 and length of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileDigest {
    /// SHA-256 in hex.
    pub sha256: String,
    /// Length in bytes.
    pub n_bytes: u64,
}

impl FileDigest {
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self {
            sha256: hex(&Sha256::digest(bytes)),
            n_bytes: bytes.len() as u64,
        }
    }
}
