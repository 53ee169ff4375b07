//! Programs of others over real sockets: clients that send to our receivers, servers that we deliver to, Envoy's
//! tracers.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod clients;
mod envoy;
mod loki;
mod native;
mod prometheus;
mod receive;
mod start;
mod tracers;

use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};
use tokio_util::task::TaskTracker;
use ursa_pipeline::receive::Bind;
use ursa_pipeline::{Received, Refusal, Signal, Sink};

use crate::start::{free, program, start};

const PATIENCE: Duration = Duration::from_mins(1);

/// Keeps what it gets, or refuses all.
#[derive(Debug, Default)]
struct Shelf {
    kept: Mutex<Vec<Received>>,
    refusal: Option<Refusal>,
}

#[async_trait]
impl Sink for Shelf {
    fn takes(&self, _: Signal) -> bool {
        true
    }

    async fn accept(&self, received: Received) -> Result<(), Refusal> {
        match &self.refusal {
            Some(refusal) => Err(refusal.clone()),
            None => {
                self.kept.lock().unwrap().push(received);
                Ok(())
            }
        }
    }
}

fn local() -> Bind {
    Bind::Tcp(([127, 0, 0, 1], 0).into())
}

/// Status, header `retry-after`, body.
type Answer = (u16, String, String);

/// One request on a connection of its own; none if there is no answer.
async fn ask(
    at: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Option<Answer> {
    let stream = TcpStream::connect(at).await.ok()?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
    TaskTracker::new().spawn(connection);
    let mut request = Request::builder().method(method).uri(path).header("host", at.to_string());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(Bytes::copy_from_slice(body))).unwrap();
    let response = sender.send_request(request).await.ok()?;
    let status = response.status().as_u16();
    let after = response.headers().get("retry-after");
    let after = after.map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
    let body = response.into_body().collect().await.ok()?.to_bytes();
    Some((status, after, String::from_utf8(body.to_vec()).unwrap()))
}

async fn get(at: SocketAddr, path: &str) -> Option<String> {
    let (status, _, body) = ask(at, "GET", path, &[], b"").await?;
    (status == 200).then_some(body)
}

/// Waits for something to be there.
async fn until<T>(what: &str, look: impl AsyncFn() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}");
        sleep(Duration::from_millis(50)).await;
    }
}
