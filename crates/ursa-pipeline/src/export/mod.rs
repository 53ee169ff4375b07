//! Exporters: OTLP over gRPC and over HTTP.
//!
//! An [`Exporter`] makes one attempt to deliver one batch and says what came of it; who calls it
//! decides about time and repetition. One request is in flight, on one connection that is kept.
//!
//! Followed: OTLP 1.10, "OTLP/gRPC Response", "OTLP/HTTP Response", with their rules for what may
//! be sent again; gRPC over HTTP/2.
//!
//! Not here: TLS; queues.

mod answer;
mod body;
mod connection;
mod credentials;
mod grpc;
mod http;
mod payload;
mod retry;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;
use ursa_model::backend::{Compression, OpenTelemetryBackend, Protocol};
use ursa_model::pipeline::ExporterSpec;

use crate::{Form, Signal};
use connection::{Connection, SendError};

pub(crate) use answer::{Again, Failure, Outcome, Reason};
pub(crate) use connection::{Dial, Tcp};
pub(crate) use credentials::Values;
pub(crate) use payload::Payload;
pub(crate) use retry::{Backoff, BreakerPolicy};

use answer::cut;
use credentials::Credentials;

/// The address of the node's own collector when nothing names it.
const LOCAL_HOST: &str = "127.0.0.1";
/// Names the address of the node's own collector.
const HOST_IP: &str = "HOST_IP";

/// What an exporter has from its process.
#[derive(Debug, Clone)]
pub(crate) struct Outlet {
    /// Values that stand in specifications by name, and the environment.
    pub(crate) values: Values,
    /// How connections are made.
    pub(crate) dial: Arc<dyn Dial>,
    /// Tasks of connections.
    pub(crate) tasks: TaskTracker,
}

/// Delivers one signal to one backend. Shared by `Arc`; several sends may be under way.
#[derive(Debug)]
pub(crate) struct Exporter {
    target: Target,
    credentials: Credentials,
    gzip: bool,
    /// Of one attempt; none waits for ever.
    timeout: Option<Duration>,
    backoff: Backoff,
    breaker: BreakerPolicy,
    /// Why nothing may be sent at all.
    blocked: Option<String>,
    connection: Mutex<Option<Connection>>,
    dial: Arc<dyn Dial>,
    tasks: TaskTracker,
}

/// Where to deliver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    protocol: Protocol,
    /// Without brackets.
    host: String,
    port: u16,
    /// Before `/v1/traces`; empty for gRPC.
    path: String,
    /// `host:port` as it stands in requests.
    authority: String,
}

impl Exporter {
    /// An exporter of `signal` for `spec`. It never fails: what is wrong blocks its sends. Values
    /// that stand in the specification by name are looked up when they are needed.
    pub(crate) fn new(spec: &ExporterSpec, _: Signal, outlet: Outlet) -> Self {
        let Outlet { values, dial, tasks } = outlet;
        let (spec, other) = match spec {
            ExporterSpec::OpenTelemetry(spec) => ((**spec).clone(), None),
            _ => (OpenTelemetryBackend::default(), Some("only OTLP is spoken".to_owned())),
        };
        let spec = &spec;
        let (target, blocked) = Target::of(spec, &values);
        let blocked = blocked.or(other);
        let compression = spec.delivery.compression(target.is_loopback());
        Self {
            gzip: compression != Compression::None,
            credentials: Credentials::new(spec, values),
            timeout: Some(spec.delivery.timeout().0).filter(|timeout| !timeout.is_zero()),
            backoff: Backoff::of(&spec.delivery),
            breaker: BreakerPolicy::of(&spec.delivery),
            connection: Mutex::new(None),
            target,
            blocked,
            dial,
            tasks,
        }
    }

