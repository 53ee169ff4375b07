//! What is written of a request: lines, attributes, and the placeholders in them.

use ursa_envoy::baggage;
use ursa_envoy::format::operators::TABLE;
use ursa_envoy::format::{Command, Format, FormatError};
use ursa_envoy::proxy::{Direction, Listener, ListenerTls, Permissions, ProxyConfig, Verdict};
use ursa_model::Authority;
use ursa_model::dataplane::WORKLOAD_LABEL;
use ursa_model::report::Cursor;
use ursa_model::suggest;

use crate::header::is_token;

/// Kuma's line of a request.
pub(super) const HTTP_LINE: &str = r#"[%START_TIME%] %KUMA_MESH% "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" "%REQ(X-B3-TRACEID?X-DATADOG-TRACEID)%" "%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%KUMA_SOURCE_SERVICE%" "%KUMA_DESTINATION_SERVICE%" "%KUMA_SOURCE_ADDRESS_WITHOUT_PORT%" "%UPSTREAM_HOST%""#;
/// Kuma's line of a connection.
pub(super) const TCP_LINE: &str = "[%START_TIME%] %RESPONSE_FLAGS% %KUMA_MESH% %KUMA_SOURCE_ADDRESS_WITHOUT_PORT%(%KUMA_SOURCE_SERVICE%)->%UPSTREAM_HOST%(%KUMA_DESTINATION_SERVICE%) took %DURATION%ms, sent %BYTES_SENT% bytes, received: %BYTES_RECEIVED% bytes";

/// The status and the response flags, from which the agent makes the severity.
pub(super) const OUTCOME: &str = "%RESPONSE_CODE% %RESPONSE_FLAGS%";

/// A log record's attributes where a policy names none.
pub(super) fn attributes(
    http: bool,
    direction: Direction,
) -> impl Iterator<Item = (&'static str, &'static str)> {
    const HTTP: [(&str, &str); 10] = [
        ("http.request.method", "%REQ(:METHOD)%"),
        ("url.scheme", "%REQ(:SCHEME)%"),
        ("url.path", "%PATH(NQ:ORIG_OR_PATH)%"),
        ("http.response.status_code", "%RESPONSE_CODE%"),
        ("server.address", "%REQ(:AUTHORITY)%"),
        ("user_agent.original", "%REQ(USER-AGENT)%"),
        ("network.protocol.version", "%PROTOCOL%"),
        ("http.request.body.size", "%BYTES_RECEIVED%"),
        ("http.response.body.size", "%BYTES_SENT%"),
        ("envoy.request_id", "%REQ(X-REQUEST-ID)%"),
    ];
    const TCP: [(&str, &str); 3] = [
        ("network.transport", "tcp"),
        ("envoy.bytes_received", "%BYTES_RECEIVED%"),
        ("envoy.bytes_sent", "%BYTES_SENT%"),
    ];
    const INBOUND: [(&str, &str); 3] = [
        ("client.address", "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"),
        ("network.peer.address", "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%"),
        ("network.peer.port", "%DOWNSTREAM_DIRECT_REMOTE_PORT%"),
    ];
    const OUTBOUND: [(&str, &str); 2] = [
        ("network.peer.address", "%UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"),
        ("network.peer.port", "%UPSTREAM_REMOTE_PORT%"),
    ];
    const ALWAYS: [(&str, &str); 7] = [
        ("envoy.duration_ms", "%DURATION%"),
        ("envoy.response_flags", "%RESPONSE_FLAGS%"),
        ("envoy.response_code_details", "%RESPONSE_CODE_DETAILS%"),
        ("envoy.upstream_cluster", "%UPSTREAM_CLUSTER_RAW%"),
        ("kuma.source_service", "%KUMA_SOURCE_SERVICE%"),
        ("kuma.destination_service", "%KUMA_DESTINATION_SERVICE%"),
        ("kuma.traffic_direction", "%KUMA_TRAFFIC_DIRECTION%"),
    ];
    let protocol = if http { &HTTP[..] } else { &TCP };
    let peer = match direction {
        Direction::Inbound => &INBOUND[..],
        Direction::Outbound => &OUTBOUND,
    };
    protocol.iter().chain(peer).chain(&ALWAYS).copied()
}

