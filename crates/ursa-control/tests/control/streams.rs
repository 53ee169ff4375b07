//! Streams of agents: what they are sent, refuse, miss and come back with.

use tonic::Code;
use ursa_envoy::resources::{CDS, EDS, IDENTITY, LDS, PIPELINE, RDS, SECRET, TYPES};

use crate::agent::{Agent, Held, overall};
use crate::shop::{apply, dataplane, get, id, metric, open, start, tracing};

const ALL: &str = "{kind: Mesh}";

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_is_sent_everything_in_order() {
    let running = open().await;
    apply(&running, &[tracing("all", ALL, 80)]).await;
    let mut agent = Agent::connect(&running, &id("frontend"), Held::new()).await;
    let mut order = Vec::new();
    while order.len() < TYPES.len() {
        let response = agent.next().await.unwrap();
        agent.ack(&response).await;
        order.push(response.type_url);
    }
    assert_eq!(order, TYPES);
    let names = |type_url: &str| agent.held[type_url].keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(CDS), ["cart", "catalog", "local:10001"]);
    assert_eq!(names(EDS), ["cart", "catalog"]);
    assert_eq!(names(LDS), ["inbound:10001", "outbound:20000", "outbound:20001"]);
    assert_eq!(names(RDS), names(LDS));
    assert_eq!(names(PIPELINE), ["pipeline"]);
    assert_eq!(names(SECRET), [""; 0]);
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_version_is_shown_and_not_sent_again() {
    let running = open().await;
    apply(&running, &[tracing("all", ALL, 80)]).await;
    let cart = id("cart");
    let mut agent = Agent::start(&running, &cart).await;
    let target = "{kind: MeshService, name: cart}";
    apply(&running, &[tracing("cart", target, 7)]).await;

    // All routes at once, then each by itself.
    let first = agent.next().await.unwrap();
    assert_eq!((first.type_url.as_str(), first.resources.len()), (RDS, 2));
    agent.nack(&first, "no such route").await;
    for _ in 0..2 {
        let one = agent.next().await.unwrap();
        assert_eq!(one.resources.len(), 1);
        if one.resources[0].name == "inbound:10003" {
            agent.nack(&one, "no such route").await;
        } else {
            agent.ack(&one).await;
        }
    }
    let path = "/meshes/default/dataplanes/cart";
    let nack = loop {
        let overview = get(&running, &format!("{path}/_overview")).await;
        let nack = overview["types"]["rds"]["nack"].clone();
        if nack["resources"].as_object().is_some_and(|resources| resources.len() == 1) {
            break nack;
        }
    };
    assert_eq!(nack["error"], "no such route");
    assert!(nack["resources"]["inbound:10003"].is_string());
    let config = get(&running, &format!("{path}/_config")).await;
    assert_eq!(config["nacks"][0]["name"], "inbound:10003");
    let acknowledged = &config["acknowledged"][RDS]["inbound:10003"];
    assert_eq!(acknowledged, &agent.held[RDS]["inbound:10003"], "the last good one");
    assert_eq!(metric(&running, "xds_requests_received_total", "NACK").await, 2);
    assert_eq!(metric(&running, "xds_proxies_stale", "").await, 1);

    // The next version of the same is sent, and nothing else came before it.
    apply(&running, &[tracing("cart", target, 8)]).await;
    let next = agent.accept(RDS).await;
    assert_eq!(next.len(), 2);
    agent.follow_until_acknowledged(&running, &cart).await;
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_lags_is_sent_the_newest_only() {
    let running = open().await;
    let mut agent = Agent::start(&running, &id("catalog")).await;
    apply(&running, &[tracing("all", ALL, 1)]).await;
    let mut first = Vec::new();
    for type_url in [PIPELINE, LDS, RDS] {
        let response = agent.next().await.unwrap();
        assert_eq!(response.type_url, type_url);
        first.push(response);
    }
    for overall in 2..=50 {
        apply(&running, &[tracing("all", ALL, overall)]).await;
    }
    for response in &first {
        agent.ack(response).await;
    }
    let routes = agent.accept(RDS).await;
    assert_eq!(overall(&routes["inbound:10002"]), 50);
    agent.follow_until_acknowledged(&running, &id("catalog")).await;
    let sent = metric(&running, "xds_responses_sent_total", "RouteConfiguration").await;
    assert_eq!(sent, 3, "at the start, the first change, the last");
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_comes_back_is_sent_what_changed_meanwhile() {
    let running = open().await;
    apply(&running, &[tracing("all", ALL, 80)]).await;
    let frontend = id("frontend");
    let held = Agent::start(&running, &frontend).await.held;
    let mut again = Agent::connect(&running, &frontend, held.clone()).await;
    // Only what holds nothing is greeted; no resource comes twice.
    assert_eq!(again.accept(SECRET).await.len(), 0);
    assert_eq!(again.accept(IDENTITY).await.len(), 0);
    apply(&running, &[dataplane("cart", "127.0.0.2", 10003, &["payments"])]).await;
    let changed = again.accept(EDS).await;
    assert_eq!(changed.keys().collect::<Vec<_>>(), ["cart"]);
    assert!(changed["cart"].to_string().contains("127.0.0.2"));

    let mut third = Agent::connect(&running, &frontend, held).await;
    assert_eq!(third.accept(EDS).await.keys().collect::<Vec<_>>(), ["cart"]);
    let ended = again.next().await.expect_err("only the newest connection is served");
    assert_eq!(ended.code(), Code::Aborted);
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_may_connect_before_its_dataplane_and_outlive_it() {
    let running = start(None).await;
    let early = id("early");
    let mut agent = Agent::connect(&running, &early, Held::new()).await;
    loop {
        let reply = crate::shop::request(
            &running,
            reqwest::Method::GET,
            "/meshes/default/dataplanes/early/_overview",
            &[],
            "",
        );
        let reply = reply.await;
        if reply.status.is_success() {
            let warning = "there is no Dataplane default/early; the proxy keeps what it has";
            assert_eq!(reply.json()["warnings"][0], warning);
            break;
        }
    }
    apply(&running, &[dataplane("early", "127.0.0.1", 9000, &[])]).await;
    agent.follow_until_acknowledged(&running, &early).await;
    assert_eq!(agent.held[LDS].len(), 1);

    let path = "/meshes/default/dataplanes/early";
    crate::shop::request(&running, reqwest::Method::DELETE, path, &[], "").await;
    // Made anew with one more port: the first thing sent since is the difference.
    apply(&running, &[dataplane("early", "127.0.0.1", 9000, &["nobody"])]).await;
    assert_eq!(agent.accept(CDS).await.keys().collect::<Vec<_>>(), ["nobody"]);
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_receives_the_secrets_that_its_pipeline_names_and_no_others() {
    let running = open().await;
    let secret = |name: &str, data: &str| {
        format!("type: Secret\nmesh: default\nname: {name}\ndata: {data}\n")
    };
    let policy = "type: MeshTrace\nmesh: default\nname: all\nspec:\n  default:\n    backends:\n    \
                  - openTelemetry:\n        endpoint: 127.0.0.1:4317\n        \
                  headers: {x-key: \"${secret:key}\"}\n";
    // "s3cr3t-one", "s3cr3t-two"
    let texts =
        [secret("key", "czNjcjN0LW9uZQ=="), secret("other", "czNjcjN0LXR3bw=="), policy.to_owned()];
    apply(&running, &texts).await;
    let cart = id("cart");
    let mut agent = Agent::connect(&running, &cart, Held::new()).await;
    let secrets = loop {
        let response = agent.next().await.unwrap();
        agent.ack(&response).await;
        if response.type_url == SECRET {
            break response.resources;
        }
    };
    assert_eq!(secrets.len(), 1);
    assert_eq!(secrets[0].name, "key");
    assert_eq!(secrets[0].resource.as_ref().unwrap().value, b"s3cr3t-one");
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_with_words_when_the_control_plane_stops() {
    let running = open().await;
    let mut agent = Agent::start(&running, &id("cart")).await;
    let ended = tokio::join!(running.shutdown(), agent.next()).1.expect_err("it ends");
    assert_eq!(
        (ended.code(), ended.message()),
        (Code::Unavailable, "the control plane is stopping")
    );
}
