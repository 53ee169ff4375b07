//! Which requests are meant, in words: what tells the rules of routes apart, and what explaining calls them.

use ursa_model::tree::Node;

/// In words what `matches` mean, each of which may: `GET /v2/*, x-version=beta`. Equal words mean equal requests.
pub(crate) fn described(matches: &Node) -> String {
    let all: Vec<_> = matches.as_list().unwrap_or_default().iter().map(one).collect();
    all.join(" or ")
}

fn one(matched: &Node) -> String {
    let mut words = path(matched.get("path"));
    if let Some(method) = matched.get("method").and_then(Node::as_str) {
        words.insert_str(0, &format!("{method} "));
    }
    let items = |field| matched.get(field).and_then(Node::as_list).unwrap_or_default();
    for header in items("headers") {
        words.push_str(", ");
        words.push_str(&compared(header, &text(header, "name").to_ascii_lowercase()));
    }
    for parameter in items("queryParams") {
        words.push_str(", ?");
        words.push_str(&compared(parameter, text(parameter, "name")));
    }
    words
}

fn path(path: Option<&Node>) -> String {
    let Some(path) = path else { return "/*".to_owned() };
    let value = text(path, "value");
    match text(path, "type") {
        "Exact" => format!("={}", quoted(value)),
        "RegularExpression" => format!("~{}", quoted(value)),
        _ => format!("{}/*", quoted(value.trim_end_matches('/'))),
    }
}

fn compared(item: &Node, name: &str) -> String {
    let value = quoted(text(item, "value"));
    match text(item, "type") {
        "Present" => name.to_owned(),
        "Absent" => format!("!{name}"),
        "Prefix" => format!("{name}^={value}"),
        "RegularExpression" => format!("{name}~{value}"),
        _ => format!("{name}={value}"),
    }
}

fn text<'n>(node: &'n Node, field: &str) -> &'n str {
    node.get(field).and_then(Node::as_str).unwrap_or_default()
}

/// What could be taken for something else is put in quotes.
fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-%+@".contains(c);
    if text.chars().all(is_plain) { text.to_owned() } else { format!("{text:?}") }
}
