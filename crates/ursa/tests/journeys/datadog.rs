//! Datadog's APM test agent.

use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::collector::free;
use crate::mesh::{eventually, peer};

/// A running agent; killed with this.
#[derive(Debug)]
pub(crate) struct TestAgent {
    child: Child,
    pub(crate) port: u16,
}

impl TestAgent {
    /// Starts it and waits until it is ready.
    pub(crate) async fn start() -> Self {
        let port = free();
        let text = |port: u16| port.to_string();
        let path = "peers/ddapm-test-agent/1.69.1/bin/ddapm-test-agent";
        let child = Command::new(peer("URSA_DDAPM_TEST_AGENT", path))
            .args(["--port", &text(port), "--web-ui-port", &text(free())])
            .args(["--otlp-http-port", &text(free()), "--otlp-grpc-port", &text(free())])
            // Its argument for them does not work.
            .env("ENABLED_CHECKS", "trace_count_header,trace_content_length")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the test agent can be run");
        let agent = Self { child, port };
        eventually("Datadog's test agent", async || agent.get("/info").await).await;
        agent
    }

    /// All spans that it has.
    pub(crate) async fn spans(&self) -> Vec<Value> {
        let traces = self.get("/test/traces").await.unwrap_or_default();
        let traces = traces.as_array().cloned().unwrap_or_default();
        traces.iter().flat_map(|trace| trace.as_array().cloned().unwrap_or_default()).collect()
    }

    /// What its checks found wrong; none if nothing.
    pub(crate) async fn failures(&self) -> Option<String> {
        let answer = self.ask("/test/trace_check/failures").await?;
        (!answer.status().is_success()).then_some(answer.text().await.unwrap_or_default())
    }

    async fn get(&self, path: &str) -> Option<Value> {
        self.ask(path).await?.error_for_status().ok()?.json().await.ok()
    }

    async fn ask(&self, path: &str) -> Option<reqwest::Response> {
        reqwest::get(format!("http://127.0.0.1:{}{path}", self.port)).await.ok()
    }
}

impl Drop for TestAgent {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
