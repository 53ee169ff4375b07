//! Requests without a pause, by HTTP over connections that are kept, and by TCP over one for each.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Collected, Empty};
use hyper::Request;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::task::JoinSet;

use super::World;
use super::service::get;

/// Requests under way at once, by HTTP.
const AT_ONCE: usize = 3;

/// Asks again and again until told to stop.
pub(super) struct Load {
    stop: Arc<AtomicBool>,
    pub(super) answered: Arc<AtomicU64>,
    tasks: JoinSet<Vec<String>>,
}

impl Load {
    pub(super) fn start(world: &World) -> Self {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut tasks = JoinSet::new();
        let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
        for _ in 0..AT_ONCE {
            let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
            let (client, url) = (client.clone(), format!("http://127.0.0.1:{}/", world.http));
            tasks.spawn(async move {
                let mut failures = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let request = Request::get(&url).body(Empty::new()).unwrap();
                    match client.request(request).await {
                        Ok(answer) => {
                            let status = answer.status();
                            let body = answer.into_body().collect().await;
                            let body = body.map(Collected::to_bytes).unwrap_or_default();
                            if status != 200 || body != "ok" {
                                let body = String::from_utf8_lossy(&body).into_owned();
                                failures.push(format!("HTTP: {status} {body}"));
                            }
                        }
                        Err(error) => failures.push(format!("HTTP: {error:?}")),
                    }
                    answered.fetch_add(1, Ordering::Relaxed);
                }
                failures
            });
        }
        let (told, count, tcp) = (Arc::clone(&stop), Arc::clone(&answered), world.tcp);
        tasks.spawn(async move {
            let mut failures = Vec::new();
            while !told.load(Ordering::Relaxed) {
                if let Err(error) = get(tcp).await {
                    failures.push(format!("TCP: {error}"));
                }
                count.fetch_add(1, Ordering::Relaxed);
            }
            failures
        });
        Self { stop, answered, tasks }
    }

    /// How many were answered; what went wrong.
    pub(super) async fn stop(self) -> (u64, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        let failures = self.tasks.join_all().await.concat();
        (self.answered.load(Ordering::Relaxed), failures)
    }
}
