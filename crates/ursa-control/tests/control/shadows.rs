//! Policies that are only looked at.

use reqwest::{Method, StatusCode};
use ursa_envoy::resources::RDS;

use crate::agent::{Agent, overall};
use crate::shop::{apply, get, id, metric, open, request, tracing};

const CART: &str = "/meshes/default/dataplanes/cart";

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_is_shown_and_not_applied_until_it_is_none() {
    let running = open().await;
    apply(&running, &[tracing("all", "{kind: Mesh}", 100)]).await;
    let mut cart = Agent::start(&running, &id("cart")).await;
    let made = metric(&running, "xds_generation_seconds_count", "").await;
    let trial = tracing("trial", "{kind: MeshService, name: cart}", 5);
    let shadow = trial.replace("name: trial", "name: trial\nlabels: {kuma.io/effect: shadow}");
    apply(&running, &[shadow]).await;
    assert_eq!(
        metric(&running, "xds_generation_seconds_count", "").await,
        made,
        "no proxy is touched"
    );

    let policies = get(&running, &format!("{CART}/_policies")).await;
    assert_eq!(policies[0]["conf"]["sampling"]["overall"], 100, "{policies}");
    let policies = get(&running, &format!("{CART}/_policies?shadow=true")).await;
    assert_eq!(policies[0]["conf"]["sampling"]["overall"], 5, "{policies}");
    assert_eq!(policies[0]["shadows"][0]["name"], "trial");
    let explained = get(&running, &format!("{CART}/_explain?shadow=true")).await;
    let of_traces = explained.as_array().unwrap().iter().find(|it| it["kind"] == "MeshTrace");
    assert_eq!(of_traces.unwrap()["shadows"][0]["name"], "trial");

    let config = get(&running, &format!("{CART}/_config?shadow=true&include=diff")).await;
    let diff = config["diff"].as_array().expect("a patch");
    assert!(!diff.is_empty());
    for operation in diff {
        let path = operation["path"].as_str().expect("a path");
        assert!(
            path.starts_with("/type.googleapis.com~1envoy.config.route.v3.RouteConfiguration/"),
            "{operation}"
        );
    }
    let config = get(&running, &format!("{CART}/_config?include=diff")).await;
    assert_eq!(config["diff"], serde_json::json!([]));
    let wrong =
        request(&running, Method::GET, &format!("{CART}/_config?include=all"), &[], "").await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST);

    apply(&running, &[trial]).await;
    let routes = cart.accept(RDS).await;
    assert!(routes.values().all(|routes| overall(routes) == 5), "it is applied now");
    running.shutdown().await;
}
