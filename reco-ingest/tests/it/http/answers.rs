//! The document of the routes, and that it says what they do; answers to browsers.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use futures::stream;
use reco_core::{Event, EventSink, Receipt, Result, async_trait};
use reco_ingest::http::{ApiKey, OPENAPI, RateConfig, TenantConfig, decode};
use reco_ingest::pixel::{Hit, Product};
use reco_ingest::{DeadLetter, MemoryTable, axum};
use serde_json::Value;

use super::{Shop, builder, get, post, send};

/// A sink that is always full.
#[derive(Debug)]
struct Full;

#[async_trait]
impl EventSink for Full {
    async fn write(&self, _: Vec<Event>) -> Result<Receipt> {
        Err(reco_core::Error::Full {
            sink: "full".to_owned(),
            retry_after: Duration::from_secs(1),
        })
    }

    async fn flush(&self) -> Result<()> {
        Ok(())
    }
}

fn document() -> Value {
    serde_json::from_str(OPENAPI).unwrap()
}

/// The methods, paths and statuses that the document names.
fn documented() -> BTreeSet<(String, String, u16)> {
    let mut found = BTreeSet::new();
    for (path, operations) in document()["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            for status in operation["responses"].as_object().unwrap().keys() {
                let status = status.parse().unwrap();
                found.insert((method.to_uppercase(), path.clone(), status));
            }
        }
    }
    found
}

