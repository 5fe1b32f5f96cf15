//! The reference DAG: from what a shop's page sent to the tables that it is run by.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use reco_transform::datafusion::catalog::TableProvider;
use reco_transform::datafusion::datasource::file_format::parquet::ParquetFormat;
use reco_transform::datafusion::datasource::listing::{
    ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl,
};
use reco_transform::{Dag, DagBuilder, Materialization, Source, Warehouse, WarehouseConfig};

use crate::raw;

/// The tables that are kept, each after those that it reads, and the query of each: the same files that
/// `benches/peers/dag_duckdb.py` runs.
pub(crate) const TABLES: [(&str, &str); 6] = [
    ("events", include_str!("sql/events.sql")),
    ("sessionized", include_str!("sql/sessionized.sql")),
    ("session_stats", include_str!("sql/session_stats.sql")),
    ("sessions", include_str!("sql/sessions.sql")),
    ("kpi_hourly", include_str!("sql/kpi_hourly.sql")),
    ("kpi_daily", include_str!("sql/kpi_daily.sql")),
];

/// The steps over raw events, kept as asked.
pub(crate) fn dag(raw: Source, kept: Materialization) -> Dag {
    let steps = Dag::builder()
        .source("raw", raw)
        .sql("flattened", include_str!("sql/flattened.sql"))
        .materialize("flattened", Materialization::View);
    let steps = TABLES
        .iter()
        .fold(steps, |steps: DagBuilder, (table, query)| {
            steps.sql(*table, *query).materialize(*table, kept)
        });
    steps.build().unwrap()
}

/// How a run is asked for on the command line.
#[derive(Debug)]
pub(crate) struct Reference {
    /// How many events.
    pub(crate) n_events: usize,
    /// Where raw events are, and where tables go.
    pub(crate) folder: PathBuf,
    /// The most bytes that sorts and aggregations hold; the warehouse's own limit if none is given.
    pub(crate) memory_limit: Option<usize>,
    /// How many tables are made at a time; the warehouse's own number if none is given.
    pub(crate) n_concurrent_steps: Option<NonZeroUsize>,
    /// Whether to stop once there are raw events.
    pub(crate) only_raw: bool,
}

impl Reference {
    /// What the arguments after `reference` ask for, unless the first is another word.
    pub(crate) fn from_args(mut args: impl Iterator<Item = String>) -> Option<Self> {
        args.next().filter(|first| first == "reference")?;
        let mut asked = Self {
            n_events: 1_000_000,
            folder: PathBuf::from("target/dag"),
            memory_limit: None,
            n_concurrent_steps: None,
            only_raw: false,
        };
        while let Some(option) = args.next() {
            let mut value = || args.next().unwrap();
            match option.as_str() {
                "--events" => asked.n_events = value().parse().unwrap(),
                "--folder" => asked.folder = value().into(),
                "--memory-limit-mib" => {
                    asked.memory_limit = Some(value().parse::<usize>().unwrap() << 20);
                }
                "--concurrent-steps" => {
                    asked.n_concurrent_steps = Some(value().parse().unwrap());
                }
                "--only-raw" => asked.only_raw = true,
                // Of cargo.
                "--bench" => {}
                other => panic!("`{other}` is not known"),
            }
        }
        Some(asked)
    }

    pub(crate) fn raw_file(&self) -> PathBuf {
        self.folder.join(format!("raw-{}.parquet", self.n_events))
    }

    /// Makes the raw events if they are not there, then all tables, into an empty warehouse; prints how
    /// long each took.
    pub(crate) async fn run(self) {
        raw::write(self.n_events, &self.raw_file());
        if self.only_raw {
            return;
        }
        let warehouse = self.folder.join("warehouse");
        let spill = self.folder.join("spill");
        for folder in [&warehouse, &spill] {
            std::fs::remove_dir_all(folder).ok();
            std::fs::create_dir_all(folder).unwrap();
        }
        let defaults = WarehouseConfig::default();
        let config = WarehouseConfig {
            memory_limit: self.memory_limit.unwrap_or(defaults.memory_limit),
            n_concurrent_steps: self
                .n_concurrent_steps
                .unwrap_or(defaults.n_concurrent_steps),
            spill_dir: Some(spill),
            ..defaults
        };
        let location = warehouse.to_str().unwrap();
        let warehouse = Warehouse::at(location)
            .unwrap()
            .with_config(config)
            .unwrap();
        let raw = file(&self.raw_file());
        let dag = dag(Source::provider(raw), Materialization::Delta);
        let run = dag.run(&warehouse).await.unwrap();
        for report in run.reports() {
            let published = warehouse.published(&report.table).await.unwrap();
            let location = published.map_or_else(String::new, |table| table.location);
            println!(
                "{}\t{:.3}\t{}\t{location}",
                report.table,
                report.duration.as_secs_f64(),
                report.n_rows.unwrap_or_default(),
            );
        }
    }
}

/// A Parquet file as a table.
fn file(path: &Path) -> Arc<dyn TableProvider> {
    let url = ListingTableUrl::parse(path.to_str().unwrap()).unwrap();
    let options = ListingOptions::new(Arc::new(ParquetFormat::default()));
    let config = ListingTableConfig::new(url)
        .with_listing_options(options)
        .with_schema(raw::schema());
    Arc::new(ListingTable::try_new(config).unwrap())
}
