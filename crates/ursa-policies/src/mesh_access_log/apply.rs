//! What a MeshAccessLog does to a proxy: access logs on its listeners, and a channel of the agent's pipeline for each backend behind the agent.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;
use ursa_envoy::proxy::{
    AccessLog, Direction, Listener, ListenerKind, LogFilter, LogFormat, LogSink, LogValue,
    LoggedRoutes, Permissions, ProxyConfig,
};
use ursa_model::backend::DeliveryOptions;
use ursa_model::key::ResourceKey;
use ursa_model::path::Path;
use ursa_model::percent::Percent;
use ursa_model::pipeline::{
    self, AccessLogRecords, Channel, JsonLines, PipelineConfig, SignalConfig, TcpExporter,
};

use super::formats::{self, Placeholders};
use super::schema::{
    Backend, Conf, Filter, Format, FormatType, OpenTelemetryLogs, Pair, TcpBackend,
};
use super::validate::ANY;
use crate::backends::{Applied, Backends, Lookup, warn_of_unknown};
use crate::header::HeaderMatch;
use crate::kind::{Merged, Settings};

pub(super) fn conf(
    merged: &Merged<'_, Conf>,
    backends: &dyn Backends,
    proxy: &mut ProxyConfig,
    applied: &mut Applied,
) {
    let mut channels = BTreeMap::new();
    let mut logs = Vec::new();
    for listener in &proxy.listeners {
        let settings = match listener.direction {
            Direction::Inbound => {
                let all = merged.inbound(listener.port, applied).into_iter();
                all.map(|settings| (settings, LoggedRoutes::All)).collect()
            }
            Direction::Outbound => outbound(merged, listener, applied),
        };
        let mut of_listener = OfListener {
            mesh: &proxy.id.mesh,
            placeholders: Placeholders::of(proxy, listener),
            http: matches!(listener.kind, ListenerKind::Http(_)),
            direction: listener.direction,
            permissions: listener.permissions.as_ref(),
            pipeline: &proxy.pipeline,
            backends,
            channels: &mut channels,
            applied,
        };
        logs.push(of_listener.access_logs(&settings));
    }
    for (listener, logs) in proxy.listeners.iter_mut().zip(logs) {
        listener.access_logs = logs;
    }
    proxy.pipeline.channels.extend(channels);
}

/// What holds for what a route takes, where something of its own does, and for the rest.
fn outbound(
    merged: &Merged<'_, Conf>,
    listener: &Listener,
    applied: &mut Applied,
) -> Vec<(Settings<Conf>, LoggedRoutes)> {
    let service = &listener.destination;
    let rest = merged.outbound(service, applied);
    let written = |settings: &Settings<Conf>| settings.tree.origin(&["backends"]).cloned();
    let routes = match &listener.kind {
        ListenerKind::Http(http) => http.routes.routes.as_slice(),
        ListenerKind::Tcp(_) => &[],
    };
    let names: BTreeSet<_> = routes.iter().filter_map(|route| route.origin.as_ref()).collect();
    let mut all = Vec::new();
    for name in names {
        let settings = merged.route(service, name, applied);
        if written(&settings) != written(&rest) {
            all.push((settings, LoggedRoutes::Only(name.clone())));
        }
    }
    let apart = all.iter().filter_map(|(_, routes)| match routes {
        LoggedRoutes::Only(name) => Some(name.clone()),
        _ => None,
    });
    let apart: Vec<_> = apart.collect();
    let of_rest = if apart.is_empty() { LoggedRoutes::All } else { LoggedRoutes::But(apart) };
    all.insert(0, (rest, of_rest));
    all
}

/// What access logs of one listener are made of.
struct OfListener<'a> {
    mesh: &'a str,
    placeholders: Placeholders,
    http: bool,
    direction: Direction,
    permissions: Option<&'a Permissions>,
    pipeline: &'a PipelineConfig,
    backends: &'a dyn Backends,
    channels: &'a mut BTreeMap<String, Channel>,
    applied: &'a mut Applied,
}

