//! Lineage, as text, JSON and a drawing.

use reco_transform::{
    Dag, Deduplicate, Lineage, Materialization, MinSupport, Sessionize, between, not_null,
    relationships,
};

use crate::shop::{ValuesExt, events, source};

fn lineage() -> Lineage {
    let dag = Dag::builder()
        .source("events", source(&events()))
        .step(Deduplicate::default())
        .sql(
            "clean",
            "select * from deduplicated where item_id is not null",
        )
        .step(Sessionize::default())
        .step(MinSupport::default())
        .sql(
            "popular",
            "select item_id, count(*) as n from interactions group by item_id",
        )
        .sql("report", "select * from popular join clean using (item_id)")
        .materialize("interactions", Materialization::Delta)
        .materialize("popular", Materialization::View)
        .expect("interactions", not_null("item_id"))
        .expect("interactions", between("price", 0..))
        .build();
    dag.unwrap().lineage()
}

#[test]
fn as_text() {
    insta::assert_snapshot!(lineage(), @"
    report (sql, memory)
    ├─ clean (sql, memory)
    │  └─ deduplicated (step, memory)
    │     └─ events (source)
    └─ popular (sql, view)
       └─ interactions (step, delta, 2 checks)
          └─ sessions (step, memory)
             └─ clean (sql, memory) …
    ");
}

#[test]
fn as_mermaid() {
    insta::assert_snapshot!(lineage().to_mermaid(), @r#"
    flowchart LR
        t0[("events")]
        t1[["deduplicated"]]
        t2["clean"]
        t3[["sessions"]]
        t4[["interactions"]]
        t5["popular"]
        t6["report"]
        t0 --> t1
        t1 --> t2
        t2 --> t3
        t3 --> t4
        t4 --> t5
        t2 --> t6
        t5 --> t6
    "#);
}

#[test]
fn as_json() {
    let lineage = lineage();
    let json = lineage.to_json();
    assert_eq!(serde_json::from_str::<Lineage>(&json).unwrap(), lineage);
    let table = serde_json::to_string_pretty(&lineage.tables[4]).unwrap();
    insta::assert_snapshot!(table, @r#"
    {
      "table": "interactions",
      "kind": "step",
      "inputs": [
        "sessions"
      ],
      "materialization": "delta",
      "expectations": [
        "not_null(item_id)",
        "between(price, 0..)"
      ],
      "audited_with": []
    }
    "#);
}

#[test]
fn what_a_change_reaches_and_what_a_table_is_made_of() {
    let lineage = lineage();
    assert_eq!(
        lineage.downstream("sessions"),
        ["interactions", "popular", "report"]
    );
    assert_eq!(lineage.upstream("clean"), ["events", "deduplicated"]);
    assert_eq!(lineage.upstream("events"), [""; 0]);
}

#[test]
fn what_a_table_is_audited_with_is_shown_and_is_no_input() {
    let dag = Dag::builder()
        .values("items", "name", "('hat')")
        .values("sales", "item, gift", "('hat', 'hat')")
        .expect("sales", relationships("item", "items", "name"))
        .expect("sales", relationships("gift", "items", "name"))
        .build();
    let lineage = dag.unwrap().lineage();
    let sales = lineage.tables.iter().find(|table| table.table == "sales");
    assert_eq!(sales.unwrap().audited_with, ["items"]);
    assert_eq!(lineage.downstream("items"), [""; 0]);
    insta::assert_snapshot!(lineage.to_mermaid(), @r#"
    flowchart LR
        t0["items"]
        t1["sales"]
        t0 -.-> t1
    "#);
}
