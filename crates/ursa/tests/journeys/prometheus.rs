//! A real Prometheus that scrapes, or is sent to.

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};

use reqwest::Url;
use serde_json::Value;
use tempfile::TempDir;

use crate::collector::free;
use crate::mesh::{eventually, peer};

/// A running Prometheus.
#[derive(Debug)]
pub(crate) struct Prometheus {
    child: Child,
    port: u16,
    _files: TempDir,
}

/// The labels of a series, without its name and what a scrape adds, and its newest value.
pub(crate) type Series = BTreeMap<BTreeMap<String, String>, f64>;

impl Prometheus {
    /// Starts it with that configuration and waits until it is ready.
    pub(crate) async fn start(config: &str) -> Self {
        let (files, port) = (tempfile::tempdir().unwrap(), free());
        let file = files.path().join("prometheus.yml");
        std::fs::write(&file, config).unwrap();
        let child = Command::new(peer("URSA_PROMETHEUS", "peers/prometheus/3.15.0/prometheus"))
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", files.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--web.enable-otlp-receiver")
            .arg("--enable-feature=exemplar-storage")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let prometheus = Self { child, port, _files: files };
        eventually("Prometheus", async || {
            let ready = reqwest::get(format!("http://127.0.0.1:{port}/-/ready")).await.ok()?;
            ready.status().is_success().then_some(())
        })
        .await;
        prometheus
    }

    /// Where it takes OTLP, as a policy names it.
    pub(crate) fn otlp(&self) -> String {
        format!("http://127.0.0.1:{}/api/v1/otlp", self.port)
    }

    /// What a query finds now.
    pub(crate) async fn query(&self, query: &str) -> Series {
        let url = format!("http://127.0.0.1:{}/api/v1/query", self.port);
        let url = Url::parse_with_params(&url, [("query", query)]).unwrap();
        let answer = reqwest::get(url).await.unwrap().text().await.unwrap();
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["status"], "success", "{query}: {answer}");
        let series = answer["data"]["result"].as_array().unwrap().iter();
        series
            .map(|series| {
                let labels: BTreeMap<String, String> =
                    serde_json::from_value(series["metric"].clone()).unwrap();
                let own = |(name, _): &(String, String)| {
                    !["__name__", "instance", "job"].contains(&name.as_str())
                };
                let value = series["value"][1].as_str().unwrap().parse().unwrap();
                (labels.into_iter().filter(own).collect(), value)
            })
            .collect()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
