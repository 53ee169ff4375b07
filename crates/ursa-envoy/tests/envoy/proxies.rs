//! The proxies that the cases are about.

use std::time::Duration;

use ursa_envoy::abilities::Abilities;
use ursa_envoy::baggage;
use ursa_envoy::module::Propagation;
use ursa_envoy::proxy::{
    AccessLog, Cluster, ClusterKind, Direction, Endpoint, HeaderMatch, HeaderValue, HttpListener,
    Listener, ListenerKind, LogFilter, LogFormat, LogSink, LogValue, PathMatch, ProxyConfig,
    RequestMatch, Route, RouteConfig, RouteTracing, Sampling, Tag, TagSource, Tracer, Tracing,
};
use ursa_model::key::ProxyId;
use ursa_model::percent::Percent;
use ursa_model::pipeline::PipelineConfig;

/// Every case by name.
pub(crate) fn all() -> Vec<(&'static str, ProxyConfig)> {
    vec![
        ("plain", plain()),
        ("traced", traced()),
        ("sampling_nothing", sampling_nothing()),
        ("decided", decided()),
        ("grpc", grpc()),
        ("tcp", tcp()),
        ("gateway", gateway()),
        ("access_logs", access_logs()),
        ("propagating", propagating("/run/ursa/libursa-envoy-module.so")),
        ("without_module", without_module(true, true)),
        ("without_module_b3multi", without_module(false, false)),
    ]
}

/// One HTTP inbound, one outbound with two endpoints, no tracing.
pub(crate) fn plain() -> ProxyConfig {
    let catalog = [("10.0.0.7", 80), ("10.0.0.6", 80)];
    proxy(
        vec![
            http(Direction::Inbound, 80, "localhost_8080"),
            http(Direction::Outbound, 10_001, "catalog"),
        ],
        vec![local("localhost_8080", 8080), eds("catalog", &catalog.map(|e| (None, e.0, e.1)))],
    )
}

/// The same, traced, with every kind of tag.
pub(crate) fn traced() -> ProxyConfig {
    let sampling =
        Sampling { overall: percent(800_000), client: Percent::HUNDRED, random: percent(125_000) };
    let tags = vec![
        tag("team", TagSource::Literal("core".to_owned())),
        tag(
            "env",
            TagSource::Header { name: "x-env".to_owned(), default: Some("prod".to_owned()) },
        ),
        tag("tenant", TagSource::Header { name: "x-tenant".to_owned(), default: None }),
        tag("host", TagSource::Header { name: ":authority".to_owned(), default: None }),
    ];
    with_tracing(plain(), &RouteTracing { sampling, tags })
}

/// A tracer whose routes sample nothing.
fn sampling_nothing() -> ProxyConfig {
    with_tracing(plain(), &RouteTracing::off())
}

/// Routes that decide for some requests, by everything that there is to tell requests apart.
fn decided() -> ProxyConfig {
    let header = |name: &str, value| HeaderMatch { name: name.to_owned(), value };
    let path = |path| RequestMatch { path, ..RequestMatch::default() };
    let everything = RequestMatch {
        // Larger than Envoy takes by itself.
        path: PathMatch::Regex("/(orders|carts)/[0-9a-f]{32}-[^/]{1,64}/items(/.*)?".to_owned()),
        method: Some("POST".to_owned()),
        headers: vec![
            header("x-there", HeaderValue::Present),
            header("x-gone", HeaderValue::Absent),
            header("x-exact", HeaderValue::Exact("1".to_owned())),
            header("x-prefix", HeaderValue::Prefix("kube-probe/".to_owned())),
            header("traceparent", HeaderValue::Regex(".*-[0-9a-f][13579bdf]".to_owned())),
        ],
    };
    let decisions = [
        everything,
        path(PathMatch::Exact("/metrics".to_owned())),
        path(PathMatch::Segments("/api/".to_owned())),
        path(PathMatch::Segments("/".to_owned())),
    ];
    let mut proxy = traced();
    for http in proxy.http_listeners_mut() {
        let all = http.routes.routes[0].clone();
        let route = |requests| Route { requests, tracing: RouteTracing::off(), ..all.clone() };
        let routes = decisions.iter().cloned().map(route);
        http.routes.routes = routes.chain([all.clone()]).collect();
    }
    proxy
}

