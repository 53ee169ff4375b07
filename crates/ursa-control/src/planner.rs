//! From what the store tells to what each connected proxy is to hold.
//!
//! One change at a time: it makes the next snapshots, and the configuration of those proxies that
//! it touches is made anew. The others cost nothing but the question.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::{FutureExt as _, StreamExt as _};
use jiff::Timestamp;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use tokio::sync::{Mutex, watch};
use tokio::time::{Duration, Instant, sleep};
use tokio_util::sync::CancellationToken;
use ursa_envoy::abilities::Abilities;
use ursa_model::kind::Kinds;
use ursa_model::{ProxyId, ResourceKey};
use ursa_store::{Event, Filter, Listing, Origin, Record, Store, StoreError};

use crate::affected::Difference;
use crate::generate::{Generated, Site, generate};
use crate::metrics::{Generation, Metrics};
use crate::proxies::{Connection, Node, Proxies};
use crate::snapshot::{Change, MeshSnapshot, Snapshots};
use crate::spans::{Span, Tracer};

/// Writes that are taken in at once when they come faster than they are dealt with.
const MAX_WRITES_AT_ONCE: usize = 256;
/// How long to wait for a store that does not answer.
const STORE_PAUSE: Duration = Duration::from_secs(1);

/// Plans what proxies hold.
#[derive(Debug)]
pub(crate) struct Planner {
    store: Arc<dyn Store>,
    kinds: Arc<Kinds>,
    site: Site,
    pub(crate) metrics: Metrics,
    tracer: Tracer,
    /// Held while snapshots or targets change, so that a proxy that connects misses nothing.
    gate: Mutex<()>,
    snapshots: watch::Sender<Arc<Snapshots>>,
    /// The streams.
    pub(crate) proxies: Proxies,
}

/// Of what was taken in the version, and the origin, which may change without it.
type Known = BTreeMap<ResourceKey, (u64, Option<Origin>)>;

impl Planner {
    /// Begins with what the store holds.
    pub(crate) fn new(
        store: Arc<dyn Store>,
        kinds: Arc<Kinds>,
        site: Site,
        metrics: Metrics,
        tracer: Tracer,
    ) -> Self {
        let snapshots = watch::Sender::new(Arc::default());
        let (gate, proxies) = (Mutex::default(), Proxies::default());
        Self { store, kinds, site, metrics, tracer, gate, snapshots, proxies }
    }

    /// The newest snapshots.
    pub(crate) fn snapshots(&self) -> Arc<Snapshots> {
        Arc::clone(&self.snapshots.borrow())
    }

    /// Every snapshot from now on.
    pub(crate) fn changes(&self) -> watch::Receiver<Arc<Snapshots>> {
        self.snapshots.subscribe()
    }

    /// The kinds of resources.
    pub(crate) fn kinds(&self) -> &Kinds {
        &self.kinds
    }

    /// What holds for all proxies.
    pub(crate) fn site(&self) -> &Site {
        &self.site
    }

    /// Takes in a listing, and returns the versions that it knows since.
    pub(crate) async fn begin(&self, listing: &Listing) -> Known {
        let mut known = Known::new();
        self.take_in(&mut known, &against(&Known::new(), listing), listing.revision).await;
        known
    }

