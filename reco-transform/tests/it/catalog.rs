//! What a warehouse shows, for queries, and what its runs leave.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use reco_transform::datafusion::arrow::util::pretty::pretty_format_batches;
use reco_transform::datafusion::assert_batches_eq;
use reco_transform::datafusion::dataframe::DataFrameWriteOptions;
use reco_transform::{
    Catalog, Dag, Error, Materialization, RunRetention, RunStatus, Warehouse, WarehouseConfig,
    between, not_null,
};

fn sales(values: &str) -> Dag {
    Dag::builder()
        .sql("prices", format!("select * from (values {values}) as t (item, price)"))
        .sql("sales", "select item, sum(price) as total, count(*) as n from prices where price > 0 group by item")
        .materialize_others(Materialization::Delta)
        .expect("sales", not_null("item"))
        .expect("sales", between("total", 0.0..=50.0).warn())
        .build()
        .unwrap()
}

async fn text(catalog: &Catalog, query: &str) -> String {
    let batches = catalog.sql(query).await.unwrap().collect().await.unwrap();
    pretty_format_batches(&batches).unwrap().to_string()
}

async fn files(store: &InMemory, folder: &str) -> Vec<String> {
    let listed: Vec<_> = store
        .list(Some(&Path::from(folder)))
        .try_collect()
        .await
        .unwrap();
    let mut names: Vec<String> = listed
        .iter()
        .map(|meta| meta.location.to_string())
        .collect();
    names.sort_unstable();
    names
}

#[tokio::test]
async fn what_is_published_is_a_table() {
    let warehouse = Warehouse::in_memory();
    sales("('hat', 9.5), ('hat', 10.5), ('scarf', 60.0)")
        .run(&warehouse)
        .await
        .unwrap();
    let catalog = warehouse.catalog().await.unwrap();
    assert_eq!(catalog.tables(), ["prices", "sales"]);
    let read = catalog
        .sql("select item, total from sales where total < 50")
        .await
        .unwrap();
    assert_batches_eq!(
        [
            "+------+-------+",
            "| item | total |",
            "+------+-------+",
            "| hat  | 20.0  |",
            "+------+-------+",
        ],
        &read.collect().await.unwrap()
    );
    let told = catalog
        .sql("select table_schema, table_name, table_type from information_schema.tables where table_schema <> 'information_schema' order by 1, 2")
        .await
        .unwrap();
    assert_batches_eq!(
        [
            "+--------------+----------------+------------+",
            "| table_schema | table_name     | table_type |",
            "+--------------+----------------+------------+",
            "| public       | prices         | BASE TABLE |",
            "| public       | sales          | BASE TABLE |",
            "| reco         | checks         | VIEW       |",
            "| reco         | column_lineage | VIEW       |",
            "| reco         | columns        | VIEW       |",
            "| reco         | lineage        | VIEW       |",
            "| reco         | run_tables     | VIEW       |",
            "| reco         | runs           | VIEW       |",
            "| reco         | tables         | VIEW       |",
            "+--------------+----------------+------------+",
        ],
        &told.collect().await.unwrap()
    );
    let told = catalog
        .sql("select table_name, column_name, data_type from information_schema.columns where table_schema = 'public' and table_name = 'sales' order by ordinal_position")
        .await
        .unwrap();
    assert_batches_eq!(
        [
            "+------------+-------------+-----------+",
            "| table_name | column_name | data_type |",
            "+------------+-------------+-----------+",
            "| sales      | item        | Utf8View  |",
            "| sales      | total       | Float64   |",
            "| sales      | n           | Int64     |",
            "+------------+-------------+-----------+",
        ],
        &told.collect().await.unwrap()
    );
}

