use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep};
use ursa_model::gateway::{GatewayFile, Listen, parse};

use super::{Config, FileWatch, Gateway, StartError};

/// A file with these receivers.
fn file(receivers: &str) -> GatewayFile {
    let text = format!(
        "storage: memory\nstatus: 127.0.0.1:0\nreceivers: [{receivers}]\nexporters: [{{openTelemetry: {{endpoint: \"127.0.0.1:1\"}}}}]\n"
    );
    let parsed = parse(&text);
    parsed.gateway.unwrap_or_else(|| panic!("{:?}", parsed.violations))
}

fn otlp(kind: &str, listen: impl std::fmt::Display) -> String {
    format!("{{{kind}: {{listen: \"{listen}\"}}}}")
}

async fn start(file: GatewayFile) -> Result<Gateway, StartError> {
    Gateway::start(Config { file, storage: "unused".into(), environment: BTreeMap::new() }).await
}

async fn addresses(gateway: &Gateway) -> Vec<(String, SocketAddr)> {
    let listening = gateway.listening().await.into_iter();
    listening
        .filter_map(|one| match one.listen {
            Listen::Tcp(address) => Some((one.name, address)),
            Listen::Unix(_) => None,
        })
        .collect()
}

#[tokio::test]
async fn what_stays_keeps_its_socket_and_addresses_can_be_exchanged() {
    let receivers = [otlp("otlpGrpc", "127.0.0.1:0"), otlp("otlpHttp", "127.0.0.1:0")].join(", ");
    let gateway = start(file(&receivers)).await.unwrap();
    let before = addresses(&gateway).await;
    let more = format!("{receivers}, {{name: more, otlpHttp: {{listen: \"127.0.0.1:0\"}}}}");
    let reloaded = gateway.reload(file(&more)).await.unwrap();
    assert_eq!((reloaded.opened, reloaded.closed), (vec!["more".to_owned()], vec![]));
    assert_eq!(addresses(&gateway).await.get(..2), Some(&*before));

    let (grpc, http) = (before[0].1, before[1].1);
    gateway
        .reload(file(&[otlp("otlpGrpc", grpc), otlp("otlpHttp", http)].join(", ")))
        .await
        .unwrap();
    gateway
        .reload(file(&[otlp("otlpGrpc", http), otlp("otlpHttp", grpc)].join(", ")))
        .await
        .unwrap();
    let exchanged = [("otlp_grpc".to_owned(), http), ("otlp_http".to_owned(), grpc)];
    assert_eq!(addresses(&gateway).await, exchanged);
    gateway.shutdown(Duration::ZERO).await;
    assert!(TcpStream::connect(grpc).await.is_err());
}

#[tokio::test]
async fn a_receiver_that_cannot_listen_leaves_all_as_it_was() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let taken = (taken.local_addr().unwrap(), taken);
    let gateway = start(file(&otlp("otlpGrpc", "127.0.0.1:0"))).await.unwrap();
    let address = addresses(&gateway).await[0].1;
    gateway.reload(file(&otlp("otlpGrpc", address))).await.unwrap();
    // The one that is there must make room for the first, and the second cannot be had.
    let wanted = [otlp("otlpHttp", address), otlp("otlpGrpc", taken.0)].join(", ");
    let error = gateway.reload(file(&wanted)).await.unwrap_err();
    assert_eq!(error.to_string(), "open the receiver otlp_grpc");
    assert_eq!(addresses(&gateway).await, [("otlp_grpc".to_owned(), address)]);
    TcpStream::connect(address).await.unwrap();
    gateway.shutdown(Duration::ZERO).await;

    let error = start(file(&otlp("otlpGrpc", taken.0))).await.unwrap_err();
    assert!(matches!(error, StartError::Receiver(_)), "{error}");
}

