//! A proxy of another mesh: Envoy with its Zipkin tracer, which speaks B3 in several headers, before and behind ours.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::collector::free;
use crate::mesh::peer;

/// A running one; killed with this.
pub(crate) struct Envoy {
    process: Child,
    /// Where it takes requests into our mesh, by their first folder: with ids of 64 and of 128 bits.
    pub(crate) out: [u16; 2],
    _folder: TempDir,
}

/// The names of its spans' services.
pub(crate) const SERVICE: &str = "envoy";

impl Envoy {
    /// Starts it: what comes in at `inbound` is for the service at `service`; what goes out is for our mesh, at a port for
    /// each first folder of a path.
    pub(crate) fn start(inbound: u16, service: u16, out: &[(&str, u16)], zipkin: u16) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ports = [free(), free()];
        let mut clusters = vec![cluster("spans", zipkin), cluster("service", service)];
        clusters.extend(out.iter().map(|(name, port)| cluster(name, *port)));
        let routes: Vec<_> = out.iter().map(|(name, _)| (format!("/{name}"), *name)).collect();
        let inward = vec![("/".to_owned(), "service")];
        let listeners = [
            listener(inbound, "INBOUND", &inward, false),
            listener(ports[0], "OUTBOUND", &routes, false),
            listener(ports[1], "OUTBOUND", &routes, true),
        ];
        let config = json!({
            "node": {"id": SERVICE, "cluster": SERVICE},
            "static_resources": {"listeners": listeners, "clusters": clusters},
        });
        let file = folder.path().join("envoy.json");
        std::fs::write(&file, config.to_string()).unwrap();
        let process = run(&file);
        Self { process, out: ports, _folder: folder }
    }
}

fn run(file: &Path) -> Child {
    Command::new(peer("URSA_ENVOY", "envoy/1.40.0/envoy"))
        .args(["--disable-hot-restart", "--concurrency", "1", "-l", "error", "-c"])
        .arg(file)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("Envoy can be run")
}

impl Drop for Envoy {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn typed(kind: &str, mut value: Value) -> Value {
    value["@type"] = json!(format!("type.googleapis.com/envoy.{kind}"));
    value
}

fn address(port: u16) -> Value {
    json!({"socket_address": {"address": "127.0.0.1", "port_value": port}})
}

fn cluster(name: &str, port: u16) -> Value {
    json!({"name": name, "type": "STATIC", "load_assignment": {"cluster_name": name,
        "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(port)}}]}]}})
}

fn listener(port: u16, direction: &str, routes: &[(String, &str)], wide: bool) -> Value {
    let routes: Vec<_> = routes
        .iter()
        .map(|(path, to)| json!({"match": {"prefix": path}, "route": {"cluster": to}}))
        .collect();
    let tracer = typed(
        "config.trace.v3.ZipkinConfig",
        json!({"collector_cluster": "spans", "collector_endpoint": "/api/v2/spans",
            "collector_endpoint_version": "HTTP_JSON", "trace_id_128bit": wide}),
    );
    let manager = typed(
        "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        json!({
            "stat_prefix": "http",
            "tracing": {"provider": {"name": "envoy.tracers.zipkin", "typed_config": tracer}},
            "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
            "http_filters": [{"name": "router", "typed_config": typed("extensions.filters.http.router.v3.Router", json!({}))}],
        }),
    );
    json!({"name": port.to_string(), "address": address(port), "traffic_direction": direction,
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}]})
}