/// What is said besides of an inbound that asks who may connect: what closed a connection, and what a shadow says.
pub(super) fn permission_attributes(
    http: bool,
    permissions: &Permissions,
) -> impl Iterator<Item = (&'static str, &'static str)> {
    const CLOSED: [(&str, &str); 1] =
        [("envoy.connection_termination_details", "%CONNECTION_TERMINATION_DETAILS%")];
    const HTTP: [(&str, &str); 2] = [
        (
            "envoy.rbac_shadow_result",
            "%DYNAMIC_METADATA(envoy.filters.http.rbac:shadow_engine_result)%",
        ),
        (
            "envoy.rbac_shadow_policy",
            "%DYNAMIC_METADATA(envoy.filters.http.rbac:shadow_effective_policy_id)%",
        ),
    ];
    const TCP: [(&str, &str); 2] = [
        (
            "envoy.rbac_shadow_result",
            "%DYNAMIC_METADATA(envoy.filters.network.rbac:shadow_engine_result)%",
        ),
        (
            "envoy.rbac_shadow_policy",
            "%DYNAMIC_METADATA(envoy.filters.network.rbac:shadow_effective_policy_id)%",
        ),
    ];
    let closed = if http { &[][..] } else { &CLOSED };
    let has_shadow =
        permissions.rules.iter().any(|rule| rule.verdict == Verdict::AllowWithShadowDeny);
    let shadow = match (has_shadow, http) {
        (false, _) => &[][..],
        (true, true) => &HTTP,
        (true, false) => &TCP,
    };
    closed.iter().chain(shadow).copied()
}

/// The placeholders, in the order of [`Placeholders`]'s values.
const NAMES: [&str; 8] = [
    "KUMA_MESH",
    "KUMA_ZONE",
    "KUMA_WORKLOAD",
    "KUMA_SOURCE_SERVICE",
    "KUMA_DESTINATION_SERVICE",
    "KUMA_SOURCE_ADDRESS",
    "KUMA_SOURCE_ADDRESS_WITHOUT_PORT",
    "KUMA_TRAFFIC_DIRECTION",
];

/// The operator that says a member of a request's W3C Baggage, which Envoy has not.
const BAGGAGE: &str = "BAGGAGE";

/// What `%BAGGAGE(…)%` names: a token.
fn member_of(command: &Command) -> Option<&str> {
    let member = command.argument.as_deref().filter(|_| command.name == BAGGAGE)?;
    is_token(member).then_some(member)
}

/// The placeholder for who calls.
const SOURCE: &str = "KUMA_SOURCE_SERVICE";

/// Who calls by TLS: the first name in its certificate, which is its SPIFFE id.
fn caller(length: Option<usize>) -> Command {
    let name = "connection.uri_san_peer_certificate".to_owned();
    Command { name: "CEL".to_owned(), argument: Some(name), length }
}

/// What `%KUMA_…%` says on one listener: fixed texts, but for who calls it by TLS.
#[derive(Debug)]
pub(super) struct Placeholders {
    values: [String; NAMES.len()],
    knows_caller: bool,
}

impl Placeholders {
    /// On `listener` of `proxy`.
    pub(super) fn of(proxy: &ProxyConfig, listener: &Listener) -> Self {
        let fact = |name: &str| proxy.pipeline.facts.get(name).cloned().unwrap_or_default();
        // Who calls an inbound is not known without a certificate.
        let (source, direction) = match listener.direction {
            Direction::Inbound => ("unknown", "INBOUND"),
            Direction::Outbound => (proxy.service.as_str(), "OUTBOUND"),
        };
        let address = &proxy.address;
        let with_port = Authority { host: address, port: 0 }.to_string();
        let values = [
            proxy.id.mesh.clone(),
            fact("zone"),
            fact(WORKLOAD_LABEL),
            source.to_owned(),
            listener.destination.clone(),
            with_port,
            address.clone(),
            direction.to_owned(),
        ];
        let knows_caller =
            listener.direction == Direction::Inbound && listener.tls != ListenerTls::Off;
        Self { values, knows_caller }
    }

