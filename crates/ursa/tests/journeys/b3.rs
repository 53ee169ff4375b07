//! Callers that speak B3, at proxies without the module: an Envoy that it is not for, and one that shall not load it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use reqwest::Client;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::collector::{self, Collector};
use crate::mesh::{Mesh, eventually, peer};
use crate::zipkin::Zipkin;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SHORT: &str = "1234567890abcdef";
const SPAN: &str = "b7ad6b7169203331";

/// Whose trace a request belongs to.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Of {
    /// Of [`TRACE`] or [`SHORT`], below [`SPAN`].
    Caller(&'static str),
    /// Of one that begins here.
    Proxy,
}

/// The context that a caller sends (`T`, `t` and `S` stand for ids), whose trace it is then, and whether it is traced.
const CALLERS: [(&str, Of, bool); 17] = [
    ("b3: T-S-1", Of::Caller(TRACE), true),
    ("b3: T-S-1-S", Of::Caller(TRACE), true),
    ("b3: t-S-1", Of::Caller(SHORT), true),
    ("b3: T-S-d", Of::Caller(TRACE), true),
    ("b3: T-S-0", Of::Caller(TRACE), false),
    ("b3: T-S", Of::Caller(TRACE), false),
    ("b3: 0", Of::Proxy, false),
    ("b3: 1", Of::Proxy, true),
    ("x-b3-traceid: T, x-b3-spanid: S, x-b3-sampled: 1", Of::Caller(TRACE), true),
    ("x-b3-traceid: t, x-b3-spanid: S, x-b3-sampled: true", Of::Caller(SHORT), true),
    ("x-b3-traceid: T, x-b3-spanid: S, x-b3-flags: 1", Of::Caller(TRACE), true),
    ("x-b3-traceid: T, x-b3-spanid: S, x-b3-sampled: 0", Of::Caller(TRACE), false),
    ("traceparent: 00-T-S-01, tracestate: v=1", Of::Caller(TRACE), true),
    ("traceparent: 00-T-S-00", Of::Caller(TRACE), false),
    ("b3: t-S-1, traceparent: 00-T-S-00", Of::Caller(SHORT), true),
    ("", Of::Proxy, false),
    ("x-client-trace-id: c", Of::Proxy, true),
];

/// A service that remembers the headers of what it was asked, by path.
struct Service {
    port: u16,
    heard: Arc<Mutex<BTreeMap<String, BTreeMap<String, String>>>>,
    _tasks: JoinSet<()>,
}

impl Service {
    async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard = Arc::<Mutex<BTreeMap<_, _>>>::default();
        let (mut tasks, remember) = (JoinSet::new(), Arc::clone(&heard));
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let remember = Arc::clone(&remember);
                connections.spawn(async move {
                    let mut stream = BufReader::new(stream);
                    let (mut path, mut headers) = (String::new(), BTreeMap::new());
                    let mut line = String::new();
                    while stream.read_line(&mut line).await.is_ok_and(|read| read > 0) {
                        if let Some((name, value)) = line.trim_end().split_once(": ") {
                            headers.insert(name.to_owned(), value.to_owned());
                        } else if let Some(asked) = line.split(' ').nth(1) {
                            path = asked.to_owned();
                        } else {
                            let asked = (std::mem::take(&mut path), std::mem::take(&mut headers));
                            remember.lock().unwrap().extend([asked]);
                            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                            stream.write_all(answer).await.unwrap();
                        }
                        line.clear();
                    }
                });
            }
        });
        Self { port, heard, _tasks: tasks }
    }
}

/// A mesh of one proxy `edge` before that service.
fn mesh(service: &Service, arguments: &[&str]) -> Mesh {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("edge.yaml");
    let dataplane = format!(
        "type: Dataplane\nmesh: default\nname: edge\nnetworking:\n  address: 127.0.0.1\n  inbound:\n  \
         - {{port: 10000, servicePort: {}, tags: {{kuma.io/service: edge, kuma.io/protocol: http}}}}\n",
        service.port
    );
    std::fs::write(&file, dataplane).unwrap();
    Mesh::demo(&[&["-f", &*file.to_string_lossy()], arguments].concat())
}

