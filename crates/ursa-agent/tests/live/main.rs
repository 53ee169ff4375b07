//! The agent with a real Envoy (1.40), a control plane and an OTLP receiver of the test's own.
//!
//! Envoy is `$URSA_ENVOY`, else the one in Ursa's cache. The program that ties Envoy's life to the
//! agent's is the example `agent`, which `cargo test` builds.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on panics, and the memory used is worth seeing"
)]

mod access_logs;
mod control_plane;
#[path = "../../../ursa-metrics/tests/exposition/mod.rs"]
mod exposition;
mod hostile;
mod metrics;
mod module;
mod world;

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::task::JoinSet;
use ursa_envoy::proxy::RouteTracing;
use ursa_envoy::resources::LDS;
use ursa_metrics::AGENT;
use ursa_model::ProxyId;
use world::{World, eventually, get, resources};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn traffic_flows_whatever_dies() {
    let mut world = World::start().await;
    let running = world.agent().await;
    running.ready().await;
    world.passes().await;
    for line in ["ack Cluster", "ack Listener", "ack RouteConfiguration", "ack Pipeline"] {
        world.control_plane.logged(line).await;
    }

    world.control_plane.go_away().await;
    world.passes().await;
    let first = running.envoy().pid.unwrap();
    kill_process(Pid::from_raw(first.cast_signed()).unwrap(), Signal::KILL).unwrap();
    eventually("another Envoy runs", Duration::from_secs(10), async || {
        running.envoy().pid.filter(|pid| *pid != first)
    })
    .await;
    // Everything comes from the agent's cache.
    running.ready().await;
    world.passes().await;
    let status = world.status(&running).await;
    assert_eq!(status["envoy"]["restarts"], 1, "{status}");
    assert_eq!(status["envoy"]["lastEnd"], "signal: 9 (SIGKILL)", "{status}");
    assert_eq!(status["controlPlane"]["connected"], false, "{status}");
    let words = status["controlPlane"]["error"].to_string();
    assert!(words.contains("refused (os error 111)"), "{words}");

    // Meanwhile one cluster more; the rest is not sent again.
    world.control_plane.take_log();
    let more = resources(&world.proxy(|proxy| {
        let mut other = proxy.clusters[0].clone();
        "other".clone_into(&mut other.name);
        proxy.clusters.push(other);
    }));
    world.control_plane.set(more);
    world.control_plane.come_back().await;
    world.control_plane.logged("ack Cluster").await;
    let log = world.control_plane.take_log();
    let sent: Vec<_> = log.iter().filter(|line| line.starts_with("sent")).collect();
    assert_eq!(sent, ["sent Cluster other"], "{log:?}");
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_listener_is_reported_and_the_old_one_stays() {
    let world = World::start().await;
    let running = world.agent().await;
    running.ready().await;
    world.passes().await;

    // The listener's address is not one; a cluster that comes along is taken.
    let bad = resources(&world.proxy(|proxy| {
        let mut second = proxy.listeners[0].clone();
        "second".clone_into(&mut second.name);
        second.port = world::free_port();
        proxy.listeners[0].address = "not-an-address".to_owned();
        proxy.listeners.push(second);
    }));
    assert_eq!(bad[LDS].len(), 2);
    world.control_plane.take_log();
    world.control_plane.set(bad);
    let words = world.control_plane.logged("nack Listener").await;
    assert!(words.contains("not-an-address"), "{words}");
    world.passes().await;
    let second = world.proxy(|_| ()).listeners[0].name.clone();
    let status = world.status(&running).await;
    let refused = &status["resources"][LDS]["refused"];
    assert!(refused[&second].to_string().contains("not-an-address"), "{status}");
    assert_eq!(refused.as_object().unwrap().len(), 1, "the other listener was taken");

    // An Envoy that starts now gets the old one.
    let pid = running.envoy().pid.unwrap();
    kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), Signal::KILL).unwrap();
    eventually("Envoy runs again", Duration::from_secs(10), async || {
        running.envoy().pid.filter(|now| *now != pid)
    })
    .await;
    running.ready().await;
    world.passes().await;
    // Put right, it is taken.
    world.control_plane.take_log();
    world.control_plane.set(world.truth.clone());
    world.control_plane.logged("ack Listener").await;
    assert!(
        world.status(&running).await["resources"][LDS]["refused"].as_object().unwrap().is_empty()
    );
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_reach_the_backend_and_a_route_stops_them() {
    let mut world = World::start().await;
    let running = world.agent().await;
    running.ready().await;
    for _ in 0..5 {
        world.passes().await;
    }
    let spans = world.spans(5).await;
    let one = &spans[0];
    assert_eq!(one.resource["service.name"], "web");
    assert_eq!(one.resource["deployment.environment.name"], "test", "put on by the agent");

    let off = resources(&world.proxy(|proxy| {
        for http in proxy.http_listeners_mut() {
            http.routes.routes[0].tracing = RouteTracing::off();
        }
    }));
    world.control_plane.take_log();
    world.control_plane.set(off);
    world.control_plane.logged("ack RouteConfiguration").await;
    world.forget_spans();
    for _ in 0..5 {
        world.passes().await;
    }
    running.shutdown().await;
    assert_eq!(world.forget_spans(), 0, "nothing after the answer");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_catalogue_is_shown_and_nothing_else() {
    let mut world = World::start().await;
    let running = world.agent().await;
    running.ready().await;
    world.passes().await;
    world.spans(1).await;
    let sent = "ursa_pipeline_requests_total{";
    let shown =
        eventually("the backend's answer is counted", Duration::from_secs(10), async || {
            Some(world.metrics(&running).await).filter(|text| text.contains(sent))
        })
        .await;
    exposition::assert_shows(&shown, AGENT, &["dataplane", "mesh", "zone"]);
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_drains_and_leaves_nothing() {
    let mut world = World::start().await;
    let running = world.agent().await;
    running.ready().await;
    let (port, mut slow) = (world.port, JoinSet::new());
    slow.spawn(async move { get(port, "/slow").await });
    world.slow_began().await;
    let pid = running.envoy().pid.unwrap();
    running.shutdown().await;
    let answer = slow.join_next().await.unwrap().unwrap();
    assert_eq!(answer.unwrap(), (200, "hello".to_owned()), "it was let finish");
    assert_eq!(world.spans(1).await.len(), 1, "and its span came out");
    assert!(world::is_gone(pid), "Envoy is gone");
    let left: Vec<_> =
        std::fs::read_dir(world.work_dir()).unwrap().flatten().map(|e| e.file_name()).collect();
    assert_eq!(left, ["lock"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn envoy_does_not_outlive_its_agent() {
    let world = World::start().await;
    let mut agent = world.agent_process();
    eventually("requests pass", Duration::from_secs(20), async || get(world.port, "/").await.ok())
        .await;
    let envoy = World::envoy_of(agent.id().unwrap());
    println!("agent idle: {}", world::memory(agent.id().unwrap()));
    agent.kill().await.unwrap();
    let gone = async || world::is_gone(envoy).then_some(());
    eventually("Envoy is gone", Duration::from_secs(1), gone).await;
    // The next agent in the same directory works at once.
    let mut next = world.agent_process();
    eventually("requests pass again", Duration::from_secs(20), async || {
        get(world.port, "/").await.ok()
    })
    .await;
    for _ in 0..2000 {
        world.passes().await;
    }
    println!("agent after 2,000 traced requests: {}", world::memory(next.id().unwrap()));
    let pid = Pid::from_raw(next.id().unwrap().cast_signed()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    assert!(next.wait().await.unwrap().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_are_explained_and_tried_again() {
    let world = World::start().await;
    let token = world.control_plane.token(&world.id);
    std::fs::write(world.token_file(), token.expose()).unwrap();
    world.control_plane.refuse_tokens();
    let running = world.agent().await;
    let error = async |words: &str| {
        eventually(&format!("the status says {words}"), Duration::from_secs(20), async || {
            let status = world.status(&running).await;
            let error = status["controlPlane"]["error"].to_string();
            (error.contains(words) && status["ready"] == false).then_some(())
        })
        .await;
    };
    error("the control plane refused the token: the token was not signed by this control plane")
        .await;
    let words = running.refused_at_start().await;
    assert!(words.contains("refused the token"), "whoever started it is told: {words}");
    // The token of another control plane.
    let other = control_plane::ControlPlane::start().await;
    std::fs::write(world.token_file(), other.token(&world.id).expose()).unwrap();
    let words = "does not have the certificate authority that the token names";
    error(words).await;
    let said = running.refused_at_start().await;
    assert!(said.contains(words), "whoever started it is told: {said}");
    // The token of another proxy.
    let wrong = world.control_plane.token(&ProxyId::new("default", "db"));
    std::fs::write(world.token_file(), wrong.expose()).unwrap();
    error("the token is for default/db, and this proxy is default/web-1").await;
    // A good one in the same file; nothing is started anew.
    let token = world.control_plane.token(&world.id);
    std::fs::write(world.token_file(), token.expose()).unwrap();
    running.ready().await;
    world.passes().await;
    let refused = tokio::time::timeout(Duration::ZERO, running.refused_at_start()).await;
    assert!(refused.is_err(), "there was a connection");
    let metrics = world.metrics(&running).await;
    for line in [
        "ursa_dp_control_plane_connects_total{dataplane=\"web-1\",mesh=\"default\",result=\"refused\",zone=\"\"}",
        "ursa_dp_envoy_ready{dataplane=\"web-1\",mesh=\"default\",zone=\"\"} 1",
        "ursa_dp_process_resident_memory_bytes{dataplane=\"web-1\",mesh=\"default\",process=\"envoy\",zone=\"\"}",
        "ursa_dp_configurations_total{confirmation=\"ACK\"",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
    assert!(!metrics.contains(token.expose()));
    running.shutdown().await;
}
