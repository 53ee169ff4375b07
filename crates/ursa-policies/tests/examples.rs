//! The policies in `examples`: each document is accepted without a warning.

use std::path::Path;

use ursa_model::document;

#[test]
fn every_example_is_accepted() {
    let kinds = ursa_policies::kinds();
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    for folder in ["access-logs", "demo", "mesh-trace", "metrics"] {
        let files = std::fs::read_dir(examples.join(folder)).unwrap();
        let paths = files.map(|file| file.unwrap().path());
        let paths: Vec<_> =
            paths.filter(|path| path.extension().is_some_and(|it| it == "yaml")).collect();
        assert!(!paths.is_empty(), "{folder} has examples");
        for path in paths {
            let text = std::fs::read_to_string(&path).unwrap();
            let parsed = document::parse(&text, &kinds);
            assert!(parsed.violations.is_empty(), "{}: {:#?}", path.display(), parsed.violations);
        }
    }
}
