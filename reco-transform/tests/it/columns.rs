//! Which column is made of which.

use reco_transform::datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use reco_transform::datafusion::functions_window::expr_fn::row_number;
use reco_transform::datafusion::logical_expr::ExprFunctionExt;
use reco_transform::datafusion::prelude::*;
use reco_transform::{
    ColumnLineage, ColumnRef, Dag, DagBuilder, Sessionize, StepExt as _, step_fn,
};

use crate::shop::{ValuesExt, events, source};

fn tables() -> DagBuilder {
    Dag::builder()
        .values("a", "id, x, y", "(1, 10, 'p')")
        .values("b", "id, z", "(1, 20)")
        .sql(
            "lists",
            "select 1 as id, [1, 2] as list, named_struct('u', 1, 'v', 2) as pair",
        )
}

async fn lineage(dag: DagBuilder) -> ColumnLineage {
    dag.build().unwrap().column_lineage().await.unwrap()
}

fn names(columns: &[ColumnRef]) -> String {
    let names: Vec<String> = columns.iter().map(ToString::to_string).collect();
    names.join(" ")
}

/// What the columns of a query are made of: `column: values | influences`, and last of its rows.
async fn origins(query: &str) -> Vec<String> {
    let lineage = lineage(tables().sql("made", query)).await;
    let made = lineage.tables.last().unwrap();
    let with = |line: String, influences: &str| match influences {
        "" => line,
        _ => format!("{line} | {influences}"),
    };
    let columns = made.columns.iter().map(|column| {
        let values = names(&column.values_from);
        let line = format!("{}: {values}", column.column).trim_end().to_owned();
        with(line, &names(&column.influenced_by))
    });
    let rows = format!("rows: {}", names(&made.rows_influenced_by));
    columns.chain([rows.trim_end().to_owned()]).collect()
}

async fn check(query: &str, expected: &[&str]) {
    assert_eq!(origins(query).await, expected, "{query}");
}

#[tokio::test]
async fn values_go_through_projections_and_filters_influence_rows() {
    check(
        "select *, x + id as sum, upper(y) as loud, 7 as seven from a where x > id",
        &[
            "id: a.id",
            "x: a.x",
            "y: a.y",
            "sum: a.id a.x",
            "loud: a.y",
            "seven:",
            "rows: a.id a.x",
        ],
    )
    .await;
    check(
        "select case when y = 'p' then x else id end as chosen, coalesce(x, id) as first from a limit 3",
        &["chosen: a.id a.x | a.y", "first: a.id a.x", "rows:"],
    )
    .await;
    check("select x from a order by id", &["x: a.x", "rows: a.id"]).await;
    check("select distinct x from a", &["x: a.x", "rows: a.x"]).await;
    check(
        "select distinct on (id) x from a order by id, y",
        &["x: a.x", "rows: a.id a.y"],
    )
    .await;
}

#[tokio::test]
async fn groups_influence_rows_and_windows_their_own_column() {
    check(
        "select id, count(*) as n, max(x) filter (where y = 'p') as top from a group by id having min(x) > 1",
        &["id: a.id", "n:", "top: a.x | a.y", "rows: a.id a.x"],
    )
    .await;
    check(
        "select x, rank() over (partition by id order by y) as rank, lag(x) over (order by id) as before from a",
        &["x: a.x", "rank: | a.id a.y", "before: a.x | a.id", "rows:"],
    )
    .await;
    check(
        "select id, y, sum(x) as total from a group by grouping sets ((id), (y))",
        &["id: a.id", "y: a.y", "total: a.x", "rows: a.id a.y"],
    )
    .await;
}

#[tokio::test]
async fn joins_keep_their_sides_apart() {
    check(
        "select a.id, z, x from a left join b on a.id = b.id and y = 'p'",
        &["id: a.id", "z: b.z", "x: a.x", "rows: a.id a.y b.id"],
    )
    .await;
    // A table with itself.
    check(
        "select l.x as mine, r.y as other from a l join a r on l.id = r.x",
        &["mine: a.x", "other: a.y", "rows: a.id a.x"],
    )
    .await;
    check(
        "select * from a join b using (id)",
        &["id: a.id", "x: a.x", "y: a.y", "z: b.z", "rows: a.id b.id"],
    )
    .await;
    check(
        "select x from a left semi join b on a.id = b.id",
        &["x: a.x", "rows: a.id b.id"],
    )
    .await;
    check(
        "select x, w from a, lateral (select z + a.x as w from b where b.id = a.id)",
        &["x: a.x", "w: a.x b.z", "rows: a.id b.id"],
    )
    .await;
}

