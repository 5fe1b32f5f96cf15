//! The ready-made imports, on rows made up in the schema of their data sets.

use reco_core::Event;
use reco_ingest::MemoryTable;
use reco_ingest::import::{CoveoContent, CoveoContentImport, Import};

use crate::import::{import, now};

// An event as `time client session kind item price`.
fn line(event: &Event) -> String {
    let item = event.item.as_ref().map_or("-", |item| item.as_str());
    let session = event.session.as_deref().unwrap_or("-");
    let price = event
        .price
        .map_or_else(|| "-".to_owned(), |price| price.to_string());
    let (time, client, kind) = (event.occurred_at, &event.client, event.kind);
    format!("{time} {client} {session} {kind} {item} {price}")
}

async fn check(preset: &Import, file: &str, events: &[&str], dead_letters: &[&str]) {
    let imported = import(preset, "file", file.as_bytes()).await.unwrap();
    let found: Vec<_> = imported.events.iter().map(line).collect();
    assert_eq!(found, events);
    assert_eq!(imported.dead_letters, dead_letters);
    let ids: std::collections::HashSet<_> = imported.events.iter().map(|e| &e.id).collect();
    assert_eq!(ids.len(), events.len());
}

#[tokio::test]
async fn eshop() {
    check(
        &Import::eshop(),
        "year;month;day;order;country;session ID;page 1 (main category);page 2 (clothing model);colour;location;model photography;price;price 2;page\n\
         2008;4;30;1;29;7;1;Z1;1;5;1;28;2;1\n\
         2008;4;30;70;29;7;1;Z2;1;5;1;33;2;1\n\
         2008;4;31;1;29;8;1;Z1;1;5;1;28;2;1\n",
        &[
            "2008-04-30T00:00:01Z 7 7 detail Z1 28",
            "2008-04-30T00:01:10Z 7 7 detail Z2 33",
        ],
        &["4: 2008;4;31;1;29;8;1;Z1;1;5;1;28;2;1: columns `year`, `month`, `day`: parameter 'day' for `2008-04` is invalid, must be in range `1..=30`"],
    )
    .await;
}

#[tokio::test]
async fn rees46() {
    check(
        &Import::rees46(),
        "event_time,event_type,product_id,category_id,category_code,brand,price,user_id,user_session\n\
         2019-10-01 00:00:04 UTC,view,1001,2001,,shoes inc,35.79,501,s-1\n\
         2019-10-01 00:00:09 UTC,remove_from_cart,1001,2001,,,35.79,501,s-1\n\
         2019-10-01 00:00:09 UTC,purchase,1001,20\n",
        &[
            "2019-10-01T00:00:04Z 501 s-1 detail 1001 35.79",
            "2019-10-01T00:00:09Z 501 s-1 remove 1001 35.79",
        ],
        &["4: 2019-10-01 00:00:09 UTC,purchase,1001,20: 4 fields where 9 are declared"],
    )
    .await;
}

#[tokio::test]
async fn taobao() {
    check(
        &Import::taobao(),
        "1,1001,31,pv,1511658000\n1,1002,31,fav,1511658001\n1,1002,31,buy,15",
        &[
            "2017-11-26T01:00:00Z 1 - detail 1001 -",
            "2017-11-26T01:00:01Z 1 - custom 1002 -",
        ],
        &["3: 1,1002,31,buy,15: its time 1970-01-01T00:00:15Z is before the earliest allowed"],
    )
    .await;
}

#[tokio::test]
async fn otto() {
    let first = r#"{"session":12,"events":[{"aid":1,"ts":1659304800025,"type":"clicks"},{"aid":2,"ts":1659304900000,"type":"carts"},{"aid":2,"ts":1659304900001,"type":"orders"}]}"#;
    let odd = r#"{"session":14,"events":[{"aid":1,"ts":1659304800025,"type":"clicks"},{"aid":2,"ts":1659304900000,"type":"likes"}]}"#;
    let file = format!("{first}\n{{\"session\":13,\"events\":[]}}\n{odd}\n");
    check(
        &Import::otto(),
        &file,
        &[
            "2022-07-31T22:00:00.025Z 12 12 click 1 -",
            "2022-07-31T22:01:40Z 12 12 add 2 -",
            "2022-07-31T22:01:40.001Z 12 12 purchase 2 -",
        ],
        &[&format!(
            "3: {odd}: column `type`: `likes` is not one of the kinds of the mapping"
        )],
    )
    .await;
    let imported = import(&Import::otto(), "file", file.as_bytes())
        .await
        .unwrap();
    assert_eq!((imported.report.rows, imported.report.skipped), (3, 1));
    // The bytes of the row are kept once.
    let payloads: Vec<_> = imported
        .events
        .iter()
        .map(|event| event.payload.clone())
        .collect();
    assert_eq!(payloads, [first, "", ""]);
}

