//! What is explained is what is merged, leaf by leaf, for the settings that people write.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value as Json, json};
use ursa_model::dataplane::Dataplane;
use ursa_model::document::{self, Document};
use ursa_model::key::ProxyId;
use ursa_model::kind::Kinds;
use ursa_model::path::{Path, Segment};
use ursa_policies::effective::{Effective, effective};
use ursa_policies::explain::ExplainedValue;
use ursa_policies::merge::{Origin, Tree};
use ursa_policies::policy::PolicyResource;
use ursa_policies::subject::Subject;

/// Some of `fields`, each as itself or as null, which is as if it were not written.
fn some_of(fields: &Json) -> impl Strategy<Value = Json> + use<> {
    let fields = fields.as_object().expect("fields have names").clone();
    let written = prop::collection::vec(0..3_u8, fields.len());
    written.prop_map(move |written| {
        let kept =
            fields.iter().zip(written).filter_map(|((name, value), written)| match written {
                0 => None,
                1 => Some((name.clone(), Json::Null)),
                _ => Some((name.clone(), value.clone())),
            });
        Json::Object(kept.collect())
    })
}

fn attributes() -> impl Strategy<Value = Json> {
    let value = || select(vec!["a", "b", "{{version | default \"c\"}}"]);
    (value(), value(), value())
        .prop_flat_map(|(a, b, c)| some_of(&json!({"service.name": a, "team": b, "tier": c})))
}

fn percent() -> impl Strategy<Value = Json> {
    prop_oneof![
        (0..=100_u8).prop_map(Json::from),
        (0..=9999_u16).prop_map(|n| Json::from(format!("{}.{:02}", n / 100, n % 100))),
        (0..=100_u8).prop_map(|n| json!({ "value": n })),
    ]
}

fn backends(
    backend: impl Fn(u8) -> Json + Copy + 'static,
    most: usize,
) -> impl Strategy<Value = Json> {
    prop::collection::vec((0..3_u8).prop_map(backend), 0..=most).prop_map(Json::from)
}

fn trace_backend(number: u8) -> Json {
    match number {
        0 => json!({"zipkin": {"url": "http://zipkin:9411/api/v2/spans"}}),
        1 => json!({"datadog": {"address": "datadog", "port": 8126}}),
        _ => json!({"openTelemetry": {"endpoint": "otel:4317", "resourceAttributes": {"a": "b"}}}),
    }
}

prop_compose! {
    fn trace()(
        backends in backends(trace_backend, 1),
        additional in backends(trace_backend, 2),
        (overall, client, random) in (percent(), percent(), percent()),
        attributes in attributes(),
        tag in select(vec!["x", "y"]),
    )(
        sampling in some_of(&json!({"overall": overall, "client": client, "random": random, "traceProbes": true})),
        rest in some_of(&json!({
            "additionalBackends": additional,
            "propagators": ["w3c_tracecontext"],
            "resourceAttributes": attributes,
            "tags": [{"name": tag, "literal": tag}],
            "spanName": "{{name}}",
        })),
        backends in Just(backends),
    ) -> Json {
        let mut settings = rest;
        settings["backends"] = backends;
        settings["sampling"] = sampling;
        json!({"default": settings})
    }
}

fn log_backend(number: u8) -> Json {
    match number {
        0 => json!({"file": {"path": "/a"}}),
        1 => json!({"tcp": {"address": "logs:5000"}, "sample": "12.5"}),
        _ => {
            json!({"openTelemetry": {"endpoint": "otel:4317", "body": {"a": ["%DURATION%", null]}}})
        }
    }
}

prop_compose! {
    fn log_settings()(backends in backends(log_backend, 2), attributes in attributes()) -> Json {
        json!({"backends": backends, "resourceAttributes": attributes})
    }
}

