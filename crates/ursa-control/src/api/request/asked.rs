//! A request as it is asked about: by hand, or as the spans of a trace describe it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value};
use ursa_envoy::proxy::Direction;
use ursa_envoy::request::{Answer, Request};
use ursa_model::ProxyId;

use crate::api::Api;
use crate::api::permitted::Callers;
use crate::telemetry::TraceId;

/// The body: a trace, or a request by hand.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(crate) struct Asked {
    /// 32 hexadecimal digits, or 16.
    pub(super) trace: Option<String>,
    method: Option<String>,
    host: Option<String>,
    path: Option<String>,
    /// By name: a value, or several if there are as many lines.
    headers: BTreeMap<String, Values>,
    /// The service that an outbound leads to; unset: it comes in.
    outbound: Option<String>,
    /// The service that calls, of which is said whether it may.
    pub(super) from: Option<String>,
    /// The port of the listener; unset: all of the direction.
    pub(super) port: Option<u16>,
    status: Option<u32>,
    duration_ms: Option<u64>,
    flags: Option<Vec<String>>,
}

/// The values of one header.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Values {
    One(String),
    Lines(Vec<String>),
}

impl Values {
    fn lines(&self) -> &[String] {
        match self {
            Self::One(value) => std::slice::from_ref(value),
            Self::Lines(lines) => lines,
        }
    }
}

/// A request and where it is looked at.
pub(super) struct Case {
    pub(super) request: Request,
    pub(super) answer: Answer,
    pub(super) direction: Direction,
    pub(super) destination: Option<String>,
    pub(super) port: Option<u16>,
    /// Who calls. Set: listeners that do not speak HTTP are looked at, too.
    pub(super) callers: Option<Callers>,
    /// Whether it is as the tracer saw it, after what the module may have made of it.
    pub(super) was_seen: bool,
}

impl Asked {
    /// How many lines of headers there are.
    pub(super) fn lines(&self) -> usize {
        self.headers.values().map(|values| values.lines().len()).sum()
    }

    /// The request that is described.
    pub(super) fn case(&self) -> Case {
        let text =
            |field: &Option<String>, other: &str| field.as_deref().unwrap_or(other).to_owned();
        let headers = self.headers.iter().flat_map(|(name, values)| {
            values.lines().iter().map(|value| (name.clone(), value.clone()))
        });
        Case {
            request: Request {
                method: text(&self.method, "GET"),
                authority: text(&self.host, ""),
                path: text(&self.path, "/"),
                headers: headers.collect(),
            },
            answer: Answer {
                status: self.status,
                duration: self.duration_ms.map(Duration::from_millis),
                flags: self.flags.clone(),
            },
            direction: match self.outbound {
                Some(_) => Direction::Outbound,
                None => Direction::Inbound,
            },
            destination: self.outbound.clone(),
            port: self.port,
            callers: None,
            was_seen: false,
        }
    }
}

/// The requests that the spans of a proxy in the window describe.
pub(super) fn cases(api: &Api, trace: &[u8], id: &ProxyId) -> Vec<Case> {
    let number = <[u8; 16]>::try_from(trace).map(u128::from_be_bytes).unwrap_or_default();
    let text = format!("{number:032x}");
    let detail = text.parse::<TraceId>().ok().and_then(|trace| api.window.trace(trace));
    let spans = detail.into_iter().flat_map(|detail| detail.spans);
    let own = spans.filter(|span| {
        let says = |name: &str, value: &str| span.resource.get(name).is_some_and(|it| it == value);
        says("service.instance.id", &id.name) && says("kuma.mesh", &id.mesh)
    });
    own.map(|span| {
        let parent = span.parent_span_id.as_deref().map(|parent| format!("00-{text}-{parent}-01"));
        case(&span.attributes, parent, span.kind, span.duration_ms)
    })
    .collect()
}

/// What a span says of its request, by OpenTelemetry's names or by Envoy's.
fn case(span: &Map<String, Value>, parent: Option<String>, kind: &str, took_ms: f64) -> Case {
    let text = |names: &[&str]| {
        let found = names.iter().find_map(|name| span.get(*name))?;
        Some(found.as_str().map_or_else(|| found.to_string(), str::to_owned))
    };
    let url = text(&["url.full", "http.url"]).unwrap_or_default();
    let path = text(&["url.path", "http.target"]).or_else(|| {
        let rest = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest);
        rest.split_once('/').map(|(_, path)| format!("/{path}"))
    });
    let mut headers: Vec<(String, String)> = Vec::new();
    let mut header = |name: &str, value: Option<String>| {
        headers.extend(value.map(|value| (name.to_owned(), value)));
    };
    let id = text(&["envoy.request_id", "guid:x-request-id"]);
    header("x-request-id", id.map(|id| if parent.is_none() { before_drawn(&id) } else { id }));
    header("user-agent", text(&["user_agent.original", "user_agent"]));
    header("traceparent", parent);
    let flags = text(&["envoy.response_flags", "response_flags"]).filter(|flags| flags != "-");
    Case {
        request: Request {
            method: text(&["http.request.method", "http.method"]).unwrap_or_default(),
            authority: text(&["server.address", "http.host"]).unwrap_or_default(),
            path: path.unwrap_or_else(|| "/".to_owned()),
            headers,
        },
        answer: Answer {
            status: text(&["http.response.status_code", "http.status_code"])
                .and_then(|status| status.parse().ok()),
            duration: Duration::try_from_secs_f64(took_ms / 1_000.0).ok(),
            flags: Some(
                flags
                    .map(|flags| flags.split(',').map(str::to_owned).collect())
                    .unwrap_or_default(),
            ),
        },
        direction: if kind == "client" { Direction::Outbound } else { Direction::Inbound },
        destination: None,
        port: None,
        callers: None,
        was_seen: true,
    }
}

/// A request id as it was before the proxy wrote into it that it drew the request: where a trace begins, it was this one.
fn before_drawn(id: &str) -> String {
    const DRAWN: usize = 14;
    let restored = |(at, digit): (usize, char)| match digit {
        '9' if at == DRAWN => '4',
        digit => digit,
    };
    id.chars().enumerate().map(restored).collect()
}
