//! What a process uses, from Linux's `/proc` (`proc(5)`).

use std::fs;

/// What a process uses now.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usage {
    /// User and system CPU time since it started, in seconds.
    pub cpu: f64,
    /// Resident memory in bytes.
    pub resident: f64,
    /// Virtual memory in bytes.
    pub virtual_memory: f64,
    /// Threads.
    pub threads: f64,
    /// Open file descriptors.
    pub open_fds: f64,
    /// How many may be open; infinite where nothing says so.
    pub max_fds: f64,
}

impl Usage {
    /// What process `pid` uses. None where it is not there, may not be looked at, or the system is
    /// not Linux.
    pub fn of(pid: u32) -> Option<Self> {
        let file = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).ok();
        let open_fds = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count();
        let status = file("status")?;
        Some(Self {
            cpu: cpu(&file("stat")?, rustix::param::clock_ticks_per_second())?,
            resident: kilobytes(&status, "VmRSS:")? * 1024.0,
            virtual_memory: kilobytes(&status, "VmSize:")? * 1024.0,
            threads: number(&status, "Threads:")?,
            open_fds: open_fds as f64,
            max_fds: max_fds(&file("limits")?)?,
        })
    }

    /// When process `pid` started, in seconds since 1970.
    pub fn started(pid: u32) -> Option<f64> {
        let file = |path: &str| fs::read_to_string(path).ok();
        let ticks = rustix::param::clock_ticks_per_second();
        started(&file(&format!("/proc/{pid}/stat"))?, &file("/proc/stat")?, ticks)
    }

    /// What this process uses.
    pub fn own() -> Option<Self> {
        Self::of(std::process::id())
    }
}

/// A field of `/proc/<pid>/status` that is a number.
fn number(status: &str, field: &str) -> Option<f64> {
    status.lines().find_map(|line| line.strip_prefix(field))?.trim().parse().ok()
}

/// A field of `/proc/<pid>/status` that is in kilobytes.
fn kilobytes(status: &str, field: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// The soft limit of `/proc/<pid>/limits`.
fn max_fds(limits: &str) -> Option<f64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(f64::INFINITY),
        soft => soft.parse().ok(),
    }
}

/// Fields 14 and 15 of `/proc/<pid>/stat`. Field 2, the name, may hold anything but ends with the
/// last `)`.
fn cpu(stat: &str, ticks_per_second: u64) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11);
    let mut ticks = || times.next()?.parse::<f64>().ok();
    Some((ticks()? + ticks()?) / ticks_per_second.max(1) as f64)
}

/// Field 22 of `/proc/<pid>/stat`, which counts from `btime` of `/proc/stat`.
fn started(stat: &str, of_system: &str, ticks_per_second: u64) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks: f64 = fields.split_whitespace().nth(19)?.parse().ok()?;
    let boot = of_system.lines().find_map(|line| line.strip_prefix("btime "))?;
    Some(boot.trim().parse::<f64>().ok()? + ticks / ticks_per_second.max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_proc() {
        let status = "Name:\tx\nVmRSS:\t    1024 kB\nThreads:\t7";
        assert_eq!(kilobytes(status, "VmRSS:"), Some(1024.0));
        assert_eq!(number(status, "Threads:"), Some(7.0));
        let limits = "Limit  Soft Limit  Hard Limit  Units\nMax open files   1024   4096   files\n";
        assert_eq!(max_fds(limits), Some(1024.0));
        assert_eq!(max_fds("Max open files unlimited unlimited files"), Some(f64::INFINITY));
        let stat = "12 (a) b) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0";
        assert_eq!(cpu(stat, 100), Some(2.0));
        let own = Usage::own().unwrap();
        assert!(
            own.resident > 1e6 && own.virtual_memory >= own.resident && own.threads >= 1.0,
            "{own:?}"
        );
        assert!(own.open_fds >= 3.0 && own.max_fds > own.open_fds, "{own:?}");
        assert_eq!(Usage::of(u32::MAX), None);
        let stat = "12 (a) b) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0 1 0 250 0";
        assert_eq!(started(stat, "cpu 1\nbtime 1000\n", 100), Some(1002.5));
        assert!(Usage::started(std::process::id()).unwrap() > 1.6e9);
    }
}
