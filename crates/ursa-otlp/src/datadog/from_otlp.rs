//! OTLP's spans as Datadog's.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::DatadogError;
use super::msgpack::{put_bytes, put_float, put_int, put_list, put_map, put_text, put_uint};
use super::to_otlp::{
    ENVIRONMENT, ERROR_MESSAGE, FLAGS_SET, HIGH_ID, KIND, META_STRUCT, OPERATION_NAME, PRIORITY,
    RESOURCE_NAME, SPAN_TYPE, VERSION,
};
use crate::spans::{Any, Shared, Span, for_each_span, kind, names, status};

/// The attribute for it.
const OTHER_PRIORITY: &str = "sampling.priority";
/// Whole numbers up to here are exact as floating point.
const EXACT: u64 = 1 << 53;
/// Where Datadog has names of its own: tags of HTTP.
const RENAMED: [(&str, &str); 7] = [
    ("client.address", "http.client_ip"),
    ("http.request.method", "http.method"),
    ("http.response.status_code", "http.status_code"),
    ("network.protocol.version", "http.version"),
    ("server.address", "http.server_name"),
    ("url.full", "http.url"),
    ("user_agent.original", "http.useragent"),
];

/// Which services spans are said to be of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Services {
    /// Those that their resources name.
    AsNamed,
    /// Of Envoy's spans, `S_INBOUND` for those of kind server of a service `S`, and `S_OUTBOUND_D` for
    /// those of kind client that went to the cluster `D`, as Envoy's users know it from Kuma's
    /// `splitService`. What narrows a cluster within its service, behind a colon, does not count.
    ByDirection,
}

impl Services {
    /// By direction, or else as named.
    pub fn split(by_direction: bool) -> Self {
        if by_direction { Self::ByDirection } else { Self::AsNamed }
    }

    fn of<'a>(self, service: Cow<'a, str>, attributes: &Shared<'a>, kind: u64) -> Cow<'a, str> {
        let text = |names: [&str; 2]| match names.iter().find_map(|name| attributes.get(*name)) {
            Some(Any::Text(text)) => *text,
            _ => "",
        };
        let is_envoys = text(["envoy.component", "component"]) == "proxy";
        match kind {
            kind::SERVER if is_envoys && self == Self::ByDirection => {
                format!("{service}_INBOUND").into()
            }
            kind::CLIENT if is_envoys && self == Self::ByDirection => {
                let cluster = text(["envoy.upstream_cluster", "upstream_cluster"]);
                let destination = cluster.split(':').next().filter(|name| !name.is_empty());
                match destination {
                    Some(destination) => format!("{service}_OUTBOUND_{destination}").into(),
                    None => format!("{service}_OUTBOUND").into(),
                }
            }
            _ => service,
        }
    }
}

/// A trace that is being gathered.
#[derive(Debug, Default)]
struct Gathered {
    /// Its root, or else its first span: what is said once of a trace is said there.
    head: [u8; 8],
    rooted: bool,
    prioritized: bool,
    count: u32,
    spans: Vec<u8>,
}

