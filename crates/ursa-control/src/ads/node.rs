//! What a node says of itself. It is another's word: all of it is bounded.

use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::config::core::v3::node::UserAgentVersionType;
use envoy_types::pb::google::protobuf::value::Kind;
use ursa_envoy::abilities::{Abilities, Module};
use ursa_model::ProxyId;

use crate::proxies::Node;

/// Characters of what an agent says about versions that are kept.
const MAX_VERSION: usize = 64;
/// Characters of its words for why there is no module that are kept.
const MAX_WORDS: usize = 300;
/// Bytes of a path (`PATH_MAX` of Linux).
const MAX_PATH: usize = 4096;

/// `MESH.NAME`; a mesh's name has no dot.
pub(super) fn proxy_id(node: &str) -> Option<ProxyId> {
    let (mesh, name) = node.split_once('.')?;
    Some(ProxyId::new(mesh, name))
}

/// What a node says about its versions and the module: Envoy's version in the user agent, the rest in the metadata.
pub(super) fn describe(node: &core::Node) -> Node {
    let envoy = match &node.user_agent_version_type {
        Some(UserAgentVersionType::UserAgentVersion(version)) => Some(version.clone()),
        Some(UserAgentVersionType::UserAgentBuildVersion(build)) => {
            let version = build.version.as_ref();
            version.map(|v| format!("{}.{}.{}", v.major_number, v.minor_number, v.patch))
        }
        None => None,
    };
    let said = |name: &str| {
        let value = node.metadata.as_ref()?.fields.get(name)?;
        match value.kind.as_ref()? {
            Kind::StringValue(text) => Some(text.clone()),
            _ => None,
        }
    };
    let short = |text: String| text.chars().take(MAX_VERSION).collect::<String>();
    let envoy = envoy.or_else(|| said("envoyVersion")).map(short);
    let module = match (said("module"), said("moduleProblem")) {
        (Some(path), _) if is_path(&path) => Module::At(path),
        (Some(_), _) => Module::Missing("its agent says no absolute path of the module".to_owned()),
        (None, Some(words)) => {
            let printed = words.chars().filter(|letter| !letter.is_control());
            Module::Missing(printed.take(MAX_WORDS).collect())
        }
        (None, None) => Module::Missing("its agent is of a version without the module".to_owned()),
    };
    Node { abilities: Abilities { envoy, module }, agent: said("agentVersion").map(short) }
}

/// Whether Envoy can be told to open it.
fn is_path(text: &str) -> bool {
    text.starts_with('/') && text.len() <= MAX_PATH && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;
    use envoy_types::pb::google::protobuf::{Struct, Value};

    fn module(metadata: &[(&str, &str)]) -> Module {
        let text = |(name, text): &(&str, &str)| {
            let kind = Some(Kind::StringValue((*text).to_owned()));
            ((*name).to_owned(), Value { kind })
        };
        let metadata = Some(Struct { fields: metadata.iter().map(text).collect() });
        describe(&core::Node { metadata, ..core::Node::default() }).abilities.module
    }

    #[test]
    fn a_module_is_where_the_agent_says_if_that_is_a_path() {
        let path = "/run/ursa/m.so";
        assert_eq!(module(&[("module", path)]), Module::At(path.to_owned()));
        for bad in ["m.so", "", "/a\nb", &format!("/{}", "x".repeat(MAX_PATH))] {
            let words = module(&[("module", bad)]).problem().map(str::to_owned);
            assert_eq!(words.as_deref(), Some("its agent says no absolute path of the module"));
        }
        let long = format!("no\u{1b}\n{}", "x".repeat(1000));
        let words = module(&[("moduleProblem", &long)]).problem().map(str::to_owned).unwrap();
        assert!(words.starts_with("nox") && words.len() == MAX_WORDS, "{words}");
        assert!(module(&[]).problem().unwrap().contains("of a version without"));
    }
}
