//! The proxies that are connected: what each is to hold, and how far it is.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use ursa_envoy::abilities::Abilities;
use ursa_model::ProxyId;

use crate::ads::state::State;
use crate::generate::Generated;

/// What an agent says about itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Node {
    /// What its Envoy can do.
    pub(crate) abilities: Abilities,
    /// The agent's version.
    pub(crate) agent: Option<String>,
}

/// One agent's stream.
pub(crate) struct Connection {
    pub(crate) id: ProxyId,
    pub(crate) since: Timestamp,
    pub(crate) node: Node,
    /// What the proxy is to hold; none without a Dataplane. A stream that is slow sees the newest.
    pub(crate) target: watch::Sender<Option<Arc<Generated>>>,
    /// Ends the stream: a newer one of the same proxy took its place.
    pub(crate) replaced: CancellationToken,
    state: Mutex<State>,
}

/// Without what the proxy is to hold, of which some is secret.
impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("id", &self.id)
            .field("since", &self.since)
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}

impl Connection {
    /// The state of the stream. Held for moments only, never across a wait.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the proxy is to hold.
    pub(crate) fn target(&self) -> Option<Arc<Generated>> {
        self.target.borrow().clone()
    }
}

/// All of them. One per proxy.
#[derive(Debug, Default)]
pub(crate) struct Proxies {
    connected: Mutex<BTreeMap<ProxyId, Arc<Connection>>>,
}

impl Proxies {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<ProxyId, Arc<Connection>>> {
        self.connected.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a stream. An older one of the same proxy is told to end.
    pub(crate) fn enter(
        &self,
        id: ProxyId,
        node: Node,
        target: Option<Arc<Generated>>,
        now: Timestamp,
    ) -> Arc<Connection> {
        let connection = Arc::new(Connection {
            id: id.clone(),
            since: now,
            node,
            target: watch::Sender::new(target),
            replaced: CancellationToken::new(),
            state: Mutex::default(),
        });
        let older = self.lock().insert(id, Arc::clone(&connection));
        if let Some(older) = older {
            tracing::warn!(proxy = %older.id, "connected again while still connected; the older connection ends");
            older.replaced.cancel();
        }
        connection
    }

    /// Takes a stream out, unless a newer one has taken its place.
    pub(crate) fn leave(&self, connection: &Arc<Connection>) {
        let mut connected = self.lock();
        if connected.get(&connection.id).is_some_and(|known| Arc::ptr_eq(known, connection)) {
            connected.remove(&connection.id);
        }
    }

    /// The stream of a proxy.
    pub(crate) fn get(&self, id: &ProxyId) -> Option<Arc<Connection>> {
        self.lock().get(id).cloned()
    }

    /// What a proxy's Envoy can do; what is assumed, if it is not connected.
    pub(crate) fn abilities(&self, id: &ProxyId) -> Abilities {
        self.get(id).map(|connection| connection.node.abilities.clone()).unwrap_or_default()
    }

    /// All streams, by proxy.
    pub(crate) fn all(&self) -> Vec<Arc<Connection>> {
        self.lock().values().cloned().collect()
    }
}
