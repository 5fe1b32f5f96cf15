//! The collector as a Lambda function: a process of its own, which talks to the runtime API alone.

mod runtime;

use std::path::{Path, PathBuf};

use futures::TryStreamExt;
use reco_core::{Event, RawTable, Record, TimeWindow, Timestamp};
use reco_ingest::http::{Accepted, Collector};
use reco_ingest::{DeadLetter, DeltaTable, lambda_http};
use serde_json::{Value, json};
use tempfile::TempDir;

use runtime::RuntimeApi;

/// The function. Run by the tests below, in a process of its own.
#[tokio::test]
#[ignore = "the child of the other tests"]
async fn function() {
    let folder: PathBuf = std::env::var_os("RECO_LAMBDA_TABLES").unwrap().into();
    let (events, dead_letters) = tables(&folder).await;
    let collector = Collector::per_request(events, dead_letters, Timestamp::now)
        .build()
        .unwrap();
    lambda_http::run(collector.router()).await.unwrap();
}

async fn tables(folder: &Path) -> (DeltaTable<Event>, DeltaTable<DeadLetter>) {
    let events = DeltaTable::open_local(folder.join("events")).await;
    let dead_letters = DeltaTable::open_local(folder.join("dead_letters")).await;
    (events.unwrap(), dead_letters.unwrap())
}

async fn rows<E: Record>(table: &DeltaTable<E>) -> Vec<E> {
    let batches = table.scan(TimeWindow::ALL).await.unwrap();
    let batches: Vec<_> = batches.try_collect().await.unwrap();
    let rows = batches
        .iter()
        .flat_map(|batch| E::from_batch(batch).unwrap());
    rows.collect()
}

/// A request as an HTTP API hands it on (version 2).
fn http_api(request: &str, method: &str, path: &str, query: &str, body: &str) -> Value {
    json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "headers": { "content-type": "text/plain", "host": "shop" },
        "requestContext": {
            "accountId": "1", "apiId": "a", "domainName": "shop", "domainPrefix": "shop",
            "http": {
                "method": method, "path": path, "protocol": "HTTP/1.1",
                "sourceIp": "127.0.0.1", "userAgent": "test",
            },
            "requestId": request, "routeKey": "$default", "stage": "$default",
            "time": "01/May/2024:12:00:00 +0000", "timeEpoch": 1_714_564_800_000_i64,
        },
        "body": body,
        "isBase64Encoded": false,
    })
}

/// A request as a REST API hands it on (version 1), with its body in base 64.
fn rest_api(request: &str, path: &str, base64: &str) -> Value {
    json!({
        "resource": path,
        "path": path,
        "httpMethod": "POST",
        "headers": { "content-type": "application/json", "host": "shop" },
        "multiValueHeaders": { "content-type": ["application/json"], "host": ["shop"] },
        "queryStringParameters": null,
        "multiValueQueryStringParameters": null,
        "pathParameters": null,
        "stageVariables": null,
        "requestContext": {
            "accountId": "1", "apiId": "a", "domainName": "shop", "httpMethod": "POST",
            "identity": { "sourceIp": "127.0.0.1" }, "path": path, "protocol": "HTTP/1.1",
            "requestId": request, "requestTimeEpoch": 1_714_564_800_000_i64,
            "resourceId": "r", "resourcePath": path, "stage": "prod",
        },
        "body": base64,
        "isBase64Encoded": true,
    })
}

fn accepted(answer: &Value) -> Accepted {
    assert_eq!(answer["statusCode"], 202, "{answer}");
    serde_json::from_str(answer["body"].as_str().unwrap()).unwrap()
}

#[tokio::test]
async fn requests_of_both_gateways_are_committed_before_the_answer() {
    let folder = TempDir::new().unwrap();
    let (events, dead_letters) = tables(folder.path()).await;
    let api = RuntimeApi::start().await;
    let _function = api.function(folder.path());

    let body = r#"{"id":"e1","kind":"detail","client":"c1","item":"hat"}"#;
    let request = http_api("r1", "POST", "/collect", "", body);
    assert_eq!(accepted(&api.invoke("i1", &request).await).accepted, 1);
    let landed = rows(&events).await;
    assert_eq!(
        (landed[0].id.as_str(), &landed[0].payload[..]),
        ("e1", body.as_bytes())
    );

    // {"kind":"detail","client":"c2","item":"hat"}
    let base64 = "eyJraW5kIjoiZGV0YWlsIiwiY2xpZW50IjoiYzIiLCJpdGVtIjoiaGF0In0=";
    let request = rest_api("r2", "/collect", base64);
    assert_eq!(accepted(&api.invoke("i2", &request).await).accepted, 1);
    assert_eq!(rows(&events).await[1].client, "c2");

    let request = http_api("r3", "GET", "/pixel", "v=1&t=pageview&cid=c3&z=z3", "");
    let answer = api.invoke("i3", &request).await;
    assert_eq!(answer["statusCode"], 200, "{answer}");
    assert_eq!(answer["isBase64Encoded"], true, "{answer}");
    assert!(answer["body"].as_str().unwrap().starts_with("R0lGODlh"));
    assert_eq!(rows(&events).await[2].client, "c3");

    let request = http_api("r4", "POST", "/collect", "", "neither JSON nor a hit");
    let answer = accepted(&api.invoke("i4", &request).await);
    assert_eq!((answer.accepted, answer.dead_lettered), (0, 1));
    assert_eq!(
        rows(&dead_letters).await[0].payload,
        "neither JSON nor a hit"
    );
}

#[tokio::test]
async fn a_request_that_is_delivered_again_lands_once() {
    let folder = TempDir::new().unwrap();
    let (events, dead_letters) = tables(folder.path()).await;
    let api = RuntimeApi::start().await;
    let mut function = api.function(folder.path());

    // An event without an id, and one that cannot be read.
    let body = "{\"kind\":\"detail\",\"client\":\"c1\"}\nnothing";
    let request = http_api("r1", "POST", "/collect", "", body);
    let first = accepted(&api.invoke("i1", &request).await);
    let landed = rows(&events).await;
    assert_eq!(accepted(&api.invoke("i1", &request).await), first);

    // The function is killed after its commit; nobody knows of its answer.
    function.kill().await.unwrap();
    let _another = api.function(folder.path());
    assert_eq!(accepted(&api.invoke("i1", &request).await), first);
    assert_eq!(rows(&events).await, landed);
    assert_eq!(landed.len(), 1);
    assert_eq!(rows(&dead_letters).await.len(), 1);

    // Another request of the same bytes is another event.
    let request = http_api("r2", "POST", "/collect", "", body);
    accepted(&api.invoke("i2", &request).await);
    let landed = rows(&events).await;
    assert_eq!(landed.len(), 2);
    assert_ne!(landed[0].id, landed[1].id);
}
