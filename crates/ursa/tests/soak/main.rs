//! A demo mesh under load for minutes: nothing grows, nothing is lost. `cargo xtask test --all` runs it.

#[cfg(test)]
#[path = "../journeys/mesh.rs"]
#[expect(dead_code, reason = "the journeys use the rest")]
mod mesh;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use crate::mesh::Mesh;

    /// Until caches are warm and the window of recent traces is full.
    const WARM: Duration = Duration::from_secs(90);
    /// Under observation.
    const OBSERVED: Duration = Duration::from_mins(3);
    /// What a process may be larger by at the end, in KiB.
    const MAY_GROW: u64 = 3 * 1024;

    #[tokio::test]
    async fn nothing_grows_and_nothing_is_dropped_under_load() {
        let mesh = Mesh::demo(&["--rps", "100", "--telemetry-memory", "8Mi"]);
        tokio::time::sleep(WARM).await;
        let before = resident(&mesh);
        tokio::time::sleep(OBSERVED).await;
        let after = resident(&mesh);
        assert_eq!(
            before.keys().collect::<Vec<_>>(),
            after.keys().collect::<Vec<_>>(),
            "no process was restarted"
        );
        assert!(before.len() >= 16, "{before:?}");
        for (process, size) in &after {
            assert!(
                *size <= before[process] + MAY_GROW,
                "{process:?} grew from {} to {size} KiB",
                before[process]
            );
        }
        let services = mesh.get("/telemetry/services").await;
        assert_eq!(services["spansRefused"], 0, "{services:#}");
        assert!(services["bytesHeld"].as_u64() <= services["bytesLimit"].as_u64(), "{services:#}");
        let rate = services["services"]
            .as_array()
            .unwrap()
            .iter()
            .find(|service| service["name"] == "gateway");
        assert!(rate.unwrap()["requestsPerSecond"].as_f64() > Some(80.0), "{services:#}");
    }

    /// KiB by process id and command.
    fn resident(mesh: &Mesh) -> BTreeMap<(u32, String), u64> {
        mesh.processes()
            .into_iter()
            .filter_map(|pid| {
                let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
                let field = |name: &str| {
                    Some(status.lines().find_map(|l| l.strip_prefix(name))?.trim().to_owned())
                };
                let size = field("VmRSS:")?.trim_end_matches(" kB").parse().ok()?;
                Some(((pid, field("Name:")?), size))
            })
            .collect()
    }
}
