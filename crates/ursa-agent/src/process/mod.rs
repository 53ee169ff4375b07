//! Envoy as a process: started, watched, started again, drained and stopped.

mod log;
mod spawner;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use std::{fs, io};

use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use ursa_envoy::bootstrap::FLUSH_INTERVAL_MS;
use ursa_metrics::{Registry, agent};

use crate::admin::Admin;
use crate::backoff::Backoff;
use crate::causes::Causes;
use spawner::Spawner;

const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(15);
/// How long Envoy may take to end after SIGTERM before it is killed.
const LAST_PATIENCE: Duration = Duration::from_secs(5);
/// How long the last words of an Envoy that has ended are waited for: what it started may hold its
/// output open.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How often a draining Envoy is asked whether it still has work.
const LOOK: Duration = Duration::from_millis(50);
/// The tracer's flush interval and a bit: what waits in it has left for the agent by then.
const FLUSHED: Duration = Duration::from_millis(FLUSH_INTERVAL_MS as u64 + 150);
/// What asks Envoy to open its log files anew.
const REOPEN_LOGS: Signal = Signal::USR1;

/// State of Envoy's process, for people.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EnvoyStatus {
    /// Its process, while one runs.
    pub pid: Option<u32>,
    /// How often it ended unasked and was started again.
    pub restarts: u64,
    /// How the last one ended, if it did so unasked.
    pub last_end: Option<String>,
}

/// The command line.
#[derive(Debug, Clone)]
pub(crate) struct EnvoyCommand {
    /// The program `ursa`, whose command `exec-tied` ties Envoy's life to ours.
    pub(crate) shim: PathBuf,
    pub(crate) envoy: PathBuf,
    pub(crate) bootstrap: PathBuf,
    /// Worker threads.
    pub(crate) concurrency: u32,
    /// Envoy's `--log-level`.
    pub(crate) log_level: String,
    /// How long requests may go on at the end.
    pub(crate) drain: Duration,
    /// How long connections of changed listeners may go on.
    pub(crate) listener_drain: Duration,
}

impl EnvoyCommand {
    fn command(&self) -> Command {
        let mut command = Command::new(&self.shim);
        command.arg("exec-tied").arg("--parent").arg(std::process::id().to_string()).arg("--");
        command.arg(&self.envoy).args(self.arguments());
        // Its own group: a Ctrl-C in the terminal reaches the agent alone, which drains first.
        command.process_group(0).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn arguments(&self) -> Vec<OsString> {
        let drain = self.listener_drain.as_secs().max(1).to_string();
        let mut arguments: Vec<OsString> =
            vec!["--config-path".into(), self.bootstrap.clone().into()];
        let rest = ["--disable-hot-restart", "--log-format", log::FORMAT, "--log-level"];
        arguments.extend(rest.map(OsString::from));
        arguments.push(self.log_level.clone().into());
        // Connections on a listener that was changed are asked to close at their next response.
        let drain = ["--drain-time-s", &drain, "--drain-strategy", "immediate"];
        arguments.extend(drain.map(OsString::from));
        arguments.extend(["--concurrency".into(), self.concurrency.to_string().into()]);
        arguments
    }
}

/// Keeps one Envoy running.
#[derive(Debug)]
pub(crate) struct Supervisor {
    command: EnvoyCommand,
    admin: Admin,
    spawner: Spawner,
    status: watch::Sender<EnvoyStatus>,
    registry: Registry,
}

/// Passes the signal that asks Envoy to open its log files anew on to it.
pub(crate) fn reopen_logs(status: &EnvoyStatus) -> io::Result<()> {
    match status.pid.and_then(process) {
        Some(pid) => Ok(kill_process(pid, REOPEN_LOGS)?),
        None => Ok(()),
    }
}

fn process(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}

impl Supervisor {
    /// Makes ready; [`Supervisor::run`] starts Envoy.
    pub(crate) fn new(
        command: EnvoyCommand,
        admin: Admin,
        status: watch::Sender<EnvoyStatus>,
        registry: Registry,
    ) -> io::Result<Self> {
        Ok(Self { command, admin, spawner: Spawner::start()?, status, registry })
    }

