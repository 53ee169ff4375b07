//! Requests to one HTTP backend: connections that are kept, credentials, a limit of time.

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{HOST, PROXY_AUTHORIZATION};
use http::uri::Scheme;
use http::{HeaderMap, HeaderValue, Method, Request, Uri, Version};
use tokio::sync::Mutex;
use tokio::time::timeout;
use tracing::warn;
use ursa_model::backend::{Compression, DeliveryOptions};

use super::Outlet;
use super::answer::{Outcome, cut};
use super::body::Pieces;
use super::connection::{Answer, Connector};
use super::credentials::Credentials;
use super::pool::{Held, Pool};
use super::proxy::{self, Way};
use super::target::Target;
use super::trouble::{Phase, Trouble};
use crate::compress::{Encoded, compress};
use crate::tls::ClientTls;

/// How often files of TLS are looked at while connections are kept.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// A client of one backend. Several requests may be under way.
#[derive(Debug)]
pub(super) struct Client {
    connector: Connector,
    credentials: Credentials,
    compression: Compression,
    /// Of one request, connecting included; none waits for ever.
    timeout: Option<Duration>,
    /// Why nothing may be sent at all.
    blocked: Option<String>,
    pool: Pool,
    /// Held while a connection is opened that several may share.
    opening: Mutex<()>,
}

/// A request.
#[derive(Debug, Clone)]
pub(super) struct Post {
    pub(super) method: Method,
    pub(super) path: String,
    /// Less those of the client: host and credentials.
    pub(super) headers: HeaderMap,
    pub(super) pieces: Vec<Bytes>,
}

impl Client {
    /// A client of `target`, over TLS if `secure`. What is wrong blocks its requests.
    pub(super) fn new(
        target: Target,
        secure: bool,
        options: &DeliveryOptions,
        credentials: Credentials,
        outlet: Outlet,
    ) -> Self {
        let Outlet { values, dial, tasks } = outlet;
        let tls = secure.then(|| {
            let protocols: &[&str] = if target.http2 { &["h2"] } else { &["h2", "http/1.1"] };
            let tls = options.tls.clone().unwrap_or_default();
            ClientTls::new(&tls, &target.host, protocols)
        });
        if tls.as_ref().is_some_and(ClientTls::accepts_any) {
            warn!(backend = %target.authority, "INSECURE: the backend's certificate is not verified; whoever is on the way can read and change telemetry and credentials");
        }
        let way = match (secure, target.http2) {
            (true, _) => Way::Secure,
            (false, true) => Way::Grpc,
            (false, false) => Way::Plain,
        };
        let proxy = if target.own_node {
            Ok(None)
        } else {
            proxy::choose(&values, way, &target.host, target.port)
        };
        let (proxy, blocked) = match proxy {
            Ok(proxy) => (proxy, None),
            Err(reason) => (None, Some(reason)),
        };
        Self {
            compression: options.compression(target.is_loopback()),
            timeout: Some(options.timeout().0).filter(|timeout| !timeout.is_zero()),
            connector: Connector { target, tls, proxy, dial, tasks },
            credentials,
            blocked,
            pool: Pool::default(),
            opening: Mutex::default(),
        }
    }

    pub(super) fn target(&self) -> &Target {
        &self.connector.target
    }

    /// How these connections are made.
    pub(super) fn connector(&self) -> &Connector {
        &self.connector
    }

    pub(super) fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    /// Why nothing can be sent before something here is mended.
    pub(super) async fn ready(&self) -> Option<String> {
        if let Some(reason) = &self.blocked {
            return Some(reason.clone());
        }
        if let Some(tls) = &self.connector.tls
            && let Err(error) = tls.current(Duration::ZERO).await
        {
            return Some(error.to_string());
        }
        self.credentials.fill().await.err()
    }

    /// What an operator should know though telemetry flows.
    pub(super) async fn warning(&self) -> Option<String> {
        let tls = self.connector.tls.as_ref()?;
        if tls.accepts_any() {
            return Some(
                "insecure: the backend's certificate is not verified (tls.insecureSkipVerify)"
                    .to_owned(),
            );
        }
        let kept = tls.current(LOOK_EVERY).await.ok()?.warning?;
        Some(format!("certificates changed and cannot be used; the old ones stay in force: {kept}"))
    }

    /// The pieces as one body, compressed as the backend wants it.
    pub(super) async fn encode(&self, pieces: &[Bytes]) -> Encoded {
        compress(self.compression, pieces).await
    }

