//! Connections to one backend that are open: one of HTTP/2 that is shared, and a few of HTTP/1.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::Request;
use hyper::client::conn::http2;
use tokio::time::Instant;

use super::body::Pieces;
use super::connection::{Answer, Connection, Sender, SpokenOn, Unanswered};

/// Connections of HTTP/1 that are kept while they are idle.
const MAX_IDLE: usize = 4;
/// How long one is kept; many balancers forget connections soon after.
const IDLE_FOR: Duration = Duration::from_secs(50);

/// Open connections.
#[derive(Debug, Default)]
pub(super) struct Pool(Mutex<Open>);

#[derive(Debug, Default)]
struct Open {
    /// The latest last.
    idle: Vec<(Connection, Instant)>,
    shared: Option<Shared>,
    /// Counts shared connections.
    shared_before: u64,
}

#[derive(Debug)]
struct Shared {
    id: u64,
    sender: http2::SendRequest<Pieces>,
    generation: u64,
    spoken: SpokenOn,
}

/// A connection in use. What is not given back with [`keep`](Self::keep) is not used again.
#[derive(Debug)]
pub(super) struct Held<'a> {
    pool: &'a Pool,
    connection: Option<Connection>,
    /// The shared connection's, of which this is a part.
    shared: Option<u64>,
    /// It was opened for this request.
    pub(super) fresh: bool,
}

impl Pool {
    /// A connection of that generation which is open.
    pub(super) fn take(&self, generation: u64) -> Option<Held<'_>> {
        let mut open = self.lock();
        open.shared = open
            .shared
            .take()
            .filter(|shared| shared.generation == generation && !shared.sender.is_closed());
        if let Some(shared) = &open.shared {
            let connection = Connection {
                sender: Sender::Http2(shared.sender.clone()),
                generation,
                spoken: shared.spoken.clone(),
            };
            let shared = Some(shared.id);
            return Some(Held { pool: self, connection: Some(connection), shared, fresh: false });
        }
        open.idle.retain(|(connection, since)| {
            let closed = matches!(&connection.sender, Sender::Http1(sender) if sender.is_closed());
            connection.generation == generation && !closed && since.elapsed() < IDLE_FOR
        });
        let (connection, _) = open.idle.pop()?;
        Some(Held { pool: self, connection: Some(connection), shared: None, fresh: false })
    }

    /// Takes up a connection that was opened just now.
    pub(super) fn add(&self, connection: Connection) -> Held<'_> {
        let mut open = self.lock();
        let shared = match &connection.sender {
            Sender::Http1(_) => None,
            Sender::Http2(sender) => {
                let id = open.shared_before.wrapping_add(1);
                open.shared_before = id;
                let (sender, spoken) = (sender.clone(), connection.spoken.clone());
                let generation = connection.generation;
                open.shared = Some(Shared { id, sender, generation, spoken });
                Some(id)
            }
        };
        Held { pool: self, connection: Some(connection), shared, fresh: true }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held<'_> {
    pub(super) async fn send(&mut self, request: Request<Pieces>) -> Result<Answer, Unanswered> {
        let connection = self.connection.as_mut().expect("it is there until it is kept");
        connection.send(request).await
    }

    pub(super) fn is_http2(&self) -> bool {
        self.shared.is_some()
    }

    /// The first bytes that came on it.
    pub(super) fn spoken(&self) -> SpokenOn {
        self.connection.as_ref().map(|connection| connection.spoken.clone()).unwrap_or_default()
    }

    /// Others may use it from now on.
    pub(super) fn keep(mut self) {
        let Some(connection) = self.connection.take() else { return };
        if !connection.is_http2() {
            let mut open = self.pool.lock();
            if open.idle.len() < MAX_IDLE {
                open.idle.push((connection, Instant::now()));
            }
        }
    }
}

impl Drop for Held<'_> {
    /// What failed or hung is not used again, by nobody.
    fn drop(&mut self) {
        if self.connection.is_some()
            && let Some(id) = self.shared
        {
            let mut open = self.pool.lock();
            open.shared = open.shared.take().filter(|shared| shared.id != id);
        }
    }
}