fn grpc() -> ProxyConfig {
    let mut proxy = traced();
    proxy.clusters.iter_mut().for_each(|cluster| cluster.http2 = true);
    proxy
}

fn tcp() -> ProxyConfig {
    proxy(
        vec![
            tcp_listener(Direction::Inbound, 5432, "localhost_5432"),
            tcp_listener(Direction::Outbound, 10_002, "redis.cache"),
        ],
        vec![local("localhost_5432", 5432), eds("redis.cache", &[(None, "10.0.0.9", 6379)])],
    )
}

/// Nothing comes in through the mesh; endpoints in two zones, of both address families, and a
/// service without any.
fn gateway() -> ProxyConfig {
    let frontend = [
        (Some("west"), "fd00::5", 80),
        (Some("east"), "10.0.0.5", 80),
        (Some("east"), "10.0.0.4", 80),
    ];
    let proxy = proxy(
        vec![
            http(Direction::Outbound, 10_001, "frontend.shop"),
            http(Direction::Outbound, 10_002, "admin"),
        ],
        vec![eds("frontend.shop", &frontend), eds("admin", &[])],
    );
    with_tracing(proxy, &RouteTracing { sampling: Sampling::ALL, tags: vec![] })
}

/// Requests of an HTTP and of a TCP listener are written down, in every way and with every filter.
fn access_logs() -> ProxyConfig {
    let text = |path: &str, line: &str| LogSink::File {
        path: path.to_owned(),
        format: LogFormat::Text(format!("{line}\n")),
    };
    let json = LogSink::File {
        path: "/dev/null".to_owned(),
        format: LogFormat::Json {
            fields: vec![("code".to_owned(), "%RESPONSE_CODE%".to_owned())],
            omit_empty: true,
        },
    };
    let line = |text: &str| LogValue::Text(text.to_owned());
    let agent = LogSink::Agent {
        channel: "all+spec.to-0.default.backends-0".to_owned(),
        body: Some(LogValue::Map(vec![
            ("path".to_owned(), line("%REQ(:PATH)%")),
            ("flags".to_owned(), LogValue::List(vec![line("%RESPONSE_FLAGS%"), line("50%%")])),
        ])),
        attributes: vec![("url.path".to_owned(), "%PATH(NQ:ORIG_OR_PATH)%".to_owned())],
    };
    let header =
        |name: &str, value: HeaderValue| Some(HeaderMatch { name: name.to_owned(), value });
    let filter = LogFilter {
        status_from: Some(400),
        status_to: Some(499),
        at_least: Some(Duration::from_secs(1)),
        shorter_than: Some(Duration::from_mins(1)),
        flags: vec!["UF".to_owned(), "NR".to_owned()],
        header: header("x-env", HeaderValue::Prefix("prod".to_owned())),
        expression: Some("response.code >= 500 || request.path.startsWith('/pay')".to_owned()),
        sample: percent(125_000),
        ..LogFilter::default()
    };
    let any_flag = LogFilter {
        any_flag: true,
        header: header("x-env", HeaderValue::Absent),
        ..LogFilter::default()
    };
    let members = ["tenant.id", "a!#$&'*+-^_`|~%"].map(|name| baggage::command(name, None));
    let members = members.map(|command| command.to_string()).concat();
    let logs = vec![
        AccessLog { sink: text("/dev/null", "%PROTOCOL% 100%%"), filter: LogFilter::default() },
        AccessLog { sink: text("/dev/null", &members), filter: LogFilter::default() },
        AccessLog { sink: json, filter },
        AccessLog { sink: agent, filter: any_flag },
    ];
    let mut proxy = proxy(
        vec![
            http(Direction::Inbound, 80, "localhost_8080"),
            tcp_listener(Direction::Outbound, 10_002, "redis"),
        ],
        vec![local("localhost_8080", 8080), eds("redis", &[])],
    );
    for listener in &mut proxy.listeners {
        listener.access_logs.clone_from(&logs);
    }
    proxy
}

