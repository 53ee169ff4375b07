//! The resources that `up` applies: the demo's own, or the user's.

use serde_json::Value;
use ursa_model::document::{self, Document};

use super::ports::Ports;
use crate::documents::{self, Source};
use crate::failure::{Failure, Outcome};
use crate::output::Output;

/// The demo, as the documentation shows it.
const DEMO: [(&str, &str); 3] = [
    ("examples/demo/mesh.yaml", include_str!("../../../../examples/demo/mesh.yaml")),
    ("examples/demo/dataplanes.yaml", include_str!("../../../../examples/demo/dataplanes.yaml")),
    ("examples/demo/tracing.yaml", include_str!("../../../../examples/demo/tracing.yaml")),
];

/// What is applied, and the proxies in it.
#[derive(Debug)]
pub(crate) struct Resources {
    /// As sent to the control plane.
    pub(crate) sources: Vec<Source>,
    /// The Dataplanes, with the ports that are used.
    pub(crate) proxies: Vec<Proxy>,
}

impl Resources {
    /// Where requests come in: the inbound of a service that no other one calls.
    pub(crate) fn entrance(&self) -> Option<u16> {
        let is_called = |service: &str| {
            self.proxies
                .iter()
                .flat_map(|proxy| &proxy.outbounds)
                .any(|(called, _)| called == service)
        };
        self.proxies.iter().find(|proxy| !is_called(&proxy.service))?.inbound
    }
}

/// A Dataplane, as far as `up` needs to know it.
#[derive(Debug, Clone)]
pub(crate) struct Proxy {
    /// Its mesh.
    pub(crate) mesh: String,
    /// Its name.
    pub(crate) name: String,
    /// Its service.
    pub(crate) service: String,
    /// Where Envoy listens for the service.
    pub(crate) inbound: Option<u16>,
    /// Where the service listens.
    pub(crate) service_port: Option<u16>,
    /// Where the service finds others: service and port.
    pub(crate) outbounds: Vec<(String, u16)>,
}

/// The demo's resources.
pub(crate) fn demo() -> Vec<Source> {
    DEMO.iter()
        .map(|(name, text)| Source { name: (*name).to_owned(), text: (*text).to_owned() })
        .collect()
}

/// Checks the sources and puts the chosen ports into the Dataplanes. With the usual ports every source stays
/// as it was written, so that `ursa explain` names its lines.
pub(crate) fn prepare(
    sources: Vec<Source>,
    ports: &mut Ports,
    is_demo: bool,
    output: Output,
) -> Outcome<Resources> {
    let parsed = documents::parse(&sources);
    if !parsed.refused.is_empty() {
        return Err(documents::refusal(&parsed.refused, &sources, output)?);
    }
    let mut prepared = Vec::new();
    let mut proxies = Vec::new();
    for (source, documents) in sources.into_iter().zip(parsed.texts) {
        let (dataplanes, others): (Vec<Document>, Vec<Document>) =
            documents.into_iter().partition(|document| document.key.kind == "Dataplane");
        let mut patched = Vec::new();
        for dataplane in dataplanes {
            let mut json = dataplane.to_json();
            ports.put_into(&mut json, is_demo)?;
            proxies.push(proxy(&json)?);
            patched.push(document::to_yaml(&json));
        }
        if ports.are_usual() || patched.is_empty() {
            prepared.push(source);
        } else {
            let texts =
                others.into_iter().map(|document| document.text).chain(patched).collect::<Vec<_>>();
            prepared.push(Source { name: source.name, text: texts.join("\n---\n") });
        }
    }
    Ok(Resources { sources: prepared, proxies })
}

fn proxy(dataplane: &Value) -> Outcome<Proxy> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let port = |value: &Value| value.as_u64().and_then(|port| u16::try_from(port).ok());
    let name =
        text(&dataplane["name"]).ok_or_else(|| Failure::new("a Dataplane without a name"))?;
    let networking = &dataplane["networking"];
    let first = &networking["inbound"][0];
    let service = |tags: &Value| text(&tags["kuma.io/service"]);
    let outbounds = networking["outbound"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|outbound| {
            let name =
                service(&outbound["tags"]).or_else(|| text(&outbound["backendRef"]["name"]))?;
            Some((name, port(&outbound["port"])?))
        })
        .collect();
    Ok(Proxy {
        mesh: text(&dataplane["mesh"]).unwrap_or_else(|| "default".to_owned()),
        service: service(&first["tags"])
            .or_else(|| service(&networking["gateway"]["tags"]))
            .unwrap_or_else(|| name.clone()),
        name,
        inbound: port(&first["port"]),
        service_port: port(&first["servicePort"]).or_else(|| port(&first["port"])),
        outbounds,
    })
}
