//! What calls of gRPC come to: counted around the router, so that no service has to.
//!
//! Messages are told by their five-byte heads (gRPC over HTTP/2, "Length-Prefixed-Message"), the end by the status in
//! the trailers, or in the headers of an answer that has no body.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;
use http_body_util::BodyExt as _;
use tokio::time::Instant;
use tonic::Code;
use ursa_metrics::{Counter, Family, Histogram, Registry, control};

/// The methods that are served, and their type. Callers may make up others: these are counted as one.
const METHODS: [(&str, &str); 5] = [
    (
        "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources",
        "bidi_stream",
    ),
    (
        "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources",
        "bidi_stream",
    ),
    (ursa_envoy::questions::PATH, "bidi_stream"),
    (crate::monitoring::STREAM, "bidi_stream"),
    (crate::monitoring::FETCH, "unary"),
];
/// Labels of a method that is not served.
const UNKNOWN: [&str; 3] = ["unknown"; 3];

/// Counters of all calls.
#[derive(Debug, Clone)]
pub(crate) struct Calls {
    started: Family<Counter>,
    handled: Family<Counter>,
    received: Family<Counter>,
    sent: Family<Counter>,
    seconds: Family<Histogram>,
}

impl Calls {
    pub(crate) fn new(registry: &Registry) -> Self {
        let calls = Self {
            started: registry.counter(&control::GRPC_STARTED),
            handled: registry.counter(&control::GRPC_HANDLED),
            received: registry.counter(&control::GRPC_RECEIVED),
            sent: registry.counter(&control::GRPC_SENT),
            seconds: registry.histogram(&control::GRPC_HANDLING_SECONDS),
        };
        for (path, _) in METHODS {
            let labels = labels(path);
            for family in [&calls.started, &calls.received, &calls.sent] {
                family.with(&labels);
            }
            calls.seconds.with(&labels);
            let [kind, service, method] = labels;
            calls.handled.with(&[kind, service, method, name(Code::Ok)]);
        }
        calls
    }
}

/// Type, service and method of a path.
fn labels(path: &str) -> [&'static str; 3] {
    let known = METHODS.into_iter().find(|(known, _)| *known == path);
    let parts = known.and_then(|(path, kind)| {
        let (service, method) = path.strip_prefix('/')?.split_once('/')?;
        Some([kind, service, method])
    });
    parts.unwrap_or(UNKNOWN)
}

/// Counts a call; what is not gRPC passes.
pub(crate) async fn measure(State(calls): State<Calls>, request: Request, next: Next) -> Response {
    let is_grpc = request.headers().get(header::CONTENT_TYPE);
    if !is_grpc.is_some_and(|it| it.as_bytes().starts_with(b"application/grpc")) {
        return next.run(request).await;
    }
    let labels = labels(request.uri().path());
    calls.started.with(&labels).inc();
    let (received, sent) = (calls.received.with(&labels), calls.sent.with(&labels));
    let mut call = Call { calls, labels, code: Code::Cancelled, started: Instant::now() };
    let mut messages = Messages::default();
    let request = request.map(|body| {
        Body::new(body.map_frame(move |frame| {
            received.inc_by(frame.data_ref().map_or(0, |data| messages.count(data)));
            frame
        }))
    });
    let response = next.run(request).await;
    call.ended(response.headers());
    let mut messages = Messages::default();
    response.map(|body| {
        Body::new(body.map_frame(move |frame| {
            sent.inc_by(frame.data_ref().map_or(0, |data| messages.count(data)));
            if let Some(trailers) = frame.trailers_ref() {
                call.ended(trailers);
            }
            frame
        }))
    })
}

/// A call under way; it ends when it is let go.
#[derive(Debug)]
struct Call {
    calls: Calls,
    labels: [&'static str; 3],
    /// That of a caller who went away, until a status says otherwise.
    code: Code,
    started: Instant,
}

impl Call {
    fn ended(&mut self, with: &HeaderMap) {
        if let Some(status) = with.get("grpc-status") {
            self.code = Code::from_bytes(status.as_bytes());
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let [kind, service, method] = self.labels;
        self.calls.handled.with(&[kind, service, method, name(self.code)]).inc();
        self.calls.seconds.with(&self.labels).observe(self.started.elapsed().as_secs_f64());
    }
}

/// Finds messages in a body that comes in pieces.
#[derive(Debug, Default)]
struct Messages {
    /// Bytes of a head, as far as they came.
    head: Vec<u8>,
    /// Bytes that the message under way still has.
    left: usize,
}

impl Messages {
    /// Bytes of a head: a flag and a length.
    const HEAD: usize = 5;

    /// How many messages begin with heads that are complete by this piece.
    fn count(&mut self, mut piece: &[u8]) -> u64 {
        let mut messages = 0;
        while !piece.is_empty() {
            let skipped = self.left.min(piece.len());
            self.left -= skipped;
            piece = piece.get(skipped..).unwrap_or_default();
            let wanted = (Self::HEAD - self.head.len()).min(piece.len());
            let (head, rest) = piece.split_at(wanted);
            self.head.extend_from_slice(head);
            piece = rest;
            if let [_, length @ ..] = self.head.as_slice()
                && let Ok(length) = <[u8; 4]>::try_from(length)
            {
                self.left = u32::from_be_bytes(length) as usize;
                self.head.clear();
                messages += 1;
            }
        }
        messages
    }
}

/// As gRPC's libraries spell it.
fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "Canceled",
        Code::Unknown => "Unknown",
        Code::InvalidArgument => "InvalidArgument",
        Code::DeadlineExceeded => "DeadlineExceeded",
        Code::NotFound => "NotFound",
        Code::AlreadyExists => "AlreadyExists",
        Code::PermissionDenied => "PermissionDenied",
        Code::ResourceExhausted => "ResourceExhausted",
        Code::FailedPrecondition => "FailedPrecondition",
        Code::Aborted => "Aborted",
        Code::OutOfRange => "OutOfRange",
        Code::Unimplemented => "Unimplemented",
        Code::Internal => "Internal",
        Code::Unavailable => "Unavailable",
        Code::DataLoss => "DataLoss",
        Code::Unauthenticated => "Unauthenticated",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_found_however_they_are_cut() {
        let mut body = Vec::new();
        for length in [0_u32, 3, 300] {
            body.push(0);
            body.extend(length.to_be_bytes());
            body.extend(vec![7; length as usize]);
        }
        for size in [1, 2, 4, 5, 7, 100, body.len()] {
            let mut messages = Messages::default();
            let found: u64 = body.chunks(size).map(|piece| messages.count(piece)).sum();
            assert_eq!((found, messages.left, messages.head.len()), (3, 0, 0), "{size}");
        }
    }

    #[test]
    fn only_what_is_served_has_a_name_of_its_own() {
        assert_eq!(
            labels(crate::monitoring::FETCH),
            [
                "unary",
                "kuma.observability.v1.MonitoringAssignmentDiscoveryService",
                "FetchMonitoringAssignments"
            ]
        );
        for path in ["", "/", "/a", "/a/b", "/ursa.agent.v1.Questions/Answer/"] {
            assert_eq!(labels(path), UNKNOWN);
        }
        assert!(METHODS.iter().all(|(path, _)| labels(path) != UNKNOWN));
    }
}
