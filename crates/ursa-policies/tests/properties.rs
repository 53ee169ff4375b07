//! What must hold of merging, order and selection, whatever is written.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use proptest::prelude::*;
use serde_json::{Value as Json, json};
use ursa_model::dataplane::Dataplane;
use ursa_model::document;
use ursa_model::key::{ProxyId, ResourceKey};
use ursa_model::kind::Kinds;
use ursa_model::path::Path;
use ursa_model::tree::{Node, Place};
use ursa_policies::effective::effective;
use ursa_policies::merge::{Origin, Tree};
use ursa_policies::policy::PolicyResource;
use ursa_policies::select::{affects, select};
use ursa_policies::subject::Subject;

/// Settings of few names, so that layers meet, with every type at every name.
fn settings() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<u8>().prop_map(Json::from),
        prop::collection::vec(any::<u8>(), 0..3).prop_map(Json::from),
    ];
    let value = leaf.prop_recursive(3, 16, 3, |inner| {
        prop::collection::btree_map(name(), inner, 0..3).prop_map(|map| json!(map))
    });
    prop::collection::btree_map(name(), value, 0..4).prop_map(|map| json!(map))
}

fn name() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "c", "appendX"]).prop_map(str::to_owned)
}

fn tree(author: &str, settings: &Json) -> Tree {
    let policy = ResourceKey::in_mesh("MeshTrace", "default", author);
    Tree::of(
        &Node::from_json(settings),
        Origin { policy, file: None, place: Place::START, path: Path::root() },
    )
}

/// JSON merge patch as RFC 7396, section 2, has it, with the one rule more.
fn merge_patch(target: Json, patch: &Json, name: &str) -> Json {
    match (target, patch) {
        (target, Json::Object(patch)) => {
            let mut merged = target.as_object().cloned().unwrap_or_default();
            for (key, value) in patch {
                match (merged.remove(key), value) {
                    (_, Json::Null) => {}
                    (was, value) => {
                        merged
                            .insert(key.clone(), merge_patch(was.unwrap_or_default(), value, key));
                    }
                }
            }
            Json::Object(merged)
        }
        (Json::Array(mut list), Json::Array(more)) if name.starts_with("append") => {
            list.extend(more.iter().cloned());
            Json::Array(list)
        }
        (_, patch) => patch.clone(),
    }
}

proptest! {
    #[test]
    fn merging_is_associative(a in settings(), b in settings(), c in settings()) {
        let [a, b, c] = [tree("a", &a), tree("b", &b), tree("c", &c)];
        let left = a.clone().under(&b).under(&c);
        let right = a.under(&b.under(&c));
        prop_assert_eq!(left, right);
    }

    #[test]
    fn merging_is_json_merge_patch(layers in prop::collection::vec(settings(), 0..4)) {
        let trees: Vec<_> = layers.iter().map(|layer| tree("all", layer)).collect();
        let patched = layers.iter().fold(json!({}), |target, patch| merge_patch(target, patch, ""));
        prop_assert_eq!(Tree::join(&trees).to_json(), patched);
    }

    #[test]
    fn each_leaf_is_of_the_last_who_wrote_it(layers in prop::collection::vec(settings(), 1..4)) {
        let trees: Vec<_> = layers.iter().enumerate().map(|(i, layer)| tree(&i.to_string(), layer)).collect();
        for (path, leaf) in Tree::join(&trees).leaves() {
            let author: usize = leaf.origin.policy.name.parse().expect("authors are numbered");
            let written = Node::from_json(&layers[author]);
            prop_assert_eq!(written.at(&leaf.origin.path).map(Node::to_json), Some(leaf.value.clone()));
            let in_list = path.to_string().contains("append");
            let later = layers[author + 1..].iter().any(|layer| Node::from_json(layer).at(&path).is_some());
            prop_assert!(in_list || !later, "{} is overridden later", path);
        }
    }
}

fn target() -> impl Strategy<Value = Json> {
    let tags = || {
        prop::sample::select(vec![
            json!({}),
            json!({"version": "v2"}),
            json!({"version": "*", "team": "shop"}),
        ])
    };
    let service = || prop::sample::select(vec!["frontend", "backend"]);
    prop_oneof![
        Just(json!({"kind": "Mesh"})),
        Just(json!({"kind": "Mesh", "proxyTypes": ["Gateway"]})),
        tags().prop_map(|tags| json!({"kind": "MeshSubset", "tags": tags})),
        service().prop_map(|name| json!({"kind": "MeshService", "name": name})),
        (service(), tags()).prop_map(
            |(name, tags)| json!({"kind": "MeshServiceSubset", "name": name, "tags": tags})
        ),
        service().prop_map(|name| json!({"kind": "Dataplane", "name": name})),
        Just(json!({"kind": "Dataplane", "labels": {"app": "frontend"}})),
        service().prop_map(|name| json!({"kind": "MeshGateway", "name": name})),
        service().prop_map(|name| json!({"kind": "MeshHTTPRoute", "name": name})),
    ]
}

