//! How an agent gets a certificate for its proxy, and says which one the proxy uses.
//!
//! Two calls on the connection on which the agent has its configuration, with the same token in `authorization`. The
//! private key is not part of either. Which names a certificate has is decided by the control plane, by the proxy's
//! Dataplane; of the request it takes the public key alone.

/// The method by which a certificate is asked for: [`Request`] to [`Issued`].
pub const SIGN: &str = "/ursa.agent.v1.Identities/Sign";
/// The method by which an agent says what it holds: [`Held`] to [`Noted`]. After it has connected, and when that changes.
pub const REPORT: &str = "/ursa.agent.v1.Identities/Report";
/// Bytes of one message.
pub const MAX_MESSAGE: usize = 256 << 10;
/// Bytes of a signing request (DER).
pub const MAX_REQUEST: usize = 4 << 10;

/// The type of what Envoy asks for by SDS; the agent answers it.
pub const SDS: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";

/// A wish for a certificate.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Request {
    /// A certificate signing request (PKCS #10, DER) for a key of ECDSA over P-256.
    #[prost(bytes = "vec", tag = "1")]
    pub csr: Vec<u8>,
}

/// A certificate.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Issued {
    /// The certificate and those that lead to the authority, in PEM form.
    #[prost(string, tag = "1")]
    pub chain: String,
    /// The name of the backend that signed.
    #[prost(string, tag = "2")]
    pub backend: String,
    /// The names in it.
    #[prost(string, repeated, tag = "3")]
    pub names: Vec<String>,
    /// The first second in which it is valid, since 1970.
    #[prost(int64, tag = "4")]
    pub not_before: i64,
    /// The last one.
    #[prost(int64, tag = "5")]
    pub not_after: i64,
    /// Its serial number in hexadecimal.
    #[prost(string, tag = "6")]
    pub serial: String,
    /// Who signed, as a distinguished name.
    #[prost(string, tag = "7")]
    pub issuer: String,
}

/// What an agent holds.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Held {
    /// The certificate without those that follow it; unset: none.
    #[prost(message, optional, tag = "1")]
    pub certificate: Option<Issued>,
    /// Whether the proxy's Envoy takes connections with it.
    #[prost(bool, tag = "2")]
    pub serving: bool,
}

/// The answer to [`Held`].
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Noted {}
