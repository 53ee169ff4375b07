//! What the types make of what was written.

mod sample;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use ursa_model::backend::{Compression, Delivery, OpenTelemetryBackend, Protocol};
use ursa_model::dataplane::{self, Dataplane};
use ursa_model::document::{parse, parse_one};
use ursa_model::pipeline::PipelineConfig;
use ursa_model::report::Report;
use ursa_model::substitution::{Part, Substitution, Unfilled};
use ursa_model::target_ref::{TargetRef, TargetRules};
use ursa_model::template::{self, Rendered};
use ursa_model::tree::Node;
use ursa_model::{SecretText, yaml};

fn backend(json: Value) -> OpenTelemetryBackend {
    serde_json::from_value(json).expect("a backend")
}

/// `grpc+tls collector:4317/path`.
fn shown(delivery: &Delivery) -> String {
    let protocol = if delivery.protocol == Protocol::Grpc { "grpc" } else { "http" };
    let tls = if delivery.tls { "+tls" } else { "" };
    format!("{protocol}{tls} {}:{}{}", delivery.host, delivery.port, delivery.path)
}

#[test]
fn endpoint_and_protocol_are_understood() {
    let table = [
        (json!({}), "grpc :4317"),
        (json!({"protocol": "http"}), "http :4318"),
        (json!({"protocol": "https"}), "http+tls :4318"),
        (json!({"tls": {}}), "grpc+tls :4317"),
        (json!({"endpoint": "c"}), "grpc c:4317"),
        (json!({"endpoint": "c:1", "protocol": "grpc"}), "grpc c:1"),
        (json!({"endpoint": "c:1", "tls": {"mode": "system"}}), "grpc+tls c:1"),
        (json!({"endpoint": "c:1", "tls": {"mode": "disabled"}}), "grpc c:1"),
        (json!({"endpoint": "c:1", "protocol": "http"}), "http c:1"),
        (json!({"endpoint": "c", "protocol": "http"}), "http c:4318"),
        (json!({"endpoint": "c", "protocol": "https"}), "http+tls c:443"),
        (json!({"endpoint": "http://c"}), "http c:4318"),
        (json!({"endpoint": "http://c:80/"}), "http c:80"),
        (json!({"endpoint": "HTTPS://c/otlp/", "protocol": "http"}), "http+tls c:443/otlp"),
        (json!({"endpoint": "https://c", "protocol": "https", "tls": {}}), "http+tls c:443"),
        (json!({"endpoint": "https://c", "protocol": "grpc"}), "grpc+tls c:4317"),
        (json!({"endpoint": "http://c", "protocol": "grpc"}), "grpc c:4317"),
        (json!({"endpoint": "[::1]:1"}), "grpc ::1:1"),
        (json!({"endpoint": "http://[::1]"}), "http ::1:4318"),
        (json!({"endpoint": {"port": 1}}), "grpc :1"),
        (
            json!({"endpoint": {"address": "10.0.0.1", "path": "/a"}, "protocol": "http"}),
            "http 10.0.0.1:4318/a",
        ),
        (json!({"endpoint": {"address": "::1", "port": 1}}), "grpc ::1:1"),
    ];
    for (written, meant) in table {
        assert_eq!(shown(&backend(written.clone()).resolve().unwrap()), meant, "{written}");
    }
}

#[test]
fn the_path_of_a_signal_is_appended_once() {
    let path = |endpoint: &str| {
        backend(json!({ "endpoint": endpoint })).resolve().unwrap().signal_path("traces")
    };
    assert_eq!(path("http://c"), "/v1/traces");
    assert_eq!(path("http://c/otlp/"), "/otlp/v1/traces");
    assert_eq!(path("http://c/otlp/v1/traces"), "/otlp/v1/traces");
}

#[test]
fn a_backend_has_defaults() {
    let backend = OpenTelemetryBackend::default();
    assert_eq!(backend.delivery.timeout().to_string(), "10s");
    assert_eq!(backend.delivery.queue_size().to_string(), "256Mi");
    assert_eq!(
        (backend.delivery.compression(true), backend.delivery.compression(false)),
        (Compression::None, Compression::Gzip)
    );
}

