//! The agent as a whole: what it is given, how its parts start, and how they stop.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use prost::Message as _;
use serde_json::Map;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use url::Url;
use ursa_envoy::abilities::{Abilities, Module};
use ursa_envoy::bootstrap::{BootstrapInputs, bootstrap};
use ursa_metrics::{Limits, Registry};
use ursa_model::ProxyId;

use crate::admin::Admin;
use crate::binary::{self, VersionError};
use crate::identity::{self, IdentityStatus};
use crate::metrics::Gather;
use crate::module;
use crate::own_metrics::OwnMetrics;
use crate::process::{EnvoyCommand, EnvoyStatus, Supervisor, reopen_logs};
use crate::relay::{self, EVENTS, Ports};
use crate::sampled::own_decision;
use crate::status::Status;
use crate::telemetry::{Telemetry, TelemetryError};
use crate::upstream::{Answers, ConnectionStatus, Target, TokenSource, Upstream};
use crate::{ads, status};

/// Most bytes of a Unix socket's path (`sun_path` of Linux, less the end mark).
const MAX_SOCKET_PATH: usize = 107;
/// How long telemetry that waits may take to leave at the end.
const FLUSH: Duration = Duration::from_secs(5);
/// Where queues lie in the data directory.
const QUEUES: &str = "queues";
/// How often [`Running::ready`] looks.
const LOOK: Duration = Duration::from_millis(20);

/// Everything an agent is told at its start. It reads no environment of its own.
#[derive(Debug, Clone)]
pub struct Config {
    /// Which proxy this is.
    pub id: ProxyId,
    /// Zone the proxy runs in, if known. Envoy: `node.locality.zone`.
    pub zone: Option<String>,
    /// The control plane's port for proxies, `https://host[:5678]`.
    pub control_plane: Url,
    /// What the agent proves with who it is.
    pub token: TokenSource,
    /// The Envoy to run; see [`binary::find`].
    pub envoy: PathBuf,
    /// Whether Envoy shall load the module, by which trace context travels in more formats than its tracers know.
    pub module: bool,
    /// Worker threads of Envoy.
    pub concurrency: u32,
    /// Envoy's `--log-level`: `trace`, `debug`, `info`, `warning`, `error`, `critical`, `off`.
    pub envoy_log_level: String,
    /// Where sockets and Envoy's bootstrap are put; made if it is not there. A short path: Linux
    /// allows 107 bytes for a socket's.
    pub work_dir: PathBuf,
    /// Where telemetry waits for backends, made if it is not there. It belongs to this proxy alone
    /// and outlives the agent, so that what waits is delivered after a restart. None: it waits in
    /// memory.
    pub data_dir: Option<PathBuf>,
    /// Where `/ready`, `/metrics` and `/status` are served; loopback, since it has no access control.
    pub status: SocketAddr,
    /// The program `ursa`: `ursa exec-tied` keeps Envoy from outliving the agent.
    pub shim: PathBuf,
    /// What `${NAME}` and `{{env.NAME}}` may refer to, and `OTEL_*`.
    pub environment: BTreeMap<String, String>,
    /// How long requests may go on when the agent stops. Some seconds: somebody waits.
    pub drain: Duration,
    /// How long connections may go on whose listener was changed. They are asked to close at their next response, so it
    /// is for requests and WebSockets that last. Envoy: `--drain-time-s`.
    pub listener_drain: Duration,
}

