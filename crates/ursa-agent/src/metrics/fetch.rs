//! One answer over HTTP/1.1, piece by piece.

use std::io;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use ursa_series::ParseError;

/// Who asks.
const AGENT: &str = concat!("ursa-agent/", env!("CARGO_PKG_VERSION"));

/// Why metrics could not be had, or not all.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("it cannot be reached: {0}")]
    Unreachable(#[from] io::Error),
    #[error("it does not speak HTTP: {0}")]
    Http(#[from] hyper::Error),
    #[error("its address or path is malformed")]
    Address,
    #[error("it answered {0}")]
    Status(StatusCode),
    #[error("it did not answer in time")]
    Slow,
    #[error("it said more than {0} bytes")]
    TooLarge(usize),
    #[error("what it said cannot be read: {0}")]
    Parse(#[from] ParseError),
    #[error("fetching it ended early")]
    Ended,
}

/// An answer whose body comes. Dropped, the connection ends.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) content_type: String,
    body: Incoming,
    _connection: JoinSet<()>,
}

impl Answer {
    /// Asks for `path` on a new connection.
    pub(super) async fn get<S>(
        stream: S,
        host: &str,
        path: &str,
        accept: &str,
    ) -> Result<Self, FetchError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let request = Request::get(path).header(HOST, host).header(ACCEPT, accept);
        let request = request.header(USER_AGENT, AGENT).body(Empty::<Bytes>::new());
        let request = request.map_err(|_| FetchError::Address)?;
        let (mut requests, work) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let mut connection = JoinSet::new();
        connection.spawn(async move {
            // What goes wrong is told to whoever reads the answer.
            drop(work.await);
        });
        let answer = requests.send_request(request).await?;
        if answer.status() != StatusCode::OK {
            return Err(FetchError::Status(answer.status()));
        }
        let content_type = answer.headers().get(CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok());
        let content_type = content_type.unwrap_or_default().to_owned();
        Ok(Self { content_type, body: answer.into_body(), _connection: connection })
    }

    /// The next piece; none at the end.
    pub(super) async fn piece(&mut self) -> Result<Option<Bytes>, FetchError> {
        loop {
            match self.body.frame().await {
                None => return Ok(None),
                Some(Err(error)) => return Err(error.into()),
                Some(Ok(frame)) => {
                    if let Ok(piece) = frame.into_data() {
                        return Ok(Some(piece));
                    }
                }
            }
        }
    }
}
