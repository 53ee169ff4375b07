//! Proxies on the way to a backend, as the usual environment variables say.
//!
//! `HTTPS_PROXY` is for TLS and for gRPC, `HTTP_PROXY` for OTLP/HTTP in plaintext (and for gRPC in
//! plaintext when the former is not set), `ALL_PROXY` for what has none; each in small letters too.
//! `NO_PROXY` lists hosts that are reached directly: names with all names below them, names that
//! begin with a dot for those below only, addresses, ranges of addresses (`10.0.0.0/8`), each perhaps
//! with a port; `*` is every host. This host itself is always reached directly.

use std::io;
use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use ursa_model::{Authority, SecretText};

use super::credentials::Values;
use crate::stream::Stream;

/// Bytes of a proxy's answer.
const MAX_ANSWER: usize = 8 << 10;
const HTTP_PORT: u16 = 80;
const HTTPS_PORT: u16 = 443;
/// Proxies listen there when their URL names no port and no scheme.
const PROXY_PORT: u16 = 1080;

/// A proxy. `Debug` hides its password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Proxy {
    /// Without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// TLS is spoken with the proxy itself.
    pub(super) secure: bool,
    /// The value of `Proxy-Authorization`.
    authorization: Option<SecretText>,
    /// The variable that names it.
    pub(super) variable: &'static str,
}

/// A request's way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Over TLS.
    Secure,
    /// gRPC in plaintext.
    Grpc,
    /// HTTP/1 in plaintext.
    Plain,
}

/// A proxy did not open a tunnel.
#[derive(Debug, Error)]
pub(super) enum ProxyError {
    #[error("speak with the proxy: {0}")]
    Io(#[from] io::Error),
    #[error("the proxy answered {0}")]
    Refused(u16),
    #[error("the proxy does not speak HTTP")]
    NotHttp,
}

/// The proxy for `host`, or none; or why the variables cannot be followed.
pub(super) fn choose(
    values: &Values,
    way: Way,
    host: &str,
    port: u16,
) -> Result<Option<Proxy>, String> {
    const HTTPS: [&str; 2] = ["HTTPS_PROXY", "https_proxy"];
    const HTTP: [&str; 2] = ["HTTP_PROXY", "http_proxy"];
    const ALL: [&str; 2] = ["ALL_PROXY", "all_proxy"];
    if is_this_host(host) {
        return Ok(None);
    }
    let no_proxy = ["NO_PROXY", "no_proxy"].into_iter().find_map(|name| values.environment(name));
    if no_proxy.is_some_and(|list| excepts(list, host, port)) {
        return Ok(None);
    }
    let names: &[[&'static str; 2]] = match way {
        Way::Secure => &[HTTPS, ALL],
        Way::Grpc => &[HTTPS, HTTP, ALL],
        Way::Plain => &[HTTP, ALL],
    };
    let found = names.iter().flatten().find_map(|name| Some((*name, values.environment(name)?)));
    found.map(|(variable, url)| Proxy::parse(variable, url)).transpose()
}

/// Whether a name or an address is this host's own.
pub(super) fn is_this_host(host: &str) -> bool {
    let address = |address: IpAddr| address.to_canonical().is_loopback();
    host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(address)
}

/// Whether a list of hosts without proxy holds this one.
fn excepts(list: &str, host: &str, port: u16) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let address: Option<IpAddr> = host.parse().ok();
    list.split([',', ' ']).map(str::trim).filter(|entry| !entry.is_empty()).any(|entry| {
        let entry = entry.to_ascii_lowercase();
        if entry == "*" {
            return true;
        }
        if let Some((range, bits)) = entry.split_once('/') {
            return address.is_some_and(|address| in_range(address, range, bits));
        }
        let (name, of_port) = match entry.rsplit_once(':') {
            Some((name, digits)) if !name.contains(':') || name.ends_with(']') => {
                (name, digits.parse().ok())
            }
            _ => (entry.as_str(), None),
        };
        if of_port.is_some_and(|of_port: u16| of_port != port) {
            return false;
        }
        let name = name.trim_start_matches('[').trim_end_matches(']');
        if let Ok(entry) = name.parse::<IpAddr>() {
            return address == Some(entry);
        }
        let name = name.strip_prefix('*').unwrap_or(name);
        match name.strip_prefix('.') {
            Some(_) => host.ends_with(name),
            None => {
                host.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            }
        }
    })
}

fn in_range(address: IpAddr, range: &str, bits: &str) -> bool {
    let (Ok(range), Ok(bits)) = (range.parse::<IpAddr>(), bits.parse::<u32>()) else {
        return false;
    };
    let mask = |width: u32| u128::MAX.checked_shl(width.saturating_sub(bits)).unwrap_or(0);
    match (address, range) {
        (IpAddr::V4(address), IpAddr::V4(range)) if bits <= 32 => {
            let differs = u128::from(address.to_bits() ^ range.to_bits());
            differs & mask(32) == 0
        }
        (IpAddr::V6(address), IpAddr::V6(range)) if bits <= 128 => {
            (address.to_bits() ^ range.to_bits()) & mask(128) == 0
        }
        _ => false,
    }
}

impl Proxy {
    fn parse(variable: &'static str, url: &str) -> Result<Self, String> {
        let wrong = |what: &str| format!("{variable}: {what}");
        let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
        let (secure, default_port) = match scheme.to_ascii_lowercase().as_str() {
            "" => (false, PROXY_PORT),
            "http" => (false, HTTP_PORT),
            "https" => (true, HTTPS_PORT),
            _ => {
                return Err(wrong(&format!(
                    "{scheme}:// proxies are not spoken to; http:// and https:// are"
                )));
            }
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let (user, place) = match authority.rsplit_once('@') {
            Some((user, place)) => (Some(user), place),
            None => (None, authority),
        };
        let (host, port) = match place.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                (host, port.parse().map_err(|_| wrong("the port is not one"))?)
            }
            _ => (place, default_port),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(wrong("it names no host"));
        }
        let authorization = user.map(|user| {
            let (name, password) = user.split_once(':').unwrap_or((user, ""));
            let pair = [unescape(name), b":".to_vec(), unescape(password)].concat();
            SecretText::new(format!("Basic {}", STANDARD.encode(pair)))
        });
        Ok(Self { host: host.to_owned(), port, secure, authorization, variable })
    }