#[tokio::test]
async fn the_catalogue_tells_where_tables_are_and_what_they_are_made_of() {
    let warehouse = Warehouse::in_memory();
    sales("('hat', 9.5)").run(&warehouse).await.unwrap();
    warehouse.create_environment("dev").await.unwrap();
    let catalog = warehouse.catalog().await.unwrap();
    let check = async |query: &str, expected: &[&str]| {
        let batches = catalog.sql(query).await.unwrap().collect().await.unwrap();
        let text = pretty_format_batches(&batches).unwrap().to_string();
        assert_eq!(
            text.lines().collect::<Vec<_>>(),
            expected,
            "{query}\n{text}"
        );
    };
    check(
        "select environment, table_name, version, n_rows, inputs from reco.tables order by 1, 2",
        &[
            "+-------------+------------+---------+--------+----------+",
            "| environment | table_name | version | n_rows | inputs   |",
            "+-------------+------------+---------+--------+----------+",
            "| dev         | prices     | 0       | 1      | []       |",
            "| dev         | sales      | 0       | 1      | [prices] |",
            "| prod        | prices     | 0       | 1      | []       |",
            "| prod        | sales      | 0       | 1      | [prices] |",
            "+-------------+------------+---------+--------+----------+",
        ],
    )
    .await;
    check(
        "select column_name, position, data_type, is_nullable from reco.columns where environment = 'prod' and table_name = 'sales' order by 2",
        &[
            "+-------------+----------+-----------+-------------+",
            "| column_name | position | data_type | is_nullable |",
            "+-------------+----------+-----------+-------------+",
            "| item        | 1        | Utf8View  | false       |",
            "| total       | 2        | Float64   | true        |",
            "| n           | 3        | Int64     | false       |",
            "+-------------+----------+-----------+-------------+",
        ],
    )
    .await;
    check(
        "select table_name, reads, relation from reco.lineage",
        &[
            "+------------+--------+----------+",
            "| table_name | reads  | relation |",
            "+------------+--------+----------+",
            "| sales      | prices | input    |",
            "+------------+--------+----------+",
        ],
    )
    .await;
    check(
        "select column_name, from_column, relation from reco.column_lineage where table_name = 'sales' order by 1, 2",
        &[
            "+-------------+-------------+----------+",
            "| column_name | from_column | relation |",
            "+-------------+-------------+----------+",
            "| item        | item        | value    |",
            "| total       | price       | value    |",
            "|             | item        | rows     |",
            "|             | price       | rows     |",
            "+-------------+-------------+----------+",
        ],
    )
    .await;
    check(
        "select r.run_id, r.status, n_tables, n_built, n_missing, state, ended_at >= started_at as in_order from reco.runs r",
        &[
            "+--------+-----------+----------+---------+-----------+-------+----------+",
            "| run_id | status    | n_tables | n_built | n_missing | state | in_order |",
            "+--------+-----------+----------+---------+-----------+-------+----------+",
            "| prod/1 | succeeded | 2        | 2       | 0         | 1     | true     |",
            "+--------+-----------+----------+---------+-----------+-------+----------+",
        ],
    )
    .await;
    check(
        "select table_name, expectation, severity, outcome, n_checked, n_failed from reco.checks order by 2",
        &[
            "+------------+------------------------+----------+---------+-----------+----------+",
            "| table_name | expectation            | severity | outcome | n_checked | n_failed |",
            "+------------+------------------------+----------+---------+-----------+----------+",
            "| sales      | between(total, 0..=50) | warn     | passed  | 1         | 0        |",
            "| sales      | not_null(item)         | error    | passed  | 1         | 0        |",
            "+------------+------------------------+----------+---------+-----------+----------+",
        ],
    )
    .await;
}

