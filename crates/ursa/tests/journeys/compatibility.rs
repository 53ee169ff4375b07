//! Every policy with every backend over every protocol, on the oldest and the newest Envoy. What was seen to arrive is
//! `docs/reference/compatibility.md`; a page that says otherwise is rewritten, and the test fails once, so that the new
//! one gets read and committed.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::access_logs::TcpSink;
use crate::certificates::Authority;
use crate::collector::{Collector, free};
use crate::datadog::TestAgent;
use crate::mesh::{Mesh, peer};
use crate::prometheus::Prometheus;
use crate::rotel::Rotel;
use crate::zipkin::Zipkin;

const ENVOYS: [(&str, &str); 2] = [("URSA_ENVOY_OLDEST", "1.36.4"), ("URSA_ENVOY", "1.40.0")];
/// How long one way may take.
const PATIENCE: Duration = Duration::from_mins(2);
const HEAD: &str = "\
# Compatibility

What arrives where, as a test saw it: for each policy, backend and protocol a request through the demo mesh, and what of it
came to the real backend (what rotel got, to the Collector behind it). Written by `cargo test --package ursa compatibility`.

";

/// One way of telemetry.
struct Way {
    policy: &'static str,
    backend: &'static str,
    protocol: &'static str,
    /// The backend as the policy writes it. Lines have no resource, so they say `MARK`.
    written: String,
    at: At,
}

/// Makes ways of a policy.
fn ways_of(policy: &'static str) -> impl Fn(&'static str, &'static str, String, At) -> Way {
    move |backend, protocol, written, at| Way { policy, backend, protocol, written, at }
}

/// Where it is seen that telemetry arrived.
#[derive(Clone, Copy)]
enum At {
    Collector,
    Zipkin,
    Datadog,
    File,
    Tcp,
    Prometheus,
}

/// The real backends.
struct Peers {
    collector: Collector,
    zipkin: Zipkin,
    datadog: TestAgent,
    tcp: TcpSink,
    rotel: Rotel,
    prometheus: Prometheus,
    file: PathBuf,
    tcp_port: u16,
    /// Where the gateway's agent answers Prometheus.
    metrics_port: u16,
}

impl Peers {
    async fn start(authority: &Authority, folder: &Path) -> Self {
        let (tcp_port, metrics_port) = (free(), free());
        let scrape = format!(
            "scrape_configs: [{{job_name: mesh, scrape_interval: 1s, static_configs: [{{targets: ['127.0.0.1:{metrics_port}']}}]}}]"
        );
        let (collector, zipkin, datadog, tcp, prometheus) = tokio::join!(
            Collector::start_with(free(), free(), Some(authority)),
            Zipkin::start(),
            TestAgent::start(),
            TcpSink::start(tcp_port),
            Prometheus::start(&scrape)
        );
        let rotel = Rotel::start(&collector.http()).await;
        Self {
            collector,
            zipkin,
            datadog,
            tcp,
            rotel,
            prometheus,
            file: folder.join("lines"),
            tcp_port,
            metrics_port,
        }
    }

    /// The ways over OTLP, which every policy has. The backend is written with `more`.
    fn open_telemetry(&self, authority: &Authority, policy: &'static str, more: &str) -> Vec<Way> {
        let (secure_grpc, secure_http) = self.collector.secure();
        let tls = format!("tls: {{ca: '{}'}}", authority.path("ca.crt").display());
        let collector = "OpenTelemetry Collector 0.162.0";
        let rotel = "rotel 0.0.1a15";
        let backends = [
            (collector, "OTLP over gRPC", format!("endpoint: '{}'", self.collector.grpc())),
            (collector, "OTLP over gRPC, TLS", format!("endpoint: '{secure_grpc}', {tls}")),
            (collector, "OTLP over HTTP", format!("endpoint: '{}'", self.collector.http())),
            (collector, "OTLP over HTTP, TLS", format!("endpoint: '{secure_http}', {tls}")),
            (rotel, "OTLP over gRPC", format!("endpoint: '127.0.0.1:{}'", self.rotel.grpc)),
            (rotel, "OTLP over HTTP", format!("endpoint: 'http://127.0.0.1:{}'", self.rotel.http)),
        ];
        let way = ways_of(policy);
        let written = |to: String| format!("openTelemetry: {{{to}{more}}}");
        backends
            .map(|(backend, protocol, to)| way(backend, protocol, written(to), At::Collector))
            .into()
    }

    fn of_traces(&self, authority: &Authority) -> Vec<Way> {
        let way = ways_of("MeshTrace");
        let mut ways = self.open_telemetry(authority, "MeshTrace", "");
        for (version, protocol) in
            [("httpJson", "Zipkin v2, JSON"), ("httpProto", "Zipkin v2, protobuf")]
        {
            let written =
                format!("zipkin: {{url: '{}', apiVersion: {version}}}", self.zipkin.url());
            ways.push(way("Zipkin 3.6.1", protocol, written, At::Zipkin));
        }
        let written = format!("datadog: {{url: 'http://127.0.0.1:{}'}}", self.datadog.port);
        ways.push(way("Datadog APM test agent 1.69.1", "trace agent v0.4", written, At::Datadog));
        ways
    }

    fn of_metrics(&self, authority: &Authority) -> Vec<Way> {
        let way = ways_of("MeshMetric");
        let often = ", refreshInterval: 1s";
        let mut ways = self.open_telemetry(authority, "MeshMetric", often);
        let prometheus = "Prometheus 3.15.0";
        let otlp = format!("openTelemetry: {{endpoint: '{}'{often}}}", self.prometheus.otlp());
        ways.push(way(prometheus, "OTLP over HTTP", otlp, At::Prometheus));
        let asked = format!("prometheus: {{port: {}}}", self.metrics_port);
        ways.push(way(prometheus, "scraped", asked, At::Prometheus));
        ways
    }

