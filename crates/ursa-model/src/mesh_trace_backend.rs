//! MeshTraceBackend: a backend for traces that MeshTrace refers to; and the tracers other than OpenTelemetry, as MeshTrace writes them inline too.

use schemars::{JsonSchema, schema_for};
use serde::{Deserialize, Serialize};

use crate::Authority;
use crate::backend::{BackendKind, BackendRef, DeliveryOptions, OpenTelemetryBackend};
use crate::kind::{Kind, Scope, no_rewrite};
use crate::names;
use crate::pipeline::{DatadogExporter, ExporterSpec, ZipkinExporter};
use crate::report::Cursor;

/// A backend for traces; exactly one of its forms is set.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-exactly-one" = ["openTelemetry", "zipkin", "datadog"]))]
pub struct MeshTraceBackend {
    /// Which form is set. May be left out.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<TraceBackendType>,
    /// An OTLP backend, inline or by reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_telemetry: Option<InlineOpenTelemetry>,
    /// A Zipkin collector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zipkin: Option<Zipkin>,
    /// A Datadog agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub datadog: Option<Datadog>,
}

/// The forms of a trace backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TraceBackendType {
    /// `openTelemetry`.
    OpenTelemetry,
    /// `zipkin`.
    Zipkin,
    /// `datadog`.
    Datadog,
}

impl TraceBackendType {
    /// The field that holds the form.
    pub const fn field(self) -> &'static str {
        match self {
            Self::OpenTelemetry => "openTelemetry",
            Self::Zipkin => "zipkin",
            Self::Datadog => "datadog",
        }
    }
}

/// `openTelemetry:` where a policy or a MeshTraceBackend holds it: a backend, or a reference to one.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InlineOpenTelemetry {
    /// A backend that is a resource of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend_ref: Option<BackendRef>,
    /// The backend itself.
    #[serde(flatten)]
    pub backend: OpenTelemetryBackend,
}

/// A Zipkin collector.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Zipkin {
    /// Where it listens, for example `http://zipkin:9411/api/v2/spans`.
    pub url: String,
    /// Whether trace ids have 128 bits in Zipkin, or the lower 64 of them. Envoy passes on all 128 in any case, so set it where
    /// applications report to the same Zipkin. Default false. Envoy: `trace_id_128bit`.
    #[serde(default, rename = "traceId128bit", skip_serializing_if = "Option::is_none")]
    pub trace_id_128bit: Option<bool>,
    /// Default `httpJson`. Envoy: `collector_endpoint_version`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_version: Option<ZipkinApi>,
    /// Whether client and server share one span. The spans are made by Envoy's OpenTelemetry tracer, where each has its own: `true` has no
    /// effect yet. Envoy: `shared_span_context`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared_span_context: Option<bool>,
    /// How it is delivered.
    #[serde(flatten)]
    pub delivery: DeliveryOptions,
}

/// Zipkin's formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ZipkinApi {
    /// JSON.
    HttpJson,
    /// Protocol buffers.
    HttpProto,
}

/// A Datadog agent, by `url` or by `address` and `port`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-one-at-least" = ["url", "address"], "x-together" = ["address", "port"]))]
pub struct Datadog {
    /// `http://host:port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// IP address or DNS name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub port: Option<u16>,
    /// Whether a service `S` becomes `S_INBOUND` for its inbounds, and `S_OUTBOUND_D` for those of its outbounds that lead to `D`. Default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split_service: Option<bool>,
    /// How it is delivered.
    #[serde(flatten)]
    pub delivery: DeliveryOptions,
}

/// The kind.
pub static KIND: Kind = Kind {
    name: "MeshTraceBackend",
    plural: "meshtracebackends",
    short: &["mtb"],
    scope: Scope::Mesh,
    flat: false,
    policy: false,
    schema: || schema_for!(MeshTraceBackend),
    rewrite: no_rewrite,
    validate: |node, _, cursor| {
        if let Some(backend) = cursor.decode::<MeshTraceBackend>(node) {
            backend.validate(cursor);
        }
    },
};