/// An `ExportTraceServiceRequest` that was checked, as a v0.4 message, spans gathered by trace,
/// and how many spans that has. Spans without valid ids, which Datadog's agent drops, are left out.
///
/// # Errors
/// The message would be larger than `limit` bytes: attributes of a resource are said again with
/// each of its spans.
pub fn from_otlp(
    request: &[u8],
    services: Services,
    limit: usize,
) -> Result<(Vec<u8>, usize), DatadogError> {
    let mut traces: BTreeMap<[u8; 16], Gathered> = BTreeMap::new();
    for_each_span(request, |shared, span| {
        if has_ids(span) {
            let trace = traces.entry(span.trace_id).or_default();
            let root = span.parent_span_id == [0; 8];
            if trace.count == 0 || root && !trace.rooted {
                (trace.head, trace.rooted) = (span.span_id, root);
            }
            let priority = |(key, _): (&str, Any<'_>)| key == PRIORITY || key == OTHER_PRIORITY;
            trace.prioritized |=
                span.attributes().any(priority) || shared.contains_key(OTHER_PRIORITY);
            trace.count = trace.count.saturating_add(1);
        }
        Ok::<_, DatadogError>(())
    })?;
    let mut length = 0_usize;
    for_each_span(request, |shared, span| {
        if let Some(trace) = has_ids(span).then(|| traces.get_mut(&span.trace_id)).flatten() {
            let before = trace.spans.len();
            let head = trace.head == span.span_id;
            let priority = (head && !trace.prioritized).then_some(1.0);
            // A span that stands here twice is head only once.
            trace.prioritized |= head;
            let out = Out::of(shared, span, services, head, priority);
            out.write(&mut trace.spans);
            length = length.saturating_add(trace.spans.len().saturating_sub(before));
        }
        if length > limit { Err(DatadogError::TooLarge { limit }) } else { Ok(()) }
    })?;
    let mut out = Vec::with_capacity(length.saturating_add(traces.len().saturating_mul(5)));
    put_list(&mut out, u32::try_from(traces.len()).unwrap_or(u32::MAX));
    let mut spans = 0_usize;
    for trace in traces.into_values() {
        spans = spans.saturating_add(trace.count as usize);
        put_list(&mut out, trace.count);
        out.extend_from_slice(&trace.spans);
    }
    Ok((out, spans))
}

/// Datadog's trace ids are the low half.
fn low(trace_id: [u8; 16]) -> u64 {
    #[expect(clippy::cast_possible_truncation, reason = "the low half is meant")]
    let low = u128::from_be_bytes(trace_id) as u64;
    low
}

fn high(trace_id: [u8; 16]) -> u64 {
    low((u128::from_be_bytes(trace_id) >> 64).to_be_bytes())
}

fn has_ids(span: Span<'_>) -> bool {
    low(span.trace_id) != 0 && span.span_id != [0; 8]
}

/// A span that is to be written.
struct Out<'a> {
    from: Span<'a>,
    service: Cow<'a, str>,
    name: Cow<'a, str>,
    resource: Cow<'a, str>,
    kind: Cow<'a, str>,
    meta: BTreeMap<Cow<'a, str>, Cow<'a, str>>,
    metrics: BTreeMap<&'a str, f64>,
    meta_struct: BTreeMap<&'a str, &'a [u8]>,
}

impl<'a> Out<'a> {
    fn of(
        shared: &Shared<'a>,
        from: Span<'a>,
        services: Services,
        head: bool,
        priority: Option<f64>,
    ) -> Self {
        let mut attributes = shared.clone();
        attributes.extend(from.attributes());
        let mut take = |name: &str| {
            let text = attributes.remove(name).map(Any::to_text);
            text.filter(|text| !text.is_empty())
        };
        let service = take(names::SERVICE_NAME).unwrap_or(names::UNKNOWN_SERVICE.into());
        let environment = take(names::ENVIRONMENT).or_else(|| take(names::OLD_ENVIRONMENT));
        let version = take(names::SERVICE_VERSION);
        let (operation, resource, kind) =
            (take(OPERATION_NAME), take(RESOURCE_NAME), take(SPAN_TYPE));
        let service = services.of(service, &attributes, from.kind);
        let name = operation.unwrap_or_else(|| operation_of(&attributes, from.kind));
        let mut out = Self {
            from,
            service,
            resource: resource.unwrap_or_else(|| {
                if from.name.is_empty() { name.clone() } else { from.name.into() }
            }),
            name,
            kind: kind.unwrap_or_else(|| type_of(&attributes, from.kind).into()),
            meta: BTreeMap::new(),
            metrics: BTreeMap::new(),
            meta_struct: BTreeMap::new(),
        };
        for (key, value) in attributes {
            out.add(key, value);
        }
        for (name, value) in [(ENVIRONMENT, environment), (VERSION, version)] {
            if let Some(value) = value {
                out.meta.insert(name.into(), value);
            }
        }
        out.add_fields();
        if head && high(from.trace_id) != 0 {
            let digits = format!("{:016x}", high(from.trace_id));
            out.meta.insert(HIGH_ID.into(), digits.into());
        }
        if let Some(priority) = priority {
            out.metrics.entry(PRIORITY).or_insert(priority);
        }
        out
    }

