//! Accepted spellings of what becomes of requests, turned into the canonical ones.

use ursa_model::percent;
use ursa_model::tree::Node;

use crate::spelling::say_form;

/// The forms of a filter and the `type` that says so.
const FILTERS: [(&str, &str); 5] = [
    ("requestHeaderModifier", "RequestHeaderModifier"),
    ("responseHeaderModifier", "ResponseHeaderModifier"),
    ("requestRedirect", "RequestRedirect"),
    ("urlRewrite", "URLRewrite"),
    ("requestMirror", "RequestMirror"),
];
/// The forms of another path and the `type` that says so.
const PATHS: [(&str, &str); 2] =
    [("replaceFullPath", "ReplaceFullPath"), ("replacePrefixMatch", "ReplacePrefixMatch")];

/// The node is the `default` of a rule.
pub(super) fn rewrite(routing: &mut Node) {
    for filter in routing.get_mut("filters").and_then(Node::as_list_mut).into_iter().flatten() {
        for with_path in ["requestRedirect", "urlRewrite"] {
            let path = filter.get_mut(with_path).and_then(|it| it.get_mut("path"));
            if let Some(path) = path.and_then(Node::as_map_mut) {
                say_form(path, &PATHS);
            }
        }
        if let Some(share) = filter.get_mut("requestMirror").and_then(|it| it.get_mut("percentage"))
        {
            percent::rewrite(share);
        }
        if let Some(filter) = filter.as_map_mut() {
            say_form(filter, &FILTERS);
        }
    }
}
