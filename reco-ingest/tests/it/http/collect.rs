//! `POST /collect`: JSON in its three forms, and what cannot be read.

use axum::http::Request;
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use reco_core::EventKind;
use reco_ingest::http::{MAX_REASONS, Reason};
use reco_ingest::{axum, metric};

use super::{NOW, Shop, get, post, send};
use crate::fuzz::{Inputs, n_content};

const EVENT: &str = r#"{"id":"e1","kind":"detail","client":"c1","item":"hat","occurred_at":"2024-05-01T11:59:58Z","colour":"red"}"#;

#[tokio::test]
async fn an_event_is_in_the_table_when_it_is_acknowledged() {
    let shop = Shop::default();
    let answer = send(&shop.router(), post("/collect", EVENT)).await;
    assert_eq!(
        answer.body,
        r#"{"accepted":1,"dead_lettered":0,"reasons":[]}"#
    );
    assert_eq!(answer.accepted().accepted, 1);
    let events = shop.events.records();
    assert_eq!(events.len(), 1);
    assert_eq!(
        (events[0].id.as_str(), events[0].kind),
        ("e1", EventKind::Detail)
    );
    assert_eq!(events[0].received_at.to_string(), NOW);
    assert_eq!(events[0].payload, EVENT);
}

#[tokio::test]
async fn the_form_is_seen_from_the_body_and_not_from_its_type() {
    for content_type in ["text/plain", "application/json", "application/octet-stream"] {
        for body in [format!("[{EVENT},{EVENT}]"), format!("{EVENT}\n{EVENT}\n")] {
            let shop = Shop::default();
            let request = Request::post("/collect").header("content-type", content_type);
            let answer = send(&shop.router(), request.body(body.into()).unwrap()).await;
            assert_eq!(answer.accepted().accepted, 2);
            assert_eq!(shop.events.records().len(), 2);
        }
    }
    let shop = Shop::default();
    let request = Request::post("/collect").header("content-type", "Application/X-NDJSON; v=1");
    let body = format!("[{EVENT}]\n{EVENT}\n");
    let answer = send(&shop.router(), request.body(body.into()).unwrap()).await;
    assert_eq!(
        (answer.accepted().accepted, answer.accepted().dead_lettered),
        (1, 1)
    );
}

#[tokio::test]
async fn what_cannot_be_read_is_a_dead_letter_and_its_neighbours_are_accepted() {
    let shop = Shop::default();
    let body = format!("[{EVENT},{{\"kind\":\"add\"}},{EVENT},7]");
    let accepted = send(&shop.router(), post("/collect", body))
        .await
        .accepted();
    assert_eq!((accepted.accepted, accepted.dead_lettered), (2, 2));
    let reason = Reason {
        position: 2,
        reason: "`client` has no value".to_owned(),
    };
    assert_eq!(accepted.reasons[0], reason);
    let letters = shop.dead_letters.records();
    assert_eq!(letters[0].source, "/collect");
    assert_eq!(letters[0].payload, r#"{"kind":"add"}"#);
    assert_eq!(
        (letters[1].position, &letters[1].payload[..]),
        (4, &b"7"[..])
    );
}

#[tokio::test]
async fn reasons_are_bounded() {
    let shop = Shop::default();
    let body = "x\n{}\n".repeat(100);
    let accepted = send(&shop.router(), post("/collect", body))
        .await
        .accepted();
    assert_eq!(
        (accepted.dead_lettered, accepted.reasons.len()),
        (200, MAX_REASONS)
    );
    assert_eq!(shop.dead_letters.records().len(), 200);
}

#[tokio::test]
async fn any_body_is_accepted_or_a_dead_letter() {
    let shop = Shop::default();
    let router = shop.router();
    let (mut n_accepted, mut n_dead, mut n_bytes) = (0, 0, 0);
    for body in Inputs::json(7).take(10_000) {
        n_bytes += n_content(&body);
        let accepted = send(&router, post("/collect", body)).await.accepted();
        assert!(accepted.accepted + accepted.dead_lettered > 0);
        n_accepted += accepted.accepted;
        n_dead += accepted.dead_lettered;
    }
    let (events, letters) = (shop.events.records(), shop.dead_letters.records());
    assert_eq!((events.len(), letters.len()), (n_accepted, n_dead));
    // Both happen often, or this shows nothing.
    assert!(
        n_accepted > 1_000 && n_dead > 1_000,
        "{n_accepted} {n_dead}"
    );
    let events = events.iter().map(|event| n_content(&event.payload));
    let letters = letters.iter().map(|letter| n_content(&letter.payload));
    assert_eq!(events.chain(letters).sum::<usize>(), n_bytes);
}

#[tokio::test]
async fn what_is_acknowledged_is_counted() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let shop = Shop::default();
    let router = shop.builder().body_limit(1000).build().unwrap().router();
    send(&router, post("/collect", format!("[{EVENT},1,{EVENT}]"))).await;
    send(&router, get("/pixel?cid=c&t=pageview")).await;
    send(&router, post("/collect", "x".repeat(1001))).await;
    let mut found: Vec<(String, u64)> = snapshotter
        .snapshot()
        .into_vec()
        .into_iter()
        .map(|(key, _, _, value)| match value {
            DebugValue::Counter(n) => (key.key().name().to_owned(), n),
            other => panic!("{other:?}"),
        })
        .collect();
    found.sort();
    let expected = [
        (metric::ACCEPTED, 3),
        (metric::DEAD_LETTERED, 1),
        (metric::REFUSED, 1),
    ];
    assert_eq!(found, expected.map(|(name, n)| (name.to_owned(), n)));
}
