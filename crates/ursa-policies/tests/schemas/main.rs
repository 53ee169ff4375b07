//! The schemas that editors check with: they accept what the control plane accepts, in every spelling and form, and refuse what they can.

mod corpus;
mod structure;

use std::path::{Path, PathBuf};

use corpus::{documents, files};
use jsonschema::Validator;
use serde_json::{Value as Json, json};
use ursa_model::document;
use ursa_model::schema::published;
use ursa_model::tree::Node;
use ursa_model::yaml;

fn of_all() -> Validator {
    let schema = published::of_kinds(&ursa_policies::kinds());
    jsonschema::draft202012::meta::validate(&schema).expect("the schema is one");
    jsonschema::draft202012::new(&schema).expect("its references resolve")
}

/// The same document in the Kubernetes form.
fn kubernetes(universal: &Json) -> Json {
    let fields = universal.as_object().expect("a document");
    let spec = universal.get("spec").cloned().unwrap_or_else(|| {
        let own = fields
            .iter()
            .filter(|(name, _)| !["type", "mesh", "name", "labels"].contains(&name.as_str()));
        Json::Object(own.map(|(name, value)| (name.clone(), value.clone())).collect())
    });
    let mut labels = universal.get("labels").cloned().unwrap_or_else(|| json!({}));
    if let Some(mesh) = universal.get("mesh") {
        labels["kuma.io/mesh"] = mesh.clone();
    }
    let metadata = json!({"name": universal["name"], "namespace": "kuma-system", "labels": labels});
    json!({"apiVersion": "kuma.io/v1alpha1", "kind": universal["type"], "metadata": metadata, "spec": spec})
}

#[test]
fn what_is_accepted_fits_in_both_forms() {
    let (schema, kinds) = (of_all(), ursa_policies::kinds());
    let mut fitting = 0;
    for (place, document, accepted) in documents() {
        if !accepted || document.get("type").is_none() {
            continue;
        }
        for document in [&document, &kubernetes(&document)] {
            let text = serde_json::to_string(document).expect("JSON");
            assert!(document::parse(&text, &kinds).is_accepted(), "{place} in the other form");
            let errors: Vec<_> =
                schema.iter_errors(document).map(|error| error.to_string()).collect();
            assert!(errors.is_empty(), "{place}: {errors:#?}\n{document:#}");
            let own = kinds.by_exact_name(
                document
                    .get("type")
                    .or(document.get("kind"))
                    .and_then(Json::as_str)
                    .expect("a kind"),
            );
            let own = published::of_kind(own.expect("a known kind"));
            assert!(
                jsonschema::draft202012::is_valid(&own, document),
                "{place}: by its kind's own schema"
            );
            fitting += 1;
        }
    }
    assert!(fitting > 80, "{fitting} documents");
}

#[test]
fn what_is_wrong_is_refused() {
    let schema = of_all();
    let cases = include_str!("wrong.yaml");
    let kinds = ursa_policies::kinds();
    let mut refused = 0;
    for source in yaml::split(cases) {
        let document = yaml::read(source.text).node.as_ref().map(Node::to_json).expect("YAML");
        assert!(
            !document::parse(source.text, &kinds).is_accepted(),
            "line {}: by the control plane",
            source.first_line
        );
        assert!(!schema.is_valid(&document), "line {}: {document:#}", source.first_line);
        refused += 1;
    }
    assert!(refused > 20, "{refused} cases");
}

/// The API server's own code takes the definitions, and by them all that is accepted here; what has the wrong shape it refuses.
#[test]
fn kubernetes_takes_definitions_and_resources() {
    let kinds = ursa_policies::kinds();
    let definitions: Vec<_> = kinds.iter().filter_map(ursa_model::crd::definition).collect();
    let of_kubernetes = |document: &Json| document.get("type").is_some_and(|kind| kind != "Secret");
    let right: Vec<_> = documents()
        .into_iter()
        .filter(|(_, document, accepted)| *accepted && of_kubernetes(document))
        .map(|(_, document, _)| kubernetes(&document))
        .collect();
    let verdict = judged(&definitions, &right);
    let expected =
        format!("{} definitions, {} resources, 0 refusals\n", definitions.len(), right.len());
    assert_eq!(verdict, expected);

    let wrong = json!({"apiVersion": "kuma.io/v1alpha1", "kind": "MeshTrace", "metadata": {"name": "all"}, "spec": {
        "default": {"backends": [{"zipkin": {}}], "propagators": ["ottrace"], "sampling": {"overal": 1}}}});
    let verdict = judged(&definitions, &[wrong]);
    for words in [
        "backends[0].zipkin.url: Required value",
        "Unsupported value: \"ottrace\"",
        "unknown field spec.default.sampling.overal",
    ] {
        assert!(verdict.contains(words), "{verdict}");
    }
}

