//! Documents that are accepted, as what they become; documents that are refused, with the words.

mod sample;

use std::path::Path;

use ursa_model::document::{Parsed, parse, parse_one, to_yaml};
use ursa_model::report::Violation;

fn listed(violations: &[Violation]) -> String {
    let line = |violation: &Violation| {
        let warning = if violation.is_refusal() { "" } else { "warning: " };
        let hint = violation.hint.iter().map(|hint| format!("\n    {hint}"));
        format!("{warning}{violation}{}\n", hint.collect::<String>())
    };
    violations.iter().map(line).collect::<Vec<_>>().concat()
}

fn read(case: &Path) -> (String, Parsed) {
    let text = std::fs::read_to_string(case).expect("a case can be read");
    let parsed = parse(&text, &sample::kinds());
    (text, parsed)
}

#[test]
fn refused() {
    insta::with_settings!({snapshot_path => "../cases/bad", prepend_module_to_snapshot => false, omit_expression => true}, {
        insta::glob!("../cases/bad", "*.yaml", |case| {
            let (_, parsed) = read(case);
            let accepted: Vec<_> = parsed.documents.iter().map(|document| format!("accepted: {}\n", document.key)).collect();
            insta::assert_snapshot!("expect", listed(&parsed.violations) + &accepted.concat());
        });
    });
}

#[test]
fn accepted() {
    let kinds = sample::kinds();
    insta::with_settings!({snapshot_path => "../cases/good", prepend_module_to_snapshot => false, omit_expression => true}, {
        insta::glob!("../cases/good", "*.yaml", |case| {
            let (text, parsed) = read(case);
            assert!(parsed.is_accepted(), "{}: {}", case.display(), listed(&parsed.violations));
            let mut outcome = vec![listed(&parsed.violations)];
            for document in &parsed.documents {
                let yaml = to_yaml(&document.to_json());
                outcome.push(format!("--- # {}\n{yaml}", document.place));
                let again = parse_one(&yaml, &kinds, 1).expect("what is printed is accepted").0;
                assert_eq!(again.to_json(), document.to_json(), "what is printed is canonical");
                let (alone, _) = parse_one(&document.text, &kinds, document.place.line).expect("its own text is a document");
                assert_eq!(&alone, document, "its own text, where it stood, is the same document");
                assert!(text.contains(&document.text));
            }
            insta::assert_snapshot!("expect", outcome.concat());
        });
    });
}
