//! `ursa cp`: the control plane.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use ursa_control::{ChangeError, Config, ControlPlane, OwnTraces, Source};
use ursa_model::size::ByteSize;
use ursa_model::tracing_file;

use crate::failure::{Doing as _, Failure, Outcome};
use crate::output::Output;
use crate::{directories, documents, environment, logging};

/// Run the control plane: REST API, proxies' configuration, recent telemetry, live view.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ursa cp
  ursa cp --data-dir /var/lib/ursa -f resources/
  ursa cp --bind 0.0.0.0          API and telemetry for other machines (TLS and an admin token)
  ursa cp --tracing tracing.yaml  traces of its own work

A tracing file:
  backends:
    - openTelemetry: {endpoint: \"collector:4317\"}")]
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
    #[command(flatten)]
    own: OwnTelemetry,
    /// How much is logged; $RUST_LOG says it part by part.
    #[arg(long, default_value = "info", value_name = "LEVEL", value_parser = logging::LEVELS)]
    log_level: String,
}

/// What the control plane tells of itself.
#[derive(Debug, Clone, Args)]
pub(crate) struct OwnTelemetry {
    /// A file that says where traces of the control plane's own work go, and which are made [default: none are]
    #[arg(long, value_name = "FILE")]
    tracing: Option<PathBuf>,
    /// Show the control plane's metrics under another mesh's names too, beside ours.
    #[arg(long, value_enum, value_name = "MESH")]
    compat: Option<Compatible>,
}

impl OwnTelemetry {
    /// The same as it is typed.
    pub(crate) fn typed(&self) -> Vec<String> {
        let tracing = self
            .tracing
            .iter()
            .flat_map(|file| ["--tracing".to_owned(), file.to_string_lossy().into_owned()]);
        let compat = self.compat.iter().map(|Compatible::Kuma| "--compat=kuma".to_owned());
        tracing.chain(compat).collect()
    }
}

/// Whose names of metrics are shown beside ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Compatible {
    /// Those of Kuma's control plane.
    Kuma,
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
    let traces = match &arguments.own.tracing {
        Some(path) => Some(traces(path, output)?),
        None => None,
    };
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
        kuma_names: arguments.own.compat == Some(Compatible::Kuma),
        traces,
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

/// What the tracing file says.
fn traces(path: &Path, output: Output) -> Outcome<OwnTraces> {
    let mut sources = documents::read(&[path.to_owned()])?;
    let (Some(source), true) = (sources.pop(), sources.is_empty()) else {
        return Err(Failure::unreadable(format!("{} is a folder", path.display()))
            .help("--tracing takes one file"));
    };
    let parsed = tracing_file::parse(&source.text);
    let (refused, warned): (Vec<_>, Vec<_>) =
        parsed.violations.iter().partition(|violation| violation.is_refusal());
    let source = std::slice::from_ref(&source);
    let Some(file) = parsed.tracing else {
        let refused: Vec<_> = refused.into_iter().map(documents::value).collect();
        return Err(Failure::new(documents::show(&refused, source, output)?));
    };
    for warning in warned {
        tracing::warn!("{}", documents::one_line(&documents::value(warning), source));
    }
    Ok(OwnTraces { file, environment: environment::all() })
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
