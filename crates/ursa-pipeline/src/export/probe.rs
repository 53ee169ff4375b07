//! Trying a backend: every step on the way to it, and one span, one metric and one log record.
//!
//! What `ursa telemetry test` prints. Each failure has its own words, and says what to do.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use rustls::ProtocolVersion;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_util::task::TaskTracker;
use ursa_model::SecretText;
use ursa_model::pipeline::ExporterSpec;

use super::client::Client;
use super::connection::SpokenOn;
use super::dial::{self, Tcp};
use super::sniff::Sniffed;
use super::trouble::{Phase, Trouble};
use super::{Exporter, Outcome, Outlet, Payload, Values};
use crate::stream::Stream;
use crate::tls::ClientTls;
use crate::{Form, Signal};

pub use crate::tls::Certificate;

/// What the test's telemetry is called.
const NAME: &str = "ursa telemetry test";
const SERVICE: &str = "ursa-telemetry-test";
/// A step is not waited for longer, if the backend's own timeout does not end it before.
const PATIENCE: Duration = Duration::from_secs(10);
/// A certificate that ends so soon is pointed out.
const ENDS_SOON: SignedDuration = SignedDuration::from_hours(14 * 24);

/// What came of trying a backend. It holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Where telemetry goes: one place, unless signals have endpoints of their own.
    pub places: Vec<Place>,
    /// What became of one item of each signal that the backend's kind takes.
    pub verdicts: Vec<Verdict>,
}

/// The way to one place, as far as it went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Place {
    /// `host:port` and path, or a file.
    pub endpoint: String,
    /// `grpc`, `http`, `zipkin`, `datadog`, `file` or `console`.
    pub protocol: String,
    /// In order; only the last may have failed.
    pub steps: Vec<Step>,
}

/// One step on the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// What was done.
    pub kind: StepKind,
    /// Whether it worked.
    pub ok: bool,
    /// What was found, or what is wrong.
    pub detail: String,
    /// What to do, if it failed or soon will.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
    /// What the backend showed, its own certificate first. TLS only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<Certificate>,
}

/// What a step does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StepKind {
    /// Endpoint, credentials, files and environment are there and fit together.
    Settings,
    /// The host's name, or the proxy's, is looked up.
    Dns,
    /// A TCP connection is made, to the proxy if there is one.
    Tcp,
    /// The proxy connects to the backend.
    Proxy,
    /// TLS is agreed upon.
    Tls,
}

/// What became of one item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// What was sent.
    pub signal: Signal,
    /// Whether the backend took it.
    pub ok: bool,
    /// What the backend said, or why it was not tried.
    pub detail: String,
    /// What to do, if it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

impl Report {
    /// Whether every signal was taken.
    pub fn ok(&self) -> bool {
        self.verdicts.iter().all(|verdict| verdict.ok)
    }
}

impl Step {
    fn done(kind: StepKind, detail: String) -> Self {
        Self { kind, ok: true, detail, mend: None, certificates: Vec::new() }
    }

    fn failed(kind: StepKind, trouble: &Trouble) -> Self {
        let certificates = match trouble {
            Trouble::Tls { failure, .. } => failure.chain.clone(),
            _ => Vec::new(),
        };
        let mend = trouble.mend().map(ToOwned::to_owned);
        Self { kind, ok: false, detail: trouble.to_string(), mend, certificates }
    }
}

/// Tries the backend: names come from `environment`, `${secret:…}` from `secrets`. Signals that it is
/// known not to take are left out.
pub async fn probe(
    spec: &ExporterSpec,
    environment: &BTreeMap<String, String>,
    secrets: &BTreeMap<String, SecretText>,
) -> Report {
    let secret = |(name, value): (&String, &String)| (name.clone(), SecretText::new(value.clone()));
    let environment = Arc::new(environment.iter().map(secret).collect());
    let values = Values::new(environment, secrets.clone());
    let mut report = Report { places: Vec::new(), verdicts: Vec::new() };
    for signal in signals(spec) {
        let tasks = TaskTracker::new();
        let outlet = Outlet { values: values.clone(), dial: Arc::new(Tcp), tasks };
        let exporter = Exporter::new(spec, signal, outlet);
        let endpoint = exporter.endpoint();
        let known = report.places.iter().position(|place| place.endpoint == endpoint);
        let place = known.and_then(|at| report.places.get(at)).cloned();
        let place = match place {
            Some(place) => place,
            None => {
                let protocol = exporter.protocol().to_owned();
                let place = Place { endpoint, protocol, steps: steps(&exporter).await };
                report.places.push(place.clone());
                place
            }
        };
        let failed = place.steps.iter().find(|step| !step.ok);
        report.verdicts.push(match failed {
            Some(step) => Verdict {
                signal,
                ok: false,
                detail: format!("not sent: {}", step.detail),
                mend: step.mend.clone(),
            },
            None => verdict(&exporter, signal).await,
        });
    }
    report
}

