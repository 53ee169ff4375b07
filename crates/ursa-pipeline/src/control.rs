//! Doing as a configuration says: which backends there are, and which only send what waits.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::{info, warn};
use ursa_model::SecretText;
use ursa_model::backend::DeliveryOptions;
use ursa_model::pipeline::{
    Backend as Wanted, Channel, ExporterSpec, PipelineConfig, SignalConfig,
};
use ursa_otlp::access_log::Records;
use ursa_otlp::process::Rules;
use ursa_queue::{Options, Queue};

use crate::Signal;
use crate::attributes::{self, Attributes};
use crate::backend::{Backend, Parts};
use crate::export::{Exporter, Outlet, Values};
use crate::meters::Meters;
use crate::pipeline::Inner;
use crate::route::{Phase, Route, Table};
use crate::status::OrphanedQueue;

/// How long what waits for a removed backend is still tried.
const REMOVED_FOR: Duration = Duration::from_mins(5);
/// How many removed backends of a signal are; each may hold a full queue.
const MAX_REMOVED: usize = 4;
/// How long a queue that is cut off may take to end.
const END: Duration = Duration::from_secs(5);

/// What a pipeline's configuration made.
#[derive(Debug, Default)]
pub(crate) struct Control {
    active: Vec<Active>,
    /// Backends that are no longer wanted and for which something waits; the latest last.
    removed: Vec<Removed>,
    /// Items that wait in [`orphaned`](Self::orphaned) queues and that this process has counted.
    left: BTreeMap<(Signal, String), u64>,
    pub(crate) warnings: Vec<String>,
    /// Before policies and backends say more.
    pub(crate) resource_attributes: BTreeMap<String, String>,
    /// Of metrics that are gathered here and not sent by the pipeline.
    pub(crate) collected_attributes: BTreeMap<String, String>,
    pub(crate) orphaned: Vec<OrphanedQueue>,
}

/// A backend with what it was made of.
#[derive(Debug)]
struct Active {
    running: Running,
    spec: ExporterSpec,
    secrets: BTreeMap<String, SecretText>,
}

/// A backend and its task.
#[derive(Debug)]
struct Running {
    backend: Arc<Backend>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Removed {
    running: Running,
    /// So long it is tried.
    until: Instant,
}

impl Control {
    /// Does as `config` says.
    pub(crate) async fn reconfigure(
        &mut self,
        inner: &Arc<Inner>,
        config: PipelineConfig,
        secrets: &BTreeMap<String, SecretText>,
    ) {
        let mut warnings = Vec::new();
        let variable = |name: &str| Some(inner.environment.get(name)?.expose().to_owned());
        let (nothing, none) = (SignalConfig::default(), BTreeMap::new());
        let (Attributes { set, fill: mut known }, _) =
            attributes::of(&config, &nothing, &none, variable, &inner.surroundings);
        known.extend(set);
        self.resource_attributes = known;
        let said = config.collection.as_ref().map(|it| it.resource_attributes.clone());
        let collected =
            SignalConfig { resource_attributes: said.unwrap_or_default(), ..nothing.clone() };
        let (Attributes { set, fill: mut known }, _) =
            attributes::of(&config, &collected, &none, variable, &inner.surroundings);
        known.extend(set);
        self.collected_attributes = known;
        let mut before = std::mem::take(&mut self.active);
        let mut routes: [Route; 3] = Default::default();
        for ((signal, wanted), route) in
            Signal::ALL.into_iter().zip(config.signals()).zip(&mut routes)
        {
            let made = self.route(inner, &config, signal, wanted, secrets, &mut before);
            let (made, said) = made.await;
            warnings.extend(said);
            *route = made;
        }
        let mut channels = BTreeMap::new();
        for (name, Channel { signal: wanted, access_log }) in &config.channels {
            let signal = if config.is_of_metrics(name) { Signal::Metrics } else { Signal::Logs };
            let made = self.route(inner, &config, signal, wanted, secrets, &mut before);
            let (mut route, said) = made.await;
            warnings.extend(said);
            route.records = access_log.as_ref().map(Records::new);
            channels.insert((signal, name.clone()), route);
        }
        for Active { running, .. } in before {
            info!(backend = %running.backend.name(), signal = %running.backend.signal(), "backend removed");
            self.removed.push(Removed { running, until: Instant::now() + REMOVED_FOR });
        }
        inner.publish(Table::running(routes, channels));
        self.clean_up(inner).await;
        warnings.dedup();
        for warning in warnings.iter().filter(|warning| !self.warnings.contains(warning)) {
            warn!("{warning}");
        }
        self.warnings = warnings;
        self.find_orphans(inner).await;
    }

