//! OTLP over gRPC and over HTTP.

use ursa_model::backend::Protocol;

use super::answer::Outcome;
use super::client::Client;
use super::credentials::{Credentials, Values};
use super::environment::Effective;
use super::target::Target;
use super::way::{Speech, Way};
use super::{Outlet, Payload, grpc, http};
use crate::Signal;

/// The address of the node's own collector when nothing names it.
const LOCAL_HOST: &str = "127.0.0.1";
/// Names the address of the node's own collector.
const HOST_IP: &str = "HOST_IP";

/// The way that `effective` says, in which the variables of the environment are applied already; or
/// why there is none.
pub(super) fn open(
    effective: &Effective,
    signal: Signal,
    outlet: Outlet,
) -> (Speech, Result<Way, String>) {
    let Effective { spec, path } = effective;
    let to = match spec.resolve() {
        Ok(to) => to,
        Err(error) => return (Speech::Grpc, Err(error.to_string())),
    };
    let http2 = to.protocol == Protocol::Grpc;
    let target = target(&to.host, to.port, http2, &outlet.values);
    let endpoint = format!("{}{}", target.authority, to.path);
    let credentials = Credentials::new(&spec.delivery, outlet.values.clone());
    let path = path.clone().unwrap_or_else(|| to.signal_path(signal.name()));
    let client = Client::new(target, to.tls, &spec.delivery, credentials, outlet);
    let speech = if http2 { Speech::Grpc } else { Speech::Http };
    (speech, Ok(Way { endpoint, path, client }))
}

/// Makes one attempt over gRPC.
pub(super) async fn send_by_grpc(way: &Way, payload: &Payload) -> Outcome {
    let Way { client, .. } = way;
    let encoded = client.encode(&payload.requests).await;
    let post = grpc::post(payload.signal, encoded, client.timeout());
    client.send(post, |answer| grpc::outcome(answer, payload.signal)).await
}

/// Makes one attempt over HTTP.
pub(super) async fn send_by_http(way: &Way, payload: &Payload) -> Outcome {
    let Way { client, path, .. } = way;
    let encoded = client.encode(&payload.requests).await;
    client.send(http::post(path, encoded), |answer| http::outcome(answer, path)).await
}

/// The place of `host`; the node's own collector if that is empty.
fn target(host: &str, port: u16, http2: bool, values: &Values) -> Target {
    if !host.is_empty() {
        return Target::new(host.to_owned(), port, http2);
    }
    let host = values.environment(HOST_IP).unwrap_or(LOCAL_HOST).to_owned();
    Target { own_node: true, ..Target::new(host, port, http2) }
}
