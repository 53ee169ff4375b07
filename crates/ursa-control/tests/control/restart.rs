//! What a restart keeps, and what gets in the way of a start.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;

use reqwest::{Method, StatusCode};
use tokio::net::TcpListener;
use ursa_control::{Config, ControlPlane};

use crate::agent::{Agent, Held};
use crate::shop::{SOON, apply, dataplane, get, id, request, start};

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_authority_tokens_and_resources() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let first = start(Some(&data)).await;
    let (pin, admin) = (first.ca_fingerprint().to_owned(), first.admin_token().clone());
    let token = first.dataplane_token(&id("cart"), SOON).unwrap();
    apply(&first, &[dataplane("cart", "127.0.0.1", 10003, &[])]).await;
    let before = get(&first, "/meshes/default/dataplanes/cart").await;
    request(&first, Method::DELETE, "/meshes/default/dataplanes/cart", &[], "").await;
    apply(&first, &[dataplane("cart", "127.0.0.1", 10003, &[])]).await;
    request(&first, Method::PUT, "/meshes/other", &[], "{type: Mesh, name: other}").await;
    first.shutdown().await;

    let second = start(Some(&data)).await;
    assert_eq!(second.ca_fingerprint(), pin);
    assert_eq!(second.admin_token(), &admin);
    let after = get(&second, "/meshes/default/dataplanes/cart").await;
    assert_eq!(after["networking"], before["networking"]);
    assert_eq!(get(&second, "/meshes").await["total"], 2);
    let mut agent = Agent::open(&second, &pin, token.expose(), "default.cart", Held::new())
        .await
        .expect("the old token opens the door");
    agent.follow_until_acknowledged(&second, &id("cart")).await;

    for file in ["ca.pem", "ca-key.pem", "token-key.pem", "admin-token", "ursa.db"] {
        let mode = std::fs::metadata(data.join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    let admin_file = std::fs::read_to_string(data.join("admin-token")).unwrap();
    assert_eq!(admin_file.trim(), admin.expose());
    second.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mesh_that_was_removed_stays_removed() {
    let dir = tempfile::tempdir().unwrap();
    let first = start(Some(dir.path())).await;
    let reply = request(&first, Method::DELETE, "/meshes/default", &[], "").await;
    assert_eq!(reply.status, StatusCode::OK);
    first.shutdown().await;
    let second = start(Some(dir.path())).await;
    assert_eq!(get(&second, "/meshes").await["total"], 0);
    second.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_named_with_the_way_out() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    let free = || SocketAddr::from(([127, 0, 0, 1], 0));
    let config = || Config {
        api: free(),
        xds: free(),
        mads: free(),
        otlp_grpc: free(),
        otlp_http: free(),
        ..Config::default()
    };
    for (config, flag) in [
        (Config { api: address, ..config() }, "--api-port"),
        (Config { xds: address, ..config() }, "--xds-port"),
        (Config { mads: address, ..config() }, "--mads-port"),
        (Config { otlp_grpc: address, ..config() }, "--otlp-grpc-port"),
        (Config { otlp_http: address, ..config() }, "--otlp-http-port"),
    ] {
        let words = ControlPlane::start(config).await.unwrap_err().to_string();
        assert!(words.contains(&format!("port {} of 127.0.0.1 is in use", address.port())));
        assert!(words.contains(flag), "{words}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_of_which_half_is_missing_is_not_replaced() {
    let dir = tempfile::tempdir().unwrap();
    start(Some(dir.path())).await.shutdown().await;
    std::fs::remove_file(dir.path().join("ca.pem")).unwrap();
    let config = Config { data_dir: Some(dir.path().to_owned()), ..Config::default() };
    let words = ControlPlane::start(config).await.unwrap_err().to_string();
    assert!(words.contains("ca.pem is missing beside ca-key.pem"), "{words}");
}
