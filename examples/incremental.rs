//! # A warehouse that grows by the day
//!
//! The same DAG runs every night. What did not change is not made again: tables that are made day by day
//! grow by a day, and the rest is built only where its inputs or its step changed.
//!
//! You will see what a run would do before it does it, a day that is added, rows that came late, a change
//! that is tried in an environment of its own and promoted, and what a vacuum gives back.
//!
//! ```sh
//! cargo run --all-features --example incremental
//! ```

use std::io::{Write, stdout};

use reco_core::testing::{SyntheticShop, SyntheticShopConfig};
use reco_core::{Event, Record, TimeWindow, Timestamp};
use reco_transform::datafusion::functions_aggregate::expr_fn::sum;
use reco_transform::datafusion::prelude::*;
use reco_transform::{
    Dag, Deduplicate, Evolution, Incremental, Materialization, Reads, Retention, Sessionize,
    Source, Warehouse, not_null, unique,
};

/// The length of a day.
const DAY: std::time::Duration = std::time::Duration::from_hours(24);

// ## The DAG
//
// A query of an incremental table says nothing of days. The DAG shows it the events of one day, and keeps of
// what it makes the rows of that day.

fn shop(events: &[Event], begin: Timestamp, revenue: &str) -> anyhow::Result<Dag> {
    let events = Source::batches(Event::schema(), vec![Event::to_batch(events)?])?;
    let dag = Dag::builder()
        .source("events", events)
        .step(Deduplicate::default())
        .sql(
            "daily_revenue",
            format!(
                "select date_trunc('day', occurred_at) as day, item_id, {revenue} as revenue
                 from deduplicated where kind = 'purchase' and item_id is not null group by 1, 2"
            ),
        )
        .incremental(
            "daily_revenue",
            // Events come up to a day late.
            Incremental::daily("day", begin)
                .reads("deduplicated", Reads::by("occurred_at"))
                .lookback(1),
        )
        .sql(
            "clean",
            "select * from deduplicated where item_id is not null",
        )
        .step(Sessionize::default())
        .materialize("sessions", Materialization::Delta)
        .expect("daily_revenue", unique(["day", "item_id"]))
        .expect("sessions", not_null("item_id"))
        .evolution("daily_revenue", Evolution::Add)
        .build()?;
    Ok(dag)
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut out = stdout();
    let config = SyntheticShopConfig {
        days: 4,
        ..SyntheticShopConfig::default()
    };
    let all: Vec<Event> = SyntheticShop::new(config)?.events().collect();
    let begin = all.iter().map(|event| event.occurred_at).min();
    let begin = begin.ok_or_else(|| anyhow::anyhow!("the shop had no visitors"))?;
    let begin = begin.as_second().div_euclid(86_400) * 86_400;
    let begin = Timestamp::from_second(begin)?;
    let night = |n: u32| begin.checked_add(DAY * n);
    // What had been received by a time.
    let received = |until: Timestamp| -> Vec<Event> {
        let events = all.iter().filter(|event| event.received_at < until);
        events.cloned().collect()
    };

    let folder = tempfile::tempdir()?;
    let path = folder
        .path()
        .to_str()
        .ok_or_else(|| anyhow::anyhow!("no path"))?;
    let prod = Warehouse::at(path)?;
    let revenue = "sum(price * coalesce(quantity, 1))";

    // ## Two nights
    for n in [2, 3] {
        let dag = shop(&received(night(n)?), begin, revenue)?;
        let plan = dag.plan_until(&prod, night(n)?).await?;
        writeln!(out, "night {n}:\n{plan}")?;
        for interval in plan.intervals("daily_revenue") {
            writeln!(out, "  daily_revenue of {interval}")?;
        }
        plan.apply().await?;
        let rows = prod.table("daily_revenue").await?.count().await?;
        writeln!(out, "{rows} rows of revenue\n")?;
    }

    // ## Nothing new, nothing done; a comment is nothing new
    let events = received(night(3)?);
    let same = shop(&events, begin, &format!("/* before tax */ {revenue}"))?;
    assert!(same.plan_until(&prod, night(3)?).await?.is_done());

    // ## An old day
    //
    // Later than the lookback, so somebody has to ask for it.
    let first = TimeWindow::between(begin, night(1)?);
    let plan = same.plan_until(&prod, night(3)?).await?;
    let plan = plan.backfill("daily_revenue", first).await?;
    writeln!(out, "a backfill:\n{plan}")?;
    plan.apply().await?;

    // ## A change, tried beside what others read
    //
    // The environment costs one small file. What it builds is its own; what is the same is shared.
    let dev = prod.create_environment("dev_ana").await?;
    let in_cents = shop(
        &events,
        begin,
        "cast(100 * sum(price * coalesce(quantity, 1)) as double)",
    )?;
    let plan = in_cents.plan_until(&dev, night(3)?).await?;
    writeln!(out, "in dev_ana:\n{plan}")?;
    plan.apply().await?;
    let total = async |warehouse: &Warehouse| -> anyhow::Result<String> {
        let revenue = warehouse.table("daily_revenue").await?;
        let sum = sum(col("revenue")).alias("revenue");
        Ok(revenue.aggregate(vec![], vec![sum])?.to_string().await?)
    };
    writeln!(
        out,
        "prod:\n{}\ndev_ana:\n{}",
        total(&prod).await?,
        total(&dev).await?
    )?;
    writeln!(out, "promoted: {:?}\n", prod.promote("dev_ana").await?)?;
    assert_eq!(total(&prod).await?, total(&dev).await?);

    // ## A change that others would suffer from is refused before anything is made
    let broken = shop(&events, begin, "count(*)")?;
    match broken.plan_until(&prod, night(3)?).await {
        Err(refused) => writeln!(out, "refused: {refused}\n")?,
        Ok(_) => anyhow::bail!("a column that changes its type must be refused"),
    }

    // ## Yesterday's warehouse, and what can go
    let first = prod.as_of_state(1).await?;
    writeln!(
        out,
        "the first state had {} rows of revenue",
        first.table("daily_revenue").await?.count().await?
    )?;
    prod.drop_environment("dev_ana").await?;
    let keep_little = Retention {
        n_states: 1,
        keep_for: std::time::Duration::ZERO,
    };
    let vacuumed = prod.vacuum(&keep_little, Timestamp::now()).await?;
    writeln!(out, "vacuumed: {vacuumed:?}")?;
    writeln!(out, "{}", total(&prod).await?)?;
    Ok(())
}