    /// What is wanted of one signal or channel, and what people should know of it.
    async fn route(
        &mut self,
        inner: &Arc<Inner>,
        config: &PipelineConfig,
        signal: Signal,
        wanted: &SignalConfig,
        secrets: &BTreeMap<String, SecretText>,
        before: &mut Vec<Active>,
    ) -> (Route, Vec<String>) {
        let (mut route, mut warnings) = (Route::default(), Vec::new());
        let variable = |name: &str| Some(inner.environment.get(name)?.expose().to_owned());
        let mut names = BTreeSet::new();
        for backend in &wanted.backends {
            if !names.insert(&backend.name) {
                warnings.push(format!("a second backend {} for {signal} is ignored", backend.name));
                continue;
            }
            let mut known = self.active.iter().map(|active| &active.running.backend);
            let shared =
                known.find(|known| known.signal() == signal && **known.name() == *backend.name);
            let running = match shared {
                Some(shared) => Arc::clone(shared),
                None => {
                    let made =
                        self.activate(inner, signal, backend, secrets, before, &mut warnings);
                    let active = made.await;
                    let running = Arc::clone(&active.running.backend);
                    self.active.push(active);
                    running
                }
            };
            let own = &backend.resource_attributes;
            let (attributes, said) =
                attributes::of(config, wanted, own, variable, &inner.surroundings);
            warnings.extend(said);
            let compile = |attributes: &Attributes| {
                let Attributes { set, fill } = attributes;
                Rules::compile(set, fill, &wanted.processors).unwrap_or_else(|error| {
                    warnings.push(format!("processors of {signal} do nothing: {error}"));
                    Rules::compile(set, fill, &[]).unwrap_or_default()
                })
            };
            route.add(running, attributes, compile);
        }
        (route, warnings)
    }

    /// The backend that is wanted: as it is, with another exporter, or new.
    async fn activate(
        &mut self,
        inner: &Arc<Inner>,
        signal: Signal,
        wanted: &Wanted,
        secrets: &BTreeMap<String, SecretText>,
        before: &mut Vec<Active>,
        warnings: &mut Vec<String>,
    ) -> Active {
        let Wanted { name, spec, .. } = wanted;
        let of_backend = spec.secret_names();
        let secrets = secrets.iter().filter(|(name, _)| of_backend.contains(*name));
        let secrets: BTreeMap<_, _> =
            secrets.map(|(name, text)| (name.clone(), text.clone())).collect();
        let delivery = spec.delivery().cloned().unwrap_or_default();
        let on_disk = on_disk(inner, &delivery);
        let same = |running: &Running| {
            running.backend.signal() == signal && **running.backend.name() == **name
        };
        let at = before.iter().position(|active| same(&active.running));
        let known = match at.map(|at| before.swap_remove(at)) {
            Some(active) if active.spec == *spec && active.secrets == secrets => return active,
            Some(active) if active.running.backend.is_on_disk() == on_disk => Some(active.running),
            // Its queue is where it is no longer wanted: it is emptied, and another begun.
            Some(active) => {
                let until = Instant::now() + REMOVED_FOR;
                self.removed.push(Removed { running: active.running, until });
                None
            }
            None => None,
        };
        let fits = |removed: &Removed| {
            same(&removed.running) && removed.running.backend.is_on_disk() == on_disk
        };
        let known = known.or_else(|| {
            let at = self.removed.iter().position(fits)?;
            Some(self.removed.remove(at).running)
        });
        let values = Values::new(Arc::clone(&inner.environment), secrets.clone());
        let tasks = inner.connections.clone();
        let outlet = Outlet { values, dial: Arc::clone(&inner.dial), tasks };
        let exporter = Exporter::new(spec, signal, outlet);
        info!(backend = %name, %signal, endpoint = %exporter.endpoint(), protocol = exporter.protocol(), "delivering to backend");
        let options = options(&delivery);
        let running = match known {
            Some(running) => {
                running.backend.replace(exporter, options.capacity, options.max_age);
                running
            }
            None => {
                let left = self.left.get(&(signal, name.clone())).copied().unwrap_or_default();
                let keeping = Keeping { options, on_disk, left };
                start(inner, signal, name, exporter, keeping, warnings).await
            }
        };
        Active { running, spec: spec.clone(), secrets }
    }

