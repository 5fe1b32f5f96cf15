//! The inference handle: loads a published model, answers with it, and swaps it while it answers.
//!
//! ```text
//! ModelRegistry ──resolve alias──▶ ModelLoader ──▶ Model ─┐
//!        ▲                                                ▼ swap
//!        └───────────── reload: on call or by poll ── Recommender ──recommend(session, k)──▶ host
//!                                                         │
//!                                        filters: in stock, not seen yet
//! ```
//!
//! * [`recommender`]: the handle, and what it answers.
//! * [`reload`]: when it looks for a new version, and what becomes of one that cannot be loaded.
//! * [`filter`]: what must not be recommended.
//!
//! Models run on plain Rust kernels: a service that embeds this crate compiles neither a training
//! framework nor a query engine.

#![cfg_attr(doctest, doc = include_str!("../README.md"))]

pub mod error;
pub mod filter;
pub mod recommender;
pub mod reload;

pub use error::{Error, Result};
pub use filter::{AllowList, DenyList, ExcludeSession, Filter, FilterFn, filter_fn};
pub use recommender::{Recommendation, Recommender, RecommenderBuilder, Serving, Source};
pub use reload::ReloadPolicy;
