//! `ursa dp`: the agent and Envoy beside one proxy.

use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use url::Url;
use ursa_agent::upstream::{TokenSource, check_token};
use ursa_agent::{Agent, Config, StartError};
use ursa_model::{ProxyId, SecretText};

use super::cp::Signals;
use crate::failure::{Doing as _, Failure, Outcome};
use crate::output::Output;
use crate::{directories, environment, logging};

/// Where services keep their data (Filesystem Hierarchy Standard).
const SYSTEM_DATA: &str = "/var/lib/ursa";

/// Run a data plane proxy: Envoy with its agent.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ursa token dataplane --name frontend --out frontend.token
  ursa dp --name frontend --token-file frontend.token
  ursa dp --name frontend --token-file frontend.token --cp https://10.0.0.5:5678")]
pub(crate) struct Arguments {
    /// The Dataplane's name.
    #[arg(long)]
    name: String,
    /// The mesh.
    #[arg(short, long, default_value = "default")]
    mesh: String,
    /// The control plane's port for proxies.
    #[arg(long, env = "URSA_CP", default_value = "https://127.0.0.1:5678", value_name = "URL", value_parser = https_address)]
    cp: Url,
    /// A file with the proxy's token (`ursa token dataplane`). Read again at each connection.
    #[arg(long, env = "URSA_DP_TOKEN_FILE", value_name = "FILE")]
    token_file: PathBuf,
    /// Envoy's program; otherwise $URSA_ENVOY, PATH, or a fetched one.
    #[arg(long, value_name = "PATH")]
    envoy: Option<PathBuf>,
    /// Keep to Envoy's own tracers: load no module into it. Formats of trace context and rules for baggage are lost thereby;
    /// `ursa inspect proxy` says which.
    #[arg(long)]
    no_module: bool,
    /// Envoy's worker threads.
    #[arg(long, default_value_t = 1, value_name = "N")]
    concurrency: u32,
    /// Where sockets live; a short path [default: a new folder below the system's temporary one]
    #[arg(long, value_name = "DIR")]
    work_dir: Option<PathBuf>,
    /// Where telemetry waits while a backend is away, and is found again after a restart [default:
    /// /var/lib/ursa/MESH.NAME if it can be made, else $XDG_STATE_HOME/ursa/MESH.NAME]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Where the agent serves /ready, /status and /metrics.
    #[arg(long, default_value = "127.0.0.1:5677", value_name = "ADDRESS")]
    status: SocketAddr,
    /// The zone that the proxy runs in, as its control plane calls it.
    #[arg(long, default_value = "default", value_name = "NAME")]
    zone: String,
    /// How long requests may go on when the agent stops.
    #[arg(long, default_value_t = 5, value_name = "SECONDS")]
    drain_seconds: u64,
    /// How long WebSockets and other long requests may go on whose listener was changed by a policy.
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    listener_drain_seconds: u64,
    /// Envoy's own log level.
    #[arg(long, default_value = "warning", value_name = "LEVEL",
        value_parser = ["trace", "debug", "info", "warning", "error", "critical", "off"])]
    envoy_log_level: String,
    /// How much is logged; $RUST_LOG says it part by part.
    #[arg(long, default_value = "info", value_name = "LEVEL", value_parser = logging::LEVELS)]
    log_level: String,
}

/// `https://host:port`.
fn https_address(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).ok().filter(|url| url.scheme() == "https");
    let bare = text.trim_start_matches("http://");
    url.ok_or_else(|| format!("proxies reach a control plane over TLS, as in https://{bare}"))
}

