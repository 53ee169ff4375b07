//! Who may connect.

use crate::proxy::{Client, Permission, Permissions, TAG_NAMES, TextMatch};

/// Who connects, by its certificate.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Caller {
    /// The names (URI SANs) in its certificate; without one none.
    pub names: Vec<String>,
    /// The server that it asks for (SNI).
    pub server_name: Option<String>,
}

/// The rule that decides about `caller`, and its place among the rules. None: it is denied, because no rule means it.
pub fn decisive<'p>(
    permissions: &'p Permissions,
    caller: &Caller,
) -> Option<(usize, &'p Permission)> {
    let means =
        |rule: &Permission| rule.clients.iter().any(|client| client_matches(client, caller));
    permissions.rules.iter().enumerate().find(|(_, rule)| means(rule))
}

fn client_matches(client: &Client, caller: &Caller) -> bool {
    let named = |is: &dyn Fn(&str) -> bool| caller.names.iter().any(|name| is(name));
    match client {
        Client::Any => true,
        Client::Spiffe(TextMatch::Exact(exact)) => named(&|name| name == exact),
        Client::Spiffe(TextMatch::Prefix(prefix)) => named(&|name| name.starts_with(prefix)),
        Client::ServerName(server) => caller.server_name.as_ref() == Some(server),
        Client::All(all) => all.iter().all(|client| client_matches(client, caller)),
        Client::Not(client) => !client_matches(client, caller),
        Client::Tags(tags) => tags.iter().all(|(key, value)| {
            let key = format!("{TAG_NAMES}{key}/");
            named(&|name| name.strip_prefix(&key).is_some_and(|own| value == "*" || own == value))
        }),
    }
}