    /// Ends removed backends that are done, whose time is up, or that are the oldest of too many.
    pub(crate) async fn clean_up(&mut self, inner: &Arc<Inner>) {
        let now = Instant::now();
        let mut surplus = BTreeMap::new();
        for removed in &self.removed {
            *surplus.entry(removed.running.backend.signal()).or_insert(0_usize) += 1;
        }
        let mut removed = std::mem::take(&mut self.removed).into_iter();
        while let Some(Removed { running, until }) = removed.next() {
            let backend = &running.backend;
            let many = surplus.entry(backend.signal()).or_default();
            if *many <= MAX_REMOVED && until > now && !backend.is_empty() {
                self.removed.push(Removed { running, until });
                continue;
            }
            *many -= 1;
            let key = (backend.signal(), backend.name().to_string());
            // One of that name may have its queue elsewhere by now.
            let same = |other: &Backend| (other.signal(), &**other.name()) == (key.0, &*key.1);
            let alone = !self.backends().any(|(other, _)| same(other))
                && !removed.as_slice().iter().any(|other| same(&other.running.backend));
            match running.end(inner, alone).await {
                Ended::Left(items) => drop(self.left.insert(key, items)),
                Ended::Gone => {}
                Ended::Used(running) => self.removed.push(Removed { running, until }),
            }
        }
    }

    /// Looks which queues on disk are nobody's.
    async fn find_orphans(&mut self, inner: &Arc<Inner>) {
        let Some(storage) = inner.storage.clone() else { return };
        let known =
            self.backends().map(|(backend, _)| backend).filter(|backend| backend.is_on_disk());
        let known = known.map(|backend| (backend.signal(), backend.name().to_string())).collect();
        let found = inner.tasks.spawn_blocking(move || storage.orphaned(&known)).await;
        self.orphaned = found.unwrap_or_default();
        // What people deleted is theirs.
        let orphaned = self.orphaned.iter();
        let kept: BTreeSet<_> = orphaned.map(|one| (one.signal, one.backend.clone())).collect();
        self.left.retain(|queue, _| kept.contains(queue));
    }

    /// Every backend, and whether it is removed.
    pub(crate) fn backends(&self) -> impl Iterator<Item = (&Arc<Backend>, bool)> {
        let active = self.active.iter().map(|active| (&active.running.backend, false));
        active.chain(self.removed.iter().map(|removed| (&removed.running.backend, true)))
    }

