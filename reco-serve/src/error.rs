//! What can go wrong when a model is opened, reloaded or asked.

use reco_core::ModelVersion;

/// A result whose error is this crate's [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong when a model is opened, reloaded or asked.
///
/// The cause is in [`source`](std::error::Error::source) and nowhere else: print the chain to see it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It could not be found out which version the alias points at.
    #[error("alias `{alias}` of model `{model}` cannot be resolved")]
    Resolve {
        /// The model.
        model: String,
        /// The alias.
        alias: String,
        /// What the registry says.
        source: Box<reco_core::Error>,
    },
    /// The version could not be read, has no loader, was refused by its loader, or failed to answer
    /// the empty session that it is tried with.
    #[error("version {version} of model `{model}` cannot be loaded")]
    Load {
        /// The model.
        model: String,
        /// The version.
        version: ModelVersion,
        /// What the registry, the loader or the model says.
        source: Box<reco_core::Error>,
    },
    /// The loader panicked, or the runtime shut down while it worked.
    #[error("version {version} of model `{model}` cannot be loaded: its loader did not return")]
    LoaderLost {
        /// The model.
        model: String,
        /// The version.
        version: ModelVersion,
        /// What the runtime says.
        source: tokio::task::JoinError,
    },
    /// The model failed to answer.
    #[error("version {version} of model `{model}` failed to answer")]
    Answer {
        /// The model.
        model: String,
        /// The version.
        version: ModelVersion,
        /// What the model says.
        source: Box<reco_core::Error>,
    },
    /// The fallback failed to answer.
    #[error("fallback `{kind}` of model `{model}` failed to answer")]
    Fallback {
        /// The model.
        model: String,
        /// The kind of the fallback.
        kind: String,
        /// What the fallback says.
        source: Box<reco_core::Error>,
    },
    /// A model did not give one ranking for each session.
    #[error("model of kind `{kind}` gave {found} rankings for {expected} sessions")]
    RankingCount {
        /// The kind of the model.
        kind: String,
        /// How many rankings there were.
        found: usize,
        /// How many sessions it was asked for.
        expected: usize,
    },
    /// Two loaders were given for one kind of model.
    #[error("two loaders for models of kind `{kind}`")]
    DuplicateLoader {
        /// The kind of model.
        kind: String,
    },
    /// The interval of [`ReloadPolicy::Poll`](crate::ReloadPolicy::Poll) is zero.
    #[error("model `{model}`: the registry cannot be polled without a pause")]
    ZeroPollInterval {
        /// The model.
        model: String,
    },
    /// The call was made outside of a tokio runtime.
    #[error("model `{model}` can only be loaded within a tokio runtime")]
    NoRuntime {
        /// The model.
        model: String,
    },
}

/// An error with its causes, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let causes: Vec<String> = causes.map(ToString::to_string).collect();
    causes.join(": ")
}