    /// Starts Envoy, and again whenever it ends; drains and stops it at `stop`.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let restarts = self.registry.counter(&agent::ENVOY_RESTARTS).with(&[]);
        let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
        while !stop.is_cancelled() {
            let started = Instant::now();
            let mut logs = JoinSet::new();
            let end = match self.start(&mut logs).await {
                Ok(mut child) => tokio::select! {
                    end = child.wait() => end.map_or_else(|error| error.to_string(), words),
                    () = stop.cancelled() => {
                        self.stop(&mut child).await;
                        self.status.send_modify(|status| status.pid = None);
                        finish(logs).await;
                        return;
                    }
                },
                Err(error) => format!("it could not be started: {}", Causes(&error)),
            };
            self.status.send_modify(|status| status.pid = None);
            finish(logs).await;
            backoff.lasted(started.elapsed());
            let wait = backoff.wait(fastrand::f64());
            tracing::error!(end, ?wait, "Envoy ended; it is started again");
            restarts.inc();
            self.status.send_modify(|status| {
                status.restarts += 1;
                status.last_end = Some(end);
            });
            stop.run_until_cancelled(sleep(wait)).await;
        }
    }

    async fn start(&self, logs: &mut JoinSet<()>) -> io::Result<Child> {
        match fs::remove_file(&self.admin.socket) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut child = self.spawner.spawn(self.command.command()).await?;
        let pid = child.id();
        tracing::info!(pid, "Envoy started");
        if let Some(output) = child.stderr.take() {
            logs.spawn(log::retell(output));
        }
        if let Some(output) = child.stdout.take() {
            logs.spawn(log::retell(output));
        }
        self.status.send_modify(|status| status.pid = pid);
        Ok(child)
    }

    /// Lets Envoy finish what it has, then ends it.
    async fn stop(&self, child: &mut Child) {
        tokio::select! {
            () = self.drain() => {}
            _end = child.wait() => return,
        }
        if let Some(pid) = child.id().and_then(process)
            && let Err(error) = kill_process(pid, Signal::TERM)
        {
            tracing::warn!(%error, "Envoy could not be asked to stop");
        }
        if timeout(LAST_PATIENCE, child.wait()).await.is_err() {
            tracing::warn!("Envoy did not stop when asked; it is killed");
            if let Err(error) = child.kill().await {
                tracing::error!(%error, "Envoy could not be killed");
            }
        }
    }

    /// Asks callers to go elsewhere and waits (within the drain time) until no request has come for
    /// as long as spans need to leave.
    async fn drain(&self) {
        let asked = async {
            self.admin.post("/healthcheck/fail").await?;
            self.admin.post("/drain_listeners?graceful").await
        };
        if let Err(error) = asked.await {
            tracing::debug!(error = %Causes(&error), "Envoy has nothing to drain");
            return;
        }
        let tracers = self.admin.stats("^tracing\\..*timer_flushed$").await;
        let pause = if tracers.is_ok_and(|found| !found.is_empty()) { FLUSHED } else { LOOK };
        let quiet = async {
            let mut before = None;
            // One on a kept connection may come while spans of those before leave.
            while let Some(now) = self.requests().await {
                match now {
                    Requests { active: 0, .. } if before == Some(now) => return,
                    Requests { active: 0, .. } => sleep(pause).await,
                    _ => sleep(LOOK).await,
                }
                before = Some(now);
            }
        };
        if timeout(self.command.drain, quiet).await.is_err() {
            tracing::warn!("requests still came or went on at the end of the drain time");
            sleep(pause).await;
        }
    }

    /// Envoy's requests, except those to its admin interface.
    async fn requests(&self) -> Option<Requests> {
        let stats = self.admin.stats("^http\\..*downstream_rq_(active|total)$").await.ok()?;
        let stats = stats.iter().filter(|(name, _)| !name.starts_with("http.admin."));
        let mut requests = Requests::default();
        for (name, count) in stats {
            let sum =
                if name.ends_with("active") { &mut requests.active } else { &mut requests.total };
            *sum = sum.saturating_add(*count);
        }
        Some(requests)
    }
}

