//! The application behind the proxy: it answers at once, so that what is measured is the proxy.
//!
//! Not another Envoy, which takes as much of the machine as the one that is measured: a thread for each connection,
//! which reads a request and writes the same bytes every time, some 8 µs a request.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use anyhow::Context as _;

/// One of so many answers is a failure, for access logs of what fails have something to say.
const FAILS: u64 = 1_000;
const BODY: &str = r#"{"id":"7f3c2a","state":"paid","amount":4200,"currency":"EUR"}"#;
const FAILED: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";

/// A running application. Its threads end with the connections, or with the program.
#[derive(Debug)]
pub(super) struct Application(SocketAddr);

impl Application {
    /// Starts it on a port of the system's choice.
    pub(super) fn start() -> anyhow::Result<Self> {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("listen as the application")?;
        let address = listener.local_addr()?;
        let answered = Arc::<AtomicU64>::default();
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let answered = Arc::clone(&answered);
                std::thread::spawn(move || drop(serve(connection, &answered)));
            }
        });
        Ok(Self(address))
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.0
    }
}

/// Answers requests without bodies until the connection ends.
fn serve(mut connection: TcpStream, answered: &AtomicU64) -> std::io::Result<()> {
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
        if buffer[..filled].ends_with(b"\r\n\r\n") {
            filled = 0;
            let fails = answered.fetch_add(1, Relaxed).is_multiple_of(FAILS);
            connection.write_all(if fails { FAILED } else { well.as_bytes() })?;
        }
    }
}
