//! Answering Prometheus.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use hyper::header::{ACCEPT, ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::TaskTracker;
use ursa_series::{Family, Point, Sink, Source, TextWriter, negotiate};

use super::gather::{Gather, Gone, Way};
use super::output::Output;
use super::port::Routes;

/// How long a scrape may take that does not say so.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest that one may say.
const LONGEST: Duration = Duration::from_mins(1);
/// What Prometheus says of its own patience.
const TIMEOUT: &str = "x-prometheus-scrape-timeout-seconds";
/// This much of it is left for the way back.
const RESERVE: f64 = 0.9;
/// Why families are left out.
const LEFT_OUT: &str = "another source has them as another kind, or together they are too large";
/// At so many bytes a piece of the answer is sent.
const PIECE: usize = 16 * 1024;
/// Pieces that wait for a reader.
const PIECES: usize = 4;

pub(super) type Body = BoxBody<Bytes, Infallible>;

/// Answers one request. What is long is written by a task of `tasks`.
pub(super) fn answer<B>(
    routes: &Routes,
    request: &Request<B>,
    tasks: &TaskTracker,
) -> Response<Body> {
    let Some(output) = routes.paths.get(request.uri().path()) else {
        return words(StatusCode::NOT_FOUND, "there are no metrics here\n");
    };
    if request.method() != Method::GET {
        let mut answer = words(StatusCode::METHOD_NOT_ALLOWED, "metrics are read with GET\n");
        answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
        return answer;
    }
    let accept = request.headers().get_all(ACCEPT).iter();
    let accept: Vec<_> = accept.filter_map(|value| value.to_str().ok()).collect();
    let exposition = negotiate(&accept.join(","));
    let (body, pieces) = mpsc::channel(PIECES);
    let way = Scrape { writer: TextWriter::new(exposition), body };
    let deadline = Instant::now() + patience(request.headers());
    tasks.spawn(scrape(Arc::clone(output), Arc::clone(&routes.gather), way, deadline));
    let pieces = ReceiverStream::new(pieces).map(|piece| Ok(Frame::data(piece)));
    let mut answer = Response::new(BodyExt::boxed(StreamBody::new(pieces)));
    if let Ok(content_type) = HeaderValue::from_str(&exposition.content_type()) {
        answer.headers_mut().insert(CONTENT_TYPE, content_type);
    }
    answer
}

async fn scrape(output: Arc<Output>, gather: Arc<Gather>, way: Scrape, deadline: Instant) {
    let Ok(mut shape) = tokio::time::timeout_at(deadline, output.shape.lock()).await else {
        return;
    };
    let task = output.task();
    let collected = gather.collect(&output.name, &task, &mut shape, way, false, deadline).await;
    drop(shape);
    if let Some((Scrape { mut writer, body }, mut outcome)) = collected {
        let left_out = writer.left_out();
        if left_out > 0 {
            let why = format!("{left_out} families were left out: {LEFT_OUT}");
            outcome.problems.insert("applications".to_owned(), why);
        }
        output.note(outcome);
        let rest = async {
            for piece in writer.release() {
                body.send(piece).await?;
            }
            body.send(writer.finish()).await
        };
        // A reader that is gone needs no end.
        drop(tokio::time::timeout_at(deadline, rest).await);
    }
}

fn patience(headers: &HeaderMap) -> Duration {
    let said = headers.get(TIMEOUT).and_then(|value| value.to_str().ok()?.parse::<f64>().ok());
    let said = said.and_then(|seconds| Duration::try_from_secs_f64(seconds * RESERVE).ok());
    said.filter(|said| !said.is_zero()).unwrap_or(PATIENCE).min(LONGEST)
}

fn words(status: StatusCode, words: &'static str) -> Response<Body> {
    let mut answer = Response::new(Full::new(Bytes::from_static(words.as_bytes())).boxed());
    *answer.status_mut() = status;
    answer
}

/// A collection as text that is sent as it is written.
struct Scrape {
    writer: TextWriter,
    body: mpsc::Sender<Bytes>,
}

impl Sink for Scrape {
    fn family(&mut self, family: &Family<'_>) -> bool {
        self.writer.family(family)
    }

    fn point(&mut self, point: &Point<'_>) {
        self.writer.point(point);
    }

    fn end(&mut self) {
        self.writer.end();
    }
}

impl Way for Scrape {
    fn from(&mut self, _: Source) {}

    fn together(&mut self) {
        self.writer.hold();
    }

    fn shows_target(&self) -> bool {
        true
    }

    async fn flush(&mut self) -> Result<(), Gone> {
        if self.writer.len() < PIECE {
            return Ok(());
        }
        self.body.send(self.writer.take()).await.map_err(|_| Gone)
    }
}
