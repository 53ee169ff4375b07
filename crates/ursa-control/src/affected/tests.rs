use std::collections::BTreeMap;

use ursa_envoy::abilities::Abilities;

use super::Difference;
use crate::generate::{Generated, generate};
use crate::snapshot::Change;
use crate::testing::{changes, site, snapshots};

/// `web` calls `api`, and `db` by a route; `api` and `db` call nobody; `web` sends to the backend `one` with a secret,
/// `db` to one that is found by its labels.
const BEFORE: &str = include_str!("before.yaml");

/// The proxies that a change of the mesh touches.
fn touched(change: &str) -> Vec<String> {
    let before = snapshots(BEFORE);
    let kinds = ursa_policies::kinds();
    let changes: Vec<Change> = match change.strip_prefix("remove ") {
        None => changes(change),
        Some(names) => {
            let gone = changes(BEFORE).into_iter().filter(|it| it.key.to_string() == names);
            gone.map(|it| Change { record: None, ..it }).collect()
        }
    };
    assert!(!changes.is_empty(), "{change}");
    let (after, keys) = before.next(&changes, &kinds, 2);
    let (before, after) = (before.mesh("default"), after.mesh("default"));
    let generated: BTreeMap<&String, Generated> = before
        .proxies
        .iter()
        .map(|(name, proxy)| (name, generate(&before, proxy, &Abilities::default(), &site())))
        .collect();
    let Some(keys) = keys.get("default") else { return Vec::new() };
    let difference = Difference::new(&before, &after, keys);
    let mut touched: Vec<_> = generated
        .iter()
        .filter(|(name, generated)| difference.touches("default", name, Some(generated)))
        .map(|(name, _)| (*name).clone())
        .collect();
    touched.sort();

    // What is not touched would come out the same.
    for (name, generated) in &generated {
        if let Some(proxy) = after.proxy(name)
            && !touched.contains(name)
        {
            assert_eq!(
                generated.resources,
                generate(&after, proxy, &Abilities::default(), &site()).resources,
                "{name}"
            );
        }
    }
    touched
}

#[test]
fn a_change_touches_whom_it_concerns() {
    let policy = |target: &str, name: &str| {
        format!(
            "{{type: MeshTrace, mesh: default, name: {name}, spec: {{targetRef: {target}, default: {{backends: []}}}}}}"
        )
    };
    let dataplane = |name: &str, rest: &str| {
        format!("{{type: Dataplane, mesh: default, name: {name}, {rest}}}")
    };
    let backend = |name: &str, port: u16| {
        format!(
            "{{type: MeshOpenTelemetryBackend, mesh: default, name: {name}, labels: {{use: yes-please}}, spec: {{endpoint: 'h:{port}'}}}}"
        )
    };
    let api = "networking: {address: 10.0.0.2, inbound: [{port: 80, tags: {kuma.io/service: api, kuma.io/protocol: http}}]}";
    for (change, wanted) in [
        (policy("{kind: Mesh}", "new"), vec!["api", "db", "web"]),
        (policy("{kind: MeshService, name: db}", "new"), vec!["db"]),
        (policy("{kind: MeshService, name: nobody}", "new"), vec![]),
        // From `web` to `db`: who was selected and who is.
        (policy("{kind: MeshService, name: db}", "web"), vec!["db", "web"]),
        ("remove MeshTrace default/web".to_owned(), vec!["web"]),
        // By name, and by labels, which any of the kind may have.
        (backend("one", 2), vec!["db", "web"]),
        ("remove MeshOpenTelemetryBackend default/one".to_owned(), vec!["db", "web"]),
        (backend("two", 1), vec!["db"]),
        ("{type: Secret, mesh: default, name: key, data: eA==}".to_owned(), vec!["web"]),
        ("{type: Secret, mesh: default, name: other, data: eA==}".to_owned(), vec![]),
        (dataplane("api", &api.replace(".2", ".3")), vec!["api", "web"]),
        (dataplane("api", &format!("labels: {{a: b}}, {api}")), vec!["api"]),
        (dataplane("api", api), vec![]),
        (dataplane("api-2", &api.replace(".2", ".4")), vec!["web"]),
        // `web` calls it by a route.
        (dataplane("db-2", &api.replace("service: api", "service: db")), vec!["web"]),
        (policy("{kind: MeshHTTPRoute, name: split}", "new"), vec!["web"]),
        (policy("{kind: MeshHTTPRoute, labels: {of: web}}", "new"), vec!["web"]),
        (policy("{kind: MeshHTTPRoute, name: other}", "new"), vec![]),
        ("remove MeshHTTPRoute default/split".to_owned(), vec!["web"]),
        ("remove Dataplane default/api".to_owned(), vec!["api", "web"]),
        ("{type: Mesh, name: default}".to_owned(), vec!["api", "db", "web"]),
        ("{type: Mesh, name: other}".to_owned(), vec![]),
    ] {
        assert_eq!(touched(&change), wanted, "{change}");
    }
}