#[tokio::test]
async fn set_operations_take_columns_by_position() {
    check(
        "select id as n, y as t from a union all select z, 'b' from b",
        &["n: a.id b.z", "t: a.y", "rows:"],
    )
    .await;
    check(
        "select id from a union select z from b",
        &["id: a.id b.z", "rows: a.id b.z"],
    )
    .await;
    check(
        "select id from a intersect select z from b",
        &["id: a.id", "rows: a.id b.z"],
    )
    .await;
}

#[tokio::test]
async fn queries_in_queries_are_followed() {
    check(
        "with t as (select id, x * 2 as twice from a where y = 'p'), u (k, v) as (select id, twice from t)
         select v from u join b on k = b.id",
        &["v: a.x", "rows: a.id a.y b.id"],
    )
    .await;
    // The name of a table, in the expression itself, is the table.
    check(
        "with b as (select id as z from b) select z from b",
        &["z: b.id", "rows:"],
    )
    .await;
    check(
        "select (select max(z) from b where b.id = a.id) as top from a",
        &["top: b.z | a.id b.id", "rows:"],
    )
    .await;
    check(
        "select x from a where id in (select id from b where z > 1)",
        &["x: a.x", "rows: a.id b.id b.z"],
    )
    .await;
    check(
        "select exists (select 1 from b where b.z = a.x) as is_known from a",
        &["is_known: | a.x b.z", "rows:"],
    )
    .await;
    check(
        "with recursive t (n, m) as (select id, x from a union all select m, n + 1 from t where n < 3)
         select n from t",
        &["n: a.id a.x", "rows: a.id a.x"],
    )
    .await;
    check(
        "select value from generate_series(1, 3)",
        &["value:", "rows:"],
    )
    .await;
}

#[tokio::test]
async fn lists_and_structs_are_taken_apart() {
    check(
        "select id, unnest(list) as one from lists",
        &["id: lists.id", "one: lists.list", "rows:"],
    )
    .await;
    check(
        "select unnest(pair) from lists",
        &[
            "lists.pair.u: lists.pair",
            "lists.pair.v: lists.pair",
            "rows:",
        ],
    )
    .await;
    check(
        "select pair['u'] as u, list[1] as first from lists",
        &["u: lists.pair", "first: lists.list", "rows:"],
    )
    .await;
}

#[tokio::test]
async fn steps_in_rust_are_read_as_queries_are() {
    let latest = step_fn("latest", ["a"], |ctx| {
        let newest = row_number()
            .partition_by(vec![col("id")])
            .order_by(vec![col("x").sort(false, false)])
            .build()?;
        ctx.table("a")?
            .window(vec![newest.alias("n")])?
            .filter(col("n").eq(lit(1)))?
            .select(vec![col("id"), col("y").alias("name")])
    });
    let schema = schema(&[("id", "Int64"), ("name", "Utf8")]);
    let lineage = lineage(tables().step(latest.with_schema(schema))).await;
    let made = lineage.tables.last().unwrap();
    assert_eq!(names(&made.columns[1].values_from), "a.y");
    assert_eq!(names(&made.rows_influenced_by), "a.id a.x");
}

fn schema(columns: &[(&str, &str)]) -> SchemaRef {
    let field =
        |(name, data_type): &(&str, &str)| Field::new(*name, data_type.parse().unwrap(), true);
    Schema::new(columns.iter().map(field).collect::<Vec<_>>()).into()
}