#[test]
fn a_pipeline_survives_json_and_other_versions() {
    let spec = json!({"openTelemetry": {"headers": {"a": "${secret:one}-${TWO}"}, "auth": {"basic": {"username": "u", "password": "${secret:three}"}}}});
    let written =
        json!({"traces": {"backends": [{"name": "x", "spec": spec, "later": 1}]}, "metrics": {}});
    let config: PipelineConfig = serde_json::from_value(written).unwrap();
    assert_eq!(config.secret_names(), BTreeSet::from(["one".to_owned(), "three".to_owned()]));
    let json = serde_json::to_value(&config).unwrap();
    assert_eq!(json["traces"]["backends"][0]["spec"], spec);
    assert_eq!(serde_json::from_value::<PipelineConfig>(json).unwrap(), config);
}

#[test]
fn secrets_are_not_shown() {
    let backend =
        backend(json!({"headers": {"a": "hush"}, "auth": {"bearerToken": "hush ${secret:x}"}}));
    let (document, _) =
        parse_one("{type: Secret, name: s, data: aHVzaA==}", &ursa_model::kinds(), 1).unwrap();
    let secret: ursa_model::secret::Secret = document.decode().unwrap();
    assert_eq!(secret.decode().unwrap(), b"hush");
    let shown = format!(
        "{backend:?} {document:?} {secret:?} {:?} {:?}",
        SecretText::new("hush"),
        Part::Text("hush".to_owned())
    );
    assert!(!shown.contains("hush") && !shown.contains("aHVzaA"), "{shown}");
}

#[test]
fn substitutions_are_filled_whole_or_not_at_all() {
    let lookup = |part: &Part| match part {
        Part::Env(name) if name == "A" => Some("1".to_owned()),
        Part::File(path) if path == "/b" => Some("2".to_owned()),
        Part::Secret(name) if name == "c" => Some("3".to_owned()),
        _ => None,
    };
    let fill =
        |text: &str| Substitution::new(text).fill(lookup).map(|filled| filled.expose().to_owned());
    assert_eq!(fill("$$ ${A}${file:/b}-${secret:c} $$$$").as_deref(), Ok("$ 12-3 $$"));
    assert_eq!(fill("x ${B}"), Err(Unfilled::Unset(Part::Env("B".to_owned()))));
    assert_eq!(fill("x ${B}").unwrap_err().to_string(), "${B} is not set");
}

#[test]
fn templates_are_rendered() {
    let lookup = |name: &str| (name == "kuma.io/service").then(|| "cart".to_owned());
    let render = |text: &str| template::render(text, lookup);
    let value = |value: &str| Rendered { value: Some(value.to_owned()), missing: Vec::new() };
    assert_eq!(render("a-{{kuma.io/service}}-{{ x|default \"y\" }}"), value("a-cart-y"));
    assert_eq!(render("{{kuma.io/service | default \"\"}}{{x | default \"\"}}"), value("cart"));
    assert_eq!(
        render("{{a}} {{env.B}}"),
        Rendered { value: None, missing: vec!["a".to_owned(), "env.B".to_owned()] }
    );
    assert_eq!(render("no {{template"), value("no {{template"));
}

