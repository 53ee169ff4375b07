//! Policies as people wrote them for Kuma 2.x: each keeps its verdict and its effect.
//!
//! A file is a case (its first line names the proxy). Its second line is Kuma's verdict, `# kuma: accepts` or `# kuma: refuses`, of every document in
//! it. Where ours is another, a line `# differs: ` says why.

use ursa_model::document;

use super::{KINDS, outcome};

#[test]
fn kuma_2() {
    insta::with_settings!({snapshot_path => "../../corpus/kuma-2", prepend_module_to_snapshot => false, omit_expression => true}, {
        insta::glob!("../../corpus/kuma-2", "*.yaml", |path| {
            let case = std::fs::read_to_string(path).expect("a case is a text file");
            verdict_is_kumas(&case);
            insta::assert_snapshot!("expect", outcome(&case));
        });
    });
}

fn verdict_is_kumas(case: &str) {
    let kuma = case.lines().nth(1).and_then(|line| line.strip_prefix("# kuma: "));
    let accepts = match kuma {
        Some("accepts") => true,
        Some("refuses") => false,
        other => panic!("the second line is Kuma's verdict, and not {other:?}"),
    };
    let differs = case.lines().any(|line| line.starts_with("# differs: "));
    let parsed = document::parse(case, &KINDS);
    if accepts == differs {
        assert_eq!(parsed.documents, [], "each document is refused");
    } else {
        let refused: Vec<_> =
            parsed.violations.iter().filter(|violation| violation.is_refusal()).collect();
        assert!(refused.is_empty(), "{refused:?}");
    }
}