    /// Makes one attempt. `meaning` tells what an answer says. What is reported holds no secret.
    pub(super) async fn send(
        &self,
        post: Post,
        meaning: impl FnOnce(&Answer) -> Outcome,
    ) -> Outcome {
        if let Some(reason) = &self.blocked {
            return Outcome::Blocked(reason.clone());
        }
        let filled = match self.credentials.fill().await {
            Ok(filled) => filled,
            Err(reason) => return Outcome::Blocked(reason),
        };
        let mut post = post;
        post.headers.extend(filled.headers.clone());
        let phase = AtomicU8::new(Phase::Connecting as u8);
        let exchange = self.exchange(&post, &phase);
        let answer = match self.timeout {
            None => exchange.await,
            Some(limit) => timeout(limit, exchange).await.unwrap_or_else(|_| {
                let phase = usize::from(phase.load(Ordering::Relaxed));
                let phase = Phase::ALL.get(phase).copied().unwrap_or(Phase::Answering);
                let authority = self.connector.target.authority.clone();
                Err(Trouble::Timeout { authority, phase, limit })
            }),
        };
        let outcome = match answer {
            Ok(answer) => meaning(&answer),
            // Files that are not there yet are no failure of the backend.
            Err(Trouble::TlsSetup(error)) => Outcome::Blocked(error.to_string()),
            Err(trouble) => Outcome::Failed(trouble.failure()),
        };
        outcome.map_texts(|text| cut(&filled.redact(text)))
    }

    async fn exchange(&self, post: &Post, phase: &AtomicU8) -> Result<Answer, Trouble> {
        let reach = |reached: Phase| phase.store(reached as u8, Ordering::Relaxed);
        loop {
            reach(Phase::Connecting);
            let mut held = self.connection(&reach).await?;
            reach(Phase::Answering);
            match held.send(self.request(post, &held)).await {
                Ok(answer) => {
                    if answer.complete {
                        held.keep();
                    }
                    return Ok(answer);
                }
                // The backend closed an idle connection just as it was taken up again.
                Err(error) if error.is_stale() && !held.fresh => {}
                Err(error) => {
                    let Connector { target, tls, .. } = &self.connector;
                    let spoken = held.spoken();
                    return Err(target.http_trouble(
                        tls.as_ref(),
                        &error.error,
                        &spoken,
                        error.doing,
                    ));
                }
            }
        }
    }

    async fn connection(&self, reach: &impl Fn(Phase)) -> Result<Held<'_>, Trouble> {
        let Connector { target, tls, .. } = &self.connector;
        let generation = match tls {
            None => 0,
            Some(tls) => tls.current(LOOK_EVERY).await.map_err(Trouble::TlsSetup)?.generation,
        };
        if let Some(held) = self.pool.take(generation) {
            return Ok(held);
        }
        // One connection is opened for all who may share it.
        let may_share = target.http2 || tls.is_some();
        let _opening = if may_share { Some(self.opening.lock().await) } else { None };
        if let Some(held) = self.pool.take(generation).filter(|_| may_share) {
            return Ok(held);
        }
        let connection = self.connector.open(|| reach(Phase::Handshaking)).await?;
        Ok(self.pool.add(connection))
    }

    fn request(&self, post: &Post, held: &Held<'_>) -> Request<Pieces> {
        let Connector { target, tls, .. } = &self.connector;
        let mut request = Request::new(Pieces::new(post.pieces.iter().cloned()));
        *request.method_mut() = post.method.clone();
        *request.headers_mut() = post.headers.clone();
        let proxy = self.connector.whole_urls();
        let mut uri = Uri::builder().path_and_query(post.path.as_str());
        if held.is_http2() || proxy.is_some() {
            let scheme = if tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP };
            uri = uri.scheme(scheme).authority(target.authority.as_str());
        }
        *request.uri_mut() = uri.build().unwrap_or_default();
        if held.is_http2() {
            *request.version_mut() = Version::HTTP_2;
            return request;
        }
        let headers = request.headers_mut();
        if let Ok(host) = HeaderValue::try_from(&target.authority) {
            headers.insert(HOST, host);
        }
        if let Some(value) = proxy.and_then(proxy::Proxy::authorization) {
            headers.insert(PROXY_AUTHORIZATION, value);
        }
        request
    }
}
