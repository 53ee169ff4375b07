//! Processors that are refused or warned of, with the words.

use ursa_model::pipeline::Processor;
use ursa_model::report::{Report, Violation};
use ursa_model::{schema, yaml};

fn listed(violations: &[Violation]) -> String {
    let line = |violation: &Violation| {
        let warning = if violation.is_refusal() { "" } else { "warning: " };
        let hint = violation.hint.iter().map(|hint| format!("\n    {hint}"));
        format!("{warning}{violation}{}\n", hint.collect::<String>())
    };
    violations.iter().map(line).collect()
}

#[test]
fn processors() {
    let list = schemars::schema_for!(Vec<Processor>);
    insta::with_settings!({snapshot_path => "../cases/processors", prepend_module_to_snapshot => false, omit_expression => true}, {
        insta::glob!("../cases/processors", "*.yaml", |case| {
            let text = std::fs::read_to_string(case).expect("a case can be read");
            let read = yaml::read(&text);
            let node = &read.node.expect("a case is YAML");
            let report = Report::new(node);
            let cursor = report.cursor();
            schema::check(node, &list, &cursor);
            if !report.refuses()
                && let Some(processors) = cursor.decode::<Vec<Processor>>(node)
            {
                Processor::validate_all(&processors, &cursor);
            }
            insta::assert_snapshot!("expect", listed(&report.finish()));
        });
    });
}
