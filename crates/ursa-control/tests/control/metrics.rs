//! What `/metrics` shows.

use reqwest::Method;
use ursa_control::{Config, ControlPlane};
use ursa_metrics::CONTROL_PLANE;
use ursa_metrics::kuma::ALIASES;

use crate::agent::Agent;
use crate::exposition::assert_shows;
use crate::shop::{apply, config, id, metric, open, request, tracing};

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
    let agent = Agent::start(&running, &id("cart")).await;
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

    let streams = r#"grpc_method="DeltaAggregatedResources""#;
    assert_eq!(metric(&running, "grpc_server_started_total", streams).await, 1);
    assert_eq!(metric(&running, "grpc_server_handled_total", streams).await, 0);
    let (sent, received) = ("grpc_server_msg_sent_total", "grpc_server_msg_received_total");
    assert!(metric(&running, sent, streams).await >= 6);
    assert!(metric(&running, received, streams).await >= metric(&running, sent, streams).await);
    assert_eq!(metric(&running, "grpc_server_started_total", "unknown").await, 0);
    drop(agent);
    while metric(&running, "grpc_server_handled_total", streams).await == 0 {}

    assert_eq!(metric(&running, "resources_count", r#""Dataplane""#).await, 5);
    assert_eq!(metric(&running, "resources_count", r#""MeshTrace""#).await, 0);
    assert!(metric(&running, "component_run_seconds_count", "planner").await > 0);
    assert!(metric(&running, "mesh_cache_total", "miss").await > 0);

    let made_up = Method::from_bytes(b"BREW").unwrap();
    request(&running, made_up, path, &[], "").await;
    let handler = r#"code="405",handler="/meshes/{mesh}/{plural}/{name}""#;
    let requests = "api_server_http_request_duration_seconds_count";
    assert_eq!(metric(&running, requests, handler).await, 1);
    assert_eq!(metric(&running, requests, r#"method="other""#).await, 1);
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn proxies_are_held_against_what_should_hold() {
    let running = open().await;
    let _agents =
        [Agent::start(&running, &id("cart")).await, Agent::start(&running, &id("catalog")).await];
    let compliance = "ursa_cp_compliance_proxies";
    let count = async |check: &str, of: &str| {
        let text = request(&running, Method::GET, "/metrics", &[], "").await.text;
        let (check, of) = (format!("check=\"{check}\""), format!("state=\"{of}\""));
        let line = text.lines().find(|line| {
            line.starts_with(compliance) && line.contains(&check) && line.contains(&of)
        });
        line.unwrap().rsplit(' ').next().unwrap().parse::<u64>().unwrap()
    };
    assert_eq!(
        (count("telemetry_on", "ok").await, count("telemetry_on", "violating").await),
        (0, 2)
    );
    assert_eq!(count("config_acked", "ok").await, 2);
    assert_eq!(count("mtls_strict", "violating").await, 2);
    assert_eq!(count("permission_present", "violating").await, 2);
    assert_eq!(metric(&running, "ursa_cp_services", "disabled").await, 2);
    let hits = metric(&running, "policy_matching_cache_total", "hit").await;
    apply(&running, &[tracing("one", "{kind: Dataplane, name: cart}", 80)]).await;
    assert_eq!(count("telemetry_on", "ok").await, 1);
    assert_eq!(count("config_acked", "ok").await, 1);
    assert_eq!(metric(&running, "policy_matching_cache_total", "hit").await, hits + 1);
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kumas_names_stand_beside_ours_where_they_are_asked_for() {
    let names = async |kuma_names: bool| {
        let config = Config { kuma_names, ..config(None) };
        let running = ControlPlane::start(config).await.expect("it starts");
        request(&running, Method::GET, "/meshes", &[], "").await;
        let text = request(&running, Method::GET, "/metrics", &[], "").await.text;
        running.shutdown().await;
        let typed = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
        typed.map(str::to_owned).collect::<std::collections::BTreeSet<_>>()
    };
    let (ours, both) = (names(false).await, names(true).await);
    let kumas: Vec<_> = both.difference(&ours).map(String::as_str).collect();
    let mut wanted: Vec<_> = ALIASES.iter().map(|alias| alias.name).collect();
    wanted.sort_unstable();
    assert_eq!(kumas, wanted);
}
