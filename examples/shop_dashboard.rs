//! # How the shop is doing
//!
//! Events become the tables that a shop looks at every morning, and these become a page.
//!
//! You will see the ready-made steps in one DAG, a warehouse whose tables are published together, runs that
//! make again only what changed, and two pages: how the shop is doing, and how its tables hang together.
//!
//! ```sh
//! cargo run --all-features --example shop_dashboard -- --out shop
//! ```
//!
//! Open `shop/dashboard.html` and `shop/dag.html` in a browser. Both need nothing but themselves: send them
//! by mail if you like.

use std::io::{Write, stdout};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use reco_core::testing::{SyntheticShop, SyntheticShopConfig};
use reco_core::{Event, EventKind, Record, Timestamp};
use reco_transform::datafusion::arrow::array::{Float64Array, RecordBatch, StringArray};
use reco_transform::datafusion::arrow::datatypes::{DataType, Field, Schema};
use reco_transform::{
    BotFilter, Dag, Dashboard, DashboardConfig, Deduplicate, Error, Funnel, Granularity, ItemNames,
    Kpi, Materialization, PopularityByWindow, Sessionize, Source, Warehouse, between, column_mean,
    not_null, relationships, unique,
};

/// Makes the tables of a shop and the pages that show them.
#[derive(Debug, Parser)]
struct Args {
    /// The folder to write to.
    #[arg(long)]
    out: PathBuf,
    /// How many days of the synthetic shop there are.
    #[arg(long, default_value_t = 42)]
    days: u32,
    /// How many sessions a day.
    #[arg(long, default_value_t = 400)]
    sessions_per_day: u32,
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let mut out = stdout();
    let shop = SyntheticShop::new(SyntheticShopConfig {
        days: args.days,
        sessions_per_day: args.sessions_per_day,
        ..SyntheticShopConfig::default()
    })?;
    let events: Vec<Event> = shop.events().collect();
    let warehouse = Warehouse::at(args.out.join("warehouse").display().to_string())?;

    // ## A run each week
    //
    // The raw table grows, and each run makes the tables again that are made of it. All are published at
    // once. The runs leave records, from which the page draws what was checked and found.
    let mut dag = dag(&shop, &[])?;
    let mut run = None;
    let last = events
        .iter()
        .map(|event| event.received_at)
        .max()
        .unwrap_or_default();
    let mut until = last.checked_sub(DAY * 21)?;
    while until <= last {
        let so_far: Vec<Event> = events
            .iter()
            .filter(|event| event.received_at <= until)
            .cloned()
            .collect();
        dag = self::dag(&shop, &so_far)?;
        run = match dag.run(&warehouse).await {
            Ok(run) => Some(run),
            // What was made is published all the same, and the page says what was not.
            Err(Error::Incomplete { run, source }) => {
                writeln!(out, "{source}")?;
                Some(*run)
            }
            Err(error) => return Err(error.into()),
        };
        until = until.checked_add(DAY * 7)?;
    }
    if let Some(run) = &run {
        writeln!(out, "{run}")?;
    }

    // ## The pages
    //
    // A catalogue is the warehouse at one moment, for queries. The dashboard reads it, and says nothing that
    // is not in a published table.
    let catalog = warehouse.catalog().await?;
    let config = DashboardConfig {
        item_names: Some(ItemNames {
            table: "catalogue".into(),
            item: "item_id".into(),
            name: "name".into(),
        }),
        ..DashboardConfig::default()
    };
    let dashboard = Dashboard::read(&catalog, config)
        .await?
        .title("The synthetic shop");
    // The clock is the shop's: as of midnight after its last event.
    let midnight = Timestamp::from_second((last.as_second() / 86_400 + 1) * 86_400)?;
    let page = dag
        .page()
        .await?
        .title("The tables of the shop")
        .as_of(midnight);
    let page = page.newest("events", last)?;
    let page = match &run {
        Some(run) => page.run(run),
        None => page,
    };
    for (name, html) in [
        ("dashboard.html", dashboard.to_html()),
        ("dag.html", page.to_html()),
    ] {
        let path = args.out.join(name);
        std::fs::write(&path, html)?;
        writeln!(out, "{}", path.display())?;
    }
    Ok(())
}

/// The tables of the shop.
fn dag(shop: &SyntheticShop, events: &[Event]) -> anyhow::Result<Dag> {
    let events = Source::batches(Event::schema(), vec![Event::to_batch(events)?])?;
    let dag = Dag::builder()
        .source("events", events)
        .source("products", products(shop)?)
        .step(Deduplicate::default())
        .step(Sessionize {
            input: "deduplicated".into(),
            output: "all_sessions".into(),
            ..Sessionize::default()
        })
        .step(BotFilter {
            input: "all_sessions".into(),
            output: "sessions".into(),
            ..BotFilter::default()
        })
        .step(Kpi::default())
        .step(Kpi {
            granularity: Granularity::Hour,
            output: "kpi_hourly".into(),
            ..Kpi::default()
        })
        .step(Funnel::default())
        .step(PopularityByWindow {
            window: 7 * DAY,
            every: Some(DAY),
            kinds: vec![EventKind::Detail],
            top_n: Some(50),
            input: "sessions".into(),
            ..PopularityByWindow::default()
        })
        .sql(
            "searches",
            "select query, count(*) as n_searches from sessions \
             where kind = 'search' and query is not null group by query",
        )
        .sql("catalogue", "select * from products")
        .materialize_others(Materialization::Delta)
        .materialize("deduplicated", Materialization::Memory)
        .materialize("all_sessions", Materialization::Memory)
        .tag("kpi", "daily")
        .tag("funnel", "daily")
        .expect("deduplicated", unique(["id"]))
        .expect("sessions", not_null("session_id"))
        .expect("sessions", relationships("item_id", "products", "item_id"))
        .expect("kpi", between("conversion_rate", 0..=1))
        // A goal, and no reason to hold anything up.
        .expect("kpi", column_mean("conversion_rate", 0.05..).warn());
    Ok(dag.build()?)
}

fn products(shop: &SyntheticShop) -> anyhow::Result<Source> {
    let field = |name, data_type| Field::new(name, data_type, false);
    let schema = Arc::new(Schema::new(vec![
        field("item_id", DataType::Utf8),
        field("name", DataType::Utf8),
        field("price", DataType::Float64),
    ]));
    let products = shop.catalogue();
    let text = |of: fn(&reco_core::testing::Product) -> &str| {
        StringArray::from_iter_values(products.iter().map(of))
    };
    let batch = RecordBatch::try_new(
        Arc::clone(&schema),
        vec![
            Arc::new(text(|product| product.item.as_str())),
            Arc::new(text(|product| &product.name)),
            Arc::new(Float64Array::from_iter_values(
                products.iter().map(|p| p.price),
            )),
        ],
    )?;
    Ok(Source::batches(schema, vec![batch])?)
}
