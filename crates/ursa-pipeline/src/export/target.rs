//! Where a backend is.

use std::io;

use ursa_model::Authority;

use super::connection::{SpokenOn, causes};
use super::dial::LookupError;
use super::proxy;
use super::sniff::Spoken;
use super::trouble::{Trouble, Wrong};
use crate::tls::{ClientTls, TlsFailure};

/// Where a backend is, and what is spoken there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    /// Without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// `host:port` as it stands in requests.
    pub(super) authority: String,
    /// Only HTTP/2 is spoken, as gRPC needs it.
    pub(super) http2: bool,
    /// The node's own collector, to which no proxy leads.
    pub(super) own_node: bool,
}

impl Target {
    pub(super) fn new(host: String, port: u16, http2: bool) -> Self {
        let authority = Authority { host: &host, port }.to_string();
        Self { host, port, authority, http2, own_node: false }
    }

    pub(super) fn is_loopback(&self) -> bool {
        proxy::is_this_host(&self.host)
    }

    /// Why there is no connection.
    pub(super) fn unreached(&self, error: &io::Error) -> Trouble {
        if error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<LookupError>) {
            return Trouble::Lookup(causes(error));
        }
        Trouble::Connect {
            authority: self.authority.clone(),
            kind: error.kind(),
            words: causes(error),
        }
    }

    /// Why there is no TLS.
    pub(super) fn tls_trouble(
        &self,
        tls: &ClientTls,
        error: &io::Error,
        spoken: &SpokenOn,
    ) -> Trouble {
        let authority = self.authority.clone();
        let wrong = match spoken.wire.spoken() {
            Some(Spoken::Http1) => Some(Wrong::PlainHttp1),
            Some(Spoken::Http2) => Some(Wrong::PlainHttp2),
            _ => None,
        };
        if let Some(wrong) = wrong {
            return Trouble::Protocol { authority, wrong };
        }
        match TlsFailure::of(error, tls.shows_certificate()) {
            Some(failure) => Trouble::Tls { authority, failure },
            None => Trouble::Handshake { authority, words: causes(error) },
        }
    }

    /// Why there is no answer.
    pub(super) fn http_trouble(
        &self,
        tls: Option<&ClientTls>,
        error: &hyper::Error,
        spoken: &SpokenOn,
        doing: &'static str,
    ) -> Trouble {
        let authority = self.authority.clone();
        let first = if tls.is_some() { &spoken.inside } else { &spoken.wire };
        let wrong = match (first.spoken(), self.http2) {
            (Some(Spoken::Tls), _) => Some(Wrong::Tls { grpc: self.http2 }),
            (Some(Spoken::Http1), true) => Some(Wrong::Http1),
            (Some(Spoken::Http2), false) if tls.is_none() => Some(Wrong::Http2),
            _ => None,
        };
        if let Some(wrong) = wrong {
            return Trouble::Protocol { authority, wrong };
        }
        // With TLS 1.3, a server refuses a client's certificate only after the handshake.
        let shown = tls.is_some_and(ClientTls::shows_certificate);
        let ended = first.tls_error().map(|error| TlsFailure::of_rustls(error, shown));
        match ended.or_else(|| TlsFailure::of(error, shown)) {
            Some(failure) => Trouble::Tls { authority, failure },
            None if first.is_silent() => Trouble::Silent { authority, plain: tls.is_none() },
            None => Trouble::Http { doing, words: causes(error) },
        }
    }
}
