//! What a control plane is started with.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use crate::spans::OwnTraces;

/// Everything that can be chosen about a control plane. It reads no environment of its own.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the certificate authority, the tokens' key, the admin token and the resources are
    /// kept. Unset: all of it in memory, gone at the end. Default unset.
    pub data_dir: Option<PathBuf>,
    /// REST API and live view. On loopback it is plain HTTP without a token; on any other address
    /// it is HTTPS and wants an admin token. Default 127.0.0.1:5681.
    pub api: SocketAddr,
    /// Agents' connections (incremental ADS over TLS). Default 127.0.0.1:5678.
    pub xds: SocketAddr,
    /// Monitoring assignments (MADS) for a Prometheus that discovers proxies with `kuma_sd_configs`.
    /// On loopback plain and without a token; on any other address over TLS and with an admin
    /// token, as the API. Default 127.0.0.1:5676.
    pub mads: SocketAddr,
    /// OTLP over gRPC into the window of recent telemetry. Default 127.0.0.1:4317.
    pub otlp_grpc: SocketAddr,
    /// OTLP over HTTP into the window of recent telemetry. Default 127.0.0.1:4318.
    pub otlp_http: SocketAddr,
    /// Bytes that the window of recent telemetry may hold. Default 64 MiB.
    pub telemetry_memory: u64,
    /// The name by which other machines reach this one: it stands in the server's certificate, and
    /// in the address of the built-in backend when OTLP listens on all addresses; an API on
    /// loopback answers to it as well. Default `localhost`.
    pub hostname: String,
    /// The zone that this control plane serves. Default `default`.
    pub zone: String,
    /// Whether `/metrics` also shows what Kuma names differently under Kuma's names. Default no.
    pub kuma_names: bool,
    /// Where traces of the control plane's own work go. Default: none are made.
    pub traces: Option<OwnTraces>,
}

impl Default for Config {
    fn default() -> Self {
        let on = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
        Self {
            data_dir: None,
            api: on(5681),
            xds: on(5678),
            mads: on(5676),
            otlp_grpc: on(4317),
            otlp_http: on(4318),
            telemetry_memory: 64 << 20,
            hostname: "localhost".to_owned(),
            zone: "default".to_owned(),
            kuma_names: false,
            traces: None,
        }
    }
}

/// Where a control plane listens: as configured, with port 0 replaced by the port that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// REST API and live view.
    pub api: SocketAddr,
    /// Agents' connections.
    pub xds: SocketAddr,
    /// Monitoring assignments.
    pub mads: SocketAddr,
    /// OTLP over gRPC.
    pub otlp_grpc: SocketAddr,
    /// OTLP over HTTP.
    pub otlp_http: SocketAddr,
}
