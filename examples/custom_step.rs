//! # A step of your own
//!
//! A DAG step is one table made of others. This one takes the bots out of the events: clients that
//! did more in an hour than a person can.
//!
//! You will see a step in Rust beside steps in SQL, a column contract that is checked before a row is
//! read, expectations that guard publication, and what happens when one fails.
//!
//! ```sh
//! cargo run --all-features --example custom_step
//! ```

use std::io::{Write, stdout};

use async_trait::async_trait;
use reco_core::testing::{SyntheticShop, SyntheticShopConfig};
use reco_core::{Event, Record};
use reco_transform::datafusion::common::JoinType;
use reco_transform::datafusion::error::Result;
use reco_transform::datafusion::functions::expr_fn::date_trunc;
use reco_transform::datafusion::functions_aggregate::expr_fn::count;
use reco_transform::datafusion::prelude::*;
use reco_transform::{
    Dag, Deduplicate, Source, Step, StepContext, StepExt, Warehouse, accepted_values, not_null,
    row_count, unique,
};

// ## The step
//
// `plan` is lazy: it says how the table is computed. The engine reads, spills and parallelises.

/// Events of clients that never did more than `max_per_hour` in an hour of the clock.
#[derive(Debug)]
struct WithoutBots {
    max_per_hour: i64,
}

#[async_trait]
impl Step for WithoutBots {
    fn name(&self) -> &str {
        "shoppers"
    }

    fn inputs(&self) -> Vec<String> {
        vec!["deduplicated".into()]
    }

    async fn plan(&self, ctx: &StepContext<'_>) -> Result<DataFrame> {
        let events = ctx.table("deduplicated")?;
        let bots = events
            .clone()
            .aggregate(
                vec![
                    col("client_id"),
                    date_trunc(lit("hour"), col("occurred_at")).alias("hour"),
                ],
                vec![count(lit(1)).alias("n")],
            )?
            .filter(col("n").gt(lit(self.max_per_hour)))?
            .select(vec![col("client_id").alias("bot_id")])?
            .distinct()?;
        events.join(bots, JoinType::LeftAnti, &["client_id"], &["bot_id"], None)
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut out = stdout();
    let shop = SyntheticShop::new(SyntheticShopConfig {
        days: 2,
        ..SyntheticShopConfig::default()
    })?;
    let events: Vec<Event> = shop.events().collect();
    let n_events = events.len();
    let events = Source::batches(Event::schema(), vec![Event::to_batch(&events)?])?;

    // ## The DAG
    //
    // The step stands between SQL steps as one of them. Its contract says that it makes the columns
    // of an event: a column that is missing or of another type is an error of `build`.
    let dag = Dag::builder()
        .source("events", events.clone())
        .step(Deduplicate::default())
        .step(WithoutBots { max_per_hour: 60 }.with_schema(Event::schema()))
        .sql(
            "kinds",
            "select kind, count(*) as n, count(distinct client_id) as n_clients \
             from shoppers group by kind",
        )
        .expect("shoppers", unique(["id"]))
        .expect("shoppers", not_null("client_id"))
        .expect(
            "kinds",
            accepted_values("kind", reco_core::EventKind::ALL.map(|kind| kind.as_str())),
        )
        .build()?;
    writeln!(out, "{}", dag.lineage())?;

    let run = dag.run(&Warehouse::in_memory()).await?;
    writeln!(
        out,
        "{n_events} events, {} after bots were removed",
        run.table("shoppers")?.count().await?
    )?;
    let kinds = run.table("kinds")?.sort_by(vec![col("kind")])?;
    writeln!(out, "{}", kinds.to_string().await?)?;

    // ## When a check fails
    //
    // The table is not published, what depends on it is skipped, and the run says so.
    let strict = Dag::builder()
        .source("events", events)
        .step(Deduplicate::default())
        .step(WithoutBots { max_per_hour: 0 })
        .sql(
            "kinds",
            "select kind, count(*) as n from shoppers group by kind",
        )
        .expect("shoppers", row_count(1..))
        .build()?;
    match strict.run(&Warehouse::in_memory()).await {
        Err(reco_transform::Error::Incomplete { run, .. }) => {
            for report in run.reports() {
                writeln!(out, "{report}")?;
                for failure in report.checks.failures() {
                    writeln!(out, "  {failure}")?;
                }
            }
            Ok(())
        }
        other => anyhow::bail!("a step that keeps nothing must fail its check: {other:?}"),
    }
}
