//! The route that Prometheus scrapes.

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use metrics_exporter_prometheus::PrometheusBuilder;
use reco_core::TimeWindow;
use reco_ingest::{BatchId, DeltaTable, http, metric, metrics_exporter_prometheus};
use tower::ServiceExt as _;

use crate::shop::{events, ids};

async fn get(router: axum::Router, method: Method) -> (StatusCode, String) {
    let request = Request::builder().method(method).uri("/metrics");
    let answer = router
        .oneshot(request.body(Body::empty()).unwrap())
        .await
        .unwrap();
    let status = answer.status();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[test]
fn what_was_counted_is_shown() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let router = http::metrics(recorder.handle());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    metrics::with_local_recorder(&recorder, || {
        metric::describe();
        runtime.block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let table = DeltaTable::open_local(folder.path()).await.unwrap();
            for sequence in [1, 1] {
                let id = BatchId::new("w", sequence).unwrap();
                table.write_batch(&id, events("a", 5)).await.unwrap();
            }
            assert_eq!(ids(&table, TimeWindow::ALL).await.len(), 5);
            let (status, text) = get(router.clone(), Method::GET).await;
            assert_eq!(status, StatusCode::OK);
            let lines = [
                "# HELP reco_ingest_duplicates_total records found in the table already".to_owned(),
                format!(
                    "reco_ingest_duplicates_total{{table=\"{}\"}} 5",
                    table.name()
                ),
                format!(
                    "reco_ingest_commit_seconds_count{{table=\"{}\"}} 1",
                    table.name()
                ),
            ];
            for line in lines {
                assert!(text.contains(&line), "`{line}` is not in:\n{text}");
            }
            let (status, _) = get(router, Method::POST).await;
            assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
        });
    });
}
