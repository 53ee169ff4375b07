//! Envoy's admin interface, on its Unix socket.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::time::timeout;

/// Most bytes of an answer.
const MAX_ANSWER: usize = 4 * 1024 * 1024;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// Why there was no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AdminError {
    #[error("reach Envoy's admin interface")]
    Unreachable(#[source] io::Error),
    #[error("talk to Envoy's admin interface")]
    Http(#[source] hyper::Error),
    #[error("read the answer of Envoy's admin interface")]
    Answer(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("Envoy's admin interface did not answer within {seconds} s", seconds = PATIENCE.as_secs())]
    Silent,
}

/// The admin interface of one Envoy, whichever process serves it now.
#[derive(Debug, Clone)]
pub(crate) struct Admin {
    pub(crate) socket: PathBuf,
}

impl Admin {
    /// Whether Envoy says that it is live: initialised, and not about to stop.
    pub(crate) async fn is_live(&self) -> bool {
        let answer = self.ask(Method::GET, "/ready").await;
        answer.is_ok_and(|(status, _)| status == StatusCode::OK)
    }

    /// Tells Envoy to do something.
    pub(crate) async fn post(&self, path: &str) -> Result<(), AdminError> {
        self.ask(Method::POST, path).await.map(|_| ())
    }

    /// Statistics as name and value, of those whose name matches a regular expression.
    pub(crate) async fn stats(&self, filter: &str) -> Result<Vec<(String, u64)>, AdminError> {
        let (_, text) = self.ask(Method::GET, &format!("/stats?filter={filter}")).await?;
        let text = String::from_utf8_lossy(&text);
        let lines = text.lines().filter_map(|line| line.rsplit_once(": "));
        let stats = lines.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)));
        Ok(stats.collect())
    }

    async fn ask(&self, method: Method, path: &str) -> Result<(StatusCode, Bytes), AdminError> {
        let asking = self.exchange(method, path);
        timeout(PATIENCE, asking).await.map_err(|_| AdminError::Silent)?
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
    ) -> Result<(StatusCode, Bytes), AdminError> {
        let stream = UnixStream::connect(&self.socket).await.map_err(AdminError::Unreachable)?;
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream));
        let (mut requests, connection) = handshake.await.map_err(AdminError::Http)?;
        let request = Request::builder().method(method).uri(path).header("host", "envoy");
        let request = request.body(Empty::<Bytes>::new()).map_err(|error| {
            AdminError::Unreachable(io::Error::new(io::ErrorKind::InvalidInput, error))
        })?;
        let answering = async move {
            let answer = requests.send_request(request).await.map_err(AdminError::Http)?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
            Ok((status, body.map_err(AdminError::Answer)?.to_bytes()))
        };
        let (answer, _connection) = futures::future::join(answering, connection).await;
        answer
    }
}
