//! What each service of the shop answers.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

/// The services, in the order of a request.
pub(crate) const SERVICES: [&str; 5] = ["gateway", "frontend", "catalog", "cart", "payments"];

/// Payments fails one request in so many.
const FAILS_ONE_IN: u32 = 20;
/// Payments is slow for one request in so many.
const SLOW_ONE_IN: u32 = 10;
/// How long a slow payment takes.
const SLOW: Duration = Duration::from_millis(250);
/// A service's usual work.
const WORK: Duration = Duration::from_millis(2);
/// How long a service waits for another.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The longest answer of another service that is read: 1 MiB.
const MAX_ANSWER: usize = 1 << 20;

/// A service: what it is, and whom it may call.
#[derive(Debug)]
pub(crate) struct Role {
    name: &'static str,
    peers: BTreeMap<String, String>,
    client: Client<HttpConnector, Body>,
}

impl Role {
    /// The service of that name, with its peers as `name=address`.
    pub(crate) fn named(name: &str, peers: &[String]) -> Result<Self, String> {
        let name = SERVICES
            .into_iter()
            .find(|service| *service == name)
            .ok_or_else(|| format!("the demo has no service `{name}`"))?;
        let peers = peers
            .iter()
            .map(|peer| match peer.split_once('=') {
                Some((name, address)) => Ok((name.to_owned(), address.to_owned())),
                None => Err(format!("`{peer}` is not name=address")),
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { name, peers, client: Client::builder(TokioExecutor::new()).build_http() })
    }

    /// Answers one request, calling others with the request's own context.
    pub(crate) async fn answer(&self, method: Method, path: &str, context: HeaderMap) -> Response {
        tokio::time::sleep(WORK).await;
        match (self.name, path) {
            ("gateway", path) => {
                self.call("frontend", method, path, &context).await.into_response()
            }
            ("frontend", "/checkout") => {
                let bear = self.call("catalog", Method::GET, "/items/bear", &context).await;
                if !bear.0.is_success() {
                    return bear.into_response();
                }
                self.call("cart", Method::POST, "/orders", &context).await.into_response()
            }
            ("frontend", _) => {
                self.call("catalog", Method::GET, "/items", &context).await.into_response()
            }
            ("cart", _) => {
                self.call("payments", Method::POST, "/charges", &context).await.into_response()
            }
            ("payments", _) => {
                if fastrand::u32(..SLOW_ONE_IN) == 0 {
                    tokio::time::sleep(SLOW).await;
                }
                if fastrand::u32(..FAILS_ONE_IN) == 0 {
                    return (StatusCode::SERVICE_UNAVAILABLE, "the bank does not answer\n")
                        .into_response();
                }
                "paid\n".into_response()
            }
            _ => "a bear, a big dipper\n".into_response(),
        }
    }

    async fn call(
        &self,
        peer: &str,
        method: Method,
        path: &str,
        context: &HeaderMap,
    ) -> (StatusCode, String) {
        let Some(address) = self.peers.get(peer) else {
            return (
                StatusCode::BAD_GATEWAY,
                format!("{} does not know where {peer} is\n", self.name),
            );
        };
        let mut request = Request::builder().method(method).uri(format!("http://{address}{path}"));
        if let Some(headers) = request.headers_mut() {
            headers.clone_from(context);
        }
        let request = match request.body(Body::empty()) {
            Ok(request) => request,
            Err(error) => return (StatusCode::BAD_REQUEST, format!("{error}\n")),
        };
        let called = async {
            let response = self.client.request(request).await.map_err(|error| error.to_string())?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MAX_ANSWER)
                .collect()
                .await
                .map_err(|e| e.to_string())?;
            Ok::<_, String>((status, String::from_utf8_lossy(&body.to_bytes()).into_owned()))
        };
        match tokio::time::timeout(TIMEOUT, called).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => (StatusCode::BAD_GATEWAY, format!("{peer}: {error}\n")),
            Err(_) => (StatusCode::GATEWAY_TIMEOUT, format!("{peer} does not answer\n")),
        }
    }
}