#[tokio::test]
async fn a_table_is_published_since_it_is_shown_as_it_is() {
    let warehouse = Warehouse::in_memory();
    let first = sales("('hat', 9.5)");
    first.run(&warehouse).await.unwrap();
    // Five more states, of which only the third changes `prices`.
    for (state, values) in ["('hat', 1.0)", "('hat', 2.0)"].into_iter().enumerate() {
        sales(values).run(&warehouse).await.unwrap();
        let other = Dag::builder().sql(format!("other_{state}"), format!("select {state} as n"));
        let other = other
            .materialize_others(Materialization::Delta)
            .build()
            .unwrap();
        other.run(&warehouse).await.unwrap();
    }
    let state = |number| {
        let warehouse = warehouse.clone();
        async move {
            warehouse
                .as_of_state(number)
                .await
                .unwrap()
                .state()
                .await
                .unwrap()
                .unwrap()
        }
    };
    assert_eq!(warehouse.state().await.unwrap().unwrap().number, 5);
    let catalog = warehouse.catalog().await.unwrap();
    for (table, number) in [("prices", 4), ("other_0", 3), ("other_1", 5)] {
        let expected = state(number).await.published_at.as_microsecond();
        let query = format!(
            "select * from reco.tables where table_name = '{table}' and cast(published_at as bigint) = {expected}"
        );
        assert_eq!(
            catalog.sql(&query).await.unwrap().count().await.unwrap(),
            1,
            "{table}"
        );
    }
}

#[tokio::test]
async fn a_failed_run_says_what_was_wrong_and_keeps_no_rows() {
    let store = Arc::new(InMemory::new());
    let warehouse = Warehouse::in_store(Arc::clone(&store) as Arc<dyn ObjectStore>, "").unwrap();
    let secret = "ann@example.org";
    let dag = Dag::builder()
        .sql(
            "people",
            format!("select '{secret}' as name, cast(null as bigint) as age"),
        )
        .sql("ages", "select age from people")
        .expect("people", not_null("age"))
        .build()
        .unwrap();
    let error = dag.run(&warehouse).await.unwrap_err();
    assert!(matches!(error, Error::Incomplete { .. }));
    let runs = warehouse.runs().await.unwrap();
    assert_eq!(
        (runs.len(), runs[0].status, runs[0].state),
        (1, RunStatus::Failed, None)
    );
    let [people, ages] = &runs[0].tables[..] else {
        panic!("{runs:?}");
    };
    assert_eq!(
        (people.status.as_str(), people.checks[0].n_failed),
        ("failed", 1)
    );
    assert_eq!(
        people.error.as_deref(),
        Some("expectations not met: not_null(age)")
    );
    assert_eq!(ages.error.as_deref(), Some("skipped because of people"));
    let record = store
        .get(&Path::from("_runs/prod/00000000000000000001.json"))
        .await
        .unwrap();
    let record = String::from_utf8(record.bytes().await.unwrap().to_vec()).unwrap();
    assert!(
        record.contains("not_null(age)") && !record.contains(secret),
        "{record}"
    );
}

#[tokio::test]
async fn lineage_is_written_once_and_a_part_does_not_forget_the_rest() {
    let store = Arc::new(InMemory::new());
    let warehouse = Warehouse::in_store(Arc::clone(&store) as Arc<dyn ObjectStore>, "").unwrap();
    let dag = sales("('hat', 9.5)");
    dag.run(&warehouse).await.unwrap();
    dag.run(&warehouse).await.unwrap();
    assert_eq!(files(&store, "_runs/prod/lineage").await.len(), 1);
    let statuses: Vec<String> = warehouse.runs().await.unwrap()[1]
        .tables
        .iter()
        .map(|t| t.status.clone())
        .collect();
    assert_eq!(statuses, ["reused", "reused"]);

    let more = Dag::builder()
        .sql(
            "prices",
            "select * from (values ('hat', 9.5)) as t (item, price)",
        )
        .sql("dear", "select item from prices where price > 5")
        .materialize_others(Materialization::Delta)
        .build()
        .unwrap();
    more.only("dear").unwrap().run(&warehouse).await.unwrap();
    assert_eq!(files(&store, "_runs/prod/lineage").await.len(), 2);
    let catalog = warehouse.catalog().await.unwrap();
    let lineage = text(
        &catalog,
        "select table_name, reads from reco.lineage order by 1",
    )
    .await;
    assert!(
        lineage.contains("| dear       | prices |") && lineage.contains("| sales      | prices |"),
        "{lineage}"
    );
}

