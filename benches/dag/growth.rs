//! That work grows with events and not faster: what is written for an event, at two sizes.

use std::path::Path;

use reco_transform::{Materialization, Source, Warehouse, WarehouseConfig};

use crate::{raw, reference};

const SIZES: [usize; 2] = [10_000, 40_000];
/// Sizes are compared after compression and with what every file has once.
const FLAT_WITHIN: f64 = 1.3;

/// Runs the reference DAG at both sizes, into a warehouse on disk with little memory, and prints the bytes
/// and rows written for an event.
///
/// Time is for the full sizes, on a quiet machine: see `benches/peers/dag_duckdb.py`.
pub(crate) async fn check() {
    let mut figures = Vec::new();
    for n_events in SIZES {
        let folder = tempfile::tempdir().unwrap();
        let config = WarehouseConfig {
            memory_limit: 64 << 20,
            spill_dir: Some(folder.path().into()),
            ..WarehouseConfig::default()
        };
        let location = folder.path().join("warehouse");
        let warehouse = Warehouse::at(location.to_str().unwrap()).unwrap();
        let warehouse = warehouse.with_config(config).unwrap();
        let raw = Source::batches(raw::schema(), raw::batches(n_events).collect()).unwrap();
        let dag = reference::dag(raw, Materialization::Delta);
        let run = dag.run(&warehouse).await.unwrap();
        let n_rows: u64 = run
            .reports()
            .iter()
            .filter_map(|report| report.n_rows)
            .sum();
        let of_event = |n: u64| n as f64 / n_events as f64;
        let (bytes, rows) = (of_event(n_bytes(&location)), of_event(n_rows));
        println!(
            "reference DAG, {n_events} events: {bytes:.1} bytes and {rows:.2} rows written an event"
        );
        figures.push([bytes, rows]);
    }
    for (small, large) in figures[0].iter().zip(figures[1]) {
        assert!(
            large <= small * FLAT_WITHIN,
            "{small} an event became {large}"
        );
    }
}

/// The bytes of all Parquet files below a folder.
fn n_bytes(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    let sizes = entries.map(|entry| {
        let path = entry.path();
        match path.extension() {
            _ if path.is_dir() => n_bytes(&path),
            Some(extension) if extension == "parquet" => entry.metadata().unwrap().len(),
            _ => 0,
        }
    });
    sizes.sum()
}
