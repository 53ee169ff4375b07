//! What names, tags and addresses may look like.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use crate::report::Cursor;

/// The longest name of a resource: that of a DNS name.
const MAX_NAME: usize = 253;
/// The longest label of a DNS name, and the longest name of a mesh.
const MAX_LABEL: usize = 63;

/// Refuses the field of the cursor unless `name` can name a resource.
pub fn validate_resource_name(name: &str, cursor: &Cursor<'_>) {
    let allowed =
        |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-' | '_');
    if name.is_empty() {
        cursor.refuse("must not be empty");
    } else if !name.chars().all(allowed) {
        cursor.refuse("a name consists of lower-case letters, digits, `-`, `_` and `.`");
    } else if name.len() > MAX_NAME {
        cursor.refuse(format!("a name has at most {MAX_NAME} characters"));
    }
}

/// Refuses the field of the cursor unless `name` can name a mesh.
pub fn validate_mesh_name(name: &str, cursor: &Cursor<'_>) {
    if !is_dns_label(name) || name.chars().any(|c| c.is_ascii_uppercase()) {
        cursor.refuse(format!(
            "the name of a mesh consists of lower-case letters, digits and `-` within, at most {MAX_LABEL}"
        ));
    }
}

/// Refuses tags that could not be written to a proxy. The cursor stands on their object.
pub fn validate_tags(tags: &BTreeMap<String, String>, cursor: &Cursor<'_>) {
    validate_labels(tags, cursor);
    for (key, _) in tags.iter().filter(|(_, value)| value.is_empty()) {
        cursor.key(key).refuse("must not be empty");
    }
}

/// Refuses labels whose keys are none. Values may be empty, as in Kubernetes. The cursor stands on their object.
pub fn validate_labels(labels: &BTreeMap<String, String>, cursor: &Cursor<'_>) {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '/' | ':');
    for key in labels.keys() {
        if key.is_empty() {
            cursor.key(key).refuse("a key must not be empty");
        } else if !key.chars().all(allowed) {
            cursor.key(key).refuse("a key consists of letters, digits, `-`, `_`, `.`, `:` and `/`");
        }
    }
}

/// Whether `address` is an IP address (IPv6 without brackets).
pub fn is_ip(address: &str) -> bool {
    address.parse::<IpAddr>().is_ok()
}

/// Whether `host` is an IP address, an IPv6 address in brackets, or a DNS name.
pub fn is_host(host: &str) -> bool {
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    match bracketed {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => is_ip(host) || is_dns_name(host),
    }
}

fn is_dns_name(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let numeric = name.chars().all(|c| c.is_ascii_digit() || c == '.');
    name.len() <= MAX_NAME
        && !numeric
        && name.split('.').all(|label| is_dns_label(&label.replace('_', "-x")))
}

fn is_dns_label(label: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || c == '-';
    !label.is_empty()
        && label.len() <= MAX_LABEL
        && label.chars().all(inner)
        && !label.starts_with('-')
        && !label.ends_with('-')
}
