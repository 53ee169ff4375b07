//! All documents of the examples and of the policies' cases.

use std::path::{Path, PathBuf};

use serde_json::Value as Json;
use ursa_model::document;
use ursa_model::yaml;

/// The YAML files below `folder`.
pub(crate) fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            found.push(path);
        }
    }
}

/// The documents of the examples and of the policies' cases, as they are written, and whether they are accepted.
pub(crate) fn documents() -> Vec<(String, Json, bool)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = Vec::new();
    files(&root.join("src"), &mut paths);
    files(&root.join("../../examples"), &mut paths);
    let kinds = ursa_policies::kinds();
    let mut documents = Vec::new();
    for path in paths {
        let text = std::fs::read_to_string(&path).expect("a file of text");
        if ursa_model::gateway::is_gateway(&text) {
            continue;
        }
        for source in yaml::split(&text) {
            let Some(node) = yaml::read(source.text).node else { continue };
            let accepted = document::parse(source.text, &kinds).is_accepted();
            documents.push((
                format!("{}:{}", path.display(), source.first_line),
                node.to_json(),
                accepted,
            ));
        }
    }
    documents
}
