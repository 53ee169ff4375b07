//! Records of Envoy's access logger, made what they mean.
//!
//! Envoy writes texts only, and `-` where it has none. Here numbers become numbers, what has no value is left out, and the status with the response
//! flags becomes the record's severity. Of OpenTelemetry's conventions two attributes are no operator's: `server.address` is parted from its port,
//! and `network.protocol.version` has no `HTTP/` before it.
//!
//! Followed: OTLP 1.10, `LogRecord`, "Severity"; semantic conventions for HTTP.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::collections::BTreeSet;

use bytes::Bytes;
use ursa_model::pipeline::AccessLogRecords;

use crate::process::decoded;
use crate::wire::fields::{put_bytes, put_varint};
use crate::wire::{Field, Fields, Value, WireError};

/// `ExportLogsServiceRequest.resource_logs`, `ResourceLogs.scope_logs`, `ScopeLogs.log_records`.
const GROUPS: [u32; 3] = [1, 2, 2];
/// `LogRecord.severity_number`, `severity_text`, `attributes`.
const SEVERITY_NUMBER: u32 = 2;
const SEVERITY_TEXT: u32 = 3;
const ATTRIBUTES: u32 = 6;
/// `KeyValue.key` and `value`; `AnyValue.string_value` and `int_value`.
const KEY: u32 = 1;
const VALUE: u32 = 2;
const STRING: u32 = 1;
const INT: u32 = 3;

/// What Envoy says where it has no value.
const NOTHING: &[u8] = b"-";
const STATUS: &[u8] = b"http.response.status_code";
const SERVER: &[u8] = b"server.address";
const SERVER_PORT: &[u8] = b"server.port";
const VERSION: &[u8] = b"network.protocol.version";

/// How records become what they mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Records {
    integers: BTreeSet<Vec<u8>>,
    optional: BTreeSet<Vec<u8>>,
    encoded: BTreeSet<Vec<u8>>,
}

/// How bad it is: OpenTelemetry's number and its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Severity(u8, &'static str);

const INFO: Severity = Severity(9, "INFO");
const WARN: Severity = Severity(13, "WARN");
const ERROR: Severity = Severity(17, "ERROR");

impl Records {
    /// As `spec` says.
    pub fn new(spec: &AccessLogRecords) -> Self {
        let bytes =
            |names: &BTreeSet<String>| names.iter().map(|name| name.clone().into_bytes()).collect();
        Self {
            integers: bytes(&spec.integers),
            optional: bytes(&spec.optional),
            encoded: bytes(&spec.encoded),
        }
    }

    /// A request for logs in these words. No record is added or left out.
    ///
    /// # Errors
    /// The request does not walk.
    pub fn apply(&self, request: &Bytes) -> Result<Bytes, WireError> {
        let mut out = Vec::with_capacity(request.len());
        self.group(request, &GROUPS, &mut out)?;
        Ok(out.into())
    }

    fn group(&self, message: &[u8], path: &[u32], out: &mut Vec<u8>) -> Result<(), WireError> {
        let Some((number, below)) = path.split_first() else { return self.record(message, out) };
        for field in Fields::new(message) {
            match field? {
                Field { number: at, value: Value::Bytes(body), .. } if at == *number => {
                    let mut inner = Vec::with_capacity(body.len());
                    self.group(body, below, &mut inner)?;
                    put_bytes(out, at, &inner);
                }
                other => out.extend_from_slice(other.raw),
            }
        }
        Ok(())
    }

    fn record(&self, record: &[u8], out: &mut Vec<u8>) -> Result<(), WireError> {
        let mut severity = None;
        for field in Fields::new(record) {
            let field = field?;
            let attribute = match (field.number, field.value) {
                (ATTRIBUTES, Value::Bytes(body)) => text_attribute(body)?,
                _ => None,
            };
            match attribute {
                Some((key, text)) if key == AccessLogRecords::OUTCOME.as_bytes() => {
                    severity = Some(of_outcome(text));
                }
                Some((key, text)) => self.attribute(key, text, field.raw, out),
                None => out.extend_from_slice(field.raw),
            }
        }
        if let Some(Severity(number, name)) = severity {
            put_number(out, SEVERITY_NUMBER, number.into());
            put_bytes(out, SEVERITY_TEXT, name.as_bytes());
        }
        Ok(())
    }

    fn attribute(&self, key: &[u8], text: &[u8], raw: &[u8], out: &mut Vec<u8>) {
        if text == NOTHING && self.optional.contains(key) || key == STATUS && text == b"0" {
            return;
        }
        let number = self.integers.contains(key).then(|| number(text)).flatten();
        if let Some(number) = number {
            return put_int(out, key, number);
        }
        if self.encoded.contains(key) {
            return put_text(out, key, &decoded(text));
        }
        match key {
            SERVER => match host_and_port(text) {
                Some((host, port)) => {
                    put_text(out, SERVER, host);
                    put_int(out, SERVER_PORT, port);
                }
                None => out.extend_from_slice(raw),
            },
            VERSION => put_text(out, VERSION, text.strip_prefix(b"HTTP/").unwrap_or(text)),
            _ => out.extend_from_slice(raw),
        }
    }
}

/// A key and a text.
type TextAttribute<'a> = (&'a [u8], &'a [u8]);

/// The key and the text of an attribute that is one.
fn text_attribute(body: &[u8]) -> Result<Option<TextAttribute<'_>>, WireError> {
    let (mut key, mut text) = (&[][..], None);
    for field in Fields::new(body) {
        match field? {
            Field { number: KEY, value: Value::Bytes(name), .. } => key = name,
            Field { number: VALUE, value: Value::Bytes(any), .. } => {
                for field in Fields::new(any) {
                    if let Field { number: STRING, value: Value::Bytes(value), .. } = field? {
                        text = Some(value);
                    }
                }
            }
            _ => {}
        }
    }
    Ok(text.map(|text| (key, text)))
}