/// Why an agent could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address of the control plane is not one.
    #[error("{url} is not the address of a control plane; it looks like https://host:5678")]
    ControlPlane {
        /// What was given.
        url: Url,
    },
    /// The status server would be open to others.
    #[error("the status address {address} is not on loopback; it has no access control")]
    StatusAddress {
        /// What was given.
        address: SocketAddr,
    },
    /// The path of a socket would be longer than the system allows.
    #[error(
        "the socket's path {path} has {length} bytes, and the system allows {MAX_SOCKET_PATH}; \
         choose a shorter work directory",
        path = path.display(),
        length = path.as_os_str().len()
    )]
    SocketPath {
        /// The socket.
        path: PathBuf,
    },
    /// The work directory belongs to an agent that runs.
    #[error("another agent runs in {dir}", dir = dir.display())]
    Occupied {
        /// The work directory.
        dir: PathBuf,
    },
    /// A file or socket could not be made.
    #[error("make {what}")]
    Make {
        /// A path.
        what: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The port of `/ready`, `/status` and `/metrics` cannot be had.
    #[error("listen on {address} for /ready, /status and /metrics")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Envoy cannot be run.
    #[error(transparent)]
    Envoy(#[from] VersionError),
    /// The pipeline could not be started.
    #[error("start the telemetry pipeline")]
    Telemetry(#[from] TelemetryError),
}

/// The agent; see [`Agent::start`].
#[derive(Debug)]
pub struct Agent;

/// An agent that runs. Dropping it ends everything at once, Envoy by SIGKILL; see
/// [`Running::shutdown`] for the gentle way.
#[derive(Debug)]
pub struct Running {
    files: Files,
    address: SocketAddr,
    status: Status,
    stop_envoy: CancellationToken,
    envoy: JoinSet<()>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
    telemetry: Telemetry,
    _lock: File,
}

impl Agent {
    /// Starts Envoy and all that it needs. Returns when everything listens; Envoy and the control
    /// plane may still be on their way, see [`Running::ready`].
    ///
    /// # Errors
    /// When something cannot be started that waiting does not mend. A control plane that is not
    /// there, or refuses the token, is none of these: it is tried again and again.
    pub async fn start(config: Config) -> Result<Running, StartError> {
        let target = Target::parse(&config.control_plane);
        let target =
            target.ok_or_else(|| StartError::ControlPlane { url: config.control_plane.clone() })?;
        if !config.status.ip().is_loopback() {
            return Err(StartError::StatusAddress { address: config.status });
        }
        let files = Files::new(&config.work_dir)?;
        let lock = files.occupy()?;
        let version = binary::version(&config.envoy).await?;
        let registry = Registry::new(&[
            ("mesh", &config.id.mesh),
            ("zone", config.zone.as_deref().unwrap_or_default()),
            ("dataplane", &config.id.name),
        ]);
        let module = module::provide(&files.dir, &config.envoy, version, config.module).await;
        // Without the module, Zipkin's tracer may be wanted, which follows callers in every version.
        let follows_callers = version.follows_callers() || module.path().is_none();
        let undecided = follows_callers.then(own_decision);
        let telemetry = Telemetry::start(
            &files.otlp,
            config.environment.clone(),
            process_attributes(&config.envoy, &version.to_string()),
            config.data_dir.map(|dir| dir.join(QUEUES)),
            undecided,
            &registry,
        )
        .await?;
        let version = version.to_string();
        let node = node_metadata(&version, &module);
        let bootstrap = bootstrap(&BootstrapInputs {
            id: &config.id,
            // Services belong to inbounds, which the control plane knows.
            cluster: &config.id.name,
            zone: config.zone.as_deref(),
            ads_socket: &files.ads,
            otlp_socket: &files.otlp,
            admin_socket: &files.admin,
            memory: Limits::own().map(|limits| limits.whole_bytes()),
            metadata: &node,
        });
        files.write_bootstrap(&bootstrap.encode_to_vec())?;

        let admin = Admin { socket: files.admin.clone() };
        let (envoy_state, envoy_status) = watch::channel(EnvoyStatus::default());
        let own = OwnMetrics::new(registry.clone(), admin.clone(), envoy_status.clone(), &version);
        let (own, observed) = (Arc::new(own), Arc::clone(telemetry.observed()));
        let gather = Gather::new(admin.clone(), Arc::clone(&own), registry.clone(), observed);
        telemetry.gather(gather, &config.environment).await;
        let listener = made(ads::bind(&files.ads), &files.ads)?;
        let make = |source| StartError::Listen { address: config.status, source };
        let status_listener = TcpListener::bind(config.status).await.map_err(make)?;
        let address = status_listener.local_addr().map_err(make)?;

        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let (control_plane_events, control_plane) = mpsc::channel(EVENTS);
        let (envoy_events, envoy_requests) = mpsc::channel(EVENTS);
        let (identity, identity_end) = identity::port();
        let ports = Ports {
            node: bootstrap.node.unwrap_or_default(),
            control_plane,
            envoy: envoy_requests,
            telemetry: telemetry.clone(),
            identity,
            registry: registry.clone(),
        };
        let (relay, relaying) = relay::run(ports, stop.clone());
        tasks.spawn(relaying);
        tasks.spawn(ads::serve(listener, envoy_events, stop.clone()));
        let (connection, connection_status) = watch::channel(ConnectionStatus::default());
        let (callers, caller) = watch::channel(None);
        let upstream = Upstream {
            target,
            id: config.id.clone(),
            token: config.token,
            events: control_plane_events,
            status: connection,
            callers,
            registry: registry.clone(),
            answers: Answers { telemetry: telemetry.clone(), admin: admin.clone() },
        };
        tasks.spawn(upstream.run(stop.clone()));
        let (identity, identity_status) = watch::channel(IdentityStatus::default());
        let identity = identity::Task {
            end: identity_end,
            caller,
            status: identity,
            admin: admin.clone(),
            registry: registry.clone(),
        };
        tasks.spawn(identity.run(stop.clone()));

        let command = EnvoyCommand {
            shim: config.shim,
            envoy: config.envoy,
            bootstrap: files.bootstrap.clone(),
            concurrency: config.concurrency,
            log_level: config.envoy_log_level,
            drain: config.drain,
            listener_drain: config.listener_drain,
        };
        let supervisor = Supervisor::new(command, admin.clone(), envoy_state, registry.clone());
        let supervisor = made(supervisor, Path::new("a thread"))?;
        let stop_envoy = CancellationToken::new();
        let mut envoy = JoinSet::new();
        envoy.spawn(supervisor.run(stop_envoy.clone()));

        let status = Status::new(
            config.id,
            config.control_plane,
            Abilities { envoy: Some(version), module },
            admin,
            relay,
            telemetry.clone(),
            (envoy_status, connection_status, identity_status),
            own,
        );
        tasks.spawn(status::serve(status_listener, status.clone(), stop.clone()));
        Ok(Running {
            files,
            address,
            status,
            stop_envoy,
            envoy,
            stop,
            tasks,
            telemetry,
            _lock: lock,
        })
    }
}

impl Running {
    /// Where `/ready`, `/metrics` and `/status` are served.
    pub fn status_address(&self) -> SocketAddr {
        self.address
    }

    /// State of Envoy's process.
    pub fn envoy(&self) -> EnvoyStatus {
        self.status.envoy()
    }

    /// Waits until Envoy is live with a configuration from the control plane.
    pub async fn ready(&self) {
        while !self.status.is_ready().await {
            sleep(LOOK).await;
        }
    }

    /// Waits until the token was refused before there ever was a connection, and returns in which words. The agent goes on
    /// trying, for a token that is put in the place of the other; whoever thinks that nobody will stops it.
    pub async fn refused_at_start(&self) -> String {
        self.status.refused_at_start().await
    }

    /// Passes the signal that asks for log files to be opened anew (SIGUSR1) on to Envoy.
    ///
    /// # Errors
    /// When the system does not allow it.
    pub fn reopen_logs(&self) -> io::Result<()> {
        reopen_logs(&self.envoy())
    }

    /// Stops: lets Envoy finish its requests (within [`Config::drain`]), ends it, sends the telemetry
    /// that waits (within some seconds), and removes the sockets.
    pub async fn shutdown(self) {
        let Self { files, stop_envoy, envoy, stop, mut tasks, telemetry, .. } = self;
        telemetry.end_metrics().await;
        stop_envoy.cancel();
        envoy.join_all().await;
        telemetry.shutdown(FLUSH).await;
        stop.cancel();
        let ended = timeout(FLUSH, async { while tasks.join_next().await.is_some() {} });
        if ended.await.is_err() {
            tracing::warn!("some connections did not end in time; they are cut");
            tasks.shutdown().await;
        }
        files.remove();
    }
}

/// What an agent makes in its work directory.
#[derive(Debug)]
struct Files {
    dir: PathBuf,
    bootstrap: PathBuf,
    ads: PathBuf,
    otlp: PathBuf,
    admin: PathBuf,
}

impl Files {
    /// Names them, and makes the directory, open to nobody else.
    fn new(dir: &Path) -> Result<Self, StartError> {
        let made_dir = DirBuilder::new().recursive(true).mode(0o700).create(dir);
        made(made_dir, dir)?;
        let dir = made(dir.canonicalize(), dir)?;
        let at = |name: &str| dir.join(name);
        let (ads, otlp, admin) = (at("ads.sock"), at("otlp.sock"), at("admin.sock"));
        let too_long = [&admin, &otlp, &ads];
        let too_long = too_long.into_iter().find(|path| path.as_os_str().len() > MAX_SOCKET_PATH);
        if let Some(path) = too_long {
            return Err(StartError::SocketPath { path: path.clone() });
        }
        Ok(Self { bootstrap: at("bootstrap.pb"), ads, otlp, admin, dir })
    }

    /// Takes the directory for this agent alone, for as long as the file is open.
    fn occupy(&self) -> Result<File, StartError> {
        let path = self.dir.join("lock");
        let lock = made(File::create(&path), &path)?;
        match lock.try_lock() {
            Ok(()) => Ok(lock),
            Err(TryLockError::WouldBlock) => Err(StartError::Occupied { dir: self.dir.clone() }),
            Err(TryLockError::Error(error)) => made(Err(error), &path),
        }
    }

    /// Binary, which Envoy knows by the name's ending: as JSON it would cost each agent the descriptors of all
    /// messages, some 4 MB.
    fn write_bootstrap(&self, bootstrap: &[u8]) -> Result<(), StartError> {
        let mut options = fs::OpenOptions::new();
        let options = options.create(true).write(true).truncate(true).mode(0o600);
        let mut file = made(options.open(&self.bootstrap), &self.bootstrap)?;
        made(file.write_all(bootstrap), &self.bootstrap)
    }

    fn remove(&self) {
        module::remove(&self.dir, |_| true);
        for path in [&self.bootstrap, &self.ads, &self.otlp, &self.admin] {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(path = %path.display(), %error, "could not be removed");
                }
                _ => {}
            }
        }
    }
}

