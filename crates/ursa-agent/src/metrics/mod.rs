//! Metrics that the agent gathers itself: Envoy's, applications', its own. They leave as the control plane
//! says, to Prometheus when it asks and through the pipeline as OTLP.
//!
//! ```text
//! Envoy's admin socket ─┐                                      ┌─► serve: Prometheus asks
//! applications ─────────┼─► gather ─► ursa_series::Pass ─► way ┤
//! own_metrics, observe ─┘                                      └─► push: OTLP, to a channel of the pipeline
//! ```
//!
//! Every output has a collection of its own whenever it is due, so it shows what is so then. What Envoy says
//! is never in memory as a whole.
//!
//! Not here: what series look like, which is `ursa-series`'; backends, which are the pipeline's.

mod application;
mod fetch;
mod foresee;
mod gather;
mod observe;
mod output;
mod port;
mod push;
mod serve;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;
use tokio::sync::Mutex;
use tokio_util::task::TaskTracker;
use ursa_model::pipeline::metrics::{
    Application, Collection, MetricDestination, PrometheusTls, SpanLabel,
};
use ursa_pipeline::Sink as Pipeline;
use ursa_pipeline::receive::ServerFiles;
use ursa_series::Shape;

pub(crate) use gather::Gather;
pub(crate) use observe::{Observed, Observing};
use output::{Output, Task};
use port::{Place, Port, Routes};
use push::Pushing;

/// By which names Kuma gives a data plane the certificate and the key of `ProvidedTLS`.
const CERT: &str = "KUMA_DATAPLANE_RUNTIME_METRICS_CERT_PATH";
const KEY: &str = "KUMA_DATAPLANE_RUNTIME_METRICS_KEY_PATH";

/// Gathers metrics as it is told. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    gather: Arc<Gather>,
    observed: Arc<Observed>,
    pipeline: Arc<dyn Pipeline>,
    tls: Option<ServerFiles>,
    tasks: TaskTracker,
    control: Mutex<Control>,
}

/// What the last configuration made.
#[derive(Debug, Default)]
struct Control {
    outputs: BTreeMap<String, Arc<Output>>,
    ports: BTreeMap<Place, Port>,
    pushing: BTreeMap<String, Pushing>,
    warnings: Vec<String>,
}

/// How it stands, for people.
#[derive(Debug, Default, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MetricsStatus {
    /// By name.
    pub(crate) outputs: Vec<OutputStatus>,
    /// What could not be done as the configuration says.
    pub(crate) warnings: Vec<String>,
}

/// Series of all outputs together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Foreseen {
    now: u64,
    then: u64,
}

/// One output as it stands.
#[derive(Debug, Default, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OutputStatus {
    pub(crate) name: String,
    /// `prometheus` or `push`.
    pub(crate) way: &'static str,
    /// Where Prometheus is answered.
    pub(crate) address: Option<String>,
    /// Collections so far.
    pub(crate) collections: u64,
    /// Series that left in the last one.
    pub(crate) series: u64,
    /// What went wrong in the last one.
    pub(crate) problems: BTreeMap<String, String>,
}

