//! Services before and behind the mesh that trace with libraries of their own, and proxies of another mesh: every trace is
//! one, and whole. What was seen is `docs/reference/neighbours.md`; a page that says otherwise is rewritten, and the test
//! fails once, so that the new one gets read and committed.

mod call;
mod envoy;
mod page;
mod services;
mod spans;
mod table;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::collector::{Collector, free};
use crate::datadog::TestAgent;
use crate::mesh::{Mesh, PATIENCE, eventually};
use crate::zipkin::Zipkin;
use call::Call;
use envoy::Envoy;
use services::{Backends, SERVICES, Service};
use table::{Case, List, Neighbour};

/// The mesh: `front` stands behind every caller, `back` before every callee.
fn dataplanes(callees: &BTreeMap<&str, u16>) -> String {
    let inbound = |name: &str, port: u16| json!({"port": free(), "servicePort": port, "tags": {"kuma.io/service": name, "kuma.io/protocol": "http"}});
    // A proxy's spans are of the service that it names first.
    let own = |name: &str| inbound(name, free());
    let mut before_callees = vec![own("back")];
    before_callees.extend(callees.iter().map(|(name, port)| inbound(name, *port)));
    let outbound: Vec<_> = callees
        .keys()
        .map(|name| json!({"port": free(), "tags": {"kuma.io/service": name}}))
        .collect();
    let dataplane = |name: &str, inbound: &[Value], outbound: &[Value]| {
        let networking = json!({"address": "127.0.0.1", "inbound": inbound, "outbound": outbound});
        json!({"type": "Dataplane", "mesh": "default", "name": name, "networking": networking})
            .to_string()
    };
    [dataplane("front", &[own("front")], &outbound), dataplane("back", &before_callees, &[])]
        .join("\n---\n")
}

/// Everything that runs.
struct World {
    mesh: Mesh,
    collector: Collector,
    zipkin: Zipkin,
    datadog: TestAgent,
    callers: BTreeMap<&'static str, Service>,
    _callees: Vec<Service>,
    envoy: Envoy,
    /// Where callers find callees.
    ports: BTreeMap<&'static str, u16>,
}