impl OfListener<'_> {
    fn access_logs(&mut self, all: &[(Settings<Conf>, LoggedRoutes)]) -> Vec<AccessLog> {
        let mut logs = Vec::new();
        for (settings, routes) in all {
            let Some(origin) = settings.tree.origin(&["backends"]) else { continue };
            for (index, backend) in settings.conf.backends.iter().flatten().enumerate() {
                let place = Place { policy: &origin.policy, path: origin.path.index(index) };
                let attributes = &settings.conf.resource_attributes;
                let Some(sink) = self.sink(backend, &place, attributes) else { continue };
                let filter = filter(backend.filter.as_ref(), backend.sample);
                let filter = LogFilter { routes: routes.clone(), ..filter };
                let log = AccessLog { sink, filter };
                if !logs.contains(&log) {
                    logs.push(log);
                }
            }
        }
        logs
    }

    /// `None`: nowhere, and why is in the warnings.
    fn sink(
        &mut self,
        backend: &Backend,
        place: &Place<'_>,
        attributes: &BTreeMap<String, String>,
    ) -> Option<LogSink> {
        if let Some(file) = &backend.file {
            let format = match self.format(file.format.as_ref()) {
                Line::Text(text) => LogFormat::Text(text + "\n"),
                Line::Json { fields, omit_empty } => LogFormat::Json { fields, omit_empty },
            };
            return Some(LogSink::File { path: file.path.clone(), format });
        }
        if let Some(tcp) = &backend.tcp {
            return Some(self.tcp(tcp, place));
        }
        self.open_telemetry(backend.open_telemetry.as_ref()?, place, attributes)
    }

    fn tcp(&mut self, tcp: &TcpBackend, place: &Place<'_>) -> LogSink {
        let (body, json) = match self.format(tcp.format.as_ref()) {
            Line::Text(text) => (LogValue::Text(text), None),
            Line::Json { fields, omit_empty } => {
                let json = JsonLines {
                    integers: keys(&fields, formats::is_number),
                    optional: keys(&fields, formats::is_operator),
                    omit_empty,
                };
                let fields = fields.into_iter().map(|(key, value)| (key, LogValue::Text(value)));
                (LogValue::Map(fields.collect()), Some(json))
            }
        };
        let exporter = TcpExporter { address: tcp.address.clone(), json, delivery: delivery(tcp) };
        let exporter = pipeline::ExporterSpec::Tcp(Box::new(exporter));
        let backend = pipeline::Backend::new(place.inline(), exporter);
        let channel = place.channel();
        let signal = SignalConfig { backends: vec![backend], ..SignalConfig::default() };
        self.channels.insert(channel.clone(), Channel { signal, access_log: None });
        LogSink::Agent { channel, body: Some(body), attributes: Vec::new() }
    }

    fn open_telemetry(
        &mut self,
        logs: &OpenTelemetryLogs,
        place: &Place<'_>,
        own: &BTreeMap<String, String>,
    ) -> Option<LogSink> {
        let mut lookup = Lookup {
            mesh: self.mesh,
            backends: self.backends,
            applied: self.applied,
            without: "nothing is logged there",
        };
        let mut backend = lookup.open_telemetry(&logs.backend, place.inline())?;
        let mut resource_attributes = std::mem::take(&mut backend.resource_attributes);
        resource_attributes.extend(own.clone());
        warn_of_unknown(resource_attributes.iter(), self.pipeline, self.applied);

        let mut attributes: Vec<_> = match &logs.attributes {
            Some(attributes) => attributes
                .iter()
                .map(|Pair { key, value }| (key.clone(), self.placeholders.fill(value)))
                .collect(),
            None => formats::attributes(self.http, self.direction)
                .chain(
                    self.permissions
                        .into_iter()
                        .flat_map(|it| formats::permission_attributes(self.http, it)),
                )
                .map(|(key, value)| (key.to_owned(), self.placeholders.fill(value)))
                .collect(),
        };
        let records = AccessLogRecords {
            integers: keys(&attributes, formats::is_number),
            optional: keys(&attributes, formats::is_operator),
            encoded: keys(&attributes, formats::is_member),
        };
        attributes.push((AccessLogRecords::OUTCOME.to_owned(), formats::OUTCOME.to_owned()));
        let body = match &logs.body {
            Some(body) => self.value(body),
            None => Some(LogValue::Text(self.placeholders.fill(self.line()))),
        };

        let channel = place.channel();
        // Listeners that speak HTTP and others share it.
        let known = self.channels.entry(channel.clone()).or_default();
        known.signal = SignalConfig {
            backends: vec![backend],
            resource_attributes,
            ..SignalConfig::default()
        };
        let all = known.access_log.get_or_insert_default();
        all.integers.extend(records.integers);
        all.optional.extend(records.optional);
        all.encoded.extend(records.encoded);
        Some(LogSink::Agent { channel, body, attributes })
    }

    fn line(&self) -> &'static str {
        if self.http { formats::HTTP_LINE } else { formats::TCP_LINE }
    }

    fn format(&self, format: Option<&Format>) -> Line {
        let plain = |text: &str| Line::Text(self.placeholders.fill(text));
        let Some(format) = format else { return plain(self.line()) };
        match format.kind {
            FormatType::Plain => plain(format.plain.as_deref().unwrap_or_default()),
            FormatType::Json => {
                let pairs = format.json.iter().flatten();
                let fields =
                    pairs.map(|Pair { key, value }| (key.clone(), self.placeholders.fill(value)));
                Line::Json {
                    fields: fields.collect(),
                    omit_empty: format.omit_empty_values.unwrap_or_default(),
                }
            }
        }
    }

    /// A body: JSON, or a value as OTLP writes it in JSON. Envoy's formats are texts, so numbers and truths become texts.
    fn value(&self, json: &Json) -> Option<LogValue> {
        let text = |text: &str| Some(LogValue::Text(self.placeholders.fill(text)));
        match json {
            Json::Null => None,
            Json::Bool(truth) => Some(LogValue::Text(truth.to_string())),
            Json::Number(number) => Some(LogValue::Text(number.to_string())),
            Json::String(format) => text(format),
            Json::Array(items) => {
                Some(LogValue::List(items.iter().filter_map(|item| self.value(item)).collect()))
            }
            Json::Object(entries) => match any_value(json) {
                Some(AnyValue::Scalar(scalar)) => self.value(scalar),
                Some(AnyValue::List(items)) => {
                    Some(LogValue::List(items.iter().filter_map(|item| self.value(item)).collect()))
                }
                Some(AnyValue::Map(pairs)) => {
                    let pair = |pair: &Json| {
                        let key = pair.get("key")?.as_str()?.to_owned();
                        Some((key, self.value(pair.get("value")?)?))
                    };
                    Some(LogValue::Map(pairs.iter().filter_map(pair).collect()))
                }
                None => {
                    let entry =
                        |(key, value): (&String, &Json)| Some((key.clone(), self.value(value)?));
                    Some(LogValue::Map(entries.iter().filter_map(entry).collect()))
                }
            },
        }
    }
}