    /// `host:port`, for people.
    pub(super) fn authority(&self) -> String {
        Authority { host: &self.host, port: self.port }.to_string()
    }

    /// The value of `Proxy-Authorization`.
    pub(super) fn authorization(&self) -> Option<HeaderValue> {
        let mut value = HeaderValue::try_from(self.authorization.as_ref()?.expose()).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// Has the proxy connect `stream` to `authority` (RFC 9110, "CONNECT").
    pub(super) async fn tunnel(
        &self,
        stream: &mut Box<dyn Stream>,
        authority: &str,
    ) -> Result<(), ProxyError> {
        let mut request = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n");
        if let Some(value) = &self.authorization {
            request.push_str("Proxy-Authorization: ");
            request.push_str(value.expose());
            request.push_str("\r\n");
        }
        request.push_str("\r\n");
        stream.write_all(request.as_bytes()).await?;
        stream.flush().await?;
        // Byte by byte: what follows the answer belongs to the tunnel.
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            let byte = stream.read_u8().await.map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof if answer.is_empty() => {
                    ProxyError::Io(io::Error::new(error.kind(), "it closed the connection"))
                }
                _ => ProxyError::Io(error),
            })?;
            answer.push(byte);
            if answer.len() > MAX_ANSWER {
                return Err(ProxyError::NotHttp);
            }
        }
        let line = answer.split(|byte| *byte == b'\r').next().unwrap_or_default();
        let line = std::str::from_utf8(line).map_err(|_| ProxyError::NotHttp)?;
        let mut words = line.split(' ');
        let status: Option<u16> = words
            .next()
            .filter(|version| version.starts_with("HTTP/1."))
            .and_then(|_| words.next()?.parse().ok());
        match status {
            Some(200..300) => Ok(()),
            Some(status) => Err(ProxyError::Refused(status)),
            None => Err(ProxyError::NotHttp),
        }
    }
}

/// Percent-escapes resolved; what is none stays.
fn unescape(text: &str) -> Vec<u8> {
    crate::rpc::unpercent(text.as_bytes()).into_bytes()
}