/// Traced, with the module's hooks around the tracer.
pub(crate) fn propagating(module: &str) -> ProxyConfig {
    let mut proxy = with_tracing(plain(), &RouteTracing::off());
    for http in proxy.http_listeners_mut() {
        http.propagation = Some(Propagation {
            module: module.to_owned(),
            formats: "w3c_tracecontext,b3;ratio=10000".to_owned(),
        });
    }
    proxy
}

/// Traced by Zipkin's tracer, for B3 without the module.
pub(crate) fn without_module(w3c: bool, single: bool) -> ProxyConfig {
    let mut proxy = with_tracing(plain(), &RouteTracing::off());
    for http in proxy.http_listeners_mut() {
        let tracing = http.tracing.as_mut().unwrap();
        tracing.tracer = Tracer::Zipkin { w3c, single };
    }
    proxy
}

/// `proxy` with a tracer on every HTTP listener and `tracing` on every route.
pub(crate) fn with_tracing(mut proxy: ProxyConfig, tracing: &RouteTracing) -> ProxyConfig {
    let service_name = proxy.service.clone();
    for http in proxy.http_listeners_mut() {
        http.tracing =
            Some(Tracing { service_name: service_name.clone(), tracer: Tracer::default() });
        http.routes.routes.iter_mut().for_each(|route| route.tracing = tracing.clone());
    }
    proxy
}

pub(crate) fn proxy(listeners: Vec<Listener>, clusters: Vec<Cluster>) -> ProxyConfig {
    ProxyConfig {
        id: ProxyId::new("default", "frontend-1"),
        service: "frontend".to_owned(),
        address: "127.0.0.1".to_owned(),
        abilities: Abilities::default(),
        listeners,
        clusters,
        pipeline: PipelineConfig::default(),
    }
}

pub(crate) fn http(direction: Direction, port: u16, cluster: &str) -> Listener {
    let mut listener = tcp_listener(direction, port, cluster);
    listener.kind = ListenerKind::Http(HttpListener {
        stat_prefix: cluster.to_owned(),
        tracing: None,
        propagation: None,
        routes: RouteConfig {
            name: listener.name.clone(),
            routes: vec![Route {
                requests: RequestMatch::default(),
                cluster: cluster.to_owned(),
                tracing: RouteTracing::off(),
            }],
        },
    });
    listener
}

fn tcp_listener(direction: Direction, port: u16, cluster: &str) -> Listener {
    let word = if direction == Direction::Inbound { "inbound" } else { "outbound" };
    Listener {
        name: format!("{word}:127.0.0.1:{port}"),
        direction,
        address: "127.0.0.1".to_owned(),
        port,
        destination: cluster.to_owned(),
        kind: ListenerKind::Tcp { cluster: cluster.to_owned() },
        access_logs: Vec::new(),
    }
}

pub(crate) fn local(name: &str, port: u16) -> Cluster {
    let kind = ClusterKind::Local { address: "127.0.0.1".to_owned(), port };
    Cluster { name: name.to_owned(), kind, http2: false }
}

fn eds(name: &str, endpoints: &[(Option<&str>, &str, u16)]) -> Cluster {
    let endpoint = |(zone, address, port): &(Option<&str>, &str, u16)| Endpoint {
        zone: zone.map(str::to_owned),
        address: (*address).to_owned(),
        port: *port,
    };
    let endpoints = endpoints.iter().map(endpoint).collect();
    Cluster { name: name.to_owned(), kind: ClusterKind::Eds { endpoints }, http2: false }
}

pub(crate) fn tag(name: &str, source: TagSource) -> Tag {
    Tag { name: name.to_owned(), source }
}

fn percent(millionths: u32) -> Percent {
    Percent::from_millionths(millionths).unwrap()
}

/// [`traced`] with other sampling and without tags.
pub(crate) fn gentler() -> ProxyConfig {
    with_tracing(traced(), &RouteTracing { sampling: Sampling::ALL, tags: vec![] })
}