/// What a line says, for Envoy.
enum Line {
    Text(String),
    Json { fields: Vec<(String, String)>, omit_empty: bool },
}

/// Where a backend stands in a policy.
struct Place<'a> {
    policy: &'a ResourceKey,
    path: Path,
}

impl Place<'_> {
    /// The name of a backend that is written there.
    fn inline(&self) -> String {
        format!("inline of {} at {}", self.policy, self.path)
    }

    /// The name of its channel: what is allowed in an authority, and another for each backend. It says nothing about the backend, so that a change
    /// of where that is does not change listeners.
    fn channel(&self) -> String {
        let mut name = String::new();
        for c in format!("{}/{}", self.policy.name, self.path).chars() {
            match c {
                'a'..='z' | '0'..='9' | '.' | '-' => name.push(c),
                'A'..='Z' | '_' => {
                    name.push('_');
                    name.push(c.to_ascii_lowercase());
                }
                '/' => name.push('+'),
                '[' => name.push('-'),
                ']' => {}
                c => name.extend(
                    ['~'].into_iter().chain(c.escape_unicode().filter(char::is_ascii_hexdigit)),
                ),
            }
        }
        name
    }
}

/// A value as OTLP writes it in JSON: an object whose one entry says what it is.
enum AnyValue<'j> {
    Scalar(&'j Json),
    List(&'j [Json]),
    Map(&'j [Json]),
}

fn any_value(json: &Json) -> Option<AnyValue<'_>> {
    let mut entries = json.as_object()?.iter();
    let (Some((kind, value)), None) = (entries.next(), entries.next()) else { return None };
    let values = || value.get("values").and_then(Json::as_array).map(Vec::as_slice);
    match kind.as_str() {
        "stringValue" | "boolValue" | "intValue" | "doubleValue" | "bytesValue" => {
            Some(AnyValue::Scalar(value))
        }
        "arrayValue" => values().map(AnyValue::List),
        "kvlistValue" => values().map(AnyValue::Map),
        _ => None,
    }
}

fn keys(pairs: &[(String, String)], is: impl Fn(&str) -> bool) -> BTreeSet<String> {
    pairs.iter().filter(|(_, value)| is(value)).map(|(key, _)| key.clone()).collect()
}

/// How lines are delivered to a TCP sink.
pub(super) fn delivery(tcp: &TcpBackend) -> DeliveryOptions {
    DeliveryOptions {
        timeout: tcp.timeout,
        retry_policy: tcp.retry_policy.clone(),
        circuit_breaker: tcp.circuit_breaker.clone(),
        queue: tcp.queue.clone(),
        ..DeliveryOptions::default()
    }
}

fn filter(filter: Option<&Filter>, sample: Option<Percent>) -> LogFilter {
    let sample = sample.unwrap_or(Percent::HUNDRED);
    let Some(filter) = filter else { return LogFilter { sample, ..LogFilter::default() } };
    let status = |bound: fn(&super::schema::StatusRange) -> Option<u16>| {
        filter.status.as_ref().and_then(bound).map(u32::from)
    };
    let duration =
        |bound: fn(&super::schema::DurationRange) -> Option<ursa_model::duration::Duration>| {
            filter.duration.as_ref().and_then(bound).map(std::time::Duration::from)
        };
    let flags = filter.response_flags.clone();
    LogFilter {
        status_from: status(|status| status.from),
        status_to: status(|status| status.to),
        at_least: duration(|duration| duration.at_least),
        shorter_than: duration(|duration| duration.shorter_than),
        any_flag: flags.as_ref().is_some_and(|flags| flags.iter().any(|flag| flag == ANY)),
        flags: flags.into_iter().flatten().filter(|flag| flag != ANY).collect(),
        header: filter.header.as_ref().map(HeaderMatch::of_proxy),
        expression: filter.expression.clone(),
        sample,
        routes: LoggedRoutes::All,
    }
}