    fn of_logs(&self, authority: &Authority) -> Vec<Way> {
        let way = ways_of("MeshAccessLog");
        let mut ways = self.open_telemetry(authority, "MeshAccessLog", "");
        for (format, protocol) in [
            ("{type: Plain, plain: 'MARK %REQ(:PATH)%'}", "lines of text"),
            (
                "{type: Json, json: [{key: mark, value: MARK}, {key: path, value: '%REQ(:PATH)%'}]}",
                "lines of JSON",
            ),
        ] {
            let file = self.file.display();
            ways.push(way(
                "file",
                protocol,
                format!("file: {{path: '{file}', format: {format}}}"),
                At::File,
            ));
            let port = self.tcp_port;
            ways.push(way(
                "TCP sink",
                protocol,
                format!("tcp: {{address: '127.0.0.1:{port}', format: {format}}}"),
                At::Tcp,
            ));
        }
        ways
    }

    /// Whether something marked so arrived.
    async fn has(&self, mark: &str, at: At) -> bool {
        let text = match at {
            At::Collector => self.collector.text(),
            At::Zipkin => {
                let path = format!("/api/v2/traces?limit=10&annotationQuery=mark%3D{mark}");
                self.zipkin.get(&path).await.unwrap_or_default().to_string()
            }
            At::Datadog => serde_json::Value::from(self.datadog.spans().await).to_string(),
            At::File => std::fs::read_to_string(&self.file).unwrap_or_default(),
            At::Tcp => self.tcp.lines().concat(),
            At::Prometheus => {
                let series =
                    self.prometheus.query(&format!("target_info{{mark=\"{mark}\"}}")).await;
                format!("{series:?}")
            }
        };
        text.contains(mark)
    }
}

/// The policy by which the gateway's telemetry goes that way. The agent is told of the mark and of the backend at once, so that
/// nothing so marked goes where the policy before it said.
fn policy(way: &Way, mark: &str) -> String {
    let written = way.written.replace("MARK", mark);
    let settings =
        format!("default: {{backends: [{{{written}}}], resourceAttributes: {{mark: {mark}}}}}");
    let settings =
        if way.policy == "MeshAccessLog" { format!("rules: [{{{settings}}}]") } else { settings };
    format!(
        "type: {}\nmesh: default\nname: gateway\nspec:\n  targetRef: {{kind: MeshService, name: gateway}}\n  {settings}\n",
        way.policy
    )
}

/// Tries those ways at once, one of each policy: which of them telemetry arrived on.
async fn try_out(mesh: &Mesh, peers: &Peers, ways: &[&Way], number: usize) -> Vec<bool> {
    let marks: Vec<_> = ways.iter().map(|way| format!("mark-{}-{number}-", way.policy)).collect();
    let policies: Vec<_> = ways.iter().zip(&marks).map(|(way, mark)| policy(way, mark)).collect();
    mesh.apply(&policies.join("---\n"));
    let gateway = mesh.gateway().await;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = reqwest::get(format!("{gateway}/")).await.expect("the demo answers");
        answer.bytes().await.expect("all of it");
        let mut seen = Vec::new();
        for (way, mark) in ways.iter().zip(&marks) {
            seen.push(peers.has(mark, way.at).await);
        }
        if seen.iter().all(|seen| *seen) || Instant::now() > deadline {
            return seen;
        }
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn compatibility_is_what_was_seen() {
    let mut rows: BTreeMap<(usize, usize), (String, Vec<bool>)> = BTreeMap::new();
    for (variable, version) in ENVOYS {
        let envoy = peer(variable, &format!("envoy/{version}/envoy"));
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new(folder.path());
        authority.issue("server", Duration::from_hours(1));
        let peers = Peers::start(&authority, folder.path()).await;
        let mesh = Mesh::demo(&["--rps", "0", "--envoy", &envoy.to_string_lossy()]);
        for name in ["all", "payments"] {
            mesh.ok(&["delete", "meshtrace", name]);
        }
        let kinds =
            [peers.of_traces(&authority), peers.of_metrics(&authority), peers.of_logs(&authority)];
        let longest = kinds.iter().map(Vec::len).max().unwrap_or_default();
        for number in 0..longest {
            let now: Vec<_> = kinds
                .iter()
                .enumerate()
                .filter_map(|(kind, ways)| Some((kind, ways.get(number)?)))
                .collect();
            let ways: Vec<_> = now.iter().map(|(_, way)| *way).collect();
            let seen = try_out(&mesh, &peers, &ways, number).await;
            for ((kind, way), seen) in now.into_iter().zip(seen) {
                let row = format!("| {} | {} | {} |", way.policy, way.backend, way.protocol);
                rows.entry((kind, number)).or_insert((row, Vec::new())).1.push(seen);
            }
        }
        assert_eq!(peers.datadog.failures().await, None, "{version}");
    }
    let mut page = HEAD.to_owned();
    let envoys = ENVOYS.map(|(_, version)| format!(" Envoy {version} |")).concat();
    write!(page, "| policy | backend | protocol |{envoys}\n|---|---|---|---|---|\n").unwrap();
    for (row, seen) in rows.values() {
        let seen = seen.iter().map(|seen| if *seen { " arrives |" } else { " not seen |" });
        writeln!(page, "{row}{}", seen.collect::<String>()).unwrap();
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/compatibility.md");
    let stale = std::fs::read_to_string(&path).ok().as_deref() != Some(&page);
    if stale {
        std::fs::write(&path, &page).unwrap();
    }
    assert!(
        !stale,
        "docs/reference/compatibility.md was stale and has been rewritten, read and commit it:\n{page}"
    );
}
