//! The proxies that the cases are about.

use std::time::Duration;

use ursa_envoy::abilities::Abilities;
use ursa_envoy::baggage;
use ursa_envoy::module::{Formats, Propagation};
use ursa_envoy::proxy::{
    AccessLog, BackOff, Client, Cluster, ClusterKind, ClusterTimeouts, ConnectionLimits, Direction,
    Endpoint, FailurePercentage, Forward, HeaderChanges, HeaderMatch, HeaderValue, HealthCheck,
    HealthChecks, HostRewrite, HttpListener, HttpTimeouts, Listener, ListenerKind, ListenerTls,
    LogFilter, LogFormat, LogSink, LogValue, LoggedRoutes, MeshTls, Mirror, OutlierDetection,
    PathMatch, PathRewrite, Permission, Permissions, ProxyConfig, QueryMatch, QueryValue,
    RateLimitedBackOff, Redirect, RequestMatch, ResetHeader, Retry, Route, RouteAction,
    RouteConfig, RouteTimeouts, RouteTracing, Sampling, SuccessRate, Tag, TagSource, TcpRoute,
    TextMatch, Tracer, Tracing, UpstreamTls, Verdict, WeightedCluster,
};
use ursa_model::dataplane::Protocol;
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
        ("secured", secured()),
        ("routed", routed()),
        ("resilient", resilient()),
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
        query: vec![],
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
    proxy.clusters.iter_mut().for_each(|cluster| cluster.protocol = Protocol::Grpc);
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
    let of_routes = |routes| {
        let expression = Some("response.code >= 500".to_owned());
        let filter = LogFilter { routes, expression, ..LogFilter::default() };
        AccessLog { sink: json.clone(), filter }
    };
    let logs = vec![
        AccessLog { sink: text("/dev/null", "%PROTOCOL% 100%%"), filter: LogFilter::default() },
        AccessLog { sink: text("/dev/null", &members), filter: LogFilter::default() },
        AccessLog { sink: json.clone(), filter },
        of_routes(LoggedRoutes::Only("checkout".to_owned())),
        of_routes(LoggedRoutes::But(vec!["checkout".to_owned(), "a.b_c-d".to_owned()])),
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

/// Certificates of the mesh, and who may connect; of an HTTP and of a TCP inbound, one of which takes others too.
fn secured() -> ProxyConfig {
    let mut proxy = proxy(
        vec![
            http(Direction::Inbound, 80, "localhost_8080"),
            tcp_listener(Direction::Inbound, 5432, "localhost_5432"),
            http(Direction::Outbound, 10_001, "catalog"),
        ],
        vec![local("localhost_8080", 8080), local("localhost_5432", 5432), eds("catalog", &[])],
    );
    let spiffe = |name: &str| Client::Spiffe(TextMatch::Exact(format!("spiffe://default/{name}")));
    let tags = [("team", "core"), ("version", "2")];
    let tags = tags.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    let rule =
        |name: &str, verdict, clients| Permission { name: name.to_owned(), clients, verdict };
    let permissions = Permissions {
        rules: vec![
            rule("no.debts", Verdict::Deny, vec![spiffe("debts"), Client::Tags(tags)]),
            rule("try", Verdict::AllowWithShadowDeny, vec![spiffe("old")]),
            rule(
                "shop",
                Verdict::Allow,
                vec![Client::All(vec![
                    Client::Spiffe(TextMatch::Prefix("spiffe://default/shop-".to_owned())),
                    Client::Not(Box::new(spiffe("shop-test"))),
                ])],
            ),
            rule("none", Verdict::Allow, vec![]),
            rule(
                "known",
                Verdict::Allow,
                vec![Client::All(vec![
                    Client::Any,
                    Client::ServerName("shop.mesh".to_owned()),
                    Client::Tags([("version".to_owned(), "*".to_owned())].into()),
                ])],
            ),
        ],
    };
    proxy.mesh_tls = Some(MeshTls { trust_domain: "default".to_owned() });
    for (listener, tls) in
        proxy.listeners.iter_mut().zip([ListenerTls::Permissive, ListenerTls::Strict])
    {
        listener.tls = tls;
        listener.permissions = Some(permissions.clone());
    }
    proxy.clusters[2].tls =
        Some(UpstreamTls { sni: "catalog".to_owned(), services: vec!["catalog".to_owned()] });
    proxy
}

/// Every way of a request, and connections by weight.
fn routed() -> ProxyConfig {
    let pairs = |pairs: &[(&str, &str)]| {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        pairs.iter().map(owned).collect()
    };
    let weighted = |name: &str, weight| WeightedCluster { name: name.to_owned(), weight };
    let changes = HeaderChanges {
        set: pairs(&[("x-set", "100 %")]),
        add: pairs(&[("x-add", "1")]),
        remove: vec!["x-gone".to_owned()],
    };
    let query = |name: &str, value| QueryMatch { name: name.to_owned(), value };
    let canary = Route {
        origin: Some("canary".to_owned()),
        counted_as: "canary.0".to_owned(),
        requests: RequestMatch {
            query: vec![
                query("version", QueryValue::Exact("2".to_owned())),
                query("user", QueryValue::Regex("[0-9]+".to_owned())),
            ],
            ..RequestMatch::default()
        },
        action: RouteAction::Forward(Box::new(Forward {
            clusters: vec![weighted("catalog", 90), weighted("catalog:v2", 10), weighted("old", 0)],
            mirrors: vec![Mirror { cluster: "old".to_owned(), share: percent(500_000) }],
            path: None,
            host: Some(HostRewrite::Literal("catalog.example".to_owned())),
            request_headers: changes.clone(),
            response_headers: changes,
        })),
        timeouts: RouteTimeouts {
            request: Some(Duration::from_millis(1500)),
            stream_idle: Some(Duration::from_secs(30)),
        },
        ..Route::to("catalog")
    };
    let at = |path, action| Route {
        requests: RequestMatch { path, ..RequestMatch::default() },
        action,
        ..Route::to("catalog")
    };
    let rewritten = |path, to| {
        let host = Some(HostRewrite::Endpoint);
        let forward = Forward { path: Some(to), host, ..*Forward::to("catalog") };
        at(path, RouteAction::Forward(Box::new(forward)))
    };
    let redirect = |path, status| {
        RouteAction::Redirect(Redirect {
            scheme: Some("https".to_owned()),
            host: Some("shop.example".to_owned()),
            port: Some(8443),
            path,
            status,
        })
    };
    let segments = |path: &str| PathMatch::Segments(path.to_owned());
    let prefix = |path: &str| PathRewrite::Prefix(path.to_owned());
    let full = |path: &str| PathRewrite::Full(path.to_owned());
    let mut proxy = proxy(
        vec![
            http(Direction::Outbound, 10_001, "catalog"),
            tcp_listener(Direction::Outbound, 10_002, "old"),
        ],
        vec![eds("catalog", &[]), eds("catalog:v2", &[]), eds("old", &[])],
    );
    let last = Route::to("catalog");
    // For a part of its requests, whose paths are told apart by a header then.
    let narrowed = |path| {
        let route = rewritten(segments("/shop"), prefix("/"));
        route.narrowed(&RequestMatch { path, ..RequestMatch::default() }).unwrap()
    };
    proxy.http_listeners_mut().for_each(|http| {
        http.routes.routes = vec![
            canary.clone(),
            narrowed(PathMatch::Exact("/shop/a.b-c".to_owned())),
            narrowed(segments("/shop/probes/")),
            narrowed(PathMatch::Regex("/shop/[0-9]+".to_owned())),
            rewritten(segments("/shop"), prefix("/")),
            rewritten(segments("/cart/"), prefix("/basket/")),
            rewritten(PathMatch::Prefix("/api".to_owned()), prefix("/v2")),
            rewritten(PathMatch::Exact("/a".to_owned()), full(r"/b\1")),
            at(segments("/old"), redirect(Some(prefix("/new")), 308)),
            at(segments("/older"), redirect(Some(prefix("/")), 301)),
            at(segments("/gone"), redirect(Some(full("/")), 303)),
            at(segments("/none"), RouteAction::Respond { status: 404 }),
            last.clone(),
        ];
    });
    proxy.listeners[1].kind = ListenerKind::Tcp(TcpRoute {
        clusters: vec![weighted("catalog", 1), weighted("old", 3)],
        idle_timeout: Some(Duration::from_mins(5)),
        max_connect_attempts: Some(3),
    });
    proxy
}

/// Retries, limits, checks and outliers, with everything that there is to say.
fn resilient() -> ProxyConfig {
    let header = |name: &str| HeaderMatch { name: name.to_owned(), value: HeaderValue::Present };
    let second = Duration::from_secs(1);
    let retry = Retry {
        on: ["5xx", "retriable-status-codes", "retriable-headers"].map(str::to_owned).to_vec(),
        statuses: vec![409, 425],
        attempts: 4,
        per_try_timeout: Some(Duration::from_millis(250)),
        back_off: Some(BackOff { base: Duration::from_millis(20), max: Some(second) }),
        rate_limited: Some(RateLimitedBackOff {
            headers: vec![
                ResetHeader { name: "retry-after".to_owned(), is_timestamp: false },
                ResetHeader { name: "x-reset".to_owned(), is_timestamp: true },
            ],
            max: Some(Duration::from_mins(1)),
        }),
        request_headers: vec![header("x-idempotent")],
        response_headers: vec![header("x-again")],
        omit_previous_hosts: true,
        omit_tags: vec![[("version".to_owned(), "v1".to_owned())].into()],
        omit_previous_priorities: Some(2),
        host_selection_attempts: Some(5),
    };
    let outliers = OutlierDetection {
        interval: Some(second),
        base_ejection_time: Some(second),
        max_ejection_percent: Some(50),
        split_external_and_local_errors: true,
        total_failures: Some(5),
        gateway_failures: Some(4),
        local_origin_failures: Some(3),
        success_rate: Some(SuccessRate {
            minimum_hosts: Some(2),
            request_volume: Some(10),
            standard_deviation_thousandths: Some(1900),
        }),
        failure_percentage: Some(FailurePercentage {
            minimum_hosts: Some(2),
            request_volume: Some(10),
            threshold: Some(80),
        }),
    };
    let checks = |check| HealthChecks {
        interval: second,
        timeout: second,
        unhealthy_threshold: 3,
        healthy_threshold: 1,
        initial_jitter: Some(second),
        interval_jitter: Some(second),
        interval_jitter_percent: Some(10),
        unhealthy_interval: Some(second),
        no_traffic_interval: Some(second),
        event_log_path: Some("/dev/null".to_owned()),
        always_log_failures: true,
        reuse_connection: Some(false),
        check,
    };
    let all = [
        HealthCheck::Tcp { send: Some(b"ping".to_vec()), receive: vec![b"pong".to_vec()] },
        HealthCheck::Http {
            path: "/health".to_owned(),
            headers: HeaderChanges {
                add: vec![("x-check".to_owned(), "1".to_owned())],
                ..HeaderChanges::NONE
            },
            expected_statuses: vec![200, 204],
        },
        HealthCheck::Grpc {
            service_name: "shop".to_owned(),
            authority: Some("catalog".to_owned()),
        },
    ];
    let clusters = all.into_iter().zip(["tcp", "http", "grpc"]).map(|(check, name)| Cluster {
        protocol: Protocol::named(name).unwrap(),
        tag_sets: [[("version".to_owned(), "v1".to_owned())].into()].into(),
        timeouts: ClusterTimeouts {
            connect: Duration::from_millis(1500),
            idle: Some(Duration::from_mins(30)),
            max_connection_duration: Some(Duration::from_hours(1)),
            max_stream_duration: Some(second),
        },
        limits: ConnectionLimits {
            connections: Some(2),
            connection_pools: Some(3),
            pending_requests: Some(4),
            requests: Some(5),
            retries: Some(6),
        },
        outliers: Some(outliers.clone()),
        health: Some(checks(check)),
        healthy_panic_threshold: Some(percent(612_500)),
        fail_traffic_on_panic: true,
        ..eds(name, &[(None, "10.0.0.7", 80)])
    });
    let mut proxy = proxy(vec![http(Direction::Outbound, 10_001, "http")], clusters.collect());
    for http in proxy.http_listeners_mut() {
        http.timeouts = HttpTimeouts {
            stream_idle: Duration::ZERO,
            connection_idle: second,
            max_connection_duration: Some(Duration::from_mins(2)),
            max_stream_duration: Some(second),
            request_headers: Some(second),
        };
        http.routes.routes[0].retry = Some(retry.clone());
    }
    proxy
}

/// Traced, with the module's hooks around the tracer.
pub(crate) fn propagating(module: &str) -> ProxyConfig {
    let mut proxy = with_tracing(plain(), &RouteTracing::off());
    for http in proxy.http_listeners_mut() {
        let formats = Formats::parse(b"w3c_tracecontext,b3;ratio=10000").unwrap();
        http.propagation = Some(Propagation::new(module, formats));
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
        mesh_tls: None,
        abilities: Abilities::default(),
        listeners,
        clusters,
        pipeline: PipelineConfig::default(),
    }
}

pub(crate) fn http(direction: Direction, port: u16, cluster: &str) -> Listener {
    let mut listener = tcp_listener(direction, port, cluster);
    let routes = RouteConfig { name: listener.name.clone(), routes: vec![Route::to(cluster)] };
    listener.kind = ListenerKind::Http(HttpListener::new(cluster, direction, routes));
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
        inbound: None,
        kind: ListenerKind::Tcp(TcpRoute::to(cluster)),
        tls: ListenerTls::Off,
        permissions: None,
        access_logs: Vec::new(),
    }
}

pub(crate) fn local(name: &str, port: u16) -> Cluster {
    let kind = ClusterKind::Local { address: "127.0.0.1".to_owned(), port };
    Cluster::new(name, name, kind, Protocol::Http)
}

fn eds(name: &str, endpoints: &[(Option<&str>, &str, u16)]) -> Cluster {
    let endpoint = |(zone, address, port): &(Option<&str>, &str, u16)| Endpoint {
        zone: zone.map(str::to_owned),
        address: (*address).to_owned(),
        port: *port,
        tags: [("version".to_owned(), "v1".to_owned())].into(),
    };
    let endpoints = endpoints.iter().map(endpoint).collect();
    Cluster::new(name, name, ClusterKind::Eds { endpoints }, Protocol::Http)
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