    /// Follows the store from `listing`, which was taken in, until `stop`.
    pub(crate) async fn run(
        self: Arc<Self>,
        mut known: Known,
        mut revision: u64,
        stop: CancellationToken,
    ) {
        let work = async {
            loop {
                let mut events = self.store.watch(revision).ready_chunks(MAX_WRITES_AT_ONCE);
                while let Some(events) = events.next().await {
                    let mut changes: BTreeMap<ResourceKey, Change> = BTreeMap::new();
                    let mut resync = false;
                    for event in events {
                        match event {
                            Event::Changed { revision: at, changes: changed } if at > revision => {
                                revision = at;
                                changes.extend(changed.into_iter().map(|changed| {
                                    let (key, record) = (changed.key, changed.record);
                                    (key.clone(), Change { key, record })
                                }));
                            }
                            // Of a listing that was taken in since.
                            Event::Changed { .. } => {}
                            Event::Resync => resync = true,
                        }
                    }
                    if resync {
                        self.metrics.events_dropped.inc();
                        let listing = self.list().await;
                        revision = listing.revision;
                        changes = against(&known, &listing)
                            .into_iter()
                            .map(|change| (change.key.clone(), change))
                            .collect();
                    }
                    let changes: Vec<_> = changes.into_values().collect();
                    self.take_in(&mut known, &changes, revision).await;
                }
                tracing::error!("the store no longer tells of changes; asking again");
                sleep(STORE_PAUSE).await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = work => {}
        }
    }

    /// Everything in the store, however long it takes to answer.
    async fn list(&self) -> Listing {
        loop {
            match self.store.list(&Filter::default()).await {
                Ok(listing) => return listing,
                Err(error) => log_store(&error),
            }
            sleep(STORE_PAUSE).await;
        }
    }

    async fn take_in(&self, known: &mut Known, changes: &[Change], revision: u64) {
        for change in changes {
            let before = match &change.record {
                Some(record) => known.insert(change.key.clone(), stamp(record)),
                None => known.remove(&change.key),
            };
            self.metrics.stored(&change.key.kind, before.is_some(), change.record.is_some());
        }
        let mut span = self.tracer.caused_by("plan", changes.iter().map(|change| &change.key));
        span.set("ursa.changes", changes.len());
        let _gate = self.gate.lock().await;
        let started = Instant::now();
        let before = self.snapshots();
        let (after, touched) = before.next(changes, &self.kinds, revision);
        for mesh in touched.keys() {
            self.metrics.snapshot_made(mesh, started.elapsed());
        }
        self.metrics.snapshots_kept(after.len().saturating_sub(touched.len()));
        let after = Arc::new(after);
        let connections = self.proxies.all();
        for (name, keys) in &touched {
            let connections = connections.iter().filter(|connection| connection.id.mesh == *name);
            self.plan(&before.mesh(name), &after.mesh(name), keys, connections, &span).await;
        }
        self.snapshots.send_replace(after);
        self.metrics.component_ran("planner", started.elapsed());
    }

    /// Changes what is known of a mesh besides its resources, and makes anew what each proxy is to hold that `touches`
    /// says so of, given what it holds now.
    pub(crate) async fn amend(
        &self,
        name: &str,
        change: impl FnOnce(&mut MeshSnapshot),
        touches: impl Fn(Option<&Generated>, &MeshSnapshot) -> bool,
    ) {
        let span = self.tracer.root("amend");
        let _gate = self.gate.lock().await;
        let after = Arc::new(self.snapshots().amended(name, change));
        let mesh = after.mesh(name);
        for connection in self.proxies.all().iter().filter(|it| it.id.mesh == name) {
            let current = connection.target();
            if touches(current.as_deref(), &mesh) {
                self.aim(&mesh, connection, current.as_ref(), &span).await;
            }
        }
        self.snapshots.send_replace(after);
    }

    async fn plan<'a>(
        &self,
        before: &MeshSnapshot,
        after: &MeshSnapshot,
        keys: &BTreeSet<ResourceKey>,
        connections: impl Iterator<Item = &'a Arc<Connection>>,
        span: &Span,
    ) {
        let difference = Difference::new(before, after, keys);
        for connection in connections {
            let current = connection.target();
            let touched =
                difference.touches(&self.site.zone, &connection.id.name, current.as_deref());
            self.metrics.matched(touched);
            if touched {
                self.aim(after, connection, current.as_ref(), span).await;
            }
        }
    }

    /// Makes what a proxy is to hold its target.
    async fn aim(
        &self,
        mesh: &MeshSnapshot,
        connection: &Connection,
        current: Option<&Arc<Generated>>,
        cause: &Span,
    ) {
        let generation =
            self.tracer.child("generate", SpanKind::Internal, cause.context().as_ref());
        let abilities = &connection.node.abilities;
        let target = self.make(mesh, &connection.id, abilities, current, generation);
        // Without its Dataplane a proxy keeps what it has: to take all of it away would turn a
        // slip into an outage.
        connection.target.send_replace(target);
        // So that a change of thousands of proxies lets others have the thread meanwhile.
        tokio::task::coop::consume_budget().await;
    }

    /// Makes the configuration of a proxy. What came out as before is the very same as before.
    fn make(
        &self,
        mesh: &MeshSnapshot,
        id: &ProxyId,
        abilities: &Abilities,
        current: Option<&Arc<Generated>>,
        mut span: Span,
    ) -> Option<Arc<Generated>> {
        span.set("ursa.mesh", id.mesh.as_str());
        span.set("ursa.proxy", id.name.as_str());
        let proxy = mesh.proxy(&id.name)?;
        let started = Instant::now();
        let mut made = generate(mesh, proxy, abilities, &self.site);
        let mut what = Generation::Changed;
        if let Some(current) = current
            && current.resources == made.resources
        {
            made.resources = Arc::clone(&current.resources);
            what = Generation::Same;
        }
        self.metrics.generated(proxy.dataplane.is_gateway(), what, started.elapsed());
        for finding in &made.findings {
            self.metrics.generation_failed();
            tracing::error!(proxy = %id, finding, "the configuration that was made is not sound");
        }
        span.set("ursa.result", if what == Generation::Changed { "changed" } else { "generated" });
        if !made.findings.is_empty() {
            span.fail("the configuration that was made is not sound");
        }
        made.cause = span.context();
        Some(Arc::new(made))
    }

