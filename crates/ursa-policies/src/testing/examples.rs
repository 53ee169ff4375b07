//! The examples of the project: each is accepted, and does to a proxy what its snapshot says.

use std::path::{Path, PathBuf};

use ursa_model::document;

use super::{KINDS, TestProxy, outcome_for};

/// Folders whose files are no resources.
const ELSEWHERE: [&str; 1] = ["gateway"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples")
}

/// Files of the folder that are resources, by their path below it.
fn files() -> Vec<String> {
    let mut files = Vec::new();
    for folder in folder().read_dir().expect("the folder is there") {
        let folder = folder.expect("an entry");
        let name = folder.file_name().into_string().expect("names are UTF-8");
        if ELSEWHERE.contains(&name.as_str()) {
            continue;
        }
        for file in folder.path().read_dir().expect("examples are in folders") {
            let file = file.expect("an entry").file_name().into_string().expect("names are UTF-8");
            // What ends in `.yml` is for other programs.
            if Path::new(&file).extension().is_some_and(|extension| extension == "yaml") {
                files.push(format!("{name}/{file}"));
            }
        }
    }
    files.sort();
    files
}

#[test]
fn every_example_is_accepted() {
    for file in files() {
        let text = std::fs::read_to_string(folder().join(&file)).expect("a text");
        let parsed = document::parse(&text, &KINDS);
        assert!(parsed.is_accepted(), "{file}: {:?}", parsed.violations);
        assert!(!parsed.documents.is_empty(), "{file} is a resource");
    }
}

/// What is said of `backend`, which has a request to serve and two services to call. Backends do nothing until a policy names them; where they
/// lead is tested beside the model.
#[test]
fn what_examples_do() {
    let policies = files().into_iter().filter(|file| !file.starts_with("backends/"));
    insta::with_settings!({snapshot_path => "examples", prepend_module_to_snapshot => false, omit_expression => true}, {
        for file in policies {
            let text = std::fs::read_to_string(folder().join(&file)).expect("a text");
            let has_mtls = ["permissions/", "mutual-tls/"].iter().any(|it| file.starts_with(it));
            let proxy = TestProxy { has_mtls, ..TestProxy::named("example") };
            let outcome = outcome_for(&proxy, &text);
            insta::assert_snapshot!(file.replace('/', "__"), outcome);
        }
    });
}