#[tokio::test]
async fn a_query_sees_the_moment_of_the_catalogue() {
    let warehouse = Warehouse::in_memory();
    sales("('hat', 9.5)").run(&warehouse).await.unwrap();
    let catalog = warehouse.catalog().await.unwrap();
    let n = async |catalog: &Catalog| {
        catalog
            .sql("select * from prices")
            .await
            .unwrap()
            .count()
            .await
            .unwrap()
    };
    sales("('hat', 9.5), ('scarf', 1.0)")
        .run(&warehouse)
        .await
        .unwrap();
    assert_eq!(n(&catalog).await, 1);
    let prepared = catalog.sql("select * from prices").await.unwrap();
    catalog.refresh().await.unwrap();
    assert_eq!(n(&catalog).await, 2);
    assert_eq!(
        prepared.clone().count().await.unwrap(),
        2,
        "planned before, read after"
    );

    let other = Dag::builder().sql("prices", "select 'hat' as item, true as is_dear");
    other
        .materialize_others(Materialization::Delta)
        .build()
        .unwrap()
        .run(&warehouse)
        .await
        .unwrap();
    catalog.refresh().await.unwrap();
    let error = prepared.collect().await.unwrap_err().to_string();
    assert!(
        error.contains("table `prices` has other columns than when the query was planned"),
        "{error}"
    );
}

#[tokio::test]
async fn nothing_is_written_through_a_catalogue() {
    let warehouse = Warehouse::in_memory();
    sales("('hat', 9.5)").run(&warehouse).await.unwrap();
    let catalog = warehouse.catalog().await.unwrap();
    for query in [
        "insert into prices values ('x', 1.0)",
        "insert into reco.runs select * from reco.runs",
        "create table t as select 1",
        "create view v as select 1",
        "create schema s",
        "drop table prices",
        "copy prices to '/tmp/never.csv'",
        "set datafusion.execution.batch_size = 1",
        "explain insert into prices values ('x', 1.0)",
    ] {
        match catalog.sql(query).await {
            Err(Error::ReadOnly { .. }) => {}
            other => panic!("{query}: {other:?}"),
        }
    }
    // Neither does a frame get through.
    let rows = catalog.sql("select * from prices").await.unwrap();
    let options = DataFrameWriteOptions::new();
    let error = rows
        .write_table("prices", options)
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("not implemented"), "{error}");
    assert_eq!(
        warehouse
            .table("prices")
            .await
            .unwrap()
            .count()
            .await
            .unwrap(),
        1
    );
}

#[tokio::test]
async fn only_the_newest_records_are_kept() {
    let store = Arc::new(InMemory::new());
    let keep = |n_runs, age| WarehouseConfig {
        run_retention: RunRetention {
            n_runs: NonZeroUsize::new(n_runs),
            age,
        },
        ..WarehouseConfig::default()
    };
    let warehouse = Warehouse::in_store(Arc::clone(&store) as Arc<dyn ObjectStore>, "").unwrap();
    let two = warehouse.clone().with_config(keep(2, None)).unwrap();
    let other = Dag::builder()
        .sql("other", "select 1 as n")
        .build()
        .unwrap();
    other.run(&two).await.unwrap();
    for values in ["('a', 1.0)", "('a', 2.0)", "('a', 2.0)"] {
        sales(values).run(&two).await.unwrap();
    }
    let numbers = |runs: Vec<reco_transform::RunRecord>| {
        runs.iter().map(|run| run.number).collect::<Vec<_>>()
    };
    assert_eq!(numbers(two.runs().await.unwrap()), [3, 4]);
    // Both have the lineage of the second; that of the first is gone.
    let lineage = files(&store, "_runs/prod/lineage").await;
    assert!(
        lineage.len() == 1 && lineage[0].contains("00002-"),
        "{lineage:?}"
    );

    // By age the newest stays, whatever its age.
    let none = warehouse
        .with_config(keep(1000, Some(Duration::ZERO)))
        .unwrap();
    sales("('a', 3.0)").run(&none).await.unwrap();
    assert_eq!(numbers(none.runs().await.unwrap()), [5]);
    let catalog = none.catalog().await.unwrap();
    assert!(
        text(&catalog, "select * from reco.lineage")
            .await
            .contains("sales")
    );
}