/// Requests of one Envoy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Requests {
    /// Taken and not answered.
    active: u64,
    /// All there were.
    total: u64,
}

/// Waits for what is still to be told of an Envoy that has ended.
async fn finish(mut logs: JoinSet<()>) {
    let all = async { while logs.join_next().await.is_some() {} };
    if timeout(LAST_WORDS, all).await.is_err() {
        tracing::debug!("the output of an Envoy that has ended is still open");
    }
}

fn words(status: ExitStatus) -> String {
    status.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envoy_command(shim: &str) -> EnvoyCommand {
        EnvoyCommand {
            shim: shim.into(),
            envoy: "/bin/envoy".into(),
            bootstrap: "/w/bootstrap.pb".into(),
            concurrency: 1,
            log_level: "warning".to_owned(),
            drain: Duration::from_secs(5),
            listener_drain: Duration::from_mins(1),
        }
    }

    fn supervisor(shim: &str, socket: PathBuf) -> (Supervisor, watch::Receiver<EnvoyStatus>) {
        let (state, status) = watch::channel(EnvoyStatus::default());
        let (command, admin) = (envoy_command(shim), Admin { socket });
        (Supervisor::new(command, admin, state, Registry::new(&[])).unwrap(), status)
    }

    #[tokio::test]
    async fn an_end_is_seen_although_the_output_stays_open() {
        let dir = tempfile::tempdir().unwrap();
        let shim = dir.path().join("shim");
        // Another process writes it: one that a test of another thread starts must not hold it open.
        let write = r#"printf '#!/bin/sh\nsleep 5 &\nexit 7\n' > "$1"; chmod 755 "$1""#;
        let mut shell = std::process::Command::new("sh");
        assert!(shell.args(["-c", write, "sh"]).arg(&shim).status().unwrap().success());
        let (supervisor, mut status) =
            supervisor(shim.to_str().unwrap(), dir.path().join("admin.sock"));
        let stop = CancellationToken::new();
        let mut running = JoinSet::new();
        running.spawn(supervisor.run(stop.clone()));
        let ended = status.wait_for(|status| status.restarts > 0);
        let ended = timeout(Duration::from_secs(4), ended).await.unwrap().unwrap().clone();
        assert_eq!(ended.last_end.as_deref(), Some("exit status: 7"));
        stop.cancel();
        running.join_all().await;
    }

    #[tokio::test]
    async fn draining_goes_on_while_requests_come() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("admin.sock");
        // Active and all: one comes while the spans of the first leave.
        let script = std::sync::Mutex::new(vec![(0, 2), (0, 2), (1, 2), (0, 1)]);
        let script = std::sync::Arc::new(script);
        let left = std::sync::Arc::clone(&script);
        let stats = move || async move {
            let (active, total) = script.lock().unwrap().pop().unwrap();
            format!("http.a.downstream_rq_active: {active}\nhttp.a.downstream_rq_total: {total}\n")
        };
        let router = axum::Router::new()
            .route("/stats", axum::routing::get(stats))
            .fallback(async || "OK\n");
        let listener = tokio::net::UnixListener::bind(&socket).unwrap();
        let mut admin = JoinSet::new();
        admin.spawn(async move { axum::serve(listener, router).await.unwrap() });
        let (supervisor, _status) = supervisor("/bin/true", socket);
        supervisor.drain().await;
        assert!(left.lock().unwrap().is_empty());
    }

    #[test]
    fn the_command_line() {
        let command = envoy_command("/bin/ursa").command();
        let arguments: Vec<_> =
            command.as_std().get_args().map(|argument| argument.to_string_lossy()).collect();
        let expected = format!(
            "exec-tied --parent {} -- /bin/envoy --config-path /w/bootstrap.pb \
             --disable-hot-restart --log-format %l\t%n\t%_ --log-level warning \
             --drain-time-s 60 --drain-strategy immediate --concurrency 1",
            std::process::id()
        );
        assert_eq!(arguments.join(" "), expected);
    }
}