    pub(crate) fn has_removed(&self) -> bool {
        !self.removed.is_empty()
    }
}

/// What is left of a backend that was to end.
#[derive(Debug)]
enum Ended {
    Gone,
    /// A queue on disk with so many items.
    Left(u64),
    /// Somebody still uses it.
    Used(Running),
}

impl Running {
    /// Ends a backend. What waits in memory is given up; what waits on disk stays there, and an
    /// empty directory is removed. If it is `alone`, no other has its name, which is then forgotten.
    async fn end(self, inner: &Inner, alone: bool) -> Ended {
        let Self { backend, mut task } = self;
        backend.cut();
        if tokio::time::timeout(END, &mut task).await.is_err() {
            return Ended::Used(Self { backend, task });
        }
        let left = backend.waiting();
        let (name, signal) = (Arc::clone(backend.name()), backend.signal());
        let on_disk = backend.is_on_disk();
        let backend = match Arc::try_unwrap(backend) {
            Ok(backend) => backend,
            Err(backend) => {
                return Ended::Used(Self { backend, task: inner.tasks.spawn(async {}) });
            }
        };
        if alone {
            backend.forget();
        }
        drop(backend);
        if signal == Signal::Traces {
            inner.trail.gone(&name);
        }
        if on_disk && left > 0 {
            return Ended::Left(left);
        }
        if let Some(storage) = inner.storage.clone().filter(|_| on_disk) {
            let of = Arc::clone(&name);
            let removed = inner.tasks.spawn_blocking(move || storage.remove(signal, &of)).await;
            if let Ok(Err(error)) = removed {
                warn!(backend = %name, %signal, %error, "remove the directory of an empty queue");
            }
        }
        Ended::Gone
    }
}

fn on_disk(inner: &Inner, delivery: &DeliveryOptions) -> bool {
    let wanted = delivery.queue.as_ref().and_then(|queue| queue.on_disk).unwrap_or(true);
    wanted && inner.storage.is_some()
}

fn options(delivery: &DeliveryOptions) -> Options {
    Options {
        capacity: delivery.queue_size().bytes(),
        max_age: Some(delivery.queue_max_age().0).filter(|age| !age.is_zero()),
        ..Options::default()
    }
}

/// How what waits for a new backend is kept.
#[derive(Debug)]
struct Keeping {
    options: Options,
    on_disk: bool,
    /// Items that lie there already and that this process has counted.
    left: u64,
}

/// Starts a new backend, with what lies on disk for it.
async fn start(
    inner: &Arc<Inner>,
    signal: Signal,
    name: &str,
    exporter: Exporter,
    keeping: Keeping,
    warnings: &mut Vec<String>,
) -> Running {
    let Keeping { options, on_disk, left } = keeping;
    let mut directory = None;
    let mut counted = 0;
    let mut queue = None;
    if let Some(storage) = inner.storage.clone().filter(|_| on_disk) {
        let path = storage.directory(signal, name);
        let backend = name.to_owned();
        let opening = inner.tasks.spawn_blocking(move || storage.open(signal, &backend, options));
        match opening.await {
            Ok(Ok((opened, found))) => {
                if found.items > 0 || found.damaged_records > 0 {
                    info!(backend = %name, %signal, items = found.items, bytes = found.bytes, damaged_records = found.damaged_records, cut_tail_bytes = found.cut_tail_bytes, "found telemetry on disk");
                }
                counted = left.min(found.items);
                (queue, directory) = (Some(opened), Some(path));
            }
            Ok(Err(error)) => warnings.push(format!(
                "what waits for {name} ({signal}) is kept in memory: open {}: {error}",
                path.display()
            )),
            Err(error) => warnings.push(format!(
                "what waits for {name} ({signal}) is kept in memory: opening {} broke off: {error}",
                path.display()
            )),
        }
    }
    let name: Arc<str> = name.into();
    let backend = Arc::new(Backend::new(Parts {
        meters: Meters::new(&inner.families, signal, &name, counted),
        name,
        signal,
        queue: queue.unwrap_or_else(|| Queue::memory(options)),
        directory,
        exporter,
        max_age: options.max_age,
        trail: Arc::clone(&inner.trail),
        cut: inner.cut.child_token(),
    }));
    let (of_task, given_up) = (Arc::clone(&backend), Arc::clone(&inner.given_up));
    let task = inner.tasks.spawn(async move {
        let lost = of_task.run().await;
        given_up.fetch_add(lost, Ordering::Relaxed);
    });
    Running { backend, task }
}

impl Inner {
    pub(crate) async fn reconfigure(
        self: &Arc<Self>,
        config: PipelineConfig,
        secrets: &BTreeMap<String, SecretText>,
    ) {
        let mut control = self.control.lock().await;
        if self.table().phase != Phase::Stopping {
            control.reconfigure(self, config, secrets).await;
        }
    }
}