/// The signals that a kind of backend takes.
fn signals(spec: &ExporterSpec) -> Vec<Signal> {
    match spec {
        ExporterSpec::Zipkin(_) | ExporterSpec::Datadog(_) => vec![Signal::Traces],
        ExporterSpec::Tcp(_) => vec![Signal::Logs],
        _ => Signal::ALL.to_vec(),
    }
}

async fn verdict(exporter: &Exporter, signal: Signal) -> Verdict {
    let request = item(signal, Timestamp::now());
    let bytes = request.len();
    let payload = Payload { signal, form: Form::Otlp, requests: vec![request], items: 1, bytes };
    let (ok, detail, mend) = match exporter.send(&payload).await {
        Outcome::Delivered { rejected: 0, message } if message.is_empty() => {
            (true, "taken".to_owned(), None)
        }
        Outcome::Delivered { rejected: 0, message } => (true, format!("taken: {message}"), None),
        Outcome::Delivered { message, .. } => (false, format!("rejected: {message}"), None),
        Outcome::Failed(failure) => (false, failure.message, failure.mend),
        Outcome::Blocked(reason) => (false, reason, None),
    };
    Verdict { signal, ok, detail, mend }
}

/// The way to the backend, as far as it goes.
async fn steps(exporter: &Exporter) -> Vec<Step> {
    let client = match exporter.client() {
        None => return Vec::new(),
        Some(Err(reason)) => return vec![blocked(reason)],
        Some(Ok(client)) => client,
    };
    let mut steps = Vec::new();
    if let Some(reason) = client.ready().await {
        return vec![blocked(&reason)];
    }
    let warning = client.warning().await;
    let mut settings = Step::done(StepKind::Settings, "complete".to_owned());
    if let Some(warning) = warning {
        settings.detail = warning;
    }
    steps.push(settings);
    if let Err(step) = walk(client, &mut steps).await {
        steps.push(step);
    }
    steps
}

fn blocked(reason: &str) -> Step {
    Step { ok: false, ..Step::done(StepKind::Settings, reason.to_owned()) }
}

/// Pushes the steps that work, and returns the one that does not.
async fn walk(client: &Client, steps: &mut Vec<Step>) -> Result<(), Step> {
    let connector = client.connector();
    let (target, proxy) = (&connector.target, connector.proxy.as_ref());
    let limit = client.timeout().unwrap_or(PATIENCE).min(PATIENCE);
    let late = |phase| Trouble::Timeout { authority: target.authority.clone(), phase, limit };
    let (host, port) = match proxy {
        Some(proxy) => (&proxy.host, proxy.port),
        None => (&target.host, target.port),
    };
    let whom = |what: String| match proxy {
        Some(proxy) => format!("{what}, the proxy in {}", proxy.variable),
        None => what,
    };

    let failed = |kind| move |trouble: Trouble| Step::failed(kind, &trouble);
    let found = timeout(limit, dial::addresses(host, port)).await;
    let found =
        found.map_err(|_| Trouble::Lookup(format!("look up {host}: no answer within {limit:?}")));
    let found = found.and_then(|found| found.map_err(|error| Trouble::Lookup(error.to_string())));
    let addresses = found.map_err(failed(StepKind::Dns))?;
    if host.parse::<std::net::IpAddr>().is_err() {
        let list: Vec<_> = addresses.iter().map(|address| address.ip().to_string()).collect();
        steps.push(Step::done(StepKind::Dns, whom(format!("{host} is {}", list.join(", ")))));
    }

    let connected = timeout(limit, dial::connect(addresses)).await;
    let stream = match connected {
        Err(_) => Err(late(Phase::Connecting)),
        Ok(connected) => connected.map_err(|error| match proxy {
            Some(proxy) => Trouble::proxy(proxy, &error.into()),
            None => target.unreached(&error),
        }),
    };
    let stream = stream.map_err(failed(StepKind::Tcp))?;
    let at = stream.peer_addr().map(|address| address.to_string()).unwrap_or_default();
    steps.push(Step::done(StepKind::Tcp, whom(format!("connected to {at}"))));
    let mut stream: Box<dyn Stream> = Box::new(stream);

    if let Some(proxy) = proxy {
        let through = timeout(limit, connector.through(proxy, stream)).await;
        let through = through.unwrap_or_else(|_| Err(late(Phase::Connecting)));
        stream = through.map_err(failed(StepKind::Proxy))?;
        let how = if connector.whole_urls().is_some() { "passes requests on" } else { "connected" };
        let detail = format!("{} {how} to {}", proxy.authority(), target.authority);
        steps.push(Step::done(StepKind::Proxy, detail));
    }
    if let Some(tls) = &connector.tls {
        let agreed = timeout(limit, secure(client, tls, stream)).await;
        let agreed = agreed.unwrap_or_else(|_| Err(late(Phase::Handshaking)));
        steps.push(agreed.map_err(failed(StepKind::Tls))?);
    }
    Ok(())
}

