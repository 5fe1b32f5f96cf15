//! The joints of the reco crates: the types that two of them share and the formats that outlive both.
//!
//! ```text
//! shop ─▶ EventSink ─▶ RawTable ─▶ steps ─▶ Interaction ─▶ SessionDataset ─▶ Split
//!                                                                             │
//! host ◀─ Ranking ◀─ Model ◀─ ModelLoader ◀─ ModelRegistry ◀─ ModelArtifact ◀─┘
//! ```
//!
//! * [`event`], [`record`], [`sink`], [`table`]: what a shopper did, and where it lands.
//! * [`session`], [`vocabulary`]: what models are fitted on and asked with.
//! * [`model`], [`ranking`]: what answers.
//! * [`artifact`], [`registry`]: a trained model as files, and its published versions.
//! * [`check`]: the outcome of checks on a table or a model.
//! * `testing` (feature `testing`): the contracts above as suites that any implementation can be put
//!   through, and a synthetic shop whose truth is known.
//!
//! `reco-ingest` fills raw tables, `reco-transform` makes sessions of them, `reco-train` fits models,
//! `reco-serve` serves them. They know this crate and not each other.

#![cfg_attr(doctest, doc = include_str!("../README.md"))]

pub mod artifact;
pub mod check;
pub mod config;
pub mod error;
pub mod event;
pub mod model;
pub mod ranking;
pub mod record;
pub mod registry;
pub mod session;
pub mod sink;
pub mod table;
#[cfg(feature = "testing")]
pub mod testing;
pub mod vocabulary;

pub use arrow;
pub use async_trait::async_trait;
pub use jiff::Timestamp;
pub use object_store;

pub use artifact::{FileDigest, Manifest, ModelArtifact, ModelArtifactBuilder};
pub use check::{CheckReport, CheckResult, Severity};
pub use config::{config_from_json, config_from_value};
pub use error::{BoxError, Error, Result, did_you_mean, nearest};
pub use event::{Event, EventKind, UnknownEventKind};
pub use model::{Model, ModelExt, ModelLoader, ModelVersion};
pub use ranking::{Ranking, Scored, top_k};
pub use record::{Record, project, project_to, timestamp_type};
pub use registry::ModelRegistry;
pub use session::{
    DataFingerprint, Interaction, Session, SessionDataset, SessionDatasetBuilder, SessionEncoder,
    SessionEncoding, SortedDatasetBuilder, Split, TestSet, TrainSet, ValidationSet,
};
pub use sink::{Durability, EventSink, Receipt};
pub use table::{RawTable, RecordBatchStream, TimeWindow};
pub use vocabulary::{ItemCount, ItemId, ItemIdx, Vocabulary};
