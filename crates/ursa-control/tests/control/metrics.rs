//! What `/metrics` shows.

use reqwest::Method;
use ursa_metrics::CONTROL_PLANE;

use crate::agent::Agent;
use crate::exposition::assert_shows;
use crate::shop::{apply, id, metric, open, request, tracing};

#[tokio::test(flavor = "multi_thread")]
async fn the_catalogue_is_shown_and_nothing_else() {
    let running = open().await;
    apply(&running, &[tracing("all", "{kind: Mesh}", 80)]).await;
    let _agent = Agent::start(&running, &id("cart")).await;
    let shown = request(&running, Method::GET, "/metrics", &[], "").await;
    assert_eq!(shown.headers["content-type"], ursa_metrics::CONTENT_TYPE);
    assert_shows(&shown.text, CONTROL_PLANE, &["instance_id", "zone"]);
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_is_counted_where_it_happens() {
    let running = open().await;
    let delivered = "xds_delivery_seconds_count";
    assert_eq!(metric(&running, delivered, "").await, 0);
    let _agent = Agent::start(&running, &id("cart")).await;
    while metric(&running, delivered, "").await < 6 {}
    assert_eq!(metric(&running, "xds_streams_active", "delta").await, 1);
    assert_eq!(metric(&running, "xds_client_versions", "unknown").await, 1);
    assert_eq!(metric(&running, "xds_proxies_stale", "").await, 0);
    assert_eq!(metric(&running, "xds_generation_seconds_count", r#""changed""#).await, 1);
    assert!(metric(&running, "process_resident_memory_bytes", "").await > 1 << 20);
    assert!(metric(&running, "process_open_fds", "").await > 3);

    let path = "/meshes/default/meshtraces/all";
    let policy = tracing("all", "{kind: Mesh}", 80);
    let put = request(&running, Method::PUT, path, &["if-match: \"7\""], policy).await;
    assert_eq!(put.status, 412, "{}", put.text);
    assert_eq!(metric(&running, "store_conflicts_total", "MeshTrace").await, 1);
    assert!(metric(&running, "store_operation_seconds_count", r#"="get""#).await > 0);
    let writes = r#"operation="write",resource_type="MeshTrace""#;
    assert_eq!(metric(&running, "store_operation_seconds_count", writes).await, 1);

    let made_up = Method::from_bytes(b"BREW").unwrap();
    request(&running, made_up, path, &[], "").await;
    let handler = r#"code="405",handler="/meshes/{mesh}/{plural}/{name}""#;
    let requests = "api_server_http_request_duration_seconds_count";
    assert_eq!(metric(&running, requests, handler).await, 1);
    assert_eq!(metric(&running, requests, r#"method="other""#).await, 1);
    running.shutdown().await;
}
