//! `/pixel`: hits in the query and in the body.

use reco_core::EventKind;

use super::{Shop, get, post, send};
use crate::fuzz::{Inputs, n_content};

#[tokio::test]
async fn a_hit_of_the_query_is_answered_with_a_picture() {
    let shop = Shop::default();
    let query = "z=f47ac10b-58cc-4372-a567-0e02b2c3d479&cid=c1&t=event&pa=detail&pr1id=hat";
    let answer = send(&shop.router(), get(&format!("/pixel?{query}"))).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("image/gif"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert!(answer.body.starts_with(b"GIF89a") && answer.body.ends_with(b"\x3b"));
    let events = shop.events.records();
    assert_eq!(events.len(), 1);
    assert_eq!(
        (events[0].kind, events[0].client.as_str()),
        (EventKind::Detail, "c1")
    );
    assert_eq!(events[0].payload, query);
}

#[tokio::test]
async fn a_beacon_holds_hits_line_by_line() {
    let shop = Shop::default();
    let body = "cid=a&t=pageview\n\nt=pageview\r\ncid=b&t=event&pa=purchase&pr1id=hat&pr2id=shoe";
    let answer = send(&shop.router(), post("/pixel?v=1", body)).await;
    assert_eq!(answer.status, 200);
    let clients: Vec<String> = shop
        .events
        .records()
        .into_iter()
        .map(|e| e.client)
        .collect();
    assert_eq!(clients, ["a", "b", "b"]);
    let letters = shop.dead_letters.records();
    assert_eq!(
        (letters[0].position, &letters[0].payload[..]),
        (3, &b"t=pageview"[..])
    );
    assert_eq!(letters[0].source, "/pixel");
    assert_eq!(letters[0].reason, "key `cid` of the hit: it has no value");
}

#[tokio::test]
async fn a_post_without_a_body_means_its_query() {
    let shop = Shop::default();
    send(&shop.router(), post("/pixel?cid=c&t=pageview", "")).await;
    send(&shop.router(), post("/pixel", "")).await;
    assert_eq!(shop.events.records()[0].payload, "cid=c&t=pageview");
    assert_eq!(shop.dead_letters.records()[0].reason, "there is no hit");
}

#[tokio::test]
async fn any_body_is_answered_with_a_picture() {
    let shop = Shop::default();
    let router = shop.router();
    let mut n_bytes = 0;
    for body in Inputs::pixel(11).take(5_000) {
        n_bytes += n_content(&body);
        assert_eq!(send(&router, post("/pixel", body)).await.status, 200);
    }
    let (events, letters) = (shop.events.records(), shop.dead_letters.records());
    assert!(
        events.len() > 500 && letters.len() > 500,
        "{} {}",
        events.len(),
        letters.len()
    );
    let events = events.iter().map(|event| n_content(&event.payload));
    let letters = letters.iter().map(|letter| n_content(&letter.payload));
    assert_eq!(events.chain(letters).sum::<usize>(), n_bytes);
}
