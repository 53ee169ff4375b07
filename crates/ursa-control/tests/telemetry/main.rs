//! The window behind real HTTP, and the page in a real browser.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod browser;
mod rest;
mod shop;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use shop::Purchase;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use ursa_control::telemetry::Window;
use ursa_control::{gui, telemetry};

/// A served window; what it started ends with it.
struct Served {
    window: Arc<Window>,
    address: SocketAddr,
    closing: CancellationToken,
    tasks: JoinSet<std::io::Result<()>>,
}

async fn serve() -> Served {
    let window = Arc::new(Window::new(telemetry::DEFAULT_BYTES));
    let closing = CancellationToken::new();
    let router = telemetry::routes(Arc::clone(&window), closing.clone()).merge(gui::routes());
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    let closed = closing.clone();
    tasks.spawn(async move {
        axum::serve(listener, router)
            .with_graceful_shutdown(async move { closed.cancelled().await })
            .await
    });
    Served { window, address, closing, tasks }
}

/// Five traces, a second apart, the last one now; number 3 fails, number 5 takes 500 ms.
fn fill(window: &Window, gateway: &'static str) {
    let now = u64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap();
    for number in 1..=5 {
        let purchase = Purchase {
            number,
            start: now - (5 - number) * 1_000_000_000,
            takes: Duration::from_millis(100 * number),
            fails: number == 3,
            gateway,
        };
        window.store(&purchase.request()).unwrap();
    }
}