impl MeshTraceBackend {
    /// Reports all that is wrong. The cursor stands on the spec.
    pub fn validate(&self, cursor: &Cursor<'_>) {
        use TraceBackendType::{Datadog, OpenTelemetry, Zipkin};

        let forms = [
            (OpenTelemetry, self.open_telemetry.is_some()),
            (Zipkin, self.zipkin.is_some()),
            (Datadog, self.datadog.is_some()),
        ];
        let set: Vec<_> = forms.iter().filter(|(_, set)| *set).map(|(form, _)| *form).collect();
        match (set.as_slice(), self.kind) {
            ([one], Some(kind)) if *one != kind => {
                cursor.at("type").refuse(format!("says {kind:?}, but `{}` is set", one.field()));
            }
            ([_], _) => {}
            _ => cursor.refuse("needs exactly one of `openTelemetry`, `zipkin` and `datadog`"),
        }
        if let Some(open_telemetry) = &self.open_telemetry {
            open_telemetry.validate(&cursor.at("openTelemetry"));
        }
        if let Some(zipkin) = &self.zipkin {
            zipkin.validate(&cursor.at("zipkin"));
        }
        if let Some(datadog) = &self.datadog {
            datadog.validate(&cursor.at("datadog"));
        }
    }
}

impl InlineOpenTelemetry {
    /// Reports all that is wrong. The cursor stands on `openTelemetry`.
    pub fn validate(&self, cursor: &Cursor<'_>) {
        let Some(reference) = &self.backend_ref else { return self.backend.validate(cursor) };
        reference.validate(&cursor.at("backendRef"));
        if reference.kind != BackendKind::MeshOpenTelemetryBackend {
            cursor.at("backendRef.kind").refuse_with_hint(
                format!(
                    "`openTelemetry` refers to a MeshOpenTelemetryBackend, not to a {}",
                    reference.kind.name()
                ),
                "use `reference` beside `openTelemetry` instead",
            );
        }
        let inline = OpenTelemetryBackend {
            resource_attributes: std::collections::BTreeMap::new(),
            ..self.backend.clone()
        };
        if inline != OpenTelemetryBackend::default() {
            let keys = cursor.node().and_then(crate::tree::Node::as_map).into_iter().flatten();
            let own = |key: &str| key == "backendRef" || key == "resourceAttributes";
            for entry in keys.filter(|entry| !own(&entry.key) && is_backend_field(&entry.key)) {
                cursor
                    .key(&entry.key)
                    .refuse("`backendRef` and an inline backend exclude each other; keep one");
            }
        }
        crate::backend::validate_attributes(
            &self.backend.resource_attributes,
            &cursor.at("resourceAttributes"),
        );
    }
}

/// Whether `field` is one of the backend's own, and not one that a policy adds beside it.
fn is_backend_field(field: &str) -> bool {
    static FIELDS: std::sync::LazyLock<Vec<String>> = std::sync::LazyLock::new(|| {
        let schema = schema_for!(OpenTelemetryBackend);
        let properties = schema.get("properties").and_then(serde_json::Value::as_object);
        properties.into_iter().flatten().map(|(name, _)| name.clone()).collect()
    });
    FIELDS.iter().any(|known| known == field)
}

impl Zipkin {
    /// Reports all that is wrong. The cursor stands on `zipkin`.
    pub fn validate(&self, cursor: &Cursor<'_>) {
        match self.url.split_once("://") {
            Some(("http" | "https", rest)) => {
                let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
                let (host, port) = host_and_port(authority);
                if !names::is_host(host) {
                    cursor.at("url").refuse("the URL has no valid host");
                }
                if port.is_some_and(|port| !is_port(port)) {
                    cursor.at("url").refuse("the port must be from 1 to 65535");
                }
            }
            _ => cursor.at("url").refuse_with_hint(
                "must be an absolute URL",
                "for example `http://zipkin:9411/api/v2/spans`",
            ),
        }
        if self.shared_span_context == Some(true) {
            cursor
                .at("sharedSpanContext")
                .warn("has no effect yet: client and server have a span each");
        }
        self.delivery.validate(cursor);
    }