    /// `grpc`, `http`, `zipkin`, `datadog`, `file` or `console`: the value of the label `protocol`.
    pub(crate) fn protocol(&self) -> &'static str {
        match self.target.protocol {
            Protocol::Grpc => "grpc",
            Protocol::Http => "http",
        }
    }

    /// `host:port` and path, for people.
    pub(crate) fn endpoint(&self) -> String {
        format!("{}{}", self.target.authority, self.target.path)
    }

    /// When to try again.
    pub(crate) fn backoff(&self) -> &Backoff {
        &self.backoff
    }

    /// When to leave the backend alone.
    pub(crate) fn breaker(&self) -> BreakerPolicy {
        self.breaker
    }

    /// Whether payloads may have that form; every exporter takes OTLP.
    pub(crate) fn takes(&self, form: Form) -> bool {
        form == Form::Otlp
    }

    /// Makes one attempt. What it reports holds no secret.
    pub(crate) async fn send(&self, payload: &Payload) -> Outcome {
        if let Some(reason) = &self.blocked {
            return Outcome::Blocked(reason.clone());
        }
        let filled = match self.credentials.fill().await {
            Ok(filled) => filled,
            Err(reason) => return Outcome::Blocked(reason),
        };
        let attempt = self.attempt(payload, &filled.headers);
        let outcome = match self.timeout {
            None => attempt.await,
            Some(limit) => timeout(limit, attempt).await.unwrap_or_else(|_| {
                Outcome::Failed(Failure {
                    reason: Reason::Timeout,
                    code: String::new(),
                    message: format!("no answer within {limit:?}"),
                    again: Again::Later(None),
                })
            }),
        };
        outcome.map_message(|message| cut(&filled.redact(message)))
    }

    async fn attempt(&self, payload: &Payload, headers: &::http::HeaderMap) -> Outcome {
        let mut kept = self.connection.lock().await;
        loop {
            let reused = kept.take().filter(Connection::is_open);
            let fresh = reused.is_none();
            let connection = match reused {
                Some(connection) => Ok(connection),
                None => Connection::open(&*self.dial, &self.target, &self.tasks).await,
            };
            let mut connection = match connection {
                Ok(connection) => connection,
                Err(error) => return unavailable(&error),
            };
            let request = match self.target.protocol {
                Protocol::Grpc => grpc::request(&self.target, payload, self.gzip, self.timeout),
                Protocol::Http => http::request(&self.target, payload, self.gzip),
            };
            let mut request = request;
            request.headers_mut().extend(headers.clone());
            match connection.send(request).await {
                Ok(answer) => {
                    if answer.complete {
                        *kept = Some(connection);
                    }
                    return match self.target.protocol {
                        Protocol::Grpc => grpc::outcome(&answer),
                        Protocol::Http => http::outcome(&answer),
                    };
                }
                // The backend closed an idle connection just as it was taken up again.
                Err(error) if error.is_stale() && !fresh => {}
                Err(error) => return unavailable(&error),
            }
        }
    }
}

fn unavailable(error: &SendError) -> Outcome {
    Outcome::Failed(Failure {
        reason: Reason::Unavailable,
        code: String::new(),
        message: error.to_string(),
        again: Again::Later(None),
    })
}

impl Target {
    /// Where `spec` says, and why nothing may be sent there if so.
    fn of(spec: &OpenTelemetryBackend, values: &Values) -> (Self, Option<String>) {
        let (delivery, blocked) = match spec.resolve() {
            Ok(delivery) if delivery.tls => {
                (Some(delivery), Some("it wants TLS, which is not spoken yet".to_owned()))
            }
            Ok(delivery) => (Some(delivery), None),
            Err(error) => (None, Some(error.to_string())),
        };
        let (protocol, host, port, path) = match delivery {
            Some(to) => (to.protocol, to.host, to.port, to.path),
            None => (Protocol::Grpc, String::new(), 0, String::new()),
        };
        let host = match (host.is_empty(), values.environment(HOST_IP)) {
            (false, _) => host,
            (true, Some(address)) => address.to_owned(),
            (true, None) => LOCAL_HOST.to_owned(),
        };
        let authority =
            if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        (Self { protocol, host, port, path, authority }, blocked)
    }

    fn is_loopback(&self) -> bool {
        self.host == "localhost"
            || self.host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
    }

    /// The path of a signal over HTTP.
    fn http_path(&self, signal: Signal) -> String {
        let suffix = signal.http_path();
        if self.path.ends_with(suffix) {
            self.path.clone()
        } else {
            format!("{}{suffix}", self.path)
        }
    }
}