async fn apply(mesh: &Mesh, backends: &str, rest: &str) {
    let written = mesh.get("/meshes/default/dataplanes/edge/_config").await;
    mesh.apply(&format!(
        "type: MeshTrace\nmesh: default\nname: all\nspec:\n  default:\n    {backends}\n    \
         propagators: [w3c_tracecontext, b3, datadog]\n    tags: [{{name: team, literal: core}}]\n    {rest}\n"
    ));
    eventually("the policy at the proxy", async || {
        let now = mesh.get("/meshes/default/dataplanes/edge/_config").await;
        let state = mesh.ok(&["inspect", "proxy", "edge"]);
        (now != written && !state.contains("not acknowledged")).then_some(())
    })
    .await;
}

/// Sends a request with each context to a path of its own, and waits until all their spans have arrived: those that the
/// Collector has, by path.
async fn send(url: &str, collector: &Collector, client: &Client) -> BTreeMap<String, Value> {
    let ask = async |path: &str, context: &str| {
        let mut request = client.get(format!("{url}{path}"));
        for header in context.split(", ").filter(|header| !header.is_empty()) {
            let (name, value) = header.split_once(": ").unwrap();
            let value = match value {
                "true" => value.to_owned(),
                ids => ids.replace('T', TRACE).replace('t', SHORT).replace('S', SPAN),
            };
            request = request.header(name, value);
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 200, "{context}");
        answer.bytes().await.unwrap();
    };
    for (number, (context, ..)) in CALLERS.iter().enumerate() {
        ask(&format!("/{number}"), context).await;
    }
    // One connection is of one thread, which hands spans over in order.
    let last = format!("/last/{}", collector.spans().len());
    ask(&last, "x-client-trace-id: c").await;
    eventually("the last request's span", async || {
        let mut spans = BTreeMap::new();
        for span in collector.spans() {
            let mut attributes = span["attributes"].as_array()?.iter();
            let path = attributes.find(|one| one["key"] == "url.path")?["value"]["stringValue"]
                .as_str()?;
            let known = spans.insert(path.to_owned(), span.clone());
            assert_eq!(known, None, "one span for each request");
        }
        spans.contains_key(&last).then_some(spans)
    })
    .await
}

#[tokio::test]
async fn without_the_module_b3_is_read_and_written_with_w3cs() {
    let old = peer("URSA_ENVOY_OLDEST", "envoy/1.36.4/envoy").to_string_lossy().into_owned();
    let new = peer("URSA_ENVOY", "envoy/1.40.0/envoy").to_string_lossy().into_owned();
    let ways = [
        (vec!["--envoy", &*old], "the module is for Envoy 1.40, and this is 1.36.4"),
        (vec!["--envoy", &*new, "--no-module", "edge"], "its agent was started with `--no-module`"),
    ];
    for (arguments, why) in ways {
        let service = Service::start().await;
        let mesh = mesh(&service, &arguments);
        let (collector, zipkin) = (Collector::start().await, Zipkin::start().await);
        let backends = |rest: &str| {
            format!("backends: [{{openTelemetry: {{endpoint: '{}'}}}}]{rest}", collector.grpc())
        };
        let too = format!(
            "\n    additionalBackends: [{{zipkin: {{url: '{}', traceId128bit: true}}}}]",
            zipkin.url()
        );
        apply(&mesh, &backends(&too), "sampling: {random: 0, parent: {enabled: true}}").await;
        let shown = mesh.ok(&["inspect", "proxy", "edge"]);
        for words in [
            why,
            "not as `datadog`",
            "B3 is read before `w3c_tracecontext`",
            "by Envoy's Zipkin tracer",
        ] {
            assert!(shown.contains(words), "{words}: {shown}");
        }

        let dataplane = mesh.get("/meshes/default/dataplanes/edge").await;
        let url = format!("http://127.0.0.1:{}", dataplane["networking"]["inbound"][0]["port"]);
        let spans = send(&url, &collector, &Client::new()).await;
        let heard = std::mem::take(&mut *service.heard.lock().unwrap());
        for (number, (context, of, is_traced)) in CALLERS.iter().enumerate() {
            let (path, case) = (format!("/{number}"), format!("{why}: {context}"));
            let headers = &heard[&path];
            let parts: Vec<_> = headers["traceparent"].split('-').collect();
            let [_, trace, span, flags] = parts[..] else { unreachable!("{case}: {headers:?}") };
            let flag = if *is_traced { "1" } else { "0" };
            assert_eq!(flags, format!("0{flag}"), "{case}");
            let short = trace.strip_prefix("0000000000000000").unwrap_or(trace);
            let b3 = &headers["b3"];
            assert!(b3.starts_with(&format!("{short}-{span}-{flag}")), "{case}: {headers:?}");
            let known = spans.get(&path);
            assert_eq!(known.is_some(), *is_traced, "{case}: {known:?}");
            if let Of::Caller(caller) = of {
                assert_eq!(short, *caller, "{case}");
            }
            let Some(known) = known else { continue };
            let parent = if *of == Of::Proxy { "" } else { SPAN };
            assert_eq!(
                (&known["traceId"], &known["spanId"]),
                (&trace.into(), &span.into()),
                "{case}"
            );
            assert_eq!(known["parentSpanId"].as_str().unwrap_or_default(), parent, "{case}");
            assert_eq!((&known["name"], &known["kind"]), (&"GET".into(), &2.into()), "{case}");
            assert_eq!(known["resource"]["service.name"], "edge", "{case}");
            assert!(known["attributes"].to_string().contains("core"), "{case}: {known}");
        }
        let of_it = |(_, of, is_traced): &&(_, Of, bool)| *of == Of::Caller(TRACE) && *is_traced;
        let expected = CALLERS.iter().filter(of_it).count();
        let trace = eventually("the trace at Zipkin", async || {
            let trace = zipkin.get(&format!("/api/v2/trace/{TRACE}")).await?;
            (trace.as_array()?.len() == expected).then_some(trace)
        })
        .await;
        for span in trace.as_array().unwrap() {
            assert_eq!(
                (&span["kind"], &span["parentId"]),
                (&"SERVER".into(), &SPAN.into()),
                "{span}"
            );
            assert_eq!(span["localEndpoint"]["serviceName"], "edge", "{span}");
        }

        // Unless callers are followed, the proxy's own shares count, too: the client's wish alone is left.
        let other = Collector::start().await;
        let backends = format!("backends: [{{openTelemetry: {{endpoint: '{}'}}}}]", other.grpc());
        apply(&mesh, &backends, "sampling: {random: 0}").await;
        let spans = send(&url, &other, &Client::new()).await;
        let paths: Vec<_> = spans.keys().map(String::as_str).collect();
        let asked = CALLERS.iter().position(|(context, ..)| context.contains("client")).unwrap();
        assert_eq!(paths, [&*format!("/{asked}"), "/last/0"], "{why}");
        let filtered = mesh.ok(&["telemetry", "status", "--proxy", "edge"]);
        assert!(filtered.contains("by sampling"), "{filtered}");
    }
}

