//! The pipeline of one process: what receivers give it goes through the processors to every backend's
//! queue, and from there out.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, watch};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;
use ursa_metrics::Registry;
use ursa_model::SecretText;
use ursa_model::pipeline::PipelineConfig;

use crate::audit::Trail;
use crate::backend::Backend;
use crate::control::Control;
use crate::export::{Dial, Tcp};
use crate::ledger::Sources;
use crate::meters::Families;
use crate::route::{Phase, Table};
use crate::status::{BackendStatus, PipelineStatus};
use crate::storage::Storage;
use crate::surroundings::Surroundings;
use crate::{Audit, Sink};

/// How often what waits too long is given up, metrics are shown, and removed backends looked after.
const TICK: Duration = Duration::from_secs(1);
/// How long connections may take to end.
const CONNECTIONS_END: Duration = Duration::from_secs(1);

/// What a pipeline has from its process. `Debug` hides the environment.
#[derive(Clone)]
pub struct PipelineInputs {
    /// Environment variables: for `${NAME}`, `{{env.NAME}}`, `OTEL_RESOURCE_ATTRIBUTES`, `HOST_IP`.
    pub environment: BTreeMap<String, String>,
    /// Resource attributes that are known of whose telemetry it is; as weak as what is found in the
    /// surroundings.
    pub detected: BTreeMap<String, String>,
    /// Where it counts.
    pub registry: Registry,
    /// Directory of the queues on disk, made if it is not there; of one process at a time. Without
    /// one they are in memory.
    pub storage: Option<PathBuf>,
}

/// Receives telemetry as a [`Sink`] and delivers it to backends. Dropped without
/// [`shutdown`](Self::shutdown), it ends at once, and what waits in memory is lost.
#[derive(Debug)]
pub struct Pipeline {
    inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) environment: Arc<BTreeMap<String, SecretText>>,
    pub(crate) surroundings: Surroundings,
    pub(crate) families: Families,
    pub(crate) dial: Arc<dyn Dial>,
    pub(crate) storage: Option<Storage>,
    pub(crate) sources: Sources,
    pub(crate) trail: Arc<Trail>,
    /// What is done with what is received.
    table: watch::Sender<Arc<Table>>,
    pub(crate) control: Mutex<Control>,
    /// Items that waited in memory when their backend ended.
    pub(crate) given_up: Arc<AtomicU64>,
    /// Tasks of backends, and the clock's.
    pub(crate) tasks: TaskTracker,
    /// Tasks of connections.
    pub(crate) connections: TaskTracker,
    /// No more of the clock.
    stop: CancellationToken,
    /// No more of anything.
    pub(crate) cut: CancellationToken,
}

impl Pipeline {
    /// A pipeline that takes nothing until it is [configured](Self::reconfigure).
    pub fn start(inputs: PipelineInputs) -> Self {
        Self::start_with(inputs, Arc::new(Tcp))
    }