fn judged(definitions: &[Json], resources: &[Json]) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let paths = ["definitions", "resources"].map(|name| folder.path().join(name));
    for (path, items) in paths.iter().zip([definitions, resources]) {
        std::fs::write(path, json!({ "items": items }).to_string()).expect("a file");
    }
    let program = match std::env::var_os("XDG_CACHE_HOME") {
        Some(cache) => PathBuf::from(cache),
        None => PathBuf::from(std::env::var_os("HOME").expect("HOME")).join(".cache"),
    };
    let program = program.join("ursa/peers/crdcheck/0.37.0-1/crdcheck");
    assert!(program.is_file(), "{} is missing: run `cargo xtask peers`", program.display());
    let output = std::process::Command::new(program).args(paths).output().expect("it runs");
    String::from_utf8(output.stdout).expect("text")
}

/// What the API server demands of a structural schema.
#[test]
fn kubernetes_definitions_are_structural() {
    let kinds = ursa_policies::kinds();
    for definition in kinds.iter().filter_map(ursa_model::crd::definition) {
        let name = definition["metadata"]["name"].as_str().expect("a name").to_owned();
        let names = &definition["spec"]["names"];
        assert_eq!(name, format!("{}.kuma.io", names["plural"].as_str().expect("a plural")));
        let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        structural(schema, &name);
        assert_eq!(schema["type"], "object");
    }
}

const KEYWORDS: [&str; 17] = [
    "additionalProperties",
    "description",
    "enum",
    "items",
    "maxItems",
    "maxLength",
    "maximum",
    "minItems",
    "minLength",
    "minimum",
    "oneOf",
    "pattern",
    "properties",
    "required",
    "type",
    "x-kubernetes-int-or-string",
    "x-kubernetes-preserve-unknown-fields",
];

fn structural(schema: &Json, at: &str) {
    let keywords = schema.as_object().expect("a schema is an object");
    for keyword in keywords.keys() {
        assert!(KEYWORDS.contains(&keyword.as_str()), "{at}: {keyword}");
    }
    let has = |keyword: &str| keywords.contains_key(keyword);
    let free = has("x-kubernetes-int-or-string") || has("x-kubernetes-preserve-unknown-fields");
    assert!(schema["type"].is_string() || free, "{at} has no type");
    assert!(
        !(has("x-kubernetes-int-or-string") && has("type")),
        "{at}: the type is said by the extension"
    );
    assert!(!(has("properties") && has("additionalProperties")), "{at}: one or the other");
    assert_eq!(has("items"), schema["type"] == "array", "{at}: lists have items");
    for one in schema["oneOf"].as_array().into_iter().flatten() {
        assert!(
            one.as_object().is_some_and(|one| one.keys().all(|key| key == "required")),
            "{at}: {one}"
        );
    }
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        structural(field, &format!("{at}.{name}"));
    }
    for keyword in ["items", "additionalProperties"] {
        if has(keyword) {
            structural(&schema[keyword], &format!("{at}.{keyword}"));
        }
    }
}

#[test]
fn the_gateway_file_has_a_schema_that_its_examples_fit() {
    let schema = jsonschema::draft202012::new(&published::of_gateway()).expect("a schema");
    let mut paths = Vec::new();
    files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/gateway"), &mut paths);
    assert!(!paths.is_empty());
    for path in paths {
        let text = std::fs::read_to_string(&path).expect("a file of text");
        let document = yaml::read(&text).node.as_ref().map(Node::to_json).expect("YAML");
        let errors: Vec<_> = schema.iter_errors(&document).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{}: {errors:#?}", path.display());
        let mut wrong = document;
        wrong["reciever"] = json!([]);
        assert!(!schema.is_valid(&wrong));
    }
}
