//! The processes that `up` starts: this very program with other arguments, each tied to `up`'s own life.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::failure::{Doing as _, Failure, Outcome};

/// How long a process may take to end by itself.
const GRACE: Duration = Duration::from_secs(8);
/// How much of a log is shown when its process failed.
const TAIL_LINES: usize = 12;

/// Started processes, in the order of their start.
#[derive(Debug)]
pub(crate) struct Children {
    program: PathBuf,
    logs: PathBuf,
    running: Vec<Process>,
}

#[derive(Debug)]
struct Process {
    name: String,
    log: PathBuf,
    child: Child,
}

impl Children {
    /// Prepares to start processes whose logs go to `logs`.
    pub(crate) fn new(logs: &Path) -> Outcome<Self> {
        fs::create_dir_all(logs).doing(format!("make {}", logs.display()))?;
        let program = std::env::current_exe().doing("find this program's own path")?;
        Ok(Self { program, logs: logs.to_owned(), running: Vec::new() })
    }

    /// Starts `ursa` with these arguments.
    ///
    /// Must be called on a thread that lasts as long as the process: the kernel ends a tied process when the
    /// thread that started it ends.
    pub(crate) fn start(&mut self, name: &str, arguments: &[String]) -> Outcome<()> {
        let log = self.logs.join(format!("{name}.log"));
        let file = File::create(&log).doing(format!("write {}", log.display()))?;
        let output = file.try_clone().doing(format!("write {}", log.display()))?;
        let child = Command::new(&self.program)
            .args(["exec-tied", "--parent", &std::process::id().to_string(), "--"])
            .arg(&self.program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(file)
            // Ctrl-C is for `up` alone, which then stops the others in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .doing(format!("start {name}"))?;
        self.running.push(Process { name: name.to_owned(), log, child });
        Ok(())
    }

    /// Fails when a process has ended, with the end of its log.
    pub(crate) fn check(&mut self) -> Outcome<()> {
        for process in &mut self.running {
            let ended = process.child.try_wait().doing(format!("look after {}", process.name))?;
            if let Some(status) = ended {
                let tail = tail(&process.log);
                return Err(Failure::new(format!("{} ended ({status})\n{tail}", process.name))
                    .help(format!("its log is {}", process.log.display())));
            }
        }
        Ok(())
    }

    /// Names and process ids.
    pub(crate) fn ids(&self) -> Vec<(String, u32)> {
        self.running
            .iter()
            .filter_map(|process| Some((process.name.clone(), process.child.id()?)))
            .collect()
    }

    /// Stops all: those that started last first, group by group as named by `groups`' prefixes.
    pub(crate) async fn stop(mut self, groups: &[&str]) {
        for group in groups {
            let (mut now, later): (Vec<_>, Vec<_>) =
                self.running.into_iter().partition(|process| process.name.starts_with(group));
            self.running = later;
            for process in &now {
                let pid = process.child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
                if let Some(Err(error)) = pid.map(|pid| kill_process(pid, Signal::TERM)) {
                    tracing::debug!(process = %process.name, %error, "ended by itself");
                }
            }
            for process in &mut now {
                if timeout(GRACE, process.child.wait()).await.is_err() {
                    drop(process.child.kill().await);
                }
            }
        }
    }
}

/// The last lines of a log.
fn tail(path: &Path) -> String {
    let text = fs::read(path)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    let from = lines.len().saturating_sub(TAIL_LINES);
    lines.get(from..).unwrap_or_default().iter().flat_map(|line| ["  | ", line, "\n"]).collect()
}

/// A process's resident memory in bytes, and that of the processes it started.
pub(crate) fn memory(pid: u32) -> Memory {
    Memory {
        own: resident(pid),
        children: children_of(pid).into_iter().map(|child| (child, resident(child))).collect(),
    }
}

/// Resident memory, in bytes.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// The process's own.
    pub(crate) own: u64,
    /// Its children's, by process id.
    pub(crate) children: Vec<(u32, u64)>,
}

fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse::<u64>().ok())
        .map_or(0, |kib| kib * 1024)
}

fn children_of(pid: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    tasks
        .filter_map(|task| fs::read_to_string(task.path().join("children")).ok())
        .flat_map(|text| {
            text.split_whitespace().filter_map(|id| id.parse().ok()).collect::<Vec<_>>()
        })
        .collect()
}