/// Requests that come in, by `rules` or by `from`, and that go out.
fn log() -> impl Strategy<Value = Json> {
    let of = |key: &'static str, target: Option<Json>| {
        move |settings: Vec<Json>| {
            let entry = |settings| match &target {
                Some(target) => json!({"targetRef": target, "default": settings}),
                None => json!({ "default": settings }),
            };
            json!({ key: settings.into_iter().map(entry).collect::<Vec<_>>() })
        }
    };
    let lists = || prop::collection::vec(log_settings(), 1..3);
    let to = || {
        let target = select(vec![
            json!({"kind": "Mesh"}),
            json!({"kind": "MeshService", "name": "catalog"}),
            json!({"kind": "MeshService", "name": "another"}),
        ]);
        let entry = (log_settings(), target)
            .prop_map(|(settings, target)| json!({"targetRef": target, "default": settings}));
        prop::collection::vec(entry, 1..4).prop_map(|to| json!({ "to": to }))
    };
    prop_oneof![
        lists().prop_map(of("rules", None)),
        lists().prop_map(of("from", Some(json!({"kind": "Mesh"})))),
        to(),
        (lists().prop_map(of("from", None)), to()).prop_map(|(mut from, to)| {
            from["to"] = to["to"].clone();
            from
        }),
    ]
}

fn metric_backend(number: u8) -> Json {
    match number {
        0 => json!({"prometheus": {"port": 5670}}),
        1 => json!({"openTelemetry": {"endpoint": "otel:4317", "refreshInterval": "10s"}}),
        _ => {
            json!({"openTelemetry": {"endpoint": "otel:4318", "protocol": "http"}, "sidecar": {"includeUnused": true}})
        }
    }
}

prop_compose! {
    fn metric()(
        backends in backends(metric_backend, 1),
        profiles in prop::collection::vec(select(vec!["All", "Basic", "None"]), 0..3),
        limit in 1..9_u32,
        attributes in attributes(),
    )(
        profiles in some_of(&json!({
            "appendProfiles": profiles.iter().map(|name| json!({"name": name})).collect::<Vec<_>>(),
            "exclude": [{"type": "Prefix", "match": "a"}],
        })),
        rest in some_of(&json!({
            "backends": backends,
            "applications": [{"port": 80}],
            "cardinality": {"limit": limit},
            "resourceAttributes": attributes,
        })),
    ) -> Json {
        let mut settings = rest;
        settings["sidecar"] = json!({"profiles": profiles, "includeUnused": true});
        json!({ "default": settings })
    }
}

fn target() -> impl Strategy<Value = Json> {
    select(vec![
        json!({"kind": "Mesh"}),
        json!({"kind": "MeshSubset", "tags": {"version": "v2"}}),
        json!({"kind": "MeshService", "name": "frontend"}),
        json!({"kind": "Dataplane", "name": "frontend"}),
        json!({"kind": "Dataplane", "name": "another"}),
    ])
}

fn documents() -> impl Strategy<Value = Vec<Document>> {
    static KINDS: LazyLock<Kinds> = LazyLock::new(ursa_policies::kinds);
    let spec = prop_oneof![
        trace().prop_map(|spec| ("MeshTrace", spec)),
        metric().prop_map(|spec| ("MeshMetric", spec)),
        log().prop_map(|spec| ("MeshAccessLog", spec)),
    ];
    prop::collection::vec((spec, target()), 1..6).prop_map(|written| {
        let texts = written.into_iter().enumerate().map(|(index, ((kind, mut spec), target))| {
            spec["targetRef"] = target;
            json!({"type": kind, "name": format!("policy-{index}"), "spec": spec}).to_string()
        });
        let parsed = document::parse(&texts.collect::<Vec<_>>().join("\n---\n"), &KINDS);
        assert!(parsed.is_accepted(), "{:?}", parsed.violations);
        parsed.documents
    })
}

fn policies(documents: &[Document]) -> Vec<Arc<PolicyResource>> {
    documents
        .iter()
        .filter_map(|document| PolicyResource::from_document(document, None))
        .map(Arc::new)
        .collect()
}

