//! The collector behind a socket, with a Delta table behind it.

use std::sync::Arc;

use reco_core::{Event, RawTable, TimeWindow, Timestamp};
use reco_ingest::{DeadLetter, DeltaTable, axum, http};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::shop::collect;

#[tokio::test]
async fn what_clients_were_told_is_in_the_table_after_shutdown() {
    let folder = tempfile::tempdir().unwrap();
    let events = DeltaTable::<Event>::open_local(folder.path().join("events"));
    let events = events.await.unwrap();
    let letters = DeltaTable::<DeadLetter>::open_local(folder.path().join("letters"));
    let letters = letters.await.unwrap();
    let now: Timestamp = super::NOW.parse().unwrap();
    let router = http::collect(
        Arc::new(events.clone()),
        Arc::new(letters.clone()),
        move || now,
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/shop", listener.local_addr().unwrap());
    let (stop, stopped) = oneshot::channel::<()>();
    let app = axum::Router::new().nest("/shop", router);
    let server = axum::serve(listener, app).with_graceful_shutdown(async {
        drop(stopped.await);
    });
    let server = tokio::spawn(server.into_future());

    let client = reqwest::Client::new();
    let posts = (0..8).map(|i| {
        let body = format!(r#"{{"id":"e{i}","kind":"detail","client":"c"}}"#);
        client.post(format!("{url}/collect")).body(body).send()
    });
    for response in futures::future::join_all(posts).await {
        assert_eq!(response.unwrap().status(), 202);
    }
    let hit = client.get(format!("{url}/pixel?t=pageview")).send();
    assert_eq!(hit.await.unwrap().status(), 200);
    drop(client);
    drop(stop);
    server.await.unwrap().unwrap();

    let found = collect::<Event>(events.scan(TimeWindow::ALL).await.unwrap()).await;
    let mut ids: Vec<String> = found.unwrap().into_iter().map(|event| event.id).collect();
    ids.sort();
    assert_eq!(ids, ["e0", "e1", "e2", "e3", "e4", "e5", "e6", "e7"]);
    let found = collect::<DeadLetter>(letters.scan(TimeWindow::ALL).await.unwrap()).await;
    assert_eq!(found.unwrap()[0].payload, "t=pageview");
}
