//! Host names that come and go.

use std::io;

use super::*;
use crate::stream::Stream;

/// Looks up every name in a table of one entry. While it is empty, the system is asked for a name
/// that there never is.
#[derive(Debug, Default)]
struct Names(Mutex<Option<SocketAddr>>);

#[async_trait]
impl Dial for Names {
    async fn dial(&self, _: &str, port: u16) -> io::Result<Box<dyn Stream>> {
        let found = *self.0.lock().unwrap();
        match found {
            Some(address) => Tcp.dial(&address.ip().to_string(), address.port()).await,
            None => Tcp.dial("backend.invalid", port).await,
        }
    }
}

#[tokio::test]
async fn a_name_is_gone_and_back_elsewhere_under_load() {
    let shelf = Arc::new(Shelf::default());
    let backend = async || receiver(Protocol::OtlpHttp, Arc::clone(&shelf) as Arc<dyn Sink>).await;
    let names = Arc::new(Names::default());
    let dial = Arc::clone(&names) as Arc<dyn Dial>;
    // It is not there at the start, either.
    let flow = Flow::start("http://backend.test:4318", dial, &shelf).await;
    for _ in 0..3 {
        *names.0.lock().unwrap() = None;
        flow.until("the name is gone", async || {
            let error = flow.rig.status("b").await.last_error;
            error.is_some_and(|error| error.contains("look up backend.invalid: "))
        })
        .await;
        let (backend, address) = backend().await;
        *names.0.lock().unwrap() = Some(address);
        flow.flows().await;
        *names.0.lock().unwrap() = None;
        backend.shutdown(Duration::ZERO).await;
    }
    let (backend, address) = backend().await;
    *names.0.lock().unwrap() = Some(address);
    flow.end().await;
    backend.shutdown(Duration::from_secs(1)).await;
}
