//! `ursa gateway`: a pipeline that runs alone.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};
use ursa_gateway::{Config, FileWatch, Gateway, OpenError, StartError};
use ursa_model::gateway::{self, GatewayFile};

use super::cp::Signals;
use crate::documents::{self, Source};
use crate::failure::{Doing as _, Failure, Outcome};
use crate::output::{Form, Output};
use crate::{environment, logging};

/// The most worker threads that are taken without being asked for.
const MAX_THREADS: usize = 4;
/// Where queues lie when neither the file nor the environment says so.
const STORAGE: &str = "ursa-gateway";

/// Run a telemetry gateway: receive, change, keep and deliver as one file says.
///
/// The file is read again when it changes, and on SIGHUP. A file with a mistake changes nothing.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ursa gateway -f gateway.yaml
  ursa gateway -f gateway.yaml --check          say what is wrong in the file, and end
  ursa telemetry status --from http://127.0.0.1:5677

A file that relays OTLP to a collector:
  receivers:
    - otlpGrpc: {listen: \"127.0.0.1:4317\"}
  exporters:
    - openTelemetry: {endpoint: \"collector:4317\"}")]
pub(crate) struct Arguments {
    /// The gateway file.
    #[arg(short = 'f', long = "filename", value_name = "FILE")]
    filename: PathBuf,
    /// Only check the file. Exit code 0: valid; 1: violations; 2: unreadable.
    #[arg(long)]
    check: bool,
    /// The form of --check's result.
    #[arg(short, long, value_enum, default_value_t, requires = "check")]
    output: Form,
    /// Worker threads [default: one per core, at most 4]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: Option<u16>,
    /// How long what waits is still sent when the gateway stops; what lies on disk is kept.
    #[arg(long, default_value_t = 5, value_name = "SECONDS")]
    drain_seconds: u64,
    /// How much is logged; $RUST_LOG says it part by part.
    #[arg(long, default_value = "info", value_name = "LEVEL", value_parser = logging::LEVELS)]
    log_level: String,
}

impl Arguments {
    /// Worker threads.
    pub(super) fn workers(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, |n| n.get().min(MAX_THREADS));
        self.threads.map_or_else(cores, usize::from)
    }
}

pub(super) async fn run(arguments: Arguments, output: Output) -> Outcome {
    let (source, parsed) = read(&arguments.filename)?;
    if arguments.check {
        return check(&source, &parsed, arguments.output, output);
    }
    let (refused, warned) = split(&parsed);
    let Some(file) = parsed.gateway else {
        return Err(Failure::new(documents::show(&refused, &[source], output)?));
    };
    logging::start(&arguments.log_level);
    warn_of(&warned, &source);
    let mut signals = Signals::new()?;
    let mut hangup = signal(SignalKind::hangup()).doing("listen for SIGHUP")?;
    let mut watch = FileWatch::new(&arguments.filename);
    let running = start(file).await?;
    tracing::info!(status = %running.status_address(), "gateway is ready");
    loop {
        tokio::select! {
            () = signals.stop() => break,
            _ = hangup.recv() => {}
            () = watch.changed() => {}
        }
        reload(&running, &arguments.filename).await;
    }
    tracing::info!("stopping");
    let lost = running.shutdown(Duration::from_secs(arguments.drain_seconds)).await;
    if lost > 0 {
        tracing::warn!(lost, "telemetry could not be delivered before the end");
    }
    Ok(ExitCode::SUCCESS)
}

async fn start(file: GatewayFile) -> Outcome<Gateway> {
    let storage =
        environment::get("STATE_DIRECTORY").map_or_else(|| PathBuf::from(STORAGE), PathBuf::from);
    let config = Config { file, storage, environment: environment::all() };
    Gateway::start(config).await.map_err(|error| {
        let failure = Failure::because("cannot start the gateway", &error);
        match error {
            StartError::Status { .. } => failure.help(
                "another gateway or an agent may run here: give this one its own address with `status: 127.0.0.1:PORT` in the file",
            ),
            StartError::Storage { .. } => failure.help(
                "say where its own queues may lie with `storage:` in the file; `storage: memory` keeps nothing over a restart",
            ),
            StartError::Receiver(OpenError::Bind { source: error, .. }) => match error.source.kind() {
                ErrorKind::AddrInUse => failure.help(
                    "another program listens there: give the receiver another `listen` in the file",
                ),
                _ => failure,
            },
            StartError::Receiver(OpenError::Token { .. }) => {
                failure.help("set the variable, or make the file, that `auth.bearerToken` names")
            }
        }
    })
}

/// Puts the file as it is now in place of the one before, or says why not.
async fn reload(running: &Gateway, path: &Path) {
    let (source, parsed) = match read(path) {
        Ok(read) => read,
        Err(failure) => {
            running.count_reload(false);
            tracing::error!("{}; the gateway goes on as before", failure.message());
            return;
        }
    };
    let (refused, warned) = split(&parsed);
    let Some(file) = parsed.gateway else {
        running.count_reload(false);
        for violation in &refused {
            tracing::error!("{}", documents::one_line(violation, std::slice::from_ref(&source)));
        }
        tracing::error!(file = %source.name, "the file is refused; the gateway goes on as before");
        return;
    };
    warn_of(&warned, &source);
    match running.reload(file).await {
        Ok(reloaded) => {
            for field in reloaded.later {
                tracing::warn!(field, "takes effect when the gateway is started again");
            }
            tracing::info!(file = %source.name, "the file is in effect");
        }
        Err(error) => {
            let failure = Failure::because("the file is refused", &error);
            tracing::error!("{}; the gateway goes on as before", failure.message());
        }
    }
}

fn read(path: &Path) -> Outcome<(Source, gateway::Parsed)> {
    let mut sources = documents::read(&[path.to_owned()])?;
    match (sources.pop(), sources.is_empty()) {
        (Some(source), true) => {
            let parsed = gateway::parse(&source.text);
            Ok((source, parsed))
        }
        _ => Err(Failure::unreadable(format!("{} is a folder", path.display()))
            .help("a gateway reads one file")),
    }
}

/// What is refused, and what is warned of.
fn split(parsed: &gateway::Parsed) -> (Vec<Value>, Vec<Value>) {
    let (refused, warned): (Vec<_>, Vec<_>) =
        parsed.violations.iter().partition(|violation| violation.is_refusal());
    let values = |violations: Vec<_>| violations.into_iter().map(documents::value).collect();
    (values(refused), values(warned))
}

fn warn_of(warned: &[Value], source: &Source) {
    for warning in warned {
        tracing::warn!("{}", documents::one_line(warning, std::slice::from_ref(source)));
    }
}

fn check(source: &Source, parsed: &gateway::Parsed, form: Form, output: Output) -> Outcome {
    let (mut violations, mut warnings) = split(parsed);
    let sources = std::slice::from_ref(source);
    if form != Form::Table {
        documents::name_files(&mut violations, sources);
        documents::name_files(&mut warnings, sources);
        output.structured(form, &json!({"violations": violations, "warnings": warnings}))?;
        return Ok(if violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    for warning in &warnings {
        output.warning(&documents::one_line(warning, sources));
    }
    if violations.is_empty() {
        output.result(&format!("gateway {} valid", source.name))?;
        return Ok(ExitCode::SUCCESS);
    }
    Err(Failure::new(documents::show(&violations, sources, output)?))
}
