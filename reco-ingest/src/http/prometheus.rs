//! The route that Prometheus scrapes.

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;

// The text format, as Prometheus' documentation of exposition formats names it.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// `GET /metrics`: what a recorder of the host has counted, in Prometheus' text format.
///
/// The names are those of [`metric`](crate::metric), and whatever else the host counts by the `metrics`
/// facade. The host makes the recorder, installs it, and gives its handle.
///
/// The recorder keeps the values of histograms until somebody asks: a host that is not scraped calls
/// [`PrometheusHandle::run_upkeep`] now and then.
///
/// # Examples
///
/// ```
/// use metrics_exporter_prometheus::PrometheusBuilder;
///
/// let recorder = PrometheusBuilder::new().build_recorder();
/// let router: axum::Router = reco_ingest::http::metrics(recorder.handle());
/// # drop(router);
/// ```
pub fn metrics(handle: PrometheusHandle) -> Router {
    let scrape = async move || ([(CONTENT_TYPE, TEXT_FORMAT)], handle.render());
    Router::new().route("/metrics", get(scrape))
}