    /// Enters a proxy's stream and makes what it is to hold.
    pub(crate) async fn connect(
        self: &Arc<Self>,
        id: ProxyId,
        node: Node,
        now: Timestamp,
    ) -> Session {
        let _gate = self.gate.lock().await;
        let mesh = self.snapshots().mesh(&id.mesh);
        let span = self.tracer.root("generate");
        let target = self.make(&mesh, &id, &node.abilities, None, span);
        self.metrics.stream_opened(node.abilities.envoy.as_deref().unwrap_or("unknown"));
        let connection = self.proxies.enter(id, node, target, now);
        Session { planner: Arc::clone(self), connection }
    }

    /// Waits until what the store held at `revision` was taken in, and every proxy that it touches
    /// has its new target; at most for so long.
    pub(crate) async fn reached(&self, revision: u64, at_most: Duration) -> bool {
        let mut snapshots = self.snapshots.subscribe();
        let reached = snapshots.wait_for(|snapshots| snapshots.revision() >= revision);
        let reached = reached.map(|found| found.is_ok());
        tokio::time::timeout(at_most, reached).await.unwrap_or(false)
    }
}

/// A proxy's stream, for as long as it lasts.
#[derive(Debug)]
pub(crate) struct Session {
    planner: Arc<Planner>,
    pub(crate) connection: Arc<Connection>,
}

impl Drop for Session {
    fn drop(&mut self) {
        let envoy = self.connection.node.abilities.envoy.as_deref().unwrap_or("unknown");
        self.planner.metrics.stream_closed(envoy);
        self.planner.proxies.leave(&self.connection);
    }
}

/// What differs between what is known and a listing.
fn against(known: &Known, listing: &Listing) -> Vec<Change> {
    let mut gone = known.clone();
    let mut changes = Vec::new();
    for record in &listing.records {
        if gone.remove(&record.key) != Some(stamp(record)) {
            changes.push(Change { key: record.key.clone(), record: Some(record.clone()) });
        }
    }
    changes.extend(gone.into_keys().map(|key| Change { key, record: None }));
    changes
}

fn stamp(record: &Record) -> (u64, Option<Origin>) {
    (record.version, record.origin.clone())
}

pub(crate) fn log_store(error: &StoreError) {
    tracing::error!(error = error as &dyn std::error::Error, "the store failed");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{changes, site};
    use ursa_store::MemoryStore;

    const MESH: &str = "type: Mesh\nname: default\n";

    #[test]
    fn a_document_that_only_moved_in_its_file_is_seen_in_a_listing() {
        let change = changes(MESH).remove(0);
        let mut record = change.record.unwrap();
        record.origin = Some(Origin { file: "mesh.yaml".to_owned(), line: 1 });
        let known = Known::from([(record.key.clone(), stamp(&record))]);
        let listing = |record: &Record| Listing { records: vec![record.clone()], revision: 2 };
        assert_eq!(against(&known, &listing(&record)).len(), 0);
        record.origin = Some(Origin { file: "mesh.yaml".to_owned(), line: 7 });
        assert_eq!(against(&known, &listing(&record)).len(), 1);
    }

    #[tokio::test]
    async fn a_change_of_many_proxies_lets_others_have_the_thread() {
        let kinds = Arc::new(ursa_policies::kinds());
        let metrics = Metrics::new("test", "default", &kinds, &[]);
        let planner =
            Planner::new(Arc::new(MemoryStore::new()), kinds, site(), metrics, Tracer::default());
        let planner = Arc::new(planner);
        let dataplane = |n: u16| {
            format!(
                "---\ntype: Dataplane\nmesh: default\nname: p{n}\nnetworking: {{address: 127.0.0.1, \
                 inbound: [{{port: {}, servicePort: 1, tags: {{kuma.io/service: s}}}}]}}\n",
                10_000 + n
            )
        };
        let dataplanes: String = (0..300).map(dataplane).collect();
        let mut known = Known::new();
        planner.take_in(&mut known, &changes(&format!("{MESH}{dataplanes}")), 1).await;
        let mut sessions = Vec::new();
        for n in 0..300 {
            let id = ProxyId::new("default", format!("p{n}"));
            sessions.push(planner.connect(id, Node::default(), Timestamp::UNIX_EPOCH).await);
        }
        let (planned, other) = tokio::join!(
            async {
                planner.take_in(&mut known, &changes(MESH), 2).await;
                Instant::now()
            },
            async {
                tokio::task::yield_now().await;
                Instant::now()
            },
        );
        assert!(other < planned);
    }
}
