//! The smallest program around an agent: `agent WORK_DIR CONTROL_PLANE TOKEN_FILE MESH NAME ENVOY`.
//! Like `ursa` itself, it is its own shim (`agent exec-tied …`). Tests run it as a process.

#[path = "../../ursa-cli/src/exec_tied.rs"]
mod exec_tied;

use std::error::Error;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use ursa_agent::upstream::TokenSource;
use ursa_agent::{Agent, Config};
use ursa_model::ProxyId;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let text = |at: usize| arguments.get(at).and_then(|argument| argument.to_str());
    if text(0) == Some("exec-tied") {
        let parent = text(2).ok_or("exec-tied --parent PID -- PROGRAM ARGS…")?.parse()?;
        let program = arguments.get(4).ok_or("exec-tied: no program")?;
        return Err(exec_tied::run(parent, program, arguments.get(5..).unwrap_or_default()).into());
    }
    let argument = |at: usize| text(at).ok_or("six arguments are wanted");
    let config = Config {
        id: ProxyId::new(argument(3)?, argument(4)?),
        zone: None,
        control_plane: argument(1)?.parse()?,
        token: TokenSource::File(PathBuf::from(argument(2)?)),
        envoy: PathBuf::from(argument(5)?),
        concurrency: 1,
        envoy_log_level: "warning".to_owned(),
        module: true,
        work_dir: PathBuf::from(argument(0)?),
        data_dir: None,
        status: "127.0.0.1:0".parse()?,
        shim: std::env::current_exe()?,
        environment: std::env::vars().collect(),
        drain: Duration::from_secs(5),
        listener_drain: Duration::from_secs(5),
    };
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(
        async {
            let mut terminated = signal(SignalKind::terminate())?;
            let running = Agent::start(config).await?;
            terminated.recv().await;
            running.shutdown().await;
            Ok(())
        },
    )
}
