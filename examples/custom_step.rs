//! # A step, an expectation and a function of your own
//!
//! A DAG step is one table made of others. This one takes the bots out of the events: clients that
//! did more in an hour than a person can. A function of our own says what a kind of event tells of a
//! shopper, and an expectation of our own that most of them only look.
//!
//! You will see a step in Rust beside steps in SQL, a column contract that is checked before a row is
//! read, expectations that guard publication, and what happens when one fails.
//!
//! ```sh
//! cargo run --all-features --example custom_step
//! ```

use std::io::{Write, stdout};
use std::sync::Arc;

use async_trait::async_trait;
use reco_core::testing::{SyntheticShop, SyntheticShopConfig};
use reco_core::{Event, Record};
use reco_transform::datafusion::arrow::array::StringArray;
use reco_transform::datafusion::arrow::datatypes::DataType;
use reco_transform::datafusion::common::JoinType;
use reco_transform::datafusion::common::cast::as_string_array;
use reco_transform::datafusion::error::Result;
use reco_transform::datafusion::functions::expr_fn::date_trunc;
use reco_transform::datafusion::functions_aggregate::expr_fn::{count, max, sum};
use reco_transform::datafusion::logical_expr::{ColumnarValue, Volatility, create_udf};
use reco_transform::datafusion::prelude::*;
use reco_transform::{
    CheckedTables, Dag, Deduplicate, Expectation, Finding, Source, Step, StepContext, StepExt,
    Warehouse, accepted_values, expect_fn, not_null, row_count, unique,
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

// ## The function
//
// It gets columns and makes one. The engine converts what queries give it to the type that it declares.

/// What an event of a kind tells of a shopper.
fn intent(arguments: &[ColumnarValue]) -> Result<ColumnarValue> {
    let kinds = ColumnarValue::values_to_arrays(arguments)?;
    let intent = |kind: &str| match kind {
        "add" | "remove" | "wishlist" => "wants",
        "purchase" => "buys",
        _ => "looks",
    };
    let kinds = as_string_array(&kinds[0])?.iter();
    let intents: StringArray = kinds.map(|kind| kind.map(intent)).collect();
    Ok(ColumnarValue::Array(Arc::new(intents)))
}

// ## The expectation
//
// One closure says what is computed of the table, the other whether that is as expected.

/// Of all events, those of the largest intent are more than a share.
fn largest_share_over(share: f64) -> Expectation {
    let metrics = |tables: &CheckedTables| {
        let n = ident("n");
        let row = vec![max(n.clone()).alias("largest"), sum(n).alias("all")];
        tables.table().aggregate(Vec::new(), row)
    };
    let name = format!("largest_share_over({share})");
    expect_fn(name, metrics, move |metrics| {
        // Both are NULL where there are no rows.
        let both = metrics.number("largest")?.zip(metrics.number("all")?);
        let found = both.map(|(largest, all)| largest / all);
        Ok(Finding::new(found.is_some_and(|found| found > share)).observed(found))
    })
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
    let text = || DataType::Utf8;
    let function = Arc::new(intent);
    let intent = create_udf(
        "intent",
        vec![text()],
        text(),
        Volatility::Immutable,
        function,
    );
    let dag = Dag::builder()
        .versioned_function(intent, "1")
        .source("events", events.clone())
        .step(Deduplicate::default())
        .step(WithoutBots { max_per_hour: 60 }.with_schema(Event::schema()))
        .sql(
            "kinds",
            "select kind, count(*) as n, count(distinct client_id) as n_clients \
             from shoppers group by kind",
        )
        .sql(
            "intents",
            "select intent(kind) as intent, sum(n) as n from kinds group by 1",
        )
        .expect("shoppers", unique(["id"]))
        .expect("shoppers", not_null("client_id"))
        .expect(
            "kinds",
            accepted_values("kind", reco_core::EventKind::ALL.map(|kind| kind.as_str())),
        )
        .expect("intents", largest_share_over(0.5))
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
    let intents = run.table("intents")?.sort_by(vec![col("intent")])?;
    writeln!(out, "{}", intents.to_string().await?)?;
    for report in run.reports() {
        for result in &report.checks.results {
            writeln!(out, "{}: {result}", report.table)?;
        }
    }

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