impl Metrics {
    /// One that gathers nothing yet.
    pub(crate) fn new(
        gather: Gather,
        observed: Arc<Observed>,
        pipeline: Arc<dyn Pipeline>,
        environment: &BTreeMap<String, String>,
    ) -> Self {
        let path = |name| environment.get(name).filter(|path| !path.is_empty()).map(PathBuf::from);
        let files = |(cert, key)| ServerFiles { cert, key, client_ca: None };
        let inner = Inner {
            gather: Arc::new(gather),
            observed,
            pipeline,
            tls: path(CERT).zip(path(KEY)).map(files),
            tasks: TaskTracker::new(),
            control: Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// How many series leave now, and how many would if this were gathered: both of the same moment.
    ///
    /// # Errors
    /// In words, when it cannot be told.
    pub(crate) async fn foresee(&self, then: Collection) -> Result<Foreseen, String> {
        let task = {
            let control = self.inner.control.lock().await;
            control.outputs.values().next().map(|output| output.task())
        };
        let now = task.map(|task| task.collection.clone()).unwrap_or_default();
        let gather = &self.inner.gather;
        let (now, then) =
            tokio::try_join!(foresee::series(gather, now), foresee::series(gather, then))?;
        Ok(Foreseen { now, then })
    }

    /// Does as `collection` says from now on. What stays as it was goes on without a gap: a port stays open,
    /// an output goes on with what it remembers of its series. Requests are told apart by `labels`. `target`
    /// are the resource attributes that a scrape shows.
    pub(crate) async fn configure(
        &self,
        collection: Option<Collection>,
        labels: &[SpanLabel],
        target: BTreeMap<String, String>,
    ) {
        let mut control = self.inner.control.lock().await;
        let collection = collection.unwrap_or_default();
        self.inner.observed.configure(&collection, labels);
        control.configure(&self.inner, collection, target).await;
        for warning in &control.warnings {
            tracing::warn!("{warning}");
        }
    }

    /// How it stands.
    pub(crate) async fn status(&self) -> MetricsStatus {
        let control = self.inner.control.lock().await;
        let mut warnings = control.warnings.clone();
        warnings.extend(control.ports.values().filter_map(Port::warning));
        let outputs = control.outputs.values().map(|output| output.status()).collect();
        MetricsStatus { outputs, warnings }
    }

    /// Pushes what came since the last time, and ends all.
    pub(crate) async fn shutdown(&self) {
        let control = std::mem::take(&mut *self.inner.control.lock().await);
        for pushing in control.pushing.into_values() {
            pushing.last().await;
        }
        drop(control.ports);
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }
}

impl Control {
    async fn configure(
        &mut self,
        inner: &Arc<Inner>,
        collection: Collection,
        target: BTreeMap<String, String>,
    ) {
        self.warnings.clear();
        let mut before = std::mem::take(&mut self.outputs);
        let mut places: BTreeMap<Place, BTreeMap<String, Arc<Output>>> = BTreeMap::new();
        let mut pushed = BTreeSet::new();
        let task = Arc::new(Task { collection, target });
        for wanted in &task.collection.outputs {
            let shape = match Shape::new(&task.collection, wanted) {
                Ok(shape) => shape,
                Err(error) => {
                    self.warnings.push(format!("no metrics leave by {}: {error}", wanted.name));
                    continue;
                }
            };
            let known = before.remove(&wanted.name);
            let output = match known.filter(|known| known.is_of_same_way(wanted)) {
                Some(known) => {
                    known.replace(wanted, Arc::clone(&task), shape).await;
                    known
                }
                None => Arc::new(Output::new(wanted, Arc::clone(&task), shape)),
            };
            self.outputs.insert(wanted.name.clone(), Arc::clone(&output));
            match &wanted.to {
                MetricDestination::Prometheus(endpoint) => {
                    let is_tls = match endpoint.tls {
                        PrometheusTls::Disabled => false,
                        PrometheusTls::ProvidedTls if inner.tls.is_some() => true,
                        PrometheusTls::ProvidedTls => {
                            self.warn(endpoint.port, &format!("{CERT} and {KEY} are not set"));
                            continue;
                        }
                        PrometheusTls::ActiveMtlsBackend => {
                            self.warn(endpoint.port, "not served with the mesh's certificates yet");
                            continue;
                        }
                    };
                    let place = Place { address: endpoint.address, port: endpoint.port, is_tls };
                    let paths = places.entry(place).or_default();
                    if paths.insert(endpoint.path.clone(), output).is_some() {
                        self.warn(endpoint.port, &format!("{} is given out twice", endpoint.path));
                    }
                }
                MetricDestination::Push(_) => {
                    pushed.insert(wanted.name.clone());
                    let parts = (Arc::clone(&inner.gather), Arc::clone(&inner.pipeline));
                    let pushing = self.pushing.entry(wanted.name.clone());
                    pushing
                        .and_modify(|pushing| pushing.use_output(&output))
                        .or_insert_with(|| Pushing::start(&output, parts, &inner.tasks));
                }
            }
        }
        self.pushing.retain(|name, _| pushed.contains(name));
        self.ports.retain(|place, _| places.contains_key(place));
        for (place, paths) in places {
            let routes = Arc::new(Routes { paths, gather: Arc::clone(&inner.gather) });
            match self.ports.get(&place) {
                Some(port) => port.use_routes(routes),
                None => {
                    let tls = inner.tls.clone().filter(|_| place.is_tls);
                    self.ports.insert(place, Port::open(place, tls, routes, &inner.tasks));
                }
            }
        }
        let applications = task.collection.applications.iter().map(Application::label);
        inner.gather.keep(&self.outputs.keys().cloned().collect(), applications.collect());
    }

    fn warn(&mut self, port: u16, reason: &str) {
        self.warnings.push(format!("Prometheus is not answered on port {port}: {reason}"));
    }
}