#[tokio::test]
async fn traces_are_whole_where_one_proxy_has_the_module_and_another_has_not() {
    let mesh = Mesh::demo(&["--rps", "0", "--no-module", "frontend"]);
    let collector = Collector::start().await;
    for name in ["all", "payments"] {
        mesh.ok(&["delete", "meshtrace", name]);
    }
    mesh.apply(&format!(
        "type: MeshTrace\nmesh: default\nname: all\nspec:\n  default:\n    backends: [{{openTelemetry: {{endpoint: '{}'}}}}]\n    \
         propagators: [b3, w3c_tracecontext]\n    tags: [{{name: edition, literal: third}}, {{name: agent, header: {{name: x-gone, default: none}}}}]\n    \
         resourceAttributes: {{deployment.environment.name: test}}\n",
        collector.grpc()
    ));
    eventually("the proxy without the module says so", async || {
        let shown = mesh.ok(&["inspect", "proxy", "frontend"]);
        let says = shown.contains("started with `--no-module`");
        (says && !shown.contains("not acknowledged")).then_some(())
    })
    .await;
    assert!(!mesh.ok(&["inspect", "proxy", "gateway"]).contains("--no-module"));
    let (gateway, client) = (mesh.gateway().await, Client::new());
    let ask =
        async || client.get(format!("{gateway}/")).send().await.unwrap().bytes().await.unwrap();
    eventually("the policy everywhere", async || {
        ask().await;
        let spans = collector.spans();
        ["gateway", "frontend", "catalog"]
            .into_iter()
            .all(|name| spans.iter().any(|span| span["resource"]["service.name"] == name))
            .then_some(())
    })
    .await;
    let since = Timestamp::now();
    for _ in 0..10 {
        ask().await;
    }
    eventually("their spans", async || {
        let spans = collector.spans();
        let of = |span: &&Value| {
            let began =
                span["startTimeUnixNano"].as_str().and_then(|nanos| nanos.parse::<i128>().ok());
            began > Some(since.as_nanosecond())
        };
        (spans.iter().filter(of).count() >= 50).then_some(())
    })
    .await;
    collector::assert_whole_traces(&collector.spans(), since);
}