/// A route, and a body of two events for it.
fn requests(body: impl Fn(&'static str) -> Body) -> Vec<Request<Body>> {
    let event = r#"[{"kind":"detail","client":"c"},{"kind":"detail","client":"c"}]"#;
    vec![
        post("/collect", body(event)),
        post("/pixel", body("cid=c&t=pageview\ncid=c&t=pageview")),
        get("/pixel?cid=c&pa=add&pr1id=a&pr2id=b"),
    ]
}

#[tokio::test]
async fn the_document_names_every_answer_and_no_other() {
    let shop = Shop::default();
    let tenant = |rate: Option<RateConfig>| TenantConfig {
        id: "a".to_owned(),
        keys: vec![ApiKey("k".to_owned())],
        rate,
    };
    let rate = RateConfig {
        events_per_second: NonZeroU32::MIN,
        burst: NonZeroU32::new(1000).unwrap(),
    };
    let broken: Arc<dyn EventSink> = Arc::new(Full);
    let letters: Arc<dyn EventSink<DeadLetter>> = Arc::new(MemoryTable::new());
    let broken = builder(broken, letters).build().unwrap().router();
    let plain = shop.router();
    let keyed = shop.builder().tenants([tenant(None)]).build().unwrap();
    let strict = shop.builder().batch_limit(1).build().unwrap().router();
    let hasty = shop.builder().body_timeout(Duration::from_millis(1));
    let hasty = hasty.build().unwrap().router();
    let rated = shop.builder().tenants([tenant(Some(rate))]);
    let rated = rated.build().unwrap().router();
    let mut cases: Vec<(&Router, Request<Body>)> = Vec::new();
    for request in requests(Body::from) {
        let (mut parts, body) = request.into_parts();
        let uri = parts.uri.to_string();
        let separator = if uri.contains('?') { '&' } else { '?' };
        parts.uri = format!("{uri}{separator}key=k").parse().unwrap();
        cases.push((&rated, Request::from_parts(parts, body)));
    }
    let keyed = keyed.router();
    for router in [&plain, &keyed, &strict, &broken] {
        cases.extend(
            requests(Body::from)
                .into_iter()
                .map(|request| (router, request)),
        );
    }
    let cut = |_| {
        Body::from_stream(stream::iter([Err::<&[u8], _>(std::io::Error::other(
            "cut",
        ))]))
    };
    let late = |_| Body::from_stream(stream::pending::<std::io::Result<&[u8]>>());
    let with_body = |request: &Request<Body>| request.method() == Method::POST;
    cases.extend(
        requests(cut)
            .into_iter()
            .filter(with_body)
            .map(|r| (&plain, r)),
    );
    cases.extend(
        requests(late)
            .into_iter()
            .filter(with_body)
            .map(|r| (&hasty, r)),
    );
    cases.push((&plain, get("/openapi.json")));
    cases.push((&plain, get("/health")));

    // The burst is used up, so that what comes right after it is too fast.
    let many = r#"{"kind":"detail","client":"c"}"#.to_owned() + "\n";
    let burst = post("/collect?key=k", many.repeat(1000));
    assert_eq!(send(&rated, burst).await.status, StatusCode::ACCEPTED);
    let mut found = BTreeSet::new();
    for (router, request) in cases {
        let method = request.method().to_string();
        let path = request.uri().path().to_owned();
        let answer = send(router, request).await;
        let is_later = matches!(answer.status.as_u16(), 429 | 503);
        assert_eq!(
            answer.header("retry-after").is_some(),
            is_later,
            "{answer:?}"
        );
        found.insert((method, path, answer.status.as_u16()));
    }
    assert_eq!(found, documented());
}

#[tokio::test]
async fn the_document_names_every_member_and_key() {
    let document = document();
    let names = |value: &Value| -> BTreeSet<String> {
        value.as_object().unwrap().keys().cloned().collect()
    };
    let schemas = &document["components"]["schemas"];
    let members = decode::MEMBERS.map(ToOwned::to_owned).into();
    assert_eq!(names(&schemas["Event"]["properties"]), members);

    let shop = Shop::default();
    let answer = send(&shop.router(), post("/collect", "x")).await;
    let accepted: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(names(&accepted), names(&schemas["Accepted"]["properties"]));
    assert_eq!(
        names(&accepted["reasons"][0]),
        names(&schemas["Reason"]["properties"])
    );

    let parameters = document["paths"]["/pixel"]["get"]["parameters"]
        .as_array()
        .unwrap();
    let parameters = parameters
        .iter()
        .map(|p| p["name"].as_str().unwrap().to_owned());
    let products = Product::KEYS.iter().map(|suffix| format!("pr1{suffix}"));
    let keys = Hit::KEYS.iter().map(|key| (*key).to_owned());
    let keys = keys.chain(products).chain(["key".to_owned()]);
    assert_eq!(parameters.collect::<BTreeSet<_>>(), keys.collect());
}

#[tokio::test]
async fn the_document_is_served_and_all_it_refers_to_is_in_it() {
    let shop = Shop::default();
    let answer = send(&shop.router(), get("/openapi.json")).await;
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.body, OPENAPI);
    let document = document();
    let references = OPENAPI
        .split("\"#")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap());
    let mut n_references = 0;
    for reference in references {
        assert!(document.pointer(reference).is_some(), "{reference}");
        n_references += 1;
    }
    assert!(n_references > 10);
}

#[tokio::test]
async fn any_origin_may_call() {
    let shop = Shop::default();
    let router = shop.router();
    for path in ["/collect", "/pixel", "/openapi.json", "/health"] {
        let preflight = Request::options(path)
            .header("origin", "https://shop.example")
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "content-type,x-api-key")
            .body(Body::empty())
            .unwrap();
        let answer = send(&router, preflight).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
        assert!(
            answer
                .header("access-control-allow-headers")
                .unwrap()
                .contains("x-api-key")
        );
        assert!(
            answer
                .header("access-control-allow-methods")
                .unwrap()
                .contains("POST")
        );
    }
    // Answers that are no success can be read by the page too.
    let strict = shop.builder().body_limit(1).build().unwrap().router();
    for router in [router, strict] {
        let mut request = post("/collect", "xyz");
        let origin = "https://shop.example".parse().unwrap();
        request.headers_mut().insert("origin", origin);
        let answer = send(&router, request).await;
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    }
}
