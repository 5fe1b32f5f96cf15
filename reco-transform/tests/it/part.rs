//! Runs of a part of a DAG.

use reco_transform::{Dag, Error, LineageKind, Materialization, Warehouse, not_null, unique};

use crate::shop::{ValuesExt, text, version};

/// `raw ─▶ prices (Delta) ─▶ cheap (view) ─▶ n_cheap`.
fn prices(values: &str) -> Dag {
    Dag::builder()
        .values("raw", "item, price", values)
        .sql("prices", "select * from raw")
        .sql("cheap", "select * from prices where price < 100")
        .sql("n_cheap", "select count(*) as n from cheap")
        .materialize("prices", Materialization::Delta)
        .materialize("cheap", Materialization::View)
        .expect("prices", not_null("item"))
        .expect("cheap", unique(["item"]))
        .build()
        .unwrap()
}

#[tokio::test]
async fn what_is_not_selected_is_read_as_published() {
    let warehouse = Warehouse::in_memory();
    prices("('hat', 10), ('scarf', 200)")
        .run(&warehouse)
        .await
        .unwrap();

    let part = prices("('hat', 10), ('scarf', 20), ('scarf', 30)")
        .only("n_cheap")
        .unwrap();
    assert_eq!(
        part.tables().collect::<Vec<_>>(),
        ["prices", "cheap", "n_cheap"]
    );
    assert_eq!(part.lineage().tables[0].kind, LineageKind::Source);
    let run = part.run(&warehouse).await.unwrap();
    let n_cheap = text(run.table("n_cheap").unwrap()).await;
    assert_eq!(n_cheap, ["+---+", "| n |", "+---+", "| 1 |", "+---+"]);
    let read = run.report("prices").unwrap();
    assert_eq!((read.version, read.n_rows), (Some(0), Some(2)));
    assert!(run.report("cheap").unwrap().checks.results.is_empty());
    assert_eq!(version(&warehouse, "prices").await, Some(0));

    // Selected, it is made again, and audited.
    let part = prices("('hat', 10), ('scarf', 20), ('scarf', 30)")
        .only("+cheap")
        .unwrap();
    let error = part.run(&warehouse).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "1 of 3 tables were not made: `cheap` failed"
    );
    let prices = warehouse.table("prices").await.unwrap();
    assert_eq!(prices.count().await.unwrap(), 3);
}

#[tokio::test]
async fn what_is_neither_selected_nor_published_is_named() {
    let dag = prices("('hat', 10)");
    let error = dag
        .only("prices cheap")
        .unwrap()
        .run(&Warehouse::in_memory())
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "3 of 3 tables were not made: `raw` failed, `prices` skipped because of raw, \
         `cheap` skipped because of raw"
    );
    let Error::Incomplete { source, .. } = error else {
        panic!("a run that made nothing is incomplete")
    };
    assert_eq!(
        source.to_string(),
        "table `raw` is not selected, and the warehouse has no version of it to read; select it too"
    );
}

#[tokio::test]
async fn a_part_of_a_part_and_of_nothing_can_be_run() {
    let warehouse = Warehouse::in_memory();
    let dag = prices("('hat', 10)");
    dag.run(&warehouse).await.unwrap();
    let part = dag.only("cheap+").unwrap().only("cheap").unwrap();
    assert_eq!(part.tables().collect::<Vec<_>>(), ["prices", "cheap"]);
    let run = part.run(&warehouse).await.unwrap();
    assert_eq!(run.table("cheap").unwrap().count().await.unwrap(), 1);

    let nothing = dag.only("raw,prices").unwrap();
    assert_eq!(nothing.run(&warehouse).await.unwrap().reports().len(), 0);
}
