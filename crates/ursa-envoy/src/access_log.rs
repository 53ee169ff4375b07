//! Access logs: files that Envoy writes, and log records for the agent.
//!
//! They stand in listeners, since Envoy has no other place for them. What changes often without
//! changing what is written (backends, credentials, resource attributes) is the agent's, which
//! knows a logger's records by their [channel](LogSink::Agent::channel).

use std::time::Duration;

use envoy_types::pb::envoy::config::accesslog::v3::access_log_filter::FilterSpecifier;
use envoy_types::pb::envoy::config::accesslog::v3::comparison_filter::Op;
use envoy_types::pb::envoy::config::accesslog::v3::{
    self as envoy, AccessLogFilter, AndFilter, ComparisonFilter, DurationFilter, ExtensionFilter,
    HeaderFilter, ResponseFlagFilter, RuntimeFilter, StatusCodeFilter, access_log,
    extension_filter,
};
use envoy_types::pb::envoy::config::core::v3::substitution_format_string::Format;
use envoy_types::pb::envoy::config::core::v3::{
    ApiVersion, DataSource, GrpcService, RuntimeUInt32, SubstitutionFormatString, data_source,
    grpc_service,
};
use envoy_types::pb::envoy::extensions::access_loggers::file::v3::{
    FileAccessLog, file_access_log::AccessLogFormat,
};
use envoy_types::pb::envoy::extensions::access_loggers::filters::cel::v3::ExpressionFilter;
use envoy_types::pb::envoy::extensions::access_loggers::grpc::v3::CommonGrpcAccessLogConfig;
use envoy_types::pb::envoy::extensions::access_loggers::open_telemetry::v3::OpenTelemetryAccessLogConfig;
use envoy_types::pb::google::protobuf::{Any, Duration as WireDuration};
use envoy_types::pb::opentelemetry::proto::common::v1::{
    AnyValue, ArrayValue, KeyValue, KeyValueList, any_value,
};
use prost::encoding::{WireType, encode_key, encode_varint, string};
use prost::{Message as _, Name as _};

use crate::bootstrap::OTLP_CLUSTER;
use crate::proxy::{AccessLog, LogFilter, LogFormat, LogSink, LogValue, LoggedRoutes};
use crate::{parts, route};

/// The name of the log, as Kuma gives it.
const LOG_NAME: &str = "MeshAccessLog";
/// How long a record waits at most in a worker: as long as a span.
const FLUSH_INTERVAL: WireDuration = WireDuration { seconds: 0, nanos: 250_000_000 };
/// How much a worker gathers before it sends at once. Envoy's own 16 KiB is a call for every thirty
/// records.
const BUFFER_BYTES: u32 = 128 << 10;
/// Under which runtime key a share could be overridden; nothing sets it.
const SAMPLE_KEY: &str = "ursa.access_log.sample";

/// `SubstitutionFormatString.json_format`, `google.protobuf.Struct.fields`, and the fields of its
/// entries and values.
const JSON_FORMAT: u32 = 2;
const STRUCT_FIELDS: u32 = 1;
const ENTRY_KEY: u32 = 1;
const ENTRY_VALUE: u32 = 2;
const STRING_VALUE: u32 = 3;
/// `FileAccessLog.log_format`.
const LOG_FORMAT: u32 = 5;

/// An access log as Envoy reads it.
pub(crate) fn access_log(log: &AccessLog) -> envoy::AccessLog {
    let (name, config) = match &log.sink {
        LogSink::File { path, format } => ("envoy.access_loggers.file", file(path, format)),
        LogSink::Agent { channel, body, attributes } => (
            "envoy.access_loggers.open_telemetry",
            parts::any(&open_telemetry(channel, body.as_ref(), attributes)),
        ),
    };
    envoy::AccessLog {
        name: name.to_owned(),
        filter: filter(&log.filter),
        config_type: Some(access_log::ConfigType::TypedConfig(config)),
    }
}

fn file(path: &str, format: &LogFormat) -> Any {
    match format {
        LogFormat::Text(text) => parts::any(&FileAccessLog {
            path: path.to_owned(),
            access_log_format: Some(AccessLogFormat::LogFormat(SubstitutionFormatString {
                format: Some(Format::TextFormatSource(DataSource {
                    specifier: Some(data_source::Specifier::InlineString(text.clone())),
                    ..DataSource::default()
                })),
                ..SubstitutionFormatString::default()
            })),
        }),
        LogFormat::Json { fields, omit_empty } => {
            // A map in a message of the library's has no order; the same picture has the same bytes.
            let log = FileAccessLog { path: path.to_owned(), access_log_format: None };
            let mut bytes = log.encode_to_vec();
            let mut format = Vec::new();
            put(&mut format, JSON_FORMAT, &json_format(fields));
            let rest = SubstitutionFormatString {
                omit_empty_values: *omit_empty,
                ..SubstitutionFormatString::default()
            };
            format.extend(rest.encode_to_vec());
            put(&mut bytes, LOG_FORMAT, &format);
            Any { type_url: FileAccessLog::type_url(), value: bytes }
        }
    }
}

