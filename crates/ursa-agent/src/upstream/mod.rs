//! The connection to the control plane: incremental ADS over TLS, kept up.
//!
//! A lost stream is opened again after a wait that grows, with the token read anew. What was told
//! before stays in force meanwhile; that is the relay's part.

mod answers;
mod pin;
mod token;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde::Serialize;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Request, Status, Streaming};
use tower::service_fn;
use url::Url;
use ursa_metrics::{Registry, agent};
use ursa_model::{ProxyId, SecretText};

use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryResponse;

use crate::backoff::Backoff;
use crate::causes::Causes;
use crate::identity::Caller;
use crate::relay::{FromControlPlane, WRITES};
pub(crate) use answers::Answers;
use token::Token;
pub use token::{TokenError, TokenSource};

/// The control plane's port for proxies.
pub const PORT: u16 = 5678;

/// Most bytes of one response.
const MAX_RESPONSE: usize = 64 * 1024 * 1024;
/// How long each step of connecting may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// A silent connection is asked for a sign of life this often, and given as much time to answer.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(15);

/// Where the control plane is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    host: String,
    port: u16,
    origin: Uri,
}

impl Target {
    /// Reads `https://host[:port]`; without a port, [`PORT`].
    pub(crate) fn parse(url: &Url) -> Option<Self> {
        let bare = url.username().is_empty() && url.password().is_none();
        let plain = matches!(url.path(), "" | "/") && url.query().is_none();
        if url.scheme() != "https" || !bare || !plain {
            return None;
        }
        let host = url.host_str()?;
        let authority = format!("{host}:{}", url.port().unwrap_or(PORT));
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        ServerName::try_from(host.as_str()).ok()?;
        let origin = Uri::builder().scheme("https").authority(authority).path_and_query("/");
        Some(Self { host, port: url.port().unwrap_or(PORT), origin: origin.build().ok()? })
    }
}

/// Why TLS cannot be set up from a token.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// The token cannot be used.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// TLS itself.
    #[error("set up TLS")]
    Tls(#[source] rustls::Error),
}

/// The client's side of TLS towards the control plane that made `token` (of whatever kind): it trusts
/// the certificate authority that the token names, and no other.
///
/// # Errors
/// When the token names none.
pub fn pinned_tls(token: &SecretText) -> Result<rustls::ClientConfig, PinError> {
    pin::client(token::authority(token)?).map_err(PinError::Tls)
}

/// Looks whether `token` can be the one of proxy `id`, as far as that can be known without asking anybody.
///
/// # Errors
/// When it is none, names no certificate authority, or is another's.
pub fn check_token(token: &SecretText, id: &ProxyId) -> Result<(), TokenError> {
    Token::parse(token.clone(), id).map(drop)
}

/// Why there is no stream, or no longer one.
#[derive(Debug, thiserror::Error)]
enum StreamError {
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error("reach {host}:{port}")]
    Unreachable {
        host: String,
        port: u16,
        #[source]
        source: io::Error,
    },
    #[error("{host}:{port} is not to be trusted")]
    Untrusted {
        host: String,
        port: u16,
        #[source]
        source: pin::Untrusted,
    },
    #[error("{host}:{port} did not answer within {seconds} s", seconds = PATIENCE.as_secs())]
    Silent { host: String, port: u16 },
    #[error("set up TLS")]
    Tls(#[source] rustls::Error),
    #[error("start HTTP/2")]
    Http(#[source] tonic::transport::Error),
    #[error("the control plane refused the token: {words}{age}")]
    Refused { words: String, age: String },
    #[error("the stream ended: {words}")]
    Ended { words: String },
}

impl StreamError {
    /// Value of the label `result` of `ursa_dp_control_plane_connects_total`.
    fn result(&self) -> &'static str {
        match self {
            Self::Token(_) | Self::Refused { .. } | Self::Untrusted { .. } => "refused",
            _ => "unavailable",
        }
    }

    /// Whether this token will not do: the token itself says so, or the control plane that it trusts, or whoever answers is
    /// another than that one.
    fn is_of_token(&self) -> bool {
        match self {
            Self::Token(error) => !matches!(error, TokenError::File { .. }),
            Self::Untrusted { source, .. } => matches!(source, pin::Untrusted::OtherAuthority(_)),
            error => matches!(error, Self::Refused { .. }),
        }
    }
}

/// Whether the control plane is there, for people.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionStatus {
    /// Whether a stream is open.
    pub connected: bool,
    /// Why not, if not.
    pub error: Option<String>,
    /// Whether that is a refusal of this proxy's token, and there has never been a connection.
    #[serde(skip)]
    pub refused_at_start: bool,
}