fn made<T>(result: io::Result<T>, path: &Path) -> Result<T, StartError> {
    result.map_err(|source| StartError::Make { what: path.display().to_string(), source })
}

/// What the control plane is told of this proxy's abilities.
fn node_metadata(version: &str, module: &Module) -> Map<String, serde_json::Value> {
    let said = [
        ("agentVersion", Some(env!("CARGO_PKG_VERSION"))),
        ("envoyVersion", Some(version)),
        ("module", module.path()),
        ("moduleProblem", module.problem()),
    ];
    said.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.into()))).collect()
}

/// What resources say of Envoy's process, by the conventions' registry of `process`. Not its id: it
/// changes when Envoy is started anew, and the resource would be another one then.
fn process_attributes(envoy: &Path, version: &str) -> BTreeMap<String, String> {
    let name = envoy.file_name().map(|name| name.to_string_lossy().into_owned());
    let attributes = [
        ("process.executable.name", name),
        ("process.executable.path", Some(envoy.to_string_lossy().into_owned())),
        ("process.runtime.name", Some("envoy".to_owned())),
        ("process.runtime.version", Some(version.to_owned())),
    ];
    attributes.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_work_directory_is_short_enough_and_belongs_to_one_agent() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::new(&dir.path().join("a/b")).unwrap();
        let lock = files.occupy().unwrap();
        let words = files.occupy().unwrap_err().to_string();
        assert!(words.starts_with("another agent runs in /"), "{words}");
        // Closing it would not do: a program that another test starts has the file until it runs.
        lock.unlock().unwrap();
        files.occupy().unwrap();

        let words = Files::new(&dir.path().join("x".repeat(100))).unwrap_err().to_string();
        assert!(words.contains("and the system allows 107; choose a shorter"), "{words}");
    }
}
