//! What endpoint, protocol and TLS mean together.
//!
//! | endpoint | protocol | means |
//! |---|---|---|
//! | `host:port` | unset, `grpc` | gRPC; TLS when `tls` is given and not `disabled` |
//! | `host:port` | `http` / `https` | OTLP/HTTP, plaintext / TLS |
//! | `http://…` / `https://…` | unset, `http`, `https` | OTLP/HTTP, plaintext / TLS; default ports 4318 / 443 |
//! | `http://…` / `https://…` | `grpc` | gRPC, plaintext / TLS; default port 4317 |
//! | none | any | the node's own collector, 4317 or 4318 |

use super::{Endpoint, EndpointParts, OpenTelemetryBackend, WireProtocol};
use crate::names;

const GRPC_PORT: u16 = 4317;
const HTTP_PORT: u16 = 4318;
const HTTPS_PORT: u16 = 443;

/// Where and how to deliver.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Delivery {
    /// What is spoken.
    pub protocol: Protocol,
    /// Whether over TLS.
    pub tls: bool,
    /// IP address (IPv6 without brackets) or DNS name; empty: the node's own collector.
    pub host: String,
    /// Port.
    pub port: u16,
    /// What precedes `/v1/traces`, without a slash at the end; `""` for gRPC.
    pub path: String,
}

/// What is spoken to a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// OTLP/gRPC.
    Grpc,
    /// OTLP/HTTP.
    Http,
}

impl Delivery {
    /// The request path of a signal, `traces`, `metrics` or `logs`: `/v1/…` is appended. A path that ends so already, be it for another signal, is
    /// taken as if it did not: one endpoint serves them all.
    pub fn signal_path(&self, signal: &str) -> String {
        const SUFFIXES: [&str; 3] = ["/v1/traces", "/v1/metrics", "/v1/logs"];
        let base = SUFFIXES.iter().find_map(|suffix| self.path.strip_suffix(suffix));
        format!("{}/v1/{signal}", base.unwrap_or(&self.path))
    }
}

/// Endpoint, protocol and TLS contradict each other.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct EndpointError {
    /// The field that is wrong, relative to the backend.
    pub field: &'static str,
    /// What is wrong with it.
    pub message: String,
    /// What to write instead.
    pub hint: Option<String>,
}

impl EndpointError {
    fn new(field: &'static str, message: impl Into<String>) -> Self {
        Self { field, message: message.into(), hint: None }
    }

    fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

/// An endpoint as written, taken apart.
#[derive(Debug, Default)]
struct Written {
    /// Of a URL: whether it is `https`.
    secure: Option<bool>,
    host: String,
    port: Option<u16>,
    path: String,
    path_field: &'static str,
}

/// How to deliver, or the first contradiction.
pub(super) fn resolve(backend: &OpenTelemetryBackend) -> Result<Delivery, EndpointError> {
    let written = match &backend.endpoint {
        None => Written::default(),
        Some(Endpoint::Text(text)) => match text.split_once("://") {
            Some((scheme, rest)) => url(scheme, rest)?,
            None => host_and_port(text)?,
        },
        Some(Endpoint::Parts(parts)) => from_parts(parts)?,
    };
    let (protocol, tls) = protocol(backend, &written)?;
    if protocol == Protocol::Grpc && !written.path.is_empty() {
        return Err(EndpointError::new(written.path_field, "gRPC takes no path")
            .hint("set `protocol: http`, or leave the path out"));
    }
    let default_port = match (protocol, tls) {
        (Protocol::Grpc, _) => GRPC_PORT,
        (Protocol::Http, true) if !written.host.is_empty() => HTTPS_PORT,
        (Protocol::Http, _) => HTTP_PORT,
    };
    let port = written.port.unwrap_or(default_port);
    Ok(Delivery { protocol, tls, host: written.host, port, path: written.path })
}

/// What is spoken, and whether over TLS.
fn protocol(
    backend: &OpenTelemetryBackend,
    written: &Written,
) -> Result<(Protocol, bool), EndpointError> {
    let tls = backend.delivery.tls.as_ref().map(super::Tls::is_on);
    let (protocol, secure) = match (written.secure, backend.protocol) {
        (None, None | Some(WireProtocol::Grpc)) => return Ok((Protocol::Grpc, tls == Some(true))),
        (None, Some(WireProtocol::Http)) => (Protocol::Http, false),
        (None, Some(WireProtocol::Https)) => (Protocol::Http, true),
        (Some(false), Some(WireProtocol::Https)) => {
            return Err(EndpointError::new(
                "protocol",
                "`https` contradicts the endpoint's `http://`",
            )
            .hint("write `https://` in the endpoint, or `protocol: http`"));
        }
        (Some(secure), Some(WireProtocol::Grpc)) => (Protocol::Grpc, secure),
        (Some(secure), None | Some(WireProtocol::Http | WireProtocol::Https)) => {
            (Protocol::Http, secure)
        }
    };
    match (secure, tls) {
        (false, Some(true)) => {
            let plain = if written.secure.is_some() {
                "the endpoint's `http://`"
            } else {
                "`protocol: http`"
            };
            Err(EndpointError::new("tls", format!("contradicts {plain}, which is plaintext"))
                .hint("say `https` there, or leave `tls` out"))
        }
        (true, Some(false)) => {
            Err(EndpointError::new("tls.mode", "`disabled` contradicts `https`")
                .hint("say `http`, or leave `tls.mode` out"))
        }
        _ => Ok((protocol, secure)),
    }
}

fn url(scheme: &str, rest: &str) -> Result<Written, EndpointError> {
    let error = |message: String| EndpointError::new("endpoint", message);
    let secure = match scheme.to_ascii_lowercase().as_str() {
        "http" => false,
        "https" => true,
        "grpc" | "grpcs" => {
            return Err(error(format!("`{scheme}://` is not a scheme of OTLP"))
                .hint("write `host:port` with `protocol: grpc`"));
        }
        _ => {
            return Err(error(format!(
                "`{scheme}://` is not supported; `http://` and `https://` are"
            )));
        }
    };
    if rest.contains(['?', '#']) {
        return Err(error("the URL must not have a query or a fragment".to_owned()));
    }
    let end = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    if authority.is_empty() {
        return Err(error("the URL has no host".to_owned()));
    }
    if authority.contains('@') {
        return Err(error("credentials do not belong in a URL".to_owned()).hint("use `auth.basic`"));
    }
    let path = valid_path(path.trim_end_matches('/'), "endpoint")?;
    let written = host_and_port(authority)?;
    Ok(Written { secure: Some(secure), path, path_field: "endpoint", ..written })
}

fn host_and_port(text: &str) -> Result<Written, EndpointError> {
    let error = |message: String| EndpointError::new("endpoint", message);
    if text.is_empty() {
        return Err(error("must not be empty".to_owned())
            .hint("leave `endpoint` out to use the node's own collector"));
    }
    if text.contains('@') {
        return Err(
            error("credentials do not belong in an endpoint".to_owned()).hint("use `auth.basic`")
        );
    }
    if text.contains(['?', '#']) {
        return Err(error("`host:port` takes no query and no fragment".to_owned()));
    }
    if text.contains('/') {
        return Err(error("`host:port` takes no path".to_owned())
            .hint(format!("write a URL: `http://{text}`")));
    }
    let colons = text.matches(':').count();
    let (host, port) = match text.rsplit_once(':') {
        Some(_) if text.ends_with(']') || (colons > 1 && !text.starts_with('[')) => (text, None),
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    if colons > 1 && !text.starts_with('[') {
        return Err(error("an IPv6 address stands in brackets: `[::1]:4317`".to_owned()));
    }
    let port = port
        .map(|port| match port.parse::<u16>() {
            Ok(number) if number > 0 && port.chars().all(|c| c.is_ascii_digit()) => Ok(number),
            _ if port.is_empty() => Err(error("there is no port behind `:`".to_owned())),
            _ => Err(error(format!("`{port}` is not a port; ports are 1 to 65535"))),
        })
        .transpose()?;
    if host.is_empty() {
        return Err(error("there is no host before `:`".to_owned()));
    }
    if !names::is_host(host) {
        return Err(error(format!("`{host}` is neither an IP address nor a DNS name")));
    }
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    Ok(Written { host, port, ..Written::default() })
}

fn from_parts(parts: &EndpointParts) -> Result<Written, EndpointError> {
    let host = parts.address.clone().unwrap_or_default();
    if parts.address.is_some() && !names::is_host(&host) {
        let error = EndpointError::new(
            "endpoint.address",
            format!("`{host}` is neither an IP address nor a DNS name"),
        );
        return Err(match host.rsplit_once(':') {
            _ if host.contains("://") => {
                error.hint("write the URL as the endpoint: `endpoint: https://…`")
            }
            Some((name, port)) if names::is_host(name) && port.parse::<u16>().is_ok() => {
                error.hint(format!("give the port as `port: {port}`"))
            }
            _ => error,
        });
    }
    if parts.port == Some(0) {
        return Err(EndpointError::new("endpoint.port", "ports are 1 to 65535"));
    }
    let path = parts.path.as_deref().unwrap_or_default();
    if !path.is_empty() && !path.starts_with('/') {
        return Err(EndpointError::new("endpoint.path", "must begin with `/`"));
    }
    let path = valid_path(path.trim_end_matches('/'), "endpoint.path")?;
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    Ok(Written { secure: None, host, port: parts.port, path, path_field: "endpoint.path" })
}

fn valid_path(path: &str, field: &'static str) -> Result<String, EndpointError> {
    if path.contains(['?', '#']) {
        return Err(EndpointError::new(field, "the path must not have a query or a fragment"));
    }
    // RFC 3986, `pchar`.
    let fits = |c: char| c.is_ascii_alphanumeric() || "/%-._~!$&'()*+,;=:@".contains(c);
    if !path.chars().all(fits) {
        return Err(EndpointError::new(field, "the path has a character that a URL cannot hold")
            .hint("write it percent-encoded"));
    }
    Ok(path.to_owned())
}