    fn add(&mut self, key: &'a str, value: Any<'a>) {
        let renamed = RENAMED.iter().find(|(from, _)| *from == key).map(|(_, to)| *to);
        match value {
            Any::Bytes(bytes) if key.starts_with(META_STRUCT) => {
                self.meta_struct.insert(key.strip_prefix(META_STRUCT).unwrap_or(key), bytes);
            }
            _ if renamed.is_some() => {
                self.meta.insert(renamed.unwrap_or(key).into(), value.to_text());
            }
            Any::Double(number) if key == OTHER_PRIORITY => {
                self.metrics.insert(PRIORITY, number);
            }
            Any::Int(number) if key == OTHER_PRIORITY => {
                self.metrics.insert(PRIORITY, number as f64);
            }
            Any::Double(number) => {
                self.metrics.insert(key, number);
            }
            Any::Int(number) if number.unsigned_abs() <= EXACT => {
                self.metrics.insert(key, number as f64);
            }
            _ => {
                self.meta.insert(key.into(), value.to_text());
            }
        }
    }

    /// What OTLP has as fields and Datadog as tags. Tags that are there already stay.
    fn add_fields(&mut self) {
        let from = self.from;
        let kind = match from.kind {
            kind::SERVER => "server",
            kind::CLIENT => "client",
            kind::PRODUCER => "producer",
            kind::CONSUMER => "consumer",
            _ => "internal",
        };
        self.fill(KIND, kind);
        if from.status_code == status::OK {
            self.fill(names::STATUS_CODE, "OK");
        }
        if from.status_code == status::ERROR {
            self.fill(ERROR_MESSAGE, from.status_message);
            for event in from.events().filter(|event| event.name == "exception") {
                for (key, value) in event.attributes() {
                    match key {
                        "exception.message" => self.fill(ERROR_MESSAGE, value.to_text()),
                        "exception.type" => self.fill("error.type", value.to_text()),
                        "exception.stacktrace" => self.fill("error.stack", value.to_text()),
                        _ => {}
                    }
                }
            }
        }
        self.fill(names::TRACE_STATE, from.trace_state);
        for (name, count) in from.dropped() {
            self.metrics.entry(name).or_insert(count as f64);
        }
        if from.events().next().is_some() {
            self.fill("events", events(from));
        }
    }

