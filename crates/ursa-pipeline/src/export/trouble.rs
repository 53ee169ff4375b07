//! Why an attempt got no answer, in words, and what to do about it.

use std::io;

use thiserror::Error;

use super::answer::{Again, Failure, Reason};
use super::connection::causes;
use super::proxy::{Proxy, ProxyError};
use crate::tls::{TlsError, TlsFailure};

/// No answer was had.
#[derive(Debug, Error)]
pub(super) enum Trouble {
    #[error("{0}")]
    Lookup(String),
    #[error("connect to {authority}: {words}")]
    Connect { authority: String, kind: io::ErrorKind, words: String },
    #[error("{authority}, the proxy in {variable}: {words}")]
    Proxy { authority: String, variable: &'static str, status: Option<u16>, words: String },
    #[error("{0}")]
    TlsSetup(TlsError),
    #[error("no TLS with {authority}: {failure}")]
    Tls { authority: String, failure: TlsFailure },
    #[error("no TLS with {authority}: {words}")]
    Handshake { authority: String, words: String },
    #[error("{authority} speaks {}", wrong.spoken())]
    Protocol { authority: String, wrong: Wrong },
    #[error("{authority} closed the connection without a word")]
    Silent { authority: String, plain: bool },
    #[error("{doing}: {words}")]
    Http { doing: &'static str, words: String },
    #[error("{}", phase.words(authority, .limit))]
    Timeout { authority: String, phase: Phase, limit: std::time::Duration },
}

/// What is spoken at a port where something else was expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrong {
    /// TLS, where plaintext was expected.
    Tls {
        grpc: bool,
    },
    /// Plaintext, where TLS was expected.
    PlainHttp1,
    PlainHttp2,
    /// HTTP/1, where gRPC was expected.
    Http1,
    /// HTTP/2, where HTTP/1 was expected.
    Http2,
}

/// How far an attempt is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Phase {
    Connecting,
    Handshaking,
    Answering,
}

impl Phase {
    pub(super) const ALL: [Self; 3] = [Self::Connecting, Self::Handshaking, Self::Answering];

    fn words(self, authority: &str, limit: &std::time::Duration) -> String {
        match self {
            Self::Connecting => format!("no connection to {authority} within {limit:?}"),
            Self::Handshaking => format!("no TLS with {authority} within {limit:?}"),
            Self::Answering => format!("no answer within {limit:?}"),
        }
    }
}

impl Wrong {
    fn spoken(self) -> &'static str {
        match self {
            Self::Tls { .. } => "TLS on this port, not plaintext",
            Self::PlainHttp1 => "plain HTTP/1 on this port, not TLS",
            Self::PlainHttp2 => "plain HTTP/2 on this port, not TLS",
            Self::Http1 => "HTTP/1 on this port, and gRPC needs HTTP/2",
            Self::Http2 => "HTTP/2 alone on this port, as gRPC does",
        }
    }

    fn mend(self) -> &'static str {
        match self {
            Self::Tls { grpc: false } => "write `https://` in the endpoint",
            Self::Tls { grpc: true } => "switch TLS on: `tls: {}`",
            Self::PlainHttp1 | Self::PlainHttp2 => {
                "write `http://` in the endpoint or leave `tls` out, or use the port for TLS"
            }
            Self::Http1 => "set `protocol: http`, or use the port for gRPC, usually 4317",
            Self::Http2 => "set `protocol: grpc`, or use the port for HTTP, usually 4318",
        }
    }
}

impl Trouble {
    pub(super) fn proxy(proxy: &Proxy, error: &ProxyError) -> Self {
        let status = match error {
            ProxyError::Refused(status) => Some(*status),
            _ => None,
        };
        let words = causes(error);
        Self::Proxy { authority: proxy.authority(), variable: proxy.variable, status, words }
    }

    /// What to do, if that can be told.
    pub(super) fn mend(&self) -> Option<&'static str> {
        Some(match self {
            Self::Connect { kind: io::ErrorKind::ConnectionRefused, .. } => {
                "nothing listens there: look at host and port, and whether the backend runs"
            }
            Self::Lookup(_) => "look at the host's name in `endpoint`, and at this host's DNS",
            Self::Connect { .. } => "look at host and port, routes and firewalls",
            Self::Proxy { status: Some(407), .. } => {
                "give the proxy's user and password in its URL: `http://user:password@host:port`"
            }
            Self::Proxy { status: Some(_), .. } => {
                "let the proxy connect there, or list the host in NO_PROXY"
            }
            Self::Proxy { .. } => "look at the proxy's URL, or list the host in NO_PROXY",
            Self::TlsSetup(_) => "mend the files that `tls` names",
            Self::Tls { failure, .. } => failure.mend,
            Self::Handshake { .. } => "look whether the port is for TLS, and at the backend's log",
            Self::Protocol { wrong, .. } => wrong.mend(),
            Self::Silent { plain: true, .. } => {
                "it may want TLS (`https://`, or `tls: {}` for gRPC), or the port is not for OTLP"
            }
            Self::Silent { plain: false, .. } => "look at the backend's log",
            Self::Timeout { phase: Phase::Connecting, .. } => {
                "look at host and port; a firewall may swallow the connection"
            }
            Self::Timeout { phase: Phase::Handshaking, .. } => "look whether the port is for TLS",
            Self::Timeout { .. } => "look at the backend's load and log, or give it more `timeout`",
            Self::Http { .. } => return None,
        })
    }

    fn reason(&self) -> Reason {
        match self {
            Self::TlsSetup(_)
            | Self::Tls { .. }
            | Self::Handshake { .. }
            | Self::Protocol {
                wrong: Wrong::Tls { .. } | Wrong::PlainHttp1 | Wrong::PlainHttp2,
                ..
            } => Reason::Tls,
            Self::Timeout { .. } => Reason::Timeout,
            Self::Proxy { status: Some(407), .. } => Reason::Unauthorized,
            Self::Lookup(_)
            | Self::Connect { .. }
            | Self::Proxy { .. }
            | Self::Protocol { .. }
            | Self::Silent { .. }
            | Self::Http { .. } => Reason::Unavailable,
        }
    }

    /// The same as what came of the attempt; it may be made again.
    pub(super) fn failure(&self) -> Failure {
        Failure {
            reason: self.reason(),
            code: String::new(),
            message: self.to_string(),
            mend: self.mend().map(ToOwned::to_owned),
            again: Again::Later(None),
        }
    }
}
