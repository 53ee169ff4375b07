//! An OTLP, Zipkin or Datadog backend without sockets that answers as it is told.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto::Builder;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use prost::Message;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::decompress::gunzip;
use crate::export::Dial;
use crate::rpc::{Code, PREFIX_BYTES, Status};
use crate::stream::Stream;
use crate::tasks::Tasks;
use crate::{Form, translate};

/// What a backend does with a request.
#[derive(Debug, Clone)]
pub(super) enum Reply {
    Take,
    /// Takes all but so many.
    Partial(i64),
    /// An HTTP status with a header and a text.
    Http(u16, &'static str, &'static str, &'static str),
    /// A gRPC code, a message, and perhaps `RetryInfo` in seconds.
    Grpc(Code, &'static str, Option<u64>),
    /// Never answers.
    Hang,
    /// Takes nothing, and cuts the connection instead of an answer.
    Reset,
    /// Takes, and closes the connection thereafter.
    TakeAndClose,
    /// Does not let anyone connect; on a connection that is there already, takes.
    Refuse,
}

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(super) struct Received {
    pub(super) at: Instant,
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) request: ExportTraceServiceRequest,
    pub(super) taken: bool,
}

impl Received {
    /// Names of its spans.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let scopes = self.request.resource_spans.iter().flat_map(|spans| &spans.scope_spans);
        scopes.flat_map(|scope| &scope.spans).map(|span| &*span.name)
    }
}

/// Backends by host name. Each follows its script, and takes everything when that is at its end.
#[derive(Default)]
pub(super) struct Server {
    scripts: Mutex<BTreeMap<String, VecDeque<Reply>>>,
    received: Mutex<BTreeMap<String, Vec<Received>>>,
    /// Answers take so long, and larger requests are refused as too large.
    traits: Mutex<BTreeMap<String, (Duration, usize)>>,
    tasks: TaskTracker,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Server")
    }
}

impl Server {
    pub(super) fn script(&self, host: &str, replies: impl IntoIterator<Item = Reply>) {
        self.scripts.lock().unwrap().entry(host.into()).or_default().extend(replies);
    }

    /// Lets every answer of a backend take so long, and refuses requests of more bytes with 413.
    pub(super) fn is_like(&self, host: &str, latency: Duration, limit: usize) {
        self.traits.lock().unwrap().insert(host.into(), (latency, limit));
    }

    pub(super) fn received(&self, host: &str) -> Vec<Received> {
        self.received.lock().unwrap().get(host).cloned().unwrap_or_default()
    }

    /// Forgets what a backend was told to do: it takes everything.
    pub(super) fn heal(&self, host: &str) {
        self.scripts.lock().unwrap().remove(host);
    }

    /// Names of the spans that a backend took, in order.
    pub(super) fn taken(&self, host: &str) -> Vec<String> {
        let taken = self.received(host).into_iter().filter(|received| received.taken);
        let spans = taken.flat_map(|received| received.request.resource_spans);
        let spans = spans.flat_map(|spans| spans.scope_spans).flat_map(|scope| scope.spans);
        spans.map(|span| span.name).collect()
    }

    fn next(&self, host: &str) -> Reply {
        let mut scripts = self.scripts.lock().unwrap();
        scripts.get_mut(host).and_then(VecDeque::pop_front).unwrap_or(Reply::Take)
    }

    async fn answer(
        &self,
        host: &str,
        request: Request<Incoming>,
    ) -> io::Result<Response<Full<Bytes>>> {
        let (head, body) = request.into_parts();
        let mut body = body.collect().await.unwrap().to_bytes();
        let grpc = head.headers["content-type"] == "application/grpc";
        let form = match head.headers["content-type"].as_bytes() {
            b"application/json" => Form::Zipkin,
            b"application/msgpack" => Form::Datadog,
            _ => Form::Otlp,
        };
        let mut gzipped = head.headers.get("content-encoding").is_some();
        if grpc {
            gzipped = body[0] == 1;
            assert_eq!(gzipped, head.headers.get("grpc-encoding").is_some());
            body = body.slice(PREFIX_BYTES..);
        }
        if gzipped {
            body = gunzip(&body, usize::MAX).unwrap().into();
        }
        let traits = self.traits.lock().unwrap().get(host).copied();
        let (latency, limit) = traits.unwrap_or((Duration::ZERO, usize::MAX));
        tokio::time::sleep(latency).await;
        let reply =
            if body.len() > limit { Reply::Http(413, "x", "y", "large") } else { self.next(host) };
        self.received.lock().unwrap().entry(host.into()).or_default().push(Received {
            at: Instant::now(),
            path: head.uri.path().to_owned(),
            headers: head.headers,
            request: ExportTraceServiceRequest::decode(translate::to_otlp(form, &body).unwrap())
                .unwrap(),
            taken: !matches!(reply, Reply::Http(..) | Reply::Grpc(..) | Reply::Hang | Reply::Reset),
        });
        let rejected = match reply {
            Reply::Take | Reply::TakeAndClose | Reply::Refuse => 0,
            Reply::Partial(count) => count,
            Reply::Http(status, header, value, text) => {
                let response = Response::builder().status(status).header(header, value);
                return Ok(response.body(Full::from(text)).unwrap());
            }
            Reply::Grpc(code, message, after) => {
                let after = after.map(Duration::from_secs);
                let status = Status::new(code, message.to_owned(), after).encode_to_vec();
                return Ok(Response::builder()
                    .header("content-type", "application/grpc")
                    .header("grpc-status", code.0)
                    .header("grpc-message", message)
                    .header("grpc-status-details-bin", STANDARD_NO_PAD.encode(status))
                    .body(Full::default())
                    .unwrap());
            }
            Reply::Hang => std::future::pending().await,
            Reply::Reset => return Err(io::ErrorKind::ConnectionReset.into()),
        };
        let error_message = if rejected > 0 { "too old".to_owned() } else { String::new() };
        let partial = ExportTracePartialSuccess { rejected_spans: rejected, error_message };
        let message = ExportTraceServiceResponse { partial_success: Some(partial) };
        let message = message.encode_to_vec();
        let mut response = Response::new(Full::from(message.clone()));
        let media = if grpc { "application/grpc" } else { "application/x-protobuf" };
        response.headers_mut().insert("content-type", HeaderValue::from_static(media));
        if grpc {
            let length = u32::try_from(message.len()).unwrap().to_be_bytes();
            *response.body_mut() = Full::from([&[0], &length[..], &message].concat());
            response.headers_mut().insert("grpc-status", HeaderValue::from_static("0"));
        }
        if matches!(reply, Reply::TakeAndClose) {
            response.headers_mut().insert("connection", HeaderValue::from_static("close"));
        }
        Ok(response)
    }
}

#[async_trait]
impl Dial for Arc<Server> {
    async fn dial(&self, host: &str, _: u16) -> io::Result<Box<dyn Stream>> {
        {
            let mut scripts = self.scripts.lock().unwrap();
            if let Some(script) = scripts.get_mut(host)
                && matches!(script.front(), Some(Reply::Refuse))
            {
                script.pop_front();
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
        }
        let (client, server) = tokio::io::duplex(64 << 10);
        let (this, host) = (Arc::clone(self), host.to_owned());
        self.tasks.spawn(async move {
            let service = service_fn(|request| {
                let (this, host) = (Arc::clone(&this), host.clone());
                async move { this.answer(&host, request).await }
            });
            let builder = Builder::new(Tasks(this.tasks.clone()));
            // Clients that hang up are part of the tests.
            drop(builder.serve_connection(TokioIo::new(server), service).await);
        });
        Ok(Box::new(client))
    }
}
