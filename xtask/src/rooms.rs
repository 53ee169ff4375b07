//! Who may use whom: proved from `cargo metadata`, so that the rooms stay as they were laid out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::project::{cargo, root, run_quietly};

/// Bottom to top: each may use only those before it, in tests too.
const ROOMS: [&str; 16] = [
    "ursa-model",
    "ursa-metrics",
    "ursa-propagation",
    "ursa-envoy-module",
    "ursa-otlp",
    "ursa-series",
    "ursa-queue",
    "ursa-pipeline",
    "ursa-gateway",
    "ursa-envoy",
    "ursa-policies",
    "ursa-store",
    "ursa-control",
    "ursa-agent",
    "ursa-cli",
    "ursa",
];

/// What a room must not know, though it lies below.
const MUST_NOT_KNOW: [(&str, &[&str]); 12] = [
    ("ursa-metrics", &["ursa-model"]),
    ("ursa-propagation", &["ursa-model", "ursa-metrics"]),
    ("ursa-envoy-module", &["ursa-model", "ursa-metrics"]),
    ("ursa-otlp", &["ursa-metrics"]),
    ("ursa-queue", &["ursa-model", "ursa-metrics", "ursa-otlp", "ursa-series"]),
    ("ursa-pipeline", &["ursa-series"]),
    ("ursa-gateway", &["ursa-otlp", "ursa-series", "ursa-queue"]),
    (
        "ursa-envoy",
        &[
            "ursa-gateway",
            "ursa-pipeline",
            "ursa-otlp",
            "ursa-series",
            "ursa-queue",
            "ursa-metrics",
        ],
    ),
    ("ursa-policies", &["ursa-gateway", "ursa-series"]),
    (
        "ursa-store",
        &[
            "ursa-gateway",
            "ursa-pipeline",
            "ursa-otlp",
            "ursa-queue",
            "ursa-envoy",
            "ursa-policies",
        ],
    ),
    ("ursa-control", &["ursa-gateway", "ursa-series"]),
    ("ursa-agent", &["ursa-policies", "ursa-gateway"]),
];

/// Rooms that take values and return values. Their tests may do more.
const PURE: [&str; 6] =
    ["ursa-model", "ursa-propagation", "ursa-otlp", "ursa-series", "ursa-envoy", "ursa-policies"];

/// Crates by which a pure room would wait, or talk to somebody.
const IMPURE_CRATES: [&str; 12] = [
    "async-std",
    "hyper",
    "mio",
    "notify",
    "reqwest",
    "rustls",
    "smol",
    "socket2",
    "sqlx",
    "tokio",
    "tonic",
    "tower",
];

/// Crates that bring impure ones which a pure room does not use: the services that come with Envoy's
/// and OTLP's messages are clients and servers of tonic.
const EXCUSED_CRATES: [&str; 2] = ["envoy-types", "opentelemetry-proto"];

/// Parts of the standard library by which a pure room would do input or output.
const IMPURE_PATHS: [&str; 12] = [
    "std::env",
    "std::fs",
    "std::os",
    "std::process",
    "std::thread",
    "Instant::now",
    "SystemTime::now",
    "TcpListener",
    "TcpStream",
    "ToSocketAddrs",
    "UdpSocket",
    "UnixStream",
];

/// Finds every use that must not be.
pub(crate) fn check() -> anyhow::Result<()> {
    let metadata = run_quietly(&mut cargo(&["metadata", "--format-version=1", "--locked"]))?;
    let workspace = Workspace::read(&serde_json::from_slice(&metadata)?)?;
    let mut wrong = wrong_uses(&workspace);
    for room in PURE {
        wrong.extend(impure_lines(&root().join("crates").join(room).join("src"))?);
    }
    if !wrong.is_empty() {
        bail!("{}", wrong.join("\n"));
    }
    Ok(())
}

/// What `cargo metadata` says of who uses whom.
#[derive(Debug, Default)]
struct Workspace {
    /// Members, and the names of all crates that they use directly, in whichever way.
    members: BTreeMap<String, BTreeSet<String>>,
    /// Package id to name.
    names: BTreeMap<String, String>,
    /// Package id to the ids it uses, other than for tests and building.
    uses: BTreeMap<String, Vec<String>>,
}

impl Workspace {
    fn read(metadata: &Value) -> anyhow::Result<Self> {
        let list = |value: &Value, name: &str| {
            value[name]
                .as_array()
                .cloned()
                .with_context(|| format!("no {name} in cargo's metadata"))
        };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let members: BTreeSet<String> =
            list(metadata, "workspace_members")?.iter().map(text).collect();
        let mut workspace = Self::default();
        for package in list(metadata, "packages")? {
            let (id, name) = (text(&package["id"]), text(&package["name"]));
            if members.contains(&id) {
                let used = list(&package, "dependencies")?;
                let used = used.iter().map(|used| text(&used["name"])).collect();
                workspace.members.insert(name.clone(), used);
            }
            workspace.names.insert(id, name);
        }
        for node in list(&metadata["resolve"], "nodes")? {
            let mut uses = Vec::new();
            for used in list(&node, "deps")? {
                if list(&used, "dep_kinds")?.iter().any(|kind| kind["kind"].is_null()) {
                    uses.push(text(&used["pkg"]));
                }
            }
            workspace.uses.insert(text(&node["id"]), uses);
        }
        Ok(workspace)
    }