#[tokio::test]
async fn runs_that_end_at_once_are_all_recorded() {
    let warehouse = Warehouse::in_memory();
    let runs = (0..8).map(|n| {
        let warehouse = warehouse.clone();
        tokio::spawn(async move {
            let dag = Dag::builder()
                .sql(format!("t{n}"), "select 1 as n")
                .build()
                .unwrap();
            dag.run(&warehouse).await.unwrap();
        })
    });
    for run in runs.collect::<Vec<_>>() {
        run.await.unwrap();
    }
    let runs = warehouse.runs().await.unwrap();
    let mut tables: Vec<&str> = runs
        .iter()
        .map(|run| run.tables[0].table.as_str())
        .collect();
    tables.sort_unstable();
    assert_eq!(tables, ["t0", "t1", "t2", "t3", "t4", "t5", "t6", "t7"]);
    assert_eq!(
        runs.iter().map(|run| run.number).collect::<Vec<_>>(),
        (1..=8).collect::<Vec<u64>>()
    );
}

#[tokio::test]
async fn records_of_the_first_format_are_read() {
    let store = Arc::new(InMemory::new());
    let put = async |path: &str, content: &str| {
        store
            .put(&Path::from(path), content.to_owned().into())
            .await
            .unwrap();
    };
    let run = include_str!("fixtures/run-1.json");
    put("_runs/prod/00000000000000000001.json", run).await;
    let lineage = include_str!("fixtures/lineage-1.json");
    put(
        "_runs/prod/lineage/00000000000000000001-00112233445566778899aabbccddeeff.json",
        lineage,
    )
    .await;
    let warehouse = Warehouse::in_store(Arc::clone(&store) as Arc<dyn ObjectStore>, "").unwrap();
    let runs = warehouse.runs().await.unwrap();
    assert_eq!(
        (runs[0].id().as_str(), runs[0].status, runs[0].state),
        ("prod/1", RunStatus::Failed, Some(4))
    );
    let took = runs[0].ended_at.duration_since(runs[0].started_at);
    assert_eq!(took.unsigned_abs(), Duration::from_micros(2_500_000));
    let interactions = &runs[0].tables[1];
    assert_eq!(interactions.materialization, Some(Materialization::Delta));
    assert_eq!(interactions.checks[1].observed.as_deref(), Some("4.5"));
    assert_eq!(
        (runs[0].tables[2].n_rows, runs[0].tables[2].version),
        (Some(31), Some(7))
    );
    let catalog = warehouse.catalog().await.unwrap();
    let query =
        "select column_name, from_column, relation from reco.column_lineage order by relation";
    let batches = catalog.sql(query).await.unwrap().collect().await.unwrap();
    assert_batches_eq!(
        [
            "+-------------+-------------+-----------+",
            "| column_name | from_column | relation  |",
            "+-------------+-------------+-----------+",
            "| item_id     | kind        | influence |",
            "|             | seen        | rows      |",
            "| item_id     | item        | value     |",
            "+-------------+-------------+-----------+",
        ],
        &batches
    );

    for (content, reason) in [
        (
            run.replace("\"format\": 1", "\"format\": 2"),
            "it has format 2; this build reads 1",
        ),
        (
            run.replace("\"state\": 4", "\"sate\": 4"),
            "unknown field `sate`",
        ),
        (String::new(), "EOF while parsing"),
    ] {
        put("_runs/prod/00000000000000000002.json", &content).await;
        let error = warehouse.runs().await.unwrap_err();
        assert!(
            error
                .to_string()
                .contains("_runs/prod/00000000000000000002.json"),
            "{error}"
        );
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains(reason), "{cause}");
    }
}
