//! Processes: who started whom, what they take, on which processors, and when.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};

use crate::project::say;

/// A running process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Process(u32);

impl Process {
    /// By its id.
    pub(crate) fn new(id: u32) -> Self {
        Self(id)
    }

    /// Those that it started.
    pub(crate) fn children(self) -> Vec<Self> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.0));
        tasks
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok())
            .flat_map(|ids| {
                ids.split_whitespace().flat_map(str::parse).map(Self).collect::<Vec<_>>()
            })
            .collect()
    }

    /// The name of its program.
    pub(crate) fn name(self) -> String {
        let name = std::fs::read_to_string(format!("/proc/{}/comm", self.0)).unwrap_or_default();
        name.trim_end().to_owned()
    }

    /// Seconds of CPU that its threads have taken, as the scheduler counts them: in nanoseconds, not in ticks.
    pub(crate) fn cpu(self) -> anyhow::Result<f64> {
        self.taken_by(None)
    }

    /// The same of its threads of one name.
    pub(crate) fn cpu_of(self, threads: &str) -> anyhow::Result<f64> {
        self.taken_by(Some(threads))
    }

    fn taken_by(self, threads: Option<&str>) -> anyhow::Result<f64> {
        let mut nanoseconds = 0;
        for task in
            std::fs::read_dir(format!("/proc/{}/task", self.0)).context("find its threads")?
        {
            let read = |path: &Path, name| std::fs::read_to_string(path.join(name));
            // A thread may end while it is looked at.
            let path = task?.path();
            let (Ok(name), Ok(times)) = (read(&path, "comm"), read(&path, "schedstat")) else {
                continue;
            };
            if threads.is_some_and(|wanted| name.trim_end() != wanted) {
                continue;
            }
            let ran = times.split_whitespace().next().context("no time in schedstat")?;
            nanoseconds += ran.parse::<u64>()?;
        }
        ensure!(nanoseconds > 0, "it takes no time");
        Ok(nanoseconds as f64 / 1e9)
    }

    /// Bytes of memory that are resident.
    pub(crate) fn resident(self) -> anyhow::Result<f64> {
        self.memory("VmRSS:")
    }

    /// The most that ever were.
    pub(crate) fn peak(self) -> anyhow::Result<f64> {
        self.memory("VmHWM:")
    }

    fn memory(self, field: &str) -> anyhow::Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0))?;
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let kib = line.and_then(|line| line.split_whitespace().next());
        Ok(kib.context("it has no memory")?.parse::<f64>()? * 1024.0)
    }

    fn pin(self, processors: &str) -> bool {
        Command::new("taskset")
            .args(["--all-tasks", "--cpu-list", "--pid", processors, &self.0.to_string()])
            .stdout(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    }
}

/// Waits.
#[expect(clippy::disallowed_methods, reason = "a timetable is kept, on a thread of its own")]
pub(super) fn pause(time: Duration) {
    if !time.is_zero() {
        std::thread::sleep(time);
    }
}

/// Gives the first processor to these processes, and the others to this one and all that it has started; those that are
/// started later are where their parents are.
pub(crate) fn keep_apart(processes: &[Process]) {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let rest = format!("1-{}", processors - 1);
    let mut others = vec![Process(std::process::id())];
    let mut all = Vec::new();
    while let Some(other) = others.pop() {
        others.extend(other.children());
        all.push(other);
    }
    let apart = processors > 1
        && all.iter().all(|other| other.pin(&rest))
        && processes.iter().all(|process| process.pin("0"));
    if !apart {
        say("bench: all share the processors: there is but one, or no `taskset`");
    }
}
