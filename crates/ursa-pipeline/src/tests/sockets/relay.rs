//! What stands before a backend and does as it is told with connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::receive::Protocol;

/// What is done with connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Everything passes.
    Through,
    /// Requests pass; in the midst of the first answer the connection is reset.
    Cut,
    /// What comes is read, and nothing is ever said.
    Swallow,
    /// Connections are reset at once.
    Shut,
}

/// A port before a backend. Whatever is open is reset when its way changes.
#[derive(Debug)]
pub(super) struct Relay {
    pub(super) address: SocketAddr,
    way: watch::Sender<Way>,
    counts: Arc<[AtomicU64; 4]>,
    _serving: JoinSet<()>,
}

impl Relay {
    pub(super) async fn start(backend: SocketAddr, protocol: Protocol) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (way, ways) = watch::channel(Way::Through);
        let counts: Arc<[AtomicU64; 4]> = Arc::default();
        let mut serving = JoinSet::new();
        let counted = Arc::clone(&counts);
        serving.spawn(async move {
            let mut open = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (mut ways, counts) = (ways.clone(), Arc::clone(&counted));
                open.spawn(async move {
                    let way = *ways.borrow_and_update();
                    stream.set_zero_linger().unwrap();
                    tokio::select! {
                        () = serve(stream, backend, way, protocol, &counts[way as usize]) => {}
                        _ = ways.changed() => {}
                    }
                });
            }
        });
        Self { address, way, counts, _serving: serving }
    }

    pub(super) fn becomes(&self, way: Way) {
        self.way.send_replace(way);
    }

    /// How many connections met with this fate.
    pub(super) fn count(&self, way: Way) -> u64 {
        self.counts[way as usize].load(Ordering::Relaxed)
    }
}

/// What goes wrong here is what is wanted.
async fn serve(
    mut client: TcpStream,
    backend: SocketAddr,
    way: Way,
    protocol: Protocol,
    count: &AtomicU64,
) {
    let counted = || count.fetch_add(1, Ordering::Relaxed);
    match way {
        Way::Shut => drop(counted()),
        Way::Swallow => {
            let mut some = [0; 4096];
            if client.read(&mut some).await.is_ok_and(|read| read > 0) {
                counted();
            }
            while client.read(&mut some).await.is_ok_and(|read| read > 0) {}
        }
        Way::Through => {
            let Ok(mut backend) = TcpStream::connect(backend).await else { return };
            drop(copy_bidirectional(&mut client, &mut backend).await);
        }
        Way::Cut => {
            let Ok(mut backend) = TcpStream::connect(backend).await else { return };
            let (mut from_client, mut to_client) = client.split();
            let (mut from_backend, mut to_backend) = backend.split();
            tokio::select! {
                _ = copy(&mut from_client, &mut to_backend) => {}
                half = answer(&mut from_backend, &mut to_client, protocol) => {
                    if to_client.write_all(&half).await.is_ok() {
                        counted();
                    }
                }
            }
        }
    }
}

/// Lets pass what comes before the first answer. Says the first half of that.
async fn answer(
    from: &mut (impl AsyncReadExt + Unpin),
    to: &mut (impl AsyncWriteExt + Unpin),
    protocol: Protocol,
) -> Vec<u8> {
    const HEADERS: u8 = 1;
    if protocol == Protocol::OtlpHttp {
        let mut first = vec![0; 20];
        drop(from.read_exact(&mut first).await);
        return first;
    }
    loop {
        let mut frame = vec![0; 9];
        if from.read_exact(&mut frame).await.is_err() {
            return Vec::new();
        }
        let length = u32::from_be_bytes([0, frame[0], frame[1], frame[2]]) as usize;
        frame.resize(9 + length, 0);
        drop(from.read_exact(&mut frame[9..]).await);
        if frame[3] == HEADERS {
            frame.truncate(9 + length / 2);
            return frame;
        }
        drop(to.write_all(&frame).await);
    }
}