/// The task that keeps the stream.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) target: Target,
    pub(crate) id: ProxyId,
    pub(crate) token: TokenSource,
    pub(crate) events: mpsc::Sender<FromControlPlane>,
    pub(crate) status: watch::Sender<ConnectionStatus>,
    /// Who else may call the control plane; the connection, while there is one.
    pub(crate) callers: watch::Sender<Option<Caller>>,
    pub(crate) registry: Registry,
    pub(crate) answers: Answers,
}

impl Upstream {
    /// Connects, and connects again, until `stop`.
    pub(crate) async fn run(self, stop: CancellationToken) {
        stop.run_until_cancelled(Box::pin(self.keep_connected())).await;
    }

    async fn keep_connected(self) {
        let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
        let connected = self.registry.gauge(&agent::CONTROL_PLANE_CONNECTED).with(&[]);
        let connects = self.registry.counter(&agent::CONTROL_PLANE_CONNECTS);
        let mut said = None;
        let mut was_connected = false;
        loop {
            let error = match self.open().await {
                Ok(Session { responses, token, channel }) => {
                    connects.with(&["connected"]).inc();
                    connected.set(1.0);
                    tracing::info!(control_plane = %self.target.origin, "connected");
                    was_connected = true;
                    self.status.send_replace(ConnectionStatus {
                        connected: true,
                        ..ConnectionStatus::default()
                    });
                    said = None;
                    let opened = Instant::now();
                    let error = self.stay(responses, &token, channel).await;
                    self.callers.send_replace(None);
                    connected.set(0.0);
                    backoff.lasted(opened.elapsed());
                    error
                }
                Err(error) => {
                    connects.with(&[error.result()]).inc();
                    error
                }
            };
            let words = Causes(&error).to_string();
            let wait = backoff.wait(fastrand::f64());
            if said.as_ref() == Some(&words) {
                tracing::debug!(control_plane = %self.target.origin, error = words, ?wait, "still not connected");
            } else {
                tracing::warn!(control_plane = %self.target.origin, error = words, ?wait, "not connected to a control plane; the proxy goes on with what it was told");
            }
            said = Some(words.clone());
            self.status.send_replace(ConnectionStatus {
                connected: false,
                error: Some(words),
                refused_at_start: !was_connected && error.is_of_token(),
            });
            tokio::time::sleep(wait).await;
        }
    }

    /// Opens a stream and tells the relay.
    async fn open(&self) -> Result<Session, StreamError> {
        let token = self.token.read(&self.id).await?;
        let channel = self.connect(&token).await?;
        let (requests, written) = mpsc::channel(WRITES);
        let mut request = Request::new(ReceiverStream::new(written));
        request.metadata_mut().insert("authorization", bearer(&token)?);
        // The relay speaks first: some servers answer only then.
        if self.events.send(FromControlPlane::Opened(requests)).await.is_err() {
            return Err(StreamError::Ended { words: "the agent stops".to_owned() });
        }
        let mut client = AggregatedDiscoveryServiceClient::with_origin(
            channel.clone(),
            self.target.origin.clone(),
        )
        .max_decoding_message_size(MAX_RESPONSE);
        let response = timeout(PATIENCE, client.delta_aggregated_resources(request)).await;
        let response = response.map_err(|_| self.silent())?;
        let response = response.map_err(|status| refusal(&status, &token))?;
        Ok(Session { responses: response.into_inner(), token, channel })
    }

