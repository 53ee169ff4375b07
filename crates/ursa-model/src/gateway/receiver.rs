//! Where telemetry comes in.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Listen;
use crate::size::ByteSize;
use crate::substitution::Substitution;

/// One receiver; exactly one of its kinds is set.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Receiver {
    /// What it is called in metrics, in the ledger and in the audit. Default: its kind, such as `otlp_grpc`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// OTLP over gRPC: traces, metrics and logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub otlp_grpc: Option<ListenOptions>,
    /// OTLP over HTTP, protobuf and JSON, below `/v1/`: traces, metrics and logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub otlp_http: Option<ListenOptions>,
    /// Zipkin's API, `/api/v2/spans` and `/api/v1/spans`, JSON and protobuf: traces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zipkin: Option<ListenOptions>,
    /// The Datadog agent's trace API, `/v0.3/traces` to `/v0.5/traces`: traces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub datadog: Option<ListenOptions>,
}

/// Where a receiver listens and whom it lets in.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListenOptions {
    /// An IP address and a port, such as `127.0.0.1:4317` or `0.0.0.0:4317` for every address of this machine; or `unix:` and the absolute path of a
    /// socket, which only this user may use.
    pub listen: String,
    /// Speaks TLS. Read again when the files change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ListenTls>,
    /// What senders must show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Admission>,
    /// Origins, such as `https://shop.example.com`, or `*` for all, from which pages may send by HTTP. Default: none. `otlpHttp` only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub origins: Vec<String>,
    /// How large one request may be once it is decompressed. Default 4 Mi; `datadog` 25 Mi, as Datadog's agent has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_request: Option<ByteSize>,
}

/// TLS towards senders.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListenTls {
    /// File with the certificate and its chain, PEM; an absolute path.
    pub cert: String,
    /// File with the key of `cert`, PEM; an absolute path.
    pub key: String,
    /// File with the authorities of which a sender must show a certificate, PEM; an absolute path. Unset: senders need none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_ca: Option<String>,
}

/// What senders must show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Admission {
    /// The token of `Authorization: Bearer …`; `${NAME}` and `${file:/path}` are filled in. A file is read again when it changes; a token that cannot be
    /// read leaves the one before in force.
    pub bearer_token: Substitution,
}

/// What a receiver speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReceiverKind {
    /// `otlpGrpc`.
    OtlpGrpc,
    /// `otlpHttp`.
    OtlpHttp,
    /// `zipkin`.
    Zipkin,
    /// `datadog`.
    Datadog,
}

impl ReceiverKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::OtlpGrpc, Self::OtlpHttp, Self::Zipkin, Self::Datadog];

    /// The field that holds its settings.
    pub const fn field(self) -> &'static str {
        match self {
            Self::OtlpGrpc => "otlpGrpc",
            Self::OtlpHttp => "otlpHttp",
            Self::Zipkin => "zipkin",
            Self::Datadog => "datadog",
        }
    }

    /// What a receiver of this kind is called unless the file says otherwise.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OtlpGrpc => "otlp_grpc",
            Self::OtlpHttp => "otlp_http",
            Self::Zipkin => "zipkin",
            Self::Datadog => "datadog",
        }
    }
}

impl Receiver {
    /// Its kind and settings; the first where several are set, which validation refuses.
    pub fn settings(&self) -> Option<(ReceiverKind, &ListenOptions)> {
        self.all_settings().next()
    }

    /// Every kind that is set.
    pub(super) fn all_settings(&self) -> impl Iterator<Item = (ReceiverKind, &ListenOptions)> {
        let fields = [&self.otlp_grpc, &self.otlp_http, &self.zipkin, &self.datadog];
        let kinds = ReceiverKind::ALL.into_iter().zip(fields);
        kinds.filter_map(|(kind, field)| Some((kind, field.as_ref()?)))
    }

    /// The token that senders must show, as it is written.
    pub fn token(&self) -> Option<&Substitution> {
        let (_, options) = self.settings()?;
        options.auth.as_ref().map(|auth| &auth.bearer_token)
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        let kind = || self.settings().map_or("", |(kind, _)| kind.name());
        self.name.as_deref().unwrap_or_else(kind)
    }
}

impl ListenOptions {
    /// Where it listens; none for a text that validation refuses.
    pub fn address(&self) -> Option<Listen> {
        self.listen.parse().ok()
    }
}
