//! The pipeline of one process: what receivers give it goes to every backend's queue, and from
//! there out.
//!
//! A request is acknowledged when every backend's queue took it. A backend whose queue is full
//! must not hold up the others, nor may its senders repeat what others have: so when at least one
//! queue took the request it is acknowledged, and counted as dropped (`queue_full`) for each that
//! was full. When none did, it is refused whole, and the sender keeps it.
//!
//! Resource attributes are put on before the queues, once for all backends.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::RwLock;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};
use ursa_metrics::Registry;
use ursa_model::SecretText;
use ursa_model::pipeline::{ExporterSpec, PipelineConfig};

use crate::backend::Backend;
use crate::export::{Dial, Exporter, Outlet, Tcp, Values};
use crate::meters::{Families, Meters};
use crate::status::PipelineStatus;
use crate::{Audit, Received, Refusal, Signal, Sink, attributes};
use ursa_otlp::wire::ResourceAttributes;

/// What a sender is told to wait when nothing can be taken.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// How long what waits for a removed backend is still tried.
const REMOVED_FOR: Duration = Duration::from_mins(5);
/// How many removed backends are; each may hold a full queue.
const MAX_REMOVED: usize = 4;
/// How often ages are shown, and removed backends looked after.
const TICK: Duration = Duration::from_secs(1);
/// How long connections may take to end.
const CONNECTIONS_END: Duration = Duration::from_secs(1);
/// Where Linux keeps the host's name.
const HOST_NAME: &str = "/proc/sys/kernel/hostname";

/// What a pipeline has from its process. `Debug` hides the environment.
#[derive(Clone)]
pub struct PipelineInputs {
    /// Environment variables: for `${NAME}`, `{{env.NAME}}`, `OTEL_RESOURCE_ATTRIBUTES`, `HOST_IP`.
    pub environment: BTreeMap<String, String>,
    /// Where it counts.
    pub registry: Registry,
    /// Directory of the queues on disk, made if it is not there. Without one they are in memory.
    pub storage: Option<PathBuf>,
}

/// Receives telemetry as a [`Sink`] and delivers it to backends. Dropped without
/// [`shutdown`](Self::shutdown), it ends at once, and what waits is lost.
#[derive(Debug)]
pub struct Pipeline {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    environment: Arc<BTreeMap<String, SecretText>>,
    host_name: Option<String>,
    families: Families,
    dial: Arc<dyn Dial>,
    state: RwLock<State>,
    /// Tasks of backends, and the clock's.
    tasks: TaskTracker,
    /// Tasks of connections.
    connections: TaskTracker,
    /// No more of the clock.
    stop: CancellationToken,
    /// No more of anything.
    cut: CancellationToken,
}

/// What is being done.
#[derive(Debug, Default)]
struct State {
    phase: Phase,
    traces: Route,
    /// Removed backends for which something waits, and until when it is tried; the latest last.
    removed: Vec<(Arc<Backend>, Instant)>,
    warnings: Vec<String>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Phase {
    #[default]
    Unconfigured,
    Running,
    Stopping,
}

/// What happens to one signal.
#[derive(Debug, Default)]
struct Route {
    attributes: ResourceAttributes,
    backends: Vec<Active>,
}

/// A backend with what it was made of.
#[derive(Debug)]
struct Active {
    backend: Arc<Backend>,
    spec: ExporterSpec,
    secrets: BTreeMap<String, SecretText>,
}

impl Pipeline {
    /// A pipeline that takes nothing until it is [configured](Self::reconfigure).
    pub fn start(inputs: PipelineInputs) -> Self {
        Self::start_with(inputs, Arc::new(Tcp))
    }

    pub(crate) fn start_with(inputs: PipelineInputs, dial: Arc<dyn Dial>) -> Self {
        let PipelineInputs { environment, registry, storage: _ } = inputs;
        let secret = |(name, value): (String, String)| (name, SecretText::from(value));
        let inner = Arc::new(Inner {
            host_name: host_name(&environment),
            environment: Arc::new(environment.into_iter().map(secret).collect()),
            families: Families::new(&registry),
            dial,
            state: RwLock::default(),
            tasks: TaskTracker::new(),
            connections: TaskTracker::new(),
            stop: CancellationToken::new(),
            cut: CancellationToken::new(),
        });
        let clock = Arc::clone(&inner);
        inner.tasks.spawn(async move {
            clock.stop.clone().run_until_cancelled(clock.tick()).await;
        });
        Self { inner }
    }