fn on_frontend<T>(look: impl FnOnce(&Subject<'_>) -> T) -> T {
    let dataplane: Dataplane = serde_json::from_value(json!({"networking": {
        "address": "127.0.0.2",
        "inbound": [{"port": 80, "tags": {"kuma.io/service": "frontend", "version": "v2"}}],
    }}))
    .expect("a Dataplane");
    let id = ProxyId::new("default", "frontend");
    look(&Subject { id: &id, dataplane: &dataplane, labels: &BTreeMap::new(), zone: None })
}

/// Puts `value` into `json` at the path.
fn put(json: &mut Json, path: &[Segment], value: &Json) {
    match path {
        [] => *json = value.clone(),
        [Segment::Key(key), rest @ ..] => {
            let entry = match json {
                Json::Object(entries) => entries.entry(key.clone()).or_insert(Json::Null),
                json => {
                    *json = json!({ key: null });
                    &mut json[key]
                }
            };
            put(entry, rest, value);
        }
        [Segment::Index(index), rest @ ..] => {
            if !json.is_array() {
                *json = json!([]);
            }
            let list = json.as_array_mut().expect("it is a list now");
            list.resize((index + 1).max(list.len()), Json::Null);
            put(&mut list[*index], rest, value);
        }
    }
}

/// Without objects that say nothing, and lists that add nothing.
fn pruned(mut json: Json) -> Json {
    if let Json::Object(entries) = &mut json {
        let of = std::mem::take(entries).into_iter().map(|(key, value)| (key, pruned(value)));
        let says = |(key, value): &(String, Json)| {
            *value != json!({}) && !(key.starts_with("append") && *value == json!([]))
        };
        *entries = of.filter(says).collect();
    }
    json
}

/// The same, within the objects of a list of rules too.
fn settings(conf: &Json) -> Json {
    let mut conf = pruned(conf.clone());
    if let Some(rules) = conf.get_mut("rules").and_then(Json::as_array_mut) {
        for rule in rules {
            *rule = pruned(rule.take());
        }
    }
    conf
}

/// What the policy of `origin` says where it is said to say it.
fn written(documents: &[Document], origin: &Origin) -> Option<Json> {
    let document = documents.iter().find(|document| document.key == origin.policy)?;
    let below = origin.path.segments().split_first()?.1;
    let path = below.iter().fold(Path::root(), |path, segment| match segment {
        Segment::Key(key) => path.key(key),
        Segment::Index(index) => path.index(*index),
    });
    Some(document.spec.at(&path)?.to_json())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn explaining_agrees_with_merging(documents in documents()) {
        on_frontend(|subject| {
            for effective in effective(&policies(&documents), subject) {
                let mut said = json!({});
                for ExplainedValue { path, value, origin, .. } in effective.explain().values {
                    match origin {
                        Some(_) => put(&mut said, path.segments(), &value),
                        None => prop_assert!(
                            ursa_model::tree::Node::from_json(&settings(&effective.conf())).at(&path).is_none(),
                            "a default is shown where something was written: {path}"
                        ),
                    }
                }
                prop_assert_eq!(settings(&said), settings(&effective.conf()));
            }
            Ok(())
        })?;
    }

    #[test]
    fn whoever_is_named_wrote_it(documents in documents()) {
        on_frontend(|subject| {
            for effective in effective(&policies(&documents), subject) {
                let explained = effective.explain();
                let strength = |origin: &Origin| explained.policies.iter().position(|key| *key == origin.policy);
                for ExplainedValue { path, value, origin, overridden, .. } in &explained.values {
                    let Some(origin) = origin else { continue };
                    prop_assert_eq!(written(&documents, origin), Some(value.clone()), "{}", path);
                    for (weaker, lost) in overridden {
                        prop_assert_eq!(written(&documents, weaker), Some(lost.clone()), "{}", path);
                        prop_assert_ne!(weaker, origin);
                        // Of destinations the narrower is stronger, whatever the policy.
                        let by_policy = !path.to_string().starts_with("to");
                        prop_assert!(!by_policy || strength(weaker) <= strength(origin), "{}", path);
                    }
                }
            }
            Ok(())
        })?;
    }

    #[test]
    fn what_policies_say_merges_in_any_grouping(documents in documents(), split in 0..20_usize) {
        on_frontend(|subject| {
            for effective in effective(&policies(&documents), subject) {
                let said: Vec<_> = effective
                    .policies()
                    .iter()
                    .flat_map(|policy| policy.sections())
                    .map(|section| &section.settings)
                    .collect();
                let (weak, strong) = said.split_at(split.min(said.len()));
                let grouped = Tree::join(weak.iter().copied()).under(&Tree::join(strong.iter().copied()));
                prop_assert_eq!(grouped, Tree::join(said));
            }
            Ok(())
        })?;
    }

    #[test]
    fn a_null_is_as_if_it_were_not_written(documents in documents()) {
        let without: Vec<_> = documents.iter().map(|document| document.to_json().to_string()).collect();
        let again = document::parse(&without.join("\n---\n"), &ursa_policies::kinds()).documents;
        on_frontend(|subject| {
            let conf = |documents: &[Document]| {
                effective(&policies(documents), subject).iter().map(Effective::conf).collect::<Vec<_>>()
            };
            prop_assert_eq!(conf(&documents), conf(&again));
            Ok(())
        })?;
    }
}
