use super::{GatewayFile, Listen, is_gateway, parse};
use crate::pipeline::processor::SignalName;
use crate::report::Violation;

/// What is wrong with a file, and what a pipeline is told by one that is accepted.
fn outcome(text: &str) -> String {
    let parsed = parse(text);
    let line = |violation: &Violation| {
        let warning = if violation.is_refusal() { "" } else { "warning: " };
        let hint = violation.hint.iter().map(|hint| format!("\n    {hint}"));
        format!("{warning}{violation}{}\n", hint.collect::<String>())
    };
    let mut outcome: String = parsed.violations.iter().map(line).collect();
    if let Some(file) = parsed.gateway {
        for (signal, config) in SignalName::ALL.iter().zip(file.pipeline().signals()) {
            let names: Vec<_> =
                config.backends.iter().map(|backend| backend.name.as_str()).collect();
            outcome += &[signal.name(), ": ", &names.join(", "), "\n"].concat();
        }
    }
    outcome
}

#[test]
fn cases() {
    insta::with_settings!({snapshot_path => "cases", prepend_module_to_snapshot => false, omit_expression => true}, {
        insta::glob!("cases/*.yaml", |case| {
            let text = std::fs::read_to_string(case).unwrap();
            insta::assert_snapshot!("expect", outcome(&text));
        });
    });
}

#[test]
fn what_is_written_is_read_again() {
    let text = include_str!("cases/whole.yaml");
    let file = parse(text).gateway.unwrap();
    let written = serde_json::to_string(&file).unwrap();
    let again: GatewayFile = parse(&written).gateway.unwrap();
    assert_eq!(again, file);
}

#[test]
fn gateway_files_are_told_from_resources() {
    for (text, expected) in [
        ("receivers: []", true),
        ("# only\n---\nexporters: [{console: {}}]\n", true),
        ("{\"receivers\": []}", true),
        ("type: MeshTrace\nname: a\n", false),
        ("kind: X\nexporters: []\n", false),
        ("", false),
        ("- receivers", false),
    ] {
        assert_eq!(is_gateway(text), expected, "{text}");
    }
}

#[test]
fn addresses() {
    let listen = |text: &str| text.parse::<Listen>().unwrap();
    for (text, local) in [
        ("127.0.0.1:1", true),
        ("[::1]:1", true),
        ("0.0.0.0:1", false),
        ("[::]:1", false),
        ("10.0.0.1:1", false),
        ("unix:/run/s", true),
    ] {
        assert_eq!((listen(text).is_local(), listen(text).to_string()), (local, text.to_owned()));
    }
    for (one, other, expected) in [
        ("127.0.0.1:1", "127.0.0.1:1", true),
        ("0.0.0.0:1", "127.0.0.1:1", true),
        ("127.0.0.2:1", "127.0.0.1:1", false),
        ("127.0.0.1:0", "127.0.0.1:0", false),
        ("unix:/a", "unix:/a", true),
        ("unix:/a", "127.0.0.1:1", false),
    ] {
        assert_eq!(listen(one).collides(&listen(other)), expected, "{one} {other}");
    }
    let long = format!("unix:/{}", "a".repeat(120));
    for text in ["", "4317", ":4317", "localhost:4317", "unix:", "unix:a", &long] {
        assert!(text.parse::<Listen>().is_err(), "{text}");
    }
}
