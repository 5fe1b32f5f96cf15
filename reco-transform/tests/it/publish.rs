//! Delta tables: write, audit, publish.

use std::sync::Arc;

use futures::TryStreamExt;
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt, path::Path};
use reco_transform::datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use reco_transform::datafusion::prelude::*;
use reco_transform::{
    Dag, Error, Materialization, MinSupport, Warehouse, WarehouseConfig, between, not_null, unique,
};

use crate::shop::{Log, ValuesExt, events, text, version};

/// A DAG that publishes `prices` and makes `dear` of it.
fn prices(values: &str) -> Dag {
    Dag::builder()
        .values("raw", "item, price", values)
        .sql("prices", "select item, price from raw")
        .materialize("prices", Materialization::Delta)
        .expect("prices", between("price", 0..))
        .sql("dear", "select * from prices where price > 100")
        .build()
        .unwrap()
}

#[tokio::test]
async fn a_failed_expectation_leaves_the_version_before_for_readers() {
    let dir = tempfile::tempdir().unwrap();
    let warehouse = Warehouse::at(dir.path().to_str().unwrap()).unwrap();
    let published = || async {
        let prices = warehouse.table("prices").await.unwrap();
        text(prices.sort_by(vec![col("item")]).unwrap()).await
    };

    let run = prices("('hat', 10), ('scarf', 200)")
        .run(&warehouse)
        .await
        .unwrap();
    let report = run.report("prices").unwrap();
    assert_eq!((report.n_rows, report.version), (Some(2), Some(0)));
    assert_eq!(run.table("dear").unwrap().count().await.unwrap(), 1);
    let before = published().await;
    let expected = [
        "+-------+-------+",
        "| item  | price |",
        "+-------+-------+",
        "| hat   | 10    |",
        "| scarf | 200   |",
        "+-------+-------+",
    ];
    assert_eq!(before, expected);

    let error = prices("('hat', 11), ('glove', -1)")
        .run(&warehouse)
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "2 of 3 tables were not made: `prices` failed, `dear` skipped because of prices"
    );
    let Error::Incomplete { source, .. } = &error else {
        panic!("{error:?}");
    };
    assert_eq!(
        source.to_string(),
        "prices: 0 of 1 checks passed\n  between(price, 0..) failed: 1 of 2 rows\n    \
         {\"item\":\"glove\",\"price\":-1}"
    );
    assert_eq!(published().await, before);
    assert_eq!(version(&warehouse, "prices").await, Some(0));

    prices("('hat', 12)").run(&warehouse).await.unwrap();
    assert_eq!(published().await.len(), 5);
    assert_eq!(warehouse.state().await.unwrap().unwrap().number, 2);
}

#[tokio::test]
async fn what_was_read_before_a_publication_stays_as_it_was() {
    let warehouse = Warehouse::in_memory();
    prices("('hat', 10)").run(&warehouse).await.unwrap();
    let before = warehouse.table("prices").await.unwrap();
    prices("('hat', 11), ('scarf', 12)")
        .run(&warehouse)
        .await
        .unwrap();
    assert_eq!(before.count().await.unwrap(), 1);
    assert_eq!(
        warehouse
            .table("prices")
            .await
            .unwrap()
            .count()
            .await
            .unwrap(),
        2
    );
}

#[tokio::test]
async fn a_table_may_change_its_columns() {
    let warehouse = Warehouse::in_memory();
    for (query, expected) in [("select 1 as n", ["n"]), ("select 'x' as text", ["text"])] {
        let dag = Dag::builder()
            .sql("t", query)
            .materialize("t", Materialization::Delta);
        let run = dag.build().unwrap().run(&warehouse).await.unwrap();
        assert_eq!(run.report("t").unwrap().n_rows, Some(1));
        let table = warehouse.table("t").await.unwrap();
        assert_eq!(
            table.schema().field_names(),
            expected.map(|name| format!("t.{name}"))
        );
    }
}

