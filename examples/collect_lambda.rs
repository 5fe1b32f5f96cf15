//! # A collector without a server
//!
//! The routes of the example `collect`, as an AWS Lambda function behind API Gateway. A function has no
//! disk to keep anything on, so what it acknowledges is in the tables: every request is a commit of its
//! own, once by the id of the request, however often it is delivered.
//!
//! You will see where the pieces come from: the tables' places and the keys of the store are in the
//! function's environment, which a library never reads and a host may.
//!
//! | variable | meaning |
//! | --- | --- |
//! | `EVENTS_URL` | where the events' table is: `s3://bucket/raw/events` |
//! | `DEAD_LETTERS_URL` | where the table of what cannot be read is |
//! | `AWS_…` | region and credentials, set by Lambda; handed on to the store |
//! | `AWS_LAMBDA_HTTP_IGNORE_STAGE_IN_PATH` | `true` for a REST API, whose stage is not part of the route |
//!
//! ```sh
//! cargo build --release --all-features --example collect_lambda
//! cp target/release/examples/collect_lambda bootstrap && zip function.zip bootstrap
//! ```

use std::collections::HashMap;

use anyhow::Context;
use jiff::Timestamp;
use reco_core::{Event, Record};
use reco_ingest::http::Collector;
use reco_ingest::{DeadLetter, DeltaTable, lambda_http};
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> Result<(), lambda_http::Error> {
    tracing_subscriber::fmt()
        .with_env_filter(
            EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info")),
        )
        .with_ansi(false)
        .init();
    let events = open::<Event>("EVENTS_URL").await?;
    let dead_letters = open::<DeadLetter>("DEAD_LETTERS_URL").await?;
    let collector = Collector::per_request(events, dead_letters, Timestamp::now).build()?;
    lambda_http::run(collector.router()).await
}

#[expect(
    clippy::disallowed_methods,
    reason = "the environment is how a function is configured"
)]
async fn open<E: Record>(variable: &str) -> anyhow::Result<DeltaTable<E>> {
    let url = std::env::var(variable).with_context(|| format!("`{variable}` is not set"))?;
    // Only what the store understands: a table refuses options that nobody knows.
    let is_option = |name: &str| {
        [
            "AWS_ACCESS_KEY_ID",
            "AWS_SECRET_ACCESS_KEY",
            "AWS_SESSION_TOKEN",
            "AWS_REGION",
        ]
        .contains(&name)
            || name.starts_with("AWS_ENDPOINT_URL")
    };
    let options: HashMap<String, String> = std::env::vars()
        .filter(|(name, _)| is_option(name))
        .collect();
    DeltaTable::open_url(&url, options)
        .await
        .with_context(|| format!("cannot open the table at `{url}`"))
}