/// Of a status and response flags, `503 UF`. What has no status (a connection, or a request whose client left) is judged by its flags.
fn of_outcome(outcome: &[u8]) -> Severity {
    let mut words = outcome.split(|byte| *byte == b' ');
    let status = words.next().and_then(number).unwrap_or_default();
    let flags = words.next().unwrap_or(NOTHING);
    match status {
        500.. => ERROR,
        400..500 => WARN,
        0 if flags == b"DC" => WARN,
        0 if flags != NOTHING => ERROR,
        _ => INFO,
    }
}

fn number(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// The parts of `shop:8080` or `[::1]:8080`; nothing without a port.
fn host_and_port(authority: &[u8]) -> Option<(&[u8], i64)> {
    let at = authority.iter().rposition(|byte| *byte == b':')?;
    let (host, port) = authority.split_at_checked(at)?;
    let port = number(port.strip_prefix(b":")?).filter(|port| (1..=65_535).contains(port))?;
    let bare = host.strip_prefix(b"[").and_then(|host| host.strip_suffix(b"]"));
    match bare {
        Some(bare) => Some((bare, port)),
        None => (!host.contains(&b':')).then_some((host, port)),
    }
}

fn put_number(out: &mut Vec<u8>, number: u32, value: u64) {
    put_varint(out, u64::from(number) << 3);
    put_varint(out, value);
}

fn put_int(out: &mut Vec<u8>, key: &[u8], value: i64) {
    let mut any = Vec::new();
    put_number(&mut any, INT, value.cast_unsigned());
    put_attribute(out, key, &any);
}

fn put_text(out: &mut Vec<u8>, key: &[u8], text: &[u8]) {
    let mut any = Vec::new();
    put_bytes(&mut any, STRING, text);
    put_attribute(out, key, &any);
}

fn put_attribute(out: &mut Vec<u8>, key: &[u8], any: &[u8]) {
    let mut attribute = Vec::new();
    put_bytes(&mut attribute, KEY, key);
    put_bytes(&mut attribute, VALUE, any);
    put_bytes(out, ATTRIBUTES, &attribute);
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
    use proptest::prelude::*;
    use prost::Message;
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::{Signal, json, wire};

    fn spec() -> AccessLogRecords {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        AccessLogRecords {
            integers: set(&["http.response.status_code", "n"]),
            optional: set(&["http.response.status_code", "gone", "n"]),
            encoded: set(&["tenant"]),
        }
    }

    fn request(attributes: &[(&str, &str)]) -> Bytes {
        let attribute =
            |(key, value): &(&str, &str)| json!({"key": key, "value": {"stringValue": value}});
        let attributes: Vec<_> = attributes.iter().map(attribute).collect();
        let record =
            json!({"timeUnixNano": "5", "body": {"stringValue": "-"}, "attributes": attributes});
        let request =
            json!({"resourceLogs": [{"resource": {}, "scopeLogs": [{"logRecords": [record]}]}]});
        json::to_protobuf(Signal::Logs, request.to_string().as_bytes()).unwrap().into()
    }

    fn record(attributes: &[(&str, &str)]) -> Json {
        let made = Records::new(&spec()).apply(&request(attributes)).unwrap();
        let text = json::from_protobuf(Signal::Logs, &made).unwrap();
        let request: Json = serde_json::from_str(&text).unwrap();
        request["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0].clone()
    }

    #[test]
    fn texts_become_what_they_mean() {
        let record = record(&[
            ("http.response.status_code", "204"),
            ("n", "-"),
            ("gone", "-"),
            ("tenant", "s%C3%BC%C3%9F"),
            ("kept", "-"),
            ("server.address", "[::1]:8080"),
            ("network.protocol.version", "HTTP/1.1"),
            (AccessLogRecords::OUTCOME, "204 -"),
        ]);
        let attributes = json!([
            {"key": "http.response.status_code", "value": {"intValue": "204"}},
            {"key": "tenant", "value": {"stringValue": "süß"}},
            {"key": "kept", "value": {"stringValue": "-"}},
            {"key": "server.address", "value": {"stringValue": "::1"}},
            {"key": "server.port", "value": {"intValue": "8080"}},
            {"key": "network.protocol.version", "value": {"stringValue": "1.1"}},
        ]);
        assert_eq!(record["attributes"], attributes);
        assert_eq!(record["severityText"], "INFO");
        assert_eq!(record["severityNumber"], 9);
        assert_eq!(record["body"]["stringValue"], "-");
    }

    #[test]
    fn severity_follows_status_and_flags() {
        let cases = [
            ("200 -", "INFO"),
            ("404 NR", "WARN"),
            ("503 UF", "ERROR"),
            ("0 -", "INFO"),
            ("0 DC", "WARN"),
            ("0 UF,URX", "ERROR"),
            ("", "INFO"),
        ];
        for (outcome, severity) in cases {
            let record = record(&[(AccessLogRecords::OUTCOME, outcome)]);
            assert_eq!(record["severityText"], severity, "{outcome}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            drop(Records::new(&spec()).apply(&bytes.into()));
        }

        #[test]
        fn what_was_sound_stays_so(
            attributes in prop::collection::vec(("[a-z.]{0,12}|server.address|n", "\\PC{0,12}|-|[0-9]{0,20}"), 0..6)
        ) {
            let pairs: Vec<_> = attributes.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
            let made = Records::new(&spec()).apply(&request(&pairs)).unwrap();
            prop_assert_eq!(wire::check(Signal::Logs, &made).unwrap(), 1);
            prop_assert!(ExportLogsServiceRequest::decode(made).is_ok());
        }
    }
}