    fn fill(&mut self, key: &'a str, value: impl Into<Cow<'a, str>>) {
        let value = value.into();
        if !value.is_empty() {
            self.meta.entry(key.into()).or_insert(value);
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let links = self.from.links().count();
        let optional = [!self.meta_struct.is_empty(), links > 0];
        let optional = optional.into_iter().map(u32::from).sum::<u32>();
        put_map(out, optional.saturating_add(12));
        for (name, value) in [
            ("service", &self.service),
            ("name", &self.name),
            ("resource", &self.resource),
            ("type", &self.kind),
        ] {
            put_text(out, name.as_bytes());
            put_text(out, value.as_bytes());
        }
        for (name, id) in [
            ("trace_id", low(self.from.trace_id)),
            ("span_id", u64::from_be_bytes(self.from.span_id)),
            ("parent_id", u64::from_be_bytes(self.from.parent_span_id)),
        ] {
            put_text(out, name.as_bytes());
            put_uint(out, id);
        }
        let duration = self.from.end.saturating_sub(self.from.start);
        let error = u64::from(self.from.status_code == status::ERROR);
        for (name, number) in [("start", self.from.start), ("duration", duration), ("error", error)]
        {
            put_text(out, name.as_bytes());
            put_int(out, i64::try_from(number).unwrap_or(i64::MAX));
        }
        put_text(out, b"meta");
        put_map(out, count(self.meta.len()));
        for (key, value) in &self.meta {
            put_text(out, key.as_bytes());
            put_text(out, value.as_bytes());
        }
        put_text(out, b"metrics");
        put_map(out, count(self.metrics.len()));
        for (key, value) in &self.metrics {
            put_text(out, key.as_bytes());
            put_float(out, *value);
        }
        if !self.meta_struct.is_empty() {
            put_text(out, b"meta_struct");
            put_map(out, count(self.meta_struct.len()));
            for (key, value) in &self.meta_struct {
                put_text(out, key.as_bytes());
                put_bytes(out, value);
            }
        }
        if links > 0 {
            put_text(out, b"span_links");
            put_list(out, count(links));
            self.write_links(out);
        }
    }

    fn write_links(&self, out: &mut Vec<u8>) {
        for link in self.from.links() {
            let attributes: BTreeMap<_, _> = link.attributes().collect();
            put_map(out, 6);
            for (name, id) in [
                ("trace_id", low(link.trace_id)),
                ("trace_id_high", high(link.trace_id)),
                ("span_id", u64::from_be_bytes(link.span_id)),
                ("flags", u64::from(link.flags | FLAGS_SET)),
            ] {
                put_text(out, name.as_bytes());
                put_uint(out, id);
            }
            put_text(out, b"tracestate");
            put_text(out, link.trace_state.as_bytes());
            put_text(out, b"attributes");
            put_map(out, u32::try_from(attributes.len()).unwrap_or(u32::MAX));
            for (key, value) in attributes {
                put_text(out, key.as_bytes());
                put_text(out, value.to_text().as_bytes());
            }
        }
    }
}

/// The name of an operation as Datadog's agent makes it.
fn operation_of<'a>(attributes: &Shared<'a>, kind: u64) -> Cow<'a, str> {
    let text = |name: &str| attributes.get(name).map(|value| value.to_text());
    let side = match kind {
        kind::SERVER => Some("server"),
        kind::CLIENT => Some("client"),
        _ => None,
    };
    let http = ["http.request.method", "http.method"];
    if let Some(side) = side
        && http.iter().any(|name| attributes.contains_key(name))
    {
        return format!("http.{side}.request").into();
    }
    let database = text("db.system.name").or_else(|| text("db.system"));
    if let (Some(system), Some("client")) = (database, side) {
        return format!("{system}.query").into();
    }
    let messaging = text("messaging.operation.type").or_else(|| text("messaging.operation"));
    if let (Some(system), Some(operation)) = (text("messaging.system"), messaging) {
        return format!("{system}.{operation}").into();
    }
    if let (Some(system), Some(side)) = (text("rpc.system"), side) {
        return format!("{system}.{side}.request").into();
    }
    match (kind, side) {
        (_, Some(side)) => format!("{side}.request").into(),
        (kind::PRODUCER, _) => "producer".into(),
        (kind::CONSUMER, _) => "consumer".into(),
        _ => "internal".into(),
    }
}

/// The type of a span as Datadog's agent makes it.
fn type_of(attributes: &Shared<'_>, kind: u64) -> &'static str {
    let database = ["db.system.name", "db.system"];
    match kind {
        kind::SERVER => "web",
        kind::CLIENT if database.iter().any(|name| attributes.contains_key(name)) => "db",
        kind::CLIENT => "http",
        _ => "custom",
    }
}

/// The events as JSON.
fn events(from: Span<'_>) -> String {
    let events: Vec<_> = from
        .events()
        .map(|event| {
            let attributes = event.json().unwrap_or_else(|| "{}".to_owned());
            let name = Any::Text(event.name).to_json();
            let time = event.time;
            format!(r#"{{"time_unix_nano":{time},"name":{name},"attributes":{attributes}}}"#)
        })
        .collect();
    format!("[{}]", events.join(","))
}