#[tokio::test]
async fn events_survive_the_way_through_delta() {
    let warehouse = Warehouse::in_memory();
    let dag = |materialization| {
        Dag::builder()
            .source("events", Log::of(events()))
            .sql(
                "clean",
                "select *, client_id as session_id_2 from events where item_id is not null",
            )
            .materialize("clean", materialization)
            .expect("clean", not_null("item_id"))
            .build()
            .unwrap()
    };
    let mut tables = Vec::new();
    for materialization in [Materialization::Delta, Materialization::Memory] {
        let run = dag(materialization).run(&warehouse).await.unwrap();
        let clean = run.table("clean").unwrap();
        tables.push(text(clean.sort_by(vec![col("id"), col("occurred_at")]).unwrap()).await);
    }
    assert_eq!(tables[0], tables[1]);
}

#[tokio::test]
async fn a_warehouse_is_in_a_folder_of_any_store() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let warehouse = Warehouse::in_store(Arc::clone(&store), "shop/tables").unwrap();
    prices("('hat', 10)").run(&warehouse).await.unwrap();
    let published = warehouse.published("prices").await.unwrap().unwrap();
    let log = format!(
        "shop/tables/{}/_delta_log/{:020}.json",
        published.location, 0
    );
    store.head(&Path::from(log)).await.unwrap();
    let files: Vec<_> = store.list(None).try_collect().await.unwrap();
    assert!(
        files
            .iter()
            .all(|file| file.location.as_ref().starts_with("shop/tables/"))
    );

    let again = Warehouse::in_store(store, "shop/tables").unwrap();
    assert_eq!(
        again.table("prices").await.unwrap().count().await.unwrap(),
        1
    );
}

#[tokio::test]
async fn a_table_that_was_never_published_is_named() {
    let warehouse = Warehouse::in_memory();
    assert_eq!(version(&warehouse, "prices").await, None);
    let error = warehouse.table("prices").await.unwrap_err();
    assert_eq!(error.to_string(), "the warehouse has no table `prices`");
    let error = Warehouse::at("gopher://hole").unwrap_err();
    assert_eq!(
        error.to_string(),
        "no warehouse can be kept at `gopher://hole`"
    );
}

