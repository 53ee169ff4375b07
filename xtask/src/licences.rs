//! What we may ship: every crate's licence, and the crates that must not come in.

use std::collections::BTreeSet;

use anyhow::bail;

use crate::project::{cargo, run_quietly};

/// Licences compatible with Apache-2.0 that ask for no more than to be named.
const ALLOWED: [&str; 12] = [
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Zlib",
];

/// Crates that are refused, and why.
const BANNED: [(&str, &str); 3] = [
    ("openssl-sys", "one TLS stack: rustls"),
    ("native-tls", "one TLS stack: rustls"),
    ("ring", "one provider of cryptography: aws-lc-rs"),
];

/// Finds every crate that may not be used.
pub(crate) fn check() -> anyhow::Result<()> {
    // Not from `cargo metadata`: that also names crates behind features that nobody asked for.
    let tree = ["tree", "--workspace", "--locked", "--prefix=none", "--format={p}|{l}"];
    let tree = String::from_utf8(run_quietly(&mut cargo(&tree))?)?;
    let wrong = wrong_crates(&tree);
    if !wrong.is_empty() {
        bail!("{}", wrong.join("\n"));
    }
    Ok(())
}

/// Reads lines like `ring v0.17.14|Apache-2.0 AND ISC`, a mark of repetition at their end.
fn wrong_crates(tree: &str) -> Vec<String> {
    let mut wrong = BTreeSet::new();
    for (package, licence) in tree.lines().filter_map(|line| line.split_once('|')) {
        let name = package.split_whitespace().next().unwrap_or_default();
        let licence = licence.trim_end_matches(" (*)");
        if let Some((_, why)) = BANNED.iter().find(|(banned, _)| *banned == name) {
            wrong.insert(format!("{name} must not be used: {why}"));
        }
        if !is_allowed(licence) {
            wrong.insert(format!(
                "{name} has the licence {licence:?}; see ALLOWED in xtask/src/licences.rs"
            ));
        }
    }
    wrong.into_iter().collect()
}

fn is_allowed(licence: &str) -> bool {
    // Old manifests write `MIT/Apache-2.0`.
    spdx::Expression::parse_mode(licence, spdx::ParseMode::LAX).is_ok_and(|expression| {
        expression
            .evaluate(|needed| needed.license.id().is_some_and(|id| ALLOWED.contains(&id.name)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_is_allowed_when_one_of_it_is() {
        assert!(is_allowed("MIT OR LGPL-2.1-or-later"));
        assert!(is_allowed("MIT/Apache-2.0"));
        assert!(is_allowed("(Apache-2.0 OR MIT) AND BSD-3-Clause"));
        assert!(!is_allowed("GPL-3.0-only"));
        assert!(!is_allowed("MIT AND GPL-3.0-only"));
        assert!(!is_allowed(""));
    }

    #[test]
    fn a_banned_crate_is_named_with_the_reason() {
        let tree = "serde v1.0.229|MIT OR Apache-2.0\nring v0.17.14|Apache-2.0 AND ISC\nring v0.17.14|Apache-2.0 AND ISC (*)\n";
        assert_eq!(
            wrong_crates(tree),
            ["ring must not be used: one provider of cryptography: aws-lc-rs"]
        );
    }
}