    pub(crate) fn start_with(inputs: PipelineInputs, dial: Arc<dyn Dial>) -> Self {
        let PipelineInputs { environment, detected, registry, storage } = inputs;
        let mut surroundings = Surroundings::read(&environment, Path::new("/"));
        surroundings.attributes.extend(detected);
        let secret = |(name, value): (String, String)| (name, SecretText::from(value));
        let inner = Arc::new(Inner {
            surroundings,
            environment: Arc::new(environment.into_iter().map(secret).collect()),
            families: Families::new(&registry),
            dial,
            storage: storage.map(Storage::new),
            sources: Sources::default(),
            trail: Arc::new(Trail::new()),
            table: watch::Sender::default(),
            control: Mutex::default(),
            given_up: Arc::default(),
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

    /// Where receivers put what they received, of all signals.
    pub fn sink(&self) -> Arc<dyn Sink> {
        Arc::clone(&self.inner) as Arc<dyn Sink>
    }

    /// Does as `config` says from now on. `secrets` are the values of the Secret resources that it
    /// names; more are ignored.
    ///
    /// A backend is known by its name: one that stays keeps its queue, and only if its settings or
    /// secrets changed is its exporter made anew. What waits for a removed backend is still tried
    /// for five minutes, or until four more of its signal were removed while it waits; what then is
    /// on disk stays there until a backend of that name is configured again.
    pub async fn reconfigure(
        &self,
        config: PipelineConfig,
        secrets: &BTreeMap<String, SecretText>,
    ) {
        self.inner.reconfigure(config, secrets).await;
    }

    /// What is remembered of a trace: of the last 32,768 spans.
    pub fn audit(&self, trace_id: [u8; 16]) -> Audit {
        self.inner.trail.audit(trace_id, &self.inner.sources)
    }

    /// Resource attributes of metrics that are gathered beside this pipeline and leave by another way.
    pub async fn collected_attributes(&self) -> BTreeMap<String, String> {
        self.inner.control.lock().await.collected_attributes.clone()
    }

    /// How it stands.
    pub async fn status(&self) -> PipelineStatus {
        self.inner.status().await
    }

    /// Takes nothing more and sends what waits, until `deadline` has passed. Says how many items
    /// were lost then: what waits on disk stays there for the next start.
    pub async fn shutdown(&self, deadline: Duration) -> u64 {
        self.inner.shutdown(deadline).await
    }
}

impl fmt::Debug for PipelineInputs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PipelineInputs")
            .field("registry", &self.registry)
            .field("storage", &self.storage)
            .finish_non_exhaustive()
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        self.inner.stop.cancel();
        self.inner.cut.cancel();
        self.inner.publish(Table::stopping());
        // Receivers may keep the sink; the queues are let go for whoever is next.
        if let Ok(mut control) = self.inner.control.try_lock() {
            *control = Control::default();
        }
    }
}

impl Inner {
    /// What is done with what is received, now.
    pub(crate) fn table(&self) -> Arc<Table> {
        Arc::clone(&self.table.borrow())
    }

    pub(crate) fn publish(&self, table: Table) {
        self.table.send_replace(Arc::new(table));
    }

    async fn status(&self) -> PipelineStatus {
        let (mut status, backends) = {
            let control = self.control.lock().await;
            let backends = control.backends();
            let status = PipelineStatus {
                configured: self.table().phase != Phase::Unconfigured,
                resource_attributes: control.resource_attributes.clone(),
                backends: backends
                    .map(|(backend, removed)| backend.status(removed, &self.sources))
                    .collect(),
                orphaned: control.orphaned.clone(),
                warnings: control.warnings.clone(),
            };
            let backends = control.backends().map(|(backend, _)| Arc::clone(backend));
            (status, backends.collect::<Vec<_>>())
        };
        // Files are looked at, which may take long where a disk hangs. Nobody else waits for that.
        for backend in backends {
            let warning = backend.warning().await;
            status.warnings.extend(warning.filter(|warning| !status.warnings.contains(warning)));
        }
        let order = |status: &BackendStatus| (status.name.clone(), status.signal);
        status.backends.sort_by_cached_key(order);
        status
    }

    async fn tick(self: &Arc<Self>) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let mut control = self.control.lock().await;
            control.backends().for_each(|(backend, _)| backend.tick());
            if control.has_removed() {
                control.clean_up(self).await;
            }
        }
    }

    async fn shutdown(&self, deadline: Duration) -> u64 {
        let before = self.given_up.load(Ordering::Relaxed);
        let backends: Vec<Arc<Backend>> = {
            let control = self.control.lock().await;
            self.publish(Table::stopping());
            control.backends().map(|(backend, _)| Arc::clone(backend)).collect()
        };
        for backend in &backends {
            backend.close();
        }
        self.stop.cancel();
        self.tasks.close();
        if timeout(deadline, self.tasks.wait()).await.is_err() {
            self.cut.cancel();
            self.tasks.wait().await;
        }
        // With the last exporters gone, their connections end.
        *self.control.lock().await = Control::default();
        drop(backends);
        self.connections.close();
        if timeout(CONNECTIONS_END, self.connections.wait()).await.is_err() {
            debug!("a connection to a backend did not end");
        }
        self.given_up.load(Ordering::Relaxed) - before
    }
}
