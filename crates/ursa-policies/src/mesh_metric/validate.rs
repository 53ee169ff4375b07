//! What is refused in a MeshMetric.

use ursa_model::backend;
use ursa_model::names;
use ursa_model::pipeline::metrics::{Matcher, MatcherKind, PrometheusTls};
use ursa_model::pipeline::processor;
use ursa_model::report::Cursor;
use ursa_model::tree::Node;

use super::prometheus::is_prometheus;
use super::schema::{
    Application, Backend, BackendType, Conf, OpenTelemetryMetrics, Prometheus, Sidecar,
};

/// The shortest time from one sending to the next, in seconds.
const MIN_INTERVAL_SECONDS: u64 = 1;

/// The node and the cursor are those of `spec.default`.
pub(super) fn conf(settings: &Node, report: &Cursor<'_>) {
    let Some(conf) = report.decode::<Conf>(settings) else { return };
    validate_sidecar(&conf.sidecar, &report.at("sidecar"));
    let cursor = report.at("applications");
    let applications = conf.applications.unwrap_or_default();
    for (index, application) in applications.iter().enumerate() {
        validate_application(application, &cursor.index(index));
        let same = |other: &&Application| {
            (&other.address, other.port, other.path())
                == (&application.address, application.port, application.path())
        };
        if applications.iter().take(index).any(|other| same(&other)) {
            cursor.index(index).refuse("is asked already: an application before it is the same");
        }
    }
    let cursor = report.at("backends");
    let backends = conf.backends.unwrap_or_default();
    for (index, backend) in backends.iter().enumerate() {
        validate_backend(backend, &cursor.index(index));
        let before = backends.iter().take(index).filter_map(|backend| backend.prometheus.as_ref());
        if let Some(prometheus) = &backend.prometheus {
            beside(prometheus, before, &cursor.index(index).at("prometheus"));
        }
    }
    warn_of_doubling(&backends, &cursor);
    backend::validate_attributes(&conf.resource_attributes, &report.at("resourceAttributes"));
}

fn validate_sidecar(sidecar: &Sidecar, cursor: &Cursor<'_>) {
    let lists = [("exclude", &sidecar.profiles.exclude), ("include", &sidecar.profiles.include)];
    for (field, matchers) in lists {
        let cursor = cursor.at("profiles").key(field);
        for (index, matcher) in matchers.iter().flatten().enumerate() {
            validate_matcher(matcher, &cursor.index(index).at("match"));
        }
    }
}

fn validate_matcher(Matcher { kind, text }: &Matcher, cursor: &Cursor<'_>) {
    match kind {
        MatcherKind::Regex => processor::validate_regex(text, cursor),
        MatcherKind::Prefix | MatcherKind::Exact | MatcherKind::Contains if text.is_empty() => {
            cursor.refuse("must not be empty");
        }
        MatcherKind::Prefix | MatcherKind::Exact | MatcherKind::Contains => {}
    }
}

fn validate_application(application: &Application, cursor: &Cursor<'_>) {
    if application.name.as_ref().is_some_and(String::is_empty) {
        cursor.at("name").refuse("must not be empty");
    }
    if application.address.as_ref().is_some_and(|address| !names::is_host(address)) {
        cursor.at("address").refuse("is neither an IP address nor a DNS name");
    }
    let path = application.path();
    if !path.starts_with('/') || path.contains(|c: char| c == '#' || c.is_whitespace()) {
        cursor.at("path").refuse("must begin with `/`, without blanks and `#`");
    }
}

fn validate_backend(backend: &Backend, cursor: &Cursor<'_>) {
    let forms = [
        (BackendType::Prometheus, backend.prometheus.is_some()),
        (BackendType::OpenTelemetry, backend.open_telemetry.is_some()),
    ];
    let set: Vec<_> = forms.iter().filter(|(_, set)| *set).map(|(form, _)| *form).collect();
    match (set.as_slice(), backend.kind) {
        ([one], Some(kind)) if *one != kind => {
            cursor.at("type").refuse(format!("says {kind:?}, but `{}` is set", one.field()));
        }
        ([_], _) => {}
        _ => cursor.refuse("needs exactly one of `prometheus` and `openTelemetry`"),
    }
    if let Some(prometheus) = &backend.prometheus {
        validate_prometheus(prometheus, &cursor.at("prometheus"));
    }
    if let Some(open_telemetry) = &backend.open_telemetry {
        validate_open_telemetry(open_telemetry, &cursor.at("openTelemetry"));
    }
    validate_sidecar(&backend.sidecar, &cursor.at("sidecar"));
}

fn validate_prometheus(prometheus: &Prometheus, cursor: &Cursor<'_>) {
    let path = prometheus.path();
    if !path.starts_with('/') || path.contains(|c: char| "?#".contains(c) || c.is_whitespace()) {
        cursor.at("path").refuse("must begin with `/`, without blanks, `?` and `#`");
    }
    if prometheus.client_id.as_ref().is_some_and(String::is_empty) {
        cursor.at("clientId").refuse("must not be empty");
    }
    if prometheus.tls() == PrometheusTls::ActiveMtlsBackend {
        cursor.at("tls.mode").warn(
            "has no effect yet: nothing is served with the mesh's certificates, nor without them",
        );
    }
}

/// Endpoints of one port differ in their paths and are protected alike.
fn beside<'a>(
    prometheus: &Prometheus,
    before: impl Iterator<Item = &'a Prometheus>,
    cursor: &Cursor<'_>,
) {
    for other in before.filter(|other| other.port() == prometheus.port()) {
        if other.path() == prometheus.path() {
            let (port, path) = (prometheus.port(), prometheus.path());
            return cursor.refuse_with_hint(
                format!("port {port} has the path `{path}` already"),
                "give each Prometheus a `port` or a `path` of its own",
            );
        }
        if other.tls() != prometheus.tls() {
            return cursor
                .at("tls.mode")
                .refuse("another Prometheus has the same port, and must have the same mode");
        }
    }
}

fn validate_open_telemetry(metrics: &OpenTelemetryMetrics, cursor: &Cursor<'_>) {
    metrics.backend.validate(cursor);
    if metrics.refresh_interval.is_some_and(|interval| {
        interval.get() < std::time::Duration::from_secs(MIN_INTERVAL_SECONDS)
    }) {
        cursor.at("refreshInterval").refuse(format!("must be at least {MIN_INTERVAL_SECONDS}s"));
    }
}

/// A Prometheus that asks and is sent to counts everything twice.
fn warn_of_doubling(backends: &[Backend], cursor: &Cursor<'_>) {
    if !backends.iter().any(|backend| backend.prometheus.is_some()) {
        return;
    }
    for (index, backend) in backends.iter().enumerate() {
        let Some(metrics) = &backend.open_telemetry else { continue };
        if is_prometheus(&metrics.backend.backend) {
            cursor.index(index).at("openTelemetry").warn_with_hint(
                "is a Prometheus; if it asks the proxies as well, every sum over them doubles",
                "keep one of the two ways for each Prometheus",
            );
        }
    }
}