    /// Connects by TCP, TLS and HTTP/2.
    async fn connect(&self, token: &Token) -> Result<Channel, StreamError> {
        let stream = self.dial(token).await?;
        let mut stream = Some(TokioIo::new(stream));
        // One connection for one stream: when it ends, a new one is made here, not by the channel.
        let once = service_fn(move |_: Uri| {
            let stream = stream.take().ok_or_else(|| io::Error::other("the connection ended"));
            std::future::ready(stream)
        });
        Endpoint::from(self.target.origin.clone())
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE)
            .keep_alive_while_idle(true)
            .connect_with_connector(once)
            .await
            .map_err(StreamError::Http)
    }

    async fn dial(&self, token: &Token) -> Result<TlsStream<TcpStream>, StreamError> {
        let Target { host, port, .. } = &self.target;
        let mut config = pin::client(token.authority).map_err(StreamError::Tls)?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        let connector = TlsConnector::from(Arc::new(config));
        let dialling = async {
            let name = ServerName::try_from(host.clone()).map_err(io::Error::other)?;
            let stream = TcpStream::connect((host.as_str(), *port)).await?;
            stream.set_nodelay(true)?;
            connector.connect(name, stream).await
        };
        let dialled = timeout(PATIENCE, dialling).await.map_err(|_| self.silent())?;
        dialled.map_err(|source| {
            let (host, port) = (host.clone(), *port);
            match pin::Untrusted::of(&source) {
                Some(source) => StreamError::Untrusted { host, port, source },
                None => StreamError::Unreachable { host, port, source },
            }
        })
    }

    fn silent(&self) -> StreamError {
        StreamError::Silent { host: self.target.host.clone(), port: self.target.port }
    }

    /// Passes responses on and answers questions. Returns why there are no more responses.
    async fn stay(
        &self,
        responses: Streaming<DeltaDiscoveryResponse>,
        token: &Token,
        channel: Channel,
    ) -> StreamError {
        let bearer = match bearer(token) {
            Ok(bearer) => bearer,
            Err(error) => return error.into(),
        };
        let (channel_of, origin) = (channel.clone(), self.target.origin.clone());
        let caller = Caller { channel: channel_of, origin, bearer: bearer.clone() };
        self.callers.send_replace(Some(caller));
        let answering = self.answers.serve(channel, self.target.origin.clone(), bearer);
        let reading = self.read(responses, token);
        tokio::pin!(answering, reading);
        tokio::select! {
            error = &mut reading => error,
            () = &mut answering => reading.await,
        }
    }

    /// Passes responses on. Returns why there are no more.
    async fn read(
        &self,
        mut responses: Streaming<DeltaDiscoveryResponse>,
        token: &Token,
    ) -> StreamError {
        loop {
            let words = match responses.message().await {
                Ok(Some(update)) => {
                    let update = FromControlPlane::Update(Box::new(update));
                    match self.events.send(update).await {
                        Ok(()) => continue,
                        Err(_) => "the agent stops",
                    }
                }
                Ok(None) => "the control plane closed it",
                Err(status) => return refusal(&status, token),
            };
            return StreamError::Ended { words: words.to_owned() };
        }
    }
}

/// The token as a header's value.
fn bearer(token: &Token) -> Result<AsciiMetadataValue, TokenError> {
    let bearer = AsciiMetadataValue::try_from(format!("Bearer {}", token.text.expose()));
    let mut bearer = bearer.map_err(|_| TokenError::Malformed)?;
    bearer.set_sensitive(true);
    Ok(bearer)
}

/// An open stream.
struct Session {
    responses: Streaming<DeltaDiscoveryResponse>,
    /// What it was opened with.
    token: Token,
    /// Its connection; closed with it.
    channel: Channel,
}

/// What a refused request means. An expired token is said to be expired.
fn refusal(status: &Status, token: &Token) -> StreamError {
    let words = status.message().to_owned();
    if !matches!(status.code(), Code::Unauthenticated | Code::PermissionDenied) {
        return StreamError::Ended { words };
    }
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.ok().and_then(|now| i64::try_from(now.as_secs()).ok());
    let age = match (token.expires, now) {
        (Some(expires), Some(now)) if now > expires => {
            format!(" (it expired {} ago; make a new one with `ursa token`)", span(now - expires))
        }
        _ => String::new(),
    };
    StreamError::Refused { words, age }
}

/// A span of time in its largest unit.
fn span(seconds: i64) -> String {
    match seconds {
        ..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_a_control_plane() {
        let target = |url: &str| {
            let target = Target::parse(&Url::parse(url).ok()?)?;
            Some((target.host, target.port, target.origin.to_string()))
        };
        let at = |host: &str, port, origin: &str| Some((host.to_owned(), port, origin.to_owned()));
        let named = at("cp.example", 5678, "https://cp.example:5678/");
        assert_eq!(target("https://cp.example:5678"), named);
        assert_eq!(target("https://cp.example/"), named);
        assert_eq!(target("https://127.0.0.1:1"), at("127.0.0.1", 1, "https://127.0.0.1:1/"));
        assert_eq!(target("https://[::1]:1"), at("::1", 1, "https://[::1]:1/"));
        for wrong in
            ["http://cp", "cp:5678", "https://cp/path", "https://cp/?a=b", "https://a:b@cp"]
        {
            assert_eq!(target(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn spans_of_time() {
        let spans: Vec<String> = [5, 600, 7200, 900_000].map(span).into();
        assert_eq!(spans, ["5 s", "10 min", "2 h", "10 days"]);
    }
}