pub(super) async fn run(arguments: Arguments, output: Output) -> Outcome {
    logging::start(&arguments.log_level);
    let id = ProxyId { mesh: arguments.mesh.clone(), name: arguments.name.clone() };
    let make_token = make_token(&id, &arguments.token_file);
    check_file(&id, &arguments.token_file).map_err(|failure| failure.help(make_token.clone()))?;
    let envoy = crate::up::envoy::find_or_fetch(arguments.envoy.as_deref(), output).await?;
    let temporary = match &arguments.work_dir {
        Some(_) => None,
        None => Some(
            tempfile::Builder::new()
                .prefix("ursa-")
                .tempdir()
                .doing("make a folder for sockets")?,
        ),
    };
    let work_dir = match (&arguments.work_dir, &temporary) {
        (Some(dir), _) => {
            std::fs::create_dir_all(dir).doing(format!("make {}", dir.display()))?;
            dir.clone()
        }
        (None, Some(temporary)) => temporary.path().to_owned(),
        (None, None) => return Err(Failure::new("no folder for sockets")),
    };
    let own = format!("{}.{}", id.mesh, id.name);
    let data_dir = match arguments.data_dir {
        Some(dir) => {
            make_private(&dir).doing(format!("make {}", dir.display()))?;
            Some(dir)
        }
        None => default_data_dir(&own),
    };
    let mut signals = Signals::new()?;
    let running = Agent::start(Config {
        id,
        control_plane: arguments.cp,
        zone: Some(arguments.zone),
        token: TokenSource::File(arguments.token_file),
        envoy: envoy.path,
        module: !arguments.no_module,
        concurrency: arguments.concurrency,
        envoy_log_level: arguments.envoy_log_level,
        work_dir,
        data_dir,
        status: arguments.status,
        shim: std::env::current_exe().doing("find this program's own path")?,
        environment: environment::all(),
        drain: Duration::from_secs(arguments.drain_seconds),
        listener_drain: Duration::from_secs(arguments.listener_drain_seconds),
    })
    .await
    .map_err(|error| {
        let failure = Failure::because("cannot start the agent", &error);
        match error {
            StartError::Listen { .. } => failure
                .help("another agent may run here: give each its own --status 127.0.0.1:PORT, or port 0 for a free one"),
            _ => failure,
        }
    })?;
    tracing::info!(address = %running.status_address(), "serving /ready, /status and /metrics");
    let mut reopen = signal(SignalKind::user_defined1()).doing("listen for SIGUSR1")?;
    let refused = loop {
        tokio::select! {
            () = signals.stop() => break None,
            words = running.refused_at_start() => break Some(words),
            // Log rotation: Envoy opens its files anew.
            _ = reopen.recv() => {
                if let Err(error) = running.reopen_logs() {
                    tracing::warn!(%error, "tell Envoy to reopen its logs");
                }
            }
        }
    };
    tracing::info!("draining");
    running.shutdown().await;
    match refused {
        None => Ok(ExitCode::SUCCESS),
        Some(words) => Err(Failure::new(words).help(make_token)),
    }
}

/// The first place that can be made. Without one, what waits is in memory, which is better than no
/// proxy.
fn default_data_dir(own: &str) -> Option<PathBuf> {
    let places = [Some(Path::new(SYSTEM_DATA).join(own)), directories::state(own).ok()];
    let made = places.into_iter().flatten().find(|dir| make_private(dir).is_ok());
    if made.is_none() {
        tracing::warn!(
            "no directory can be made for telemetry that waits, so a restart loses it; name one with --data-dir"
        );
    }
    made
}

/// A directory that nobody else reads and that can be written.
fn make_private(dir: &Path) -> std::io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    tempfile::tempfile_in(dir).map(drop)
}

/// A token that can never do is told at once, and not over and over in the log.
fn check_file(id: &ProxyId, file: &Path) -> Outcome<()> {
    let path = file.display();
    let text = std::fs::read_to_string(file).doing(format!("read the token file {path}"))?;
    check_token(&SecretText::new(text.trim()), id)
        .map_err(|error| Failure::because(format!("the token in {path} will not do"), &error))
}

/// How to make the token that is wanted.
fn make_token(id: &ProxyId, file: &Path) -> String {
    let ProxyId { mesh, name } = id;
    format!(
        "make one with `ursa token dataplane --name {name} --mesh {mesh} --out {}`",
        file.display()
    )
}
