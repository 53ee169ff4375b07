//! How telemetry is delivered to a backend, whatever is spoken to it.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::duration::Duration;
use crate::size::ByteSize;
use crate::substitution::{Part, Substitution};

/// How telemetry is delivered to a backend, whatever is spoken to it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeliveryOptions {
    /// How the backend's certificate is checked, and which is shown to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// Headers of every request. `${NAME}`, `${file:/path}` and `${secret:name}` are filled in by the agent.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, Substitution>,
    /// Credentials of every request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
    /// Unset: gzip over a network, none on loopback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression: Option<Compression>,
    /// How long one export may take. Default 10 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// How failed exports are repeated. Default: until the queue's age or size says otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_policy: Option<RetryPolicy>,
    /// When to leave a failing backend alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub circuit_breaker: Option<CircuitBreaker>,
    /// What waits while the backend is away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<Queue>,
}

impl DeliveryOptions {
    /// How long one export may take.
    pub fn timeout(&self) -> Duration {
        self.timeout.unwrap_or(Duration::from_secs(10))
    }

    /// How many bytes wait per signal while the backend is away.
    pub fn queue_size(&self) -> ByteSize {
        self.queue.as_ref().and_then(|queue| queue.size).unwrap_or(ByteSize::mebibytes(256))
    }

    /// How long telemetry waits while the backend is away.
    pub fn queue_max_age(&self) -> Duration {
        self.queue
            .as_ref()
            .and_then(|queue| queue.max_age)
            .unwrap_or(Duration::from_secs(24 * 3600))
    }

    /// How bodies are compressed, on loopback or over a network.
    pub fn compression(&self, loopback: bool) -> Compression {
        self.compression.unwrap_or(if loopback { Compression::None } else { Compression::Gzip })
    }

    /// Every value in which names are filled in.
    pub fn substitutions(&self) -> impl Iterator<Item = &Substitution> {
        let auth = self.auth.iter().flat_map(|auth| {
            let basic = auth.basic.iter().flat_map(|basic| [&basic.username, &basic.password]);
            auth.bearer_token.iter().chain(basic).chain(auth.api_key.iter().map(|key| &key.value))
        });
        self.headers.values().chain(auth)
    }

    /// The Secret resources that headers and credentials name.
    pub fn secret_names(&self) -> BTreeSet<String> {
        let parts = self.substitutions().filter_map(|value| value.parts().ok()).flatten();
        parts
            .filter_map(|part| match part {
                Part::Secret(name) => Some(name),
                Part::Text(_) | Part::Env(_) | Part::File(_) => None,
            })
            .collect()
    }
}

/// TLS towards a backend.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-together" = ["cert", "key"]))]
pub struct Tls {
    /// Default: `provided` when a file is given, else `system`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<TlsMode>,
    /// File with the authorities that may have signed the backend's certificate. Read by the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// File with the certificate that is shown to the backend.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert: Option<String>,
    /// File with the key of `cert`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The name that the backend's certificate must bear. Default: the endpoint's host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// Accepts any certificate. Default false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub insecure_skip_verify: bool,
}

impl Tls {
    /// Whether TLS is spoken.
    pub fn is_on(&self) -> bool {
        self.mode != Some(TlsMode::Disabled)
    }
}

/// Whose roots are trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TlsMode {
    /// The system's.
    System,
    /// Those in the files given.
    Provided,
    /// No TLS.
    Disabled,
}

/// Credentials; exactly one form is set.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-exactly-one" = ["bearerToken", "basic", "apiKey"]))]
pub struct Auth {
    /// `Authorization: Bearer …`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bearer_token: Option<Substitution>,
    /// `Authorization: Basic …`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basic: Option<BasicAuth>,
    /// A header of the backend's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key: Option<ApiKey>,
}

/// User name and password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BasicAuth {
    /// User name.
    pub username: Substitution,
    /// Password.
    pub password: Substitution,
}

/// A key in a header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApiKey {
    /// The header's name.
    pub header: String,
    /// The key.
    pub value: Substitution,
}

/// How request bodies are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip.
    Gzip,
    /// Zstandard.
    Zstd,
}

/// How failed exports are repeated.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RetryPolicy {
    /// How often one batch is sent again. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_retries: Option<u32>,
    /// The first pause; each further one is twice as long. Default 1 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial_backoff: Option<Duration>,
    /// The longest pause. Default 30 s. It is never longer than the circuit breaker's `openFor`, unless `initialBackoff`
    /// is: what is set beyond that has no effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_backoff: Option<Duration>,
}

impl RetryPolicy {
    /// The first pause.
    pub fn initial_backoff(&self) -> Duration {
        self.initial_backoff.unwrap_or(Duration::from_secs(1))
    }

    /// The longest pause.
    pub fn max_backoff(&self) -> Duration {
        self.max_backoff.unwrap_or(Duration::from_secs(30))
    }
}

/// When to leave a failing backend alone.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CircuitBreaker {
    /// After how many failures in a row. Default 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub consecutive_failures: Option<u32>,
    /// For how long. Default 30 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_for: Option<Duration>,
}

impl CircuitBreaker {
    /// After how many failures in a row; at least 1.
    pub fn failures(&self) -> u32 {
        self.consecutive_failures.unwrap_or(5).max(1)
    }

    /// For how long.
    pub fn open_for(&self) -> Duration {
        self.open_for.unwrap_or(Duration::from_secs(30))
    }
}

/// What waits while the backend is away.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Queue {
    /// How many bytes wait per signal. Default 256 Mi.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<ByteSize>,
    /// How long they wait. Default 24 h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<Duration>,
    /// Whether they survive a restart of the agent. Default true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_disk: Option<bool>,
}
