//! What the neighbourhood models share: the index of past sessions, the search for those that are near, and
//! the working memory of a query.
//!
//! A query goes through three steps, and each model says only what the weights are:
//!
//! 1. [`SessionIndex::recent`]: the `m` most recent sessions that share an item with the query, each with the
//!    sum of the weights of what it shares. Sessions are numbered by their end, so the lists of the items are
//!    merged from the newest on, and the merge stops after `m` sessions: what is older is never touched.
//! 2. [`nearest`]: of those the `k` most similar; a tie goes to the more recent.
//! 3. Their items are scored into a [`Scratch`] that is taken from a [`Pool`] and given back.
//!
//! Everything is added in the order of recency, so that scores do not depend on the number of threads.

mod answer;
mod index;
mod postings;
mod recent;
mod scratch;
mod stored;
mod visits;

pub(crate) use answer::{Neighbourhood, last, rank, score_rows, to_artifact};
pub(crate) use index::{Kept, SessionIndex};
pub(crate) use recent::nearest;
pub(crate) use scratch::{Pool, Scratch, Sums};
pub(crate) use stored::malformed;
