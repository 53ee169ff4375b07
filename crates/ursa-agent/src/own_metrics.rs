//! What the agent says of itself and of Envoy's process, in Prometheus' text format.

use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;
use ursa_metrics::{Limits, Registry, Usage, agent};

use crate::admin::Admin;
use crate::process::EnvoyStatus;

/// The registry, with what is looked up only when somebody asks.
#[derive(Debug)]
pub(crate) struct OwnMetrics {
    registry: Registry,
    admin: Admin,
    envoy: watch::Receiver<EnvoyStatus>,
    /// Process and CPU seconds of the last look, to count what came since.
    cpu: Mutex<[(u32, f64); 2]>,
}

impl OwnMetrics {
    pub(crate) fn new(
        registry: Registry,
        admin: Admin,
        envoy: watch::Receiver<EnvoyStatus>,
        envoy_version: &str,
    ) -> Self {
        let info = registry.gauge(&agent::INFO);
        info.with(&[env!("CARGO_PKG_VERSION"), envoy_version]).set(1.0);
        let limits = Limits::own();
        let limit = |metric, value: Option<f64>| {
            registry.gauge(metric).with(&[]).set(value.unwrap_or_default());
        };
        limit(&agent::CPU_LIMIT_CORES, limits.map(|limits| limits.cpu_cores));
        limit(&agent::MEMORY_LIMIT_BYTES, limits.map(|limits| limits.memory_bytes));
        Self { registry, admin, envoy, cpu: Mutex::default() }
    }

    /// Envoy's process, while one runs.
    pub(crate) fn envoy_pid(&self) -> Option<u32> {
        self.envoy.borrow().pid
    }

    /// All of it.
    pub(crate) async fn text(&self) -> String {
        let live = self.admin.is_live().await;
        self.registry.gauge(&agent::ENVOY_READY).with(&[]).set(f64::from(u8::from(live)));
        self.look();
        self.registry.encode()
    }

    /// Looks what the processes use.
    fn look(&self) {
        let registry = &self.registry;
        let pids = [Some(std::process::id()), self.envoy_pid()];
        let mut last = self.cpu.lock().unwrap_or_else(PoisonError::into_inner);
        for ((process, pid), last) in ["agent", "envoy"].into_iter().zip(pids).zip(&mut *last) {
            let resident = registry.gauge(&agent::PROCESS_RESIDENT_MEMORY_BYTES);
            let open_fds = registry.gauge(&agent::PROCESS_OPEN_FDS);
            let cpu = registry.seconds_counter(&agent::PROCESS_CPU_SECONDS).with(&[process]);
            let Some((pid, usage)) = pid.and_then(|pid| Some((pid, Usage::of(pid)?))) else {
                resident.with(&[process]).set(0.0);
                open_fds.with(&[process]).set(0.0);
                continue;
            };
            resident.with(&[process]).set(usage.resident);
            open_fds.with(&[process]).set(usage.open_fds);
            let before = if last.0 == pid { last.1 } else { 0.0 };
            cpu.inc_by((usage.cpu - before).max(0.0));
            *last = (pid, usage.cpu);
        }
    }
}
