//! What processes may use: Linux's control groups (`cgroups(7)`), else the machine.

use std::fs;
use std::path::Path;
use std::thread::available_parallelism;

/// Where control groups are mounted.
const MOUNT: &str = "/sys/fs/cgroup";

/// What this process, with the others of its container, may use.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Cores; a fraction where a quota says so.
    pub cpu_cores: f64,
    /// Memory in bytes.
    pub memory_bytes: f64,
}

impl Limits {
    /// What this process may use. None where the system is not Linux.
    pub fn own() -> Option<Self> {
        let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
        let memory = fs::read_to_string("/proc/meminfo").ok()?;
        let cores = available_parallelism().map_or(1.0, |cores| cores.get() as f64);
        let machine = Self { cpu_cores: cores, memory_bytes: total(&memory)? };
        Some(machine.within(Path::new(MOUNT), &groups))
    }

    /// The memory in whole bytes.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "sizes are not so large"
    )]
    pub fn whole_bytes(&self) -> u64 {
        self.memory_bytes as u64
    }

    /// The least of the machine and of all groups that the process is in; each holds for those within it.
    fn within(mut self, mount: &Path, groups: &str) -> Self {
        for line in groups.lines() {
            let mut parts = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
            // Version 2 has one tree for all controllers, and names none.
            let top =
                if controllers.is_empty() { mount.to_owned() } else { mount.join(controllers) };
            // Seen from within a container, a group may lie outside of what is mounted.
            let path = Path::new(path.trim_start_matches('/'));
            for group in path.ancestors().filter(|group| !group.starts_with("..")) {
                self.apply(&top.join(group));
            }
        }
        self
    }

    fn apply(&mut self, directory: &Path) {
        let file = |name: &str| fs::read_to_string(directory.join(name)).ok();
        // Version 2 in one file, version 1 in two.
        let of_two = || {
            let (quota, period) = (file("cpu.cfs_quota_us")?, file("cpu.cfs_period_us")?);
            Some(format!("{} {}", quota.trim(), period.trim()))
        };
        let quota = file("cpu.max").or_else(of_two).and_then(|text| quota(&text));
        let bytes = file("memory.max").or_else(|| file("memory.limit_in_bytes"));
        let bytes = bytes.and_then(|text| text.trim().parse::<f64>().ok());
        self.cpu_cores = self.cpu_cores.min(quota.unwrap_or(f64::INFINITY));
        self.memory_bytes = self.memory_bytes.min(bytes.unwrap_or(f64::INFINITY));
    }
}

/// Time that may be used of each period; `max` and -1 are no limit.
fn quota(text: &str) -> Option<f64> {
    let (quota, period) = text.trim().split_once(' ')?;
    let (quota, period): (f64, f64) = (quota.parse().ok()?, period.parse().ok()?);
    (quota > 0.0 && period > 0.0).then_some(quota / period)
}

/// `MemTotal` of `/proc/meminfo`, which is in kilobytes.
fn total(memory: &str) -> Option<f64> {
    let line = memory.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kilobytes: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_of_all_groups_counts() {
        let mount = std::env::temp_dir().join(format!("ursa-limits-{}", std::process::id()));
        let write = |path: &str, text: &str| {
            let path = mount.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let machine = Limits { cpu_cores: 8.0, memory_bytes: 1e10 };
        write("cpu.max", "max 100000\n");
        write("pod/cpu.max", "150000 100000\n");
        write("pod/memory.max", "1000000\n");
        write("pod/container/memory.max", "max\n");
        let limits = machine.within(&mount, "0::/pod/container\n");
        assert_eq!(limits, Limits { cpu_cores: 1.5, memory_bytes: 1e6 });
        write("cpu,cpuacct/cpu.cfs_quota_us", "-1");
        write("cpu,cpuacct/a/cpu.cfs_quota_us", "50000");
        write("cpu,cpuacct/a/cpu.cfs_period_us", "100000");
        write("memory/a/memory.limit_in_bytes", "4096");
        let groups = "4:memory:/a\n3:cpu,cpuacct:/a\n1:name=systemd:/a\n";
        let limits = machine.within(&mount, groups);
        assert_eq!(limits, Limits { cpu_cores: 0.5, memory_bytes: 4096.0 });
        assert_eq!(machine.within(&mount, "0::/../../..\n"), machine);
        fs::remove_dir_all(&mount).unwrap();
        assert!(Limits::own().unwrap().cpu_cores > 0.0);
    }
}
