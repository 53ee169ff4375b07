//! The backends in `examples/backends`: each is a document that is accepted without a warning.

use std::collections::BTreeMap;
use std::path::Path;

use ursa_model::backend::{OpenTelemetryBackend, Protocol};
use ursa_model::document::parse;

#[test]
fn every_backend_is_accepted_and_goes_where_it_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/backends");
    let mut places = BTreeMap::new();
    for entry in std::fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("an entry").path();
        let text = std::fs::read_to_string(&path).expect("a file of text");
        let parsed = parse(&text, &ursa_model::kinds());
        assert!(parsed.violations.is_empty(), "{}: {:?}", path.display(), parsed.violations);
        let [document] = &parsed.documents[..] else { panic!("{} holds one", path.display()) };
        let name = document.key.name.clone();
        assert_eq!(path.file_stem().and_then(|stem| stem.to_str()), Some(name.as_str()));
        let spec = document.to_json()["spec"].clone();
        let spec: OpenTelemetryBackend = serde_json::from_value(spec).expect("a backend");
        let to = spec.resolve().expect("an endpoint");
        let scheme = match (to.protocol, to.tls) {
            (Protocol::Grpc, false) => "grpc",
            (Protocol::Grpc, true) => "grpcs",
            (Protocol::Http, false) => "http",
            (Protocol::Http, true) => "https",
        };
        let path = if to.protocol == Protocol::Http { to.signal_path("*") } else { String::new() };
        places.insert(name, format!("{scheme}://{}:{}{path}", to.host, to.port));
    }
    let places: Vec<_> = places.iter().map(|(name, place)| format!("{name} {place}")).collect();
    insta::with_settings!({omit_expression => true}, {
        insta::assert_snapshot!("backends", places.join("\n"));
    });
}
