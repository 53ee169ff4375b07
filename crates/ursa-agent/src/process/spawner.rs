//! The thread that starts Envoy.
//!
//! The kernel kills Envoy when the *thread* that started it ends (see the shim `ursa exec-tied`).
//! Threads of the async runtime come and go, so one thread does nothing else and lasts as long as
//! its [`Spawner`].

use std::io;
use std::thread;

use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

/// Starts processes from a thread that lasts. When the last clone is dropped, the thread ends.
#[derive(Debug, Clone)]
pub(super) struct Spawner {
    orders: mpsc::Sender<Order>,
}

struct Order {
    command: Command,
    started: oneshot::Sender<io::Result<Child>>,
}

impl Spawner {
    /// Starts the thread. The processes belong to the runtime that this is called on.
    pub(super) fn start() -> io::Result<Self> {
        let (orders, mut incoming) = mpsc::channel::<Order>(1);
        let runtime = Handle::current();
        thread::Builder::new().name("ursa-spawner".to_owned()).spawn(move || {
            let _runtime = runtime.enter();
            while let Some(Order { mut command, started }) = incoming.blocking_recv() {
                // If nobody waits any more, the child is killed by being dropped.
                drop(started.send(command.spawn()));
            }
        })?;
        Ok(Self { orders })
    }

    /// Starts a process.
    pub(super) async fn spawn(&self, command: Command) -> io::Result<Child> {
        let ended = || io::Error::other("the thread that starts processes has ended");
        let (started, child) = oneshot::channel();
        self.orders.send(Order { command, started }).await.map_err(|_| ended())?;
        child.await.map_err(|_| ended())?
    }
}
