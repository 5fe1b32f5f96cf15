//! [`Model`]: what answers a session with a ranking, and how it is loaded.

use std::fmt::{self, Debug};
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::artifact::ModelArtifact;
use crate::error::Result;
use crate::ranking::Ranking;
use crate::session::Session;

/// Answers sessions with rankings.
///
/// # Contract
///
/// * One ranking for each session, in their order; the same for a session alone as in a batch.
/// * Each ranking is best first, ties by item id, holds no item twice and at most `k` items;
///   `k = 0` gives empty rankings. A smaller `k` gives the head of the same ranking.
/// * The score of an item is finite.
/// * Items of a session that the model does not know are skipped. A session of which nothing is left
///   gives what the model says without context, or an empty ranking if it needs some.
/// * Nothing is filtered: items of the session may be in its ranking.
/// * The same session gives the same ranking, always.
///
/// [`testing::model`](crate::testing::model) checks it (feature `testing`).
///
/// # Examples
///
/// A model of three lines; `examples/custom_model.rs` is a whole one.
///
/// ```
/// use reco_core::{ItemId, Model, ModelExt, Ranking, Result, Scored, Session};
///
/// /// Recommends the last item again.
/// #[derive(Debug)]
/// struct Again;
///
/// impl Model for Again {
///     fn kind(&self) -> &str {
///         "again"
///     }
///
///     fn recommend_batch(&self, sessions: &[Session], k: usize) -> Result<Vec<Ranking>> {
///         let again = |s: &Session| s.items().last().map(|item| Scored { item: item.clone(), score: 1.0 });
///         Ok(sessions.iter().map(|s| again(s).into_iter().take(k).collect()).collect())
///     }
/// }
///
/// let ranking = Again.recommend(&["hat", "scarf"].into_iter().collect(), 20)?;
/// assert_eq!(ranking.items().collect::<Vec<_>>(), [&ItemId::from("scarf")]);
/// # Ok::<(), reco_core::Error>(())
/// ```
pub trait Model: Debug + Send + Sync + 'static {
    /// What kind of model it is; the kind of its artifacts and of its loader.
    fn kind(&self) -> &str;

    /// The `k` best items for each session.
    ///
    /// # Errors
    ///
    /// The model cannot answer; an unknown item or an empty session is no error.
    fn recommend_batch(&self, sessions: &[Session], k: usize) -> Result<Vec<Ranking>>;
}

/// What every [`Model`] can do besides.
pub trait ModelExt: Model {
    /// The `k` best items for one session.
    ///
    /// # Errors
    ///
    /// As [`Model::recommend_batch`].
    fn recommend(&self, session: &Session, k: usize) -> Result<Ranking> {
        let mut rankings = self.recommend_batch(std::slice::from_ref(session), k)?;
        Ok(rankings.pop().unwrap_or_default())
    }
}

impl<M: Model + ?Sized> ModelExt for M {}

/// Makes a model of one kind from its artifact.
///
/// # Contract
///
/// * `load` accepts every artifact of its kind that it, or an earlier version of it, has written,
///   and gives a model that answers as the one that was saved.
/// * It reads what the artifact holds and nothing else.
pub trait ModelLoader: Debug + Send + Sync + 'static {
    /// The kind of model that it loads.
    fn kind(&self) -> &str;

    /// The model of an artifact.
    ///
    /// # Errors
    ///
    /// The artifact lacks something, or its parts do not fit together.
    fn load(&self, artifact: &ModelArtifact) -> Result<Arc<dyn Model>>;
}

/// The number of a published version of a model: 1, 2, 3 and so on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ModelVersion(pub u64);

impl fmt::Display for ModelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl FromStr for ModelVersion {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}
