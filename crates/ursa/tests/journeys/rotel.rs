//! rotel, which passes on what it gets.

use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::collector::free;
use crate::mesh::{eventually, peer};

/// A running rotel; killed with this.
#[derive(Debug)]
pub(crate) struct Rotel {
    child: Child,
    /// Where it takes OTLP over gRPC.
    pub(crate) grpc: u16,
    /// Where it takes OTLP over HTTP.
    pub(crate) http: u16,
    _files: TempDir,
}

impl Rotel {
    /// Starts one that exports to that URL over HTTP, and waits until it listens.
    pub(crate) async fn start(to: &str) -> Self {
        let files = tempfile::tempdir().unwrap();
        let (grpc, http) = (free(), free());
        let address = |port: u16| format!("127.0.0.1:{port}");
        let child = Command::new(peer("URSA_ROTEL", "peers/rotel/0.0.1a15/rotel-agent"))
            .arg("start")
            .args(["--otlp-grpc-endpoint", &address(grpc), "--otlp-http-endpoint", &address(http)])
            .args(["--exporter", "otlp", "--otlp-exporter-endpoint", to])
            .args(["--otlp-exporter-protocol", "http"])
            .arg("--pid-file")
            .arg(files.path().join("pid"))
            .arg("--log-file")
            .arg(files.path().join("log"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("rotel can be run");
        let rotel = Self { child, grpc, http, _files: files };
        eventually("rotel", async || {
            let open = |port| std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
            (open(grpc) && open(http)).then_some(())
        })
        .await;
        rotel
    }
}

impl Drop for Rotel {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
