//! What is refused in a MeshAccessLog.

use std::collections::BTreeSet;

use serde_json::Value as Json;
use ursa_envoy::cel;
use ursa_model::backend;
use ursa_model::names;
use ursa_model::percent::Percent;
use ursa_model::pipeline::AccessLogRecords;
use ursa_model::report::Cursor;
use ursa_model::tree::Node;

use super::formats;
use super::schema::{
    Backend, BackendType, Conf, FileBackend, Filter, Format, FormatType, OpenTelemetryLogs, Pair,
    TcpBackend,
};

/// Envoy's response flags.
const FLAGS: [&str; 30] = [
    "DC", "DF", "DI", "DO", "DPE", "DR", "DT", "FI", "IH", "LH", "LR", "NC", "NFCF", "NR", "OM",
    "RFCF", "RL", "RLSE", "SI", "UAEX", "UC", "UDO", "UF", "UH", "UMSDR", "UO", "UPE", "UR", "URX",
    "UT",
];
/// What means whatever flag.
pub(super) const ANY: &str = "any";
/// The highest status.
const MAX_STATUS: u16 = 599;

/// The node and the cursor are those of the `default` of a part.
pub(super) fn conf(settings: &Node, report: &Cursor<'_>) {
    let Some(conf) = report.decode::<Conf>(settings) else { return };
    let cursor = report.at("backends");
    if conf.backends.is_none() {
        cursor.refuse_with_hint(
            "is required",
            "name a backend, or write nothing down with `backends: []`",
        );
    }
    for (index, backend) in conf.backends.iter().flatten().enumerate() {
        validate_backend(backend, &cursor.index(index));
    }
    backend::validate_attributes(&conf.resource_attributes, &report.at("resourceAttributes"));
}

fn validate_backend(backend: &Backend, cursor: &Cursor<'_>) {
    use BackendType::{File, OpenTelemetry, Tcp};
    let forms = [
        (File, backend.file.is_some()),
        (Tcp, backend.tcp.is_some()),
        (OpenTelemetry, backend.open_telemetry.is_some()),
    ];
    let set: Vec<_> = forms.iter().filter(|(_, set)| *set).map(|(form, _)| *form).collect();
    match (set.as_slice(), backend.kind) {
        ([one], Some(kind)) if *one != kind => {
            cursor.at("type").refuse(format!("says {kind:?}, but `{}` is set", one.field()));
        }
        ([_], _) => {}
        _ => cursor.refuse("needs exactly one of `file`, `tcp` and `openTelemetry`"),
    }
    if let Some(file) = &backend.file {
        validate_file(file, &cursor.at("file"));
    }
    if let Some(tcp) = &backend.tcp {
        validate_tcp(tcp, &cursor.at("tcp"));
    }
    if let Some(open_telemetry) = &backend.open_telemetry {
        validate_open_telemetry(open_telemetry, &cursor.at("openTelemetry"));
    }
    if let Some(filter) = &backend.filter {
        validate_filter(filter, &cursor.at("filter"));
    }
    if let Some(sample) = backend.sample {
        let drawn = Percent::from_millionths(sample.ten_thousandths() * 100).unwrap_or(sample);
        if drawn != sample {
            cursor
                .at("sample")
                .warn(format!("Envoy draws in steps of 0.01 %; this becomes {drawn}"));
        }
    }
}

fn validate_file(file: &FileBackend, cursor: &Cursor<'_>) {
    if !file.path.starts_with('/') {
        cursor.at("path").refuse("must be an absolute path");
    }
    if let Some(format) = &file.format {
        validate_format(format, &cursor.at("format"));
    }
}

fn validate_tcp(tcp: &TcpBackend, cursor: &Cursor<'_>) {
    let parts = tcp.address.rsplit_once(':');
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0);
    if !parts.is_some_and(|(host, port)| names::is_host(host) && is_port(port)) {
        cursor.at("address").refuse_with_hint("must be `host:port`", "for example `logstash:5000`");
    }
    if let Some(format) = &tcp.format {
        validate_format(format, &cursor.at("format"));
    }
    super::apply::delivery(tcp).validate(cursor);
}

fn validate_format(format: &Format, cursor: &Cursor<'_>) {
    let refuse = |given: bool, field: &str| {
        if given {
            cursor.at(field).refuse(format!("belongs to the other `type` than {:?}", format.kind));
        }
    };
    match format.kind {
        FormatType::Plain => {
            refuse(format.json.is_some(), "json");
            refuse(format.omit_empty_values.is_some(), "omitEmptyValues");
            match format.plain.as_deref() {
                None | Some("") => cursor.at("plain").refuse("must say something with type Plain"),
                Some(text) => formats::check(text, &cursor.at("plain")),
            }
        }
        FormatType::Json => {
            refuse(format.plain.is_some(), "plain");
            let cursor = cursor.at("json");
            match format.json.as_deref() {
                None | Some([]) => cursor.refuse("must have an entry with type Json"),
                Some(entries) => validate_pairs(entries, &cursor),
            }
        }
    }
}

