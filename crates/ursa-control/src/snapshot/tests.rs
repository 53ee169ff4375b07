use std::sync::Arc;

use ursa_model::ResourceKey;

use super::{Change, Snapshots};
use crate::testing::{changes, record, snapshots};

const TWO: &str = "{type: Dataplane, mesh: default, name: a, networking: {address: 10.0.0.1, inbound: [{port: 80, tags: {kuma.io/service: s}}]}}
---
{type: Dataplane, mesh: default, name: b, networking: {address: 10.0.0.2, inbound: [{port: 80, tags: {kuma.io/service: s}}, {port: 81, tags: {kuma.io/service: t}}]}}
";

fn next(before: &Snapshots, changes: &[Change]) -> Snapshots {
    before.next(changes, &ursa_policies::kinds(), before.revision() + 1).0
}

fn addresses(snapshots: &Snapshots, service: &str) -> Vec<String> {
    let mesh = snapshots.mesh("default");
    mesh.instances(service).iter().map(|it| format!("{}:{}", it.address, it.port)).collect()
}

#[test]
fn services_follow_their_dataplanes() {
    let both = snapshots(TWO);
    assert_eq!(addresses(&both, "s"), ["10.0.0.1:80", "10.0.0.2:80"]);
    let key = ResourceKey::in_mesh("Dataplane", "default", "b");
    let one = next(&both, &[Change { key, record: None }]);
    assert_eq!(addresses(&one, "s"), ["10.0.0.1:80"]);
    assert_eq!(addresses(&one, "t"), [""; 0]);
    assert_eq!(addresses(&both, "t"), ["10.0.0.2:81"], "the one before stays as it was");
}

#[test]
fn what_does_not_change_is_shared() {
    let before = snapshots(TWO);
    let policy = "{type: MeshTrace, mesh: default, name: all, spec: {default: {backends: []}}}";
    let after = next(&before, &changes(policy));
    let (before, after) = (before.mesh("default"), after.mesh("default"));
    assert!(Arc::ptr_eq(&before.proxies, &after.proxies));
    assert!(Arc::ptr_eq(&before.services, &after.services));
    assert!(!Arc::ptr_eq(&before.policies, &after.policies));
}

#[test]
fn a_stored_document_that_cannot_be_read_is_reported_and_takes_nothing_with_it() {
    let key = |name: &str| ResourceKey::in_mesh("MeshTrace", "default", name);
    let broken = [
        (
            key("later"),
            "{type: MeshTrace, mesh: default, name: later, spec: {default: {backends: []}, newField: 1}}",
        ),
        (key("torn"), "{type: MeshTrace, mesh:"),
        (key("swapped"), "{type: Mesh, name: default}"),
        (ResourceKey::in_mesh("MeshFuture", "default", "x"), "{type: MeshFuture, name: x}"),
    ];
    let changes: Vec<_> = broken
        .iter()
        .map(|(key, text)| Change { key: key.clone(), record: Some(record(key.clone(), text)) })
        .collect();
    let after = next(&snapshots(TWO), &changes);
    let mesh = after.mesh("default");
    assert_eq!(mesh.unreadable.keys().collect::<Vec<_>>().len(), 4);
    let why = &mesh.unreadable[&key("later")];
    assert!(why.contains("newField"), "{why}");
    assert_eq!((mesh.policies.len(), mesh.proxies.len()), (0, 2));

    // Mended or removed, it is no longer reported.
    let gone: Vec<_> =
        broken.iter().map(|(key, _)| Change { key: key.clone(), record: None }).collect();
    assert!(next(&after, &gone).mesh("default").unreadable.is_empty());
}

#[test]
fn a_mesh_that_nothing_is_said_about_is_forgotten() {
    let before = snapshots("{type: Mesh, name: shop}");
    assert!(before.mesh("shop").exists);
    let gone = Change { key: ResourceKey::global("Mesh", "shop"), record: None };
    assert_eq!(next(&before, &[gone]).iter().count(), 0);
}