    /// Where receivers put traces.
    pub fn sink(&self) -> Arc<dyn Sink> {
        Arc::clone(&self.inner) as Arc<dyn Sink>
    }

    /// Does as `config` says from now on. `secrets` are the values of the Secret resources that it
    /// names; more are ignored.
    ///
    /// A backend is known by its name: one that stays keeps its queue, and only if its settings or
    /// secrets changed is its exporter made anew. What waits for a removed backend is still tried
    /// for five minutes, or until four more were removed while it waits.
    pub async fn reconfigure(
        &self,
        config: PipelineConfig,
        secrets: &BTreeMap<String, SecretText>,
    ) {
        self.inner.reconfigure(config, secrets).await;
    }

    /// What is remembered of a trace.
    pub fn audit(&self, trace_id: [u8; 16]) -> Audit {
        let trace_id = u128::from_be_bytes(trace_id);
        Audit { trace_id: format!("{trace_id:032x}"), ..Audit::default() }
    }

    /// How it stands.
    pub async fn status(&self) -> PipelineStatus {
        self.inner.status().await
    }

    /// Takes nothing more and sends what waits, until `deadline` has passed. Says how many items
    /// were given up then.
    pub async fn shutdown(self, deadline: Duration) -> u64 {
        self.inner.shutdown(deadline).await
    }
}

impl fmt::Debug for PipelineInputs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PipelineInputs").field("registry", &self.registry).finish_non_exhaustive()
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        self.inner.stop.cancel();
        self.inner.cut.cancel();
    }
}

impl Inner {
    async fn reconfigure(&self, config: PipelineConfig, secrets: &BTreeMap<String, SecretText>) {
        let variable = |name: &str| Some(self.environment.get(name)?.expose().to_owned());
        let host_name = self.host_name.as_deref();
        let (attributes, warnings) = attributes::of(&config, &config.traces, variable, host_name);
        for warning in &warnings {
            warn!("{warning}");
        }
        let mut state = self.state.write().await;
        if state.phase == Phase::Stopping {
            return;
        }
        let mut before: Vec<Active> = std::mem::take(&mut state.traces.backends);
        let mut names = BTreeSet::new();
        for wanted in config.traces.backends {
            if !names.insert(wanted.name.clone()) {
                warn!(backend = %wanted.name, "a second backend of that name is ignored");
                continue;
            }
            let of_backend = wanted.spec.secret_names();
            let secrets = secrets.iter().filter(|(name, _)| of_backend.contains(*name));
            let secrets = secrets.map(|(name, text)| (name.clone(), text.clone())).collect();
            let kept = before.iter().position(|active| active.backend.name() == wanted.name);
            let kept = kept.map(|at| before.swap_remove(at));
            let active = match kept {
                Some(active) if active.spec == wanted.spec && active.secrets == secrets => active,
                kept => {
                    let known = match kept {
                        Some(active) => Some(active.backend),
                        None => state.take_removed(&wanted.name),
                    };
                    self.activate(known, wanted.name, wanted.spec, secrets)
                }
            };
            state.traces.backends.push(active);
        }
        for active in before {
            info!(backend = %active.backend.name(), "backend removed");
            state.removed.push((active.backend, Instant::now() + REMOVED_FOR));
        }
        state.clean_up();
        state.traces.attributes = attributes;
        state.warnings = warnings;
        state.phase = Phase::Running;
    }

    fn activate(
        &self,
        known: Option<Arc<Backend>>,
        name: String,
        spec: ExporterSpec,
        secrets: BTreeMap<String, SecretText>,
    ) -> Active {
        let queue = spec.delivery().cloned().unwrap_or_default().queue_size();
        let capacity = usize::try_from(queue.bytes()).unwrap_or(usize::MAX);
        let values = Values::new(Arc::clone(&self.environment), secrets.clone());
        let tasks = self.connections.clone();
        let outlet = Outlet { values, dial: Arc::clone(&self.dial), tasks };
        let exporter = Exporter::new(&spec, Signal::Traces, outlet);
        info!(backend = %name, endpoint = %exporter.endpoint(), protocol = exporter.protocol(), "delivering to backend");
        let backend = match known {
            Some(backend) => {
                backend.replace(exporter, capacity);
                backend
            }
            None => {
                let meters = Meters::new(&self.families, Signal::Traces, &name);
                let cut = self.cut.child_token();
                let backend = Backend::new(name, Signal::Traces, capacity, exporter, meters, cut);
                let backend = Arc::new(backend);
                self.tasks.spawn(Arc::clone(&backend).run());
                backend
            }
        };
        Active { backend, spec, secrets }
    }

