//! What is measured of a mesh: found by a real Prometheus through the control plane, and sent to another one.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::collector::free;
use crate::mesh::{Mesh, eventually};
use crate::prometheus::{Prometheus, Series};

/// What the demo's proxies are called.
const PROXIES: [&str; 5] = ["gateway", "frontend", "catalog", "cart", "payments"];

/// Queries of the dashboards that find something in a mesh with traffic.
const QUERIES: [&str; 6] = [
    "sum by (mesh,zone,kuma_io_service)(envoy_http_downstream_rq_total{direction=\"inbound\"})",
    "sum by (kuma_io_service,envoy_response_code_class)(envoy_http_downstream_rq_xx_total{direction=\"inbound\"})",
    "sum by (kuma_io_service,destination)(envoy_cluster_upstream_rq_total{direction=\"outbound\"})",
    "count by (kuma_io_service)(envoy_http_downstream_rq_time_bucket{direction=\"inbound\",le=~\"200([.]0)?\"})",
    "sum by (mesh,zone,dataplane,kuma_proxy_role)(envoy_server_live)",
    "sum by (dataplane,process)(ursa_dp_process_resident_memory_bytes)",
];

/// A MeshMetric of each proxy, since all share one address: asked on a port of its own, and sending once a second.
fn policies(otlp: &str) -> String {
    let mut text = String::new();
    for proxy in PROXIES {
        write!(
            text,
            "---\ntype: MeshMetric\nmesh: default\nname: {proxy}\nspec:\n  targetRef: {{kind: Dataplane, name: {proxy}}}\n  default:\n    \
             backends:\n    - prometheus: {{port: {}}}\n    - openTelemetry: {{endpoint: '{otlp}', refreshInterval: 1s}}\n",
            free()
        )
        .unwrap();
    }
    text
}

fn labels(series: &Series) -> BTreeSet<String> {
    series.keys().map(|labels| format!("{labels:?}")).collect()
}

#[tokio::test]
async fn a_query_finds_the_same_whichever_way_metrics_came() {
    let mesh = Mesh::demo(&["--rps", "20"]);
    let scraping = Prometheus::start(&format!(
        "global: {{scrape_interval: 1s}}\nscrape_configs:\n- job_name: mesh\n  http_sd_configs:\n  \
         - {{url: '{}/v1/discovery/prometheus', refresh_interval: 1s}}\n",
        mesh.server
    ))
    .await;
    let receiving = Prometheus::start("{}").await;
    mesh.apply(&policies(&receiving.otlp()));
    for query in QUERIES {
        eventually(query, async || {
            let (asked, sent) = (scraping.query(query).await, receiving.query(query).await);
            let all = PROXIES.iter().all(|proxy| {
                query.contains("destination") || labels(&asked).iter().any(|it| it.contains(proxy))
            });
            let some = asked.values().any(|value| *value > 0.0);
            (all && some && labels(&asked) == labels(&sent)).then_some(())
        })
        .await;
    }
    for proxy in PROXIES {
        mesh.ok(&["delete", "meshmetric", proxy]);
    }
    let up = "sum(up{job=\"mesh\"}) > 0";
    eventually("nobody is asked any more", async || {
        scraping.query(up).await.is_empty().then_some(())
    })
    .await;
}
