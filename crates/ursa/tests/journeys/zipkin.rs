//! A real Zipkin server.

use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::collector::free;
use crate::mesh::{eventually, peer};

/// A running server; killed with this.
#[derive(Debug)]
pub(crate) struct Zipkin {
    child: Child,
    address: String,
}

impl Zipkin {
    /// Starts it and waits until it is ready.
    pub(crate) async fn start() -> Self {
        let port = free();
        let child = Command::new("java")
            .args(["-Xmx256m", "-jar"])
            .arg(peer("URSA_ZIPKIN", "peers/zipkin/3.6.1/zipkin.jar"))
            .env("QUERY_PORT", port.to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("java is there: cargo xtask peers says how to get it");
        let server = Self { child, address: format!("http://127.0.0.1:{port}") };
        eventually("Zipkin", async || server.get("/health").await).await;
        server
    }

    /// Where it takes spans.
    pub(crate) fn url(&self) -> String {
        format!("{}/api/v2/spans", self.address)
    }

    /// What it answers; none for an error.
    pub(crate) async fn get(&self, path: &str) -> Option<Value> {
        let answer = reqwest::get(format!("{}{path}", self.address)).await.ok()?;
        answer.error_for_status().ok()?.json().await.ok()
    }
}

impl Drop for Zipkin {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
