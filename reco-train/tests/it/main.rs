//! Training and evaluation through the public API.

#![expect(clippy::unwrap_used, reason = "what fails a test may panic")]

mod behavior;
mod evaluate;
mod gru4rec;
mod gru4rec_checkpoint;
mod gru4rec_intent;
mod neighbours;
mod popularity;
mod prod2vec;
mod report;
mod search;
mod shop;
mod slices;
mod track;
