//! What is secret is shown to nobody: not by the API, the metrics, the log or `Debug`.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use reqwest::{Method, StatusCode};
use tracing_subscriber::EnvFilter;
use ursa_envoy::resources::SECRET;

use crate::agent::{Agent, Held};
use crate::shop::{SOON, apply, dataplane, id, request, start};

/// "s3cr3t-one" as it is, in base64, and as `Debug` shows bytes.
const FORMS: [&str; 3] = ["s3cr3t", "czNjcjN0", "115, 51, 99, 114"];

const SECRET_KEY: &str = "type: Secret\nmesh: default\nname: key\ndata: czNjcjN0LW9uZQ==\n";
const POLICY: &str = "type: MeshTrace\nmesh: default\nname: all\nspec:\n  default:\n    backends:\n    \
                      - openTelemetry:\n        endpoint: 127.0.0.1:4317\n        \
                      headers: {authorization: \"Bearer ${secret:key}\"}\n";

/// Everything that Ursa logs in this process, whatever the level.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn start() -> Self {
        let log = Self::default();
        let writer = log.clone();
        tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::new("off,ursa=trace,sqlx=trace"))
            .with_writer(move || writer.clone())
            .init();
        log
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_and_tokens_are_shown_to_nobody() {
    let log = Log::start();
    let long = "no".repeat(100_000);
    let dir = tempfile::tempdir().unwrap();
    for data_dir in [None, Some(dir.path())] {
        let running = start(data_dir).await;
        let cart = id("cart");
        let token = running.dataplane_token(&cart, SOON).unwrap();
        let forms = FORMS.iter().copied();
        let secret: Vec<_> =
            forms.chain([token.expose(), running.admin_token().expose()]).collect();
        let hides = |what: &str, text: &str| {
            for secret in &secret {
                assert!(!text.contains(secret), "{what}: {text}");
            }
        };
        apply(
            &running,
            &[
                dataplane("cart", "127.0.0.1", 10003, &["payments"]),
                SECRET_KEY.to_owned(),
                POLICY.to_owned(),
            ],
        )
        .await;
        let mut agent = Agent::connect(&running, &cart, Held::new()).await;
        loop {
            let response = agent.next().await.unwrap();
            agent.nack(&response, &long).await;
            if response.type_url == SECRET {
                assert_eq!(response.resources[0].resource.as_ref().unwrap().value, b"s3cr3t-one");
                break;
            }
        }
        for node in ["default.payments", "other.cart"] {
            let pin = running.ca_fingerprint();
            let opened = Agent::open(&running, pin, token.expose(), node, Held::new()).await;
            hides(node, opened.unwrap().next().await.unwrap_err().message());
        }

        let admin = format!("authorization: Bearer {}", running.admin_token().expose());
        for path in [
            "/",
            "/config",
            "/dataplanes",
            "/dataplanes+insights",
            "/dataplanes/_overview",
            "/global-insight",
            "/gui",
            "/healthy",
            "/meshes",
            "/meshes/default",
            "/meshes/default/dataplanes",
            "/meshes/default/dataplanes+insights",
            "/meshes/default/dataplanes+insights/cart",
            "/meshes/default/dataplanes/_overview",
            "/meshes/default/dataplanes/cart",
            "/meshes/default/dataplanes/cart/_config",
            "/meshes/default/dataplanes/cart/_explain",
            "/meshes/default/dataplanes/cart/_overview",
            "/meshes/default/dataplanes/cart/_policies",
            "/meshes/default/dataplanes/cart/_rules",
            "/meshes/default/meshtraces",
            "/meshes/default/meshtraces/all",
            "/meshes/default/secrets",
            "/meshes/default/secrets/key",
            "/meshtraces",
            "/metrics",
            "/ready",
            "/secrets",
            "/telemetry/services",
            "/telemetry/traces",
        ] {
            let reply = request(&running, Method::GET, path, &[&admin], "").await;
            assert!(reply.status.is_success() || path == "/config", "{path}: {}", reply.text);
            hides(path, &format!("{} {:?}", reply.text, reply.headers));
        }
        for wrong in [
            "type: Secret\nmesh: default\nname: key\ndata: s3cr3t one!\n",
            "type: Secret\nmesh: default\nname: key\ndata: [s3cr3t]\n",
            "type: Secret\nmesh: default\nname: key\ndata: {s3cr3t: czNjcjN0}\n",
            "type: Secret\nmesh: default\nname: key\ndta: czNjcjN0LW9uZQ==\n",
            "type: Secret\nmesh: default\nname: key\ndata: &czNjcjN0 x: y: czNjcjN0\n",
        ] {
            let path = "/meshes/default/secrets/key";
            let refused = request(&running, Method::PUT, path, &[], wrong).await;
            assert_eq!(refused.status, StatusCode::BAD_REQUEST);
            hides(wrong, &refused.text);
        }
        hides("Debug", &format!("{running:?}"));
        hides("the log", &log.text());
        running.shutdown().await;
    }
    let log = log.text();
    assert!(log.contains("configuration refused") && log.contains("an agent was refused"), "{log}");
    assert!(log.lines().all(|line| line.len() < 10_000), "what an agent says is cut");
}