#[tokio::test]
async fn tsv() {
    check(
        &Import::tsv(),
        "SessionId\tItemId\tTime\n1\that\t1396861224.274\n1\t\"shoe\t1396861225\n1\tbag\"\t1396861226\n",
        &[
            "2014-04-07T09:00:24.274Z 1 1 detail hat -",
            "2014-04-07T09:00:25Z 1 1 detail \"shoe -",
            "2014-04-07T09:00:26Z 1 1 detail bag\" -",
        ],
        &[],
    )
    .await;
}

#[tokio::test]
async fn coveo_browsing() {
    check(
        &Import::coveo_browsing(),
        "session_id_hash,event_type,product_action,product_sku_hash,server_timestamp_epoch_ms,hashed_url\n\
         aa,pageview,,,1550885210881,u1\n\
         aa,event_product,detail,sku1,1550885210881,u1\n\
         aa,event_product,wink,sku1,1550885210999,u1\n",
        &[
            "2019-02-23T01:26:50.881Z aa aa pageview - -",
            "2019-02-23T01:26:50.881Z aa aa detail sku1 -",
        ],
        &["4: aa,event_product,wink,sku1,1550885210999,u1: column `product_action`: `wink` is not one of the kinds of the mapping"],
    )
    .await;
}

#[tokio::test]
async fn coveo_search() {
    let file = "session_id_hash,query_vector,clicked_skus_hash,product_skus_hash,server_timestamp_epoch_ms\n\
         aa,\"[0.5, -0.25]\",\"['sku1', 'sku2']\",\"['sku1', 'sku2', 'sku3']\",1550885210881\n\
         aa,,,,1550885210882\n";
    check(
        &Import::coveo_search(),
        file,
        &[
            "2019-02-23T01:26:50.881Z aa aa search - -",
            "2019-02-23T01:26:50.881Z aa aa click sku1 -",
            "2019-02-23T01:26:50.881Z aa aa click sku2 -",
            "2019-02-23T01:26:50.882Z aa aa search - -",
        ],
        &[],
    )
    .await;
    let imported = import(&Import::coveo_search(), "file", file.as_bytes())
        .await
        .unwrap();
    assert_eq!(imported.events[0].query.as_deref(), Some("[0.5, -0.25]"));
}

#[tokio::test]
async fn coveo_content() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sku_to_content.csv");
    let file = "product_sku_hash,description_vector,category_hash,image_vector,price_bucket\n\
         sku1,\"[0.5, -0.25]\",a/b,[1],7.0\n\
         sku2,,,,\n\
         sku3,\"[0.5, x]\",,,\n";
    std::fs::write(&path, file).unwrap();
    let content = reco_ingest::DeltaTable::open_local(folder.path().join("content"))
        .await
        .unwrap();
    let dead_letters = MemoryTable::new();
    let report = CoveoContentImport::default()
        .run(&path, now(), &content, &dead_letters, |_| {})
        .await
        .unwrap();
    assert_eq!((report.rows, report.events, report.dead_letters), (3, 2, 1));
    assert_eq!(
        dead_letters.records()[0].reason,
        "column `description_vector`: `x` is no number"
    );

    let window = reco_core::TimeWindow::ALL;
    let scan = reco_core::RawTable::scan(&content, window).await.unwrap();
    let read = crate::shop::collect::<CoveoContent>(scan).await.unwrap();
    let bare = |item: &str| CoveoContent {
        received_at: now(),
        item: item.into(),
        description_vector: None,
        category: None,
        image_vector: None,
        price_bucket: None,
    };
    let full = CoveoContent {
        description_vector: Some(vec![0.5, -0.25]),
        category: Some("a/b".to_owned()),
        image_vector: Some(vec![1.0]),
        price_bucket: Some(7),
        ..bare("sku1")
    };
    assert_eq!(read, [full, bare("sku2")]);
}