    /// `text` for Envoy. A text that is no format was refused; here it would be written as it is.
    pub(super) fn fill(&self, text: &str) -> String {
        let value = |name: &str| {
            let at = NAMES.iter().position(|known| *known == name)?;
            let is_fixed = name != SOURCE || !self.knows_caller;
            self.values.get(at).map(String::as_str).filter(|_| is_fixed)
        };
        match Format::parse(text) {
            Ok(format) => {
                let other = |command: &Command| {
                    if command.name == SOURCE {
                        return Some(caller(command.length));
                    }
                    let member = member_of(command)?;
                    Some(baggage::command(member, command.length))
                };
                format.replace(value).replace_commands(other).to_string()
            }
            Err(_) => text.replace('%', "%%"),
        }
    }
}

/// Reports what Envoy would not read in `text`.
pub(super) fn check(text: &str, report: &Cursor<'_>) {
    let format = match Format::parse(text) {
        Ok(format) => format,
        Err(error) => return refuse_malformed(&error, report),
    };
    for command in format.commands() {
        if command.name == BAGGAGE {
            if member_of(command).is_none() {
                report.refuse_with_hint(
                    format!("`{command}` names no member of baggage"),
                    "for example `%BAGGAGE(tenant.id)%`",
                );
            }
            continue;
        }
        if NAMES.contains(&command.name.as_str()) {
            if command.argument.is_some() || command.length.is_some() {
                report.refuse(format!(
                    "`{command}` stands for a fixed text; write `%{}%`",
                    command.name
                ));
            }
            continue;
        }
        match command.check() {
            Ok(operator) if operator.newer => report.warn(format!(
                "`%{}%` is not known to Envoy 1.36, which refuses listeners that have it",
                command.name
            )),
            Ok(_) => {}
            Err(error @ FormatError::Unknown(_)) => refuse_unknown(command, &error, report),
            Err(error) => report.refuse(error.to_string()),
        }
    }
}

/// Reports an operator that nobody knows, and the one that is most like it.
fn refuse_unknown(command: &Command, error: &FormatError, report: &Cursor<'_>) {
    let hint = if let Some(nearest) = nearest(&command.name) {
        format!("did you mean `{}`?", Command { name: nearest.to_owned(), ..command.clone() })
    } else if command.name.starts_with("KUMA_") {
        let known: Vec<_> = NAMES.iter().map(|name| format!("`%{name}%`")).collect();
        format!("there are {}", known.join(", "))
    } else {
        return report.refuse(error.to_string());
    };
    report.refuse_with_hint(error.to_string(), hint);
}

/// Reports what is no operator; if it begins like one in small letters, of which.
fn refuse_malformed(error: &FormatError, report: &Cursor<'_>) {
    let message = error.to_string();
    let FormatError::Malformed(text) = error else { return report.refuse(message) };
    let text = text.trim_start_matches('%');
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let name = text.split(|c| !is_name(c)).next().unwrap_or_default();
    match nearest(name).filter(|_| name.contains(|c: char| c.is_ascii_lowercase())) {
        Some(nearest) => {
            report.refuse_with_hint(
                message,
                format!("operators have capital letters; did you mean `{nearest}`?"),
            );
        }
        None => report.refuse(message),
    }
}

/// The operator that is most like `name`, of Envoy's and ours.
fn nearest(name: &str) -> Option<&'static str> {
    let known = TABLE.iter().map(|operator| operator.name).chain(NAMES).chain([BAGGAGE]);
    suggest::nearest(name, known)
}

/// Whether `text` is one operator that says a whole number.
pub(super) fn is_number(text: &str) -> bool {
    only(text, |operator| operator.number)
}

/// Whether `text` is one operator, so that Envoy's `-` means that there is no value.
pub(super) fn is_operator(text: &str) -> bool {
    only(text, |_| true)
}

/// Whether `text`, as it is for Envoy, is one member of baggage and no more, uncut.
pub(super) fn is_member(text: &str) -> bool {
    let format = Format::parse(text).ok();
    let command = format.as_ref().and_then(Format::only_command);
    command.is_some_and(|command| baggage::member(command).is_some() && command.length.is_none())
}

fn only(text: &str, is: impl Fn(ursa_envoy::format::Operator) -> bool) -> bool {
    let format = Format::parse(text).ok();
    let command = format.as_ref().and_then(Format::only_command);
    command.and_then(|command| command.check().ok()).is_some_and(is)
}
