//! A program that is measured, and what it takes.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

/// How long a program may take until it listens.
const PATIENCE: Duration = Duration::from_secs(30);
/// Linux tells CPU time in hundredths of a second, whatever the machine.
const TICKS_PER_SECOND: f64 = 100.0;

/// A running program. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    pid: u32,
    /// Its files: configuration, queue, log.
    files: TempDir,
}

/// What a program has taken so far.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    /// Seconds of CPU, of its children too.
    pub(crate) cpu: f64,
    /// The most memory it ever held, in bytes.
    pub(crate) peak: f64,
    /// The memory it holds, in bytes.
    pub(crate) resident: f64,
}

impl Process {
    /// Starts what `command` makes of a directory, and waits until it listens on all of `ports`.
    pub(crate) async fn start(
        command: impl FnOnce(&Path) -> anyhow::Result<Command>,
        ports: &[SocketAddr],
    ) -> anyhow::Result<Self> {
        let files = tempfile::tempdir()?;
        let log = std::fs::File::create(files.path().join("log"))?;
        let child = command(files.path())?
            .current_dir(files.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .context("start what is measured")?;
        let pid = child.id().context("it has ended")?;
        let mut process = Self { child, pid, files };
        let deadline = Instant::now() + PATIENCE;
        for port in ports {
            while TcpStream::connect(port).await.is_err() {
                process.lives()?;
                if Instant::now() > deadline {
                    bail!("it does not listen on {port}\n{}", process.log());
                }
                sleep(Duration::from_millis(20)).await;
            }
        }
        Ok(process)
    }

    /// What it has taken.
    pub(crate) fn usage(&mut self) -> anyhow::Result<Usage> {
        self.lives()?;
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid))?;
        // After the name, which may hold anything: utime, stime, cutime and cstime are fields 14 to 17 of all.
        let (_, fields) = stat.rsplit_once(')').context("no name in stat")?;
        let ticks: f64 = fields.split_whitespace().skip(11).take(4).map(number).sum();
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        let kib = |name| {
            status.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next())
        };
        Ok(Usage {
            cpu: ticks / TICKS_PER_SECOND,
            peak: number(kib("VmHWM:").unwrap_or_default()) * 1024.0,
            resident: number(kib("VmRSS:").unwrap_or_default()) * 1024.0,
        })
    }

    /// Ends it.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        self.child.kill().await.context("end what is measured")
    }

    /// What it logged: the end.
    pub(crate) fn log(&self) -> String {
        let log = std::fs::read(self.files.path().join("log")).unwrap_or_default();
        String::from_utf8_lossy(&log[log.len().saturating_sub(4096)..]).into_owned()
    }

    fn lives(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            Some(status) => bail!("it ended with {status}\n{}", self.log()),
            None => Ok(()),
        }
    }
}

fn number(text: &str) -> f64 {
    text.parse().unwrap_or(f64::NAN)
}

/// A port that is free now.
pub(crate) fn free() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}
