//! OTLP over gRPC and over HTTP.

use ursa_model::backend::Protocol;

use super::answer::Outcome;
use super::client::{Client, Post};
use super::credentials::{Credentials, Values};
use super::environment::Effective;
use super::target::Target;
use super::{Outlet, Payload, grpc, http};
use crate::Signal;

/// The address of the node's own collector when nothing names it.
const LOCAL_HOST: &str = "127.0.0.1";
/// Names the address of the node's own collector.
const HOST_IP: &str = "HOST_IP";

/// Delivers OTLP to one backend.
#[derive(Debug)]
pub(super) struct Otlp {
    protocol: Protocol,
    /// `host:port` and path, for people.
    endpoint: String,
    /// Of requests over HTTP.
    path: String,
    /// Or why nothing may be sent.
    client: Result<Client, String>,
}

impl Otlp {
    /// An exporter for `spec`, in which the variables of the environment are applied already.
    pub(super) fn new(effective: &Effective, signal: Signal, outlet: Outlet) -> Self {
        let Effective { spec, path } = effective;
        let to = match spec.resolve() {
            Ok(to) => to,
            Err(error) => return Self::blocked(error.to_string()),
        };
        let http2 = to.protocol == Protocol::Grpc;
        let target = target(&to.host, to.port, http2, &outlet.values);
        let endpoint = format!("{}{}", target.authority, to.path);
        let credentials = Credentials::new(&spec.delivery, outlet.values.clone());
        let path = path.clone().unwrap_or_else(|| to.signal_path(signal.name()));
        let client = Client::new(target, to.tls, &spec.delivery, credentials, outlet);
        Self { protocol: to.protocol, endpoint, path, client: Ok(client) }
    }

    /// One that sends nothing, and says why.
    pub(super) fn blocked(reason: String) -> Self {
        let (endpoint, path) = (String::new(), String::new());
        Self { protocol: Protocol::Grpc, endpoint, path, client: Err(reason) }
    }

    pub(super) fn protocol(&self) -> &'static str {
        match self.protocol {
            Protocol::Grpc => "grpc",
            Protocol::Http => "http",
        }
    }

    pub(super) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    pub(super) fn client(&self) -> Result<&Client, &str> {
        self.client.as_ref().map_err(String::as_str)
    }

    pub(super) async fn send(&self, payload: &Payload) -> Outcome {
        let client = match &self.client {
            Ok(client) => client,
            Err(reason) => return Outcome::Blocked(reason.clone()),
        };
        let encoded = client.encode(&payload.requests).await;
        let signal = payload.signal;
        match self.protocol {
            Protocol::Grpc => {
                let post = grpc::post(signal, encoded, client.timeout());
                client.send(post, |answer| grpc::outcome(answer, signal)).await
            }
            Protocol::Http => {
                let post: Post = http::post(&self.path, encoded);
                client.send(post, |answer| http::outcome(answer, &self.path)).await
            }
        }
    }
}

/// The place of `host`; the node's own collector if that is empty.
fn target(host: &str, port: u16, http2: bool, values: &Values) -> Target {
    if !host.is_empty() {
        return Target::new(host.to_owned(), port, http2);
    }
    let host = values.environment(HOST_IP).unwrap_or(LOCAL_HOST).to_owned();
    Target { own_node: true, ..Target::new(host, port, http2) }
}
