//! Each case is a file of resources; what comes out for its proxy `me` stands beside it.

use std::fmt::Write as _;

use ursa_envoy::abilities::Abilities;
use ursa_envoy::proxy::{ClusterKind, ListenerKind};
use ursa_envoy::resources::{EDS, PIPELINE};

use ursa_model::dataplane::Protocol;

use super::{Consider, compose, generate, policies};
use crate::testing::{site, snapshots};

fn outcome(text: &str) -> String {
    let snapshots = snapshots(text);
    let mesh = snapshots.mesh("default");
    let proxy = mesh.proxy("me").expect("every case has a Dataplane `me`");
    let (abilities, site) = (Abilities::default(), site());
    let policies = policies(&mesh, proxy, &site, Consider::Applied);
    let (config, made) = compose(&policies, &mesh, proxy, &abilities, &site);
    let mut lines = String::new();
    for listener in &config.listeners {
        let (address, port) = (&listener.address, listener.port);
        let what = match &listener.kind {
            ListenerKind::Tcp(_) => "tcp".to_owned(),
            ListenerKind::Http(http) => format!("http, counts as {}", http.stat_prefix),
        };
        let cluster = listener.clusters().join(", ");
        writeln!(lines, "{} on {address}:{port} -> {cluster} ({what})", listener.name).unwrap();
    }
    for cluster in &config.clusters {
        let places = match &cluster.kind {
            ClusterKind::Local { address, port } => format!("{address}:{port}"),
            ClusterKind::Eds { endpoints } => {
                let places = endpoints.iter().map(|it| format!("{}:{}", it.address, it.port));
                format!("[{}]", places.collect::<Vec<_>>().join(", "))
            }
        };
        let protocol = if matches!(cluster.protocol, Protocol::Http2 | Protocol::Grpc) {
            " (HTTP/2)"
        } else {
            ""
        };
        writeln!(lines, "{} = {places}{protocol}", cluster.name).unwrap();
    }
    for warning in &made.warnings {
        writeln!(lines, "warning: {warning}").unwrap();
    }
    assert_eq!(made.findings, [""; 0], "it refers to nothing that is not there");
    lines
}

#[test]
fn cases() {
    insta::with_settings!({snapshot_path => "cases", prepend_module_to_snapshot => false, omit_expression => true}, {
        insta::glob!("cases/*.yaml", |case| {
            insta::assert_snapshot!("expect", outcome(&std::fs::read_to_string(case).unwrap()));
        });
    });
}

/// The same resources in another order make the same configuration.
#[test]
fn the_order_of_documents_does_not_matter() {
    let text = include_str!("cases/services.yaml");
    let mut documents: Vec<_> = text.split("---\n").collect();
    documents.reverse();
    let made = |text: &str| {
        let snapshots = snapshots(text);
        let mesh = snapshots.mesh("default");
        generate(&mesh, mesh.proxy("me").unwrap(), &Abilities::default(), &site()).resources
    };
    assert_eq!(made(text), made(&documents.join("---\n")));
}

#[test]
fn the_built_in_backend_is_where_this_control_plane_listens() {
    let text = "{type: Dataplane, mesh: default, name: me, networking: {address: 127.0.0.1, inbound: \
                [{port: 80, servicePort: 8080, tags: {kuma.io/service: me, kuma.io/protocol: http, version: v1}}]}}\n---\n\
                {type: MeshTrace, mesh: default, name: all, spec: {default: {backends: [{openTelemetry: \
                {backendRef: {kind: MeshOpenTelemetryBackend, name: ursa}}}]}}}\n";
    let snapshots = snapshots(text);
    let mesh = snapshots.mesh("default");
    let made = generate(&mesh, mesh.proxy("me").unwrap(), &Abilities::default(), &site());
    let pipeline = &made.resources[PIPELINE]["pipeline"].body.value;
    let pipeline: serde_json::Value = serde_json::from_slice(pipeline).unwrap();
    let backend = &pipeline["traces"]["backends"][0]["spec"]["openTelemetry"];
    assert_eq!(
        (&backend["endpoint"], &backend["protocol"]),
        (&"127.0.0.1:4317".into(), &"grpc".into())
    );
    assert_eq!(pipeline["facts"]["version"], "v1");
    assert_eq!(pipeline["resource"]["service.name"], "me");
    assert!(made.resources.get(EDS).is_none_or(std::collections::BTreeMap::is_empty));
}