/// A `google.protobuf.Struct` of texts, in this order.
fn json_format(fields: &[(String, String)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (key, format) in fields {
        let (mut value, mut entry) = (Vec::new(), Vec::new());
        string::encode(STRING_VALUE, format, &mut value);
        string::encode(ENTRY_KEY, key, &mut entry);
        put(&mut entry, ENTRY_VALUE, &value);
        put(&mut bytes, STRUCT_FIELDS, &entry);
    }
    bytes
}

fn put(out: &mut Vec<u8>, number: u32, body: &[u8]) {
    encode_key(number, WireType::LengthDelimited, out);
    encode_varint(body.len() as u64, out);
    out.extend_from_slice(body);
}

#[expect(deprecated, reason = "Envoy 1.36 knows no other place for these settings")]
fn open_telemetry(
    channel: &str,
    body: Option<&LogValue>,
    attributes: &[(String, String)],
) -> OpenTelemetryAccessLogConfig {
    let grpc_service = GrpcService {
        target_specifier: Some(grpc_service::TargetSpecifier::EnvoyGrpc(grpc_service::EnvoyGrpc {
            cluster_name: OTLP_CLUSTER.to_owned(),
            authority: channel.to_owned(),
            ..grpc_service::EnvoyGrpc::default()
        })),
        ..GrpcService::default()
    };
    OpenTelemetryAccessLogConfig {
        common_config: Some(CommonGrpcAccessLogConfig {
            log_name: LOG_NAME.to_owned(),
            grpc_service: Some(grpc_service),
            transport_api_version: ApiVersion::V3 as i32,
            buffer_flush_interval: Some(FLUSH_INTERVAL),
            buffer_size_bytes: Some(parts::uint32(BUFFER_BYTES)),
            ..CommonGrpcAccessLogConfig::default()
        }),
        // The agent says who the proxy is, in OpenTelemetry's words.
        disable_builtin_labels: true,
        resource_attributes: Some(key_values([("log_name".to_owned(), text(LOG_NAME))])),
        body: body.map(value),
        attributes: Some(key_values(
            attributes.iter().map(|(key, format)| (key.clone(), text(format))),
        )),
        ..OpenTelemetryAccessLogConfig::default()
    }
}

fn key_values(pairs: impl IntoIterator<Item = (String, AnyValue)>) -> KeyValueList {
    let pair = |(key, value)| KeyValue { key, value: Some(value), ..KeyValue::default() };
    KeyValueList { values: pairs.into_iter().map(pair).collect() }
}

fn text(text: &str) -> AnyValue {
    AnyValue { value: Some(any_value::Value::StringValue(text.to_owned())) }
}

fn value(of: &LogValue) -> AnyValue {
    let value = match of {
        LogValue::Text(format) => return text(format),
        LogValue::List(items) => {
            any_value::Value::ArrayValue(ArrayValue { values: items.iter().map(value).collect() })
        }
        LogValue::Map(entries) => any_value::Value::KvlistValue(key_values(
            entries.iter().map(|(key, inner)| (key.clone(), value(inner))),
        )),
    };
    AnyValue { value: Some(value) }
}

/// All that is set, or nothing if every request is meant.
fn filter(filter: &LogFilter) -> Option<AccessLogFilter> {
    let mut all = Vec::new();
    let mut add = |specifier| all.push(AccessLogFilter { filter_specifier: Some(specifier) });
    for (op, status) in [(Op::Ge, filter.status_from), (Op::Le, filter.status_to)] {
        if let Some(status) = status {
            let comparison = Some(comparison(op, status, "status"));
            add(FilterSpecifier::StatusCodeFilter(StatusCodeFilter { comparison }));
        }
    }
    // Envoy compares whole milliseconds, and has no "less than".
    let least = filter.at_least.map(|least| (Op::Ge, milliseconds(least)));
    let most = filter.shorter_than.map(|most| (Op::Le, milliseconds(most).saturating_sub(1)));
    for (op, duration) in least.into_iter().chain(most) {
        let comparison = Some(comparison(op, duration, "duration"));
        add(FilterSpecifier::DurationFilter(DurationFilter { comparison }));
    }
    if filter.any_flag || !filter.flags.is_empty() {
        // Without flags it means whatever flag.
        let flags = if filter.any_flag { Vec::new() } else { filter.flags.clone() };
        add(FilterSpecifier::ResponseFlagFilter(ResponseFlagFilter { flags }));
    }
    if let Some(condition) = &filter.header {
        let header = Some(route::header(condition));
        add(FilterSpecifier::HeaderFilter(HeaderFilter { header }));
    }
    for expression in filter.expression.clone().into_iter().chain(of_routes(&filter.routes)) {
        let expression = ExpressionFilter { expression, ..ExpressionFilter::default() };
        add(FilterSpecifier::ExtensionFilter(ExtensionFilter {
            name: "envoy.access_loggers.extension_filters.cel".to_owned(),
            config_type: Some(extension_filter::ConfigType::TypedConfig(parts::any(&expression))),
        }));
    }
    if filter.sample != ursa_model::percent::Percent::HUNDRED {
        add(FilterSpecifier::RuntimeFilter(RuntimeFilter {
            runtime_key: SAMPLE_KEY.to_owned(),
            percent_sampled: Some(route::fraction(filter.sample)),
            use_independent_randomness: false,
        }));
    }
    match all.len() {
        0 | 1 => all.pop(),
        _ => Some(AccessLogFilter {
            filter_specifier: Some(FilterSpecifier::AndFilter(AndFilter { filters: all })),
        }),
    }
}

/// Routes by their names, in which nothing needs to be escaped.
fn of_routes(routes: &LoggedRoutes) -> Option<String> {
    match routes {
        LoggedRoutes::All => None,
        LoggedRoutes::Only(name) => Some(format!("xds.route_name == '{name}'")),
        LoggedRoutes::But(names) => {
            let names: Vec<_> = names.iter().map(|name| format!("'{name}'")).collect();
            Some(format!("!(xds.route_name in [{}])", names.join(", ")))
        }
    }
}

/// Envoy wants a runtime key beside each number; nothing sets it.
fn comparison(op: Op, number: u32, what: &str) -> ComparisonFilter {
    let runtime_key = format!("ursa.access_log.{what}");
    ComparisonFilter {
        op: op as i32,
        value: Some(RuntimeUInt32 { default_value: number, runtime_key }),
    }
}

fn milliseconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}
