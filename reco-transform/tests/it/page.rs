//! The page of a DAG.

use reco_core::Timestamp;
use reco_transform::{
    Dag, DagRun, Deduplicate, Error, Materialization, MinSupport, Sessionize, Warehouse, between,
    expect_sql, not_null, relationships, unique,
};
use serde_json::Value;

use crate::shop::{ValuesExt, events, source};

const HOSTILE: &str = "</script><img src=x onerror=alert(1)>'\"&<!--";

/// A shop in which a table warns, one fails and one is skipped for it.
fn shop() -> Dag {
    Dag::builder()
        .source("events", source(&events()))
        .values("catalogue", "sku, price", "('hat', 9.5), ('scarf', 20.0)")
        .step(Deduplicate::default())
        .sql(
            "clean",
            "select * from deduplicated where item_id is not null",
        )
        .step(Sessionize::default())
        .step(MinSupport {
            item: 2,
            ..MinSupport::default()
        })
        .sql(
            "popular",
            "select item_id, count(*) as n, max(i.price) as dearest, min(c.price) as listed
             from interactions i join catalogue c on item_id = sku group by item_id",
        )
        .sql(
            "per_client",
            "select client_id, count(*) as n from clean group by client_id",
        )
        .sql(
            "report",
            "select * from popular cross join (select sum(n) as total from per_client)",
        )
        .sql(
            "top_item_of_the_whole_quarter",
            "select item_id from report order by n desc limit 1",
        )
        .materialize("interactions", Materialization::Delta)
        .materialize("per_client", Materialization::View)
        .tag("interactions", "nightly")
        .tag("popular", "nightly")
        .path("popular", "models/popular.sql")
        .expect("interactions", not_null("item_id"))
        .expect("interactions", relationships("item_id", "catalogue", "sku"))
        .expect("interactions", between("price", 0..100))
        .expect("clean", unique(["client_id"]).warn())
        .expect("popular", expect_sql("many of each", "n > 3"))
        .build()
        .unwrap()
}

async fn failed_run(dag: &Dag) -> Box<DagRun> {
    match dag.run(&Warehouse::in_memory()).await.unwrap_err() {
        Error::Incomplete { run, .. } => run,
        error => panic!("{error}"),
    }
}

/// What the script of a page reads.
fn model(html: &str) -> Value {
    let (_, after) = html.split_once("id=\"model\">").unwrap();
    let (json, _) = after.split_once("</script>").unwrap();
    serde_json::from_str(json).unwrap()
}

#[tokio::test]
async fn a_page_shows_what_became_of_each_table() {
    let dag = shop();
    let run = failed_run(&dag).await;
    let time = |minutes: i64| Timestamp::from_second(1_714_550_400 + minutes * 60).unwrap();
    let page = dag.page().await.unwrap().title("Shop").run(&run);
    let page = page.newest("events", time(0)).unwrap().as_of(time(150));
    let html = page.to_html();
    assert_eq!(html, page.to_html());

    let model = model(&html);
    let table = |name: &str| {
        let mut tables = model["tables"].as_array().unwrap().iter();
        tables.find(|table| table["table"] == name).unwrap()
    };
    let status = |name: &str| table(name)["status"].as_str().unwrap();
    let found = ["events", "clean", "interactions", "popular", "report"].map(status);
    assert_eq!(found, ["built", "warned", "built", "failed", "skipped"]);
    assert_eq!(table("report")["reason"], "skipped because of popular");
    assert_eq!(table("interactions")["n_rows"], 6);
    assert_eq!(table("interactions")["version"], 0);
    assert_eq!(table("interactions")["tags"][0], "nightly");
    assert_eq!(table("interactions")["audited_with"][0], "catalogue");
    assert_eq!(table("popular")["path"], "models/popular.sql");
    assert_eq!(table("events")["age"], "2 h old");
    assert_eq!(table("popular")["checks"][0]["verdict"], "failed");
    assert_eq!(table("popular")["checks"][0]["n_failed"], 1);
    let dearest = &table("popular")["columns"][2];
    assert_eq!(dearest["data_type"], "Float64");
    assert_eq!(dearest["values_from"][0]["table"], "interactions");
    assert!(html.contains("aria-label=\"popular, failed\""));
    assert!(html.contains("top_item_of_the_whol…"));
}

#[tokio::test]
async fn a_page_of_a_dag_that_was_not_run_shows_what_is_expected() {
    let html = shop().page().await.unwrap().to_html();
    let model = model(&html);
    let interactions = &model["tables"][5];
    assert_eq!(interactions["table"], "interactions");
    assert_eq!(interactions["status"], "declared");
    assert_eq!(interactions["expectations"][0], "not_null(item_id)");

    let empty = Dag::builder().build().unwrap().page().await.unwrap();
    assert!(empty.to_html().contains("<title>DAG</title>"));
}

#[tokio::test]
async fn names_are_text_whatever_they_hold() {
    let column = HOSTILE.replace('"', "\"\"");
    let dag = Dag::builder()
        .sql("items", format!("select 1 as \"{column}\""))
        .expect("items", expect_sql(HOSTILE, "1 = 2"))
        .tag("items", HOSTILE)
        .path("items", HOSTILE)
        .build()
        .unwrap();
    let run = failed_run(&dag).await;
    let page = dag.page().await.unwrap().title(HOSTILE).run(&run);
    let html = page.to_html();
    assert!(!html.contains("<img") && !html.contains("<!--"));
    // That of the model and that of the script.
    assert_eq!(html.matches("</script").count(), 2);
    let model = model(&html);
    let items = &model["tables"][0];
    assert_eq!(items["columns"][0]["column"], HOSTILE);
    assert_eq!(items["tags"][0], HOSTILE);
    assert_eq!(items["path"], HOSTILE);
    assert_eq!(items["checks"][0]["check"], HOSTILE);
}

#[tokio::test]
async fn a_page_needs_nothing_else() {
    let html = shop().page().await.unwrap().to_html();
    for what in [
        "http:",
        "https:",
        "//www",
        " src=",
        "url(",
        "@import",
        "fetch(",
        "innerHTML",
    ] {
        assert!(!html.contains(what), "{what}");
    }
    assert!(html.contains("default-src 'none'"));
}

#[tokio::test]
async fn the_freshness_of_what_is_not_there_is_refused() {
    let page = shop().page().await.unwrap();
    let error = page.newest("event", Timestamp::UNIX_EPOCH).unwrap_err();
    assert_eq!(
        error.to_string(),
        "freshness on table `event`, which the DAG does not have; did you mean `events`?"
    );
}