#[tokio::test]
async fn to_look_at_a_table_makes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let warehouse = Warehouse::at(dir.path().to_str().unwrap()).unwrap();
    assert_eq!(version(&warehouse, "prices").await, None);
    let error = warehouse.table("prices").await.unwrap_err();
    assert_eq!(error.to_string(), "the warehouse has no table `prices`");
    for name in ["../../x", "", "_delta_log", "a/b"] {
        let error = warehouse.table(name).await.unwrap_err();
        assert!(matches!(error, Error::InvalidName { .. }), "{error:?}");
        let error = warehouse.published(name).await.unwrap_err();
        assert!(matches!(error, Error::InvalidName { .. }), "{error:?}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);

    prices("('hat', 10)").run(&warehouse).await.unwrap();
    assert_eq!(version(&warehouse, "prices").await, Some(0));
}

/// A DAG that publishes interactions of 100 sessions, with a wide column.
fn interactions(events: &str, pad: usize) -> Dag {
    let events = format!(
        "select cast(value as varchar) as id, cast(value % 100 as varchar) as session_id,
                cast(value % 7 as varchar) as item_id,
                to_timestamp_micros((value / 100) % 40) as occurred_at,
                concat(repeat('x', {pad}), value) as pad
         from {events}"
    );
    Dag::builder()
        .sql("sessions", events)
        .step(MinSupport::default())
        .materialize("sessions", Materialization::View)
        .materialize("interactions", Materialization::Delta)
        .build()
        .unwrap()
}

#[tokio::test]
async fn interactions_are_published_in_one_order() {
    let dir = tempfile::tempdir().unwrap();
    let warehouse = Warehouse::at(dir.path().to_str().unwrap()).unwrap();
    let config = WarehouseConfig {
        target_partitions: 4.try_into().ok(),
        ..WarehouseConfig::default()
    };
    let warehouse = warehouse.with_config(config).unwrap();
    let mut orders = Vec::new();
    // Enough that the file is read in several parts: more than 10 MB.
    for events in [
        "generate_series(1, 30000)",
        "(select value from generate_series(1, 30000) order by value desc)",
    ] {
        interactions(events, 500).run(&warehouse).await.unwrap();
        let published = Warehouse::at(dir.path().to_str().unwrap()).unwrap();
        let published = published.table("interactions").await.unwrap();
        let columns = ["session_id", "occurred_at", "id", "item_id"];
        let batches = published
            .select_columns(&columns)
            .unwrap()
            .collect()
            .await
            .unwrap();
        let rows: Vec<[String; 4]> = batches
            .iter()
            .flat_map(|batch| {
                let columns = batch.columns().iter().map(|column| {
                    let values = ArrayFormatter::try_new(column, &FormatOptions::default());
                    values.unwrap()
                });
                let columns: Vec<_> = columns.collect();
                let row = |row| std::array::from_fn(|i| columns[i].value(row).to_string());
                (0..batch.num_rows()).map(row).collect::<Vec<_>>()
            })
            .collect();
        assert_eq!(rows.len(), 30_000);
        assert!(rows.is_sorted());
        orders.push(rows);
    }
    assert!(orders[0] == orders[1]);
}

#[tokio::test]
async fn support_is_counted_in_less_memory_than_the_rows_take() {
    let dir = tempfile::tempdir().unwrap();
    let config = WarehouseConfig {
        memory_limit: 32 << 20,
        target_partitions: 1.try_into().ok(),
        spill_dir: Some(dir.path().to_owned()),
        ..WarehouseConfig::default()
    };
    let warehouse = Warehouse::in_memory().with_config(config).unwrap();
    // 60 MB of rows.
    let run = interactions("generate_series(1, 250000)", 200)
        .run(&warehouse)
        .await
        .unwrap();
    assert_eq!(run.report("interactions").unwrap().n_rows, Some(250_000));
}

#[tokio::test]
async fn sorts_spill_and_what_cannot_names_its_step() {
    let dir = tempfile::tempdir().unwrap();
    let config = |memory_limit| WarehouseConfig {
        memory_limit,
        target_partitions: 1.try_into().ok(),
        spill_dir: Some(dir.path().to_owned()),
        ..WarehouseConfig::default()
    };
    let dag = Dag::builder()
        .sql(
            "numbers",
            "select value as n, repeat('x', 200) as pad from generate_series(1, 40000)",
        )
        .sql("sorted", "select * from numbers order by n % 1000, pad")
        .materialize("numbers", Materialization::View)
        .build()
        .unwrap();
    let enough = Warehouse::in_memory()
        .with_config(config(24 << 20))
        .unwrap();
    let run = dag.run(&enough).await.unwrap();
    assert_eq!(run.report("sorted").unwrap().n_rows, Some(40_000));

    let too_little = Warehouse::in_memory().with_config(config(1 << 10)).unwrap();
    let error = dag.run(&too_little).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "1 of 2 tables were not made: `sorted` failed"
    );
}

#[tokio::test]
async fn a_configuration_denies_keys_that_it_does_not_know() {
    let read = |json| reco_core::config_from_json::<WarehouseConfig>("warehouse", json);
    assert_eq!(read("{}").unwrap(), WarehouseConfig::default());
    assert_eq!(
        read(r#"{"memory_limits": 1}"#).unwrap_err().to_string(),
        "unknown key `memory_limits` in the configuration of `warehouse`; did you mean `memory_limit`?"
    );
}

#[tokio::test]
async fn an_empty_result_is_a_version_too() {
    let warehouse = Warehouse::in_memory();
    let dag = |filter: &str| {
        Dag::builder()
            .values("a", "n", "(1)")
            .sql("b", format!("select n from a where {filter}"))
            .materialize("b", Materialization::Delta)
            .expect("b", unique(["n"]))
            .build()
            .unwrap()
    };
    dag("true").run(&warehouse).await.unwrap();
    let run = dag("false").run(&warehouse).await.unwrap();
    assert_eq!(run.report("b").unwrap().n_rows, Some(0));
    assert_eq!(
        warehouse.table("b").await.unwrap().count().await.unwrap(),
        0
    );
}
