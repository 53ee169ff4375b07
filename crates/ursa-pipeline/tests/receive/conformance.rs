//! The table of OTLP's rules names tests that there are.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn the_table_names_tests_that_there_are() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut files = Vec::new();
    for folder in ["crates/ursa-pipeline", "crates/ursa-otlp"] {
        sources(&root.join(folder), &mut files);
    }
    let mut tests = BTreeSet::new();
    for file in files {
        let text = std::fs::read_to_string(file).unwrap();
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            let line = line.trim();
            if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
                let name = lines.find_map(|line| line.split_once("fn ")?.1.split('(').next());
                tests.extend(name.map(str::to_owned));
            }
        }
    }
    let table = std::fs::read_to_string(root.join("docs/reference/otlp-conformance.md")).unwrap();
    let mut rows = 0;
    for row in table.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| rule")) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [rule, force, shown] = *cells else { panic!("{row}") };
        assert!(["MUST", "MUST NOT", "SHOULD", "SHOULD NOT"].contains(&force), "{row}");
        let names: Vec<&str> = shown.split('`').skip(1).step_by(2).collect();
        assert!(shown.starts_with("not implemented: ") == names.is_empty(), "{rule}: {shown}");
        for name in names {
            assert!(tests.contains(name), "{rule}: there is no test {name}");
        }
        rows += 1;
    }
    assert!(rows > 35, "{rows}");
}