/// It stays reachable, and a file that holds none leaves the old one in force.
#[tokio::test]
async fn a_token_in_a_file_counts_once_the_file_changed() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("token");
    std::fs::write(&path, "first\n").unwrap();
    let auth = format!("auth: {{bearerToken: \"${{file:{}}}\"}}", path.display());
    let receiver = format!("{{otlpHttp: {{listen: \"127.0.0.1:0\", {auth}}}}}");
    let gateway = start(file(&receiver)).await.unwrap();
    let url = format!("http://{}/v1/traces", addresses(&gateway).await[0].1);
    let client = reqwest::Client::new();
    let status = async |token: &str| {
        let request = client.post(&url).header("content-type", "application/json").body("{}");
        request.bearer_auth(token).send().await.unwrap().status().as_u16()
    };
    let until = async |token: &str| {
        let deadline = Instant::now() + Duration::from_secs(30);
        while status(token).await != 200 {
            assert!(Instant::now() < deadline, "{token} is not let in");
            sleep(Duration::from_millis(50)).await;
        }
    };
    assert_eq!((status("first").await, status("second").await), (200, 401));
    std::fs::write(&path, "second\n").unwrap();
    until("second").await;
    assert_eq!(status("first").await, 401);
    // Without waiting for the next look.
    std::fs::write(&path, "third").unwrap();
    gateway.reload(file(&receiver)).await.unwrap();
    assert_eq!((status("second").await, status("third").await), (401, 200));
    std::fs::write(&path, "").unwrap();
    gateway.reload(file(&receiver)).await.unwrap_err();
    assert_eq!(status("third").await, 200);
    gateway.shutdown(Duration::ZERO).await;
}

#[tokio::test]
async fn it_says_how_it_stands() {
    let gateway = start(file(&otlp("otlpHttp", "127.0.0.1:0"))).await.unwrap();
    let ask = async |path: &str| {
        let answer =
            reqwest::get(format!("http://{}{path}", gateway.status_address())).await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    assert_eq!(ask("/ready").await, (200, "ready\n".to_owned()));
    let (_, metrics) = ask("/metrics").await;
    assert!(metrics.contains("ursa_gateway_info{version="), "{metrics}");
    assert!(metrics.contains("ursa_gateway_process_resident_memory_bytes "), "{metrics}");
    let (_, status) = ask("/status").await;
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["telemetry"]["configured"], true);
    let (code, audit) = ask(&format!("/audit/{}", "ab".repeat(16))).await;
    assert!(code == 200 && audit.contains("\"spans\":[]"), "{audit}");
    assert_eq!(ask("/audit/xy").await.0, 400);
    gateway.shutdown(Duration::ZERO).await;
}

#[tokio::test]
async fn a_change_is_noticed_once_the_file_is_whole() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("file");
    let write = |path: &Path, text: &str| std::fs::write(path, text).unwrap();
    write(&path, "one");
    let mut watch = FileWatch::new(&path);
    tokio::time::pause();
    let waited = tokio::time::timeout(Duration::from_secs(10), watch.changed()).await;
    assert!(waited.is_err(), "nothing changed");
    write(&path, "longer");
    watch.changed().await;
    let other = folder.path().join("other");
    write(&other, "longer");
    std::fs::rename(&other, &path).unwrap();
    watch.changed().await;
}

#[tokio::test]
async fn a_folder_of_queues_belongs_to_one_gateway() {
    let folder = TempDir::new().unwrap();
    let text = format!(
        "storage: {:?}\nstatus: 127.0.0.1:0\nreceivers: [{}]\nexporters: [{{openTelemetry: {{endpoint: \"127.0.0.1:1\"}}}}]\n",
        folder.path(),
        otlp("otlpGrpc", "127.0.0.1:0"),
    );
    let file = || parse(&text).gateway.unwrap();
    let first = start(file()).await.unwrap();
    let error = start(file()).await.unwrap_err();
    assert!(matches!(error, StartError::Storage { .. }), "{error:?}");
    first.shutdown(Duration::ZERO).await;
    start(file()).await.unwrap().shutdown(Duration::ZERO).await;
}