    async fn status(&self) -> PipelineStatus {
        let state = self.state.read().await;
        let active = state.traces.backends.iter().map(|active| active.backend.status(false));
        let removed = state.removed.iter().map(|(backend, _)| backend.status(true));
        let mut backends: Vec<_> = active.chain(removed).collect();
        backends.sort_by(|one, other| one.name.cmp(&other.name));
        let configured = state.phase != Phase::Unconfigured;
        PipelineStatus {
            configured,
            backends,
            orphaned: Vec::new(),
            warnings: state.warnings.clone(),
        }
    }

    async fn tick(&self) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let state = self.state.read().await;
            for active in &state.traces.backends {
                active.backend.show_queue();
            }
            if !state.removed.is_empty() {
                drop(state);
                self.state.write().await.clean_up();
            }
        }
    }

    async fn shutdown(&self, deadline: Duration) -> u64 {
        let backends = {
            let mut state = self.state.write().await;
            state.phase = Phase::Stopping;
            state.every_backend()
        };
        for backend in &backends {
            backend.close();
        }
        self.stop.cancel();
        self.tasks.close();
        if timeout(deadline, self.tasks.wait()).await.is_err() {
            for backend in &backends {
                backend.cut();
            }
            self.tasks.wait().await;
        }
        // With the last exporters gone, their connections end.
        *self.state.write().await = State { phase: Phase::Stopping, ..State::default() };
        let lost = backends.iter().map(|backend| backend.status(false).dropped_items["expired"]);
        let lost = lost.sum();
        drop(backends);
        self.connections.close();
        if timeout(CONNECTIONS_END, self.connections.wait()).await.is_err() {
            debug!("a connection to a backend did not end");
        }
        lost
    }
}

impl State {
    /// A removed backend that is wanted again.
    fn take_removed(&mut self, name: &str) -> Option<Arc<Backend>> {
        let at = self.removed.iter().position(|(backend, _)| backend.name() == name)?;
        Some(self.removed.remove(at).0)
    }

    /// Ends removed backends that are done, whose time is up, or that are the oldest of too many.
    fn clean_up(&mut self) {
        let now = Instant::now();
        let (waiting, done): (Vec<_>, Vec<_>) = std::mem::take(&mut self.removed)
            .into_iter()
            .partition(|(backend, until)| !backend.is_empty() && *until > now);
        self.removed = waiting;
        let surplus = self.removed.len().saturating_sub(MAX_REMOVED);
        for (backend, _) in done.into_iter().chain(self.removed.drain(..surplus)) {
            backend.cut();
            backend.forget();
        }
        for (backend, _) in &self.removed {
            backend.show_queue();
        }
    }

    fn every_backend(&self) -> Vec<Arc<Backend>> {
        let active = self.traces.backends.iter().map(|active| Arc::clone(&active.backend));
        active.chain(self.removed.iter().map(|(backend, _)| Arc::clone(backend))).collect()
    }
}

#[async_trait]
impl Sink for Inner {
    async fn accept(&self, received: Received) -> Result<(), Refusal> {
        let Received { signal, request, items, .. } = received;
        let state = self.state.read().await;
        if state.phase != Phase::Running {
            return Err(Refusal::Unavailable { retry_after: RETRY_AFTER });
        }
        let backends = &state.traces.backends;
        if signal != Signal::Traces || backends.is_empty() {
            return Err(Refusal::Unsupported { signal });
        }
        if items == 0 {
            return Ok(());
        }
        let edited = state.traces.attributes.apply(&request);
        let edited = edited.map_err(|error| Refusal::Invalid { reason: error.to_string() })?;
        let mut full = Vec::new();
        for Active { backend, .. } in backends {
            if backend.push(edited.clone(), items).await.is_err() {
                full.push(backend);
            }
        }
        if full.len() == backends.len() {
            return Err(Refusal::Full { retry_after: RETRY_AFTER });
        }
        for backend in full {
            backend.lose(items);
        }
        Ok(())
    }
}

fn host_name(environment: &BTreeMap<String, String>) -> Option<String> {
    let read = || std::fs::read_to_string(HOST_NAME).ok();
    let name = environment.get("HOSTNAME").cloned().or_else(read)?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}