    /// How a member comes to use an impure crate, if it does.
    fn way_to_impure(&self, member: &str) -> Option<Vec<String>> {
        let start = self.names.iter().find(|(_, name)| *name == member)?.0;
        let mut seen = BTreeSet::from([start]);
        let mut ways = vec![vec![start]];
        while let Some(way) = ways.pop() {
            for used in way.last().and_then(|last| self.uses.get(*last)).into_iter().flatten() {
                let name = self.names.get(used)?.as_str();
                let way: Vec<_> = way.iter().copied().chain([used]).collect();
                if IMPURE_CRATES.contains(&name) {
                    let names = way.iter().filter_map(|id| self.names.get(*id).cloned());
                    return Some(names.collect());
                }
                if seen.insert(used) && !EXCUSED_CRATES.contains(&name) {
                    ways.push(way);
                }
            }
        }
        None
    }
}

fn wrong_uses(workspace: &Workspace) -> Vec<String> {
    let mut wrong = Vec::new();
    let place = |name: &str| ROOMS.iter().position(|room| *room == name);
    for (member, uses) in &workspace.members {
        if member == "xtask" {
            continue;
        }
        let Some(own) = place(member) else {
            wrong.push(format!("{member} is no room; give it its place in xtask/src/rooms.rs"));
            continue;
        };
        for used in uses {
            if place(used).is_some_and(|used| used > own) {
                wrong.push(format!("{member} uses {used}, which lies above it"));
            }
        }
        for (_, unknown) in MUST_NOT_KNOW.iter().filter(|(room, _)| room == member) {
            for used in unknown.iter().filter(|unknown| uses.contains(**unknown)) {
                wrong.push(format!("{member} must not know {used}"));
            }
        }
    }
    for room in PURE {
        if let Some(way) = workspace.way_to_impure(room) {
            wrong.push(format!("{room} is pure, but: {}", way.join(" -> ")));
        }
    }
    wrong
}

/// Lines of a pure room, other than of its tests, that do input or output.
fn impure_lines(directory: &Path) -> anyhow::Result<Vec<String>> {
    let mut wrong = Vec::new();
    for path in sources(directory)? {
        let text = std::fs::read_to_string(&path)?;
        let own = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        for (number, line) in own.lines().enumerate() {
            let impure = IMPURE_PATHS.iter().find(|path| line.contains(**path));
            if let Some(impure) = impure.filter(|_| !line.trim_start().starts_with("//")) {
                let path = path.strip_prefix(root()).unwrap_or(&path).display();
                wrong.push(format!("{path}:{}: a pure room has no {impure}", number + 1));
            }
        }
    }
    Ok(wrong)
}

fn sources(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let is_tests = path.file_stem().is_some_and(|stem| stem == "tests" || stem == "testing");
        if path.is_dir() && !is_tests {
            found.extend(sources(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") && !is_tests {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A workspace of members and what they use; other names are crates from outside.
    fn workspace(uses: &[(&str, &[&str])]) -> Workspace {
        let mut workspace = Workspace::default();
        for (name, used) in uses {
            let used = used.iter().map(|used| (*used).to_owned());
            if name.starts_with("ursa") {
                workspace.members.insert((*name).to_owned(), used.clone().collect());
            }
            for name in used.clone().chain([(*name).to_owned()]) {
                workspace.names.insert(name.clone(), name);
            }
            workspace.uses.insert((*name).to_owned(), used.collect());
        }
        workspace
    }

    #[test]
    fn uses_from_above_to_below_are_right() {
        let right = workspace(&[
            ("ursa", &["ursa-agent", "ursa-model", "tokio"]),
            ("ursa-envoy", &["ursa-model", "envoy-types"]),
            ("envoy-types", &["tonic"]),
        ]);
        assert_eq!(wrong_uses(&right), [""; 0]);
    }

    #[test]
    fn every_wrong_use_is_said() {
        let wrong = workspace(&[
            ("ursa-agent", &["ursa-policies"]),
            ("ursa-model", &["ursa-store", "a"]),
            ("ursa-other", &[]),
            ("a", &["b"]),
            ("b", &["mio"]),
        ]);
        assert_eq!(
            wrong_uses(&wrong),
            [
                "ursa-agent must not know ursa-policies",
                "ursa-model uses ursa-store, which lies above it",
                "ursa-other is no room; give it its place in xtask/src/rooms.rs",
                "ursa-model is pure, but: ursa-model -> a -> b -> mio",
            ]
        );
    }

    #[test]
    fn impure_lines_are_found_but_not_in_tests_and_comments() {
        let directory = std::env::temp_dir().join(format!("rooms-{}", std::process::id()));
        std::fs::create_dir_all(directory.join("tests")).unwrap();
        let text = "// std::fs is not here\nuse std::fs::File;\n#[cfg(test)]\nmod tests {\nuse std::fs;\n}\n";
        std::fs::write(directory.join("lib.rs"), text).unwrap();
        std::fs::write(directory.join("tests/mod.rs"), "use std::fs;").unwrap();
        let wrong = impure_lines(&directory);
        std::fs::remove_dir_all(&directory).unwrap();
        let wrong = wrong.unwrap();
        assert!(wrong.len() == 1 && wrong[0].ends_with("lib.rs:2: a pure room has no std::fs"));
    }
}