/// Agrees on TLS, and tells what with whom.
async fn secure(
    client: &Client,
    tls: &ClientTls,
    stream: Box<dyn Stream>,
) -> Result<Step, Trouble> {
    let spoken = SpokenOn::default();
    let stream = Sniffed { stream, first: spoken.wire.clone() };
    let current = tls.current(Duration::ZERO).await.map_err(Trouble::TlsSetup)?;
    let agreed = TlsConnector::from(current.config).connect(current.name, stream).await;
    let target = client.target();
    let agreed = agreed.map_err(|error| target.tls_trouble(tls, &error, &spoken))?;
    let session = agreed.get_ref().1;
    let version = match session.protocol_version() {
        Some(ProtocolVersion::TLSv1_2) => "TLS 1.2",
        _ => "TLS 1.3",
    };
    let http = match session.alpn_protocol() {
        Some(protocol) => String::from_utf8_lossy(protocol).into_owned(),
        None => "no protocol agreed".to_owned(),
    };
    let shown = session.peer_certificates().unwrap_or_default();
    let certificates: Vec<_> = shown.iter().filter_map(Certificate::of).collect();
    let mut step = Step::done(StepKind::Tls, format!("{version}, {http}"));
    if let Some(own) = certificates.first() {
        let names = own.names.join(", ");
        step.detail = format!(
            "{}; certificate {:?} of {:?} until {} for {names}",
            step.detail,
            own.title(),
            own.issuer,
            own.not_after
        );
        let left = own.not_after.duration_since(Timestamp::now());
        if left < ENDS_SOON {
            step.mend =
                Some(format!("renew the backend's certificate: {} h are left", left.as_hours()));
        }
    }
    step.certificates = certificates;
    Ok(step)
}

/// A request with one item that says what it is.
pub(super) fn item(signal: Signal, now: Timestamp) -> Bytes {
    let nanos = u64::try_from(now.as_nanosecond()).unwrap_or_default();
    let text = |text: &str| AnyValue { value: Some(Value::StringValue(text.to_owned())) };
    let attribute = |key: &str, value: &str| KeyValue {
        key: key.to_owned(),
        value: Some(text(value)),
        ..KeyValue::default()
    };
    let attributes = vec![attribute("service.name", SERVICE)];
    let resource = Some(Resource { attributes, ..Resource::default() });
    match signal {
        Signal::Traces => {
            let span = Span {
                trace_id: fastrand::u128(1..).to_be_bytes().into(),
                span_id: fastrand::u64(1..).to_be_bytes().into(),
                name: NAME.to_owned(),
                kind: 1,
                start_time_unix_nano: nanos.saturating_sub(1_000_000),
                end_time_unix_nano: nanos,
                ..Span::default()
            };
            let scope_spans = vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }];
            let spans = ResourceSpans { resource, scope_spans, ..ResourceSpans::default() };
            ExportTraceServiceRequest { resource_spans: vec![spans] }.encode_to_vec().into()
        }
        Signal::Metrics => {
            let point = NumberDataPoint {
                time_unix_nano: nanos,
                value: Some(number_data_point::Value::AsInt(1)),
                ..NumberDataPoint::default()
            };
            let metric = Metric {
                name: NAME.replace(' ', "."),
                description: "One data point that tests a backend.".to_owned(),
                unit: "1".to_owned(),
                data: Some(Data::Gauge(Gauge { data_points: vec![point] })),
                ..Metric::default()
            };
            let scope_metrics =
                vec![ScopeMetrics { metrics: vec![metric], ..ScopeMetrics::default() }];
            let metrics = ResourceMetrics { resource, scope_metrics, ..ResourceMetrics::default() };
            ExportMetricsServiceRequest { resource_metrics: vec![metrics] }.encode_to_vec().into()
        }
        Signal::Logs => {
            let record = LogRecord {
                time_unix_nano: nanos,
                observed_time_unix_nano: nanos,
                severity_number: 9,
                severity_text: "INFO".to_owned(),
                body: Some(text(NAME)),
                ..LogRecord::default()
            };
            let scope_logs = vec![ScopeLogs { log_records: vec![record], ..ScopeLogs::default() }];
            let logs = ResourceLogs { resource, scope_logs, ..ResourceLogs::default() };
            ExportLogsServiceRequest { resource_logs: vec![logs] }.encode_to_vec().into()
        }
    }
}
