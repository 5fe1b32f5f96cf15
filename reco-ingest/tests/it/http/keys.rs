//! Tenants: whose events they are, and how many they may send.

use std::num::NonZeroU32;

use axum::http::{Request, StatusCode};
use reco_ingest::axum;
use reco_ingest::http::{ApiKey, RateConfig, TenantConfig};

use super::{Shop, get, post, send};

fn tenant(id: &str, key: &str, rate: Option<RateConfig>) -> TenantConfig {
    TenantConfig {
        id: id.to_owned(),
        keys: vec![ApiKey(key.to_owned())],
        rate,
    }
}

const EVENT: &str = r#"{"kind":"detail","client":"c","tenant":"b","tenant_id":"b"}"#;

#[tokio::test]
async fn the_key_says_whose_events_they_are() {
    let shop = Shop::default();
    let tenants = [tenant("a", "key-a", None), tenant("b", "key b", None)];
    let router = shop.builder().tenants(tenants).build().unwrap().router();
    let with = |name: &str, value: &str| {
        let request = Request::post("/collect").header(name, value);
        request.body(EVENT.into()).unwrap()
    };
    let requests = [
        with("x-api-key", "key-a"),
        with("authorization", "Bearer key-a"),
        post("/collect?key=key+b", EVENT),
        get("/pixel?cid=c&t=pageview&tid=b&key=key-a"),
    ];
    for request in requests {
        assert!(send(&router, request).await.status.is_success());
    }
    let tenants: Vec<String> = shop
        .events
        .records()
        .into_iter()
        .map(|e| e.tenant)
        .collect();
    assert_eq!(tenants, ["a", "a", "b", "a"]);

    send(&router, post("/collect?key=key-a", "x")).await;
    assert_eq!(shop.dead_letters.records()[0].source, "/collect?tenant=a");
}

#[tokio::test]
async fn without_a_known_key_nothing_is_accepted() {
    let shop = Shop::default();
    let tenants = [tenant("a", "key-a", None)];
    let router = shop.builder().tenants(tenants).build().unwrap().router();
    let requests = [
        post("/collect", EVENT),
        post("/collect?key=key-b", EVENT),
        post("/collect", "x"),
        get("/pixel?cid=c&t=pageview&tid=a"),
    ];
    for request in requests {
        let answer = send(&router, request).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        assert_eq!(answer.body, r#"{"error":"no tenant has this key"}"#);
    }
    assert!(shop.events.records().is_empty() && shop.dead_letters.records().is_empty());
    assert_eq!(send(&router, get("/health")).await.status, 200);
}

#[tokio::test]
async fn without_tenants_anyone_may_send() {
    let shop = Shop::default();
    send(&shop.router(), post("/collect?key=any", EVENT)).await;
    send(&shop.router(), get("/pixel?cid=c&t=pageview&tid=shop")).await;
    let tenants: Vec<String> = shop
        .events
        .records()
        .into_iter()
        .map(|e| e.tenant)
        .collect();
    assert_eq!(tenants, ["", "shop"]);
}

#[tokio::test]
async fn a_rate_counts_events_and_holds_for_one_tenant() {
    let shop = Shop::default();
    let rate = RateConfig {
        events_per_second: NonZeroU32::MIN,
        burst: NonZeroU32::new(1000).unwrap(),
    };
    let tenants = [tenant("a", "a", Some(rate)), tenant("b", "b", None)];
    let router = shop.builder().tenants(tenants).build().unwrap().router();
    let body = |n: usize| format!("{EVENT}\nx\n").repeat(n / 2);
    let answer = send(&router, post("/collect?key=a", body(1002))).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    let accepted = send(&router, post("/collect?key=a", body(1000)))
        .await
        .accepted();
    assert_eq!((accepted.accepted, accepted.dead_lettered), (500, 500));

    let answer = send(&router, post("/collect?key=a", body(1000))).await;
    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
    let seconds: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((900..=1000).contains(&seconds), "{seconds}");
    assert_eq!(shop.events.records().len(), 500);

    let accepted = send(&router, post("/collect?key=b", body(1000)))
        .await
        .accepted();
    assert_eq!(accepted.accepted, 500);
}
