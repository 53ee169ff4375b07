//! Who may connect to a listener, as text.

use std::fmt::Write as _;

use ursa_envoy::proxy::{Listener, Permission};

use super::origin;
use crate::mesh_traffic_permission::Decision;

/// `None`: everyone may.
pub(super) fn of_listener(listener: &Listener, decisions: &[Decision]) -> Option<String> {
    let rules: Vec<_> = decisions.iter().map(|decision| decision.permission.clone()).collect();
    assert_eq!(rules, listener.permissions.as_ref()?.rules, "what is explained is what is done");
    let mut text = listener.name.clone();
    for Decision { permission: Permission { name, clients, verdict }, origin: own } in decisions {
        let clients: Vec<_> = clients.iter().map(ToString::to_string).collect();
        let (clients, origin) = (clients.join(" or "), origin(own));
        write!(text, "\n{verdict:?} {clients}, as {name}  [{origin}]")
            .expect("writing to a string");
    }
    Some(text + "\nDeny the others")
}
