//! What is said of a request's trace context and baggage, before it is sent, is what Envoy does.

use serde_json::{Value, json};
use ursa_propagation::{Decision, Format, Headers, read};

use super::cases::List;
use super::echo::ask_for;
use super::{TRACE, World, known, trace_of};
use crate::mesh::eventually;

/// A proxy, of which `front` has no module; a path, the headers, what is said, and what comes out of it: whether the trace goes on,
/// the decision, and headers.
struct Row {
    proxy: &'static str,
    path: &'static str,
    headers: List,
    said: &'static [&'static str],
    keeps: bool,
    decision: Decision,
    out: &'static [(&'static str, &'static str)],
}

const BAGGAGE: &str = "a=1,secret=2,private=3";

fn rows() -> Vec<Row> {
    use Decision::{Accept, Deny};
    let w3c = || known(Format::W3cTracecontext);
    let b3 = || known(Format::B3);
    let other = |list: List| -> List {
        let text = |value: Vec<u8>| String::from_utf8(value).unwrap().replace("00aa-01", "00ab-01");
        list.into_iter().map(|(name, value)| (name, text(value).into_bytes())).collect()
    };
    let header =
        |name: &str, value: &str| -> List { vec![(name.to_owned(), value.as_bytes().to_vec())] };
    let datadog = || {
        let mut list = known(Format::Datadog);
        list.retain(|(name, _)| name != "x-datadog-sampling-priority");
        let more = [("x-datadog-sampling-priority", "2"), ("x-datadog-origin", "rum")];
        list.extend(more.iter().flat_map(|(name, value)| header(name, value)));
        list
    };
    let row = |proxy, headers, said, keeps, decision, out| Row {
        proxy,
        path: "/",
        headers,
        said,
        keeps,
        decision,
        out,
    };
    let not: &[&str] = &[
        "says that a trace is not to be recorded, and names none: the one that begins here is not",
        "what goes on says not recorded",
    ];

    vec![
        row(
            "back",
            [w3c(), other(w3c())].concat(),
            &["is there more than once, so none of it counts"],
            false,
            Accept,
            &[],
        ),
        row(
            "front",
            [w3c(), other(w3c())].concat(),
            &["counts, the first line of it"],
            true,
            Accept,
            &[],
        ),
        row("back", header("b3", "0"), not, false, Deny, &[]),
        row("front", header("b3", "0"), not, false, Deny, &[]),
        row(
            "back",
            [w3c(), datadog()].concat(),
            &["of the same trace, which keeps its priority, origin"],
            true,
            Accept,
            &[("x-datadog-sampling-priority", "2"), ("x-datadog-origin", "rum")],
        ),
        row(
            "front",
            [w3c(), datadog()].concat(),
            &["in the list, but not read without the module: it passes as it is"],
            true,
            Accept,
            &[("x-datadog-sampling-priority", "2"), ("x-datadog-parent-id", "170")],
        ),
        Row {
            path: "/healthz",
            ..row("back", b3(), &["`b3` counts", "what goes on says not recorded"], true, Deny, &[])
        },
        Row {
            path: "/healthz",
            ..row(
                "front",
                b3(),
                &["`b3` counts", "what goes on says recorded, as the caller did"],
                true,
                Accept,
                &[],
            )
        },
        row(
            "back",
            header("baggage", BAGGAGE),
            &[
                "`secret` may not come in",
                "`team=core` set",
                "goes on as `a=1,private=3,team=core`",
            ],
            false,
            Accept,
            &[("baggage", "a=1,private=3,team=core")],
        ),
        row(
            "front",
            header("baggage", BAGGAGE),
            &[
                "the rules for it are not kept to: its agent was started with `--no-module`",
                "passes as it is",
            ],
            false,
            Accept,
            &[("baggage", BAGGAGE)],
        ),
    ]
}

impl Row {
    fn explained(&self, world: &World) -> Value {
        let headers: Vec<_> = self
            .headers
            .iter()
            .flat_map(|(name, value)| {
                ["-H".to_owned(), format!("{name}: {}", String::from_utf8_lossy(value))]
            })
            .collect();
        let mut arguments =
            vec!["explain", "request", self.proxy, "-o", "json", "--path", self.path];
        arguments.extend(headers.iter().map(String::as_str));
        let text = world.mesh.ok(&arguments);
        serde_json::from_str::<Value>(&text).unwrap()["listeners"][0].clone()
    }

    /// Whether that came out.
    fn came_out(&self, received: &List) -> bool {
        let headers: Headers<'_> =
            received.iter().map(|(name, value)| (name.as_bytes(), value.as_slice())).collect();
        let decision = read(Format::W3cTracecontext, &headers).map(|parsed| parsed.decision);
        let keeps = trace_of(received, Format::W3cTracecontext) == Some(TRACE);
        let has = |(name, value): &(&str, &str)| {
            received.iter().any(|(own, is)| own == name && is == value.as_bytes())
        };
        keeps == self.keeps && decision == Some(self.decision) && self.out.iter().all(has)
    }
}

#[tokio::test]
async fn what_is_said_of_a_requests_context_is_what_envoy_does() {
    let world = World::start(&["--no-module", "front"]).await;
    let policy = json!({"type": "MeshTrace", "mesh": "default", "name": "all", "spec": {"default": {
        "backends": [{"openTelemetry": {"backendRef": {"kind": "MeshOpenTelemetryBackend", "name": "ursa"}}}],
        "propagators": ["w3c_tracecontext", "datadog", "b3", "w3c_baggage"],
        "baggage": {
            "set": [{"name": "team", "literal": "core"}],
            "incoming": {"deny": ["secret"]}, "outgoing": {"deny": ["private"]},
        },
    }}});
    world.mesh.apply(&policy.to_string());
    let front = world.mesh.get("/meshes/default/dataplanes/front").await;
    let front = front["networking"]["inbound"][0]["port"].as_u64().unwrap();
    let front = u16::try_from(front).unwrap();
    for row in rows() {
        let port = if row.proxy == "front" { front } else { world.direct };
        let said = row.explained(&world).to_string();
        for words in row.said {
            let quoted = json!(words).to_string();
            assert!(
                said.contains(quoted.trim_matches('"')),
                "{}: {words} is not in {said}",
                row.proxy
            );
        }
        eventually(&format!("{} does as it says: {:?}", row.proxy, row.said), async || {
            let received = ask_for(row.path, port, &row.headers).await.ok()?;
            row.came_out(&received).then_some(())
        })
        .await;
    }
}