fn validate_pairs(pairs: &[Pair], cursor: &Cursor<'_>) {
    let mut keys = BTreeSet::new();
    for (index, Pair { key, value }) in pairs.iter().enumerate() {
        let cursor = cursor.index(index);
        if key.is_empty() {
            cursor.at("key").refuse("must not be empty");
        } else if !keys.insert(key) {
            cursor.at("key").refuse("is there twice");
        }
        if value.is_empty() {
            cursor.at("value").refuse("must not be empty");
        }
        formats::check(value, &cursor.at("value"));
    }
}

fn validate_open_telemetry(logs: &OpenTelemetryLogs, cursor: &Cursor<'_>) {
    logs.backend.validate(cursor);
    if let Some(body) = &logs.body {
        validate_body(body, &cursor.at("body"));
    }
    if let Some(attributes) = &logs.attributes {
        let cursor = cursor.at("attributes");
        validate_pairs(attributes, &cursor);
        for (index, Pair { key, .. }) in attributes.iter().enumerate() {
            let cursor = cursor.index(index).at("key");
            if key.starts_with("otel.") || key == AccessLogRecords::OUTCOME {
                cursor.refuse("is reserved");
            } else if !key.is_empty() && !is_attribute(key) {
                cursor.refuse_with_hint(
                    "is not the name of an attribute",
                    "small letters and digits, with dots and underscores between: `http.request.method`",
                );
            }
        }
    }
}

/// `^[a-z]([a-z0-9]|[._][a-z0-9])*$`
fn is_attribute(key: &str) -> bool {
    let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    key.starts_with(|c: char| c.is_ascii_lowercase())
        && key.split(['.', '_']).all(|part| !part.is_empty() && part.chars().all(word))
}

fn validate_body(body: &Json, cursor: &Cursor<'_>) {
    match body {
        Json::String(text) => formats::check(text, cursor),
        Json::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                validate_body(item, &cursor.index(index));
            }
        }
        Json::Object(entries) => {
            for (key, value) in entries {
                // The names of entries in OTLP's own form are no formats.
                if key != "key" || !entries.contains_key("value") {
                    validate_body(value, &cursor.key(key));
                }
            }
        }
        Json::Null | Json::Bool(_) | Json::Number(_) => {}
    }
}

fn validate_filter(filter: &Filter, cursor: &Cursor<'_>) {
    if let Some(status) = filter.status {
        let cursor = cursor.at("status");
        if status.from.is_none() && status.to.is_none() {
            cursor.refuse("needs `from`, `to`, or both");
        }
        for (field, bound) in [("from", status.from), ("to", status.to)] {
            if bound.is_some_and(|bound| bound > MAX_STATUS) {
                cursor.at(field).refuse(format!("must be at most {MAX_STATUS}"));
            }
        }
        if status.from.zip(status.to).is_some_and(|(from, to)| from > to) {
            cursor.refuse("`from` is above `to`, so no status is meant");
        }
    }
    if let Some(duration) = filter.duration {
        let cursor = cursor.at("duration");
        if duration.at_least.is_none() && duration.shorter_than.is_none() {
            cursor.refuse("needs `atLeast`, `shorterThan`, or both");
        }
        if duration.shorter_than.is_some_and(|most| most.get().as_millis() == 0) {
            cursor.at("shorterThan").refuse("must be at least 1ms");
        }
        if duration.at_least.zip(duration.shorter_than).is_some_and(|(least, most)| least >= most) {
            cursor.refuse("`atLeast` is not below `shorterThan`, so nothing is meant");
        }
    }
    if let Some(flags) = &filter.response_flags {
        let cursor = cursor.at("responseFlags");
        if flags.is_empty() {
            cursor.refuse_with_hint("names no flag", format!("`[{ANY}]` means whatever flag"));
        }
        for (index, flag) in flags.iter().enumerate() {
            if flag != ANY && !FLAGS.contains(&flag.as_str()) {
                cursor.index(index).refuse_with_hint(
                    format!("`{flag}` is no response flag of Envoy"),
                    format!("there are {}, and `{ANY}`", FLAGS.join(", ")),
                );
            }
        }
    }
    if let Some(header) = &filter.header {
        let cursor = cursor.at("header");
        if !is_header(&header.name) {
            cursor.at("name").refuse("is not the name of a header");
        }
        if header.needs_value() && header.value.as_ref().is_none_or(String::is_empty) {
            cursor.refuse_with_hint(
                "needs a `value`",
                "`type: Present` asks only whether the header is there",
            );
        }
    }
    if let Some(expression) = &filter.expression
        && let Err(error) = cel::check(expression)
    {
        cursor.at("expression").refuse(format!("is no expression in CEL: {error}"));
    }
}

/// Whether `name` is one of a header or of a pseudo-header, like `:path`.
fn is_header(name: &str) -> bool {
    let name = name.strip_prefix(':').unwrap_or(name);
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    !name.is_empty() && name.chars().all(token)
}