fn labels() -> impl Strategy<Value = BTreeMap<&'static str, &'static str>> {
    let label = prop::sample::select(vec![
        ("kuma.io/origin", "zone"),
        ("kuma.io/origin", "global"),
        ("kuma.io/zone", "east"),
        ("kuma.io/zone", "west"),
        ("kuma.io/display-name", "same"),
        ("kuma.io/policy-role", "producer"),
        ("kuma.io/policy-role", "workload-owner"),
    ]);
    prop::collection::vec(label, 0..4).prop_map(|labels| labels.into_iter().collect())
}

prop_compose! {
    fn policies()(
        written in prop::collection::vec((target(), labels(), 0..=100u8), 0..8)
    ) -> Vec<Arc<PolicyResource>> {
        let documents = written.into_iter().enumerate().map(|(i, (target, labels, overall))| {
            json!({
                "type": "MeshTrace", "name": format!("policy-{i}"), "labels": labels,
                "spec": {"targetRef": target, "default": {"backends": [], "sampling": {"overall": overall}}},
            })
        });
        documents.filter_map(|document| policy(&document.to_string())).collect()
    }
}

fn policy(text: &str) -> Option<Arc<PolicyResource>> {
    static KINDS: LazyLock<Kinds> = LazyLock::new(ursa_policies::kinds);
    let parsed = document::parse(text, &KINDS);
    parsed
        .documents
        .first()
        .and_then(|document| PolicyResource::from_document(document, None))
        .map(Arc::new)
}

/// What the MeshTraces among the policies say.
fn conf(policies: &[Arc<PolicyResource>], subject: &Subject<'_>) -> Json {
    let all = effective(policies, subject);
    all.iter().find(|it| it.kind() == "MeshTrace").expect("each kind is there").conf()
}

fn on_frontend<T>(look: impl FnOnce(&Subject<'_>) -> T) -> T {
    let dataplane: Dataplane = serde_json::from_value(json!({"networking": {
        "address": "127.0.0.2",
        "inbound": [{"port": 80, "tags": {"kuma.io/service": "frontend", "version": "v2", "team": "shop"}}],
    }}))
    .expect("a Dataplane");
    let id = ProxyId::new("default", "frontend");
    let labels = BTreeMap::from([("app".to_owned(), "frontend".to_owned())]);
    look(&Subject { id: &id, dataplane: &dataplane, labels: &labels, zone: Some("east") })
}

proptest! {
    #[test]
    fn the_order_of_input_does_not_matter((sorted, shuffled) in policies().prop_flat_map(|p| (Just(p.clone()), Just(p).prop_shuffle()))) {
        let names = |policies: &[Arc<PolicyResource>]| {
            on_frontend(|subject| select(policies, subject).into_iter().map(|policy| policy.key.clone()).collect::<Vec<_>>())
        };
        prop_assert_eq!(names(&sorted), names(&shuffled));
        let merged = |policies: &[Arc<PolicyResource>]| on_frontend(|subject| conf(policies, subject));
        prop_assert_eq!(merged(&sorted), merged(&shuffled));
    }

    #[test]
    fn the_strongest_has_the_last_word(policies in policies()) {
        on_frontend(|subject| {
            let strongest = select(&policies, subject).last().and_then(|policy| Some(policy.settings()?.to_json()));
            let merged = conf(&policies, subject);
            prop_assert_eq!(merged.pointer("/sampling/overall"), strongest.as_ref().and_then(|said| said.pointer("/sampling/overall")));
            Ok(())
        })?;
    }

    #[test]
    fn what_does_not_affect_changes_nothing(policies in policies(), next in policies()) {
        on_frontend(|subject| {
            let (old, new) = (policies.first(), next.first());
            let with = |policy: Option<&Arc<PolicyResource>>| {
                let rest = policies.iter().skip(1).cloned();
                conf(&rest.chain(policy.cloned()).collect::<Vec<_>>(), subject)
            };
            if !affects(old.map(|p| &**p), new.map(|p| &**p), subject, &[]) {
                prop_assert_eq!(with(old), with(new));
            }
            Ok(())
        })?;
    }

    #[test]
    fn any_text_is_selected_or_not(text in "[ -~\n]{0,200}", target in target(), key in "[a-zA-Z./\\[\\]\"]{0,12}", value in "\\PC{0,12}") {
        let guessed = json!({
            "type": "MeshTrace", "name": "all",
            "spec": {"targetRef": {"kind": target["kind"], key: value}, "default": {"backends": []}},
        });
        let policies: Vec<_> = [text, guessed.to_string()].iter().filter_map(|text| policy(text)).collect();
        on_frontend(|subject| select(&policies, subject).len());
    }
}
