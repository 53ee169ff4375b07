//! A change reaches the proxies that it touches, soon, and no others.

use std::time::Duration;

use tokio::time::Instant;
use ursa_envoy::resources::{EDS, LDS, PIPELINE, RDS};

use crate::agent::{Agent, overall};
use crate::shop::{apply, dataplane, id, metric, names, open, tracing};

const ALL: &str = "{kind: Mesh}";

/// How many configurations were made so far.
async fn made(running: &ursa_control::Running) -> u64 {
    metric(running, "xds_generation_seconds_count", "").await
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_proxies_that_a_change_touches_are_looked_at() {
    let running = open().await;
    apply(&running, &[tracing("all", ALL, 100)]).await;
    let mut cart = Agent::start(&running, &id("cart")).await;
    let mut catalog = Agent::start(&running, &id("catalog")).await;
    let mut frontend = Agent::start(&running, &id("frontend")).await;

    let before = made(&running).await;
    apply(&running, &[tracing("cart", "{kind: MeshService, name: cart}", 5)]).await;
    assert_eq!(made(&running).await - before, 1, "a policy for one");
    assert_eq!(cart.accept(RDS).await.len(), 2);

    let before = made(&running).await;
    let backend = "type: MeshOpenTelemetryBackend\nmesh: default\nname: unused\nspec:\n  endpoint: 127.0.0.1:1\n";
    let secret = "type: Secret\nmesh: default\nname: unused\ndata: eA==\n";
    let mesh = "type: Mesh\nname: other\n";
    apply(&running, &[backend, secret, mesh].map(str::to_owned)).await;
    assert_eq!(made(&running).await - before, 0, "what nobody refers to");

    let before = made(&running).await;
    let comment = format!("# as before\n{}", tracing("all", ALL, 100));
    apply(&running, &[comment]).await;
    assert_eq!(made(&running).await - before, 0, "a comment");

    let before = made(&running).await;
    apply(&running, &[dataplane("payments", "127.0.0.9", 10004, &[])]).await;
    assert_eq!(made(&running).await - before, 1, "a Dataplane: whoever calls it");
    assert_eq!(cart.accept(EDS).await.len(), 1);

    let before = made(&running).await;
    let payments = dataplane("payments", "127.0.0.9", 10004, &[])
        .replace("name: payments\n", "name: payments\nlabels: {team: core}\n");
    apply(&running, &[payments]).await;
    assert_eq!(made(&running).await - before, 0, "a label of one that is not connected");

    // Whatever the others were sent meanwhile would come first now.
    apply(&running, &[tracing("all", ALL, 50)]).await;
    for agent in [&mut catalog, &mut frontend] {
        let routes = agent.accept(RDS).await;
        assert!(routes.values().all(|routes| overall(routes) == 50));
    }
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_comes_to_be_switches_tracing_on() {
    let running = open().await;
    let policy = tracing("all", ALL, 100).replace("name: ursa", "name: later");
    apply(&running, &[policy]).await;
    let mut cart = Agent::start(&running, &id("cart")).await;
    let overview = crate::shop::get(&running, "/meshes/default/dataplanes/cart/_overview").await;
    assert!(overview["warnings"].to_string().contains("later"), "{overview}");

    let backend = "type: MeshOpenTelemetryBackend\nmesh: default\nname: later\nspec:\n  endpoint: 127.0.0.1:4399\n";
    apply(&running, &[backend.to_owned()]).await;
    assert!(cart.accept(PIPELINE).await["pipeline"].to_string().contains("127.0.0.1:4399"));
    cart.accept(LDS).await;
    cart.accept(RDS).await;
    running.shutdown().await;
}

/// From the policy's arrival at the API to the response at the last of five agents.
#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::print_stdout, reason = "the figures are worth seeing")]
async fn a_change_of_policy_reaches_five_agents_soon() {
    const ROUNDS: u32 = 100;
    let running = open().await;
    apply(&running, &[tracing("all", ALL, 100)]).await;
    let mut agents = Vec::new();
    for name in names() {
        agents.push(Agent::start(&running, &id(name)).await);
    }
    let mut took = Vec::new();
    for round in 0..ROUNDS {
        let text = tracing("all", ALL, round % 100);
        let started = Instant::now();
        let texts = [text];
        let arrived = async {
            for agent in &mut agents {
                agent.accept(RDS).await;
            }
            started.elapsed()
        };
        took.push(tokio::join!(apply(&running, &texts), arrived).1);
    }
    took.sort();
    let at = |percent: usize| took[took.len() * percent / 100];
    println!("change to last response, 5 agents: p50 {:?}, p99 {:?}", at(50), at(99));
    assert!(at(99) < Duration::from_millis(500), "p99 {:?}, unoptimised", at(99));
    running.shutdown().await;
}
