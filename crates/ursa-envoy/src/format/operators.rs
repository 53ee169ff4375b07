//! Envoy's command operators: what each takes, and what it says.
//!
//! The rows were tried one by one on the oldest and the newest Envoy that are supported; a test does so again.

use super::{Command, FormatError};
use crate::cel;

/// A command operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operator {
    /// Its name.
    pub name: &'static str,
    /// What stands in parentheses.
    pub argument: Argument,
    /// Whether what it says may be cut: `%REQ(USER-AGENT):20%`.
    pub cut: bool,
    /// Whether it says a whole number.
    pub number: bool,
    /// Whether the oldest supported Envoy, 1.36, lacks it.
    pub newer: bool,
}

/// What stands in an operator's parentheses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Argument {
    /// Nothing, and there are none.
    None,
    /// It may be left out. For example this.
    Optional(&'static str),
    /// It is needed. For example this.
    Needed(&'static str),
}

const fn bare(name: &'static str) -> Operator {
    Operator { name, argument: Argument::None, cut: false, number: false, newer: false }
}

const fn may(name: &'static str, example: &'static str) -> Operator {
    Operator { argument: Argument::Optional(example), ..bare(name) }
}

const fn needs(name: &'static str, example: &'static str) -> Operator {
    Operator { argument: Argument::Needed(example), ..bare(name) }
}

impl Operator {
    const fn cut(self) -> Self {
        Self { cut: true, ..self }
    }

    const fn number(self) -> Self {
        Self { number: true, ..self }
    }

    const fn newer(self) -> Self {
        Self { newer: true, ..self }
    }

    /// Whether Envoy takes `command`, which has this name.
    pub(super) fn check(self, command: &Command) -> Result<(), FormatError> {
        let Command { name, argument, length } = command;
        match (self.argument, argument.as_deref()) {
            (Argument::None, Some(_)) => return Err(FormatError::TakesNoArgument(name.clone())),
            (Argument::Needed(_), None | Some("")) => {
                return Err(FormatError::NeedsArgument(name.clone()));
            }
            _ => {}
        }
        if length.is_some() && !self.cut {
            return Err(FormatError::TakesNoLength(name.clone()));
        }
        let Some(argument) = argument else { return Ok(()) };
        let refuse = |reason| {
            let (name, argument) = (name.clone(), argument.clone());
            Err(FormatError::Argument { name, argument, reason })
        };
        match self.name {
            "REQ" | "RESP" | "TRAILER" | "STREAM_INFO_REQ" if !names_headers(argument) => {
                refuse("names no header, or more than two: `NAME?OTHER`")
            }
            "COMMON_DURATION" if !is_duration(argument) => {
                refuse("is not `START:END:PRECISION`, for example `DS_RX_BEG:DS_TX_END:ms`")
            }
            "CEL" if cel::check(argument).is_err() => refuse("is no expression in CEL"),
            "METADATA" if !METADATA.iter().any(|kind| begins(argument, kind)) => {
                refuse("does not begin with the kind of metadata, like `ROUTE:`")
            }
            "FILTER_STATE" | "UPSTREAM_FILTER_STATE" if argument.starts_with(':') => {
                refuse("has no key")
            }
            _ => Ok(()),
        }
    }
}

/// What `%METADATA(…)%` may be about.
const METADATA: [&str; 7] = [
    "DYNAMIC",
    "CLUSTER",
    "ROUTE",
    "UPSTREAM_HOST",
    "LISTENER",
    "VIRTUAL_HOST",
    "LISTENER_FILTER_CHAIN",
];

/// Times that `%COMMON_DURATION(…)%` knows, and its units.
const TIMES: [&str; 14] = [
    "DS_RX_BEG",
    "DS_RX_END",
    "US_CX_BEG",
    "US_CX_END",
    "US_HS_END",
    "US_TX_BEG",
    "US_TX_END",
    "US_RX_BEG",
    "US_RX_BODY_BEG",
    "US_RX_END",
    "DS_TX_BEG",
    "DS_TX_END",
    "DS_HS_END",
    "DS_CX_END",
];
const UNITS: [&str; 3] = ["ms", "us", "ns"];

fn begins(argument: &str, kind: &str) -> bool {
    argument.strip_prefix(kind).is_some_and(|rest| rest.starts_with(':'))
}

fn is_duration(argument: &str) -> bool {
    let parts: Vec<_> = argument.split(':').collect();
    matches!(parts[..], [start, end, unit] if TIMES.contains(&start) && TIMES.contains(&end) && UNITS.contains(&unit))
}

/// One name of a header, or two with a question mark between.
fn names_headers(argument: &str) -> bool {
    let names: Vec<_> = argument.split('?').collect();
    let is_name = |name: &&str| {
        let name = name.strip_prefix(':').unwrap_or(name);
        let token = |c: char| c.is_ascii_alphanumeric() || "!#$&'*+-.^_`|~".contains(c);
        !name.is_empty() && name.chars().all(token)
    };
    names.len() <= 2 && names.iter().all(is_name)
}

/// The operator of that name.
pub fn by_name(name: &str) -> Option<Operator> {
    let at = TABLE.binary_search_by(|operator| operator.name.cmp(name)).ok()?;
    TABLE.get(at).copied()
}

/// Every operator, by name.
pub const TABLE: [Operator; 159] = [
    bare("ACCESS_LOG_TYPE"),
    bare("BYTES_RECEIVED").number(),
    bare("BYTES_RETRANSMITTED").number(),
    bare("BYTES_SENT").number(),
    needs("CEL", "request.path").cut(),
    needs("CLUSTER_METADATA", "com.example:key"),
    needs("COALESCE", "{\"operators\": [\"PROTOCOL\"]}").cut().newer(),
    needs("COMMON_DURATION", "DS_RX_BEG:DS_TX_END:ms").number(),
    bare("CONNECTION_ID").number(),
    bare("CONNECTION_TERMINATION_DETAILS"),
    bare("CUSTOM_FLAGS"),
    bare("DOWNSTREAM_CX_RTT").number().newer(),
    bare("DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED").number(),
    bare("DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_SENT").number(),
    bare("DOWNSTREAM_DETECTED_CLOSE_TYPE").newer(),
    bare("DOWNSTREAM_DIRECT_LOCAL_ADDRESS"),
    bare("DOWNSTREAM_DIRECT_LOCAL_ADDRESS_ENDPOINT_ID").newer(),
    bare("DOWNSTREAM_DIRECT_LOCAL_ADDRESS_WITHOUT_PORT"),
    bare("DOWNSTREAM_DIRECT_LOCAL_PORT").number(),
    bare("DOWNSTREAM_DIRECT_REMOTE_ADDRESS"),
    bare("DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT"),
    bare("DOWNSTREAM_DIRECT_REMOTE_PORT").number(),
    bare("DOWNSTREAM_HANDSHAKE_DURATION").number(),
    bare("DOWNSTREAM_HEADER_BYTES_RECEIVED").number(),
    bare("DOWNSTREAM_HEADER_BYTES_SENT").number(),
    bare("DOWNSTREAM_LOCAL_ADDRESS"),
    bare("DOWNSTREAM_LOCAL_ADDRESS_ENDPOINT_ID").newer(),
    bare("DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT"),
    bare("DOWNSTREAM_LOCAL_CLOSE_REASON").newer(),
    bare("DOWNSTREAM_LOCAL_DNS_SAN"),
    bare("DOWNSTREAM_LOCAL_EMAIL_SAN"),
    bare("DOWNSTREAM_LOCAL_IP_SAN"),
    bare("DOWNSTREAM_LOCAL_OTHERNAME_SAN"),
    bare("DOWNSTREAM_LOCAL_PORT").number(),
    bare("DOWNSTREAM_LOCAL_SUBJECT"),
    bare("DOWNSTREAM_LOCAL_URI_SAN"),
    bare("DOWNSTREAM_PEER_CERT"),
    may("DOWNSTREAM_PEER_CERT_V_END", "%s"),
    may("DOWNSTREAM_PEER_CERT_V_START", "%s"),
    bare("DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_1"),
    bare("DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_256"),
    bare("DOWNSTREAM_PEER_CHAIN_SERIALS"),
    bare("DOWNSTREAM_PEER_DNS_SAN"),
    bare("DOWNSTREAM_PEER_EMAIL_SAN"),
    bare("DOWNSTREAM_PEER_FINGERPRINT_1"),
    bare("DOWNSTREAM_PEER_FINGERPRINT_256"),
    bare("DOWNSTREAM_PEER_IP_SAN"),
    bare("DOWNSTREAM_PEER_ISSUER"),
    bare("DOWNSTREAM_PEER_ISSUER_FINGERPRINT_256").newer(),
    bare("DOWNSTREAM_PEER_ISSUER_SERIAL").newer(),
    bare("DOWNSTREAM_PEER_OTHERNAME_SAN"),
    bare("DOWNSTREAM_PEER_SERIAL"),
    bare("DOWNSTREAM_PEER_SUBJECT"),
    bare("DOWNSTREAM_PEER_URI_SAN"),
    bare("DOWNSTREAM_REMOTE_ADDRESS"),
    bare("DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT"),
    bare("DOWNSTREAM_REMOTE_PORT").number(),
    bare("DOWNSTREAM_TLS_CIPHER"),
    bare("DOWNSTREAM_TLS_GROUP").newer(),
    bare("DOWNSTREAM_TLS_SESSION_ID"),
    bare("DOWNSTREAM_TLS_VERSION"),
    bare("DOWNSTREAM_TRANSPORT_FAILURE_REASON"),
    bare("DOWNSTREAM_WIRE_BYTES_RECEIVED").number(),
    bare("DOWNSTREAM_WIRE_BYTES_SENT").number(),
    bare("DURATION").number(),
    needs("DYNAMIC_METADATA", "com.example:key"),
    may("EMIT_TIME", "%s"),
    may("EMIT_TIME_LOCAL", "%s"),
    needs("ENVIRONMENT", "HOME").cut(),
    bare("FILTER_CHAIN_NAME"),
    needs("FILTER_STATE", "key:PLAIN").cut(),
    may("GRPC_STATUS", "SNAKE_STRING"),
    bare("GRPC_STATUS_NUMBER").number(),
    bare("HOSTNAME"),
    bare("LISTENER_NAME").newer(),
    bare("LOCAL_REPLY_BODY"),
    needs("METADATA", "ROUTE:com.example:key").cut(),
    bare("PACKETS_RETRANSMITTED").number(),
    may("PATH", "WQ:PATH").cut(),
    bare("PROTOCOL"),
    needs("QUERY_PARAM", "page").cut(),
    may("QUERY_PARAMS", "ORIG").cut().newer(),
    needs("REQ", ":METHOD").cut(),
    bare("REQUESTED_SERVER_NAME"),
    bare("REQUEST_DURATION").number(),
    bare("REQUEST_HEADERS_BYTES").number(),
    bare("REQUEST_TX_DURATION").number(),
    needs("RESP", "SERVER").cut(),
    bare("RESPONSE_CODE").number(),
    may("RESPONSE_CODE_DETAILS", "ALLOW_WHITESPACES"),
    bare("RESPONSE_DURATION").number(),
    bare("RESPONSE_FLAGS"),
    bare("RESPONSE_FLAGS_LONG"),
    bare("RESPONSE_HEADERS_BYTES").number(),
    bare("RESPONSE_TRAILERS_BYTES").number(),
    bare("RESPONSE_TX_DURATION").number(),
    bare("ROUNDTRIP_DURATION").number(),
    bare("ROUTE_NAME"),
    bare("ROUTE_RESOLUTION_COUNT").number().newer(),
    bare("ROUTE_RESOLUTION_TIME_US").number().newer(),
    bare("SPAN_ID").newer(),
    may("START_TIME", "%s"),
    may("START_TIME_LOCAL", "%s"),
    bare("STREAM_ID"),
    needs("STREAM_INFO_REQ", ":METHOD").cut(),
    bare("TLS_JA3_FINGERPRINT"),
    bare("TLS_JA4_FINGERPRINT"),
    bare("TRACE_ID"),
    needs("TRAILER", "GRPC-STATUS").cut(),
    bare("UNIQUE_ID"),
    bare("UPSTREAM_CLUSTER"),
    bare("UPSTREAM_CLUSTER_RAW"),
    bare("UPSTREAM_CONNECTION_ID").number(),
    bare("UPSTREAM_CONNECTION_IDS_ATTEMPTED").newer(),
    bare("UPSTREAM_CONNECTION_POOL_READY_DURATION").number(),
    bare("UPSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED").number(),
    bare("UPSTREAM_DECOMPRESSED_HEADER_BYTES_SENT").number(),
    bare("UPSTREAM_DETECTED_CLOSE_TYPE").newer(),
    needs("UPSTREAM_FILTER_STATE", "key:PLAIN").cut(),
    bare("UPSTREAM_HEADER_BYTES_RECEIVED").number(),
    bare("UPSTREAM_HEADER_BYTES_SENT").number(),
    bare("UPSTREAM_HOST"),
    bare("UPSTREAM_HOSTS_ATTEMPTED").newer(),
    bare("UPSTREAM_HOSTS_ATTEMPTED_WITHOUT_PORT").newer(),
    bare("UPSTREAM_HOST_NAME"),
    bare("UPSTREAM_HOST_NAMES_ATTEMPTED").newer(),
    bare("UPSTREAM_HOST_NAMES_ATTEMPTED_WITHOUT_PORT").newer(),
    bare("UPSTREAM_HOST_NAME_WITHOUT_PORT"),
    bare("UPSTREAM_LOCAL_ADDRESS"),
    bare("UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT"),
    bare("UPSTREAM_LOCAL_CLOSE_REASON").newer(),
    bare("UPSTREAM_LOCAL_DNS_SAN"),
    bare("UPSTREAM_LOCAL_IP_SAN"),
    bare("UPSTREAM_LOCAL_PORT").number(),
    bare("UPSTREAM_LOCAL_URI_SAN"),
    needs("UPSTREAM_METADATA", "com.example:key"),
    bare("UPSTREAM_PEER_CERT"),
    may("UPSTREAM_PEER_CERT_V_END", "%s"),
    may("UPSTREAM_PEER_CERT_V_START", "%s"),
    bare("UPSTREAM_PEER_DNS_SAN"),
    bare("UPSTREAM_PEER_IP_SAN"),
    bare("UPSTREAM_PEER_ISSUER"),
    bare("UPSTREAM_PEER_SUBJECT"),
    bare("UPSTREAM_PEER_URI_SAN"),
    bare("UPSTREAM_PROTOCOL"),
    bare("UPSTREAM_REMOTE_ADDRESS"),
    bare("UPSTREAM_REMOTE_ADDRESS_ENDPOINT_ID").newer(),
    bare("UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT"),
    bare("UPSTREAM_REMOTE_PORT").number(),
    bare("UPSTREAM_REQUEST_ATTEMPT_COUNT").number(),
    bare("UPSTREAM_SERVER_NAME").newer(),
    bare("UPSTREAM_TLS_CIPHER"),
    bare("UPSTREAM_TLS_GROUP").newer(),
    bare("UPSTREAM_TLS_SESSION_ID"),
    bare("UPSTREAM_TLS_VERSION"),
    bare("UPSTREAM_TRANSPORT_FAILURE_REASON"),
    bare("UPSTREAM_WIRE_BYTES_RECEIVED").number(),
    bare("UPSTREAM_WIRE_BYTES_SENT").number(),
    bare("VIRTUAL_CLUSTER_NAME"),
];
