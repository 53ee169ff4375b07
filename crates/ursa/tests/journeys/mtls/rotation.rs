//! What changes under load, without a request that fails.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

use super::World;
use super::load::Load;
use crate::mesh::{eventually, peer};

/// Requests through the rotations.
const REQUESTS: u64 = 10_000;
/// Rotations of each proxy.
const ROTATIONS: u64 = 5;
/// For what follows a change to settle.
const SETTLED: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn switched_on_by_way_of_permissive_no_request_fails() {
    switch_on(&[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_with_the_oldest_envoy() {
    let envoy = peer("URSA_ENVOY_OLDEST", "envoy/1.36.4/envoy");
    switch_on(&["--envoy", &envoy.to_string_lossy()]).await;
}

async fn switch_on(arguments: &[&str]) {
    let world = World::start(arguments).await;
    let load = Load::start(&world);
    sleep(SETTLED).await;
    world.mtls("ca-1", &json!({"mode": "PERMISSIVE"}));
    world.serving("ca-1").await;
    world.calls_by_tls(true).await;
    sleep(SETTLED).await;
    world.mtls("ca-1", &json!({"mode": "STRICT"}));
    eventually("plain text is refused", async || super::get(world.direct).await.err()).await;
    sleep(SETTLED).await;
    let (answered, failures) = load.stop().await;
    assert!(failures.is_empty(), "{} of {answered}: {failures:#?}", failures.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_are_renewed_and_the_authority_replaced_and_no_request_fails() {
    let world = World::start(&[]).await;
    let short = json!({"dpCert": {"rotation": {"expiration": "6s"}}});
    world.mtls("own", &short);
    world.serving("own").await;
    world.passes().await;
    let load = Load::start(&world);
    let rotations = async || {
        let mut least = u64::MAX;
        for name in ["front", "back"] {
            let certificate = world.certificate(name).await;
            least = least.min(certificate["certificateRegenerations"].as_u64().unwrap_or(0));
        }
        least
    };
    let before = rotations().await;
    eventually("five rotations", async || {
        let enough = load.answered.load(Ordering::Relaxed) >= REQUESTS;
        (rotations().await >= before + ROTATIONS && enough).then_some(())
    })
    .await;

    // Another authority, which was trusted all along.
    world.mtls("ca-1", &json!({}));
    world.serving("ca-1").await;
    sleep(SETTLED).await;
    let (answered, failures) = load.stop().await;
    assert!(failures.is_empty(), "{} of {answered}: {failures:#?}", failures.len());
    assert!(answered >= REQUESTS);
}
