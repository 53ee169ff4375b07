//! Trace context by policy, through real Envoys with the module: two proxies, and behind them a service that answers
//! with the headers that it received.

#[path = "../../../../ursa-envoy-module/tests/module/cases.rs"]
mod cases;
mod echo;
mod load;
mod said;
mod sampling;
mod table;
mod without;

use std::collections::BTreeSet;

use serde_json::{Value, json};
use ursa_propagation::{Format, Formats, Header};

use self::cases::List;
use self::echo::{ask, serve};
use crate::collector::free;
use crate::mesh::{Mesh, eventually};
use tokio::task::JoinSet;

/// The mesh: `front` calls `back`, behind which the service is.
pub(crate) struct World {
    mesh: Mesh,
    /// Where the service beside `front` calls `back`.
    through: u16,
    /// Where `back` takes requests.
    direct: u16,
    /// Where the service listens.
    service: u16,
    _service: JoinSet<()>,
}

impl World {
    async fn start(arguments: &[&str]) -> Self {
        let mut task = JoinSet::new();
        let service = serve(&mut task).await;
        let dataplane = |name: &str, outbound: &[Value]| {
            let tags = json!({"kuma.io/service": name, "kuma.io/protocol": "http"});
            let inbound = [json!({"port": free(), "servicePort": service, "tags": tags})];
            let networking =
                json!({"address": "127.0.0.1", "inbound": inbound, "outbound": outbound});
            json!({"type": "Dataplane", "mesh": "default", "name": name, "networking": networking})
                .to_string()
        };
        let to_back = json!({"port": free(), "tags": {"kuma.io/service": "back"}});
        let front = dataplane("front", &[to_back]);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("mesh.yaml");
        std::fs::write(&file, [front, dataplane("back", &[])].join("\n---\n")).unwrap();
        let mesh = Mesh::demo(&[&["-f", &file.to_string_lossy()], arguments].concat());
        // Each has ports of its own.
        let port = async |name: &str, way: &str| {
            let dataplane = mesh.get(&format!("/meshes/default/dataplanes/{name}")).await;
            let port = dataplane["networking"][way][0]["port"].as_u64();
            port.and_then(|port| u16::try_from(port).ok()).unwrap()
        };
        let (through, direct) = (port("front", "outbound").await, port("back", "inbound").await);
        Self { mesh, through, direct, service, _service: task }
    }

    /// Has both proxies propagate as a list of the module's says, and waits until both do.
    async fn propagate(&self, list: &str) {
        let formats = Formats::parse(list.as_bytes()).unwrap();
        // Unlike any list: who still has it can be told.
        self.apply(Formats::parse(b"jaeger").unwrap());
        self.until(&[Format::Jaeger], None).await;
        self.apply(formats);
        let listed: Vec<_> = formats.iter().collect();
        self.until(&listed, listed.first().copied()).await;
    }

    fn apply(&self, formats: Formats) {
        let list: Vec<_> = formats.iter().map(Format::name).collect();
        let mut settings = json!({
            "backends": [{"openTelemetry": {"backendRef": {"kind": "MeshOpenTelemetryBackend", "name": "ursa"}}}],
            "propagators": list,
            "stripUnlisted": formats.strips(),
        });
        if formats.ratio() < 1_000_000 {
            let percent = (formats.ratio() as f64 / 10_000.0).to_string();
            settings["sampling"] = json!({"parent": {"enabled": true, "fallback": percent}});
        }
        let policy = json!({"type": "MeshTrace", "mesh": "default", "name": "all",
            "spec": {"targetRef": {"kind": "Mesh"}, "default": settings}});
        self.mesh.apply(&policy.to_string());
    }

    /// Waits until a request comes out in these formats and no other, on either way, and keeps its trace if it comes in
    /// that format.
    async fn until(&self, listed: &[Format], incoming: Option<Format>) {
        let wanted: BTreeSet<_> =
            listed.iter().filter(|it| **it != Format::W3cBaggage).map(|it| it.name()).collect();
        let request: List = incoming.map(known).unwrap_or_default();
        for port in [self.direct, self.through] {
            eventually(&format!("{wanted:?}, kept"), async || {
                let received = ask(port, &request).await.ok()?;
                let keeps = incoming.is_none_or(|format| {
                    format == Format::W3cBaggage || trace_of(&received, format) == Some(TRACE)
                });
                (formats_of(&received) == wanted && keeps).then_some(())
            })
            .await;
        }
    }
}

/// The low half of the trace that [`known`] is of.
const TRACE: u64 = 0x0102_0304_0506_0708;

/// A request's headers in a format: a trace, a span, sampled.
fn known(format: Format) -> List {
    let (trace, span) = (format!("{TRACE:032x}"), "00000000000000aa");
    let lines: &[(&str, String)] = &match format {
        Format::W3cTracecontext => vec![("traceparent", format!("00-{trace}-{span}-01"))],
        Format::W3cBaggage => vec![],
        Format::B3 => vec![("b3", format!("{trace}-{span}-1"))],
        Format::B3multi => vec![
            ("x-b3-traceid", trace),
            ("x-b3-spanid", span.to_owned()),
            ("x-b3-sampled", "1".to_owned()),
        ],
        Format::Datadog => vec![
            ("x-datadog-trace-id", TRACE.to_string()),
            ("x-datadog-parent-id", "170".to_owned()),
            ("x-datadog-sampling-priority", "1".to_owned()),
        ],
        Format::Xray => vec![(
            "x-amzn-trace-id",
            format!("Root=1-00000000-{TRACE:024x};Parent={span};Sampled=1"),
        )],
        Format::Jaeger => vec![("uber-trace-id", format!("{trace}:{span}:0:1"))],
    };
    lines.iter().map(|(name, value)| ((*name).to_owned(), value.clone().into_bytes())).collect()
}

/// The low half of the trace that headers name in a format.
fn trace_of(received: &List, format: Format) -> Option<u64> {
    let only = Formats::none().with(format)?;
    Some(cases::context(only, received)?.trace.low())
}

/// The formats of traces that headers are in.
fn formats_of(received: &List) -> BTreeSet<&'static str> {
    let headers = received.iter().filter_map(|(name, _)| Header::from_name(name.as_bytes()));
    let of = |header: Header| Format::ALL.into_iter().find(|it| it.headers().contains(&header));
    let formats = headers.filter_map(of).filter(|format| *format != Format::W3cBaggage);
    formats.map(Format::name).collect()
}