#[test]
fn a_dataplane_knows_its_service_and_protocols() {
    let labels = BTreeMap::from([("kuma.io/workload".to_owned(), "orders".to_owned())]);
    let dataplane: Dataplane = serde_json::from_value(json!({"networking": {
        "address": "10.0.0.1",
        "inbound": [
            {"port": 1},
            {"port": 2, "servicePort": 3, "protocol": "grpc", "tags": {"kuma.io/service": "cart", "kuma.io/protocol": "http"}},
            {"port": 4, "tags": {"kuma.io/service": "other", "kuma.io/protocol": "http2"}},
        ],
    }}))
    .unwrap();
    assert_eq!(dataplane.service(&labels, "name"), "cart");
    let protocols: Vec<_> =
        dataplane.networking.inbound.iter().map(dataplane::Inbound::protocol).collect();
    assert_eq!(
        protocols,
        [dataplane::Protocol::Tcp, dataplane::Protocol::Grpc, dataplane::Protocol::Http2]
    );
    let inbound = &dataplane.networking.inbound[1];
    assert_eq!(
        (dataplane.inbound_address(inbound), inbound.service_address(), inbound.service_port()),
        ("10.0.0.1", "127.0.0.1", 3)
    );

    let bare: Dataplane = serde_json::from_value(json!({"networking": {"address": "a"}})).unwrap();
    assert_eq!(bare.service(&BTreeMap::new(), "name"), "name");
    let gateway =
        json!({"networking": {"address": "a", "gateway": {"tags": {"kuma.io/service": "edge"}}}});
    assert_eq!(bare.service(&labels, "name"), "orders");
    let gateway: Dataplane = serde_json::from_value(gateway).unwrap();
    assert_eq!(gateway.service(&labels, "name"), "edge");
}

#[test]
fn section_names_are_for_policies_with_inbound_rules() {
    let target: TargetRef =
        serde_json::from_value(json!({"kind": "Dataplane", "sectionName": "http"})).unwrap();
    let found = |rules: TargetRules| {
        let root = Node::from_json(&json!({}));
        let report = Report::new(&root);
        target.validate(rules, &report.at("targetRef"));
        report.finish().len()
    };
    assert_eq!((found(TargetRules { section_name: true }), found(TargetRules::default())), (0, 1));
}

#[test]
fn kinds_answer_to_their_names() {
    let kinds = sample::kinds();
    let named = |name: &str| kinds.by_name(name).map(|kind| kind.name);
    assert_eq!(named("meshopentelemetrybackend"), Some("MeshOpenTelemetryBackend"));
    assert_eq!(
        (named("DP"), named("meshes"), named("samples")),
        (Some("Dataplane"), Some("Mesh"), Some("Sample"))
    );
    assert_eq!(named("nothing"), None);
    let mut names: Vec<_> = kinds
        .iter()
        .flat_map(|kind| [kind.name, kind.plural].into_iter().chain(kind.short.iter().copied()))
        .collect();
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all, "no name is used twice");
}

#[test]
fn places_are_those_of_the_file() {
    let text = "type: MeshOpenTelemetryBackend\nname: a\nspec:\n  timeout: soon\n";
    let violations = parse_one(text, &ursa_model::kinds(), 41).unwrap_err();
    assert_eq!(
        violations[0].to_string(),
        "44:3 spec.timeout: must be a length of time such as `10s`, `250ms` or `1m30s`"
    );
    assert_eq!(
        serde_json::to_value(&violations[0]).unwrap(),
        json!({
            "severity": "refused", "document": 0, "path": "spec.timeout", "place": {"line": 44, "column": 3},
            "message": "must be a length of time such as `10s`, `250ms` or `1m30s`",
        })
    );
    let one =
        |text| parse_one(text, &ursa_model::kinds(), 1).map(drop).unwrap_err()[0].message.clone();
    assert_eq!(one("# nothing\n"), "there is no document");
    assert_eq!(
        one("{type: Mesh, name: a}\n---\n{type: Mesh, name: b}\n"),
        "there is more than one document"
    );
}

#[test]
fn what_is_kept_of_many_refusals_is_bounded() {
    let parsed = parse(&"---\na\n".repeat(5000), &ursa_model::kinds());
    assert_eq!(parsed.violations.len(), ursa_model::document::MAX_REFUSALS);
}

#[test]
fn long_texts_are_refused() {
    let kinds = ursa_model::kinds();
    let parsed = parse(&"#".repeat(yaml::MAX_TEXT + 1), &kinds);
    assert_eq!(parsed.violations[0].message, "the text is longer than 1048576 bytes");
    let parsed = parse(&"#".repeat(yaml::MAX_TEXT), &kinds);
    assert_eq!((parsed.documents.len(), parsed.violations.len()), (0, 0));
}
