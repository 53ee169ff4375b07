//! The file: what it needs, what it offers.

use std::process::Command;

use crate::loaded::written;

fn output(program: &str, arguments: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(program).args(arguments).arg(written(&folder)).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Every panic path would need `ursa_envoy_module_can_panic`.
#[test]
fn nothing_is_needed_but_the_loader_and_memory_functions() {
    let symbols = output("nm", &["--dynamic", "--undefined-only"]);
    let needed: Vec<_> =
        symbols.lines().filter_map(|line| line.split_whitespace().last()).collect();
    assert!(needed.contains(&"dlsym"), "{needed:?}");
    let known = ["dlsym", "memcpy", "memmove", "memset", "memcmp", "bcmp"];
    assert!(needed.iter().all(|symbol| known.contains(symbol)), "{needed:?}");
    let dynamic = output("readelf", &["--dynamic", "--wide"]);
    assert!(!dynamic.contains("NEEDED") && !dynamic.contains("INIT"), "{dynamic}");
    let segments = output("readelf", &["--program-headers", "--wide"]);
    assert!(!segments.contains(" TLS ") && !segments.contains("RWE"), "{segments}");
}

#[test]
fn only_hooks_are_offered_all_that_envoy_asks_for() {
    let symbols = output("nm", &["--dynamic", "--defined-only"]);
    let offered: Vec<_> =
        symbols.lines().filter_map(|line| line.split_whitespace().last()).collect();
    assert!(
        offered.iter().all(|symbol| symbol.starts_with("envoy_dynamic_module_on_")),
        "{offered:?}"
    );
    // The start, three hooks of the early header mutation, twenty of the HTTP filter.
    assert_eq!(offered.len(), 24);
}

#[test]
fn it_is_small() {
    let library = ursa_envoy_module::LIBRARY.unwrap();
    assert!(library.bytes.len() < 64 << 10, "{} bytes", library.bytes.len());
}
