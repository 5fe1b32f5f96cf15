//! [`SessionEncoding`]: how the items of a session become positions in a vocabulary.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Session;
use crate::error::{Error, Result};
use crate::vocabulary::{ItemIdx, Vocabulary};

/// How the items of a session become positions in a vocabulary: the settings.
///
/// They are part of the artifact of a model, with the version of the code that applies them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionEncoding {
    /// The version of the rules below; this build knows [`SessionEncoding::VERSION`].
    pub version: u32,
    /// Whether an item that follows itself is taken once. Default no; the GRU4Rec paper's
    /// preprocessing does so, the SR-GNN line of papers does not.
    #[serde(default)]
    pub collapse_repeats: bool,
}

impl Default for SessionEncoding {
    fn default() -> Self {
        Self {
            version: Self::VERSION,
            collapse_repeats: false,
        }
    }
}

impl SessionEncoding {
    /// The rules of this build: items that are not in the vocabulary are skipped, then repeats are
    /// collapsed if asked, and the order is kept.
    pub const VERSION: u32 = 1;

    /// Whether this build knows the rules.
    ///
    /// # Errors
    ///
    /// [`Error::UnsupportedFormat`] if it does not.
    pub const fn check(self) -> Result<Self> {
        if self.version == Self::VERSION {
            return Ok(self);
        }
        Err(Error::UnsupportedFormat {
            what: "session encoding",
            found: self.version,
            supported: Self::VERSION,
        })
    }

    /// What a session of positions (`None`: not in the vocabulary) is to a model: each item that
    /// is kept, with its place in the session.
    pub fn apply(
        self,
        items: impl Iterator<Item = Option<ItemIdx>>,
    ) -> impl Iterator<Item = (usize, ItemIdx)> {
        let mut last = None;
        items.enumerate().filter_map(move |(place, item)| {
            let item = item?;
            let repeats = last.replace(item) == Some(item);
            (!(self.collapse_repeats && repeats)).then_some((place, item))
        })
    }
}

/// Encodes sessions for one model: its settings and its vocabulary. Cloning is cheap and shares.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use reco_core::{ItemIdx, Session, SessionEncoder, SessionEncoding, Vocabulary};
///
/// let vocabulary = Arc::new(Vocabulary::from_counts([("hat", 5), ("scarf", 2)])?);
/// let encoder = SessionEncoder::new(SessionEncoding::default(), vocabulary)?;
/// let session: Session = ["scarf", "unknown", "hat"].into_iter().collect();
/// assert_eq!(encoder.encode(&session), [ItemIdx(1), ItemIdx(0)]);
/// # Ok::<(), reco_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct SessionEncoder {
    encoding: SessionEncoding,
    vocabulary: Arc<Vocabulary>,
}

impl SessionEncoder {
    /// Encodes with these settings and this vocabulary.
    ///
    /// # Errors
    ///
    /// [`Error::UnsupportedFormat`] if this build does not know the encoding's version.
    pub fn new(encoding: SessionEncoding, vocabulary: Arc<Vocabulary>) -> Result<Self> {
        Ok(Self {
            encoding: encoding.check()?,
            vocabulary,
        })
    }

    /// The settings.
    #[must_use]
    pub const fn encoding(&self) -> SessionEncoding {
        self.encoding
    }

    /// The items that can be encoded.
    #[must_use]
    pub const fn vocabulary(&self) -> &Arc<Vocabulary> {
        &self.vocabulary
    }

    /// The positions of the session's items, the oldest first; items that are not in the vocabulary
    /// are skipped.
    #[must_use]
    pub fn encode(&self, session: &Session) -> Vec<ItemIdx> {
        let items = session
            .items()
            .iter()
            .map(|item| self.vocabulary.idx(item.as_str()));
        self.encoding.apply(items).map(|(_, item)| item).collect()
    }
}
