//! `ursa cp`: the control plane.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use ursa_control::{ChangeError, Config, ControlPlane, Source};
use ursa_model::size::ByteSize;

use crate::failure::{Doing as _, Failure, Outcome};
use crate::output::Output;
use crate::{directories, documents, logging};

/// Run the control plane: REST API, proxies' configuration, recent telemetry, live view.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ursa cp
  ursa cp --data-dir /var/lib/ursa -f resources/
  ursa cp --bind 0.0.0.0          API and telemetry for other machines (TLS and an admin token)")]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) ports: Ports,
    /// Where to listen. On anything but loopback the API wants TLS and an admin token.
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST), value_name = "ADDRESS")]
    bind: IpAddr,
    /// Where resources and keys are kept [default: $XDG_DATA_HOME/ursa/control-plane]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Keep nothing: resources and keys go when the process ends.
    #[arg(long, conflicts_with = "data_dir")]
    in_memory: bool,
    /// Resources to apply at the start. May be repeated.
    #[arg(short, long, value_name = "FILE")]
    filename: Vec<PathBuf>,
    /// How much recent telemetry is held.
    #[arg(long, default_value = "64Mi", value_name = "SIZE")]
    telemetry_memory: ByteSize,
    /// The name by which other machines reach this one.
    #[arg(long, default_value = "localhost", value_name = "NAME")]
    hostname: String,
    /// The zone that this control plane serves.
    #[arg(long, default_value = "default", value_name = "NAME")]
    zone: String,
    /// How much is logged; $RUST_LOG says it part by part.
    #[arg(long, default_value = "info", value_name = "LEVEL", value_parser = logging::LEVELS)]
    log_level: String,
}

/// The control plane's ports.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Ports {
    /// REST API and live view.
    #[arg(long, default_value_t = 5681, value_name = "PORT")]
    pub(crate) api_port: u16,
    /// Agents.
    #[arg(long, default_value_t = 5678, value_name = "PORT")]
    pub(crate) xds_port: u16,
    /// Monitoring assignments, for Prometheus' `kuma_sd_configs`.
    #[arg(long, default_value_t = 5676, value_name = "PORT")]
    pub(crate) mads_port: u16,
    /// OTLP over gRPC.
    #[arg(long, default_value_t = 4317, value_name = "PORT")]
    pub(crate) otlp_grpc_port: u16,
    /// OTLP over HTTP.
    #[arg(long, default_value_t = 4318, value_name = "PORT")]
    pub(crate) otlp_http_port: u16,
}

pub(super) async fn run(arguments: Arguments, output: Output) -> Outcome {
    logging::start(&arguments.log_level);
    let data_dir = match (arguments.in_memory, arguments.data_dir) {
        (true, _) => None,
        (false, Some(dir)) => Some(dir),
        (false, None) => Some(directories::data("control-plane")?),
    };
    let sources = documents::read(&arguments.filename)?;
    let at = |port| SocketAddr::new(arguments.bind, port);
    let mut signals = Signals::new()?;
    let running = ControlPlane::start(Config {
        data_dir,
        api: at(arguments.ports.api_port),
        xds: at(arguments.ports.xds_port),
        mads: at(arguments.ports.mads_port),
        otlp_grpc: at(arguments.ports.otlp_grpc_port),
        otlp_http: at(arguments.ports.otlp_http_port),
        telemetry_memory: arguments.telemetry_memory.bytes(),
        hostname: arguments.hostname,
        zone: arguments.zone,
    })
    .await
    .doing("start the control plane")?;
    let texts: Vec<_> = sources
        .iter()
        .map(|source| Source { text: &source.text, file: Some(&source.name), line: 1 })
        .collect();
    if let Err(error) = running.apply(&texts).await {
        running.shutdown().await;
        return Err(match error {
            ChangeError::Violations(violations) => {
                let violations: Vec<_> = violations
                    .iter()
                    .filter_map(|violation| serde_json::to_value(violation).ok())
                    .collect();
                documents::refusal(&violations, &sources, output)?
            }
            error => Failure::because("cannot apply the resources", &error),
        });
    }
    output.note(&format!("live view and API: {}/gui", running.api_url()));
    signals.stop().await;
    tracing::info!("stopping");
    running.shutdown().await;
    Ok(ExitCode::SUCCESS)
}

/// SIGINT and SIGTERM, from the moment it is made.
#[derive(Debug)]
pub(crate) struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    /// Begins to listen.
    pub(crate) fn new() -> Outcome<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).doing("listen for SIGINT")?,
            terminate: signal(SignalKind::terminate()).doing("listen for SIGTERM")?,
        })
    }

    /// Waits for either.
    pub(crate) async fn stop(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