    /// How spans are delivered to it.
    pub fn exporter(&self) -> ExporterSpec {
        ExporterSpec::Zipkin(Box::new(ZipkinExporter {
            url: self.url.clone(),
            api_version: self.api_version,
            trace_id_128bit: Some(self.trace_id_128bit.unwrap_or(false)),
            delivery: self.delivery.clone(),
        }))
    }
}

impl Datadog {
    /// Reports all that is wrong. The cursor stands on `datadog`.
    pub fn validate(&self, cursor: &Cursor<'_>) {
        match (&self.url, &self.address, self.port) {
            (Some(url), None, None) => validate_datadog_url(url, &cursor.at("url")),
            (None, Some(address), Some(_)) if names::is_host(address) => {}
            (None, Some(_), Some(_)) => {
                cursor.at("address").refuse("is neither an IP address nor a DNS name");
            }
            (Some(_), _, _) => {
                cursor.at("url").refuse("`url` excludes `address` and `port`; keep one form");
            }
            (None, Some(_), None) => cursor.at("port").refuse("`address` needs its `port`"),
            (None, None, Some(_)) => cursor.at("address").refuse("`port` needs its `address`"),
            (None, None, None) => cursor.refuse("needs a `url`, or `address` and `port`"),
        }
        self.delivery.validate(cursor);
    }

    /// How spans are delivered to it.
    pub fn exporter(&self) -> ExporterSpec {
        let host = self.address.as_deref().unwrap_or_default();
        let parts = || format!("http://{}", Authority { host, port: self.port.unwrap_or(8126) });
        ExporterSpec::Datadog(Box::new(DatadogExporter {
            url: self.url.clone().unwrap_or_else(parts),
            split_service: self.split_service,
            delivery: self.delivery.clone(),
        }))
    }
}

/// Kuma's rules: scheme http, a port, and nothing behind it; one violation for each slip.
fn validate_datadog_url(url: &str, cursor: &Cursor<'_>) {
    let Some((scheme, rest)) = url.split_once("://") else {
        return cursor
            .refuse_with_hint("must be an absolute URL", "for example `http://datadog:8126`");
    };
    if scheme != "http" {
        cursor.refuse("the scheme must be `http`");
    }
    let (rest, fragment) = rest.split_once('#').map_or((rest, false), |(rest, _)| (rest, true));
    let (rest, query) = rest.split_once('?').map_or((rest, false), |(rest, _)| (rest, true));
    let (authority, path) = rest.split_once('/').map_or((rest, false), |(rest, _)| (rest, true));
    let (host_port, user) =
        authority.rsplit_once('@').map_or((authority, false), |(_, rest)| (rest, true));
    for (given, part) in [(path, "path"), (user, "user"), (query, "query"), (fragment, "fragment")]
    {
        if given {
            cursor.refuse(format!("the URL must not have a {part}"));
        }
    }
    let (host, port) = host_and_port(host_port);
    if !names::is_host(host) {
        cursor.refuse("the URL has no valid host");
    }
    if !port.is_some_and(is_port) {
        cursor.refuse("the URL needs a port from 1 to 65535");
    }
}

/// The host of `user@host:port`, and the port if there is one.
fn host_and_port(authority: &str) -> (&str, Option<&str>) {
    let host_port = authority.rsplit('@').next().unwrap_or_default();
    match host_port.rsplit_once(':') {
        Some((host, port)) if !host_port.ends_with(']') => (host, Some(port)),
        _ => (host_port, None),
    }
}

fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok_and(|port| port > 0)
}