#[tokio::test]
async fn a_column_is_followed_to_its_sources_and_to_what_is_made_of_it() {
    let dag = Dag::builder()
        .source("events", source(&events()))
        .sql("clean", "select * from events where item_id is not null")
        .step(Sessionize::default())
        .sql(
            "popular",
            "select item_id, count(*) as n, max(price) as dearest from sessions group by item_id",
        );
    let lineage = lineage(dag).await;
    let upstream = lineage.upstream("popular", "dearest").unwrap();
    assert_eq!(names(&upstream), "events.price clean.price sessions.price");
    assert_eq!(
        names(&lineage.sources("popular", "dearest").unwrap()),
        "events.price"
    );
    assert_eq!(names(&lineage.sources("popular", "n").unwrap()), "");
    let influences = names(&lineage.influences("popular", "n").unwrap());
    assert_eq!(influences, "events.item_id clean.item_id sessions.item_id");
    let downstream = lineage.downstream("events", "price").unwrap();
    assert_eq!(
        names(&downstream),
        "clean.price sessions.price popular.dearest"
    );

    let session = names(&lineage.sources("sessions", "session_id").unwrap());
    assert!(session.contains("events.client_id"), "{session}");
}

#[tokio::test]
async fn what_a_column_is_made_of_is_what_goes_into_it() {
    let dag = Dag::builder()
        .source("events", source(&events()))
        .step(Sessionize {
            input: "events".to_owned(),
            ..Sessionize::default()
        })
        .sql(
            "pairs",
            "select l.item_id as item, r.item_id as next, l.price + r.price as both
                       from sessions l join sessions r using (session_id)",
        )
        .sql(
            "top",
            "select item, sum(both) as value from pairs group by item",
        );
    let lineage = lineage(dag).await;
    let tables = lineage.tables.iter();
    let all: Vec<(&str, &str)> = tables
        .flat_map(|table| {
            table
                .columns
                .iter()
                .map(|column| (&*table.table, &*column.column))
        })
        .collect();
    let mut n_pairs = 0;
    for &(table, column) in &all {
        for above in lineage.upstream(table, column).unwrap() {
            let below = lineage.downstream(&above.table, &above.column).unwrap();
            assert!(
                below
                    .iter()
                    .any(|below| below.table == table && below.column == column)
            );
            n_pairs += 1;
        }
        for below in lineage.downstream(table, column).unwrap() {
            let above = lineage.upstream(&below.table, &below.column).unwrap();
            assert!(
                above
                    .iter()
                    .any(|above| above.table == table && above.column == column)
            );
        }
    }
    assert!(n_pairs > all.len() / 2, "{n_pairs}");
}

#[tokio::test]
async fn the_lineage_of_what_is_not_there_is_refused_with_the_nearest() {
    let lineage = lineage(tables()).await;
    assert_eq!(
        lineage.upstream("a", "idd").unwrap_err().to_string(),
        "table `a` has no column `idd`; did you mean `id`?"
    );
    assert_eq!(
        lineage.downstream("list", "id").unwrap_err().to_string(),
        "lineage of column `id` on table `list`, which the DAG does not have; did you mean `lists`?"
    );
}

#[tokio::test]
async fn as_text() {
    let dag = Dag::builder()
        .values("clicks", "item, price, seen", "('hat', 9.5, true)")
        .sql(
            "items",
            "select item as item_id, price * 100 as cents from clicks where seen",
        )
        .sql("dearest", "select max(cents) as cents from items");
    let lineage = lineage(dag).await;
    insta::assert_snapshot!(lineage, @"
    table    column   type     values from   influenced by
    clicks   item     Utf8     -             -
             price    Float64  -             -
             seen     Boolean  -             -
    items    item_id  Utf8     clicks.item   -
             cents    Float64  clicks.price  -
             (rows)            -             clicks.seen
    dearest  cents    Float64  items.cents   -
    ");
    assert_eq!(
        names(&lineage.influences("dearest", "cents").unwrap()),
        "clicks.seen"
    );
}

#[tokio::test]
async fn as_json_and_back() {
    let lineage = lineage(tables().sql("made", "select x from a where y = 'p'")).await;
    let json = lineage.to_json();
    assert_eq!(
        serde_json::from_str::<ColumnLineage>(&json).unwrap(),
        lineage
    );
    let made = serde_json::to_string(lineage.tables.last().unwrap()).unwrap();
    insta::assert_snapshot!(made, @r#"{"table":"made","columns":[{"column":"x","data_type":"Int64","values_from":[{"table":"a","column":"x"}],"influenced_by":[]}],"rows_influenced_by":[{"table":"a","column":"y"}]}"#);
    let unknown = json.replacen("\"tables\"", "\"table\"", 1);
    assert!(serde_json::from_str::<ColumnLineage>(&unknown).is_err());
}
