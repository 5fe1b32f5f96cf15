//! What can go wrong in training and evaluation.

/// A result whose error is this crate's [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong in training and evaluation.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A joint failed: data, artifact, vocabulary.
    #[error(transparent)]
    Core(#[from] reco_core::Error),
    /// A hyperparameter has a value that the algorithm does not allow.
    #[error("{model}: `{key}` {reason}")]
    InvalidConfig {
        /// The kind of model.
        model: &'static str,
        /// The hyperparameter.
        key: &'static str,
        /// What it must be and what it is.
        reason: String,
    },
    /// No session of the training set can teach the model anything.
    #[error("{model}: {reason}")]
    NothingToLearn {
        /// The kind of model.
        model: &'static str,
        /// What is missing: sessions of two items, say.
        reason: String,
    },
    /// The device is not there, or cannot be used.
    #[error("device `{device}` is not available: {reason}")]
    DeviceUnavailable {
        /// The device as it was asked for.
        device: String,
        /// What the driver says.
        reason: String,
    },
    /// The loss became infinite or not a number: the learning rate is too high.
    #[error("{model}: the loss diverged in epoch {epoch}; try a lower learning rate")]
    Diverged {
        /// The kind of model.
        model: &'static str,
        /// The epoch, from 1.
        epoch: u32,
    },
    /// Reading a result back from the device failed.
    #[error("device failed to {operation}: {reason}")]
    Device {
        /// What was tried, as a verb.
        operation: &'static str,
        /// What the device says.
        reason: String,
    },
    /// An engine cannot do what the configuration or the trainer asks for.
    #[error("{model}: engine `{engine}` has no {what}; the CPU engine has")]
    NotOnEngine {
        /// The kind of model.
        model: &'static str,
        /// The engine.
        engine: &'static str,
        /// What was asked for.
        what: &'static str,
    },
    /// A checkpoint cannot be written, read, or gone on from.
    #[error("checkpoint `{}`: {reason}", path.display())]
    Checkpoint {
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Weights of another framework are not those of the network, or cannot be written for it.
    #[error("weights cannot be exchanged: {reason}")]
    Exchange {
        /// What is wrong.
        reason: String,
    },
    /// A pool of threads could not be made.
    #[error("cannot start {threads} threads")]
    Threads {
        /// How many were asked for.
        threads: usize,
        /// What the system says.
        source: rayon::ThreadPoolBuildError,
    },
    /// A model gave an item a score that is infinite or not a number.
    #[error("model `{kind}` gave item `{item}` the score {score}")]
    ScoreNotFinite {
        /// The kind of model.
        kind: String,
        /// The item.
        item: String,
        /// The score.
        score: f32,
    },
    /// A model's answer is not one that its contract allows.
    #[error("model `{kind}` gave an answer that no model may give: {reason}")]
    InvalidAnswer {
        /// The kind of model.
        kind: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Two evaluations are not about the same.
    #[error("the evaluations cannot be compared: {reason}")]
    NotComparable {
        /// In what they differ.
        reason: String,
    },
    /// A file of vectors is not one of word2vec's, or cannot be written as one.
    #[error("word2vec file, entry {entry}: {reason}")]
    Word2Vec {
        /// Which item, from 1; 0 is the header.
        entry: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// A file cannot be read or written.
    #[error("cannot read or write a file")]
    Io(#[from] std::io::Error),
    /// A report of an evaluation cannot be read.
    #[error("the report of an evaluation cannot be read")]
    Report(#[from] serde_json::Error),
    /// No test session has two items that the model knows, so there is nothing to rank.
    #[error(
        "no test session has two items that model `{kind}` knows; {n_unseen} targets are unknown to it"
    )]
    NoQueries {
        /// The kind of model.
        kind: String,
        /// How many targets the model does not know.
        n_unseen: u64,
    },
    /// A search space is not one, or not one of what is searched.
    #[error("the search space is invalid: parameter `{parameter}` {reason}")]
    InvalidSpace {
        /// The parameter.
        parameter: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The journal of a search cannot be gone on with.
    #[error("journal `{}` of a search cannot be used: {reason}", .path.display())]
    Journal {
        /// The file.
        path: std::path::PathBuf,
        /// Why not.
        reason: String,
    },
    /// A file that the caller named cannot be used.
    #[error("cannot {operation} `{}`", .path.display())]
    File {
        /// The file.
        path: std::path::PathBuf,
        /// What was tried, as a verb.
        operation: &'static str,
        /// What the system says.
        source: std::io::Error,
    },
}
