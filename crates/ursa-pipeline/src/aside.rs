//! Work that takes long, done beside the asynchronous tasks.

use tokio::task::spawn_blocking;

/// Work on more than this does not stand among the asynchronous tasks.
const INLINE_BYTES: usize = 16 << 10;

/// Does `work`, beside the asynchronous tasks if `bytes` is much.
///
/// # Panics
/// As `work` does.
pub(crate) async fn aside<T: Send + 'static>(
    bytes: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    if bytes <= INLINE_BYTES {
        return work();
    }
    match spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime ends, and with it whoever waits here.
            Err(_) => std::future::pending().await,
        },
    }
}