impl World {
    async fn start() -> Self {
        let (collector, zipkin, datadog) =
            tokio::join!(Collector::start(), Zipkin::start(), TestAgent::start());
        let zipkin_port = zipkin.url().split(['/', ':']).find_map(|word| word.parse().ok());
        let zipkin_port: u16 = zipkin_port.expect("a port");
        let backends = Backends {
            collector: collector.http(),
            zipkin: format!("127.0.0.1:{zipkin_port}"),
            datadog: format!("http://127.0.0.1:{}", datadog.port),
        };
        let callees = SERVICES.map(|kind| (kind.name, free()));
        // The proxy of the other mesh stands before the last.
        let behind_envoy = free();
        let port_of = |(name, port)| if name == envoy::SERVICE { behind_envoy } else { port };
        let running = callees.map(|of| Service::callee(of.0, &backends, port_of(of)));
        let callers = SERVICES.map(|kind| (kind.name, Service::caller(kind.name, &backends)));
        let callees = BTreeMap::from(callees);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("mesh.yaml");
        std::fs::write(&file, dataplanes(&callees)).unwrap();
        let mesh = Mesh::demo(&["-f", &file.to_string_lossy()]);
        let front = mesh.get("/meshes/default/dataplanes/front").await;
        let outbound = front["networking"]["outbound"].as_array().unwrap();
        let port = |name: &'static str| {
            let of = |one: &&Value| one["tags"]["kuma.io/service"] == name;
            let port = outbound.iter().find(of).unwrap()["port"].as_u64().unwrap();
            (name, u16::try_from(port).unwrap())
        };
        let ports = SERVICES.map(|kind| port(kind.name));
        let envoy = Envoy::start(callees[envoy::SERVICE], behind_envoy, &ports, zipkin_port);
        let (ports, callers) = (ports.into(), callers.into());
        Self { mesh, collector, zipkin, datadog, callers, _callees: running.into(), envoy, ports }
    }

    /// Has the mesh speak those formats, and waits until the way to every callee does, both proxies on it.
    async fn speak(&self, list: &List) {
        let mut settings = json!({
            "backends": [{"openTelemetry": {"endpoint": self.collector.grpc()}}],
            "additionalBackends": [
                {"zipkin": {"url": self.zipkin.url(), "traceId128bit": true}},
                {"datadog": {"url": format!("http://127.0.0.1:{}", self.datadog.port)}},
            ],
        });
        if list.named {
            settings["propagators"] = list.propagators.split(", ").collect();
        }
        let policy = json!({"type": "MeshTrace", "mesh": "default", "name": "all",
            "spec": {"targetRef": {"kind": "Mesh"}, "default": settings}});
        self.mesh.apply(&policy.to_string());
        for (name, port) in &self.ports {
            let mut expected: BTreeSet<_> = list.formats().collect();
            if *name == envoy::SERVICE && !expected.contains("b3") {
                // Of its own, to the service behind it.
                expected.insert("b3multi");
            }
            // The first may come over a connection from before, which ends with it.
            let (mut seen, mut twice) = (BTreeSet::new(), 0);
            let deadline = Instant::now() + PATIENCE;
            while twice < 2 {
                assert!(Instant::now() < deadline, "{name}: {seen:?} instead of {expected:?}");
                if let Some(answer) = ask(*port, false).await {
                    seen = formats(&answer["received"]);
                    twice = if seen == expected { twice + 1 } else { 0 };
                }
                if twice == 0 {
                    sleep(std::time::Duration::from_millis(50)).await;
                }
            }
        }
    }

    /// One call.
    async fn call(
        &mut self,
        list: &List,
        [before, behind]: [Neighbour; 2],
        case: Case,
        number: u64,
    ) -> Call {
        let port = self.ports[behind.service()];
        let parent = case.parent(number);
        let (caller, callee) = if before.library == envoy::SERVICE {
            let port = self.envoy.out[usize::from(case.digits == 32)];
            let path = format!("{}/{}", behind.service(), behind.setting);
            let answer = eventually("the other mesh", async || {
                ask_at(port, &path, case.priority == 0).await
            });
            (Value::Null, answer.await)
        } else {
            let order = json!({
                "url": format!("http://127.0.0.1:{port}/{}", behind.setting),
                "format": before.setting,
                "parent": parent,
            });
            let service = self.callers.get_mut(before.service()).expect("it is a caller");
            let mut answer = service.ask(&order);
            (answer["caller"].take(), answer["callee"].take())
        };
        Call {
            propagators: list.propagators,
            named: list.named,
            before,
            behind,
            case,
            parent,
            caller,
            callee,
        }
    }

    /// What is wrong with those calls, once the backends have all that they will have.
    async fn look(&self, calls: &[Call]) -> Vec<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let traces = spans::gather(&self.collector, &self.zipkin, &self.datadog).await;
            let wrong: Vec<_> = calls.iter().filter_map(|call| call.wrong(&traces)).collect();
            if wrong.is_empty() || Instant::now() > deadline {
                return wrong;
            }
            sleep(std::time::Duration::from_millis(200)).await;
        }
    }
}

/// What a callee answers to a request without a context, but for one that says no.
async fn ask(port: u16, denied: bool) -> Option<Value> {
    ask_at(port, "b3", denied).await
}

async fn ask_at(port: u16, path: &str, denied: bool) -> Option<Value> {
    let mut request = reqwest::Client::new().get(format!("http://127.0.0.1:{port}/{path}"));
    if denied {
        request = request.header("x-b3-sampled", "0");
    }
    let answer = request.send().await.ok()?.error_for_status().ok()?.text().await.ok()?;
    serde_json::from_str(&answer).ok()
}

/// The formats of a request's headers.
fn formats(headers: &Value) -> BTreeSet<&'static str> {
    let of = |name: &str| match name {
        "traceparent" => Some("w3c_tracecontext"),
        "b3" => Some("b3"),
        "x-b3-traceid" => Some("b3multi"),
        "x-datadog-trace-id" => Some("datadog"),
        _ => None,
    };
    let names = headers.as_object().into_iter().flat_map(|headers| headers.keys());
    names.filter_map(|name| of(&name.to_lowercase())).collect()
}

#[tokio::test]
async fn traces_are_whole_whatever_stands_before_and_behind() {
    let mut world = World::start().await;
    let mut calls = Vec::new();
    for list in table::lists() {
        world.speak(&list).await;
        for row in &list.rows {
            for case in row[0].cases() {
                let number = 1 + calls.len() as u64;
                calls.push(world.call(&list, *row, case, number).await);
            }
        }
    }
    let wrong = world.look(&calls).await;
    let some = wrong.iter().take(3).map(String::as_str).collect::<Vec<_>>().join("\n");
    assert!(wrong.is_empty(), "{} of {} calls:\n{some}", wrong.len(), calls.len());
    assert_eq!(world.datadog.failures().await, None);
    page::compare(&calls);
}
