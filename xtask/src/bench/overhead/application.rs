//! The application behind the proxy: it answers at once, so that what is measured is the proxy.
//!
//! Not another Envoy, which takes as much of the machine as the one that is measured: a thread for each connection,
//! which reads a request and writes the same bytes every time, some 8 µs a request.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;

/// One of so many answers is a failure, for access logs of what fails have something to say.
const FAILS: u64 = 1_000;
const BODY: &str = r#"{"id":"7f3c2a","state":"paid","amount":4200,"currency":"EUR"}"#;
const FAILED: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";

/// What its threads are called.
pub(in crate::bench) const THREADS: &str = "application";

/// A running application. Its threads end with the connections, or with the program.
#[derive(Debug)]
pub(in crate::bench) struct Application {
    address: SocketAddr,
    seen: Arc<Seen>,
}

/// What it knows of requests.
#[derive(Debug, Default)]
struct Seen {
    answered: AtomicU64,
    sample: Mutex<String>,
}

impl Application {
    /// Starts it on a port of the system's choice.
    pub(in crate::bench) fn start() -> anyhow::Result<Self> {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("listen as the application")?;
        let address = listener.local_addr()?;
        let seen = Arc::<Seen>::default();
        let known = Arc::clone(&seen);
        let thread = || std::thread::Builder::new().name(THREADS.to_owned());
        thread().spawn(move || {
            for connection in listener.incoming().flatten() {
                let seen = Arc::clone(&seen);
                drop(thread().spawn(move || drop(serve(connection, &seen))));
            }
        })?;
        Ok(Self { address, seen: known })
    }

    /// Where it listens.
    pub(in crate::bench) fn address(&self) -> SocketAddr {
        self.address
    }

    /// One of the last thousand requests, as it came.
    pub(in crate::bench) fn sample(&self) -> String {
        self.seen.sample.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Answers requests without bodies until the connection ends.
fn serve(mut connection: TcpStream, seen: &Seen) -> std::io::Result<()> {
    connection.set_nodelay(true)?;
    // A length that is not the body's would cost the proxy a connection for every request.
    let well = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{BODY}",
        BODY.len()
    );
    let mut buffer = [0; 4096];
    let mut filled = 0;
    loop {
        let read = connection.read(&mut buffer[filled..])?;
        if read == 0 {
            return Ok(());
        }
        filled += read;
        let request = &buffer[..filled];
        if request.ends_with(b"\r\n\r\n") {
            filled = 0;
            let fails = seen.answered.fetch_add(1, Relaxed).is_multiple_of(FAILS);
            if fails {
                let mut sample = seen.sample.lock().unwrap_or_else(PoisonError::into_inner);
                *sample = String::from_utf8_lossy(request).into_owned();
            }
            connection.write_all(if fails { FAILED } else { well.as_bytes() })?;
        }
    }
}
